package netfilter

// TrackRoom says how many connections the kernel can still track in this network namespace, and how
// many sockets there are that it may have to.
type TrackRoom struct{ Max, Count, Sockets int }

// Scarce reports whether there are more sockets than half of what there is room for.
func (r TrackRoom) Scarce() bool { return r.Max > 0 && r.Sockets > (r.Max-r.Count)/2 }
