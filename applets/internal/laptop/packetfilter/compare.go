package packetfilter

import "kdiag/mux/wire"

// value is a number that a comparison computes.
type value struct {
	// code computes it into A. It may use the memory words from scratch on.
	code []wire.FilterInstruction
	// isConstant says that it is this number.
	isConstant bool
	constant   uint32
	// needs is true for the packets that have the fields from which it is computed; nil for all.
	needs node
}

// loadLength loads the length of the packet into A.
func loadLength() []wire.FilterInstruction {
	return []wire.FilterInstruction{{Op: opLoad | modeLen}}
}

// constantValue returns a number.
func constantValue(n uint32) value {
	return value{code: []wire.FilterInstruction{{Op: opLoad | modeImm, K: n}}, isConstant: true, constant: n}
}

// beginsComparison reports whether what follows may be a comparison of numbers.
func (p *parser) beginsComparison() bool {
	first := p.peek()
	if _, isNumber := first.number(); isNumber || first.is("(", "-", "len") {
		return true
	}
	if _, isConstant := constants[first.text]; isConstant && first.word {
		return true
	}
	return isProtocol(first) && p.peekSecond().is("[")
}

// comparisons holds how each operator compares A with the operand, and whether it is negated.
var comparisons = map[string]struct {
	jump   uint16
	negate bool
}{
	"=": {jumpEqual, false}, "==": {jumpEqual, false}, "!=": {jumpEqual, true},
	">": {jumpMore, false}, "<=": {jumpMore, true}, ">=": {jumpLeast, false}, "<": {jumpLeast, true},
}

// parseComparison reads a comparison of two numbers.
func (p *parser) parseComparison() (node, error) {
	left, err := p.parseNumber(0, 0)
	if err != nil {
		return nil, err
	}
	operator := p.peek()
	how, ok := comparisons[operator.text]
	if !ok || operator.word {
		return nil, p.fail(operator, "expected a comparison here, such as = or >")
	}
	p.next()

	// The left one waits in the first memory word.
	right, err := p.parseNumber(0, 1)
	if err != nil {
		return nil, err
	}

	compared := node(test{withOperand(left, right, 0, wire.FilterInstruction{}), how.jump | sourceX, 0})
	if right.isConstant {
		compared = test{left.code, how.jump, right.constant}
	}
	if how.negate {
		compared = negated{compared}
	}
	return joinNeeds(joinNeeds(left.needs, right.needs), compared), nil
}

// withOperand returns the code that computes left into A and right into X, and then does something.
func withOperand(left, right value, word uint32, do wire.FilterInstruction) []wire.FilterInstruction {
	code := append([]wire.FilterInstruction{}, left.code...)
	code = append(code, wire.FilterInstruction{Op: opStore, K: word})
	code = append(code, right.code...)
	code = append(code, wire.FilterInstruction{Op: opMisc | miscTAX}, wire.FilterInstruction{Op: opLoad | modeMem, K: word})
	if do.Op != 0 {
		code = append(code, do)
	}
	return code
}

// calculation describes an operator: how tightly it binds, and what it does.
type calculation struct {
	// binds is unbound for operators to which tcpdump's grammar gives no precedence.
	binds int
	op    uint16
	// of computes it for constants; a second operand of 0 is refused before for / and %.
	of func(a, b uint32) uint32
}

// unbound is for an operator that takes the operand before it from any other, and then all that
// follows: a * b % c + d is a * (b % (c + d)).
const unbound = 0

var calculations = map[string]calculation{
	"|":  {1, aluOr, func(a, b uint32) uint32 { return a | b }},
	"^":  {unbound, aluXor, func(a, b uint32) uint32 { return a ^ b }},
	"&":  {2, aluAnd, func(a, b uint32) uint32 { return a & b }},
	"<<": {3, aluLeft, func(a, b uint32) uint32 { return a << b }},
	">>": {3, aluRight, func(a, b uint32) uint32 { return a >> b }},
	"+":  {4, aluAdd, func(a, b uint32) uint32 { return a + b }},
	"-":  {4, aluSub, func(a, b uint32) uint32 { return a - b }},
	"*":  {5, aluMul, func(a, b uint32) uint32 { return a * b }},
	"/":  {5, aluDiv, func(a, b uint32) uint32 { return a / b }},
	"%":  {unbound, aluMod, func(a, b uint32) uint32 { return a % b }},
}

// parseNumber reads a calculation whose operators bind more tightly than some. It may use memory
// words from scratch on.
func (p *parser) parseNumber(above int, scratch uint32) (value, error) {
	left, err := p.parseOperand(scratch)
	for err == nil {
		operator := p.peek()
		c, ok := calculations[operator.text]
		if !ok || operator.word || c.binds != unbound && c.binds <= above {
			return left, nil
		}
		p.next()

		var right value
		if scratch+1 >= memoryWords {
			return left, p.fail(operator, "the calculation is too long")
		}
		if right, err = p.parseNumber(c.binds, scratch+1); err == nil {
			left, err = p.calculate(operator, c, left, right, scratch)
		}
	}
	return value{}, err
}

// calculate joins two values.
func (p *parser) calculate(operator token, c calculation, left, right value, word uint32) (value, error) {
	isShift := c.op == aluLeft || c.op == aluRight
	switch {
	case right.isConstant && right.constant == 0 && (c.op == aluDiv || c.op == aluMod):
		return value{}, p.fail(operator, "nothing can be divided by 0")
	case right.isConstant && right.constant > 31 && isShift:
		return value{}, p.fail(operator, "a number has 32 bits only")
	case left.isConstant && right.isConstant:
		return constantValue(c.of(left.constant, right.constant)), nil
	}

	joined := value{needs: joinNeeds(left.needs, right.needs)}
	if right.isConstant {
		joined.code = append(append(joined.code, left.code...), wire.FilterInstruction{Op: opALU | c.op, K: right.constant})
		return joined, nil
	}
	joined.code = withOperand(left, right, word, wire.FilterInstruction{Op: opALU | c.op | sourceX})
	return joined, nil
}

// parseOperand reads a number, "len", a field or a calculation in parentheses.
func (p *parser) parseOperand(scratch uint32) (value, error) {
	p.depth++
	defer func() { p.depth-- }()
	first := p.next()
	if p.depth > maxDepth {
		return value{}, p.fail(first, "too many parentheses")
	}

	number, isNumber := first.number()
	constant, isConstant := constants[first.text]
	switch {
	case isNumber:
		return constantValue(number), nil
	case isConstant && first.word:
		return constantValue(constant), nil
	case first.is("len"):
		return value{code: loadLength()}, nil
	case first.is("("):
		inner, err := p.parseNumber(0, scratch)
		if err == nil {
			err = p.expect(")")
		}
		return inner, err
	case first.is("-"):
		inner, err := p.parseOperand(scratch)
		if inner.isConstant {
			return constantValue(-inner.constant), err
		}
		inner.code = append(inner.code, wire.FilterInstruction{Op: opALU | aluNeg})
		return inner, err
	case isProtocol(first) && p.peek().is("["):
		return p.parseField(first, scratch)
	}
	return value{}, p.fail(first, "expected a number here")
}

// parseField reads the place of a field: [OFFSET] or [OFFSET:SIZE].
func (p *parser) parseField(protocol token, scratch uint32) (value, error) {
	p.next() // the bracket
	offset, err := p.parseNumber(0, scratch)
	if err != nil {
		return value{}, err
	}

	size := uint32(1)
	if p.accept(":") {
		at := p.next()
		n, ok := at.number()
		if _, fits := sizes[n]; !ok || !fits {
			return value{}, p.fail(at, "a field has 1, 2 or 4 bytes")
		}
		size = n
	}
	if err := p.expect("]"); err != nil {
		return value{}, err
	}
	return p.loadField(protocol, offset, size, scratch)
}

// loadField returns the value of a field of a protocol's header.
func (p *parser) loadField(protocol token, offset value, size, scratch uint32) (value, error) {
	name := protocol.text
	number, isIP := ipProtocols[name]
	const header6 = 40
	switch {
	case name == "ether" && !p.link.ether:
		return value{}, p.noEthernet(protocol)
	case name == "ether":
		return loadAt(offset, 0, size, nil), nil
	case !isIP:
		return loadAt(offset, p.link.network, size, p.link.hasType(etherTypes[name])), nil
	case only6[name]:
		next := equals(p.link.network+6, 1, number)
		return loadAt(offset, p.link.network+header6, size, all(p.link.hasType(typeIP6), next)), nil
	}

	// Behind an IPv4 header, whose length varies.
	needs := all(p.link.has4(number), p.link.isFirst4())
	get := wire.FilterInstruction{Op: opLoad | modeInd | sizes[size], K: p.link.network}
	if offset.isConstant {
		get.K += offset.constant
		return value{code: []wire.FilterInstruction{p.link.loadHeaderLength(), get}, needs: needs}, nil
	}

	if scratch >= memoryWords {
		return value{}, p.fail(protocol, "the calculation is too long")
	}
	code := append([]wire.FilterInstruction{}, offset.code...)
	code = append(code, wire.FilterInstruction{Op: opStore, K: scratch}, p.link.loadHeaderLength(),
		wire.FilterInstruction{Op: opLoad | modeMem, K: scratch}, wire.FilterInstruction{Op: opALU | aluAdd | sourceX},
		wire.FilterInstruction{Op: opMisc | miscTAX}, get)
	return value{code: code, needs: joinNeeds(needs, offset.needs)}, nil
}

// loadAt returns the value of a field that is at a fixed place, plus an offset.
func loadAt(offset value, base, size uint32, needs node) value {
	if offset.isConstant {
		return value{code: load(base+offset.constant, size), needs: needs}
	}
	code := append([]wire.FilterInstruction{}, offset.code...)
	code = append(code, wire.FilterInstruction{Op: opMisc | miscTAX},
		wire.FilterInstruction{Op: opLoad | modeInd | sizes[size], K: base})
	return value{code: code, needs: joinNeeds(offset.needs, needs)}
}

// joinNeeds joins two conditions, each of which may be nil.
func joinNeeds(a, b node) node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return both{a, b}
}
