package logs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"kdiag/kube"
)

// logStream reads one stream of a source's log.
type logStream struct {
	*logSource
	request kube.LogRequest
	search  resumeSearch
	reader  *kube.LogReader

	lines int       // new ones
	open  *openLine // an unfinished line at the end
}

// openLine is a line that its log's end cuts off.
type openLine struct {
	kube.LogLine
	long *longLine // of one that is cut
}

// Streams that end for these reasons are opened again at once, in another way.
var (
	// errRestarted ends a stream if the container restarted before its first line: it
	// may belong to either instance.
	errRestarted = errors.New("the container restarted")
	// errFar ends a stream of the last lines if more were logged since the last one
	// that was read.
	errFar = errors.New("the last lines are all new")
)

// nearLines is how many lines before the end to ask for when a log is followed. Unlike a
// time to begin with, their number does not depend on the node's clock.
const nearLines = 64

// readStream reads one stream from the position to its end, or until yield is
// closed. It is no error if the sender ends the stream. open is an unfinished line
// at the end.
func (s *logSource) readStream(ctx context.Context, r kube.LogRequest, yield <-chan struct{}) (lines int, open *openLine, err error) {
	r.Namespace, r.Pod, r.Container = s.namespace, s.pod, s.container
	if !s.at.isEmpty() {
		r.UID = s.uid // the pod may have been deleted since, and made again under the same name
	}

	st := &logStream{logSource: s, request: r, search: s.at.newSearch()}
	if err := st.chooseBeginning(ctx); err != nil {
		return 0, nil, err
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

	log, err := s.f.cluster.OpenLog(ctx, st.request)
	if err != nil {
		return 0, nil, err
	}
	defer log.Close()

	s.lastSeen.Store(0)
	s.searching.Store(false)
	st.reader = kube.NewLogReader(countingReader{log, &s.arrived})
	if err = st.readLines(ctx); err == nil && s.searching.Load() && !r.Previous {
		// All that came is older than the position, which did not come.
		s.hidden = true
		err = errFar
	}
	return st.lines, st.open, err
}

// chooseBeginning decides where the stream begins, so that no line behind the position
// is missing from it.
func (st *logStream) chooseBeginning(ctx context.Context) error {
	switch {
	case st.at.isEmpty():
		// --since counts only while nothing has been read of a container that was there
		// at the start.
		if st.initial {
			st.request.SinceSeconds = st.f.sinceSeconds()
		}
	case st.request.Tail != nil:
	case st.hidden:
		return st.beginWhole(ctx)
	case st.request.Follow && !st.far:
		near := int64(nearLines)
		st.request.Tail = &near
	default:
		st.request.Since = st.at.resumeTime()
	}

	return nil
}

// beginWhole begins with the first line of the log, because the clock was set back: a
// time to begin with would hide what was logged since.
func (st *logStream) beginWhole(ctx context.Context) error {
	there, err := st.hasPosition(ctx, st.request.Previous)
	if err != nil {
		return err
	}

	// An instance of before that does not have the position was read before it.
	st.search.byOrder = true
	st.search.found = !there && !st.request.Previous
	return nil
}

// countingReader counts the bytes that come.
type countingReader struct {
	from io.Reader
	came *atomic.Int64
}

func (c countingReader) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.came.Add(int64(n))
	return n, err
}

// readLines passes on the lines of a stream that were not read before.
func (st *logStream) readLines(ctx context.Context) error {
	resumed := !st.at.isEmpty()
	for {
		next, err := st.reader.ReadLine()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			st.open = nil
			return err
		case next.Time.IsZero():
			// This is a message of the kubelet, or the beginning of a timestamp. In
			// a resumed log it may be the end of a line that was read before, whose
			// beginning is older than the requested time.
			if text := bytes.TrimSpace(next.Text); !resumed && len(text) > 0 && (text[0] < '0' || text[0] > '9') {
				st.f.note("%s/%s: %s", st.pod, st.container, text)
			}
			continue
		case next.Open:
			long, _, _ := st.readLong(next)
			st.keepOpen(next, long)
			continue
		}

		if err := st.readLine(ctx, next); err != nil {
			return err
		}
	}
}

func (st *logStream) keepOpen(l kube.LogLine, long *longLine) {
	l.Text = bytes.Clone(l.Text)
	st.open = &openLine{l, long}
}

// readLine passes on a whole line, unless it was read before.
func (st *logStream) readLine(ctx context.Context, next kube.LogLine) error {
	fresh, err := st.isNew(ctx, next)
	if err != nil {
		return err
	}
	if !fresh {
		st.lastSeen.Store(next.Time.UnixNano())
		return nil
	}

	if st.lines == 0 {
		skipped, err := st.hasSkippedInstance(ctx)
		if err != nil {
			return err
		}
		if skipped || !st.confirmInstance() {
			return errRestarted
		}
	}

	long, whole, err := st.readLong(next)
	if !whole {
		st.keepOpen(next, long)
		return ignoreEnd(err)
	}

	if !st.request.Previous && !st.beginning {
		st.noteJump(ctx, next.Time)
		st.noteClock(next.Time)
	}
	st.lastSeen.Store(next.Time.UnixNano())
	st.passLine(next, st.isOldLine(ctx, next), long)
	st.lines++

	return nil
}

// hasSkippedInstance reports whether a stream that is about to bring the first line of an instance
// belongs to a later one: the kubelet knows of a restart before the API does. Then the one before has
// lines that were not read.
func (st *logStream) hasSkippedInstance(ctx context.Context) (bool, error) {
	isFirst := st.nextInstance || st.at.isEmpty() && !st.initial
	if !isFirst || st.request.Previous || st.f.oneRead != nil {
		return false, nil
	}

	end, err := st.readEnd(ctx, kube.LogRequest{Previous: true})
	return err == nil && end.last.at > st.at.last.at, err
}

// readLong reads the rest of a line that is cut, and looks for patterns in it. A line that
// the log's end cuts off is not whole.
func (st *logStream) readLong(l kube.LogLine) (long *longLine, whole bool, err error) {
	if !l.Cut {
		return nil, true, nil
	}
	long = st.f.beginLongLine(l.Text)
	defer long.endLine()
	whole, err = st.reader.ReadRest(long.addPiece)
	return long, whole, err
}

// ignoreEnd returns nil for the end of a log.
func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// isNew reports whether a line stands behind the position.
func (st *logStream) isNew(ctx context.Context, l kube.LogLine) (bool, error) {
	near := st.request.Tail != nil && *st.request.Tail == nearLines && st.request.Follow
	switch st.search.checkLine(l) {
	case lineIsNew:
		return true, nil
	case lineIsOld:
		st.searching.Store(!st.search.found)
		if near && !st.search.found && st.search.skipped >= nearLines {
			// As many lines as that were logged since, by a clock that was set back.
			st.far, st.hidden = true, true
			return false, errFar
		}
		return false, nil
	}

	if near {
		st.far = true
		return false, errFar
	}

	return st.isBehindLost(ctx, l)
}

// isBehindLost decides what a line is that is newer than the last one that was read,
// while that one has not come: it comes later if it is in the log at all, behind a line
// from the future. Else it was rotated away, and so was what stood behind it.
func (st *logStream) isBehindLost(ctx context.Context, l kube.LogLine) (bool, error) {
	if st.request.Tail == nil {
		there, err := st.hasPosition(ctx, st.request.Previous)
		if st.search.confirmed = there; there || err != nil {
			return false, err
		}
	}

	st.search.found = true
	st.searching.Store(false)
	if st.request.Previous || st.nextInstance || st.request.Tail != nil {
		return true, nil
	}

	end, err := st.readEnd(ctx, kube.LogRequest{Previous: true})
	switch {
	case err != nil:
		return false, err
	case end.last.at > st.search.want.at:
		return false, errRestarted
	case end.last.at < st.search.want.at:
		st.noteMissing(l.Time.Sub(time.Unix(0, st.search.want.at)))
	}

	return true, nil
}

// longestBeginning bounds how long lines count as old that are newer than the last one of
// the start.
const longestBeginning = time.Minute

// isOldLine reports whether a line was logged before the start: it stands before the last
// one of then, or is that one.
func (st *logStream) isOldLine(ctx context.Context, l kube.LogLine) bool {
	at := l.Time.UnixNano()
	switch {
	case st.beginning:
		return true
	case st.oldUntil == 0:
		return false
	case at == st.oldUntil:
		st.oldUntil = 0
		return true
	case at < st.oldUntil, st.oldConfirmed && time.Since(st.f.started) < longestBeginning:
		return true
	}

	// It is newer, so that last line was rotated away, or is still to come.
	first, err := st.readFirstTime(ctx, false)
	if st.oldConfirmed = err == nil && first != 0 && first <= st.oldUntil; !st.oldConfirmed {
		st.oldUntil = 0
	}

	return st.oldConfirmed
}

// passLine marks a line as read and delivers it. long has the rest of a line that is cut.
func (s *logSource) passLine(l kube.LogLine, old bool, long *longLine) {
	s.at.markRead(l)
	s.nextInstance, s.far, s.hidden, s.farAgain = false, false, false, 0
	if l.Cut && !s.cut {
		s.cut = true
		s.f.note("%s/%s logs lines longer than %d bytes; they are cut off", s.pod, s.container, kube.MaxLogLine)
	}
	s.f.deliver(&podLine{
		Namespace: s.namespace, Pod: s.pod, Container: s.container, Node: s.node,
		Time: l.Time, Text: l.Text, Old: old, long: long,
	})
}

// readOnce reads the log a single time, without following it.
func (s *logSource) readOnce(ctx context.Context) {
	if !s.f.slots.takeSlot(ctx) {
		return
	}
	defer s.f.slots.freeSlot()

	end, err := s.readEndOnce(ctx)
	if err == nil {
		var open *openLine
		if _, open, err = s.readStream(ctx, *s.f.oneRead, nil); open != nil {
			s.passOpen(open)
		}
	}
	if err == nil && s.lastSeen.Load() < end.last.at {
		err = &kube.Error{Doing: "read the log of " + s.pod + "/" + s.container, Err: errShort}
	}

	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, kube.ErrNoLog), errors.Is(err, kube.ErrNoPod):
		s.f.note("%v", err)
	default:
		s.f.fail(err)
	}
}

// readEndOnce reads the end of a log that is to be read once, unless none of it is.
func (s *logSource) readEndOnce(ctx context.Context) (logEnd, error) {
	if tail := s.f.oneRead.Tail; tail != nil && *tail == 0 {
		return logEnd{}, nil
	}
	return s.readEnd(ctx, kube.LogRequest{Previous: s.f.oneRead.Previous, SinceSeconds: s.f.sinceSeconds()})
}
