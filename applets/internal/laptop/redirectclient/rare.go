package redirectclient

import (
	"fmt"
	"sync/atomic"
)

// rareProblem counts what should never happen. A manager that lies could make it
// happen all the time.
type rareProblem struct{ count atomic.Int64 }

// reportFirst is how often a rareProblem is reported each time. After that it is
// whenever its number has grown tenfold.
const reportFirst = 3

// countOne counts one more, and reports whether it should be told.
func (p *rareProblem) countOne() (n int64, tell bool) {
	n = p.count.Add(1)
	rest := n
	for rest%10 == 0 {
		rest /= 10
	}
	return n, n <= reportFirst || rest == 1
}

// reportRarely reports a problem with its number.
func (c *Client) reportRarely(p *rareProblem, format string, args ...any) {
	if n, tell := p.countOne(); tell {
		c.observer.Problem(Problem{c.pod, fmt.Errorf("%s: %d", fmt.Sprintf(format, args...), n)})
	}
}
