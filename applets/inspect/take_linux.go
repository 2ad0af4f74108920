package inspect

import (
	"fmt"
	"os"
	"slices"
	"time"

	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// taking is a snapshot in the making.
type taking struct {
	wire.Snapshot
	limits limits
	opts   options
	own    procfs.Status
	// boot is nil where it is not known.
	boot *time.Time
	// owners are the processes that have a socket, by its inode.
	owners      map[uint64][]int
	descriptors int
	commands    int
	// listeners and connected count the sockets that were added.
	listeners, connected int
	hidden               map[string]int
	userNames            map[int]string
}

// take looks at the target once. The thread is locked.
func take(opts options, l limits) (wire.Snapshot, error) {
	own, err := credentials.Own()
	if err != nil {
		return wire.Snapshot{}, err
	}

	found, cut, err := opts.target.All(l.processes)
	if err != nil {
		return wire.Snapshot{}, err
	}

	t := newTaking(opts, l, own)
	if cut {
		t.cut("more than %d processes", l.processes)
	}

	return t.of(found)
}

func newTaking(opts options, l limits, own procfs.Status) *taking {
	t := &taking{limits: l, opts: opts, own: own, owners: map[uint64][]int{}, hidden: map[string]int{}}
	t.Time = time.Now().UTC()
	t.Processes, t.Sockets, t.Cut = []wire.Process{}, []wire.Socket{}, []string{}
	if boot, err := procfs.BootTime(); err == nil {
		t.boot = &boot
	}
	return t
}

// of is the snapshot of some processes.
func (t *taking) of(found []procfs.Stat) (wire.Snapshot, error) {
	for _, stat := range found {
		t.addProcess(stat)
	}

	for i := range t.Processes {
		t.Processes[i].User = t.userNames[t.Processes[i].UID]
	}

	t.tellHidden()
	if err := t.addSockets(); err != nil {
		return wire.Snapshot{}, err
	}

	return t.Snapshot, nil
}

// cut notes that something was left out, each sentence once.
func (t *taking) cut(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(t.Cut, text) {
		t.Cut = append(t.Cut, text)
	}
}

// addProcess adds a process, unless it has ended meanwhile.
func (t *taking) addProcess(stat procfs.Stat) {
	status, err := procfs.ReadStatus(stat.PID)
	if err != nil {
		return
	}

	words, commandCut := t.command(stat.PID)
	t.addDescriptors(stat, status)
	t.Processes = append(t.Processes, wire.Process{
		PID: stat.PID, PPID: stat.Parent, UID: status.UIDs.Effective,
		State: string(rune(stat.State)), Start: t.start(stat),
		RSS: stat.RSS * uint64(os.Getpagesize()), CPU: float64(stat.CPU) / procfs.TicksPerSecond,
		Threads: stat.Threads, Name: stat.Command, Command: words, CommandCut: commandCut,
	})
}

// command is a process's command line as far as the bounds go.
func (t *taking) command(pid int) (words []string, cut bool) {
	most := min(t.limits.command, t.limits.commands-t.commands)
	words, cut, err := procfs.ReadCommandStart(pid, most)
	if err != nil || words == nil {
		words = []string{}
	}

	size := 0
	for _, word := range words {
		size += len(word) + 1
	}

	t.commands += min(size, most)
	if cut && most < t.limits.command {
		t.cut("command lines beyond %d bytes in all", t.limits.commands)
	}

	return words, cut
}

func (t *taking) start(stat procfs.Stat) *time.Time {
	const tick = time.Second / procfs.TicksPerSecond
	if t.boot == nil || stat.Start > uint64(1<<63-1)/uint64(tick) {
		return nil
	}
	start := t.boot.Add(time.Duration(stat.Start) * tick).UTC()
	return &start
}
