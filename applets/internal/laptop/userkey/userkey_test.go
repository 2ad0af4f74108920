package userkey

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kdiag/mux"
)

// TestLoad wants all that start at once to come to the same key, where there are hard links and
// where there are none.
func TestLoad(t *testing.T) {
	t.Run("links", func(t *testing.T) { testLoad(t, os.Link) })
	t.Run("no links", func(t *testing.T) { testLoad(t, func(string, string) error { return syscall.EPERM }) })
}

func testLoad(t *testing.T, link linker) {
	file := filepath.Join(t.TempDir(), "new", "key.pem")
	var keys [8]string
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			key, err := loadFile(file, link)
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = mux.PublicText(key)
		})
	}

	all.Wait()
	for _, key := range keys {
		if key != keys[0] || len(key) != 43 {
			t.Fatalf("keys = %q, want one and the same", keys)
		}
	}

	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(file)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestLoadRefuses(t *testing.T) {
	for what, text := range map[string]string{
		"empty":     "",
		"other PEM": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
		"no key":    "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
		// P-256, made for this test.
		"another algorithm": "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2\nOF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r\n1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G\n-----END PRIVATE KEY-----\n",
	} {
		file := filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadFile(file, os.Link); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error %v, want one that names the file", what, err)
		}
		if got, _ := os.ReadFile(file); string(got) != text {
			t.Errorf("%s: the file was changed", what)
		}
	}
}
