// Package packetfilter compiles the filter language of tcpdump (pcap-filter(7)) for the kernel, into
// a program of classic BPF. It knows what makes sense on a pod's interfaces: Ethernet, and IP without
// a link header.
//
// It is our own since no library that is kept and needs no cgo takes the whole language:
// docs/decisions/2026-11-27-own-filter-compiler.md.
package packetfilter

import (
	"fmt"

	"kdiag/mux/wire"
)

// SyntaxError reports a filter that is wrong, and where.
type SyntaxError struct {
	Expression string
	// From and To mark the place, in bytes. They are equal for the end of the filter.
	From, To int
	Problem  string
}

func (e *SyntaxError) Error() string {
	marked := e.Expression[:e.From] + ">>" + e.Expression[e.From:e.To] + "<<" + e.Expression[e.To:]
	return fmt.Sprintf("filter %q: %s", marked, e.Problem)
}

// Hint says where the language is described.
func (e *SyntaxError) Hint() string {
	return "filters are written as for tcpdump, such as 'tcp port 8080 and host 10.0.0.7'; quote what your shell would take for its own"
}

// Compile returns the program that takes the packets of an expression, and snapLen bytes of each. An
// empty expression takes all. linkType is wire.LinkEthernet or wire.LinkRaw. Its error is a
// *SyntaxError if the expression is wrong, or does not fit the link type.
func Compile(expression string, linkType uint16, snapLen uint32) ([]wire.FilterInstruction, error) {
	p := &parser{text: expression, link: links[linkType]}
	if err := p.splitTokens(); err != nil {
		return nil, err
	}

	wanted, err := p.parseFilter()
	if err != nil {
		return nil, err
	}
	if p.link.name == "" {
		return nil, fmt.Errorf("filter for link type %d: not supported", linkType)
	}

	program, err := generate(wanted, snapLen)
	if err != nil {
		return nil, fmt.Errorf("filter %q: %w", expression, err)
	}
	return program, nil
}
