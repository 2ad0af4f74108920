package cp

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kdiag/mux/filecopy"
	"kdiag/mux/wire"
)

const secret = "what is outside of the container"

// makeHostile makes a tree with ways out of the root. It returns the file outside.
func makeHostile(t *testing.T, root string) string {
	t.Helper()
	outside := t.TempDir()
	writeFile(t, outside+"/secret", []byte(secret), 0o644)
	up := strings.Repeat("../", 40)
	for name, text := range map[string]string{
		"abs": outside + "/secret", "absdir": outside, "rel": up + outside + "/secret", "reldir": up + outside,
		"two": "absdir/secret", "loop": "loop", "deep/more": up + outside,
	} {
		must(t, os.MkdirAll(filepath.Dir(root+"/"+name), 0o755))
		must(t, os.Symlink(text, root+"/"+name))
	}
	return outside
}

// TestPathsStayInRoot reads and writes nothing outside of the root, whatever links say.
func TestPathsStayInRoot(t *testing.T) {
	for _, byWalk := range []bool{false, true} {
		p := newPod(t)
		p.byWalk = byWalk
		outside := makeHostile(t, p.root)
		writeFile(t, p.root+"/etc/own", []byte("own"), 0o644)
		local := t.TempDir()
		writeFile(t, local+"/new", []byte("new"), 0o644)

		for _, path := range []string{"/abs", "/rel", "/two", "/absdir/secret", "/reldir/secret", "/deep/more/secret", "/loop", "/.." + outside + "/secret", "/abs/../secret", "/proc/self/root" + outside} {
			if got := p.copy(t, "web:"+path, "-"); got.err == nil || strings.Contains(got.stdout, secret) {
				t.Errorf("by walk %v: cp %s = %v, %q", byWalk, path, got.err, got.stdout)
			}
		}
		for _, path := range []string{"/absdir", "/reldir/new", "/deep/more", "/abs", "/rel", "/absdir/secret", "/.." + outside, "/loop"} {
			p.copy(t, local+"/new", "web:"+path).mustFail(t)
		}
		if found, err := os.ReadDir(outside); err != nil || len(found) != 1 {
			t.Errorf("by walk %v: outside there is %v, %v", byWalk, found, err)
		}

		// What is in the root is reached by such paths.
		if got := p.copy(t, "web:/../../etc/../etc/./own", "-"); got.stdout != "own" {
			t.Errorf("by walk %v: own file = %q, %v", byWalk, got.stdout, got.err)
		}
	}
}

// TestMagicLinks follows no link of procfs, in whose text its end does not stand.
func TestMagicLinks(t *testing.T) {
	for _, byWalk := range []bool{false, true} {
		p := newPod(t)
		p.root, p.byWalk = "/", byWalk
		for _, path := range []string{"/proc/self/root/etc/passwd", "/proc/self/exe", "/proc/self/cwd", "/proc/1/root/etc/passwd"} {
			p.copy(t, "web:"+path, "-").mustFail(t)
		}
	}
}

// TestTreeChangesUnderCopy copies a tree in which directories and files become links to the outside,
// again and again.
func TestTreeChangesUnderCopy(t *testing.T) {
	p := newPod(t)
	outside := makeHostile(t, t.TempDir())
	tree := p.root + "/tree"
	for _, dir := range []string{"a", "b", "c"} {
		writeFile(t, tree+"/"+dir+"/secret", []byte("harmless"), 0o644)
	}

	stop := make(chan struct{})
	var turning sync.WaitGroup
	turning.Go(func() { turn(tree, outside, stop) })
	for range 30 {
		to := t.TempDir() + "/copy"
		_ = p.copy(t, "web:/tree", to) // some of it disappears
		verifyHarmless(t, to)
	}
	for range 30 {
		_ = p.copy(t, t.TempDir(), "web:/tree/a/new") // perhaps it is no directory
		local := t.TempDir() + "/a"
		writeFile(t, local+"/planted", []byte("x"), 0o644)
		_ = p.copy(t, local, "web:/tree")
		_ = p.copy(t, local+"/.", "web:/tree/b")
	}
	close(stop)
	turning.Wait()
	if found, err := os.ReadDir(outside); err != nil || len(found) != 1 {
		t.Errorf("outside there is %v, %v", found, err)
	}
}

// turn replaces directories and files by links, and back.
func turn(tree, outside string, stop chan struct{}) {
	for !wire.IsClosed(stop) {
		for _, name := range []string{"a", "b", "c/secret"} {
			path, aside := filepath.Join(tree, name), filepath.Join(tree, "aside")
			target := outside
			if name == "c/secret" {
				target += "/secret"
			}
			if os.Rename(path, aside) == nil && os.Symlink(target, path) == nil {
				_ = os.Remove(path)
				_ = os.Rename(aside, path)
			}
		}
	}
}

// verifyHarmless wants no file below a directory to have the secret.
func verifyHarmless(t *testing.T, root string) {
	t.Helper()
	_ = filepath.WalkDir(root, func(path string, entry os.DirEntry, _ error) error {
		if entry != nil && entry.Type().IsRegular() {
			if content, _ := os.ReadFile(path); strings.Contains(string(content), secret) {
				t.Errorf("%s has what is outside", path)
			}
		}
		return nil
	})
}

// liar sends frames as an in-pod half would.
type liar struct{ out io.Writer }

func (l liar) frame(kind byte, content []byte) liar {
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(content)))
	_, _ = l.out.Write(append(head, content...))
	return l
}

func (l liar) entry(e wire.Entry) liar { return l.frame(wire.FrameEntry, wire.AppendEntry(nil, e)) }

func (l liar) dir(name string) liar {
	return l.entry(wire.Entry{Kind: wire.KindDirectory, Name: name, Mode: 0o755})
}

func (l liar) link(name, text string) liar {
	return l.entry(wire.Entry{Kind: wire.KindSymlink, Name: name, Link: text})
}

func (l liar) data(offset int64, content string) liar {
	return l.frame(wire.FrameData, append(binary.BigEndian.AppendUint64(nil, uint64(offset)), content...))
}

// file sends a file that has an x.
func (l liar) file(name string) liar {
	const content = "x"
	l.entry(wire.Entry{Kind: wire.KindFile, Name: name, Mode: 0o644, Size: int64(len(content))}).data(0, content)
	d := filecopy.NewDigest()
	d.Add([]byte(content))
	return l.end(int64(len(content)), d.Sum())
}

func (l liar) end(size int64, sum [wire.DigestSize]byte) liar {
	return l.frame(wire.FrameFileEnd, wire.AppendFileEnd(nil, wire.FileEnd{Size: size, Digest: sum}))
}

func (l liar) up() liar { return l.frame(wire.FrameUp, nil) }

// raw sends an entry that no encoder would write.
func (l liar) raw(kind byte, name string) liar {
	return l.frame(wire.FrameEntry, wire.AppendEntry(nil, wire.Entry{Kind: wire.FileKind(kind), Name: name, Size: 0}))
}

// TestLyingPod has an in-pod half that sends anything. Nothing is written but where the copy goes,
// nothing incomplete is taken for complete, and no copy waits forever.
func TestLyingPod(t *testing.T) {
	var wrong [wire.DigestSize]byte
	for name, c := range map[string]struct {
		says func(l liar)
		want string
		// cut ends the connection in place of sending that this is all.
		cut bool
	}{
		"dots":            {says: func(l liar) { l.dir("top").raw('d', "..").raw('f', "planted") }, want: "malformed entry"},
		"slash":           {says: func(l liar) { l.dir("top").raw('f', "../planted") }, want: "malformed entry"},
		"absolute":        {says: func(l liar) { l.dir("top").raw('f', "/planted") }, want: "malformed entry"},
		"nul":             {says: func(l liar) { l.dir("top").raw('f', "a\x00b") }, want: "malformed entry"},
		"device":          {says: func(l liar) { l.dir("top").raw('b', "device") }, want: "malformed entry"},
		"link, then dir":  {says: func(l liar) { l.dir("top").link("a", "../outside").dir("a").file("planted").up().up() }, want: "the same as that of another file"},
		"link, then file": {says: func(l liar) { l.dir("top").link("a", "../outside/secret").file("a").up() }, want: "the same as that of another file"},
		"file, then file": {says: func(l liar) { l.dir("top").file("a").file("a").up() }, want: "the same as that of another file"},
		"dir, then dir":   {says: func(l liar) { l.dir("top").dir("a").up().dir("a").file("b").up().up() }, want: "the same as that of another file"},
		"file, then link": {says: func(l liar) { l.dir("top").file("a").link("a", "b").up() }, want: "the same as that of another file"},
		"file, then large file": {says: func(l liar) {
			l.dir("top").file("a").entry(wire.Entry{Kind: wire.KindFile, Name: "a", Size: 1 << 20}).end(1<<20, wrong).up()
		}, want: "the same as that of another file"},
		"part of a file": {says: func(l liar) { l.dir("top").file(partial).up() }, want: "an incomplete copy has left"},
		"longer at the end": {says: func(l liar) {
			l.dir("top").entry(wire.Entry{Kind: wire.KindFile, Name: "a", Size: 1}).data(0, "x").end(1<<60, wrong)
		}, want: "wrong order"},
		"link to itself":  {says: func(l liar) { l.dir("top").entry(wire.Entry{Kind: wire.KindHardLink, Name: "h", Number: 9}).up() }, want: "another name of is not there"},
		"top is a link":   {says: func(l liar) { l.link("top", "../outside") }, want: ""},
		"second top":      {says: func(l liar) { l.dir("top").up().dir("other") }, want: "wrong order"},
		"up and up":       {says: func(l liar) { l.dir("top").up().up() }, want: "wrong order"},
		"data of nothing": {says: func(l liar) { l.dir("top").data(0, "x") }, want: "wrong order"},
		"file in file":    {says: func(l liar) { l.dir("top").entry(wire.Entry{Kind: wire.KindFile, Name: "a", Size: 5}).file("b") }, want: "wrong order"},
		"too much data": {says: func(l liar) {
			l.dir("top").entry(wire.Entry{Kind: wire.KindFile, Name: "a", Size: 1}).data(0, "xx")
		}, want: "data from 0 to 2 of a file of 1 bytes"},
		"data behind": {says: func(l liar) {
			l.dir("top").entry(wire.Entry{Kind: wire.KindFile, Name: "a", Size: 9}).data(4, "xx").data(2, "xx")
		}, want: "data from 2 to 4"},
		"negative offset": {says: func(l liar) {
			l.dir("top").entry(wire.Entry{Kind: wire.KindFile, Name: "a", Size: 9}).data(-1, "xx")
		}, want: "data from -1"},
		"overflowing offset": {says: func(l liar) {
			l.dir("top").entry(wire.Entry{Kind: wire.KindFile, Name: "a", Size: 1<<63 - 1}).data(1<<63-1, "xx")
		}, want: "data from"},
		"wrong digest": {says: func(l liar) {
			l.dir("top").entry(wire.Entry{Kind: wire.KindFile, Name: "a", Size: 1}).data(0, "x").end(1, wrong).up()
		}, want: "its SHA-256 differs"},
		"cut in a file":  {says: func(l liar) { l.dir("top").entry(wire.Entry{Kind: wire.KindFile, Name: "a", Size: 5}).data(0, "x") }, want: "connection lost", cut: true},
		"no end":         {says: func(l liar) { l.dir("top").file("a").up() }, want: "connection lost", cut: true},
		"end in a tree":  {says: func(l liar) { l.dir("top").frame(wire.FrameAllSent, nil) }, want: "wrong order"},
		"unknown frame":  {says: func(l liar) { l.frame('?', []byte("x")) }, want: "unknown kind"},
		"request":        {says: func(l liar) { l.frame(wire.FrameRequest, []byte("{}")) }, want: "unknown kind"},
		"too much room":  {says: func(l liar) { l.frame(wire.FrameRoom, []byte{0xff, 0xff, 0xff, 0xff}) }, want: "room for"},
		"giant frame":    {says: func(l liar) { _, _ = l.out.Write([]byte{'d', 0xff, 0xff, 0xff, 0xff}) }, want: "more than"},
		"terminal codes": {says: func(l liar) { l.frame(wire.FrameFailure, []byte(`{"text":"\u001b[2Jgone"}`)) }, want: "\ufffd[2Jgone"},
		"codes in a name": {says: func(l liar) {
			l.dir("top").frame(wire.FrameProblem, []byte(`{"path":"a\u001b]0;x","text":"b\n"}`)).up()
		}, want: "a\ufffd]0;x"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t)
			at := t.TempDir()
			writeFile(t, at+"/outside/secret", []byte(secret), 0o644)
			must(t, os.Mkdir(at+"/to", 0o755))
			p.lie = func(in io.Reader, out io.Writer) {
				_, _ = io.ReadFull(in, make([]byte, len(wire.FilesGreeting)))
				left := make(chan struct{})
				go func() { defer close(left); _, _ = io.Copy(io.Discard, in) }()
				_, _ = out.Write([]byte(wire.FilesGreeting))
				c.says(liar{out}.frame(wire.FrameHello, []byte("{}")))
				if !c.cut {
					_, _ = out.Write([]byte{wire.FrameAllSent, 0, 0, 0, 0})
					<-left
				}
			}

			got := p.copy(t, "web:/tree", at+"/to/copy")
			if c.want != "" {
				got.mustFail(t, c.want)
			}
			if strings.ContainsAny(got.stderr, "\x1b\r") {
				t.Errorf("stderr %q commands a terminal", got.stderr)
			}
			verifyOnlyCopy(t, at)
		})
	}
}

// TestLinkedPathsAreBounded remembers the paths of files with several names up to a size, however
// many and deep they are.
func TestLinkedPathsAreBounded(t *testing.T) {
	const depth, files = 300, 500
	p := newPod(t)
	p.lie = func(in io.Reader, out io.Writer) {
		_, _ = out.Write([]byte(wire.FilesGreeting))
		left := make(chan struct{})
		go func() { defer close(left); _, _ = io.Copy(io.Discard, in) }()
		l := liar{out}.frame(wire.FrameHello, []byte("{}"))
		for range depth {
			l.dir(strings.Repeat("d", 250))
		}
		empty := filecopy.NewDigest().Sum()
		for i := range uint32(files) {
			l.entry(wire.Entry{Kind: wire.KindFile, Name: fmt.Sprint(i), Number: i + 1, Mode: 0o644}).end(0, empty)
		}
		l.entry(wire.Entry{Kind: wire.KindHardLink, Name: "last", Number: files})
		for range depth {
			l.up()
		}
		l.frame(wire.FrameAllSent, nil)
		<-left
	}
	p.copy(t, "web:/tree", t.TempDir()+"/copy").mustFail(t, "last: not copied", "or not remembered", "as they are: 1")
}

// verifyOnlyCopy wants nothing new in a directory but to/copy, and no file in that of which the
// bytes are not all there.
func verifyOnlyCopy(t *testing.T, at string) {
	t.Helper()
	content, err := os.ReadFile(at + "/outside/secret")
	must(t, err)
	if string(content) != secret {
		t.Errorf("the file outside = %q", content)
	}
	for dir, want := range map[string]int{at: 2, at + "/outside": 1} {
		if found, err := os.ReadDir(dir); err != nil || len(found) != want {
			t.Errorf("%s has %v, %v", dir, found, err)
		}
	}
	found, err := os.ReadDir(at + "/to")
	must(t, err)
	for _, entry := range found {
		if entry.Name() != "copy" {
			t.Errorf("to/%s was made", entry.Name())
		}
	}
	_ = filepath.WalkDir(at+"/to", func(path string, entry os.DirEntry, _ error) error {
		if entry != nil && entry.Type().IsRegular() && !strings.HasPrefix(entry.Name(), ".kdiag-copy-") {
			if content, _ := os.ReadFile(path); string(content) != "x" {
				t.Errorf("%s = %q is not complete", path, content)
			}
		}
		return nil
	})
}

// TestHostileDestination replaces what it may replace at the destination, follows no link there, and
// neither writes to nor removes anything else.
func TestHostileDestination(t *testing.T) {
	p := newPod(t)
	outside := makeHostile(t, t.TempDir())
	to := p.root + "/to"
	must(t, os.MkdirAll(to+"/afile", 0o755))
	must(t, os.Symlink(outside+"/secret", to+"/link"))
	must(t, os.Symlink(outside, to+"/adir"))
	must(t, syscall.Mkfifo(to+"/fifo", 0o600))
	local := t.TempDir()
	for _, name := range []string{"afile", "link", "fifo", "adir/planted"} {
		writeFile(t, local+"/"+name, []byte("x"), 0o644)
	}

	p.copy(t, local+"/.", "web:/to").mustFail(t,
		"afile: not copied: a directory has its name", "fifo: not copied: a FIFO has its name", "adir: not copied: something else than a directory has its name")
	if content, _ := os.ReadFile(outside + "/secret"); string(content) != secret {
		t.Errorf("the file outside = %q", content)
	}
	if found, _ := os.ReadDir(outside); len(found) != 1 {
		t.Errorf("outside there is %v", found)
	}
	if info, err := os.Lstat(to + "/link"); err != nil || !info.Mode().IsRegular() {
		t.Errorf("link = %v, %v, want the file in its place", info, err)
	}
}
