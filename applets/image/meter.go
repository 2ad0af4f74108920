package image

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/units"
)

// meter shows progress on a terminal, in one line that it rewrites. Without a terminal
// it shows nothing. It is safe for concurrent use.
type meter struct {
	mu    sync.Mutex
	out   io.Writer // nil after clear, or without a terminal
	what  string
	now   func() time.Time
	last  time.Time
	width int
	done  int64
	total int64
}

// meterInterval limits how often the line changes.
const meterInterval = 100 * time.Millisecond

func newMeter(stderr io.Writer) *meter {
	m := &meter{now: time.Now}
	if applets.IsTerminal(stderr) {
		m.out = stderr
	}
	return m
}

// startTask begins a new task of total bytes.
func (m *meter) startTask(what string, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.what, m.done, m.total = what, 0, total
}

// setDone sets how many bytes are done, and of how many.
func (m *meter) setDone(done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done, m.total = done, total
	m.showProgress()
}

// addDone adds n bytes to those done, up to the total. Bytes that are sent again after
// an error count twice, so the sum might exceed it.
func (m *meter) addDone(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done = min(m.done+int64(n), m.total)
	m.showProgress()
}

func (m *meter) showProgress() {
	if m.out == nil || m.total == 0 || m.now().Sub(m.last) < meterInterval {
		return
	}
	m.last = m.now()
	m.printLine(fmt.Sprintf("%s: %d%% of %s", m.what, m.done*100/m.total, units.Size(m.total)))
}

// clear removes the line. The meter shows nothing after that.
func (m *meter) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.out != nil && m.width > 0 {
		m.printLine("")
		fmt.Fprint(m.out, "\r")
	}
	m.out = nil
}

// printLine replaces the line. It uses no escape sequences, since some consoles show
// them.
func (m *meter) printLine(line string) {
	fmt.Fprint(m.out, "\r", line, strings.Repeat(" ", max(0, m.width-len(line))))
	m.width = len(line)
}
