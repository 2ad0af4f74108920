package logs

import (
	"fmt"
	"os"
	"sync"
)

// outputQueue keeps lines, and notes between them, until they are written: in memory, and
// if that gets too much, in files. What is too much for those, too, is lost, and a note
// says so. Adding never waits for a reader, so that logs are read as fast as they come.
type outputQueue struct {
	limits queueLimits
	filled chan struct{} // has one value if there may be something to take

	mu      sync.Mutex
	blocks  [][]byte // in memory, before what is in files
	held    int64    // their size
	files   []*queueFile
	stored  int64 // unread bytes in files
	fileErr error // why no more files can be written, until there is room in memory again

	added, taken int64 // bytes, from the beginning
	notes        []queuedNote
	lost         int // lines since the last one that was added
	closed       bool
	discarding   bool
}

// queueLimits bounds what a queue keeps, in bytes.
type queueLimits struct {
	memory, file, files int64
	dir                 string // for files; "" for the system's
}

const (
	queueBlock  = 64 << 10
	queueMemory = 16 << 20
	queueFiles  = 1 << 30
	queueOne    = 64 << 20
)

func newOutputQueue(limits queueLimits) *outputQueue {
	return &outputQueue{limits: limits, filled: make(chan struct{}, 1)}
}

// queuedNote is to be printed once so many bytes were taken.
type queuedNote struct {
	at   int64
	text string
}

// queueFile holds lines. It has no name, where the system allows that, so that nothing is
// left if kdiag is killed.
type queueFile struct {
	*os.File
	written, read int64
	named         bool
}

func (q *outputQueue) createFile() (*queueFile, error) {
	file, err := os.CreateTemp(q.limits.dir, "kdiag-logs-")
	if err != nil {
		return nil, err
	}
	return &queueFile{File: file, named: os.Remove(file.Name()) != nil}, nil
}

func (f *queueFile) remove() {
	_ = f.Close()
	if f.named {
		_ = os.Remove(f.Name())
	}
}

// addLine adds a line. It copies the text.
func (q *outputQueue) addLine(text []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.discarding {
		return
	}

	if !q.storeBytes(text) {
		q.lost++
		return
	}
	q.signalFilled()
}

// addNote adds a note that belongs between the line before and the next one.
func (q *outputQueue) addNote(text string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notes = append(q.notes, queuedNote{q.added, text})
	q.signalFilled()
}

func (q *outputQueue) signalFilled() {
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

// storeBytes keeps a line in memory or in a file. It returns false if there is no room.
func (q *outputQueue) storeBytes(text []byte) bool {
	size := int64(len(text))
	inMemory := len(q.files) == 0 && q.held+size <= q.limits.memory
	if !inMemory && q.stored+size > q.limits.files {
		return false
	}

	lastErr := q.fileErr
	if inMemory {
		q.fileErr = nil
		q.appendBlock(text)
	} else if !q.appendFile(text) {
		return false
	}
	if q.lost > 0 {
		q.noteLost(lastErr)
	}
	q.added += size

	return true
}

func (q *outputQueue) noteLost(fileErr error) {
	why := "the output was not read"
	if fileErr != nil {
		why += fmt.Sprintf(", and no file could be written: %v", fileErr)
	}
	q.notes = append(q.notes, queuedNote{q.added, fmt.Sprintf("%d lines are missing here: %s", q.lost, why)})
	q.lost = 0
}

func (q *outputQueue) appendBlock(text []byte) {
	q.held += int64(len(text))
	if last := len(q.blocks) - 1; last >= 0 && len(q.blocks[last])+len(text) <= cap(q.blocks[last]) {
		q.blocks[last] = append(q.blocks[last], text...)
		return
	}
	q.blocks = append(q.blocks, append(make([]byte, 0, max(queueBlock, len(text))), text...))
}

func (q *outputQueue) appendFile(text []byte) bool {
	if q.fileErr != nil {
		return false
	}

	if last := len(q.files) - 1; last < 0 || q.files[last].written >= q.limits.file {
		var file *queueFile
		if file, q.fileErr = q.createFile(); q.fileErr != nil {
			return false
		}
		q.files = append(q.files, file)
	}

	file := q.files[len(q.files)-1]
	if _, q.fileErr = file.WriteAt(text, file.written); q.fileErr != nil {
		return false
	}
	file.written += int64(len(text))
	q.stored += int64(len(text))

	return true
}

// close ends the queue: what is in it can still be taken.
func (q *outputQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.lost > 0 {
		q.noteLost(q.fileErr)
	}
	q.closed = true
	q.signalFilled()
}

// discard forgets all lines, and those to come. Notes that come later wait for no line.
func (q *outputQueue) discard() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.discarding, q.blocks, q.notes, q.held, q.stored, q.lost = true, nil, nil, 0, 0, 0
	for _, file := range q.files {
		file.remove()
	}
	q.files, q.taken = nil, q.added
	q.signalFilled()
}

// takeNext takes what is next: lines or a note. Without either, the queue is empty, and
// ended says whether it stays so.
func (q *outputQueue) takeNext() (lines []byte, note string, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()

	most := int64(queueBlock)
	if len(q.notes) > 0 {
		first := q.notes[0]
		if first.at <= q.taken {
			q.notes = q.notes[1:]
			return nil, first.text, false
		}
		most = first.at - q.taken
	}

	switch {
	case len(q.blocks) > 0:
		lines = q.takeBlock(most)
	case len(q.files) > 0:
		lines, note = q.takeFromFile(min(most, queueBlock))
	}
	q.taken += int64(len(lines))

	return lines, note, q.closed && len(lines) == 0 && note == "" && len(q.notes) == 0
}

func (q *outputQueue) takeBlock(most int64) []byte {
	lines := q.blocks[0]
	if len(q.notes) > 0 && int64(len(lines)) > most {
		// The capacity ends with the length: more lines must not be appended there.
		lines, q.blocks[0] = lines[:most:most], lines[most:]
	} else {
		q.blocks = q.blocks[1:]
	}
	q.held -= int64(len(lines))

	return lines
}

func (q *outputQueue) takeFromFile(most int64) (lines []byte, note string) {
	file := q.files[0]
	lines = make([]byte, min(most, file.written-file.read))
	n, err := file.ReadAt(lines, file.read)
	if lines = lines[:n]; err != nil && n == 0 {
		missing := file.written - file.read
		q.taken += missing
		q.stored -= missing
		file.read = file.written
		note = fmt.Sprintf("%d bytes are missing here: %v", missing, err)
	}

	file.read += int64(n)
	q.stored -= int64(n)
	if file.read == file.written {
		file.remove()
		q.files = q.files[1:]
	}

	return lines, note
}

// countWaiting returns how many bytes wait to be written.
func (q *outputQueue) countWaiting() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held + q.stored
}
