package redirectserver

import (
	"kdiag/applets/internal/pod/footprint"
)

// A memoryPlan divides the manager's part of the pod's memory. All sizes are in bytes.
type memoryPlan struct {
	// conns is how many redirected connections there may be at a time.
	conns int
	// slow and fast bound mux.Budget, copies mux.Proxier, and links what is under way to all
	// laptops together.
	slow, fast, copies, links int64
}

const (
	// mostMemory is the manager's part where the pod's limit is not known, or is large.
	mostMemory = 128 << 20
	// connectionMemory is what a connection may take, in bytes: 15 KiB for its stacks and buffers,
	// 5 KiB for its socket, and what the kernel holds of a slow one's data.
	connectionMemory = 24 << 10
	// minConnections is what there may be however small the pod is.
	minConnections = 64
)

// planMemory divides a third of the memory that the pod may have; 0 stands for an unknown limit.
func planMemory(podLimit int64) memoryPlan {
	part := int64(mostMemory)
	if podLimit > 0 {
		part = min(podLimit/3, mostMemory)
	}

	return memoryPlan{
		conns:  max(int(part*3/4/connectionMemory), minConnections),
		slow:   min(part/16, slowCallers),
		fast:   min(part/8, fastCallers),
		copies: min(part/32, copyMemory),
		links:  min(part/16, linkBuffer),
	}
}

// useMemoryOf plans anew for what is known of the pod's limit: what the laptop has read in the pod's
// spec, 0 if it says nothing, and what the container sees of it.
func (s *Server) useMemoryOf(specLimit int64) {
	limit := footprint.ReadMemoryLimit()
	if specLimit > 0 && (limit == 0 || specLimit < limit) {
		limit = specLimit
	}

	plan := planMemory(limit)
	s.pool.setLimit(plan.conns)
	s.budget.Resize(plan.slow, plan.fast)
	s.proxier.Resize(plan.copies)

	s.mu.Lock()
	s.links = plan.links
	s.mu.Unlock()
	s.shareLinks()
}

// shareLinks divides what may be under way among the sessions.
func (s *Server) shareLinks() {
	s.mu.Lock()
	defer s.mu.Unlock()

	for session := range s.sessions {
		select {
		case <-session.bound:
			session.laptop.SetBuffer(s.links / int64(len(s.sessions)))
		default: // it is about to share
		}
	}
}
