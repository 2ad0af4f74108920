package seccomptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// constant matches how golang.org/x/sys declares the number of a system call.
var constant = regexp.MustCompile(`(?m)^\s+SYS_(\w+)\s+= (\d+)$`)

// Numbers returns the numbers of an architecture's system calls by their names, such as
// "openat". It reads them from the source of golang.org/x/sys, which takes them from the
// kernel's headers, so that a test can have those of every architecture.
func Numbers(t testing.TB, goarch string) map[string]uint32 {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}

	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+goarch+".go"))
	if err != nil {
		t.Fatal(err)
	}

	numbers := map[string]uint32{}
	for _, match := range constant.FindAllStringSubmatch(string(source), -1) {
		number, err := strconv.ParseUint(match[2], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		numbers[strings.ToLower(match[1])] = uint32(number)
	}

	if len(numbers) < 200 {
		t.Fatalf("%d system calls of %s in golang.org/x/sys, want more", len(numbers), goarch)
	}

	return numbers
}
