package logs

import (
	"context"
	"errors"
	"io"

	"kdiag/kube"
)

// The API server ends a log without an error when its own connection to the kubelet
// breaks. So the end of a log counts only if its last line is also what the kubelet
// returns when asked for the last lines.

// errShort reports a log that ended before its last line.
var errShort = errors.New("the log ended before its last line")

// logEnd describes the end of a container's log.
type logEnd struct {
	last mark // the last line that is whole; without a time if there is none
	open bool // whether an unfinished line stands behind it
}

// checkComplete returns nil if an ended instance was read to its last line. open is
// an unfinished line at the end of the log: if it is the last line, nothing more of
// it will come.
func (s *logSource) checkComplete(ctx context.Context, previous bool, open *openLine) error {
	end, err := s.readEnd(ctx, kube.LogRequest{Previous: previous})
	if err != nil {
		return err
	}

	if last := end.last.at; last != 0 && last != s.lastSeen.Load() && last != s.at.last.at {
		if previous && last < s.at.last.at {
			// Either the position is in the instance after this one, or the clock was
			// set back.
			if there, err := s.hasPosition(ctx, true); err != nil || !there {
				return err
			}
		}
		s.hidden = last < s.at.resumeTime().UnixNano()
		return errShort
	}

	if open != nil && end.open {
		s.passOpen(open)
	}

	return nil
}

// passOpen passes on a line that will never be finished.
func (s *logSource) passOpen(open *openLine) {
	if !s.at.last.isLine(open.LogLine) {
		s.passLine(open.LogLine, s.oldUntil != 0, open.long)
	}
}

// The kubelet counts lines from the end by the pieces that a runtime splits long lines
// into, and the first line of what it returns may lack its beginning. So the last line
// is asked for together with those before it.
const (
	endLines     = 2
	mostEndLines = 1 << 12
)

// readEnd reads the end of an instance's log.
func (s *logSource) readEnd(ctx context.Context, r kube.LogRequest) (end logEnd, err error) {
	r.Namespace, r.Pod, r.Container = s.namespace, s.pod, s.container
	for tail, before := int64(endLines), int64(-1); ; tail *= 8 {
		r.Tail = &tail
		end, lines, size, err := s.readLastLines(ctx, r)
		if err != nil || lines != 1 || size == before || tail > mostEndLines {
			return end, err
		}
		before = size
	}
}

// readLastLines reads the last lines of an instance's log. It returns how many there
// are, and their size in bytes.
func (s *logSource) readLastLines(ctx context.Context, r kube.LogRequest) (end logEnd, lines int, size int64, err error) {
	log, err := s.f.cluster.OpenLog(ctx, r)
	if r.Previous && errors.Is(err, kube.ErrNoLog) {
		return end, 0, 0, nil
	}
	if err != nil {
		return end, 0, 0, err
	}
	defer log.Close()

	for reader := kube.NewLogReader(log); ; {
		next, err := reader.ReadLine()
		switch {
		case errors.Is(err, io.EOF):
			return end, lines, size, nil
		case err != nil:
			return end, lines, size, err
		case next.Time.IsZero():
			continue
		}

		size += int64(len(next.Text))
		lines++
		whole, err := reader.ReadRest(func(rest []byte) { size += int64(len(rest)) })
		if err != nil && !errors.Is(err, io.EOF) {
			return end, lines, size, err
		}
		if end.open = next.Open || !whole; !end.open {
			end.last.setLine(next)
		}
	}
}

// readFirstTime returns the time of the first line in the present file of an instance's
// log; 0 if there is none.
func (s *logSource) readFirstTime(ctx context.Context, previous bool) (int64, error) {
	log, err := s.f.cluster.OpenLog(ctx, kube.LogRequest{
		Namespace: s.namespace, Pod: s.pod, Container: s.container, Previous: previous, Limit: firstBytes,
	})
	if err != nil {
		return 0, err
	}
	defer log.Close()

	first, err := kube.NewLogReader(log).ReadLine()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err != nil || first.Time.IsZero() {
		return 0, err
	}

	return first.Time.UnixNano(), nil
}

// firstBytes is enough for the time of a line.
const firstBytes = 64

// mostDoubts is how often a log is read again that may have been cut off.
const mostDoubts = 20

// hasPosition reads an instance's whole log and reports whether the position is in it.
func (s *logSource) hasPosition(ctx context.Context, previous bool) (bool, error) {
	end, err := s.readEnd(ctx, kube.LogRequest{Previous: previous})
	if err != nil || end.last.at == 0 {
		return false, err
	}

	log, err := s.f.cluster.OpenLog(ctx, kube.LogRequest{Namespace: s.namespace, Pod: s.pod, Container: s.container, Previous: previous})
	if err != nil {
		return false, err
	}
	defer log.Close()

	// A log that was cut off does not say whether the position is in it: neither without
	// its last line, nor among lines of the same time.
	search, complete, near := s.at.newSearch(), false, false
	search.byOrder = true
	for reader := kube.NewLogReader(log); ; {
		next, err := reader.ReadLine()
		switch {
		case errors.Is(err, io.EOF) && (!complete || near && s.failures < mostDoubts):
			return false, errShort
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		case next.Time.IsZero():
			continue
		}

		complete = complete || end.last.isLine(next)
		near = near || next.Time.UnixNano() == search.want.at
		if search.checkLine(next); search.found {
			return true, nil
		}
	}
}
