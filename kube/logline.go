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
	// Time is the runtime's time of the line, in nanoseconds. It is zero for text without
	// one: a message of the kubelet's, or the rest of a line that began before the time
	// that was asked for.
	Time time.Time
	// Text has no newline. It is valid until the next line is read.
	Text []byte
	// Cut says that the end of the line is missing, because it is longer than MaxLogLine.
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
}

// NewLogReader makes a reader of a log, which the caller closes.
func NewLogReader(log io.Reader) *LogReader {
	return &LogReader{from: bufio.NewReaderSize(log, 16<<10)}
}

// ReadLine returns the next line, or the error that ended the log: io.EOF if its sender ended
// it. A line that the log's end cuts off comes before the error, and is Open.
func (r *LogReader) ReadLine() (LogLine, error) {
	r.line = r.line[:0]
	cut := false
	for {
		piece, err := r.from.ReadSlice('\n')
		// The timestamp before the text, of less than 64 bytes, does not count.
		if room := MaxLogLine + 64 - len(r.line); len(piece) > room {
			piece, cut = piece[:room], true
		}

		r.line = append(r.line, piece...)
		switch {
		case err == nil:
			return parseLogLine(r.line, cut, false), nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case len(r.line) > 0:
			return parseLogLine(r.line, cut, true), nil
		}

		return LogLine{}, err
	}
}

// parseLogLine splits off the timestamp and the space that the kubelet puts before each line
// (k8s.io/cri-client/pkg/logs).
func parseLogLine(line []byte, cut, open bool) LogLine {
	text := bytes.TrimSuffix(line, []byte("\n"))
	parsed := LogLine{Text: text, Cut: cut, Open: open}

	// "2006-01-02T15:04:05Z" is the shortest, "….999999999+00:00" the longest.
	if at := bytes.IndexByte(text[:min(len(text), 40)], ' '); at >= 20 {
		if stamp, err := time.Parse(time.RFC3339Nano, string(text[:at])); err == nil {
			parsed.Time, parsed.Text = stamp, text[at+1:]
		}
	}

	if len(parsed.Text) > MaxLogLine {
		parsed.Text, parsed.Cut = parsed.Text[:MaxLogLine], true
	}

	return parsed
}
