package kube

import (
	"cmp"
	"net"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// The kubelet mounts a pod's service account here (k8s.io/client-go/rest, InClusterConfig).
const podAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount"

// The names of what podAccountConfig makes, as messages show them.
const (
	podAccountContext = "in-cluster"
	podAccountUser    = "service account"
)

// usePodAccount makes a loader for the service account of the pod that kdiag runs in, as kubectl
// does. It returns nil if a kubeconfig has anything in it, if flags name a server or an entry, or
// if there is no such account.
func (o ConnectOptions) usePodAccount(raw clientcmdapi.Config) clientcmd.ClientConfig {
	if !clientcmdapi.IsConfigEmpty(&raw) || cmp.Or(o.Server, o.Context, o.Cluster, o.User) != "" {
		return nil
	}

	config := o.podAccountConfig()
	if config == nil {
		return nil
	}

	// Unlike kubectl, which takes the account only if no flag says more about the connection:
	// --as and --request-timeout must not lead to localhost:8080.
	return clientcmd.NewNonInteractiveClientConfig(*config, podAccountContext, o.configOverrides(), nil)
}

// podAccountConfig writes a kubeconfig for the pod's service account. It returns nil outside of a
// pod, and in one without a token.
func (o ConnectOptions) podAccountConfig() *clientcmdapi.Config {
	directory := cmp.Or(o.podAccount, podAccountDirectory)
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	token := filepath.Join(directory, "token")
	if info, err := os.Stat(token); err != nil || info.IsDir() || host == "" || port == "" {
		return nil
	}

	cluster := clientcmdapi.NewCluster()
	cluster.Server = "https://" + net.JoinHostPort(host, port)
	if authority := filepath.Join(directory, "ca.crt"); fileExists(authority) {
		cluster.CertificateAuthority = authority
	}

	user := clientcmdapi.NewAuthInfo()
	if o.Token == "" {
		user.TokenFile = token // which is read again as it changes
	}

	context := clientcmdapi.NewContext()
	context.Cluster, context.AuthInfo, context.Namespace = podAccountContext, podAccountUser, podNamespace(directory)

	config := clientcmdapi.NewConfig()
	config.Clusters[podAccountContext], config.AuthInfos[podAccountUser] = cluster, user
	config.Contexts[podAccountContext], config.CurrentContext = context, podAccountContext
	return config
}

// podNamespace returns the namespace of the pod that kdiag runs in, by client-go's rules
// (inClusterClientConfig.Namespace).
func podNamespace(directory string) string {
	if name := os.Getenv("POD_NAMESPACE"); name != "" {
		return name
	}
	text, _ := os.ReadFile(filepath.Join(directory, "namespace"))
	return strings.TrimSpace(string(text))
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
