package redirectserver

import "sync/atomic"

// A quota counts how many of something may still be taken.
type quota struct{ left atomic.Int64 }

// takeOne takes one, and reports whether one was left.
func (q *quota) takeOne() bool {
	if q.left.Add(-1) >= 0 {
		return true
	}
	q.left.Add(1)
	return false
}

// giveBack returns one that takeOne took.
func (q *quota) giveBack() { q.left.Add(1) }
