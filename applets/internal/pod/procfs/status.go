package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Status holds a part of /proc/PID/status.
type Status struct {
	UIDs, GIDs IDs
	// Groups are the supplementary groups.
	Groups []int
	// Ignored and Caught are the signals that do not have their default action.
	Ignored, Caught Signals
	Caps            Capabilities
	// Tracer is the PID of the process that traces this one; 0 for none.
	Tracer int
	// NoNewPrivileges says that no execve can grant more (prctl(2),
	// PR_SET_NO_NEW_PRIVS).
	NoNewPrivileges bool
}

// IDs holds the user or group IDs of a process.
type IDs struct{ Real, Effective, Saved, FS int }

// AllSame reports whether the real, effective and saved ID are the same.
func (i IDs) AllSame() bool { return i.Real == i.Effective && i.Real == i.Saved }

// Signals is a set of signals.
type Signals uint64

// Has reports whether the signal of that number, which is 1 or more, is in the set.
func (s Signals) Has(number int) bool { return s&(1<<(number-1)) != 0 }

// CapSet is a set of capabilities.
type CapSet uint64

// Has reports whether all of the numbered capabilities are in the set.
func (c CapSet) Has(numbers ...int) bool {
	for _, n := range numbers {
		if c&(1<<n) == 0 {
			return false
		}
	}
	return true
}

// Capabilities holds the five sets of a thread (capabilities(7)).
type Capabilities struct {
	Inheritable, Permitted, Effective, Bounding, Ambient CapSet
}

// ParseStatus parses the content of /proc/PID/status. It fails without the user and group IDs;
// whatever else is missing stays zero.
func ParseStatus(content []byte) (Status, error) {
	var s Status
	var users, groups bool
	for line := range bytes.Lines(content) {
		key, value, ok := strings.Cut(string(line), ":")
		if !ok {
			continue
		}

		value = strings.TrimSpace(value)
		var err error
		switch key {
		case "Uid":
			s.UIDs, err = parseIDs(value)
			users = true
		case "Gid":
			s.GIDs, err = parseIDs(value)
			groups = true
		case "Groups":
			s.Groups, err = parseInts(value)
		case "TracerPid":
			s.Tracer, err = strconv.Atoi(value)
		case "NoNewPrivs":
			s.NoNewPrivileges = value == "1"
		case "SigIgn":
			err = parseMask(value, (*uint64)(&s.Ignored))
		case "SigCgt":
			err = parseMask(value, (*uint64)(&s.Caught))
		case "CapInh":
			err = parseMask(value, (*uint64)(&s.Caps.Inheritable))
		case "CapPrm":
			err = parseMask(value, (*uint64)(&s.Caps.Permitted))
		case "CapEff":
			err = parseMask(value, (*uint64)(&s.Caps.Effective))
		case "CapBnd":
			err = parseMask(value, (*uint64)(&s.Caps.Bounding))
		case "CapAmb":
			err = parseMask(value, (*uint64)(&s.Caps.Ambient))
		}

		if err != nil {
			return Status{}, fmt.Errorf("%s: %w", key, err)
		}
	}

	if !users || !groups {
		return Status{}, errors.New("no user or group IDs")
	}

	return s, nil
}

// parseIDs parses the four IDs of a line Uid or Gid.
func parseIDs(value string) (IDs, error) {
	n, err := parseInts(value)
	if err != nil {
		return IDs{}, err
	}
	if len(n) != 4 {
		return IDs{}, fmt.Errorf("%d IDs, want 4", len(n))
	}

	return IDs{Real: n[0], Effective: n[1], Saved: n[2], FS: n[3]}, nil
}

// parseInts parses a list of IDs, which have 32 bits.
func parseInts(value string) ([]int, error) {
	var out []int
	for _, field := range strings.Fields(value) {
		n, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return nil, err
		}
		out = append(out, int(n))
	}
	return out, nil
}

// parseMask parses a set of signals or capabilities, in hexadecimal digits.
func parseMask(value string, to *uint64) error {
	n, err := strconv.ParseUint(value, 16, 64)
	*to = n
	return err
}
