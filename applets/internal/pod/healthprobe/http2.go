package healthprobe

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Request is a probe that asks over HTTP/2 without TLS.
type http2Request struct {
	matches func(method, target, host string, header http.Header) bool
	// awaitsSettings means that the client asks only after it has the server's settings, as
	// grpc-go does.
	awaitsSettings bool
}

// isHTTP2 reports whether bytes begin as a connection of HTTP/2 (RFC 9113, 3.4).
func isHTTP2(sent []byte) bool {
	return len(sent) > len("P") && isPrefix(sent, http2.ClientPreface)
}

// judge reads the first request if it is there.
func (p http2Request) judge(a Arrival) Verdict {
	if len(a.Bytes) == 0 && (a.Ended || a.Final) || !isPrefix(a.Bytes, http2.ClientPreface) {
		return Other
	}

	request, err := readHTTP2Request(a.Bytes)
	switch {
	case request != nil:
		return p.judgeRequest(request)
	case !isCutOff(err) || a.Ended:
		return Other
	case len(a.Bytes) > len(http2.ClientPreface) && p.awaitsSettings && !a.FromNode:
		return Other
	case a.Final && a.FromNode:
		return Ambiguous
	case a.Final:
		return Other
	}
	return Undecided
}

// judgeRequest judges the first request of a connection.
func (p http2Request) judgeRequest(request *http2.MetaHeadersFrame) Verdict {
	header := http.Header{}
	for _, field := range request.RegularFields() {
		header.Add(field.Name, field.Value)
	}

	if p.matches(request.PseudoValue("method"), request.PseudoValue("path"), request.PseudoValue("authority"), header) {
		return Recognized
	}
	return Other
}

// matchesHTTP2 is matches for a request over HTTP/2.
func (p httpRequest) matchesHTTP2(verb, target, host string, header http.Header) bool {
	return verb == http.MethodGet && p.matches(target, host, header)
}

// isHealthCheck reports whether a request is the kubelet's call of gRPC's health service
// (pkg/probe/grpc of Kubernetes).
func isHealthCheck(_, target, _ string, header http.Header) bool {
	return target == "/grpc.health.v1.Health/Check" && strings.HasPrefix(header.Get("User-Agent"), "kube-probe/")
}

// readHTTP2Request returns the first request's header, nil if it is not there yet.
func readHTTP2Request(sent []byte) (*http2.MetaHeadersFrame, error) {
	rest, ok := bytes.CutPrefix(sent, []byte(http2.ClientPreface))
	if !ok {
		return nil, io.ErrUnexpectedEOF
	}

	framer := http2.NewFramer(io.Discard, bytes.NewReader(rest))
	framer.SetMaxReadFrameSize(MaxBytes)
	framer.MaxHeaderListSize = MaxBytes
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return nil, err
		}
		if request, ok := frame.(*http2.MetaHeadersFrame); ok {
			return request, nil
		}
	}
}

// isCutOff reports whether an error says that bytes end too early.
func isCutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
