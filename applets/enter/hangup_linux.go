package enter

import (
	"os"
	"slices"
	"syscall"
	"time"

	"kdiag/applets/internal/pod/podproc"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// The bounds on how long a hang-up waits.
const (
	// hangupTimeout lets processes end that got SIGHUP.
	hangupTimeout = 2 * time.Second
	// reapTimeout lets the leader wait for its dead children.
	reapTimeout = 500 * time.Millisecond
	// stopTimeout lets the leader stop.
	stopTimeout = 100 * time.Millisecond
	// leaderTimeout lets the leader end.
	leaderTimeout = time.Second
	// lookInterval lies between two looks at the processes.
	lookInterval = 10 * time.Millisecond
	// nudgeInterval lies between two SIGINTs to the leader.
	nudgeInterval = 100 * time.Millisecond
)

// hangUp ends a session's processes as the loss of its terminal would, the leader last. It leaves
// no dead ones behind: the target's PID 1 seldom waits for orphans, so the leader has to while it
// lives. Processes that ignore SIGHUP, as under nohup, or that have left the session stay. A
// session without a leader has ended by itself, and nothing is left to do.
func hangUp(id string) error {
	self := os.Getpid()
	cgroup, err := procfs.ReadCgroups(self)
	if err != nil {
		return err
	}

	h := &hangup{id: id, self: self, cgroup: cgroup}
	processes, err := h.listOthers()
	if err != nil {
		return err
	}

	at := slices.IndexFunc(processes, h.isLeader)
	if at < 0 {
		return nil
	}
	h.leader = processes[at]

	if !h.endMembers(hangupTimeout, syscall.SIGHUP, syscall.SIGCONT) {
		h.endMembers(reapTimeout, syscall.SIGKILL)
	}

	if h.endLeader() {
		// The leader may have started others meanwhile.
		h.endMembers(reapTimeout, syscall.SIGKILL)
	}

	return nil
}

// A hangup ends one session.
type hangup struct {
	id     string
	self   int            // the lifeline
	cgroup procfs.Cgroups // of the lifeline
	leader procfs.Stat
}

// A processIdentity tells a process from a later one with the same PID.
type processIdentity struct {
	pid   int
	start uint64
}

// listOthers returns all processes without the lifeline itself, of whichever cgroups: reading
// those of each would double the work, every few milliseconds.
func (h *hangup) listOthers() ([]procfs.Stat, error) {
	pids, err := procfs.ListPIDs()
	if err != nil {
		return nil, err
	}

	var found []procfs.Stat
	for _, pid := range pids {
		if stat, err := procfs.ReadStat(pid); err == nil && pid != h.self {
			found = append(found, stat)
		}
	}

	return found, nil
}

// isBeside reports whether a process is in the lifeline's own cgroups, by the rule of
// podproc.Membership.
func (h *hangup) isBeside(p procfs.Stat) bool {
	return podproc.IsMember(p.PID, podproc.SameCgroups(h.cgroup))
}

// isLeader reports whether p leads the session.
func (h *hangup) isLeader(p procfs.Stat) bool {
	if p.Session != p.PID || p.Dead() || !h.isBeside(p) {
		return false
	}

	limit, err := procfs.ReadRealtimeTimeout(p.PID)
	return err == nil && limit == leaderMark(h.id, p.PID) || h.isShell(p)
}

// enterStart is how much of enter's command line is read, in bytes: more than comes before the
// session's ID.
const enterStart = 4096

// isShell reports whether p is the shell that "kdiag enter" has become, or is about to become it.
func (h *hangup) isShell(p procfs.Stat) bool {
	words, _, err := procfs.ReadCommandStart(p.PID, enterStart)
	if err != nil || len(words) == 0 {
		return false
	}
	if words[0] == shellName(h.id) {
		return true
	}

	// The line may be cut off, so an error is none.
	at := slices.Index(words[:min(len(words), 2)], wire.AppletEnter)
	arguments, _ := wire.ParseEnterArguments(words[at+1:])
	return at >= 0 && arguments.Session == h.id && !arguments.Lifeline
}

// isRelayed reports whether p is a shell whose parent, the leader, is its relay. Such a shell is ended
// even if it ignores SIGHUP.
func (h *hangup) isRelayed(p procfs.Stat) bool {
	if p.Parent != h.leader.PID || !h.isShell(p) {
		return false
	}
	words, _, err := procfs.ReadCommandStart(h.leader.PID, enterStart)
	return err == nil && len(words) > 1 && words[1] == relayWord
}

// listMembers returns the session's processes without its leader: those that live and may be
// ended, and how many are ending or wait for the leader to reap them.
func (h *hangup) listMembers() (living []procfs.Stat, ending int) {
	processes, _ := h.listOthers()
	for _, p := range processes {
		switch {
		case p.PID == h.leader.PID:
		case p.Dead():
			if p.Parent == h.leader.PID {
				ending++
			}
		case p.Session != h.leader.PID:
		case !h.isBeside(p):
			// In the session but not in the cgroups: it is exiting (podproc.Membership).
			ending++
		case !ignoresHangup(p) || h.isRelayed(p):
			living = append(living, p)
		}
	}

	return living, ending
}

// endMembers sends the session's processes the signals, once each, and waits until all that may be
// ended are gone and reaped. By then the leader has ended or is stopped. It returns false if that
// takes longer than timeout.
func (h *hangup) endMembers(timeout time.Duration, signals ...syscall.Signal) bool {
	told := map[processIdentity]bool{}
	began := time.Now()
	nudged := began

	for time.Since(began) < timeout {
		living, ending := h.listMembers()
		if !h.leaderLives() && len(living) == 0 || len(living)+ending == 0 && h.stopLeader() {
			return true
		}

		for _, p := range living {
			if identity := (processIdentity{p.PID, p.Start}); !told[identity] {
				told[identity] = true
				sendSignals(p, signals...)
			}
		}

		if time.Since(nudged) > nudgeInterval {
			nudged = time.Now()
			h.nudgeLeader()
		}

		time.Sleep(lookInterval)
	}

	return false
}

// stopLeader stops the leader and reports whether it is alone then. If it is not, since it has
// just started another process, it continues.
func (h *hangup) stopLeader() bool {
	sendSignals(h.leader, syscall.SIGSTOP)

	for began := time.Now(); time.Since(began) < stopTimeout; time.Sleep(time.Millisecond) {
		now, err := procfs.ReadStat(h.leader.PID)
		if err != nil || now.Dead() || now.State == 'T' {
			break
		}
	}

	if living, ending := h.listMembers(); len(living)+ending == 0 {
		return true
	}

	sendSignals(h.leader, syscall.SIGCONT)
	return false
}

// nudgeLeader sends the leader SIGINT if it has a handler for it. An interactive ash then leaves
// the loop that it may be in, or the line that is being typed, and waits for its dead children
// before it prompts again.
func (h *hangup) nudgeLeader() {
	if status, err := procfs.ReadStatus(h.leader.PID); err == nil && status.Caught.Has(int(syscall.SIGINT)) {
		sendSignals(h.leader, syscall.SIGINT, syscall.SIGCONT)
	}
}

// endLeader ends the leader and waits until it is gone. If the leader has become a program that
// ignores SIGHUP, as by "exec nohup …", that stays, and endLeader returns false.
func (h *hangup) endLeader() bool {
	if ignoresHangup(h.leader) && !h.isShell(h.leader) {
		sendSignals(h.leader, syscall.SIGCONT)
		return false
	}

	for _, signals := range [][]syscall.Signal{{syscall.SIGHUP, syscall.SIGCONT}, {syscall.SIGKILL}} {
		sendSignals(h.leader, signals...)
		for began := time.Now(); h.leaderLives() && time.Since(began) < leaderTimeout; {
			time.Sleep(lookInterval)
		}
	}

	return true
}

// leaderLives reports whether the leader has not ended.
func (h *hangup) leaderLives() bool {
	now, err := procfs.ReadStat(h.leader.PID)
	return err == nil && now.Start == h.leader.Start && !now.Dead()
}

// ignoresHangup reports whether a process ignores SIGHUP, as under nohup.
func ignoresHangup(p procfs.Stat) bool {
	status, err := procfs.ReadStatus(p.PID)
	return err == nil && status.Ignored.Has(int(syscall.SIGHUP))
}

// sendSignals sends signals to a process, unless its PID belongs to another one now.
func sendSignals(p procfs.Stat, signals ...syscall.Signal) {
	// os.Process holds a pidfd: what is looked up after that was opened stays true.
	found, err := os.FindProcess(p.PID)
	if err != nil {
		return
	}
	defer found.Release() //nolint:errcheck // nothing is left to release

	if now, err := procfs.ReadStat(p.PID); err != nil || now.Start != p.Start {
		return
	}

	for _, s := range signals {
		_ = found.Signal(s) // it has ended, or is not ours to end
	}
}
