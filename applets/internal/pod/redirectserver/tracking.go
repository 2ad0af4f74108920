package redirectserver

import (
	"fmt"

	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// warnOfTracking tells the laptop if the kernel, which tracks the pod's TCP connections as long as
// there are redirects, has little room for them: where there is none, it drops new ones.
func (s *redirectSession) warnOfTracking(id uint32) {
	room, err := netfilter.ReadTrackRoom()
	if err != nil {
		s.server.config.Log.Debug("read the room in conntrack", "err", err)
		return
	}

	if room.Scarce() {
		s.noteTrouble(wire.Troubled{ID: id, Message: describeRoom(room),
			Hint: "watch for dropped connections, or raise net.netfilter.nf_conntrack_max on the node"})
	}
}

// describeRoom says how little room there is.
func describeRoom(room netfilter.TrackRoom) string {
	return fmt.Sprintf("the pod has %d sockets, and the node's kernel, which tracks them during a redirect, "+
		"has room for %d connections: it drops new ones when there is no more", room.Sockets, room.Max-room.Count)
}
