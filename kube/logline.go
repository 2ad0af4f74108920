package kube

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"time"
)

// LogLine holds one line of a container's log.
type LogLine struct {
	// Time is the runtime's time of the line, in nanoseconds and in UTC. It is zero for text
	// without one: a message of the kubelet's, or the rest of a line that began before the
	// time that was asked for.
	Time time.Time
	// Text has no newline. It is valid until the next line is read.
	Text []byte
	// Cut says that Text is only the beginning of the line, which is longer than MaxLogLine.
	// ReadRest reads on.
	Cut bool
	// Open says that the log ended before the line did.
	Open bool
}

// MaxLogLine limits how much of one line is kept, in bytes.
const MaxLogLine = 1 << 20

// LogReader splits a log with timestamps into lines.
type LogReader struct {
	from *bufio.Reader
	line []byte
	// extra is what line has behind the text of a line that is cut. The rest of that line is
	// unread if unread is set.
	extra  []byte
	unread bool
	// second is the second that the last timestamp began with, and secondText its text.
	second     int64
	secondText []byte
}

// NewLogReader makes a reader of a log, which the caller closes.
func NewLogReader(log io.Reader) *LogReader {
	return &LogReader{from: bufio.NewReaderSize(log, 64<<10)}
}

// ReadLine returns the next line, or the error that ended the log: io.EOF if its sender ended
// it. A line that the log's end cuts off comes before the error, and is Open.
func (r *LogReader) ReadLine() (LogLine, error) {
	if _, err := r.ReadRest(func([]byte) {}); err != nil {
		return LogLine{}, err
	}

	r.line = r.line[:0]
	for {
		piece, err := r.from.ReadSlice('\n')
		if err == nil && len(r.line) == 0 {
			return r.parseLine(piece, false), nil
		}

		r.line = append(r.line, piece...)
		switch {
		case err == nil:
			return r.parseLine(r.line, false), nil
		case errors.Is(err, bufio.ErrBufferFull) && len(r.line) <= MaxLogLine+longestStamp:
			continue
		case errors.Is(err, bufio.ErrBufferFull):
			r.unread = true
			return r.parseLine(r.line, false), nil
		case len(r.line) > 0:
			return r.parseLine(r.line, true), nil
		}

		return LogLine{}, err
	}
}

// ReadRest passes on what Text lacks of a line that is cut, in pieces that are valid until each
// returns. The line is whole unless the log ended before it did.
func (r *LogReader) ReadRest(each func(piece []byte)) (whole bool, err error) {
	if len(r.extra) > 0 {
		each(r.extra)
		r.extra = nil
	}

	for r.unread {
		piece, err := r.from.ReadSlice('\n')
		if text := bytes.TrimSuffix(piece, []byte("\n")); len(text) > 0 {
			each(text)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			r.unread = false
			return false, err
		}
		r.unread = err != nil
	}

	return true, nil
}

// longestStamp is more than the length of a timestamp and the space behind it.
const longestStamp = 64

// parseLine splits off the timestamp and the space that the kubelet puts before each line
// (k8s.io/cri-client/pkg/logs).
func (r *LogReader) parseLine(line []byte, open bool) LogLine {
	text := bytes.TrimSuffix(line, []byte("\n"))
	parsed := LogLine{Text: text, Open: open}

	// "2006-01-02T15:04:05Z" is the shortest, "….999999999+00:00" the longest.
	if at := bytes.IndexByte(text[:min(len(text), 40)], ' '); at >= 20 {
		if stamp, ok := r.parseStamp(text[:at]); ok {
			parsed.Time, parsed.Text = stamp, text[at+1:]
		}
	}

	if len(parsed.Text) > MaxLogLine {
		parsed.Text, r.extra = parsed.Text[:MaxLogLine], parsed.Text[MaxLogLine:]
	}
	parsed.Cut = r.unread || len(r.extra) > 0

	return parsed
}

// wholeSecond is the part of a timestamp that names the second, with the point behind it.
const wholeSecond = len("2006-01-02T15:04:05.")

// parseStamp parses a time of RFC 3339. Most have the second of the one before, and are in
// UTC: then only the digits behind the point are parsed.
func (r *LogReader) parseStamp(text []byte) (time.Time, bool) {
	last := len(text) - 1
	if text[last] == 'Z' && len(text) > wholeSecond+1 && bytes.Equal(text[:wholeSecond], r.secondText) {
		if nanos, ok := parseFraction(text[wholeSecond:last]); ok {
			return time.Unix(r.second, nanos).UTC(), true
		}
	}

	stamp, err := time.Parse(time.RFC3339Nano, string(text))
	if err == nil && text[last] == 'Z' && len(text) > wholeSecond {
		r.second, r.secondText = stamp.Unix(), append(r.secondText[:0], text[:wholeSecond]...)
	}

	return stamp.UTC(), err == nil
}

// parseFraction parses the digits behind the point of a second, as nanoseconds.
func parseFraction(digits []byte) (nanos int64, ok bool) {
	if len(digits) > 9 {
		return 0, false
	}
	for i := range 9 {
		nanos *= 10
		if i >= len(digits) {
			continue
		}
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		nanos += int64(digits[i] - '0')
	}
	return nanos, true
}
