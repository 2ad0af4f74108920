package kube

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// pieces records each Write to a connection.
type pieces struct {
	net.Conn
	wrote  []string
	closed int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.wrote = append(p.wrote, string(b))
	return len(b), nil
}

func (p *pieces) Close() error {
	p.closed++
	return net.ErrClosed
}

// TestFrameConn wants each frame written whole, in a single Write.
func TestFrameConn(t *testing.T) {
	var below pieces
	through := &frameConn{Conn: &below}
	for _, piece := range []string{
		"\x00\x00\x00\x03", "\x00\x00\x00\x05", "hello", // a data frame
		"\x00\x00\x00\x03", "\x01\x00\x00\x00", "", // an empty one, the last
		"\x80\x03", "\x00\x06", "\x00\x00\x00\x04", "ping", // a control frame
		"\x00\x00\x00\x03", "\x00\x01\x00\x00", strings.Repeat("x", 1<<16),
	} {
		if n, err := io.WriteString(through, piece); n != len(piece) || err != nil {
			t.Errorf("Write(%d bytes) = %d, %v", len(piece), n, err)
		}
	}

	want := []string{
		"\x00\x00\x00\x03\x00\x00\x00\x05hello", "\x00\x00\x00\x03\x01\x00\x00\x00", "\x80\x03\x00\x06\x00\x00\x00\x04ping",
		"\x00\x00\x00\x03\x00\x01\x00\x00" + strings.Repeat("x", 1<<16),
	}
	if !slices.Equal(below.wrote, want) {
		t.Errorf("%d writes: %.100q, want %d: %.100q", len(below.wrote), below.wrote, len(want), want)
	}

	for range 2 {
		if err := through.Close(); err != nil || below.closed != 1 {
			t.Errorf("Close = %v, closed %d times below, want once", err, below.closed)
		}
	}
}

func TestReadUpgradeFailure(t *testing.T) {
	answer := func(body string) error {
		return readUpgradeFailure(&http.Response{Status: "403 Forbidden", Body: io.NopCloser(strings.NewReader(body))}, "SPDY/3.1")
	}
	status := `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"Forbidden","code":403}`
	if err := answer(status); !apierrors.IsForbidden(err) || err.Error() != "no" {
		t.Errorf("refusal = %v, want a Status", err)
	}

	for _, body := range []string{"", "<html>go away</html>", "{}"} {
		if err := answer(body); apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "403 Forbidden: "+body) {
			t.Errorf("refusal of %q = %v, want the answer", body, err)
		}
	}
}
