package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Stat holds a part of /proc/PID/stat.
type Stat struct {
	PID     int
	Command string
	// State is R, S, D, T, t, Z or X.
	State byte
	// Parent is 0 for a process whose parent is outside the PID namespace.
	Parent  int
	Group   int
	Session int
	// Start is when the process began, in clock ticks since boot. PID and Start together identify
	// a process for good.
	Start uint64
	// CPU is the time in user and in kernel mode, in clock ticks.
	CPU     uint64
	Threads int
	// Thread is the one whose files in /proc tell of the process: its first one, whose number is PID,
	// or a living one where that has ended. The kernel shows nothing of a thread that has ended.
	Thread int
	// RSS is the resident set in pages, by the kernel's cheap and inexact count.
	RSS uint64
}

// TicksPerSecond converts clock ticks. USER_HZ is 100 on every architecture that Go has
// (include/asm-generic/param.h).
const TicksPerSecond = 100

// Dead reports whether nothing of the process is left but its entry.
func (s Stat) Dead() bool { return s.State == 'Z' || s.State == 'X' }

// The positions of fields after the command's ")". The first of them is number 3 of proc(5).
const (
	statState = iota
	statParent
	statGroup
	statSession
	statUser    = 14 - 3
	statSystem  = 15 - 3
	statThreads = 20 - 3
	statStart   = 22 - 3
	statRSS     = 24 - 3
)

// ParseStat parses the content of /proc/PID/stat. The command may hold anything, ")" and line ends
// too, so it ends at the last ")".
func ParseStat(content []byte) (Stat, error) {
	open, end := bytes.IndexByte(content, '('), bytes.LastIndexByte(content, ')')
	if open < 0 || end < open {
		return Stat{}, errors.New("no command in parentheses")
	}

	fields := bytes.Fields(content[end+1:])
	if len(fields) <= statRSS {
		return Stat{}, fmt.Errorf("%d fields after the command, want more than %d", len(fields), statRSS)
	}
	if len(fields[statState]) != 1 {
		return Stat{}, fmt.Errorf("state %q", fields[statState])
	}

	s := Stat{Command: string(content[open+1 : end]), State: fields[statState][0]}
	for _, f := range []struct {
		to   *int
		text []byte
	}{
		{&s.PID, bytes.TrimSpace(content[:open])},
		{&s.Parent, fields[statParent]},
		{&s.Group, fields[statGroup]},
		{&s.Session, fields[statSession]},
		{&s.Threads, fields[statThreads]},
	} {
		n, err := strconv.Atoi(string(f.text))
		if err != nil {
			return Stat{}, err
		}
		*f.to = n
	}

	var system uint64
	for _, f := range []struct {
		to   *uint64
		text []byte
	}{
		{&s.Start, fields[statStart]},
		{&s.CPU, fields[statUser]},
		{&system, fields[statSystem]},
		{&s.RSS, fields[statRSS]},
	} {
		n, err := strconv.ParseUint(string(f.text), 10, 64)
		if err != nil {
			return Stat{}, err
		}
		*f.to = n
	}

	s.CPU += system
	return s, nil
}
