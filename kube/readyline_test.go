package kube

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadFirstObject(t *testing.T) {
	for _, c := range []struct{ name, log, want, last string }{
		{"at once", "{\"a\":1}\n{\"b\":2}\n", `{"a":1}`, ""},
		{"after a note", "note: x\n\n{}\n", "{}", ""},
		{"nothing", "", "", ""},
		{"cut short", "note\n{\"a\":", "", "note\n{\"a\":"},
		{"an error", "1\nkdiag: no\nhint: yes\n", "", "kdiag: no\nhint: yes\n"},
		{"as many lines as may be", strings.Repeat("x\n", maxReadyLines-1) + "{}\n", "{}", ""},
		{"the longest line", "{" + strings.Repeat("x", maxReadyLine-2) + "\n", "{" + strings.Repeat("x", maxReadyLine-2), ""},
	} {
		line, last, err := readFirstObject(strings.NewReader(c.log))
		if string(line) != c.want || last != c.last || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("%s: readFirstObject = %q, %q, %v, want %q, %q", c.name, line, last, err, c.want, c.last)
		}
	}

	for name, log := range map[string]string{
		"too many lines": strings.Repeat("x\n", maxReadyLines) + "{}\n",
		"too long":       "{" + strings.Repeat("x", maxReadyLine-1) + "\n",
	} {
		if line, _, err := readFirstObject(strings.NewReader(log)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: readFirstObject = %q, %v, want an error", name, line, err)
		}
	}
}
