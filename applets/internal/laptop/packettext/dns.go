package packettext

import (
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// isDNS reports whether one of two ports is that of DNS or multicast DNS.
func isDNS(source, destination uint16) bool {
	const unicast, multicast = 53, 5353

	return source == unicast || destination == unicast ||
		source == multicast || destination == multicast
}

// addDNS adds a question or an answer, as tcpdump does: its number, flags, the question, counts
// and the first answers, and its length.
func (l *line) addDNS(message []byte, length int) {
	var parser dnsmessage.Parser
	header, err := parser.Start(message)
	switch {
	case err != nil:
		l.addTruncated("domain")
	case header.Response:
		l.addNumber("", int(header.ID))
		l.addResponse(&parser, header, message)
	default:
		l.addNumber("", int(header.ID))
		l.addQuery(&parser, header)
	}

	l.addNumber(" (", length)
	l.add(")")
}

// addQuery adds the questions of a query.
func (l *line) addQuery(parser *dnsmessage.Parser, header dnsmessage.Header) {
	const maxQuestions = 4

	if header.RecursionDesired {
		l.add("+")
	}

	for range maxQuestions {
		question, err := parser.Question()
		if err != nil {
			break
		}

		l.add(" ")
		l.add(typeName(question.Type))
		l.add("? ")
		l.addText(question.Name.String())
	}
}

// addResponse adds the result of a response, how many records its sections have, and the first of
// its answers.
func (l *line) addResponse(
	parser *dnsmessage.Parser, header dnsmessage.Header, message []byte,
) {
	if header.Authoritative {
		l.add("*")
	}
	if !header.RecursionAvailable {
		l.add("-")
	}
	if header.Truncated {
		l.add("|")
	}

	l.addWord(resultName(header.RCode))

	// The counts stand at fixed places; Start has verified that the header is whole.
	l.addNumber(" ", int(message[6])<<8|int(message[7]))
	l.addNumber("/", int(message[8])<<8|int(message[9]))
	l.addNumber("/", int(message[10])<<8|int(message[11]))

	if parser.SkipAllQuestions() == nil {
		l.addAnswers(parser)
	}
}

// addAnswers adds the first answers of a response.
func (l *line) addAnswers(parser *dnsmessage.Parser) {
	const maxAnswers = 4
	for i := range maxAnswers {
		record, err := parser.AnswerHeader()
		if err != nil {
			return
		}

		if i > 0 {
			l.add(",")
		}

		l.addWord(typeName(record.Type))
		if l.addRecord(parser, record.Type) != nil {
			return
		}
	}
}

// addRecord adds what a record says, if its type is one of those that are common in a cluster.
func (l *line) addRecord(parser *dnsmessage.Parser, kind dnsmessage.Type) error {
	switch kind {
	case dnsmessage.TypeA:
		record, err := parser.AResource()
		l.addWord(addressText(netip.AddrFrom4(record.A), err))
		return err
	case dnsmessage.TypeAAAA:
		record, err := parser.AAAAResource()
		l.addWord(addressText(netip.AddrFrom16(record.AAAA), err))
		return err
	case dnsmessage.TypeCNAME:
		record, err := parser.CNAMEResource()
		return l.addTarget(record.CNAME, err)
	case dnsmessage.TypePTR:
		record, err := parser.PTRResource()
		return l.addTarget(record.PTR, err)
	case dnsmessage.TypeSRV:
		record, err := parser.SRVResource()
		if err = l.addTarget(record.Target, err); err == nil {
			l.addNumber(":", int(record.Port))
		}
		return err
	}

	return parser.SkipAnswer()
}

// addTarget adds the name that a record points to.
func (l *line) addTarget(name dnsmessage.Name, err error) error {
	if err == nil {
		l.add(" ")
		l.addText(name.String())
	}

	return err
}

// addressText returns the text of an address that was read without an error.
func addressText(address netip.Addr, err error) string {
	if err != nil {
		return ""
	}

	return address.String()
}

// typeName returns the name of a record's type: TypeAAAA is AAAA.
func typeName(kind dnsmessage.Type) string {
	const prefix = "Type"
	switch text := kind.String(); {
	case kind == 64:
		return "SVCB"
	case kind == 65:
		return "HTTPS"
	case len(text) > len(prefix) && text[:len(prefix)] == prefix:
		return text[len(prefix):]
	default:
		return prefix + text
	}
}

// resultName returns tcpdump's name of a response's result, "" for success.
func resultName(code dnsmessage.RCode) string {
	switch code {
	case dnsmessage.RCodeSuccess:
		return ""
	case dnsmessage.RCodeFormatError:
		return "FormErr"
	case dnsmessage.RCodeServerFailure:
		return "ServFail"
	case dnsmessage.RCodeNameError:
		return "NXDomain"
	case dnsmessage.RCodeNotImplemented:
		return "NotImp"
	case dnsmessage.RCodeRefused:
		return "Refused"
	}

	return code.String()
}
