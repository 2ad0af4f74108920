package kube

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestListNames wants only metadata asked for, of a limited number of objects.
func TestListNames(t *testing.T) {
	cluster := connectTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accept, limit := r.Header.Get("Accept"), r.URL.Query().Get("limit")
		if !strings.HasPrefix(accept, "application/json;as=PartialObjectMetadataList;") || limit != fmt.Sprint(maxNames) {
			t.Errorf("GET %s: Accept %q, limit %q, want metadata of %d at most", r.URL.Path, accept, limit, maxNames)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"kind": "PartialObjectMetadataList", "items": [
			{"metadata": {"name": %q, "labels": {"app": "web"}}},
			{"metadata": {"name": "old", "deletionTimestamp": "2026-01-01T00:00:00Z"}}]}`, r.URL.Path)
	}))

	for resource, path := range map[string]string{
		Namespaces: "/api/v1/namespaces", "pods": "/api/v1/namespaces/ns/pods",
		"deployments": "/apis/apps/v1/namespaces/ns/deployments", "jobs": "/apis/batch/v1/namespaces/ns/jobs",
	} {
		names, err := cluster.ListNames(t.Context(), resource)
		if err != nil || len(names) != 2 || names[0].Name != path || names[0].Labels["app"] != "web" || names[0].Deleting || !names[1].Deleting {
			t.Errorf("Names(%s) = %+v, %v, want those of %s", resource, names, err, path)
		}
	}

	if _, err := cluster.ListNames(t.Context(), "secrets"); err == nil {
		t.Error("Names(secrets): no error, want one: nobody completes them")
	}
}

// TestTargetTypes wants every listed type to be one that ParseSelection knows.
func TestTargetTypes(t *testing.T) {
	for _, typ := range TargetTypes() {
		got, ok := ParseResource(typ.Short)
		if !ok || got != typ.Resource {
			t.Errorf("Resource(%q) = %q, %v, want %q", typ.Short, got, ok, typ.Resource)
		}
		if _, err := (&Cluster{}).findResource(typ.Resource); err != nil {
			t.Errorf("findResource(%q): %v", typ.Resource, err)
		}
	}
}

func FuzzDecodeNames(f *testing.F) {
	f.Add(`{"items": [{"metadata": {"name": "a", "labels": {"b": "c"}}}]}`)
	f.Add(`{"items": [null, {"metadata": null}]}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, text string) {
		names, err := decodeNames(strings.NewReader(text))
		if err != nil && names != nil || len(names) > maxNames {
			t.Errorf("decodeNames(%q) = %d names, %v, want none with an error, and few", text, len(names), err)
		}
		for _, n := range names {
			if n.Name == "" {
				t.Errorf("decodeNames(%q): a name that is empty", text)
			}
		}
	})
}
