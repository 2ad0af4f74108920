package inspect

import ()

import ()

import ()

// limits bound what a snapshot holds, so that looking at a pod costs it little
// memory: its limit is shared.
type limits struct {
	processes int
	// command is of one process, in bytes, commands of all; what is over is cut.
	command, commands int
	// descriptors are those of sockets, of all processes.
	descriptors int
	sockets     int
}

// bounds keep a snapshot below wire.MaxSnapshot, by an order of magnitude.
var bounds = limits{processes: 2048, command: 2048, commands: 512 << 10, descriptors: 1 << 16, sockets: 4096}
