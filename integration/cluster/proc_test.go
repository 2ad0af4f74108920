package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// No component is named as in these tests: a real cluster on this machine must not take theirs for its neighbour's.

// spawnSleep starts a component that sleeps, and has a child that does.
func spawnSleep(t *testing.T, c *cluster, name string) process {
	t.Helper()
	if err := c.spawn(name, []string{"sh", "-c", "sleep 60 & wait"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.killComponents(t.Context()) })
	return eventually(t, c, name)
}

func eventually(t *testing.T, c *cluster, name string) process {
	t.Helper()
	for range 200 {
		if p, ok := c.running(name); ok {
			return p
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("running(%q): not found", name)
	return process{}
}

func TestRunningFindsOnlyItsOwn(t *testing.T) {
	a, b := &cluster{dir: t.TempDir()}, &cluster{dir: t.TempDir()}
	p := spawnSleep(t, a, "one")
	if !p.main {
		t.Errorf("running(one) = %+v, want main", p)
	}
	if p, ok := a.running("two"); ok {
		t.Errorf("running(two) = %+v, though only one runs", p)
	}
	if p, ok := b.running("one"); ok {
		t.Errorf("running(one) = %+v, another cluster's", p)
	}
}

func TestChildIsNoComponent(t *testing.T) {
	c := &cluster{dir: t.TempDir()}
	p := spawnSleep(t, c, "parent")
	var child process
	for range 200 {
		all, err := processes()
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(all, func(q process) bool { return q.dir == c.dir && q.pid != p.pid }); i >= 0 {
			child = all[i]
			break
		}
		time.Sleep(10 * time.Millisecond)
	}

	if child.pid == 0 || child.main || child.part != "parent" {
		t.Fatalf("child = %+v, want one of parent's that is not main", child)
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := p.gone(t.Context(), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if q, ok := c.running("parent"); ok {
		t.Errorf("running(parent) = %+v, though only its child is left", q)
	}
	if err := c.killComponents(t.Context()); err != nil {
		t.Fatal(err)
	}
	if child.alive() {
		t.Error("killComponents spared a child")
	}
}

// A pid that now belongs to someone else must not be signalled.
func TestSignalSparesStranger(t *testing.T) {
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Process.Kill()

	stale := process{pid: stranger.Process.Pid, part: "one", dir: t.TempDir(), main: true}
	if stale.alive() {
		t.Error("alive() = true for a stranger")
	}
	if err := stale.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := stale.gone(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the stranger was killed: %v", err)
	}
}

func TestZombieIsGone(t *testing.T) {
	c := &cluster{dir: t.TempDir()}
	cmd := exec.Command("true")
	cmd.Env = []string{marker + "=one:" + c.dir}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()

	p := process{pid: cmd.Process.Pid, part: "one", dir: c.dir}
	if err := p.gone(t.Context(), 5*time.Second); err != nil {
		t.Error(err)
	}
}

func TestComponentGetsNothingOfOurEnvironment(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://proxy.example")
	c := &cluster{dir: t.TempDir()}
	p := spawnSleep(t, c, "one")
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.pid))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(environ, []byte("PROXY")) {
		t.Errorf("environ = %q", environ)
	}
}

// A process has no environment while it is in execve(2), and is there all the same. This one is in it all the time.
func TestRunningInExec(t *testing.T) {
	c := &cluster{dir: t.TempDir()}
	script := c.Path("again")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec \"$0\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { c.killComponents(context.Background()) })
	if err := c.spawn("one", []string{script}); err != nil {
		t.Fatal(err)
	}

	p := eventually(t, c, "one")
	for i := range 2000 {
		if !p.alive() {
			t.Fatalf("alive() = false at look %d", i)
		}
	}
}

func TestDying(t *testing.T) {
	for s, want := range map[stat]bool{{state: "Z", threads: 3}: true, {state: "Z", threads: 1}: false, {state: "S", threads: 3}: false} {
		if got := s.dying(); got != want {
			t.Errorf("%+v.dying() = %v, want %v", s, got, want)
		}
	}
}

func TestParseStat(t *testing.T) {
	tail := " 1 7 42 0 -1 %d" + strings.Repeat(" 1", 41) + " %s 0\n"
	for _, test := range []struct {
		name, text      string
		session, inExec any
	}{
		{"program", "8 (sh) S" + fmt.Sprintf(tail, 0x400000, "140000"), 42, false},
		{"hostile name", "8 (a) Z 0 (b) R" + fmt.Sprintf(tail, 0x400000, "140000"), 42, false},
		{"in execve", "8 (sh) R" + fmt.Sprintf(tail, 0x400000, "0"), 42, true},
		{"zombie", "8 (sh) Z" + fmt.Sprintf(tail, 0x400000, "0"), 42, false},
		{"kernel thread", "8 (kworker/0:1) I" + fmt.Sprintf(tail, 0x4208060, "0"), 42, false},
		{"gone", "", 0, false},
	} {
		s := parseStat(test.text)
		if s.session != test.session || s.inExec() != test.inExec {
			t.Errorf("%s: parseStat() = %+v, in exec %v, want session %v, in exec %v", test.name, s, s.inExec(), test.session, test.inExec)
		}
	}
}
