package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// No component is named as in these tests: a real cluster on this machine must not take
// theirs for its neighbour's.

// spawnSleep starts a component that sleeps, and has a child that sleeps.
func spawnSleep(t *testing.T, c *cluster, name string) process {
	t.Helper()
	if err := c.spawnComponent(name, []string{"sh", "-c", "sleep 60 & wait"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.killComponents(t.Context()) })
	return waitForComponent(t, c, name)
}

// waitForComponent waits until a component runs.
func waitForComponent(t *testing.T, c *cluster, name string) process {
	t.Helper()
	var found process
	err := waitUntil(t.Context(), 10*time.Second, func() error {
		var ok bool
		if found, ok = c.findComponent(name); !ok {
			return fmt.Errorf("findComponent(%q): not found", name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestFindComponentFindsOnlyItsOwn finds no component of another name, and none of another
// cluster.
func TestFindComponentFindsOnlyItsOwn(t *testing.T) {
	a, b := &cluster{dir: t.TempDir()}, &cluster{dir: t.TempDir()}
	p := spawnSleep(t, a, "one")
	if !p.isComponent {
		t.Errorf("findComponent(one) = %+v, want the component", p)
	}
	if p, ok := a.findComponent("two"); ok {
		t.Errorf("findComponent(two) = %+v, though only one runs", p)
	}
	if p, ok := b.findComponent("one"); ok {
		t.Errorf("findComponent(one) = %+v, another cluster's", p)
	}
}

// TestChildIsNoComponent does not take the child of a component for the component,
// but kills it with it.
func TestChildIsNoComponent(t *testing.T) {
	c := &cluster{dir: t.TempDir()}
	p := spawnSleep(t, c, "parent")
	var child process
	err := waitUntil(t.Context(), 10*time.Second, func() error {
		all, err := listProcesses()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(q process) bool { return q.dir == c.dir && q.pid != p.pid })
		if i < 0 {
			return errors.New("no child")
		}
		child = all[i]
		return nil
	})

	if err != nil || child.isComponent || child.part != "parent" {
		t.Fatalf("child = %+v, %v, want one of parent's that is not a component", child, err)
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := p.awaitEnd(t.Context(), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if q, ok := c.findComponent("parent"); ok {
		t.Errorf("findComponent(parent) = %+v, though only its child is left", q)
	}
	if err := c.killComponents(t.Context()); err != nil {
		t.Fatal(err)
	}
	if child.isAlive() {
		t.Error("killComponents spared a child")
	}
}

// TestSignalSparesStranger sends no signal to a pid that now belongs to someone
// else.
func TestSignalSparesStranger(t *testing.T) {
	stranger := exec.Command("sleep", "60")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer stranger.Process.Kill()

	stale := process{pid: stranger.Process.Pid, part: "one", dir: t.TempDir(), isComponent: true}
	if stale.isAlive() {
		t.Error("isAlive() = true for a stranger")
	}
	if err := stale.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := stale.awaitEnd(t.Context(), time.Second); err != nil {
		t.Error(err)
	}
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the stranger was killed: %v", err)
	}
}

// TestZombieIsGone takes a process that nobody has waited for as ended.
func TestZombieIsGone(t *testing.T) {
	c := &cluster{dir: t.TempDir()}
	cmd := exec.Command("true")
	cmd.Env = []string{marker + "=one:" + c.dir}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()

	p := process{pid: cmd.Process.Pid, part: "one", dir: c.dir}
	if err := p.awaitEnd(t.Context(), 5*time.Second); err != nil {
		t.Error(err)
	}
}

// TestComponentGetsNothingOfOurEnvironment keeps a proxy from a component that is
// set here.
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

// TestFindComponentInExec finds a process that is in execve(2) all the time, where it has
// no environment.
func TestFindComponentInExec(t *testing.T) {
	c := &cluster{dir: t.TempDir()}
	script := c.Path("again")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec \"$0\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { c.killComponents(context.Background()) })
	if err := c.spawnComponent("one", []string{script}); err != nil {
		t.Fatal(err)
	}

	p := waitForComponent(t, c, "one")
	for i := range 2000 {
		if !p.isAlive() {
			t.Fatalf("isAlive() = false at look %d", i)
		}
	}
}

func TestDying(t *testing.T) {
	for s, want := range map[stat]bool{{state: "Z", threads: 3}: true, {state: "Z", threads: 1}: false, {state: "S", threads: 3}: false} {
		if got := s.isDying(); got != want {
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
		if s.session != test.session || s.isInExec() != test.inExec {
			t.Errorf("%s: parseStat() = %+v, in exec %v, want session %v, in exec %v", test.name, s, s.isInExec(), test.session, test.inExec)
		}
	}
}
