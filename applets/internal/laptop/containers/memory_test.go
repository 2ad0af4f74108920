package containers

import (
	"context"
	"slices"
	"strings"
	"testing"

	"kdiag/applets"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// knowingAPI knows what a pod uses, in MiB; less than 0 stands for not knowing it.
type knowingAPI struct {
	API
	used int64
}

func (a knowingAPI) MemoryUsage(context.Context, string, string) (int64, bool) {
	return a.used << 20, a.used >= 0
}

// TestCheckMemory refuses to start where the application might be killed for it.
func TestCheckMemory(t *testing.T) {
	for name, c := range map[string]struct {
		limit string
		used  int64
		force bool
		want  string
		extra int64
	}{
		"no limit":              {"", 10, false, "", 0},
		"room":                  {"32Mi", 20, false, "", 0},
		"no room":               {"16Mi", 12, false, "pod prod/web is limited to 16.0 MiB of memory and uses 12.0 MiB: ", 0},
		"no room, forced":       {"16Mi", 12, true, "", 0},
		"little use":            {"16Mi", 4, false, "", 0},
		"unknown use":           {"16Mi", -1, false, "pod prod/web is limited to 16.0 MiB of memory and the cluster does not say what it uses: ", 0},
		"unknown use, 24":       {"24Mi", -1, false, "", 0},
		"large limit, all used": {"64Mi", 64, false, "", 0},
		"no room for programs":  {"64Mi", 30, false, "pod prod/web is limited to 64.0 MiB of memory and uses 30.0 MiB: kdiag needs up to 48.0 MiB", 40},
		"room for programs":     {"64Mi", 10, false, "", 40},
		"programs, unknown use": {"48Mi", -1, false, "pod prod/web is limited to 48.0 MiB of memory and the cluster", 40},
		"programs, forced":      {"64Mi", 30, true, "", 40},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "web"}, Spec: corev1.PodSpec{Containers: make([]corev1.Container, 1)}}
		if c.limit != "" {
			pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(c.limit)}
		}

		err := Request{Force: c.force, ExtraMemory: c.extra << 20}.checkMemory(t.Context(), knowingAPI{used: c.used}, pod)
		if (err != nil) != (c.want != "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && !slices.ContainsFunc(applets.Hints(err), func(hint string) bool { return strings.Contains(hint, "--force") }) {
			t.Errorf("%s: hints %q, want --force", name, applets.Hints(err))
		}
	}
}
