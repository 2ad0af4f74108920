package integration

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// copiedFiles is an archive of what copying most often changes: names, modes, owners, times and
// links, and a file that is larger than any buffer.
func copiedFiles() []tar.Header {
	long := strings.Repeat("n", 200)
	return []tar.Header{
		{Typeflag: tar.TypeDir, Name: "./with space/", Mode: 0o750, Uid: 12, Gid: 34},
		{Typeflag: tar.TypeReg, Name: "./with space/ümläut 'quoted'", Mode: 0o600, Uid: 12, Gid: 34, Size: 3},
		{Typeflag: tar.TypeReg, Name: "./new\nline", Mode: 0o4755, Size: 0},
		{Typeflag: tar.TypeDir, Name: "./" + long + "/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "./" + long + "/" + long, Mode: 0o444, Size: 1 << 20},
		{Typeflag: tar.TypeSymlink, Name: "./link", Linkname: "../outside", Mode: 0o777},
		{Typeflag: tar.TypeLink, Name: "./same", Linkname: "./new\nline", Mode: 0o4755},
	}
}

// packFiles writes an archive of files, with bytes that depend on the place.
func packFiles(t *testing.T, files []tar.Header) string {
	t.Helper()
	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	for _, file := range files {
		file.ModTime, file.Format = time.Unix(981173106, 0), tar.FormatGNU
		if err := out.WriteHeader(&file); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write(patternBytes(file.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.String()
}

// patternBytes returns so many bytes that are not all the same.
func patternBytes(size int64) []byte {
	all := make([]byte, size)
	for i := range all {
		all[i] = byte(i * 7 >> 3)
	}
	return all
}

// unpackFiles reads an archive, and compares the bytes of its files.
func unpackFiles(t *testing.T, archive string) map[string]tar.Header {
	t.Helper()
	files := map[string]tar.Header{}
	in := tar.NewReader(strings.NewReader(archive))
	for {
		file, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatalf("archive of %d bytes: %v", len(archive), err)
		}

		content, err := io.ReadAll(in)
		if err != nil || !bytes.Equal(content, patternBytes(file.Size)) {
			t.Errorf("%q: %d bytes, not those that were packed: %v", file.Name, len(content), err)
		}
		files[file.Name] = *file
	}
}

// TestCopyFiles copies a directory and a file to a container without any tool, and back.
func TestCopyFiles(t *testing.T) {
	namespace := kit.SharedPods(t)
	shell := []string{"shell", "-q", "-n", namespace, "deploy/web", "--"}
	run := func(stdin string, command ...string) string {
		t.Helper()
		got := kit.RunKdiagWith(t, stdin, nil, append(shell, command...)...)
		if got.Code != 0 || got.Stderr != "" {
			t.Fatalf("%q: %v\nwant code 0 and no message", command, got)
		}
		return got.Stdout
	}

	run("", "mkdir", "/copied")
	defer func() { run("", "rm", "-r", "/copied") }()
	want := copiedFiles()
	run(packFiles(t, want), "tar", "-C", "/copied", "-xf", "-")
	got := unpackFiles(t, run("", "tar", "-C", "/copied", "-cf", "-", "."))

	for _, file := range want {
		back := got[file.Name]
		if back.Mode != file.Mode || back.Uid != file.Uid || back.Gid != file.Gid ||
			file.Typeflag == tar.TypeReg && back.ModTime.Unix() != 981173106 {
			t.Errorf("%q came back as %+v", file.Name, back)
		}
		if file.Typeflag == tar.TypeSymlink && back.Linkname != file.Linkname {
			t.Errorf("link %q leads to %q, want %q", file.Name, back.Linkname, file.Linkname)
		}
	}

	content := string(patternBytes(300_000))
	run(content, "tee", "/copied/one")
	if back := run("", "cat", "/copied/one"); back != content {
		t.Errorf("a file of %d bytes came back with %d", len(content), len(back))
	}
}
