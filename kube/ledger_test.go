package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// newLedger makes a ledger in a directory that does not exist yet. told collects its notices.
func newLedger(t *testing.T) (ledger *Ledger, dir string, told *[]string) {
	t.Helper()
	dir, told = filepath.Join(t.TempDir(), "kdiag", "pods"), &[]string{}
	return NewLedger(dir, func(text string) { *told = append(*told, text) }), dir, told
}

func TestLedgerKeeps(t *testing.T) {
	ledger, dir, told := newLedger(t)
	want := ledgerEntry{
		Name: "kdiag-shell-app-x", Image: "i", PullPolicy: "Never",
		Manager: Manager{Role: "shell", Target: "app", User: "me", Profile: ProfileChroot, Version: "v1", IdleTimeout: time.Minute},
	}
	ledger.addEntry("pod-1", want)
	ledger.markFailed(t.Context(), "pod-1", "another", "not this one")
	if got := ledger.readEntries("pod-1"); len(got) != 1 || got[0] != want {
		t.Errorf("entries = %+v, want %+v", got, want)
	}
	if got := ledger.readEntries("pod-2"); len(got) != 0 {
		t.Errorf("entries of another pod = %+v, want none", got)
	}

	want.Failed = strings.Repeat("x", maxFailed)
	ledger.markFailed(t.Context(), "pod-1", want.Name, want.Failed+"y")
	if got := ledger.readEntries("pod-1"); len(got) != 1 || got[0] != want {
		t.Errorf("entries = %+v, want %+v", got, want)
	}

	for name, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "pod-1.json"): 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want mode %v", name, info.Mode(), err, want)
		}
	}

	if len(*told) > 0 {
		t.Errorf("told %q, want nothing", *told)
	}
}

// TestLedgerBounded wants only the newest containers kept, and old files removed.
func TestLedgerBounded(t *testing.T) {
	ledger, dir, _ := newLedger(t)
	for n := range maxEntries + 3 {
		ledger.addEntry("pod", ledgerEntry{Name: fmt.Sprint(n)})
	}

	if got := ledger.readEntries("pod"); len(got) != maxEntries || got[0].Name != "3" {
		t.Errorf("%d entries from %v on, want the newest %d", len(got), got[0], maxEntries)
	}

	old := time.Now().Add(-2 * ledgerAge)
	for _, name := range []string{"old.json", "old.lock", ".new-1", "mine.txt", "young.json"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if name != "young.json" {
			if err := os.Chtimes(file, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}

	ledger.addEntry("pod", ledgerEntry{Name: "one more"})
	var left []string
	files, _ := os.ReadDir(dir)
	for _, file := range files {
		left = append(left, file.Name())
	}

	if got := strings.Join(left, " "); got != "mine.txt pod.json young.json" {
		t.Errorf("left: %s, want what is young or not the ledger's", got)
	}
}

// TestLedgerIgnores wants a file ignored that is broken or that others can write, with a single
// notice, and replaced by a good one.
func TestLedgerIgnores(t *testing.T) {
	good := `{"Containers": [{"Name": "planted"}]}`
	for what, spoil := range map[string]func(file string) error{
		"empty":         func(file string) error { return os.WriteFile(file, nil, 0o600) },
		"no JSON":       func(file string) error { return os.WriteFile(file, []byte("{{{"), 0o600) },
		"another shape": func(file string) error { return os.WriteFile(file, []byte(`{"Containers": 7}`), 0o600) },
		"too large": func(file string) error {
			return os.WriteFile(file, []byte(good+strings.Repeat(" ", maxPageSize)), 0o600)
		},
		"all may write": func(file string) error {
			return firstError(os.WriteFile(file, []byte(good), 0o600), os.Chmod(file, 0o666))
		},
		"group may write": func(file string) error {
			return firstError(os.WriteFile(file, []byte(good), 0o600), os.Chmod(file, 0o660))
		},
		"a link": func(file string) error {
			return firstError(os.WriteFile(file+"2", []byte(good), 0o600), os.Symlink(file+"2", file))
		},
		"a directory": func(file string) error { return os.Mkdir(file, 0o700) },
	} {
		ledger, dir, told := newLedger(t)
		if err := firstError(os.MkdirAll(dir, 0o700), spoil(filepath.Join(dir, "pod.json"))); err != nil {
			t.Fatal(err)
		}

		for range 2 {
			if got := ledger.readEntries("pod"); len(got) != 0 {
				t.Errorf("%s: entries = %+v, want none", what, got)
			}
		}

		if len(*told) != 1 {
			t.Errorf("%s: told %q, want one note", what, *told)
		}

		ledger.addEntry("pod", ledgerEntry{Name: "made"})
		if got := ledger.readEntries("pod"); what != "a directory" && (len(got) != 1 || got[0].Name != "made") {
			t.Errorf("%s: entries after one more = %+v, want that", what, got)
		}
	}
}

func firstError(steps ...error) error {
	for _, err := range steps {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestLedgerNoPlace wants nothing written if there is no directory, or a UID would lead elsewhere.
func TestLedgerNoPlace(t *testing.T) {
	ledger, dir, told := newLedger(t)
	for _, pod := range []types.UID{"", "..", "../x", "a/b", ".", `a\b`, types.UID(strings.Repeat("a", 65))} {
		ledger.addEntry(pod, ledgerEntry{Name: "made"})
		ledger.lockPod(t.Context(), pod)()
		if got := ledger.readEntries(pod); len(got) != 0 {
			t.Errorf("entries of %q = %+v, want none", pod, got)
		}
	}

	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s was made, want nothing written", dir)
	}

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, nowhere := range []*Ledger{nil, NewLedger("", nil), NewLedger(filepath.Join(file, "below"), nil)} {
		nowhere.addEntry("pod", ledgerEntry{Name: "made"})
		nowhere.markFailed(t.Context(), "pod", "made", "why")
		nowhere.lockPod(t.Context(), "pod")()
		if got := nowhere.readEntries("pod"); len(got) != 0 {
			t.Errorf("entries = %+v, want none", got)
		}
	}

	if len(*told) > 0 {
		t.Errorf("told %q, want nothing", *told)
	}
}

// TestLedgerTogether wants no entry lost when many write at once, each under the lock.
func TestLedgerTogether(t *testing.T) {
	_, dir, _ := newLedger(t)
	const many = 16
	var all sync.WaitGroup
	for n := range many {
		all.Go(func() {
			own := NewLedger(dir, nil) // as in another process
			unlock := own.lockPod(t.Context(), "pod")
			defer unlock()
			own.addEntry("pod", ledgerEntry{Name: fmt.Sprint(n)})
		})
	}

	all.Wait()
	if got := NewLedger(dir, nil).readEntries("pod"); len(got) != many {
		t.Errorf("%d entries of %d: %+v", len(got), many, got)
	}
}

// TestLedgerLockGivesUp wants lockPod to return although another kdiag holds the lock.
func TestLedgerLockGivesUp(t *testing.T) {
	ledger, _, _ := newLedger(t)
	defer ledger.lockPod(t.Context(), "pod")()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	ledger.lockPod(ctx, "pod")()
	ledger.lockPod(t.Context(), "another pod")()
}
