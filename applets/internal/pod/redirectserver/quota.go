package redirectserver

import "sync/atomic"

// quota is how many of something may still be had.
type quota struct{ left atomic.Int64 }

// take has one, if one is left.
func (q *quota) take() bool {
	if q.left.Add(-1) >= 0 {
		return true
	}
	q.left.Add(1)
	return false
}

func (q *quota) give() { q.left.Add(1) }
