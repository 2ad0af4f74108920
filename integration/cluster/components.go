package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// component is a program that the cluster consists of.
type component struct {
	name  string
	argv  func(*cluster) []string
	ready func(context.Context, *cluster) error
}

// components stand in the order in which each finds what it needs.
var components = []component{
	{"etcd", (*cluster).etcd, dial("run/etcd.sock")},
	{"containerd", (*cluster).containerd, dial("run/containerd.sock")},
	{"kube-apiserver", (*cluster).apiserver, healthy("https://" + apiserverAddr() + "/readyz")},
	{"kube-controller-manager", (*cluster).controllerManager, healthy("https://127.0.0.1:" + controllerManagerPort + "/healthz")},
	{"kube-scheduler", (*cluster).scheduler, healthy("https://127.0.0.1:" + schedulerPort + "/healthz")},
	{"kubelet", (*cluster).kubelet, kubeletReady},
}

func componentNamed(name string) (component, error) {
	var names []string
	for _, p := range components {
		if p.name == name {
			return p, nil
		}
		names = append(names, p.name)
	}
	return component{}, fmt.Errorf("no component %q: it is one of %s", name, strings.Join(names, ", "))
}

func (c *cluster) kube(name string) []string { return []string{c.Path("bin/kube"), name} }

// onNode runs a command in the node's network namespace, and in that only: `ip netns exec` would hide the cgroups too.
func onNode(argv ...string) []string {
	return append([]string{"nsenter", "--net=" + netnsDir + "/" + node, "--"}, argv...)
}

func (c *cluster) etcd() []string {
	client, peer := "unix://"+c.Path("run/etcd.sock"), "unix://"+c.Path("run/etcd-peer.sock")
	return append(c.kube("etcd"),
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

func (c *cluster) containerd() []string {
	return onNode(c.runtimeProgram("containerd"), "--config="+c.Path("conf/containerd.toml"))
}

func (c *cluster) apiserver() []string {
	return append(c.kube("kube-apiserver"),
		"--etcd-servers=unix://"+c.Path("run/etcd.sock"),
		"--secure-port="+apiserverPort,
		"--advertise-address="+hostIP4,
		"--tls-cert-file="+c.Path("pki/apiserver.crt"),
		"--tls-private-key-file="+c.Path("pki/apiserver.key"),
		"--client-ca-file="+c.Path("pki/ca.crt"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
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

func (c *cluster) controllerManager() []string {
	return append(c.kube("kube-controller-manager"),
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

func (c *cluster) scheduler() []string {
	return append(c.kube("kube-scheduler"),
		"--kubeconfig="+c.Path("conf/kube-scheduler.kubeconfig"),
		"--bind-address=127.0.0.1",
		"--secure-port="+schedulerPort,
		"--tls-cert-file="+c.Path("pki/controllers.crt"),
		"--tls-private-key-file="+c.Path("pki/controllers.key"),
		"--leader-elect=false",
	)
}

func (c *cluster) kubelet() []string {
	return onNode(append(c.kube("kubelet"),
		"--config="+c.Path("conf/kubelet.yaml"),
		"--kubeconfig="+c.Path("conf/kubelet.kubeconfig"),
		"--root-dir="+c.Path("kubelet"),
		"--cert-dir="+c.Path("kubelet/pki"),
		"--hostname-override="+node,
		"--node-ip="+nodeIP4+","+nodeIP6,
	)...)
}

// await polls until the component is ready, and fails when its process has ended or patience has.
func (c *cluster) await(ctx context.Context, p component) error {
	const patience = time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := p.ready(ctx, c)
		if err == nil {
			return nil
		}
		if _, ok := c.running(p.name); !ok {
			return fmt.Errorf("%s ended; the last line of %s: %s", p.name, c.logFile(p.name), c.lastWords(p.name))
		}
		if sleep(ctx, 50*time.Millisecond) != nil {
			return fmt.Errorf("%s is not ready: %w: see %s", p.name, err, c.logFile(p.name))
		}
	}
}
