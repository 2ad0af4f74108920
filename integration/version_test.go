package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestVersionCluster prints the versions of the cluster and of the user's managers.
func TestVersionCluster(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"); got.Code != 0 {
		t.Fatalf("shell: %v", got)
	}

	type manager struct{ Container, Role, Target, Profile, Version string }
	var info struct {
		Client   struct{ Version string }
		Cluster  struct{ Server, Version, Error string }
		Managers []manager
	}

	got := kit.RunKdiag(t, "version", "-o", "json", "-n", namespace, "root")
	if err := json.Unmarshal([]byte(got.Stdout), &info); err != nil || got.Code != 0 {
		t.Fatalf("version: %v: %v", err, got)
	}
	if info.Cluster.Server != kit.ReadServerURL(t).String() || !strings.HasPrefix(info.Cluster.Version, "v1.") || info.Cluster.Error != "" {
		t.Errorf("cluster = %+v, want the server and its version", info.Cluster)
	}

	name := kit.ReadPodField(t, namespace, "root", "{.spec.ephemeralContainers[*].name}")
	if want := []manager{{name, "shell", "app", "chroot", info.Client.Version}}; !slices.Equal(info.Managers, want) {
		t.Errorf("managers = %+v, want %+v", info.Managers, want)
	}

	got = kit.RunKdiag(t, "version", "-n", namespace, "root")
	if !strings.Contains(got.Stdout, "\nmanager "+name+": shell for container app, profile chroot, ") {
		t.Errorf("version: %v, want the manager", got)
	}

	// Another user has none there.
	got = kit.RunKdiagWith(t, "", kit.CreateUser(t), "version", "-n", namespace, "root")
	if got.Code != 0 || strings.Contains(got.Stdout, "manager") {
		t.Errorf("another user's version: %v, want no manager", got)
	}

	got = kit.RunKdiag(t, "version", "-o", "json", "--server=https://127.0.0.1:"+kit.StartDeafServer(t, "127.0.0.1:0"))
	if got.Code != 0 || !strings.Contains(got.Stdout, "no answer within 2s") {
		t.Errorf("version with a deaf server: %v, want the reason and code 0", got)
	}
}
