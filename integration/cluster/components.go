package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// component describes a program that the cluster consists of.
type component struct {
	name  string
	argv  func(*cluster) []string
	ready func(context.Context, *cluster) error
}

// components lists them in the order in which each finds what it needs.
var components = []component{
	{"etcd", (*cluster).etcdCommand, checkSocket("run/etcd.sock")},
	{"containerd", (*cluster).containerdCommand, checkSocket("run/containerd.sock")},
	{"kube-apiserver", (*cluster).apiserverCommand, checkURL("https://" + apiserverAddr() + "/readyz")},
	{"kube-controller-manager", (*cluster).controllerManagerCommand, checkURL("https://127.0.0.1:" + controllerManagerPort + "/healthz")},
	{"kube-scheduler", (*cluster).schedulerCommand, checkURL("https://127.0.0.1:" + schedulerPort + "/healthz")},
	{"kubelet", (*cluster).kubeletCommand, checkKubelet},
}

// findComponentKind finds a component by its name, or names those that there are.
func findComponentKind(name string) (component, error) {
	var names []string
	for _, p := range components {
		if p.name == name {
			return p, nil
		}
		names = append(names, p.name)
	}
	return component{}, fmt.Errorf("unknown component %q: use one of %s", name, strings.Join(names, ", "))
}

// kubeCommand returns the command line of a server of bin/kube.
func (c *cluster) kubeCommand(name string) []string { return []string{c.Path("bin/kube"), name} }

// onNode wraps a command so that it runs in the node's network namespace. `ip netns
// exec` would hide the cgroups, too.
func onNode(argv ...string) []string {
	return append([]string{"nsenter", "--net=" + netnsDir + "/" + node, "--"}, argv...)
}

// etcdCommand returns the command line of etcd.
func (c *cluster) etcdCommand() []string {
	client, peer := "unix://"+c.Path("run/etcd.sock"), "unix://"+c.Path("run/etcd-peer.sock")
	return append(c.kubeCommand("etcd"),
		"--name="+node,
		"--data-dir="+c.Path("etcd"),
		"--unsafe-no-fsync", // a test cluster does not outlive the machine
		"--listen-client-urls="+client,
		"--advertise-client-urls="+client,
		"--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer,
		"--initial-cluster="+node+"="+peer,
		"--log-level=warn",
	)
}

// containerdCommand returns the command line of containerd.
func (c *cluster) containerdCommand() []string {
	return onNode(c.runtimeProgram("containerd"), "--config="+c.Path("conf/containerd.toml"))
}

// apiserverCommand returns the command line of the API server.
func (c *cluster) apiserverCommand() []string {
	return append(c.kubeCommand("kube-apiserver"),
		"--etcd-servers=unix://"+c.Path("run/etcd.sock"),
		"--secure-port="+apiserverPort,
		"--advertise-address="+hostIP4,
		"--tls-cert-file="+c.Path("pki/apiserver.crt"),
		"--tls-private-key-file="+c.Path("pki/apiserver.key"),
		"--client-ca-file="+c.Path("pki/ca.crt"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--feature-gates=H2CContainerProbe=true,GRPCContainerProbeTLS=true", // the kubelet has them, too
		"--allow-privileged=true",
		"--service-cluster-ip-range="+serviceNets,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+c.Path("pki/service-account.key"),
		"--service-account-signing-key-file="+c.Path("pki/service-account.key"),
		"--kubelet-certificate-authority="+c.Path("pki/ca.crt"),
		"--kubelet-client-certificate="+c.Path("pki/apiserver-kubelet-client.crt"),
		"--kubelet-client-key="+c.Path("pki/apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP", // the node's name is not in any DNS
		"--audit-policy-file="+c.Path("conf/audit.yaml"),
		"--audit-log-path="+c.Path("log/audit.log"),
		"--audit-log-maxsize=100", // MiB
		"--audit-log-maxbackup=1",
	)
}

// controllerManagerCommand returns the command line of the controller manager.
func (c *cluster) controllerManagerCommand() []string {
	return append(c.kubeCommand("kube-controller-manager"),
		"--kubeconfig="+c.Path("conf/kube-controller-manager.kubeconfig"),
		"--bind-address=127.0.0.1",
		"--secure-port="+controllerManagerPort,
		"--tls-cert-file="+c.Path("pki/controllers.crt"),
		"--tls-private-key-file="+c.Path("pki/controllers.key"),
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--root-ca-file="+c.Path("pki/ca.crt"),
		"--service-account-private-key-file="+c.Path("pki/service-account.key"),
		"--cluster-signing-cert-file="+c.Path("pki/ca.crt"),
		"--cluster-signing-key-file="+c.Path("pki/ca.key"),
		"--flex-volume-plugin-dir="+c.Path("kubelet/plugins"),
		"--kube-api-qps=1000", // 20, the default, makes the controllers' start take 4 s
		"--kube-api-burst=1000",
		"--node-monitor-period=2s",
		"--node-monitor-grace-period=10s",
	)
}

// schedulerCommand returns the command line of the scheduler.
func (c *cluster) schedulerCommand() []string {
	return append(c.kubeCommand("kube-scheduler"),
		"--kubeconfig="+c.Path("conf/kube-scheduler.kubeconfig"),
		"--bind-address=127.0.0.1",
		"--secure-port="+schedulerPort,
		"--tls-cert-file="+c.Path("pki/controllers.crt"),
		"--tls-private-key-file="+c.Path("pki/controllers.key"),
		"--leader-elect=false",
	)
}

// kubeletCommand returns the command line of the kubelet.
func (c *cluster) kubeletCommand() []string {
	return onNode(append(c.kubeCommand("kubelet"),
		"--config="+c.Path("conf/kubelet.yaml"),
		"--kubeconfig="+c.Path("conf/kubelet.kubeconfig"),
		"--root-dir="+c.Path("kubelet"),
		"--cert-dir="+c.Path("kubelet/pki"),
		"--hostname-override="+node,
		"--node-ip="+nodeIP4+","+nodeIP6,
	)...)
}

// awaitComponent waits until a component is ready. It fails if the process has
// ended, or after a minute.
func (c *cluster) awaitComponent(ctx context.Context, p component) error {
	const patience = time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := p.ready(ctx, c)
		if err == nil {
			return nil
		}
		if _, ok := c.findComponent(p.name); !ok {
			return fmt.Errorf("%s ended; the last line of %s: %s", p.name, c.logFile(p.name), c.readLastLine(p.name))
		}
		if sleep(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("%s is not ready: %w: see %s", p.name, err, c.logFile(p.name))
		}
	}
}
