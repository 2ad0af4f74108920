package integration

import (
	"strings"
	"testing"
)

// TestDoctorRights names what a user may not do; with the rights that it lists
// and no more, the commands work.
func TestDoctorRights(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	nobody, all := doctor(t, "-n", namespace, "root", "--as="+namespace+"-nobody")
	for _, w := range []want{
		{"rights: shell", "failed", "no right to get pods, watch pods, patch pods/ephemeralcontainers, create pods/exec in namespace", `verb "create" on pods/exec`},
		{"rights: redir", "failed", "create pods/portforward", `verb "get" on pods/log`},
		{"rights: logs", "failed", "no right to get pods, list pods, watch pods, get pods/log", `verb "watch" on pods`},
		{"target", "failed", "no right to get pods", `verb "get" on pods`},
		{"streams", "unknown", "not asked", ""},
	} {
		w.check(t, nobody, all)
	}

	if all.code != 1 || all.stderr != "" {
		t.Errorf("doctor without rights: %v, want code 1 and no more words", all)
	}

	// A role for each command, of what doctor lists.
	well, all := doctor(t, "-n", namespace, "root")
	for _, command := range []string{"shell", "redir"} {
		user := namespace + "-" + command
		for i, rule := range strings.Split(well["rights: "+command].Detail, "; ") {
			at := strings.LastIndex(rule, " ")
			name := command + "-" + string(rune('a'+i))
			kubectl(t, "create", "role", "-n", namespace, name, "--verb="+strings.ReplaceAll(rule[:at], " ", ""), "--resource="+rule[at+1:])
			kubectl(t, "create", "rolebinding", "-n", namespace, name, "--role="+name, "--user="+user)
		}

		checks, all := doctor(t, "-n", namespace, "root", "--as="+user)
		for _, w := range []want{
			{"rights: " + command, "ok", "", ""},
			{"pod security: " + command, "ok", "", ""},
			{"kernel", "unknown", "no right to get nodes", `verb "get" on nodes`},
		} {
			w.check(t, checks, all)
		}
	}

	if got := kdiag(t, "shell", "-n", namespace, "root", "--as="+namespace+"-shell", "--", "-c", "echo there"); got.stdout != "there\n" {
		t.Errorf("shell with the rights that doctor lists: %v", got)
	}

	redir := redirecting(t, 1, "-n", namespace, "root", "8080:"+newLaptop(t, echoing).port, "--as="+namespace+"-redir")
	redir.interrupt()
}

// TestDoctorAsksManager has a manager of redirects in the pod: what it found the
// kernel to have counts more than the node's version.
func TestDoctorAsksManager(t *testing.T) {
	namespace := newNamespace(t)
	apply(t, namespace, manifest(t, "rootpod.yaml"))
	waitForPods(t, namespace)
	redir := redirecting(t, 1, "-n", namespace, "root", "8080:"+newLaptop(t, echoing).port)
	redir.interrupt()
	checks, all := doctor(t, "-n", namespace, "root")
	want{"kernel", "ok", "nftables with the owner flag, as the manager in container kdiag-net-", ""}.check(t, checks, all)
}
