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
	}{
		"no limit":              {"", 10, false, ""},
		"room":                  {"32Mi", 20, false, ""},
		"no room":               {"16Mi", 12, false, "pod prod/web is limited to 16.0 MiB of memory and uses 12.0 MiB: "},
		"no room, forced":       {"16Mi", 12, true, ""},
		"little use":            {"16Mi", 4, false, ""},
		"unknown use":           {"16Mi", -1, false, "pod prod/web is limited to 16.0 MiB of memory and the cluster does not say what it uses: "},
		"unknown use, 24":       {"24Mi", -1, false, ""},
		"large limit, all used": {"64Mi", 64, false, ""},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "web"}, Spec: corev1.PodSpec{Containers: make([]corev1.Container, 1)}}
		if c.limit != "" {
			pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(c.limit)}
		}

		err := Request{Force: c.force}.checkMemory(t.Context(), knowingAPI{used: c.used}, pod)
		if (err != nil) != (c.want != "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && !slices.ContainsFunc(applets.Hints(err), func(hint string) bool { return strings.Contains(hint, "--force") }) {
			t.Errorf("%s: hints %q, want --force", name, applets.Hints(err))
		}
	}
}
