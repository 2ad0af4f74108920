package inspect

import (
	"fmt"
	"os"
	"slices"
	"time"

	"kdiag/applets/internal/pod/credentials"
	"kdiag/applets/internal/pod/podproc"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"
)

// A snapshotBuilder collects what a snapshot shows.
type snapshotBuilder struct {
	wire.Snapshot
	limits limits
	opts   options
	own    procfs.Status
	// boot is the start of the machine, nil if it is not known.
	boot *time.Time
	// owners lists the processes that have a socket, by its inode.
	owners      map[uint64][]int
	descriptors int
	commands    int
	// listeners and connected count the sockets that were added.
	listeners, connected int
	// hidden counts the processes whose sockets are hidden, by the reason.
	hidden    map[string]int
	userNames map[int]string
}

// takeSnapshot looks at the target once. The caller has locked the thread.
func takeSnapshot(opts options, l limits) (wire.Snapshot, error) {
	own, err := credentials.ReadOwnStatus()
	if err != nil {
		return wire.Snapshot{}, err
	}

	found, cut, err := podproc.ListProcesses(opts.target, l.processes)
	if err != nil {
		return wire.Snapshot{}, err
	}

	b := newSnapshotBuilder(opts, l, own)
	if cut {
		b.noteCut("more than %d processes", l.processes)
	}

	return b.build(found)
}

// newSnapshotBuilder makes a builder whose snapshot is empty yet.
func newSnapshotBuilder(opts options, l limits, own procfs.Status) *snapshotBuilder {
	b := &snapshotBuilder{limits: l, opts: opts, own: own, owners: map[uint64][]int{}, hidden: map[string]int{}}

	// Empty lists, since null would be another JSON.
	b.Time = time.Now().UTC()
	b.Processes, b.Sockets, b.Cut = []wire.Process{}, []wire.Socket{}, []string{}
	if boot, err := procfs.ReadBootTime(); err == nil {
		b.boot = &boot
	}

	return b
}

// build returns the snapshot of some processes.
func (b *snapshotBuilder) build(found []procfs.Stat) (wire.Snapshot, error) {
	for _, stat := range found {
		b.addProcess(stat)
	}

	for i := range b.Processes {
		b.Processes[i].User = b.userNames[b.Processes[i].UID]
	}

	// Whether sockets without a known owner are shown depends on what is hidden.
	b.countHidden()
	if err := b.addSockets(); err != nil {
		return wire.Snapshot{}, err
	}

	return b.Snapshot, nil
}

// noteCut notes that something was left out, each sentence once.
func (b *snapshotBuilder) noteCut(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(b.Cut, text) {
		b.Cut = append(b.Cut, text)
	}
}

// addProcess adds a process and its sockets' owners, unless it has ended meanwhile.
func (b *snapshotBuilder) addProcess(stat procfs.Stat) {
	status, err := procfs.ReadStatus(stat.Thread)
	if err != nil {
		return
	}

	words, commandCut := b.readCommand(stat.Thread)
	b.addDescriptors(stat, status)
	b.Processes = append(b.Processes, wire.Process{
		PID: stat.PID, PPID: stat.Parent, UID: status.UIDs.Effective,
		State: string(rune(stat.State)), Start: b.startTime(stat),
		RSS: stat.RSS * uint64(os.Getpagesize()), CPU: float64(stat.CPU) / procfs.TicksPerSecond,
		Threads: stat.Threads, Name: stat.Command, Command: words, CommandCut: commandCut,
	})
}

// readCommand reads a process's command line, as far as the bounds go.
func (b *snapshotBuilder) readCommand(pid int) (words []string, cut bool) {
	limit := min(b.limits.command, b.limits.commands-b.commands)
	words, cut, err := procfs.ReadCommandStart(pid, limit)
	if err != nil || words == nil {
		words = []string{}
	}

	size := 0
	for _, word := range words {
		size += len(word) + 1
	}

	b.commands += min(size, limit)
	if cut && limit < b.limits.command {
		b.noteCut("command lines beyond %d bytes in all", b.limits.commands)
	}

	return words, cut
}

// startTime returns when a process was started, nil if that is not known.
func (b *snapshotBuilder) startTime(stat procfs.Stat) *time.Time {
	const tick = time.Second / procfs.TicksPerSecond
	if b.boot == nil || stat.Start > uint64(1<<63-1)/uint64(tick) {
		return nil
	}

	start := b.boot.Add(time.Duration(stat.Start) * tick).UTC()
	return &start
}
