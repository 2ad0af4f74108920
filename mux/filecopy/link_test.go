package filecopy

import (
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"kdiag/mux/wire"
)

// end is one side of a connection.
type end struct {
	io.Reader
	io.Writer
}

// unbuffered returns the sides of a connection in which nothing waits.
func unbuffered() (one, other end) {
	fromOne, toOther := io.Pipe()
	fromOther, toOne := io.Pipe()
	return end{fromOther, toOther}, end{fromOne, toOne}
}

// piped returns the sides of a connection of two pipes of the system's.
func piped(t testing.TB) (one, other end) {
	t.Helper()
	fromOne, toOther, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromOther, toOne, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, file := range []*os.File{fromOne, toOther, fromOther, toOne} {
			_ = file.Close()
		}
	})
	return end{fromOther, toOther}, end{fromOne, toOne}
}

// startLinks starts the links of two sides, of which each waits for the other.
func startLinks(t testing.TB, one, other end, problem func(wire.FilesProblem)) (first, second *Link) {
	t.Helper()
	options := LinkOptions{OwnRoom: wire.FilesRoomInPod, PeerRoom: wire.FilesRoomOnLaptop, Problem: problem}
	first, second = NewLink(one.Reader, one.Writer, options), NewLink(other.Reader, other.Writer, options)
	started := make(chan error, 1)
	go func() { started <- first.Start() }()
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	return first, second
}

// sendSmallFiles sends what stands for so many small files.
func sendSmallFiles(l *Link, count int) error {
	entry := make([]byte, 40)
	data := make([]byte, dataHead+100)
	fileEnd := make([]byte, 41)
	for range count {
		if err := l.Send(wire.FrameEntry, entry); err != nil {
			return err
		}
		if err := l.SendData(0, data); err != nil {
			return err
		}
		if err := l.Send(wire.FrameFileEnd, fileEnd); err != nil {
			return err
		}
	}
	return l.Flush()
}

// receiveSmallFiles takes them, and calls each with every end.
func receiveSmallFiles(l *Link, count int, each func() error) error {
	for range count * 3 {
		frame, err := l.Receive()
		if err != nil {
			return err
		}
		kind := frame.Kind
		l.Release(frame)
		if kind == wire.FrameFileEnd {
			if err := each(); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestProblemsOfManyFiles has a receiver tell of every file, while both directions are full: neither
// side waits for the other forever.
func TestProblemsOfManyFiles(t *testing.T) {
	const count = 30_000
	laptop, pod := unbuffered()
	told := 0
	sender, receiver := startLinks(t, laptop, pod, func(wire.FilesProblem) { told++ })

	received := make(chan error, 1)
	problem := wire.FilesProblem{Path: strings.Repeat("directory/", 60), Text: "not copied"}
	go func() {
		err := receiveSmallFiles(receiver, count, func() error { return receiver.SendJSON(wire.FrameProblem, problem) })
		if err == nil {
			err = receiver.Send(wire.FrameAllHere, nil)
		}
		if err == nil {
			err = receiver.Flush()
		}
		if err != nil {
			sender.fail(err)
			_ = laptop.Writer.(io.Closer).Close()
		}
		received <- err
	}()

	if err := sendSmallFiles(sender, count); err != nil {
		t.Fatal(err)
	}
	if frame, err := sender.Receive(); err != nil || frame.Kind != wire.FrameAllHere {
		t.Fatalf("the last frame = %q, %v", frame.Kind, err)
	}
	if err := <-received; err != nil || told != count {
		t.Errorf("told of %d files, %v, want %d", told, err, count)
	}
}

// TestMemoryOfWaitingFrames has a receiver take nothing: what waits takes little more memory than it
// has bytes, whatever the size of its frames.
func TestMemoryOfWaitingFrames(t *testing.T) {
	for _, size := range []int{0, 40, 5 << 10, 63 << 10, wire.FilesChunk} {
		l := NewLink(nil, io.Discard, LinkOptions{OwnRoom: wire.FilesRoomInPod, PeerRoom: wire.FilesRoomOnLaptop})
		input := l.Input()
		frame := append(appendHead(nil, wire.FrameData, size), make([]byte, size)...)

		before := heapBytes()
		_, _ = input.Write([]byte(wire.FilesGreeting))
		for filled := 0; filled+len(frame) <= wire.FilesRoomInPod; filled += len(frame) {
			if _, err := input.Write(frame); err != nil {
				t.Fatal(err)
			}
		}
		if used := heapBytes() - before; used > 4*wire.FilesRoomInPod {
			t.Errorf("frames of %d bytes take %d bytes of memory, for %d bytes of room", size, used, wire.FilesRoomInPod)
		}
		runtime.KeepAlive(l)
	}
}

func heapBytes() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// BenchmarkSmallFiles carries the frames of small files over pipes.
func BenchmarkSmallFiles(b *testing.B) {
	laptop, pod := piped(b)
	sender, receiver := startLinks(b, laptop, pod, nil)
	received := make(chan error, 1)
	go func() { received <- receiveSmallFiles(receiver, b.N, func() error { return nil }) }()
	b.ReportAllocs()
	b.ResetTimer()
	if err := sendSmallFiles(sender, b.N); err != nil {
		b.Fatal(err)
	}
	if err := <-received; err != nil {
		b.Fatal(err)
	}
}
