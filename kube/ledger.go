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

// Ledger keeps on the laptop which containers this user's kdiag has made: a
// small file for each pod, by its UID. A pod's container keeps its name for as
// long as the pod lives, and an ephemeral one cannot be changed, so UID and name
// stand for one container. Without a ledger, or where it cannot be read, kdiag
// knows its containers by what is in them. A nil *Ledger keeps nothing.
type Ledger struct {
	dir string
	// notice is told of a file that is of no use, once.
	notice   func(string)
	warnOnce sync.Once
}

// NewLedger keeps the files in a directory, which is made when it is needed.
func NewLedger(dir string, notice func(string)) *Ledger {
	return &Ledger{dir: dir, notice: notice}
}

// ledgerEntry is a container that was made, as it was asked for: what admission
// made of it does not matter.
type ledgerEntry struct {
	Name       string
	Manager    Manager
	Image      string
	PullPolicy corev1.PullPolicy
	// Failed is why it did not start, when that was last waited for; the
	// kubelet tries again.
	Failed string `json:",omitempty"`
	// Unusable says that admission changed it so that it is of no use.
	Unusable bool `json:",omitempty"`
}

// ledgerPage is a file of the ledger.
type ledgerPage struct{ Containers []ledgerEntry }

const (
	// maxPageSize bounds the bytes of a file that are read, maxEntries the
	// containers that it keeps: the newest.
	maxPageSize = 64 << 10
	maxEntries  = 32
	// maxFailed bounds the reason that is kept.
	maxFailed = 512
	// ledgerAge is how long a file is kept that nobody writes to.
	ledgerAge = 30 * 24 * time.Hour
	// maxPruned bounds the files that are looked at when old ones are removed.
	maxPruned = 200
)

// filePath names a pod's file. There is none for a UID that is no plain word.
func (l *Ledger) filePath(pod types.UID, suffix string) (string, bool) {
	plain := func(r rune) bool {
		return r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if l == nil || l.dir == "" || pod == "" || len(pod) > 64 {
		return "", false
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

// readEntries reads what was made in a pod. A file that is broken, or somebody
// else's, is as good as none.
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

// addEntry writes down a container that the API server says was made in a pod. A
// ledger that cannot be written is no failure.
func (l *Ledger) addEntry(pod types.UID, made ledgerEntry) {
	if l == nil {
		return
	}
	l.changeEntries(pod, func(entries []ledgerEntry) []ledgerEntry { return append(entries, made) })
	l.removeOldFiles()
}

// markFailed writes down why a container did not start.
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

func (l *Ledger) changeEntries(pod types.UID, with func([]ledgerEntry) []ledgerEntry) {
	name, ok := l.filePath(pod, pageSuffix)
	if !ok {
		return
	}

	changed := with(l.readEntries(pod))
	if len(changed) == 0 {
		return
	}

	text, err := json.Marshal(ledgerPage{changed[max(0, len(changed)-maxEntries):]})
	if err == nil {
		_ = replaceFile(name, text)
	}
}

// replaceFile puts a file in place of another, so that nobody reads half of it.
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

// removeOldFiles removes what nobody has written to for a long time.
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

// lockPatience bounds the wait for another kdiag that adds a container to the
// same pod, lockPoll is the time between two looks.
const (
	lockPatience = 10 * time.Second
	lockPoll     = 5 * time.Millisecond
)

// lockPod keeps other kdiags of this user from adding a container to a pod at the
// same time. Where it is not to be had, they go on without.
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
			// Else prune would take one that is old away while it is held.
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
