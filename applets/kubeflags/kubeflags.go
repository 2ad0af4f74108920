// Package kubeflags gives applets the flags that reach a cluster, as kubectl
// spells them, and those that choose a pod and what is to run in it. It reads
// their values, and asks the cluster nothing.
package kubeflags

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/slowfiles"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
)

// Connection lists the flags that Connect reads.
func Connection() []cli.Flag {
	text := func(kind applets.Kind, usage, name string, aliases ...string) cli.Flag {
		return applets.Takes(kind, &cli.StringFlag{
			Name: name, Aliases: aliases, Usage: usage, Category: applets.ConnectionCategory,
		})
	}

	return []cli.Flag{
		text(applets.KindNamespace, "Namespace of the pod", "namespace", "n"),
		text(applets.KindContext, "Kubeconfig context to use", "context"),
		text(applets.KindFile, "Kubeconfig file to use", "kubeconfig"),
		text(applets.KindCluster, "Kubeconfig cluster to use", "cluster"),
		text(applets.KindUser, "Kubeconfig user to use", "user"),
		text(applets.KindText, "Address and port of the API server", "server", "s"),
		text(applets.KindText, "Bearer token for the API server", "token"),
		text(applets.KindText, "User to impersonate", "as"),
		text(applets.KindText, "UID to impersonate", "as-uid"),
		applets.Takes(applets.KindText, &cli.StringSliceFlag{
			Name: "as-group", Usage: "Group to impersonate; may be repeated", Category: applets.ConnectionCategory,
		}),
		text(applets.KindFile, "File with the API server's CA certificate", "certificate-authority"),
		text(applets.KindFile, "File with the client certificate", "client-certificate"),
		text(applets.KindFile, "File with the client key", "client-key"),
		&cli.BoolFlag{
			Name: "insecure-skip-tls-verify", Usage: "Don't verify the API server's certificate", Category: applets.ConnectionCategory,
		},
		text(applets.KindText, "Server name to expect in the API server's certificate", "tls-server-name"),
		text(applets.KindText, "Maximum time for a single API request, such as 5s; 0 for no limit (default 1m)", "request-timeout"),
	}
}

// ManyNamespaces lists the flags of Connection for a command that works in several namespaces:
// --namespace may be repeated. Connect takes the first one.
func ManyNamespaces() []cli.Flag {
	flags := slices.DeleteFunc(Connection(), func(f cli.Flag) bool { return f.Names()[0] == "namespace" })
	return append([]cli.Flag{
		applets.Takes(applets.KindNamespace, &cli.StringSliceFlag{
			Name: "namespace", Aliases: []string{"n"}, Usage: "Namespace of the pods; may be repeated", Category: applets.ConnectionCategory,
		}),
	}, flags...)
}

// readNamespace returns the value of --namespace, or the first one.
func readNamespace(f *cli.Context) string {
	if list := f.StringSlice("namespace"); len(list) > 0 {
		first, _, _ := strings.Cut(list[0], ",")
		return first
	}
	if value, ok := f.Value("namespace").(string); ok {
		return value
	}
	return ""
}

// Connect makes a connection from the flags' values. It gives up when ctx ends, or after --timeout:
// the kubeconfig, or a certificate that it names, may be a pipe that nobody writes to.
func Connect(ctx context.Context, inv *applets.Invocation) (*kube.Cluster, error) {
	ctx, cancel := kube.WithTimeout(ctx, cmp.Or(inv.Flags.Duration("timeout"), kube.DefaultTimeout))
	defer cancel()
	return slowfiles.Read(ctx, "the kubeconfig and the files that it names", func() (*kube.Cluster, error) {
		return kube.Connect(Options(inv), inv.Err)
	})
}

// Options returns the values of the flags that Connection lists.
func Options(inv *applets.Invocation) kube.ConnectOptions {
	f := inv.Flags
	return kube.ConnectOptions{
		Kubeconfig: f.String("kubeconfig"), Context: f.String("context"),
		Cluster: f.String("cluster"), User: f.String("user"), Namespace: readNamespace(f),
		Server: f.String("server"), Token: f.String("token"),
		As: f.String("as"), AsUID: f.String("as-uid"), AsGroups: f.StringSlice("as-group"),
		CertificateAuthority: f.String("certificate-authority"),
		ClientCertificate:    f.String("client-certificate"), ClientKey: f.String("client-key"),
		InsecureSkipTLSVerify: f.Bool("insecure-skip-tls-verify"),
		TLSServerName:         f.String("tls-server-name"),
		RequestTimeout:        f.String("request-timeout"),
		UserAgent:             userAgent(inv),
	}
}
