package integration

import (
	"testing"

	"kdiag/integration/kit"
)

// TestRedirEveryPort redirects every port that the pod listens on where no port is
// named, or with -c every port of a container.
func TestRedirEveryPort(t *testing.T) {
	namespace, _, _ := kit.CreateRedirPods(t)
	for _, args := range [][]string{nil, {"-c", "app"}} {
		redir := kit.StartRedir(t, nil, append([]string{"-n", namespace, "app"}, args...)...)

		ports := map[string]string{}
		for range 2 {
			e := redir.WaitForEvent("redirect")
			ports[e.Redirect] = e.Local
		}
		if len(ports) != 2 || ports["8080"] != "localhost:8080" || ports["7000"] != "localhost:7000" {
			t.Errorf("redirects %v = %v, want 7000 and 8080", args, ports)
		}
		redir.Interrupt()
	}
}

// TestRedirContainerPorts redirects the ports that the processes of a container
// listen on, though the pod declares none.
func TestRedirContainerPorts(t *testing.T) {
	namespace := kit.SharedPods(t)
	for container, port := range map[string]string{"one": "8081", "two": "8082"} {
		for _, pod := range []string{"several", "sharedpids"} {
			redir := kit.StartRedir(t, nil, "-n", namespace, pod, "-c", container)
			if e := redir.WaitForEvent("redirect"); e.Redirect != port || e.Local != "localhost:"+port {
				t.Errorf("redirect of container %s of %s = %+v, want %s", container, pod, e, port)
			}

			redir.Interrupt()
			for e := range redir.Events {
				if e.Event == "redirect" || e.Event == "error" {
					t.Errorf("one more event: %+v", e)
				}
			}
		}
	}
}

// TestRedirContainerHidden says why the ports of a container cannot be found.
func TestRedirContainerHidden(t *testing.T) {
	namespace := kit.CreatePolicedPod(t, "no-sys-chroot", "restricted")
	redir := kit.StartRedir(t, nil, "-n", namespace, "root", "-c", "app")
	kit.ExpectFailure(1, "redirect every port of container app: the sockets of some processes are hidden: the target runs as user 0", "name a port").
		Verify(t, "hidden sockets", redir.WaitForEnd())
}
