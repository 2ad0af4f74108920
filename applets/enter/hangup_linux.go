package enter

import (
	"os"
	"slices"
	"syscall"
	"time"

	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// The bounds on how long a hang-up waits.
const (
	// forHangup is for processes to end that got SIGHUP.
	forHangup = 2 * time.Second
	// forReaping is for the leader to wait for its dead children.
	forReaping = 500 * time.Millisecond
	// forStop is for the leader to stop.
	forStop = 100 * time.Millisecond
	// forLeader is for the leader to end.
	forLeader = time.Second
	// lookEvery is the time between two looks at the processes.
	lookEvery = 10 * time.Millisecond
	// nudgeEvery is the time between two SIGINTs to the leader.
	nudgeEvery = 100 * time.Millisecond
)

// hangUp ends a session's processes as the loss of its terminal would, the
// leader last, and sees to it that none is left behind dead: the target's PID 1
// seldom waits for orphans, so the leader has to, while it lives. Processes
// that ignore SIGHUP, as nohup makes them, or that have left the session stay.
// Where the session has no leader, it ended by itself: nothing is done.
func hangUp(id string) error {
	self := os.Getpid()
	cgroup, err := procfs.ReadCgroups(self)
	if err != nil {
		return err
	}

	h := &hangup{id: id, self: self, cgroup: cgroup}
	processes, err := h.processes()
	if err != nil {
		return err
	}

	at := slices.IndexFunc(processes, h.leads)
	if at < 0 {
		return nil
	}

	h.leader = processes[at]
	if !h.endMembers(forHangup, syscall.SIGHUP, syscall.SIGCONT) {
		h.endMembers(forReaping, syscall.SIGKILL)
	}

	if h.endLeader() {
		// What it may have started meanwhile.
		h.endMembers(forReaping, syscall.SIGKILL)
	}

	return nil
}

// hangup is the hang-up of one session.
type hangup struct {
	id     string
	self   int
	cgroup procfs.Cgroups
	leader procfs.Stat
}

// process names a process for good.
type process struct {
	pid   int
	start uint64
}

// processes returns all processes but the lifeline itself.
func (h *hangup) processes() ([]procfs.Stat, error) {
	pids, err := procfs.List()
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

// beside reports whether a process is in the lifeline's own cgroup. Of one
// that is ending or dead, cgroup v1 shows another (kernel/cgroup/cgroup.c,
// proc_cgroup_show, PF_EXITING).
func (h *hangup) beside(p procfs.Stat) bool {
	cgroup, err := procfs.ReadCgroups(p.PID)
	return err == nil && cgroup.Same(h.cgroup)
}

// leads reports whether p leads the session that is hung up.
func (h *hangup) leads(p procfs.Stat) bool {
	if p.Session != p.PID || p.Dead() || !h.beside(p) {
		return false
	}
	limit, err := procfs.ReadRealtimeTimeout(p.PID)
	return err == nil && limit == marker(h.id, p.PID) || h.isShell(p)
}

// mostOfEnter is more of enter's command line than comes before the session's ID, in bytes.
const mostOfEnter = 4096

// isShell reports whether p still is what "kdiag enter" made of itself, or is
// about to.
func (h *hangup) isShell(p procfs.Stat) bool {
	words, _, err := procfs.ReadCommandStart(p.PID, mostOfEnter)
	if err != nil || len(words) == 0 {
		return false
	}
	if words[0] == shellName(h.id) {
		return true
	}

	at := slices.Index(words[:min(len(words), 2)], wire.AppletEnter)
	arguments, _ := wire.ParseEnterArguments(words[at+1:]) // the line may be cut off
	return at >= 0 && arguments.Session == h.id && !arguments.Lifeline
}

// members are the session's processes without its leader: those that live and
// may be ended, and how many are ending or wait for the leader to reap them.
func (h *hangup) members() (living []procfs.Stat, ending int) {
	processes, _ := h.processes()
	for _, p := range processes {
		switch {
		case p.PID == h.leader.PID:
		case p.Dead():
			if p.Parent == h.leader.PID {
				ending++
			}
		case p.Session != h.leader.PID:
		case !h.beside(p):
			ending++
		case !ignoresHangup(p):
			living = append(living, p)
		}
	}

	return living, ending
}

// endMembers sends the session's processes the signals, once each, and waits
// until all that may be ended are gone, reaped too. Then the leader has ended
// or is stopped. It is false when the time is over before that.
func (h *hangup) endMembers(most time.Duration, signals ...syscall.Signal) bool {
	told := map[process]bool{}
	began := time.Now()
	nudged := began
	for time.Since(began) < most {
		living, ending := h.members()
		if !h.leaderLives() && len(living) == 0 || len(living)+ending == 0 && h.halt() {
			return true
		}

		for _, p := range living {
			if name := (process{p.PID, p.Start}); !told[name] {
				told[name] = true
				send(p, signals...)
			}
		}

		if time.Since(nudged) > nudgeEvery {
			nudged = time.Now()
			h.nudge()
		}

		time.Sleep(lookEvery)
	}

	return false
}

// halt stops the leader and reports whether it is alone then. When it is not,
// because it has just started another process, it goes on.
func (h *hangup) halt() bool {
	send(h.leader, syscall.SIGSTOP)
	for began := time.Now(); time.Since(began) < forStop; time.Sleep(time.Millisecond) {
		now, err := procfs.ReadStat(h.leader.PID)
		if err != nil || now.Dead() || now.State == 'T' {
			break
		}
	}

	if living, ending := h.members(); len(living)+ending == 0 {
		return true
	}

	send(h.leader, syscall.SIGCONT)
	return false
}

// nudge sends the leader SIGINT if it has a handler for it. An interactive ash
// then leaves the loop it may be in, and the line that is being typed, and
// waits for its dead children before it prompts again.
func (h *hangup) nudge() {
	if status, err := procfs.ReadStatus(h.leader.PID); err == nil && status.Caught.Has(int(syscall.SIGINT)) {
		send(h.leader, syscall.SIGINT, syscall.SIGCONT)
	}
}

// endLeader ends the leader and waits until it is gone. It is false for a
// program that it became and that ignores SIGHUP, as in "exec nohup …": that
// stays.
func (h *hangup) endLeader() bool {
	if ignoresHangup(h.leader) && !h.isShell(h.leader) {
		send(h.leader, syscall.SIGCONT)
		return false
	}

	for _, signals := range [][]syscall.Signal{{syscall.SIGHUP, syscall.SIGCONT}, {syscall.SIGKILL}} {
		send(h.leader, signals...)
		for began := time.Now(); h.leaderLives() && time.Since(began) < forLeader; {
			time.Sleep(lookEvery)
		}
	}

	return true
}

func (h *hangup) leaderLives() bool {
	now, err := procfs.ReadStat(h.leader.PID)
	return err == nil && now.Start == h.leader.Start && !now.Dead()
}

func ignoresHangup(p procfs.Stat) bool {
	status, err := procfs.ReadStatus(p.PID)
	return err == nil && status.Ignored.Has(int(syscall.SIGHUP))
}

// send sends signals to a process, unless its PID has become another's.
func send(p procfs.Stat, signals ...syscall.Signal) {
	// It holds a pidfd: what is looked up after it was opened stays true.
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
