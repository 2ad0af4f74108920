package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Ledger records on the laptop which containers this user's kdiag has made, in a small file
// for each pod, named by the pod's UID. A UID and a name identify one container for ever: an
// ephemeral container keeps its name for as long as the pod lives, and cannot be changed.
// Without a ledger kdiag recognizes its containers by what is in them. A nil *Ledger records
// nothing.
type Ledger struct {
	dir string
	// notice is told once of a file that cannot be used.
	notice   func(string)
	warnOnce sync.Once
}

// NewLedger makes a ledger that keeps its files in a directory, which it creates when needed.
func NewLedger(dir string, notice func(string)) *Ledger {
	return &Ledger{dir: dir, notice: notice}
}

// ledgerEntry records what kdiag asked for when it made a container, however admission changed
// it then.
type ledgerEntry struct {
	Name       string
	Manager    Manager
	Image      string
	PullPolicy corev1.PullPolicy
	// Failed says why it did not start when kdiag last waited for it. The kubelet may
	// succeed later.
	Failed string `json:",omitempty"`
	// Unusable says that admission changed it so that it cannot work. Files have it by its
	// first name.
	Unusable bool `json:"Spoilt,omitempty"`
}

// ledgerPage holds what is in one file of the ledger.
type ledgerPage struct{ Containers []ledgerEntry }

const (
	// maxPageSize limits the size of a file that is read, in bytes, and maxEntries the
	// containers in it: the newest are kept.
	maxPageSize = 64 << 10
	maxEntries  = 32
	// maxFailed limits the length of ledgerEntry.Failed, in bytes.
	maxFailed = 512
	// ledgerAge says how long a file is kept after its last change.
	ledgerAge = 30 * 24 * time.Hour
	// maxPruned limits how many files removeOldFiles looks at.
	maxPruned = 200
)

// filePath returns the path of a pod's file. It returns false for a UID with characters that
// could lead elsewhere.
func (l *Ledger) filePath(pod types.UID, suffix string) (string, bool) {
	if l == nil || l.dir == "" || pod == "" || len(pod) > 64 {
		return "", false
	}

	plain := func(r rune) bool {
		return r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	for _, r := range string(pod) {
		if !plain(r) {
			return "", false
		}
	}

	return filepath.Join(l.dir, string(pod)+suffix), true
}

const (
	tempPrefix = ".new-"
	pageSuffix = ".json"
	lockSuffix = ".lock"
)

// readEntries lists the containers that were made in a pod. It ignores a file that is broken
// or that another user could have written.
func (l *Ledger) readEntries(pod types.UID) []ledgerEntry {
	name, ok := l.filePath(pod, pageSuffix)
	if !ok {
		return nil
	}

	read, err := readPage(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.warnOnce.Do(func() {
			if l.notice != nil {
				l.notice(fmt.Sprintf("ignored the record of your containers in this pod: %v", err))
			}
		})
	}

	return read.Containers
}

// readPage reads a file of the ledger. It refuses links, and files that other users can write:
// an entry there makes kdiag trust a container.
func readPage(name string) (ledgerPage, error) {
	info, err := os.Lstat(name)
	switch {
	case err != nil:
		return ledgerPage{}, err
	case !info.Mode().IsRegular():
		return ledgerPage{}, fmt.Errorf("%s is not a regular file", name)
	case !onlyOwnerWrites(info):
		return ledgerPage{}, fmt.Errorf("%s is writable by other users", name)
	}

	file, err := os.Open(name)
	if err != nil {
		return ledgerPage{}, err
	}
	defer file.Close()

	if opened, err := file.Stat(); err != nil || !os.SameFile(info, opened) {
		return ledgerPage{}, fmt.Errorf("%s was replaced while it was being read", name)
	}

	text, err := io.ReadAll(io.LimitReader(file, maxPageSize+1))
	if err != nil {
		return ledgerPage{}, err
	}
	if len(text) > maxPageSize {
		return ledgerPage{}, fmt.Errorf("%s is larger than %d bytes", name, maxPageSize)
	}

	var read ledgerPage
	if err := json.Unmarshal(text, &read); err != nil {
		return ledgerPage{}, fmt.Errorf("%s: %w", name, err)
	}

	return read, nil
}

// addEntry records a container that the API server says was made in a pod. It ignores errors:
// kdiag works without its ledger.
func (l *Ledger) addEntry(pod types.UID, made ledgerEntry) {
	if l == nil {
		return
	}

	l.changeEntries(pod, func(entries []ledgerEntry) []ledgerEntry { return append(entries, made) })
	l.removeOldFiles()
}

// markFailed records why a container did not start.
func (l *Ledger) markFailed(ctx context.Context, pod types.UID, container, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	defer l.lockPod(ctx, pod)()

	l.changeEntries(pod, func(entries []ledgerEntry) []ledgerEntry {
		for n := range entries {
			if entries[n].Name == container {
				entries[n].Failed = strings.ToValidUTF8(reason[:min(len(reason), maxFailed)], "")
			}
		}
		return entries
	})
}

// changeEntries replaces the entries of a pod by what change makes of them.
func (l *Ledger) changeEntries(pod types.UID, change func([]ledgerEntry) []ledgerEntry) {
	name, ok := l.filePath(pod, pageSuffix)
	if !ok {
		return
	}

	changed := change(l.readEntries(pod))
	if len(changed) == 0 {
		return
	}

	text, err := json.Marshal(ledgerPage{changed[max(0, len(changed)-maxEntries):]})
	if err == nil {
		_ = replaceFile(name, text)
	}
}

// replaceFile writes a file in one step, so that nobody reads half of it.
func replaceFile(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}

	temp, err := os.CreateTemp(filepath.Dir(name), tempPrefix+"*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())

	_, err = temp.Write(text)
	err = cmp.Or(err, temp.Close())
	if err != nil {
		return err
	}

	return os.Rename(temp.Name(), name)
}

// removeOldFiles removes the ledger's files that have not changed for ledgerAge.
func (l *Ledger) removeOldFiles() {
	dir, err := os.Open(l.dir)
	if err != nil {
		return
	}
	defer dir.Close()

	files, _ := dir.ReadDir(maxPruned)
	for _, file := range files {
		name := file.Name()
		ours := strings.HasSuffix(name, pageSuffix) || strings.HasSuffix(name, lockSuffix) || strings.HasPrefix(name, tempPrefix)
		info, err := file.Info()
		if ours && err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > ledgerAge {
			_ = os.Remove(filepath.Join(l.dir, name))
		}
	}
}

// lockPatience limits the wait for another kdiag that adds a container to the same pod. The
// lock is tried again after each lockPoll.
const (
	lockPatience = 30 * time.Second
	lockPoll     = 5 * time.Millisecond
)

// lockPod keeps other kdiags of this user from adding a container to a pod at the same time.
// It gives up after lockPatience, and the caller goes on without the lock.
func (l *Ledger) lockPod(ctx context.Context, pod types.UID) (unlock func()) {
	name, ok := l.filePath(pod, lockSuffix)
	if !ok || os.MkdirAll(l.dir, 0o700) != nil {
		return func() {}
	}

	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return func() {}
	}
	unlock = func() { _ = file.Close() }

	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		locked, err := tryLock(file)
		if locked {
			// Otherwise removeOldFiles could remove an old lock file while it is held.
			now := time.Now()
			_ = os.Chtimes(name, now, now)
		}

		if locked || err != nil {
			return unlock
		}

		select {
		case <-ctx.Done():
			return unlock
		case <-time.After(lockPoll):
		}
	}
}
