package logs

import (
	"bytes"
	"context"
	"errors"
	"io"

	"kdiag/kube"
)

// readStream reads one stream from the position to its end, or until yield is
// closed. It is no error if the sender ends the stream. open is an unfinished line
// at the end.
func (s *logSource) readStream(ctx context.Context, r kube.LogRequest, yield <-chan struct{}) (lines int, open *kube.LogLine, err error) {
	r.Namespace, r.Pod, r.Container = s.namespace, s.pod, s.container

	// --since counts only while nothing has been read of a container that was there
	// at the start.
	if r.Since = s.at.resumeTime(); s.at.isEmpty() && s.initial {
		r.SinceSeconds = s.f.sinceSeconds()
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if yield != nil {
		go func() {
			select {
			case <-yield:
				cancel()
			case <-ctx.Done():
			}
		}()
	}

	log, err := s.f.cluster.OpenLog(ctx, r)
	if err != nil {
		return 0, nil, err
	}
	defer log.Close()

	return s.readLines(log)
}

// readLines passes on the lines of a stream that were not read before.
func (s *logSource) readLines(log io.Reader) (lines int, open *kube.LogLine, err error) {
	reader, again, resumed := kube.NewLogReader(log), s.at.newReplayFilter(), !s.at.isEmpty()
	s.lastSeen = lastSeen{}

	for {
		next, err := reader.ReadLine()
		if err == nil && !next.Open && !next.Time.IsZero() {
			s.lastSeen.setLine(next)
		}

		switch {
		case errors.Is(err, io.EOF):
			return lines, open, nil
		case err != nil:
			return lines, nil, err
		case next.Time.IsZero():
			// This is a message of the kubelet, or the beginning of a timestamp. In
			// a resumed log it may be the end of a line that was read before, whose
			// beginning is older than the requested time.
			if text := bytes.TrimSpace(next.Text); !resumed && len(text) > 0 && (text[0] < '0' || text[0] > '9') {
				s.f.note("%s/%s: %s", s.pod, s.container, text)
			}
		case next.Open:
			next.Text = bytes.Clone(next.Text)
			open = &next
		case again.wasRead(next.Time):
		case lines == 0 && !s.confirmInstance():
			return 0, nil, errRestarted
		default:
			s.passLine(next)
			lines++
		}
	}
}

// errRestarted ends a stream if the container restarted before its first line: it
// may belong to either instance.
var errRestarted = errors.New("the container restarted")

// passLine marks a line as read and delivers it.
func (s *logSource) passLine(l kube.LogLine) {
	s.at.markRead(l.Time)
	if l.Cut && !s.cut {
		s.cut = true
		s.f.note("%s/%s logs lines longer than %d bytes; they are cut off", s.pod, s.container, kube.MaxLogLine)
	}
	s.f.deliver(&podLine{
		Namespace: s.namespace, Pod: s.pod, Container: s.container, Node: s.node,
		Time: l.Time, Text: l.Text, Old: s.beginning || l.Time.UnixNano() <= s.oldUntil,
	})
}

// readOnce reads the log a single time, without following it.
func (s *logSource) readOnce(ctx context.Context) {
	if !s.f.slots.takeSlot(ctx) {
		return
	}
	defer s.f.slots.freeSlot()

	_, open, err := s.readStream(ctx, *s.f.oneRead, nil)
	if open != nil {
		s.passOpen(open)
	}

	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, kube.ErrNoLog), errors.Is(err, kube.ErrNoPod):
		s.f.note("%v", err)
	default:
		s.f.fail(err)
	}
}
