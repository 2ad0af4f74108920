package redir

import (
	"context"
	"fmt"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/laptop/inspection"
	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// findContainerPorts finds the ports that processes of one container listen on
// outside loopback. It looks from the shell container beside it: the manager in
// the net container sees none of those processes.
func findContainerPorts(ctx context.Context, handle *containers.Net, container string, observer redirectclient.Observer) ([]uint16, error) {
	var ports []uint16
	var hidden wire.Hidden
	err := inspection.Inspect(ctx, handle.ShellBeside(), inspection.Query{}, func(_ kube.Injected, taken wire.Snapshot) error {
		ports, hidden = taken.Ports(), taken.Hidden
		return nil
	})
	if err != nil {
		return nil, err
	}

	doing := "redirect every port of container " + container
	pod := handle.Pod()
	if hidden.Count() > 0 {
		err := fmt.Errorf("%s: the sockets of some processes are hidden: %s", doing, hidden.Reasons())
		if len(ports) == 0 {
			return nil, applets.WithHint(err, "%s; 'kdiag ps %s -c %s' shows what can be seen", redirectclient.NameAPort, pod.Name, container)
		}
		observer.Problem(redirectclient.Problem{Pod: redirectclient.Pod{Namespace: pod.Namespace, Name: pod.Name}, Err: err})
	}

	if len(ports) == 0 {
		return nil, applets.WithHint(fmt.Errorf("%s: none of its processes listens on an address other than loopback", doing), redirectclient.NameAPort)
	}

	return ports, nil
}
