package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Every process of the cluster carries in its environment which component of which
// cluster it belongs to: NAME:DIR. No file remembers process ids, so none can be stale,
// name a stranger, or be missing since its writer was killed.
const marker = "KDIAG_CLUSTER_PART"

// process carries a running process of a cluster.
type process struct {
	pid         int
	part        string // the component that it is, or descends from
	dir         string // the cluster's state directory
	isComponent bool   // it is the component, not a child or a shim of it
}

// listProcesses finds the processes of all clusters on the machine. Zombies have no
// environment, and are as good as gone.
func listProcesses() ([]process, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}

	var found []process
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if p, ok := inspectProcess(pid); ok {
			found = append(found, p)
		}
	}

	return found, nil
}

// inspectProcess tells whether a process is there and belongs to a cluster.
func inspectProcess(pid int) (process, bool) {
	environ, err := readEnvironment(pid)
	if err != nil {
		return process{}, false
	}

	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		value, ok := strings.CutPrefix(string(entry), marker+"=")
		if !ok {
			continue
		}
		part, dir, ok := strings.Cut(value, ":")
		// What spawn started leads a session; what that started does not.
		return process{pid: pid, part: part, dir: dir, isComponent: readStat(pid).session == pid}, ok
	}

	return process{}, false
}

// readEnvironment reads the environment of a process. There is none for a moment in
// execve(2), for which it waits, up to a second.
func readEnvironment(pid int) ([]byte, error) {
	file := fmt.Sprintf("/proc/%d/environ", pid)
	none := 0
	for range 1000 {
		environ, err := os.ReadFile(file)
		if err != nil || len(environ) > 0 {
			return environ, err
		}

		switch now := readStat(pid); {
		case now.hasNoEnvironment():
			return nil, nil
		case now.isInExec():
			// Nothing tells of the end of an execve(2) of a process that is not ours.
			time.Sleep(time.Millisecond)
		default:
			// It has none; or it had just done with one execve, and may be in the
			// next at the next look.
			if none++; none == 20 {
				return nil, nil
			}
		}
	}

	return nil, nil
}

// stat carries a part of proc_pid_stat(5).
type stat struct {
	state   string
	session int
	flags   int
	threads int
	envEnd  string
}

// readStat reads the state of a process, or an empty one if it is gone.
func readStat(pid int) stat {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}
	}
	return parseStat(string(text))
}

// parseStat parses the format of proc_pid_stat(5).
func parseStat(text string) stat {
	// pid (comm) state ...; comm may hold blanks and parentheses. Field 3 comes to be fields[0].
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 49 {
		return stat{}
	}
	session, _ := strconv.Atoi(fields[3])
	flags, _ := strconv.Atoi(fields[6])
	threads, _ := strconv.Atoi(fields[17])
	return stat{fields[0], session, flags, threads, fields[48]}
}

// isInExec tells whether a process is in execve(2), before its new environment is in
// place.
func (s stat) isInExec() bool { return s.envEnd == "0" && !s.hasNoEnvironment() }

// hasNoEnvironment tells whether a process never has an environment again: the dead,
// and the kernel's threads.
func (s stat) hasNoEnvironment() bool {
	const kernelThread = 0x00200000 // PF_KTHREAD in the kernel's include/linux/sched.h
	return s.state == "" || s.state == "Z" || s.state == "X" || s.flags&kernelThread != 0
}

// isDying tells whether the first thread of a process has ended, while others still
// hold its files, sockets and locks.
func (s stat) isDying() bool { return s.state == "Z" && s.threads > 1 }

// signal sends a signal to the process, unless it has ended and its pid belongs to
// another one.
func (p process) signal(sig syscall.Signal) error {
	handle, err := os.FindProcess(p.pid) // a pidfd: from here on it cannot come to mean another
	if err != nil {
		return err
	}
	defer handle.Release()

	if !p.isAlive() {
		return nil
	}
	if err := handle.Signal(sig); err != nil && p.isAlive() {
		return fmt.Errorf("signal %s (pid %d): %w", p.part, p.pid, err)
	}

	return nil
}

// isAlive tells whether the process is there, and its pid does not belong to another
// one.
func (p process) isAlive() bool {
	now, ok := inspectProcess(p.pid)
	return ok && now.part == p.part && now.dir == p.dir
}

// awaitEnd waits until the process has ended and has let go of everything that it
// held.
func (p process) awaitEnd(ctx context.Context, patience time.Duration) error {
	return waitUntil(ctx, patience, func() error {
		if p.isAlive() || readStat(p.pid).isDying() {
			return fmt.Errorf("%s (pid %d) does not end", p.part, p.pid)
		}
		return nil
	})
}

// toolCommand returns a program for the cluster command to run and wait for. It is
// marked, too: if the command is killed meanwhile, the next one finds what it left
// running.
func (c *cluster) toolCommand(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), c.markFor("tool"))
	return cmd
}

// markFor returns the mark of a component, as a variable of a process's environment.
func (c *cluster) markFor(part string) string { return marker + "=" + part + ":" + c.dir }

// spawnComponent starts a component that outlives this process and its terminal. Its
// output is appended to log/NAME.log.
func (c *cluster) spawnComponent(name string, argv []string) error {
	if err := os.MkdirAll(c.Path("log"), 0o755); err != nil {
		return err
	}

	log, err := os.OpenFile(c.logFile(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()

	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	// Nothing else of our environment: a proxy set there would stand between the API
	// server and the kubelet.
	cmd.Env = []string{"PATH=" + c.searchPath(), c.markFor(name)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}

	go cmd.Wait() // it may end before we do
	return nil
}

// logFile returns the path of the log of a component.
func (c *cluster) logFile(name string) string { return c.Path("log/" + name + ".log") }

// readLastLine reads the last line of a component's log.
func (c *cluster) readLastLine(name string) string {
	text, err := os.ReadFile(c.logFile(name))
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	return string(text[bytes.LastIndexByte(text, '\n')+1:])
}

// findComponent finds the process of a component.
func (c *cluster) findComponent(name string) (process, bool) {
	all, err := listProcesses()
	if err != nil {
		return process{}, false
	}
	for _, p := range all {
		if p.dir == c.dir && p.part == name && p.isComponent {
			return p, true
		}
	}
	return process{}, false
}
