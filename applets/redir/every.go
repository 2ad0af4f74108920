package redir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/inspection"
	"kdiag/kube"
	"kdiag/mux/wire"
)

// everyPort is a redirect for every port that something in the pod listens on
// outside loopback, or that processes of the container that was named do.
func (l *link) everyPort(ctx context.Context) ([]spec, error) {
	find := l.portsOfPod
	if l.net.Container != "" {
		find = l.portsOfContainer
	}

	ports, err := find(ctx)
	if err != nil {
		return nil, err
	}

	specs := make([]spec, len(ports))
	for i, port := range ports {
		specs[i] = spec{port: port, local: net.JoinHostPort(localhost, strconv.Itoa(int(port)))}
	}

	return specs, nil
}

// nameAPort is what to do where no port is found.
const nameAPort = "name a port, as 8080 or 8080:3000"

// portsOfPod asks the manager, which is in the pod's network namespace.
func (l *link) portsOfPod(ctx context.Context) ([]uint16, error) {
	ctx, cancel := kube.WithTimeout(ctx, l.options.timeout)
	defer cancel()
	var found wire.Listeners
	if err := l.session.Call(ctx, wire.RequestListeners, nil, &found); err != nil {
		return nil, l.explain("list the listening ports", err)
	}

	if len(found.Ports) == 0 {
		err := fmt.Errorf("redirect every port of pod %s: %w", l.where, errNothingListens)
		return nil, applets.WithHint(err, nameAPort)
	}

	return found.Ports, nil
}

// errNothingListens is a pod without a port to redirect.
var errNothingListens = errors.New("nothing in the pod listens outside loopback")

// portsOfContainer looks at the processes of the container, from the shell
// container beside it: the manager here sees none of them.
func (l *link) portsOfContainer(ctx context.Context) ([]uint16, error) {
	var ports []uint16
	var hidden wire.Hidden
	look := inspection.Options{Timeout: l.options.timeout, Notes: io.Discard}
	err := inspection.Run(ctx, l.net.Shell(), look, func(_ kube.Injected, taken wire.Snapshot) error {
		ports, hidden = taken.Ports(), taken.Hidden
		return nil
	})
	if err != nil {
		return nil, err
	}

	doing := "redirect every port of container " + l.net.Container
	if hidden.Count() > 0 {
		err := fmt.Errorf("%s: the sockets of some processes are hidden: %s", doing, hidden.Reasons())
		if len(ports) == 0 {
			return nil, applets.WithHint(err, "%s; kdiag ps %s -c %s shows what can be seen", nameAPort, l.net.Pod.Name, l.net.Container)
		}
		l.report.failed(err)
	}

	if len(ports) == 0 {
		return nil, applets.WithHint(fmt.Errorf("%s: none of its processes listens outside loopback", doing), nameAPort)
	}

	return ports, nil
}
