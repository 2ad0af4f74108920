package doctor

import (
	"context"
	"time"

	"kdiag/kube"
	"kdiag/mux/wire"

	corev1 "k8s.io/api/core/v1"
)

// managerTimeout bounds the wait for the line that a running manager has printed.
const managerTimeout = 3 * time.Second

// checkNftables returns what this user's manager of redirects in the pod has found
// out about the kernel, or nil if there is none.
func (e examination) checkNftables(ctx context.Context, pod *corev1.Pod) *Check {
	for _, living := range kube.FindManagers(pod, e.user) {
		if living.Role != wire.RoleNet {
			continue
		}

		ctx, cancel := kube.WithTimeout(ctx, managerTimeout)
		defer cancel()
		line, err := e.cluster.WaitForReadyLine(ctx, pod.Namespace, pod.Name, living.Container)
		if err != nil {
			return nil
		}

		ready, err := wire.ParseReady(line)
		if err != nil || ready.Nftables == "" {
			return nil
		}

		check := nftablesCheck(ready.Nftables, living.Container)
		return &check
	}

	return nil
}

func nftablesCheck(nftables, container string) Check {
	switch nftables {
	case wire.NftOwner:
		return passedCheck(nameKernel, "nftables with the owner flag, according to the manager in container %s", container)
	case wire.NftPlain:
		return passedCheck(nameKernel, "nftables without the owner flag, according to the manager in container %s: the rules of a killed manager stay until the next one starts", container)
	}
	return Check{nameKernel, Failed, "no nftables, according to the manager in container " + container + ": " + nftables,
		"use redir --netfilter=iptables with an --image that has iptables"}
}
