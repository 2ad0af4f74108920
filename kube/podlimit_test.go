package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
)

func TestMemoryLimit(t *testing.T) {
	limits := func(text string) corev1.ResourceRequirements {
		if text == "" {
			return corev1.ResourceRequirements{}
		}
		return corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: apiresource.MustParse(text)}}
	}
	containers := func(texts ...string) (list []corev1.Container) {
		for _, text := range texts {
			list = append(list, corev1.Container{Resources: limits(text)})
		}
		return list
	}
	always := corev1.ContainerRestartPolicyAlways
	sidecar := func(text string) corev1.Container {
		return corev1.Container{RestartPolicy: &always, Resources: limits(text)}
	}
	whole := limits("96Mi")

	for name, c := range map[string]struct {
		spec corev1.PodSpec
		want int64 // in MiB
	}{
		"none":                    {corev1.PodSpec{Containers: containers("")}, 0},
		"one":                     {corev1.PodSpec{Containers: containers("16Mi")}, 16},
		"two":                     {corev1.PodSpec{Containers: containers("16Mi", "32Mi")}, 48},
		"one of two":              {corev1.PodSpec{Containers: containers("16Mi", "")}, 0},
		"zero":                    {corev1.PodSpec{Containers: containers("0")}, 0},
		"pod":                     {corev1.PodSpec{Resources: &whole, Containers: containers("")}, 96},
		"pod and containers":      {corev1.PodSpec{Resources: &whole, Containers: containers("16Mi")}, 96},
		"small init":              {corev1.PodSpec{Containers: containers("16Mi"), InitContainers: containers("8Mi")}, 16},
		"large init":              {corev1.PodSpec{Containers: containers("16Mi"), InitContainers: containers("64Mi")}, 64},
		"init without one":        {corev1.PodSpec{Containers: containers("16Mi"), InitContainers: containers("")}, 0},
		"sidecar":                 {corev1.PodSpec{Containers: containers("16Mi"), InitContainers: []corev1.Container{sidecar("8Mi")}}, 24},
		"init beside a sidecar":   {corev1.PodSpec{Containers: containers("16Mi"), InitContainers: append([]corev1.Container{sidecar("8Mi")}, containers("32Mi")...)}, 40},
		"sidecar without a limit": {corev1.PodSpec{Containers: containers("16Mi"), InitContainers: []corev1.Container{sidecar("")}}, 0},
		"pod of another resource": {corev1.PodSpec{Resources: &corev1.ResourceRequirements{}, Containers: containers("16Mi")}, 16},
	} {
		if got := MemoryLimit(&corev1.Pod{Spec: c.spec}); got != c.want<<20 {
			t.Errorf("%s: %d bytes, want %d MiB", name, got, c.want)
		}
	}
}

func TestParseMemoryUsage(t *testing.T) {
	for text, want := range map[string]int64{
		`{"containers":[{"name":"a","usage":{"cpu":"1m","memory":"10Mi"}},{"name":"b","usage":{"memory":"1024Ki"}}]}`: 11 << 20,
		`{"containers":[{"usage":{"cpu":"1m"}}]}`: -1,
		`{"containers":[]}`:                       -1,
		`{`:                                       -1,
	} {
		got, ok := parseMemoryUsage([]byte(text))
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("parseMemoryUsage(%s) = %d, %t, want %d", text, got, ok, want)
		}
	}
}
