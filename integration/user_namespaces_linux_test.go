package integration

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"kdiag/integration/kit"
)

// TestUserNamespaceIsReal finds the user namespaces that TestUserNamespace relies
// on: a runtime may ignore "hostUsers: false" without a word. Kdiag's container must
// be in the pod's own, whose root is nobody outside.
func TestUserNamespaceIsReal(t *testing.T) {
	namespace := kit.SharedPods(t)
	podOf := map[string]string{} // by the first of its user ids on the node
	for _, k := range kit.PodKinds {
		if k.Name == "hostPID" {
			continue
		}

		args := append([]string{"shell", "-q", "-n", namespace, "--profile=chroot"}, k.Target...)
		got := kit.RunKdiag(t, append(args, "--", "-c", `cat /proc/self/uid_map /proc/1/uid_map`)...)

		words := strings.Fields(got.Stdout)
		if len(words) != 6 || words[0] != "0" || !slices.Equal(words[:3], words[3:]) {
			t.Fatalf("%s: %v\nwant a map of user ids from 0, that of the pod's first process too", k.Name, got)
		}

		first, err := strconv.Atoi(words[1])
		if err != nil || first < 1<<16 || words[2] != "65536" {
			t.Errorf("%s: its user ids are %s from %s on the node, want none of the node's own", k.Name, words[2], words[1])
		}

		pod := k.Target[0]
		if other := podOf[words[1]]; other != "" && other != pod {
			t.Errorf("%s and %s have the same user ids", other, pod)
		}

		podOf[words[1]] = pod
	}
}

// TestUserNamespace runs tests of shell, ps and redir on pods that have a user
// namespace each: the kit adds it by the name of the test.
func TestUserNamespace(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"ShellKinds", TestShellKinds},
		{"ShellLookOnly", TestShellLookOnly},
		{"ShellLookOnlyRoot", TestShellLookOnlyRoot},
		{"ShellBaseline", TestShellBaseline},
		{"ShellConfined", TestShellConfined},
		{"ShellAsTarget", TestShellAsTarget},
		{"Terminal", TestTerminal},
		{"TerminalClosed", TestTerminalClosed},
		{"PsKinds", TestPsKinds},
		{"PsNames", TestPsNames},
		{"PsRestricted", TestPsRestricted},
		{"PsHidden", TestPsHidden},
		{"PsSockets", TestPsSockets},
		{"RedirIncoming", TestRedirIncoming},
		{"RedirWhole", TestRedirWhole},
		{"RedirTakeOver", TestRedirTakeOver},
		{"RedirManagerKilled", TestRedirManagerKilled},
		{"RedirIptables", TestRedirIptables},
		{"RedirContainerPorts", TestRedirContainerPorts},
	} {
		t.Run(c.name, c.test)
	}
}
