package logs

import (
	"bytes"
	"hash/maphash"
	"time"

	"kdiag/kube"
)

// mark identifies one line of a container's log, by the runtime's time and its text.
type mark struct {
	at     int64 // in nanoseconds; 0 for no line
	length int
	text   []byte // its last bytes
}

// comparedBytes bounds how many bytes at the end of two lines are compared.
const comparedBytes = 1 << 10

func lastBytes(text []byte) []byte { return text[max(0, len(text)-comparedBytes):] }

// setLine makes m identify a line. It copies what it keeps.
func (m *mark) setLine(l kube.LogLine) {
	m.at, m.length = l.Time.UnixNano(), len(l.Text)
	m.text = append(m.text[:0], lastBytes(l.Text)...)
}

// isLine reports whether m identifies a line.
func (m *mark) isLine(l kube.LogLine) bool {
	return m.at != 0 && m.at == l.Time.UnixNano() && m.length == len(l.Text) && bytes.Equal(m.text, lastBytes(l.Text))
}

func (m *mark) clone() mark { return mark{m.at, m.length, bytes.Clone(m.text)} }

// position records how far a container's log has been read, across broken streams,
// rotated files and restarted instances, which the API does not tell apart. It is the
// last line in the order of the file. What stands before that line was read, or is not
// wanted; what stands behind it is new, whatever its time is.
type position struct {
	last mark
	// equal counts the lines that were read with the time and the text of last.
	equal int
	// newest is the newest time of a line that was read, in nanoseconds.
	newest int64
	// hashes are those of all texts with the time of last, if they are several.
	hashes []uint64
	seed   maphash.Seed
}

// disorder bounds how much older a line may be than one that stands before it: the
// runtime stamps stdout and stderr in two goroutines.
const disorder = 100 * time.Millisecond

// skipTo counts all lines up to one as read.
func (p *position) skipTo(last mark) {
	p.last, p.equal, p.hashes = last.clone(), 1, nil
	p.newest = max(p.newest, last.at)
}

// markRead records that a line was read.
func (p *position) markRead(l kube.LogLine) {
	at := l.Time.UnixNano()
	p.newest = max(p.newest, at)
	if at == p.last.at {
		p.countEqual(l)
	} else {
		p.equal, p.hashes = 1, p.hashes[:0]
	}
	p.last.setLine(l)
}

// mostEqual bounds how many lines of one time are told apart.
const mostEqual = 1 << 12

// countEqual counts the lines that equal one with the time of the line before it.
func (p *position) countEqual(l kube.LogLine) {
	if len(p.hashes) == 0 {
		p.seed = maphash.MakeSeed()
		p.hashes = append(p.hashes, maphash.Bytes(p.seed, p.last.text))
	}
	own := maphash.Bytes(p.seed, lastBytes(l.Text))
	if len(p.hashes) < mostEqual {
		p.hashes = append(p.hashes, own)
	}

	p.equal = 0
	for _, hash := range p.hashes {
		if hash == own {
			p.equal++
		}
	}
}

// isEmpty reports whether nothing has been read or skipped yet.
func (p *position) isEmpty() bool { return p.last.at == 0 }

// resumeTime returns the time to request the log from, so that the last line is in it:
// a whole second, since the API accepts no less.
func (p *position) resumeTime() time.Time {
	return time.Unix(0, p.last.at).Add(-disorder).Truncate(time.Second)
}

// resumeSearch looks for the position in one stream: for the last line that was read.
type resumeSearch struct {
	want  mark
	left  int   // how many lines equal want
	known int64 // lines up to this time count as read before the search has ended
	// byOrder is set if times do not count, because the clock was set back.
	byOrder bool
	// confirmed is set once it is known that the line will come.
	confirmed bool
	found     bool
	skipped   int // lines
}

// newSearch starts to look for the position.
func (p *position) newSearch() resumeSearch {
	if p.isEmpty() {
		return resumeSearch{found: true}
	}
	return resumeSearch{
		want: p.last.clone(), left: p.equal,
		known: min(p.newest, p.last.at+int64(disorder)),
	}
}

// searchResult says what a line is to a search.
type searchResult int

const (
	lineIsOld searchResult = iota
	lineIsNew
	// lineIsNewer is newer than the line that is searched, which has not come yet: it
	// may stand behind this one, or may have been rotated away.
	lineIsNewer
)

// checkLine says what the next line of the stream is.
func (f *resumeSearch) checkLine(l kube.LogLine) searchResult {
	if f.found {
		return lineIsNew
	}

	f.skipped++
	switch {
	case f.want.isLine(l):
		f.left--
		f.found = f.left == 0
		return lineIsOld
	case f.confirmed, f.byOrder, l.Time.UnixNano() <= f.known:
		return lineIsOld
	}

	return lineIsNewer
}
