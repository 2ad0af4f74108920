package packetfilter

import (
	"fmt"

	"kdiag/mux/wire"
)

// Classic BPF, by the names of linux/bpf_common.h.
const (
	opLoad    = 0x00 // into A
	opLoadX   = 0x01
	opStore   = 0x02
	opALU     = 0x04
	opJump    = 0x05
	opReturn  = 0x06
	opMisc    = 0x07
	sizeWord  = 0x00
	sizeHalf  = 0x08
	sizeByte  = 0x10
	modeImm   = 0x00
	modeAbs   = 0x20
	modeInd   = 0x40
	modeMem   = 0x60
	modeLen   = 0x80
	modeMsh   = 0xa0
	sourceX   = 0x08
	jumpAways = 0x00
	jumpEqual = 0x10
	jumpMore  = 0x20
	jumpLeast = 0x30
	jumpSet   = 0x40
	aluAdd    = 0x00
	aluSub    = 0x10
	aluMul    = 0x20
	aluDiv    = 0x30
	aluOr     = 0x40
	aluAnd    = 0x50
	aluLeft   = 0x60
	aluRight  = 0x70
	aluNeg    = 0x80
	aluMod    = 0x90
	aluXor    = 0xa0
	miscTAX   = 0x00

	memoryWords = 16
)

// node is a condition on a packet.
type node interface{}

type (
	both    struct{ a, b node }
	either  struct{ a, b node }
	negated struct{ of node }
	// always is a condition that does not depend on the packet.
	always bool
	// test loads values and compares A with an operand, or with X.
	test struct {
		load    []wire.FilterInstruction
		compare uint16
		operand uint32
	}
)

// all joins conditions that must all be true, in their order.
func all(first node, rest ...node) node {
	for _, next := range rest {
		first = both{first, next}
	}
	return first
}

// anyOf joins conditions of which one must be true.
func anyOf(first node, rest ...node) node {
	for _, next := range rest {
		first = either{first, next}
	}
	return first
}

// instruction is one of a program that is being made. A jump leads to labels: to ifTrue or ifFalse.
type instruction struct {
	wire.FilterInstruction
	isJump          bool
	ifTrue, ifFalse int
	// far says that a jump needs one more instruction for each label, since a conditional jump skips
	// 255 instructions at most.
	far bool
}

// generator makes a program. A label stands for the instruction that is placed after it; all jumps
// lead forward.
type generator struct {
	code   []instruction
	labels []int
}

// generate returns the program that returns snapLen for packets on which the condition is true.
func generate(n node, snapLen uint32) ([]wire.FilterInstruction, error) {
	g := &generator{}
	accept, reject := g.newLabel(), g.newLabel()
	g.add(n, accept, reject)

	g.place(accept)
	g.emit(wire.FilterInstruction{Op: opReturn, K: snapLen})
	g.place(reject)
	g.emit(wire.FilterInstruction{Op: opReturn})

	program := g.resolve()
	if len(program) > wire.MaxFilter {
		return nil, fmt.Errorf("it needs %d instructions; the kernel takes %d", len(program), wire.MaxFilter)
	}
	return program, nil
}

func (g *generator) newLabel() int {
	g.labels = append(g.labels, -1)
	return len(g.labels) - 1
}

func (g *generator) place(label int) { g.labels[label] = len(g.code) }

func (g *generator) emit(list ...wire.FilterInstruction) {
	for _, each := range list {
		g.code = append(g.code, instruction{FilterInstruction: each})
	}
}

// add adds the code of a condition, which goes on at one of two labels.
func (g *generator) add(n node, ifTrue, ifFalse int) {
	switch n := n.(type) {
	case both:
		next := g.newLabel()
		g.add(n.a, next, ifFalse)
		g.place(next)
		g.add(n.b, ifTrue, ifFalse)
	case either:
		next := g.newLabel()
		g.add(n.a, ifTrue, next)
		g.place(next)
		g.add(n.b, ifTrue, ifFalse)
	case negated:
		g.add(n.of, ifFalse, ifTrue)
	case always:
		to := ifFalse
		if n {
			to = ifTrue
		}
		g.code = append(g.code, instruction{FilterInstruction: wire.FilterInstruction{Op: opJump | jumpAways}, isJump: true, ifTrue: to, ifFalse: to})
	case test:
		g.emit(n.load...)
		jump := wire.FilterInstruction{Op: opJump | n.compare, K: n.operand}
		g.code = append(g.code, instruction{FilterInstruction: jump, isJump: true, ifTrue: ifTrue, ifFalse: ifFalse})
	}
}

// resolve returns the program with jumps by numbers of instructions. A jump that turns out to be too
// far makes the program longer, and with it others too far.
func (g *generator) resolve() []wire.FilterInstruction {
	for {
		places := g.findPlaces()
		program, grown := g.write(places)
		if !grown {
			return program
		}
	}
}

// isLong reports whether a jump takes three instructions.
func (i instruction) isLong() bool { return i.far && i.Op != opJump|jumpAways }

// findPlaces returns where each instruction is in the program, and the end.
func (g *generator) findPlaces() []int {
	places, at := make([]int, len(g.code)+1), 0
	for n, each := range g.code {
		places[n] = at
		at++
		if each.isLong() {
			at += 2
		}
	}
	places[len(g.code)] = at
	return places
}

// write writes the program. grown says that it is not right yet, because some jump was too far.
func (g *generator) write(places []int) (program []wire.FilterInstruction, grown bool) {
	for n := range g.code {
		each := &g.code[n]
		out := each.FilterInstruction
		if !each.isJump {
			program = append(program, out)
			continue
		}

		yes := places[g.labels[each.ifTrue]] - places[n] - 1
		no := places[g.labels[each.ifFalse]] - places[n] - 1
		const most = 255
		switch {
		case out.Op == opJump|jumpAways:
			out.K = uint32(yes)
			program = append(program, out)
		case each.far:
			out.Jf = 1
			program = append(program, out,
				wire.FilterInstruction{Op: opJump | jumpAways, K: uint32(yes - 1)},
				wire.FilterInstruction{Op: opJump | jumpAways, K: uint32(no - 2)})
		default:
			each.far = yes > most || no > most
			grown = grown || each.far
			out.Jt, out.Jf = uint8(yes), uint8(no)
			program = append(program, out)
		}
	}
	return program, grown
}
