package resumable

import "time"

// minimumSlots is how finely a recentMinimum forgets.
const minimumSlots = 8

// recentMinimum is the lowest of the durations that were added lately.
type recentMinimum struct {
	slots [minimumSlots + 1]minimumSlot
	count int
}

// minimumSlot is the lowest of what was added within a part of the time.
type minimumSlot struct {
	since  time.Duration
	lowest time.Duration
}

// add adds d, and forgets most of what is older than span.
func (m *recentMinimum) add(now, span, d time.Duration) {
	if m.count > 0 {
		newest := &m.slots[m.count-1]
		if now-newest.since < span/minimumSlots {
			newest.lowest = min(newest.lowest, d)
			return
		}
	}

	old := 0
	for old < m.count && (now-m.slots[old].since > span || m.count-old > minimumSlots) {
		old++
	}
	m.count = copy(m.slots[:], m.slots[old:m.count])

	m.slots[m.count] = minimumSlot{since: now, lowest: d}
	m.count++
}

// get returns the lowest of the last span, or of the last addition if that is longer ago; 0 if
// there was none.
func (m *recentMinimum) get(now, span time.Duration) time.Duration {
	if m.count == 0 {
		return 0
	}

	lowest := m.slots[m.count-1].lowest
	for _, slot := range m.slots[:m.count-1] {
		if now-slot.since <= span {
			lowest = min(lowest, slot.lowest)
		}
	}

	return lowest
}
