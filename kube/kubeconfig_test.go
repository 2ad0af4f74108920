package kube

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestFindUnknownFields(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                    nil,
		"{apiVersion: v1, kind: Config}":      nil,
		"current-contxt: x":                   {"current-contxt"},
		"Current-Context: x":                  {"Current-Context"},
		"users: [{name: u, user: {tokn: x}}]": {"users[0].user.tokn"},
		"contexts: [{name: c, contxt: {}}]":   {"contexts[0].contxt"},
		"extensions: [{name: e, extension: {anything: [1]}}]": nil,
	} {
		got, err := findUnknownFields([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("findUnknownFields(%q) = %q, %v, want %q", text, got, err, want)
		}
	}

	if _, err := findUnknownFields([]byte("a: b\n\tc: d\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("findUnknownFields of what is not YAML: %v, want the line", err)
	}
}

func FuzzFindUnknownFields(f *testing.F) {
	f.Add([]byte("{apiVersion: v1, kind: Config, users: [{name: u, usr: {}}]}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if fields, err := findUnknownFields(text); err != nil && fields != nil {
			t.Errorf("findUnknownFields(%q) = %q and %v, want one of them", text, fields, err)
		}
	})
}

// TestConfigNotes wants a note with file and field, and no error.
func TestConfigNotes(t *testing.T) {
	file := writeFile(t, `{current-contxt: x, clusters: [{name: far, cluster: {server: "https://10.0.0.1", proxy: x}}],
		contexts: [{name: ctx, context: {cluster: far}}], current-context: ctx}`)
	var notes strings.Builder
	if _, err := Connect(ConnectOptions{Kubeconfig: file}, &notes); err != nil {
		t.Fatal(err)
	}
	if got, want := notes.String(), "note: kubeconfig "+file+": ignored unknown fields: clusters[0].cluster.proxy, current-contxt\n"; got != want {
		t.Errorf("notes = %q, want %q", got, want)
	}
}

// TestConfigEntries wants the missing entry named, and those that exist.
func TestConfigEntries(t *testing.T) {
	file := writeFile(t, `{apiVersion: v1, kind: Config, current-context: one,
		clusters: [{name: near, cluster: {server: "https://10.0.0.1"}}], users: [{name: dev, user: {}}, {name: ops, user: {}}],
		contexts: [{name: one, context: {cluster: near, user: dev}}, {name: two, context: {cluster: far, user: dev}}, {name: three, context: {cluster: near, user: gone}}]}`)
	for _, test := range []struct {
		options    ConnectOptions
		line, hint string
	}{
		{ConnectOptions{Context: "four"}, `read the kubeconfig: context "four" does not exist`, "choose one with --context: one, three, two"},
		{ConnectOptions{Context: "two"}, `cluster "far" of context "two" does not exist`, "choose one with --cluster: near"},
		{ConnectOptions{Context: "three"}, `user "gone" of context "three" does not exist`, "choose one with --user: dev, ops"},
		{ConnectOptions{Cluster: "far"}, `cluster "far"`, "choose one with --cluster: near"},
		{ConnectOptions{User: "nobody"}, `user "nobody"`, "choose one with --user: dev, ops"},
	} {
		test.options.Kubeconfig = file
		_, err := Connect(test.options, io.Discard)
		if line, hint := splitError(err); !strings.Contains(line, test.line) || hint != test.hint && !strings.HasPrefix(hint, test.hint) {
			t.Errorf("Connect(%+v): %q, hint %q, want %q and %q", test.options, line, hint, test.line, test.hint)
		}
	}

	_, err := Connect(ConnectOptions{Kubeconfig: writeFile(t, "current-context: one")}, io.Discard)
	if line, hint := splitError(err); !strings.Contains(line, `context "one" does not exist`) || !strings.Contains(hint, "has no contexts") {
		t.Errorf("Connect without contexts: %q, hint %q", line, hint)
	}
}
