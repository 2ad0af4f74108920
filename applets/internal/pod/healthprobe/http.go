package healthprobe

import (
	"bufio"
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"kdiag/mux/wire"
)

// httpRequest is a probe that asks over HTTP/1.1 (pkg/probe/http of Kubernetes).
type httpRequest struct{ wire.Probe }

// method begins the first line of each request of the kubelet's, and version ends it.
const (
	method  = "GET "
	version = " HTTP/1.1\r\n"
)

// judge wants the whole header of a request, and that it is the probe's.
func (p httpRequest) judge(a Arrival) Verdict {
	switch {
	case !isPrefix(a.Bytes, method):
		return Other
	case bytes.Contains(a.Bytes, []byte("\r\n\r\n")):
		return p.judgeHeader(a.Bytes)
	case !a.Final && !a.Ended && len(a.Bytes) < MaxBytes:
		return Undecided
	case p.beginsRequest(a.Bytes) && !a.Ended && !p.namesOther(a.Bytes):
		return Ambiguous
	}
	return Other
}

// judgeHeader judges a request with its whole header.
func (p httpRequest) judgeHeader(header []byte) Verdict {
	// The kubelet sends a target as it is in the pod's spec, blanks and all. Some applications take
	// it, but no parser of ours does.
	rest, isOurs := bytes.CutPrefix(header, []byte(method+p.Target+version))
	if isOurs {
		header = append([]byte(method+"/"+version), rest...)
	}

	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(header)))
	if err != nil {
		return Other
	}
	target := request.RequestURI
	if isOurs {
		target = p.Target
	}
	if !p.matches(target, request.Host, request.Header) {
		return Other
	}
	return Recognized
}

// beginsRequest reports whether bytes without the end of a header can become the probe.
func (p httpRequest) beginsRequest(header []byte) bool {
	line := method + p.Target + version
	return len(header) > len(method) && isPrefix(header, line)
}

// namesOther reports whether the lines of a header that are whole have an agent who is not the
// probe's.
func (p httpRequest) namesOther(header []byte) bool {
	_, lines, _ := bytes.Cut(header, []byte("\r\n"))
	whole := append(slices.Clone(lines[:bytes.LastIndexByte(lines, '\n')+1]), "\r\n"...)
	read, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(whole))).ReadMIMEHeader()
	agents := read["User-Agent"]
	return err == nil && len(agents) > 0 && !p.setsHeader("User-Agent") && !strings.HasPrefix(agents[0], p.Agent)
}

// matches reports whether a request is the probe's by its target and by all that the pod's spec
// says of its header.
func (p httpRequest) matches(target, host string, header http.Header) bool {
	for name, values := range p.Headers {
		if !matchesHeader(name, values, host, header) {
			return false
		}
	}

	own := p.setsHeader("User-Agent")
	if !own && !strings.HasPrefix(header.Get("User-Agent"), p.Agent) {
		return false
	}
	return target == p.Target || p.wasRedirected(header, own)
}

// setsHeader reports whether the pod's spec has a header.
func (p httpRequest) setsHeader(name string) bool {
	for set := range p.Headers {
		if strings.EqualFold(set, name) {
			return true
		}
	}
	return false
}

// wasRedirected reports whether a request follows a redirect of HTTP that answered the probe: the
// kubelet's client goes on at another target, and says where it comes from (RFC 9110, 10.1.3).
// Without an agent of the kubelet's own that must have been the probe's target.
func (p httpRequest) wasRedirected(header http.Header, ownAgent bool) bool {
	from, err := url.Parse(header.Get("Referer"))
	if err != nil || header.Get("Referer") == "" {
		return false
	}
	return !ownAgent || from.RequestURI() == p.Target
}

// matchesHeader reports whether a request has a header as the pod's spec sets it. Go's client sends
// no User-Agent for an empty one, the kubelet no Accept, and Host goes elsewhere.
func matchesHeader(name string, values []string, host string, header http.Header) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case name == "Host":
		return len(values) == 0 || values[0] == "" || values[0] == host
	case (name == "User-Agent" || name == "Accept") && (len(values) == 0 || values[0] == ""):
		return len(header.Values(name)) == 0
	case name == "User-Agent":
		return header.Get(name) == cleanValue(values[0])
	case isDroppedHeader(name):
		return true
	}

	got := header.Values(name)
	return slices.EqualFunc(values, got, func(want, got string) bool { return cleanValue(want) == got })
}

// isDroppedHeader reports whether Go's client sends something of its own in place of a header
// (net/http, reqWriteExcludeHeader), or reads it as its own setting.
func isDroppedHeader(name string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding", "Trailer", "Connection":
		return true
	}
	return false
}

// cleanValue returns a header's value as Go's client sends it.
func cleanValue(value string) string {
	return textproto.TrimString(strings.NewReplacer("\n", " ", "\r", " ").Replace(value))
}
