package inspect

// limits bounds what a snapshot holds, so that looking at a pod costs it little memory: its limit
// is shared.
type limits struct {
	processes int
	// command bounds the command line of one process, in bytes, and commands all of them. What is
	// longer is cut.
	command, commands int
	// descriptors counts those of sockets, of all processes.
	descriptors int
	sockets     int
}

// defaultLimits keep a snapshot below wire.MaxSnapshot, by an order of magnitude.
var defaultLimits = limits{processes: 2048, command: 2048, commands: 512 << 10, descriptors: 1 << 16, sockets: 4096}
