package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// findIptables returns the files of this machine's iptables for an image: the
// program, its links, its libraries and its extensions.
func findIptables() ([]file, error) {
	found, err := exec.LookPath("iptables")
	if err != nil {
		return nil, fmt.Errorf("%w: apt-get install iptables", err)
	}

	program, err := filepath.EvalSymlinks(found)
	if err != nil {
		return nil, err
	}

	// "libmnl.so.0 => /lib/…/libmnl.so.0 (0x…)"; the loader has no arrow.
	libraries, err := exec.Command("ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", program, err)
	}

	paths := []string{program}
	for word := range strings.FieldsSeq(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			paths = append(paths, word)
		}
	}

	extensions, err := filepath.Glob("/usr/lib/*/xtables/*.so")
	if err != nil || len(extensions) == 0 {
		return nil, fmt.Errorf("no extensions of iptables (%w)", err)
	}

	var files []file
	for _, path := range append(paths, extensions...) {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, file{path: strings.TrimPrefix(path, "/"), mode: 0o755, data: data})
	}

	for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		files = append(files, file{path: "usr/sbin/" + name, link: program})
	}

	return files, nil
}
