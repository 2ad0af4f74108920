package cp

import (
	"errors"
	"io"
	"os"
	"testing"

	"kdiag/applets/internal/laptop/localfiles"
	"kdiag/applets/internal/pod/targetfiles"
	"kdiag/mux/filecopy"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
	"kdiag/integration/testenv"
)

// partial is a name of an incomplete file.
const partial = ".kdiag-0123456789abcdef.part"

// eachDir runs a test with a directory of the laptop's and one of a container.
func eachDir(t *testing.T, test func(t *testing.T, dir filecopy.Dir, path string)) {
	t.Helper()
	t.Run("laptop", func(t *testing.T) {
		path := t.TempDir()
		place, err := localfiles.OpenPlace(filecopy.Destination{Path: path, IsDirectory: true})
		must(t, err)
		defer place.Dir.Close()
		test(t, place.Dir, path)
	})
	t.Run("pod", func(t *testing.T) {
		path := t.TempDir()
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		root := targetfiles.NewRoot(fd)
		defer root.Close()
		place, err := root.OpenPlace(filecopy.Destination{Path: "/", IsDirectory: true})
		must(t, err)
		defer place.Dir.Close()
		test(t, place.Dir, path)
	})
}

// TestPartialOfAnotherUser writes to no file that another user has put in the place of an incomplete
// one.
func TestPartialOfAnotherUser(t *testing.T) {
	testenv.MustHaveRoot(t)
	eachDir(t, func(t *testing.T, dir filecopy.Dir, path string) {
		writeFile(t, path+"/"+partial, []byte("x"), 0o666)
		file, _, err := dir.OpenPartial(partial)
		must(t, err)
		must(t, file.Close())

		must(t, os.Chown(path+"/"+partial, 12, 34))
		if _, _, err := dir.OpenPartial(partial); !errors.Is(err, filecopy.ErrSpecial) {
			t.Errorf("OpenPartial of another user's file = %v, want %v", err, filecopy.ErrSpecial)
		}
	})
}

// watchedDir tries to open each incomplete file that is renamed, as another copy would.
type watchedDir struct {
	filecopy.Dir
	t *testing.T
}

func (d watchedDir) Rename(from, to string) error {
	if _, _, err := d.OpenPartial(from); !errors.Is(err, filecopy.ErrBusy) {
		d.t.Errorf("OpenPartial before the rename = %v, want %v", err, filecopy.ErrBusy)
	}
	return d.Dir.Rename(from, to)
}

// TestPartialIsLocked keeps other copies from an incomplete file until it has its name.
func TestPartialIsLocked(t *testing.T) {
	eachDir(t, func(t *testing.T, dir filecopy.Dir, path string) {
		fromSender, toReceiver := io.Pipe()
		fromReceiver, toSender := io.Pipe()
		options := filecopy.LinkOptions{OwnRoom: wire.FilesRoomInPod, PeerRoom: wire.FilesRoomInPod}
		sending, receiving := filecopy.NewLink(fromReceiver, toReceiver, options), filecopy.NewLink(fromSender, toSender, options)
		problem := func(p wire.FilesProblem) error { return errors.New(p.Text) }

		sent := make(chan error, 1)
		go func() {
			err := sending.Start()
			if err == nil {
				err = filecopy.NewSender(sending, filecopy.SendOptions{Problem: problem}).SendStream(io.LimitReader(zeroReader{}, largeSize), 0o644)
			}
			sent <- err
		}()
		must(t, receiving.Start())
		must(t, filecopy.NewReceiver(receiving, filecopy.ReceiveOptions{Problem: problem, Place: func(wire.Entry) (filecopy.Placement, error) {
			return filecopy.Placement{Dir: watchedDir{dir, t}, Name: "file"}, nil
		}}).Run())
		must(t, <-sent)
		if info, err := os.Stat(path + "/file"); err != nil || info.Size() != largeSize {
			t.Errorf("the file = %v, %v", info, err)
		}
	})
}

// zeroReader reads zeros without an end.
type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }
