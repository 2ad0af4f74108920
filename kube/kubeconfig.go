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

// configEntries names the entries of the kubeconfig that a connection uses. A name is empty
// if flags alone say what the entry would.
type configEntries struct{ context, cluster, user string }

// findEntries finds out which entries of a kubeconfig the options lead to.
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

// Origin says in one line where the connection comes from: context, cluster, user and server.
func (c *Cluster) Origin() string {
	var parts []string
	for _, part := range [][2]string{{"context", c.entries.context}, {"cluster", c.entries.cluster}, {"user", c.entries.user}} {
		if part[1] != "" {
			parts = append(parts, fmt.Sprintf("%s %q", part[0], part[1]))
		}
	}

	return strings.Join(append(parts, fmt.Sprintf("namespace %q", c.Namespace), "server "+c.ServerAddress()), ", ")
}

// checkKubeconfigFiles notes misspelt fields in the kubeconfig's files, one line for each
// file: client-go ignores them without a word.
func checkKubeconfigFiles(access clientcmd.ConfigAccess, notes io.Writer) error {
	files := access.GetLoadingPrecedence()
	if access.IsExplicitFile() {
		files = []string{access.GetExplicitFile()}
	}

	for _, file := range files {
		// A pipe, for example, can be read only once.
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > maxConfig {
			continue
		}

		text, err := os.ReadFile(file)
		if err != nil {
			continue // client-go reports it
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

// maxConfig limits the size of files that are searched for unknown fields, in bytes.
const maxConfig = 4 << 20

// findUnknownFields lists the paths of fields in a file that no kubeconfig has. The case of
// names counts, as it does in client-go.
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

// checkEntries returns an error for an entry that is named but missing. client-go would
// connect to its default server instead, or without credentials.
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

// missingEntryError makes the error for a name that the kubeconfig does not have.
func missingEntryError[T any](kind, name string, there map[string]T, of string) error {
	next := fmt.Sprintf("the kubeconfig has no %ss; check KUBECONFIG or --kubeconfig", kind)
	if len(there) > 0 {
		next = fmt.Sprintf("choose one with --%s: %s", kind, strings.Join(slices.Sorted(maps.Keys(there)), ", "))
	}

	return &Error{Doing: "read the kubeconfig", Err: fmt.Errorf("%s %q%s does not exist", kind, name, of), Next: next}
}

// configError says that the kubeconfig is at fault, not the cluster.
func configError(err error) error {
	if clientcmd.IsEmptyConfig(err) {
		return &Error{
			Doing: "read the kubeconfig", Err: fmt.Errorf("no cluster is configured"),
			Next: "set KUBECONFIG, or use --kubeconfig FILE or --server URL",
		}
	}
	return &Error{Doing: "read the kubeconfig", Err: err, Next: "run 'kubectl config view' to see how kubectl reads it"}
}
