package logs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"kdiag/kube"
)

// The API server ends a log in good order when its own connection to the kubelet
// breaks. So the end of what is not followed is believed only once its last
// line is the one that the kubelet, asked for one line, gives.

// errShort is a log that ended before its last line.
var errShort = errors.New("the log ended before its last line")

// lastSeen is the last whole line of a stream.
type lastSeen struct {
	at   time.Time
	text []byte // the last of it
	cut  bool
}

// compared is how much of two lines is compared, in bytes.
const compared = 1 << 10

func lastBytes(text []byte) []byte { return text[max(0, len(text)-compared):] }

func (e *lastSeen) setLine(l kube.LogLine) {
	e.at, e.cut = l.Time, l.Cut
	e.text = append(e.text[:0], lastBytes(l.Text)...)
}

// isLine reports whether a line is the ending, or the last piece of it: of a line
// that its runtime wrote in pieces, with a time each, the kubelet takes one for
// a line when it counts from the end.
func (e *lastSeen) isLine(last kube.LogLine) bool {
	if e.at.IsZero() || last.Time.Before(e.at) {
		return false
	}
	return e.cut || bytes.HasSuffix(e.text, lastBytes(last.Text))
}

// checkComplete is nil if an instance that has ended was read to its last line. open
// is the beginning of a line that the log ended with: there is no more of it if
// that is the last one.
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

// passOpen passes on a line that will have no end.
func (s *logSource) passOpen(open *kube.LogLine) {
	if !s.at.newReplayFilter().wasRead(open.Time) {
		s.passLine(*open)
	}
}

// readLastLine is the last line of an instance; without a time, where there is none.
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
		next, err := reader.Next()
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
