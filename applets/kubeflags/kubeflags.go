// Package kubeflags gives applets the flags that reach a cluster, as kubectl
// spells them, and those that choose a pod and the image to put into it. It is
// where the flag library meets package kube.
package kubeflags

import (
	"os"

	"kdiag/applets"
	"kdiag/kube"

	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
)

// Connection are the flags that Connect reads.
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
		text(applets.KindText, "Maximum time for a single API request, such as 5s; 0 for no limit", "request-timeout"),
	}
}

// Connect makes a connection from the flags' values.
func Connect(inv *applets.Invocation) (*kube.Cluster, error) {
	return kube.Connect(Options(inv), inv.Err)
}

// Options are the flags' values.
func Options(inv *applets.Invocation) kube.Options {
	f := inv.Flags
	return kube.Options{
		Kubeconfig: f.String("kubeconfig"), Context: f.String("context"),
		Cluster: f.String("cluster"), User: f.String("user"), Namespace: f.String("namespace"),
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

// Target are the flags that Selection reads; container says what -c is for.
func Target(container string) []cli.Flag {
	return []cli.Flag{
		applets.Takes(applets.KindSelector, &cli.StringFlag{Name: "selector", Aliases: []string{"l", "labels"}, Usage: "Select the pod by label instead of by name"}),
		applets.Takes(applets.KindContainer, &cli.StringFlag{Name: "container", Aliases: []string{"c", "t", "target"}, Usage: container}),
		applets.Takes(applets.KindPod, &cli.StringFlag{Name: "pod", Usage: "Pod name, instead of the argument", Hidden: true}),
	}
}

// Selection reads which pod and container are meant; names are the arguments
// that may name it. The container is empty for the pod's default.
func Selection(inv *applets.Invocation, names []string) (pod kube.Selection, container string, err error) {
	if named := inv.Flags.String("pod"); named != "" {
		names = append([]string{named}, names...)
	}
	if len(names) > 1 {
		return pod, "", applets.Usage("one target at a time, got %q", names)
	}

	target := ""
	if len(names) == 1 {
		target = names[0]
	}

	pod, err = kube.ParseSelection(target, inv.Flags.String("selector"))
	if err != nil {
		return pod, "", applets.Usage("%w", err)
	}

	return pod, inv.Flags.String("container"), nil
}

// Injection lists the flags for a container to be added to a pod; idle is what
// --idle-timeout is where it is left out.
func Injection(idle string) []cli.Flag {
	return []cli.Flag{
		imageFlag(), pullPolicyFlag(),
		&cli.DurationFlag{Name: "timeout", Usage: "Maximum time to wait for the container and connection", Value: kube.DefaultTimeout},
		&cli.DurationFlag{Name: "idle-timeout", Usage: "How long the container outlives its last session", DefaultText: idle},
		applets.Takes(applets.KindText, &cli.StringFlag{Name: "reason", Usage: "Record `TEXT` in the audit log and the container's arguments"}),
	}
}

func imageFlag() cli.Flag {
	return applets.Takes(applets.KindText, &cli.StringFlag{
		Name: "image", Aliases: []string{"dbg-image"}, Usage: "Image to run in the pod", DefaultText: "KDIAG_IMAGE, else this build's",
	})
}

func pullPolicyFlag() cli.Flag {
	return applets.OneOf(&cli.StringFlag{
		Name: "image-pull-policy", Aliases: []string{"pull-policy"}, Usage: "Pull policy", Value: string(corev1.PullIfNotPresent),
	}, string(corev1.PullAlways), string(corev1.PullIfNotPresent), string(corev1.PullNever))
}

// pullPolicy is what pullPolicyFlag says.
func pullPolicy(inv *applets.Invocation) corev1.PullPolicy {
	return corev1.PullPolicy(inv.Flags.String("image-pull-policy"))
}

// Image is the image to run in the pod: --image, KDIAG_IMAGE or the build's.
func Image(inv *applets.Invocation) string {
	for _, image := range []string{inv.Flags.String("image"), os.Getenv("KDIAG_IMAGE")} {
		if image != "" {
			return image
		}
	}
	return inv.Build.Image
}
