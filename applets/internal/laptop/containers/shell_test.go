package containers_test

import (
	"io"
	"slices"
	"testing"
	"time"

	"kdiag/applets/internal/laptop/containers"
	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"
)

// TestProgressEndsWithEnsure says nothing of what the kubelet reports late: the
// line on which it would be shown is the shell's by then.
func TestProgressEndsWithEnsure(t *testing.T) {
	fakecluster.KeepHome(t)
	var said []string
	messages := containers.NotesTo(io.Discard)
	messages.Progress = func(text string) { said = append(said, text) }

	cluster := &fakecluster.Fake{}
	request := containers.Request{Pod: kube.Selection{Kind: "pods", Name: "web"}, Container: "app", Timeout: time.Minute}
	if _, err := containers.NewShell(cluster, request, messages).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}

	cluster.Shells()[0].Progress("too late")
	if want := []string{"pulling the image"}; !slices.Equal(said, want) {
		t.Errorf("progress %q, want %q", said, want)
	}
}

// TestPreview asks for what the commands would ask for.
func TestPreview(t *testing.T) {
	request := containers.Request{Image: "i", PullPolicy: "Always", Version: "v1"}
	shell := containers.PreviewShell(request, "key", kube.TargetContainer{Container: "app"})
	wantShell := kube.Manager{Role: "shell", Target: "app", User: "key", Profile: kube.ProfileAuto, Version: "v1"}
	if shell.Manager != wantShell || shell.Image != "i" || shell.PullPolicy != "Always" {
		t.Errorf("PreviewShell = %+v, want manager %+v", shell, wantShell)
	}

	net := containers.PreviewNet(request, "key", nil)
	wantNet := kube.Manager{User: "key", Version: "v1"}
	if net.Manager != wantNet || net.Image != "i" {
		t.Errorf("PreviewNet = %+v, want manager %+v", net, wantNet)
	}

	capture := containers.PreviewCapture(request, "key", nil)
	if capture.Manager != wantNet || capture.Image != "i" {
		t.Errorf("PreviewCapture = %+v, want manager %+v", capture, wantNet)
	}
}
