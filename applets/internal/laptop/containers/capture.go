package containers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"kdiag/kube"
	"kdiag/mux"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// Capture is the handle on a pod's capture container.
type Capture struct {
	api      API
	request  Request
	messages Messages
	owner    *owner

	// pod and container are what Ensure found and made.
	pod       *corev1.Pod
	container kube.Injected
}

// NewCapture returns a handle, and begins to read the user's key. It asks the cluster nothing yet.
func NewCapture(api API, r Request, m Messages) *Capture {
	return &Capture{api: api, request: r, messages: m, owner: loadOwner(m.Notice)}
}

// Pod returns the pod that Ensure found.
func (c *Capture) Pod() *corev1.Pod { return c.pod }

// Image returns the image of the capture container.
func (c *Capture) Image() string { return c.request.Image }

// Ensure finds the pod and has a capture container run in it: one that this user's kdiag made earlier,
// or a new one.
func (c *Capture) Ensure(ctx context.Context) (kube.Injected, error) {
	ctx, cancel := kube.WithTimeout(ctx, c.request.Timeout)
	defer cancel()

	found, key, err := c.owner.findPod(ctx, c.api, c.request.Pod)
	if err != nil {
		return kube.Injected{}, err
	}
	c.pod = found.pod
	if err := c.request.checkMemory(ctx, c.api, c.pod); err != nil {
		return kube.Injected{}, err
	}

	request := kube.CaptureRequest{Pod: c.pod, ManagerContainer: c.request.managerContainer(mux.PublicText(key))}
	request.Manager.IdleTimeout = c.owner.chooseIdleTimeout(c.request.IdleTimeout)
	progress, silence := c.messages.ProgressUntil()
	defer silence()
	request.Ledger, request.Progress, request.Notice = c.owner.ledger, progress, c.messages.Note

	c.container, err = c.api.EnsureCapture(ctx, request)
	return c.container, explainEnsure(ctx, err)
}

// Exec runs a command in the container that Ensure returned, as Shell.Exec does.
func (c *Capture) Exec(ctx context.Context, e kube.ExecRequest) error {
	e.Namespace, e.Pod, e.Container = c.pod.Namespace, c.pod.Name, c.container.Name
	e.OpenTimeout = c.request.Timeout
	return c.api.Exec(ctx, e)
}

// DescribeKill says what has killed a process in the capture container, as far as that is known.
func (c *Capture) DescribeKill(ctx context.Context) string {
	said := ""
	if describer, ok := c.api.(endDescriber); ok {
		said = describer.DescribeShellEnd(ctx, kube.TargetContainer{Pod: c.pod}, c.container.Name)
	}
	return cmp.Or(said, "it was killed, as when the pod's memory does not suffice")
}

// portsTime bounds the look at the managers' ports, without which a capture works as well.
const portsTime = 5 * time.Second

// ManagerPorts returns the ports at which managers listen in the pod, whoever owns them: kdiag's own
// connections lead there. It says of which managers it could not find out.
func (c *Capture) ManagerPorts(ctx context.Context) []uint16 {
	ctx, cancel := kube.WithTimeout(ctx, portsTime)
	defer cancel()

	var ports []uint16
	for _, container := range kube.FindNetManagers(c.pod) {
		line, err := c.api.WaitForReadyLine(ctx, c.pod.Namespace, c.pod.Name, container)
		var ready wire.Ready
		if err == nil {
			ready, err = wire.ParseReady(line)
		}
		if err != nil {
			c.messages.Note(fmt.Sprintf("kdiag's own connections to container %s are captured, too: %v", container, err))
			continue
		}
		ports = append(ports, ready.Port, ready.OlderPort)
	}

	ports = slices.DeleteFunc(ports, func(port uint16) bool { return port == 0 })
	return ports[:min(len(ports), wire.MaxHiddenPorts)]
}
