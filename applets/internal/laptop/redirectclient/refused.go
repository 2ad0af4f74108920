package redirectclient

import (
	"slices"

	"kdiag/mux/wire"
)

// refusedCount counts what managers have reset of a redirect.
type refusedCount struct {
	total int64
	// told has what a manager has told of, by the redirect's ID there and the reason.
	told map[uint32]map[string]int64
}

// refusalReasons says what the manager's reasons mean, in the order in which they are told.
var refusalReasons = []struct{ code, text string }{
	{wire.RefusedNoRoom, "there was no room for more connections at once"},
	{wire.RefusedByApplication, "they were for the application, which did not take them"},
	{wire.RefusedAway, "this machine was away (--on-disconnect=reset)"},
	{wire.RefusedEnding, "kdiag's container was about to end"},
	{wire.RefusedStranger, "they were not redirected: something in the pod dialed kdiag's own port"},
	{"", "for a reason that this version of kdiag does not know"},
}

// handleRefused counts and reports what the manager has reset since it last told of that.
func (c *Client) handleRefused(counted wire.Refused) {
	r := c.findRedirect(counted.ID)
	if r == nil {
		return
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	more := r.noteRefused(counted)
	for _, reason := range refusalReasons {
		if count := more[reason.code]; count > 0 {
			c.observer.ConnectionsReset(ConnectionsReset{Pod: c.pod, Redirect: r.Spec, Count: count, Reason: reason.text})
		}
	}
}

// noteRefused takes over the manager's counts, and returns what is new, by the reason. mu is held.
func (r *redirect) noteRefused(counted wire.Refused) map[string]int64 {
	if r.refused.told == nil {
		r.refused.told = map[uint32]map[string]int64{}
	}
	told := r.refused.told[counted.ID]
	if told == nil {
		told = map[string]int64{}
		r.refused.told[counted.ID] = told
	}

	more := map[string]int64{}
	for code, count := range sumByKnownReason(counted.Counts) {
		if count > told[code] {
			more[code] = count - told[code]
			r.refused.total += more[code]
			told[code] = count
		}
	}
	return more
}

// sumByKnownReason adds up counts of reasons that are not known, as "".
func sumByKnownReason(counts map[string]int64) map[string]int64 {
	sums := map[string]int64{}
	for code, count := range counts {
		if !isKnownReason(code) {
			code = ""
		}
		sums[code] += count
	}
	return sums
}

func isKnownReason(code string) bool {
	return slices.ContainsFunc(refusalReasons, func(r struct{ code, text string }) bool { return r.code == code })
}

// countRefused returns how many connections managers have reset of the redirect so far.
func (r *redirect) countRefused() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused.total
}
