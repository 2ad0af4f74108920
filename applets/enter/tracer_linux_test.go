package enter_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"kdiag/applets/internal/pod/procfs"
)

// traceArgument makes the test binary a program that tries to get hold of a process.
const traceArgument = "trace-process"

// traceProcess tries every way into a process that the kernel checks as tracing. It prints
// "closed", or what was open.
func traceProcess(word string) int {
	runtime.LockOSThread()
	pid, err := strconv.Atoi(word)
	if err != nil {
		fmt.Println(err)
		return 2
	}

	if _, err := procfs.ReadStat(pid); err != nil {
		fmt.Println("no such process:", err)
		return 2
	}

	open := false
	for _, name := range []string{"mem", "environ", "maps", "auxv", "root", "cwd", "exe", "fd/0", "ns/mnt", "ns/pid", "map_files", "pagemap", "syscall", "io", "stack"} {
		file, err := os.Open(procfs.FilePath(pid, name))
		if err != nil {
			continue
		}
		// Some open, and check each read.
		if n, err := file.Read(make([]byte, 1)); name == "root" || name == "cwd" || name == "exe" || err == nil && n > 0 {
			fmt.Println("open:", name)
			open = true
		}
		_ = file.Close()
	}

	if err := syscall.PtraceAttach(pid); err == nil {
		fmt.Println("open: PTRACE_ATTACH")
		open = true
		_ = syscall.PtraceDetach(pid)
	}

	if !open {
		fmt.Println("closed")
	}

	return 0
}
