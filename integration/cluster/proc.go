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

// Every process of the cluster carries in its environment which component of which cluster it belongs to: NAME:DIR. No file
// remembers process ids, so none can be stale, name a stranger, or be missing since its writer was killed.
const marker = "KDIAG_CLUSTER_PART"

// process is a running process of a cluster.
type process struct {
	pid  int
	part string // the component that it is, or descends from
	dir  string // the cluster's state directory
	main bool   // it is the component, not a child or a shim of it
}

// processes finds those of all clusters on the machine. (Zombies have no environment, and are as good as gone.)
func processes() ([]process, error) {
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
		if p, ok := inspect(pid); ok {
			found = append(found, p)
		}
	}
	return found, nil
}

// inspect tells whether a process is there and belongs to a cluster.
func inspect(pid int) (process, bool) {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return process{}, false
	}
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		value, ok := strings.CutPrefix(string(entry), marker+"=")
		if !ok {
			continue
		}
		part, dir, ok := strings.Cut(value, ":")
		return process{pid: pid, part: part, dir: dir, main: isSessionLeader(pid)}, ok
	}
	return process{}, false
}

// isSessionLeader is true for what spawn started, and false for what that started.
func isSessionLeader(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// proc_pid_stat(5): pid (comm) state ppid pgrp session; comm may hold blanks and parentheses.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	return len(fields) > 3 && fields[3] == strconv.Itoa(pid)
}

// signal sends sig to the process, unless it has gone meanwhile and its pid is another's.
func (p process) signal(sig syscall.Signal) error {
	handle, err := os.FindProcess(p.pid) // a pidfd: from here on it cannot come to mean another
	if err != nil {
		return err
	}
	defer handle.Release()
	if !p.alive() {
		return nil
	}
	if err := handle.Signal(sig); err != nil && p.alive() {
		return fmt.Errorf("signal %s (pid %d): %w", p.part, p.pid, err)
	}
	return nil
}

func (p process) alive() bool {
	now, ok := inspect(p.pid)
	return ok && now.part == p.part && now.dir == p.dir
}

// gone waits until the process has ended.
func (p process) gone(ctx context.Context, patience time.Duration) error {
	for end := time.Now().Add(patience); p.alive(); {
		if time.Now().After(end) {
			return fmt.Errorf("%s (pid %d) does not end", p.part, p.pid)
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// spawn starts a component that outlives this process and its terminal. Its output is appended to log/NAME.log.
func (c *cluster) spawn(name string, argv []string) error {
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
	// Nothing else of our environment: a proxy set there would stand between the API server and the kubelet.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), marker + "=" + name + ":" + c.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	go cmd.Wait() // it may end before we do
	return nil
}

func (c *cluster) logFile(name string) string { return c.Path("log/" + name + ".log") }

// running gives a component's process.
func (c *cluster) running(name string) (process, bool) {
	all, err := processes()
	if err != nil {
		return process{}, false
	}
	for _, p := range all {
		if p.dir == c.dir && p.part == name && p.main {
			return p, true
		}
	}
	return process{}, false
}
