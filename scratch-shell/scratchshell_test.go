package scratchshell

import (
	"errors"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

func TestOpen(t *testing.T) {
	files := fstest.MapFS{
		"empty":    {},
		"text":     {Data: []byte("Keeps the embed pattern matched.\n")},
		"cut":      {Data: []byte("\x7fEL")},
		"program":  {Data: []byte("\x7fELF\x02\x01\x01")},
		"dir/file": {},
	}

	tests := []struct {
		name string
		want error
	}{
		{"absent", ErrMissing},
		{"empty", ErrMissing},
		{"text", ErrMissing},
		{"cut", ErrMissing},
		{"program", nil},
		{"dir", fs.ErrInvalid},
	}

	for _, test := range tests {
		program, err := openExecutable(files, test.name)
		if !errors.Is(err, test.want) {
			t.Errorf("openExecutable(%q) = %v, want %v", test.name, err, test.want)
		}
		if err != nil {
			continue
		}

		if data, err := io.ReadAll(program); err != nil || string(data) != string(files[test.name].Data) {
			t.Errorf("read %q = %q, %v, want all of it", test.name, data, err)
		}
	}
}

// TestBinaryElsewhere checks that a program for a platform without a shell says so,
// and does not ask for one to be built.
func TestBinaryElsewhere(t *testing.T) {
	if runtime.GOOS == "linux" && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64") {
		t.Skip("there is a shell for this platform")
	}
	if _, err := Binary(); !errors.Is(err, ErrPlatform) {
		t.Errorf("Binary() = %v, want %v", err, ErrPlatform)
	}
}

func TestErrMissingSaysWhatToRun(t *testing.T) {
	if want := "make scratch-shell"; !strings.Contains(ErrMissing.Error(), want) {
		t.Errorf("ErrMissing = %q, want it to name %q", ErrMissing, want)
	}
}
