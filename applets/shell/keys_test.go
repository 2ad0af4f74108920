package shell

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestConsoleKeys has Ctrl-Z be a key, and an error the end.
func TestConsoleKeys(t *testing.T) {
	in := io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(io.EOF))
	for i, want := range []string{"ab", "\x1a", "\x1a"} {
		p := make([]byte, 8)
		if n, err := (consoleKeys{in}).Read(p); !bytes.Equal(p[:n], []byte(want)) || err != nil {
			t.Errorf("read %d = %q, %v, want %q", i, p[:n], err, want)
		}
	}

	if n, err := (consoleKeys{iotest.ErrReader(io.ErrClosedPipe)}).Read(make([]byte, 8)); n != 0 || err == nil {
		t.Errorf("a console that is gone: %d bytes, %v, want its error", n, err)
	}
}
