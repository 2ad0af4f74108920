package kube

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestManagerArgumentsNet(t *testing.T) {
	m := Manager{Role: "net", User: "key", Version: "v1", IdleTimeout: time.Minute}
	container := corev1.EphemeralContainer{}
	container.Args = m.arguments()
	want := []string{"manager", "--role=net", "--user=key", "--version=v1", "--idle-timeout=1m0s"}
	if !slices.Equal(container.Args, want) {
		t.Errorf("args = %q, want %q", container.Args, want)
	}

	got, ok := parseManager(&container)
	if !ok || got != m {
		t.Errorf("parseManager(args) = %+v, %t, want %+v", got, ok, m)
	}
}

func TestManagerArguments(t *testing.T) {
	m := Manager{Role: "shell", Target: "app", User: "key", Profile: ProfileChroot, Version: "v1", IdleTimeout: time.Minute}
	container := corev1.EphemeralContainer{}
	container.Args = m.arguments()
	got, ok := parseManager(&container)
	if !ok || got != m {
		t.Errorf("parseManager(args) = %+v, %t, want %+v", got, ok, m)
	}

	for _, args := range [][]string{nil, {"sh"}, {"manager"}, {"manager", "--target=app"}} {
		container.Args = args
		if got, ok := parseManager(&container); ok {
			t.Errorf("parseManager(%q) = %+v, want none", args, got)
		}
	}
}

func TestNewContainerName(t *testing.T) {
	for _, target := range []string{"", "app", strings.Repeat("a", 63), strings.Repeat("a", 49) + "-b"} {
		name := Manager{Role: "shell", Target: target}.newContainerName()
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			t.Errorf("name for target %q = %q: %v", target, name, problems)
		}
	}
}

// TestNetContainer pins the fields of a net container.
func TestNetContainer(t *testing.T) {
	pod := &corev1.Pod{}
	container := NetRequest{Pod: pod, ManagerContainer: ManagerContainer{Image: "i", Manager: Manager{User: "me", Target: "app"}}}.containerRequest().newContainer("")
	if !strings.HasPrefix(container.Name, "kdiag-net-") || container.TargetContainerName != "" || strings.Contains(strings.Join(container.Args, " "), "--target") {
		t.Errorf("container %+v, want kdiag-net-… without a target", container)
	}
}
