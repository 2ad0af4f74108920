package shell

import (
	"errors"
	"io"
	"runtime"

	"kdiag/applets"
)

// readKeys returns what the shell gets of the user's stdin.
func readKeys(streams applets.Streams, o options) io.Reader {
	if runtime.GOOS == "windows" && newTerminal(streams, o.terminal, len(o.args) > 0).interactive() {
		return consoleKeys{streams.In}
	}
	return streams.In
}

// consoleKeys is a console of Windows in raw mode. There os.File takes Ctrl-Z for the end of a file,
// but to the shell it is a key, which stops a job. A console that is gone fails in another way.
type consoleKeys struct{ in io.Reader }

func (k consoleKeys) Read(p []byte) (int, error) {
	n, err := k.in.Read(p)
	if n == 0 && len(p) > 0 && errors.Is(err, io.EOF) {
		p[0] = ctrlZ
		return 1, nil
	}
	return n, err
}

// ctrlZ is what that key sends.
const ctrlZ = 0x1a
