package kube

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"kdiag/mux/wire"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// configEntries is which entries of the kubeconfig a connection is made of. An empty
// one is given by flags alone.
type configEntries struct{ context, cluster, user string }

func (o ConnectOptions) findEntries(raw clientcmdapi.Config) configEntries {
	from := configEntries{context: cmp.Or(o.Context, raw.CurrentContext)}
	if entry := raw.Contexts[from.context]; entry != nil {
		from.cluster, from.user = entry.Cluster, entry.AuthInfo
	} else {
		from.context = ""
	}
	from.cluster, from.user = cmp.Or(o.Cluster, from.cluster), cmp.Or(o.User, from.user)
	return from
}

// Origin says in one line what the connection is made of.
func (c *Cluster) Origin() string {
	var parts []string
	for _, part := range [][2]string{{"context", c.entries.context}, {"cluster", c.entries.cluster}, {"user", c.entries.user}} {
		if part[1] != "" {
			parts = append(parts, fmt.Sprintf("%s %q", part[0], part[1]))
		}
	}
	return strings.Join(append(parts, fmt.Sprintf("namespace %q", c.Namespace), "server "+c.ServerAddress()), ", ")
}

// checkKubeconfigFiles reads the kubeconfig's files before client-go does, which ignores
// a field that is not spelt right. Each such file gets a line in notes.
func checkKubeconfigFiles(access clientcmd.ConfigAccess, notes io.Writer) error {
	files := access.GetLoadingPrecedence()
	if access.IsExplicitFile() {
		files = []string{access.GetExplicitFile()}
	}

	for _, file := range files {
		// What is no file on disk, as a pipe, can be read once only.
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxConfig {
			continue
		}

		text, err := os.ReadFile(file)
		if err != nil {
			continue // client-go says it
		}

		fields, err := findUnknownFields(text)
		if err != nil {
			return &Error{Doing: "read kubeconfig " + file, Err: err, Next: "check that this file is a kubeconfig ('kubectl config view' reads it too)"}
		}

		if len(fields) > 0 {
			text := fmt.Sprintf("kubeconfig %s: ignored unknown fields: %s", file, strings.Join(fields, ", "))
			fmt.Fprintf(notes, "note: %s\n", wire.Printable(text))
		}
	}

	return nil
}

// maxConfig bounds what is read in search of unknown fields, in bytes.
const maxConfig = 4 << 20

// findUnknownFields are the paths of what a kubeconfig does not have. Names are
// taken as client-go does: their case counts.
func findUnknownFields(text []byte) ([]string, error) {
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}

	var config clientcmdv1.Config
	strict, err := json.UnmarshalStrict(asJSON, &config, json.DisallowUnknownFields)
	if err != nil {
		return nil, err
	}

	var fields []string
	for _, err := range strict {
		var at json.FieldError
		if errors.As(err, &at) {
			fields = append(fields, at.FieldPath())
		}
	}

	return fields, nil
}

// checkEntries is the error for an entry that is named and not there. Of a
// context that names one, client-go makes a connection to its default server,
// or one without credentials.
func (o ConnectOptions) checkEntries(raw clientcmdapi.Config, from configEntries) error {
	if wanted := cmp.Or(o.Context, raw.CurrentContext); wanted != "" && from.context == "" {
		return missingEntryError("context", wanted, raw.Contexts, "")
	}

	of := ""
	if from.context != "" {
		of = fmt.Sprintf(" of context %q", from.context)
	}
	if from.cluster != "" && o.Server == "" && raw.Clusters[from.cluster] == nil {
		return missingEntryError("cluster", from.cluster, raw.Clusters, of)
	}
	if from.user != "" && cmp.Or(o.Token, o.ClientCertificate) == "" && raw.AuthInfos[from.user] == nil {
		return missingEntryError("user", from.user, raw.AuthInfos, of)
	}

	return nil
}

// missingEntryError is the error for a name that the kubeconfig does not have.
func missingEntryError[T any](kind, name string, there map[string]T, of string) error {
	next := fmt.Sprintf("the kubeconfig has no %ss; check KUBECONFIG or --kubeconfig", kind)
	if len(there) > 0 {
		next = fmt.Sprintf("choose one with --%s: %s", kind, strings.Join(slices.Sorted(maps.Keys(there)), ", "))
	}
	return &Error{Doing: "read the kubeconfig", Err: fmt.Errorf("%s %q%s does not exist", kind, name, of), Next: next}
}

// configError says that the kubeconfig, not the cluster, is at fault.
func configError(err error) error {
	if clientcmd.IsEmptyConfig(err) {
		return &Error{
			Doing: "read the kubeconfig", Err: fmt.Errorf("no cluster is configured"),
			Next: "set KUBECONFIG, or use --kubeconfig FILE or --server URL",
		}
	}
	return &Error{Doing: "read the kubeconfig", Err: err, Next: "run 'kubectl config view' to see how kubectl reads it"}
}
