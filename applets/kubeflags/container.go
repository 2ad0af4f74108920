package kubeflags

import (
	"io"

	"kdiag/applets"
	"kdiag/kube"

	corev1 "k8s.io/api/core/v1"
)

// container is what the flags say about any container to be added to a pod.
type container struct {
	cluster    *kube.Cluster
	image      string
	pullPolicy corev1.PullPolicy
	// manager has the version, and the idle time-out where one is given.
	manager kube.Manager
	user    *user
	ledger  *kube.Ledger
	// notice tells the user what is to be known at once.
	notice func(string)
}

// parseContainer reads the flags of Injection and Connection; it asks the
// cluster nothing.
func parseContainer(inv *applets.Invocation) (c container, err error) {
	c.pullPolicy = pullPolicy(inv)
	c.image = Image(inv)
	c.manager = kube.Manager{Version: inv.Build.Version, IdleTimeout: inv.Flags.Duration("idle-timeout")}
	if c.manager.Reason, err = readReason(inv); err != nil {
		return c, err
	}
	if inv.Flags.Duration("timeout") <= 0 || inv.Flags.IsSet("idle-timeout") && c.manager.IdleTimeout <= 0 {
		return c, applets.Usage("--timeout and --idle-timeout must be longer than 0")
	}
	if c.cluster, err = Connect(inv); err != nil {
		return c, err
	}

	c.user = readUser(inv.Err)
	c.notice = noticeOn(inv.Err)
	c.ledger = kube.NewLedger(ledgerDir(), c.notice)
	return c, nil
}

// noticeOn writes each notice as a line of its own.
func noticeOn(out io.Writer) func(string) {
	return func(text string) { applets.Note(out, "%s", text) }
}
