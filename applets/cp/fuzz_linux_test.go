package cp

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/applets/files"
	"kdiag/applets/internal/laptop/localfiles"
	"kdiag/applets/internal/pod/targetfiles"
	"kdiag/mux/filecopy"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

// withinTime fails a test for what does not end.
func withinTime(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

// streamOf returns what a liar says.
func streamOf(says func(l liar)) []byte {
	var out bytes.Buffer
	out.WriteString(wire.FilesGreeting)
	says(liar{&out})
	return out.Bytes()
}

// FuzzReceiver receives anything on the laptop: it ends, and writes nothing but the copy.
func FuzzReceiver(f *testing.F) {
	f.Add(streamOf(func(l liar) { l.dir("top").file("a").link("b", "../outside").up() }), false)
	f.Add(streamOf(func(l liar) { l.dir("top").link("a", "../outside").dir("a").file("planted").up().up() }), true)
	f.Add(streamOf(func(l liar) {
		l.dir("top").entry(wire.Entry{Kind: wire.KindFile, Name: "a", Size: 1 << 20, Number: 1}).frame(wire.FrameBegin, make([]byte, 8)).data(70_000, "x")
		l.end(1<<20, [wire.DigestSize]byte{}).entry(wire.Entry{Kind: wire.KindHardLink, Name: "b", Number: 1})
	}), true)

	f.Fuzz(func(t *testing.T, stream []byte, resume bool) {
		at := t.TempDir()
		writeFile(t, at+"/outside/secret", []byte(secret), 0o644)
		must(t, os.Mkdir(at+"/to", 0o755))
		link := filecopy.NewLink(bytes.NewReader(stream), io.Discard, filecopy.LinkOptions{OwnRoom: wire.FilesRoomOnLaptop, PeerRoom: wire.FilesRoomInPod})
		receiver := filecopy.NewReceiver(link, filecopy.ReceiveOptions{
			Resume: resume, Problem: func(wire.FilesProblem) error { return nil },
			Place: func(top wire.Entry) (filecopy.Placement, error) {
				return localfiles.OpenPlace(filecopy.Destination{Path: at + "/to", Base: "copy", IsDirectory: top.Kind == wire.KindDirectory, Resume: resume})
			},
		})
		must(t, link.Start())
		withinTime(t, func() { _ = receiver.Run() })

		content, err := os.ReadFile(at + "/outside/secret")
		if err != nil || string(content) != secret {
			t.Errorf("the file outside = %q, %v", content, err)
		}
		for dir, most := range map[string]int{at: 2, at + "/outside": 1, at + "/to": 2} {
			if found, err := os.ReadDir(dir); err != nil || len(found) > most {
				t.Errorf("%s has %v, %v", dir, found, err)
			}
		}
	})
}

// FuzzPodHalf sends anything to the in-pod half: it ends, and reads and writes nothing outside of
// its root.
func FuzzPodHalf(f *testing.F) {
	ask := func(request wire.FilesRequest, says func(l liar)) []byte {
		content, err := json.Marshal(request)
		if err != nil {
			f.Fatal(err)
		}
		return streamOf(func(l liar) { says(l.frame(wire.FrameRequest, content)) })
	}
	f.Add(ask(wire.FilesRequest{Path: "/../outside/secret"}, func(liar) {}), false)
	f.Add(ask(wire.FilesRequest{Path: "/", Base: "../outside"}, func(l liar) { l.dir("top").file("a").up() }), true)
	f.Add(ask(wire.FilesRequest{Path: "/to", Resume: true}, func(l liar) { l.dir("top").link("a", "../../outside").dir("a").file("planted") }), true)
	f.Add(ask(wire.FilesRequest{Path: "/dir", Resume: true, Totals: true}, func(l liar) { l.frame(wire.FrameResume, make([]byte, 40)) }), false)

	f.Fuzz(func(t *testing.T, stream []byte, writes bool) {
		at := t.TempDir()
		writeFile(t, at+"/outside/secret", []byte(secret), 0o644)
		writeFile(t, at+"/root/dir/own", pattern(70_000), 0o644)
		must(t, os.Symlink("../../outside", at+"/root/dir/out"))
		fd, err := unix.Open(at+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		root := targetfiles.NewRoot(fd)
		defer root.Close()

		var out bytes.Buffer
		withinTime(t, func() {
			_ = files.Serve(applets.Streams{In: bytes.NewReader(stream), Out: &out}, root, wire.FilesHello{}, writes)
		})
		if !bytes.Contains(stream, []byte(secret)) && bytes.Contains(out.Bytes(), []byte(secret)) {
			t.Error("what is outside was sent")
		}
		content, err := os.ReadFile(at + "/outside/secret")
		if found, _ := os.ReadDir(at + "/outside"); err != nil || string(content) != secret || len(found) != 1 {
			t.Errorf("outside: %v, %q, %v", found, content, err)
		}
	})
}
