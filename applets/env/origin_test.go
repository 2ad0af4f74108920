package env

import (
	"slices"
	"strings"
	"testing"

	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

func secretKey(name, key string, optional bool) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key, Optional: &optional}}
}

// podWithEverything has each kind of variable that a spec can set.
func podWithEverything() *corev1.Pod {
	named := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	return &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "init", Env: []corev1.EnvVar{{Name: "PHASE", Value: "init"}}}},
		Containers: []corev1.Container{{
			Name: "app",
			EnvFrom: []corev1.EnvFromSource{
				{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("settings")}, Prefix: "CFG_"},
				{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: named("keys")}, Prefix: "K_"},
				{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("more")}, Prefix: "K_"},
			},
			Env: []corev1.EnvVar{
				{Name: "MODE", Value: "fast"},
				{Name: "USER_NAME", ValueFrom: secretKey("db", "user", false)},
				{Name: "MAYBE", ValueFrom: secretKey("db", "none", true)},
				{Name: "LEVEL", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("log"), Key: "level"}}},
				{Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
				{Name: "MEM", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory"}}},
				{Name: "FILE", ValueFrom: &corev1.EnvVarSource{FileKeyRef: &corev1.FileKeySelector{VolumeName: "v", Path: "a.env", Key: "F"}}},
				{Name: "URL", Value: "http://$(USER_NAME)@$(IP)/$(LATER)$$(IP)"},
				{Name: "LATER", Value: "later"},
				{Name: "GONE", Value: "x"},
			},
		}},
	}}
}

// TestOrigins names what each variable comes from, without reading a Secret.
func TestOrigins(t *testing.T) {
	entries := []string{
		"PATH=/bin", "MODE=slow", "USER_NAME=app", "LEVEL=info", "IP=10.0.0.1", "MEM=1", "FILE=f",
		"URL=http://app@10.0.0.1/$(LATER)$(IP)", "LATER=later", "CFG_A=1", "K_B=2",
		"KUBERNETES_PORT=tcp://10.0.0.1:443", "KUBERNETES_SERVICE_HOST=10.0.0.1", "WEB_PORT_80_TCP_ADDR=10.0.0.2", "WEB_PORT=80",
	}
	var taken wire.Environment
	for _, entry := range entries {
		taken.Entries = append(taken.Entries, []byte(entry))
	}

	d := newDocument(kube.TargetContainer{Pod: podWithEverything(), Container: "app"}, kube.Injected{}, taken)
	var got []string
	for _, v := range d.Variables {
		got = append(got, v.Name+": "+v.describeOrigin())
	}
	want := []string{
		"PATH: image or process", "MODE: pod spec, changed by the process or a wrapper", "USER_NAME: Secret db (user)", "LEVEL: ConfigMap log (level)",
		"IP: field status.podIP", "MEM: resource limits.memory", "FILE: file a.env in volume v (F)",
		"URL: pod spec", "LATER: pod spec", "CFG_A: maybe ConfigMap settings (A)", "K_B: maybe ConfigMap more (B), Secret keys (B)",
		"KUBERNETES_PORT: service", "KUBERNETES_SERVICE_HOST: service", "WEB_PORT_80_TCP_ADDR: service", "WEB_PORT: image or process",
	}
	if !slices.Equal(got, want) {
		t.Errorf("origins:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(d.Missing, []string{"GONE"}) {
		t.Errorf("missing %q, want GONE alone", d.Missing)
	}
}

// TestSpecOfOtherContainers finds the spec of an init container, and of an ephemeral one.
func TestSpecOfOtherContainers(t *testing.T) {
	pod := podWithEverything()
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debug", Env: []corev1.EnvVar{{Name: "PHASE", Value: "debug"}}}}}
	for _, name := range []string{"init", "debug"} {
		if spec := readSpec(pod, name); spec.findOrigin("PHASE", name).Kind != fromSpec || spec.isChanged("PHASE", name, nil) || !spec.isChanged("PHASE", "x", nil) {
			t.Errorf("container %s: %+v, want PHASE=%s from the spec", name, spec, name)
		}
	}
	if spec := readSpec(pod, "none"); spec.findOrigin("PHASE", "x").Kind != fromElsewhere {
		t.Errorf("a container that is not there: %+v", spec)
	}
}

// TestLastEntryCounts takes the last of two entries of a spec with the same name, as the kubelet does.
func TestLastEntryCounts(t *testing.T) {
	spec := containerSpec{env: []corev1.EnvVar{{Name: "A", ValueFrom: secretKey("s", "k", false)}, {Name: "A", Value: "2"}}}
	if from := spec.findOrigin("A", "2"); from.Kind != fromSpec || spec.isChanged("A", "2", nil) || len(spec.listNames()) != 1 {
		t.Errorf("origin = %+v, want the last one's", from)
	}
}
