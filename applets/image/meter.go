package image

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"kdiag/applets"
)

// meter shows on a terminal how far something is, in one line that is
// rewritten; elsewhere it shows nothing. It is safe for many goroutines.
type meter struct {
	mu    sync.Mutex
	out   io.Writer // nil once cleared, and where there is no terminal
	what  string
	now   func() time.Time
	last  time.Time
	width int
	done  int64
	total int64
}

// The line changes at most this often.
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

// setDone says how many bytes of how many are done.
func (m *meter) setDone(done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done, m.total = done, total
	m.showProgress()
}

// addDone says that n more bytes are done. Bytes sent again after an error count
// twice, so that the sum may pass the total: it is shown as the total.
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
	m.printLine(fmt.Sprintf("%s: %d%% of %s", m.what, m.done*100/m.total, bytesText(m.total)))
}

// clear removes the line; nothing is shown after it.
func (m *meter) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.out != nil && m.width > 0 {
		m.printLine("")
		fmt.Fprint(m.out, "\r")
	}
	m.out = nil
}

// printLine replaces the line without escape sequences, for consoles that show them.
func (m *meter) printLine(line string) {
	fmt.Fprint(m.out, "\r", line, strings.Repeat(" ", max(0, m.width-len(line))))
	m.width = len(line)
}

func bytesText(n int64) string {
	const mebi = 1 << 20
	if n < mebi {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/mebi)
}
