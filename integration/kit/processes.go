package kit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// DescribeProcesses says where kdiag's processes on this machine wait, on the laptop's side and in
// the pods: the command line of each whose words contain word, and for each thread the system call
// it is in and the kernel's stack.
func DescribeProcesses(word string) string {
	var said strings.Builder
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		text, _ := os.ReadFile(line)
		if !strings.Contains(string(text), "kdiag") || !strings.Contains(string(text), word) {
			continue
		}

		process := filepath.Dir(line)
		fmt.Fprintf(&said, "%s: %q\n", process, strings.Split(strings.Trim(string(text), "\x00"), "\x00"))
		threads, _ := filepath.Glob(process + "/task/*")
		for _, thread := range threads {
			call, _ := os.ReadFile(thread + "/syscall")
			stack, _ := os.ReadFile(thread + "/stack")
			fmt.Fprintf(&said, "  %s: call %s, stack %q\n", filepath.Base(thread), strings.TrimSpace(string(call)), stack)
		}
	}

	return said.String()
}
