package logs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"kdiag/kube"
)

// The API server ends a log without an error when its own connection to the kubelet
// breaks. So the end of a log counts only if its last line is also what the kubelet
// returns when asked for one line.

// errShort reports a log that ended before its last line.
var errShort = errors.New("the log ended before its last line")

// lastSeen remembers the last whole line of a stream.
type lastSeen struct {
	at   time.Time
	text []byte // its last bytes
	cut  bool
}

// compared bounds how many bytes at the end of two lines are compared.
const compared = 1 << 10

func lastBytes(text []byte) []byte { return text[max(0, len(text)-compared):] }

func (e *lastSeen) setLine(l kube.LogLine) {
	e.at, e.cut = l.Time, l.Cut
	e.text = append(e.text[:0], lastBytes(l.Text)...)
}

// isLine reports whether last is the line that was seen, or its last piece. When the
// kubelet counts lines from the end, it counts the pieces that a runtime splits a
// long line into, each with a time of its own.
func (e *lastSeen) isLine(last kube.LogLine) bool {
	if e.at.IsZero() || last.Time.Before(e.at) {
		return false
	}
	return e.cut || bytes.HasSuffix(e.text, lastBytes(last.Text))
}

// checkComplete returns nil if an ended instance was read to its last line. open is
// an unfinished line at the end of the log: if it is the last line, nothing more of
// it will come.
func (s *logSource) checkComplete(ctx context.Context, previous bool, open *kube.LogLine) error {
	last, err := s.readLastLine(ctx, previous)
	switch {
	case err != nil || last.Time.IsZero() || s.at.isPast(last.Time):
		return err
	case open != nil && last.Open:
		s.passOpen(open)
	case !s.lastSeen.isLine(last):
		return errShort
	}
	return nil
}

// passOpen passes on a line that will never be finished.
func (s *logSource) passOpen(open *kube.LogLine) {
	if !s.at.newReplayFilter().wasRead(open.Time) {
		s.passLine(*open)
	}
}

// readLastLine reads the last line of an instance. It returns a line without a time
// if there is none.
func (s *logSource) readLastLine(ctx context.Context, previous bool) (last kube.LogLine, err error) {
	one := int64(1)
	log, err := s.f.cluster.OpenLog(ctx, kube.LogRequest{
		Namespace: s.namespace, Pod: s.pod, Container: s.container, Previous: previous, Tail: &one,
	})
	if previous && errors.Is(err, kube.ErrNoLog) {
		return last, nil
	}
	if err != nil {
		return last, err
	}
	defer log.Close()

	for reader := kube.NewLogReader(log); ; {
		next, err := reader.ReadLine()
		switch {
		case errors.Is(err, io.EOF):
			return last, nil
		case err != nil:
			return last, err
		case !next.Time.IsZero():
			last = next
			last.Text = bytes.Clone(lastBytes(next.Text))
		}
	}
}
