package capture

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/connectionowners"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/inspection"
	"kdiag/applets/internal/laptop/pcapng"
	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// lookInterval is the time between two looks at a pod's sockets: each costs the pod some CPU time.
const lookInterval = time.Second

// explainPackets returns a sink that adds comments to the packets of a pod for out, if the options
// ask for them.
func (o options) explainPackets(
	ctx context.Context, api containers.API, request containers.Request, pod *corev1.Pod, out sink, notes io.Writer,
) sink {
	if !o.processes {
		return out
	}

	commenting := &commentingSink{sink: out, links: map[int]uint16{}}
	watchProcesses(ctx, api, request, pod, notes, &commenting.owners)

	return commenting
}

// watchProcesses keeps a table of a pod's sockets up to date until ctx ends, with a shell container
// beside the pod's default container. It returns when there is a first one, or there will be none.
func watchProcesses(
	ctx context.Context, api containers.API, request containers.Request, pod *corev1.Pod, notes io.Writer,
	owners *atomic.Pointer[connectionowners.Table],
) {
	request.Pod = kube.Selection{Kind: "pods", Name: pod.Name}
	request.Profile = kube.ProfileAuto
	notice := func(text string) { applets.Note(notes, "pod %s: %s", pod.Name, text) }
	shell := containers.NewShell(api, request, containers.Messages{Note: func(string) {}, Notice: notice})

	first := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		query := inspection.Query{Connected: true, Interval: lookInterval}
		err := inspection.Inspect(ctx, shell, query, func(_ kube.Injected, taken wire.Snapshot) error {
			table := owners.Load()
			if table == nil {
				table = connectionowners.New(pod.Namespace+"/"+pod.Name, shell.Target().Container)
				defer close(first)
			}
			table.Update(taken)
			owners.Store(table)
			return nil
		})
		if err != nil && ctx.Err() == nil {
			notice("packets have no comments with processes from now on: " + err.Error())
		}
	}()

	select {
	case <-first:
	case <-done:
	case <-ctx.Done():
	}
}

// commentingSink is a sink that adds to packets whose they are. It looks that up in a table: no
// packet waits.
type commentingSink struct {
	sink
	owners atomic.Pointer[connectionowners.Table]
	// links has the link types of the interfaces.
	links map[int]uint16
}

func (c *commentingSink) addInterface(pod *corev1.Pod, q query, i wire.PacketInterface) (int, error) {
	number, err := c.sink.addInterface(pod, q, i)
	c.links[number] = i.LinkType

	return number, err
}

func (c *commentingSink) writePacket(p pcapng.Packet) error {
	if table := c.owners.Load(); table != nil {
		if flow, ok := connectionowners.FindFlow(c.links[p.Interface], p.Data); ok {
			p.Comment = table.Comment(flow, sideOf(p))
		}
	}

	return c.sink.writePacket(p)
}

// sideOf returns which end of a packet's way is in the pod.
func sideOf(p pcapng.Packet) connectionowners.Side {
	switch {
	case p.Outgoing:
		return connectionowners.Source
	case p.Incoming:
		return connectionowners.Destination
	}

	return connectionowners.Neither
}
