package packetfilter

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// parser reads a filter by recursive descent.
type parser struct {
	text   string
	tokens []token
	at     int
	depth  int
	link   link
	// last is the qualifier of the last primitive, which a word without keywords takes over, as in
	// "port 80 or 443".
	last qualifier
}

// qualifier says what a word stands for: the keywords before it.
type qualifier struct {
	protocol string // empty for none
	kind     string // host, net, port, portrange or proto; empty for none
	dir      direction
	// known says that there were any.
	known bool
}

// maxDepth bounds parentheses and chains of "not".
const maxDepth = 64

func (p *parser) peek() token { return p.tokens[p.at] }

// peekSecond returns the token after the next one.
func (p *parser) peekSecond() token { return p.tokens[min(p.at+1, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if p.at < len(p.tokens)-1 {
		p.at++
	}
	return t
}

// accept takes the next token if it is one of some operators or keywords.
func (p *parser) accept(texts ...string) bool {
	if !p.peek().is(texts...) {
		return false
	}
	p.next()
	return true
}

// expect takes a token that must be there.
func (p *parser) expect(text string) error {
	if !p.accept(text) {
		return p.fail(p.peek(), "expected %q here", text)
	}
	return nil
}

// isEnd reports whether a token is the end of the filter.
func (t token) isEnd() bool { return t.from == t.to }

// parseFilter reads the whole filter.
func (p *parser) parseFilter() (node, error) {
	if p.peek().isEnd() {
		return always(true), nil
	}

	n, err := p.parseChain()
	if err != nil {
		return nil, err
	}
	if !p.peek().isEnd() {
		return nil, p.fail(p.peek(), `expected "and", "or" or the end here`)
	}
	return n, nil
}

// parseChain reads terms that are joined by "and" and "or". Both bind alike, from the left.
func (p *parser) parseChain() (node, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		return nil, p.fail(p.peek(), "too many parentheses")
	}

	left, err := p.parseTerm()
	for err == nil {
		var right node
		switch {
		case p.accept("and", "&&"):
			right, err = p.parseTerm()
			left = both{left, right}
		case p.accept("or", "||"):
			right, err = p.parseTerm()
			left = either{left, right}
		default:
			return left, nil
		}
	}
	return nil, err
}

// parseTerm reads a term: a primitive, a comparison, or either in parentheses or negated.
func (p *parser) parseTerm() (node, error) {
	negate := false
	for p.accept("not", "!") {
		negate = !negate
	}

	n, err := p.parsePositive()
	if err == nil && negate {
		n = negated{n}
	}
	return n, err
}

func (p *parser) parsePositive() (node, error) {
	if p.beginsComparison() {
		begin := p.at
		n, compareErr := p.parseComparison()
		if compareErr == nil || isProtocol(p.tokens[begin]) {
			return n, compareErr
		}

		// A parenthesis or a number may begin something else, too. The error of whichever got
		// further says more.
		far := p.at
		p.at = begin
		if n, err := p.parsePrimitive(); err == nil || p.at >= far {
			return n, err
		}
		return nil, compareErr
	}
	return p.parsePrimitive()
}

// parsePrimitive reads what is no comparison.
func (p *parser) parsePrimitive() (node, error) {
	first := p.peek()
	switch {
	case first.isEnd():
		return nil, p.fail(first, "the filter ends too early")
	case p.accept("("):
		n, err := p.parseChain()
		if err != nil {
			return nil, err
		}
		return n, p.expect(")")
	case !first.word:
		return nil, p.fail(first, "expected a keyword, an address or a port here")
	case p.accept("less", "greater"):
		return p.parseLength(first.text == "less")
	case p.accept("inbound", "outbound"):
		return isDirection(first.text == "outbound"), nil
	case p.accept("broadcast"):
		return p.broadcast(first)
	case p.accept("multicast"):
		return p.multicast(first, "ether")
	}

	if why := explainUnsupported(first.text); why != "" && !first.escaped {
		return nil, p.fail(first, "%s", why)
	}

	return p.parseQualified(first, p.parseQualifier())
}

// isDirection tells packets that go out from others, by their type (SKF_AD_PKTTYPE).
func isDirection(out bool) node {
	const packetType, outgoing = 0xfffff000 + 4, 4
	is := equals(packetType, 4, outgoing)
	if out {
		return is
	}
	return negated{is}
}

// parseLength reads the number of "less" and "greater", which include it.
func (p *parser) parseLength(less bool) (node, error) {
	at := p.next()
	n, ok := at.number()
	if !ok {
		return nil, p.fail(at, "expected a number of bytes here")
	}

	length := loadLength()
	if less {
		return negated{test{length, jumpMore, n}}, nil
	}
	return test{length, jumpLeast, n}, nil
}

func (p *parser) broadcast(at token) (node, error) {
	if !p.link.ether {
		return nil, p.noEthernet(at)
	}
	return station(onlyDst, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), nil
}

func (p *parser) noEthernet(at token) error {
	return p.fail(at, "there is no Ethernet header here")
}

// multicast is true for packets to several receivers, by the addresses of a protocol.
func (p *parser) multicast(at token, protocol string) (node, error) {
	const ip4Dst, firstMulticast, ip6Dst, multicast6 = 16, 224, 24, 255
	switch protocol {
	case "ether":
		if !p.link.ether {
			return nil, p.noEthernet(at)
		}
		return test{load(0, 1), jumpSet, 1}, nil
	case "ip":
		return all(p.link.hasType(typeIP4), test{load(p.link.network+ip4Dst, 1), jumpLeast, firstMulticast}), nil
	case "ip6":
		return all(p.link.hasType(typeIP6), equals(p.link.network+ip6Dst, 1, multicast6)), nil
	}
	return nil, p.fail(at, "%s has no multicast addresses", protocol)
}

// isProtocol reports whether a token names a protocol as a keyword.
func isProtocol(t token) bool {
	if !t.word || t.escaped {
		return false
	}
	_, isIP := ipProtocols[t.text]
	return isIP || t.is("ether", "ip", "ip6", "arp", "rarp")
}

// parseQualifier reads the keywords before a word. Without any it returns the last primitive's.
func (p *parser) parseQualifier() qualifier {
	var q qualifier
	if isProtocol(p.peek()) {
		q.protocol, q.known = p.next().text, true
	}

	if p.peek().is("src", "dst") {
		q.known = true
		first := p.next()
		q.dir = map[string]direction{"src": onlySrc, "dst": onlyDst}[first.text]
		joined := p.peek().is("or", "||", "and", "&&") && p.peekSecond().is("src", "dst")
		if joined && p.peekSecond().text != first.text {
			q.dir = srcOrDst
			if p.next().is("and", "&&") {
				q.dir = srcAndDst
			}
			p.next()
		}
	}

	if kind := p.peek(); kind.is("host", "net", "port", "portrange", "proto") {
		q.kind, q.known = p.next().text, true
	}

	if !q.known {
		if !p.last.known {
			return qualifier{}
		}
		return p.last
	}
	p.last = q
	return q
}

// parseQualified reads what keywords stand for. first is the first of them.
func (p *parser) parseQualified(first token, q qualifier) (node, error) {
	word := p.peek()
	alone := q.kind == "" && q.protocol != "" && q.dir == srcOrDst && p.at > 0 && p.tokens[p.at-1] == first
	switch {
	case alone && word.is("multicast"):
		p.next()
		return p.multicast(first, q.protocol)
	case alone && word.is("broadcast"):
		p.next()
		if q.protocol != "ether" {
			return nil, p.fail(word, "the pod's netmask is not known here; use ether broadcast")
		}
		return p.broadcast(first)
	case alone && !beginsValue(word):
		return p.protocol(q.protocol)
	case word.is("(") && p.at > 0 && p.tokens[p.at-1].word:
		return p.parseList(q)
	}
	return p.parseValue(q)
}

// beginsValue reports whether a token is a word that is no keyword, which joins no terms.
func beginsValue(t token) bool {
	return t.word && !t.is("and", "or", "not")
}

// parseList reads values in parentheses, which share the keywords before them.
func (p *parser) parseList(q qualifier) (node, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}

	p.last = q
	n, err := p.parseChain()
	if err != nil {
		return nil, err
	}
	return n, p.expect(")")
}

// protocol is true for packets of a protocol.
func (p *parser) protocol(name string) (node, error) {
	switch number, isIP := ipProtocols[name]; {
	case name == "ether":
		return nil, p.fail(p.peek(), `expected "host", "proto" or an address after "ether"`)
	case isIP:
		return p.ipProtocol(name, number), nil
	}
	return p.link.hasType(etherTypes[name]), nil
}

// ipProtocol is true for packets of a protocol over IP.
func (p *parser) ipProtocol(name string, number uint32) node {
	switch {
	case only4[name]:
		return p.link.has4(number)
	case only6[name]:
		return p.link.has6(number)
	}
	return anyOf(p.link.has6(number), p.link.has4(number))
}

// parseValue reads the word after keywords: an address, a port or a protocol.
func (p *parser) parseValue(q qualifier) (node, error) {
	word := p.peek()
	switch {
	case word.isEnd():
		return nil, p.fail(word, "the filter ends too early")
	case !word.word:
		return nil, p.fail(word, "expected an address, a port or a name here")
	}
	p.next()

	switch q.kind {
	case "port", "portrange":
		return p.parsePorts(word, q)
	case "proto":
		return p.parseProtocol(word, q)
	}
	return p.parseAddress(word, q)
}

// parsePorts reads a port, or ports from one to another.
func (p *parser) parsePorts(word token, q qualifier) (node, error) {
	var protocols []uint32
	switch q.protocol {
	case "":
	case "tcp", "udp", "sctp":
		protocols = []uint32{ipProtocols[q.protocol]}
	default:
		return nil, p.fail(word, "%s has no ports", q.protocol)
	}

	if q.kind == "port" {
		port, named, ok := findPort(word.text, protocols)
		if !ok {
			return nil, p.fail(word, "expected a port here: 0 to 65535, or a known name")
		}
		return p.link.ports(named, q.dir, port, port), nil
	}

	first, second, isRange := strings.Cut(word.text, "-")
	low, _, lowOK := findPort(first, protocols)
	high, highOK := low, lowOK
	if isRange {
		high, _, highOK = findPort(second, protocols)
	}
	if !lowOK || !highOK {
		return nil, p.fail(word, "expected two ports here, as in 8000-8080")
	}
	return p.link.ports(protocols, q.dir, min(low, high), max(low, high)), nil
}

// findPort returns a port by its number, or by its name on this machine. A name may be one of only
// some of the protocols; none stands for all.
func findPort(text string, protocols []uint32) (port uint32, of []uint32, ok bool) {
	if n, err := strconv.ParseUint(text, 0, 16); err == nil {
		return uint32(n), protocols, true
	}
	if strings.Trim(text, "0123456789-.:") == "" {
		return 0, nil, false
	}

	for name, protocol := range map[string]uint32{"tcp": protoTCP, "udp": protoUDP} {
		if len(protocols) > 0 && !slices.Contains(protocols, protocol) {
			continue
		}
		if n, err := net.LookupPort(name, text); err == nil {
			port, of = uint32(n), append(of, protocol)
		}
	}

	if len(of) == 2 {
		return port, nil, true
	}
	return port, of, len(of) == 1
}

// parseProtocol reads the number or the name of a protocol.
func (p *parser) parseProtocol(word token, q qualifier) (node, error) {
	names := ipProtocols
	if q.protocol == "ether" {
		names = etherTypes
	}
	number, ok := word.number()
	if !ok {
		number, ok = names[word.text]
	}

	const minType, maxType = 0x600, 0xffff
	switch {
	case q.dir != srcOrDst:
		return nil, p.fail(word, "a protocol has no source or destination")
	case !ok:
		return nil, p.fail(word, "expected a protocol here: a number or a known name")
	case q.protocol == "ether" && !p.link.ether:
		return nil, p.noEthernet(word)
	case q.protocol == "ether" && (number < minType || number > maxType):
		return nil, p.fail(word, "expected an Ethernet type here, from 0x600 to 0xffff")
	case q.protocol == "ether":
		return p.link.hasType(number), nil
	case number > 255:
		return nil, p.fail(word, "expected an IP protocol here, from 0 to 255")
	case q.protocol == "ip":
		return p.link.has4(number), nil
	case q.protocol == "ip6":
		return p.link.has6(number), nil
	case q.protocol == "":
		return anyOf(p.link.has6(number), p.link.has4(number)), nil
	}
	return nil, p.fail(word, `"proto" does not fit %q`, q.protocol)
}

// parseAddress reads the address of a host or a net.
func (p *parser) parseAddress(word token, q qualifier) (node, error) {
	if address, err := net.ParseMAC(word.text); err == nil && len(address) == 6 {
		switch {
		case q.protocol != "ether" || q.kind == "net":
			return nil, p.fail(word, `an Ethernet address needs "ether host", "ether src" or "ether dst" before it`)
		case !p.link.ether:
			return nil, p.noEthernet(word)
		}
		return station(q.dir, address), nil
	}

	switch q.protocol {
	case "", "ip", "ip6", "arp", "rarp":
	case "ether":
		return nil, p.fail(word, "expected an Ethernet address here")
	default:
		return nil, p.fail(word, `%s has no addresses: write "%s and host …"`, q.protocol, q.protocol)
	}

	if address, err := netip.ParseAddr(word.text); err == nil && address.Is6() && address.Zone() == "" {
		return p.parseNet6(word, q, address)
	}
	if number, ok := word.number(); ok && q.protocol != "ip6" {
		return p.link.numbered4(q, number), nil
	}
	if address, length, ok := parseOctets(word.text); ok {
		return p.parseNet4(word, q, address, length)
	}

	if word.is("host", "net", "port", "portrange", "proto", "src", "dst", "and", "or", "not") || isProtocol(word) {
		return nil, p.fail(word, "expected an address here, not this keyword")
	}
	return nil, p.fail(word, "expected a keyword or an address here; kdiag looks up no names of hosts")
}

// numbered4 is true for packets with an address that is written as one number, as tcpdump reads it:
// of a net the first octets that are not 0, else all of an address.
func (l link) numbered4(q qualifier, address uint32) node {
	mask := uint32(0xffffffff)
	for q.kind == "net" && address != 0 && address>>24 == 0 {
		address, mask = address<<8, mask<<8
	}
	return l.net4(q.protocol, q.dir, address, mask)
}

// parseOctets reads an IPv4 address, or the first octets of one. length is how many bits there are.
func parseOctets(text string) (address, length uint32, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return 0, 0, false
	}
	for _, part := range parts {
		octet, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return 0, 0, false
		}
		address, length = address<<8|uint32(octet), length+8
	}
	return address << (32 - length), length, true
}

// parseNet4 reads the mask of a net, if there is one.
func (p *parser) parseNet4(word token, q qualifier, address, length uint32) (node, error) {
	if q.protocol == "ip6" {
		return nil, p.fail(word, "expected an IPv6 address here")
	}

	mask := uint32(0xffffffff) << (32 - length)
	switch at := p.peek(); {
	case at.is("/", "mask") && q.kind != "net":
		return nil, p.fail(at, `a mask needs "net" before the address`)
	case p.accept("/"):
		bits := p.next()
		n, ok := bits.number()
		if !ok || n > 32 {
			return nil, p.fail(bits, "expected a number of bits here, from 0 to 32")
		}
		mask = uint32(uint64(0xffffffff) << (32 - n))
	case p.accept("mask"):
		words := p.next()
		bits, given, ok := parseOctets(words.text)
		if !ok || given != 32 {
			return nil, p.fail(words, "expected a mask here, such as 255.255.255.0")
		}
		mask = bits
	}

	if address&^mask != 0 {
		return nil, p.fail(word, "the address has bits that its mask has not")
	}
	return p.link.net4(q.protocol, q.dir, address, mask), nil
}

// parseNet6 reads the length of a net, if there is one.
func (p *parser) parseNet6(word token, q qualifier, address netip.Addr) (node, error) {
	if q.protocol != "" && q.protocol != "ip6" {
		return nil, p.fail(word, "expected an IPv4 address here")
	}

	bits := uint32(128)
	if at := p.peek(); at.is("/") {
		if q.kind != "net" {
			return nil, p.fail(at, `a mask needs "net" before the address`)
		}
		p.next()
		length := p.next()
		n, ok := length.number()
		if !ok || n > 128 {
			return nil, p.fail(length, "expected a number of bits here, from 0 to 128")
		}
		bits = n
	}

	if netip.PrefixFrom(address, int(bits)).Masked().Addr() != address {
		return nil, p.fail(word, "the address has bits that its mask has not")
	}
	return p.link.net6(q.dir, words(address.As16()), maskWords(bits)), nil
}

// words splits an address into its four words.
func words(address [16]byte) (list [4]uint32) {
	for i, b := range address {
		list[i/4] = list[i/4]<<8 | uint32(b)
	}
	return list
}

// maskWords returns the four words of a mask.
func maskWords(bits uint32) (list [4]uint32) {
	for i := range list {
		n := min(32, bits)
		list[i] = uint32(uint64(0xffffffff) << (32 - n))
		bits -= n
	}
	return list
}
