package role

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kdiag/applets"
	"kdiag/kube"

	"sigs.k8s.io/yaml"
)

// object is what the tests read of a manifest.
type object struct {
	APIVersion, Kind string
	Metadata         struct{ Name, Namespace string }
	Rules            []struct{ APIGroups, Resources, Verbs []string }
	RoleRef          struct{ APIGroup, Kind, Name string }
	Subjects         []struct{ Kind, Name, Namespace, APIGroup string }
}

// printed runs the applet, and returns the objects that it prints.
func printed(t *testing.T, args ...string) (objects []object, text string) {
	t.Helper()
	var out strings.Builder
	streams := applets.Streams{In: strings.NewReader(""), Out: &out, Err: &out}
	if err := applets.Execute(context.Background(), Applet(), "kdiag", args, applets.Build{}, streams); err != nil {
		t.Fatalf("role %q: %v", args, err)
	}

	for document := range strings.SplitSeq(out.String(), "---\n") {
		var read object
		if err := yaml.UnmarshalStrict([]byte(document), &read); err != nil {
			t.Fatalf("role %q prints what is no YAML: %v\n%s", args, err, document)
		}
		objects = append(objects, read)
	}

	return objects, out.String()
}

// granted are a Role's rights, as "get pods.apps/sub".
func granted(role object) []string {
	var rights []string
	for _, rule := range role.Rules {
		for _, verb := range rule.Verbs {
			rights = append(rights, strings.TrimSuffix(verb+" "+rule.Resources[0]+"."+rule.APIGroups[0], "."))
		}
	}
	slices.Sort(rights)
	return rights
}

func TestRoleGrants(t *testing.T) {
	base := []string{"create pods/exec", "get pods", "patch pods/ephemeralcontainers"}
	for line, want := range map[string][]string{
		"shell":                     base,
		"ps":                        base,
		"env":                       base,
		"cp":                        base,
		"manage":                    base[1:],
		"logs":                      {"get pods", "get pods/log"},
		"doctor":                    {"create pods/portforward", "get pods", "patch pods/ephemeralcontainers"},
		"shell ps manage":           base,
		"shell-copy":                {"create pods", base[0], base[1]},
		"shell-node":                {"create pods", base[0], base[1]},
		"shell --kinds selector":    {base[0], base[1], "list pods", base[2]},
		"shell --kinds Deployment":  {base[0], "get deployments.apps", base[1], "list pods", base[2]},
		"shell --kinds job,pod,svc": {base[0], "get jobs.batch", base[1], "get services", "list pods", base[2]},
		"shell --optional":          {base[0], base[1], "get pods.metrics.k8s.io", "get pods/exec", "get pods/log", "list events", "list pods", base[2], "watch events", "watch pods"},
	} {
		objects, text := printed(t, strings.Fields(line)...)
		if got := granted(objects[0]); len(objects) != 1 || !reflect.DeepEqual(got, want) {
			t.Errorf("role %s grants %q, want %q\n%s", line, got, want, text)
		}
	}

	// No command is the same as all of them, and no right stands there twice.
	all, _ := printed(t)
	each, _ := printed(t, kube.DefaultRoleCommands()...)
	if got, want := granted(all[0]), granted(each[0]); !reflect.DeepEqual(got, want) || len(slices.Compact(got)) != len(want) {
		t.Errorf("role grants %q, want %q", got, want)
	}
}

// TestRoleComments has what stands in comments be what --optional grants.
func TestRoleComments(t *testing.T) {
	_, text := printed(t)
	var uncommented []string
	optional := false
	for line := range strings.Lines(text) {
		optional = optional || strings.HasPrefix(line, "# Optional: ")
		if optional && (strings.HasPrefix(line, "# - ") || strings.HasPrefix(line, "#   resources") || strings.HasPrefix(line, "#   verbs")) {
			line = line[2:]
		}
		uncommented = append(uncommented, line)
	}

	var role object
	if err := yaml.UnmarshalStrict([]byte(strings.Join(uncommented, "")), &role); err != nil {
		t.Fatalf("with the comments taken away: %v\n%s", err, uncommented)
	}
	if with, _ := printed(t, "--optional"); !reflect.DeepEqual(granted(role), granted(with[0])) {
		t.Errorf("with the comments taken away it grants %q, with --optional %q", granted(role), granted(with[0]))
	}
}

func TestRoleBinding(t *testing.T) {
	objects, text := printed(t, "shell", "--name=y", "-n", "prod", "--user", "jane \"x\": #", "--user=true", "--group=system:masters", "--serviceaccount=ci:runner")
	if len(objects) != 2 {
		t.Fatalf("%d objects, want a Role and a RoleBinding\n%s", len(objects), text)
	}

	role, binding := objects[0], objects[1]
	if role.Kind != "Role" || binding.Kind != "RoleBinding" || binding.RoleRef.Kind != "Role" || binding.RoleRef.Name != role.Metadata.Name {
		t.Errorf("objects are %+v and %+v, want a Role and what binds it", role, binding)
	}

	for _, o := range objects {
		if o.Metadata.Name != "y" || o.Metadata.Namespace != "prod" || o.APIVersion != "rbac.authorization.k8s.io/v1" {
			t.Errorf("%s is %+v of %s, want y in prod", o.Kind, o.Metadata, o.APIVersion)
		}
	}

	var subjects []string
	for _, s := range binding.Subjects {
		subjects = append(subjects, strings.Join([]string{s.Kind, s.Namespace, s.Name, s.APIGroup}, "|"))
	}

	want := []string{
		`User||jane "x": #|rbac.authorization.k8s.io`, "User||true|rbac.authorization.k8s.io",
		"Group||system:masters|rbac.authorization.k8s.io", "ServiceAccount|ci|runner|",
	}
	if !reflect.DeepEqual(subjects, want) {
		t.Errorf("subjects are %q, want %q", subjects, want)
	}
}
