package integration

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"kdiag/integration/kit"

	corev1 "k8s.io/api/core/v1"
)

// hardenContainer leaves a container nothing of root's, as some clusters do to each
// that does not ask for it.
func hardenContainer(c *corev1.EphemeralContainer) {
	yes, no := true, false
	c.SecurityContext.RunAsNonRoot, c.SecurityContext.AllowPrivilegeEscalation = &yes, &no
	c.SecurityContext.Capabilities = &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
}

// setUser returns what has a container run as a user.
func setUser(uid int64) func(*corev1.EphemeralContainer) {
	return func(c *corev1.EphemeralContainer) { c.SecurityContext.RunAsUser = &uid }
}

// dropCapability returns what drops a capability of a container.
func dropCapability(name corev1.Capability) func(*corev1.EphemeralContainer) {
	return func(c *corev1.EphemeralContainer) {
		c.SecurityContext.Capabilities.Drop = append(c.SecurityContext.Capabilities.Drop, name)
	}
}

// removeCapability returns what takes a capability out of those that a container
// adds.
func removeCapability(name corev1.Capability) func(*corev1.EphemeralContainer) {
	return func(c *corev1.EphemeralContainer) {
		all := &c.SecurityContext.Capabilities.Add
		*all = slices.DeleteFunc(*all, func(c corev1.Capability) bool { return c == name })
	}
}

// TestMutation takes the profile that is left where a webhook changes containers,
// says what was changed, and adds no more containers in further runs.
func TestMutation(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*corev1.EphemeralContainer)
		profile string // that is left
		made    int    // containers
		words   []string
	}{
		{"hardened", hardenContainer, "restricted", 2, []string{
			"changed the container of profile chroot: runAsNonRoot=true, allowPrivilegeEscalation=false, " +
				"capabilities dropped: ALL, capabilities not added: SYS_CHROOT SYS_PTRACE; trying profile baseline\n",
			"changed the container of profile baseline: ", "; trying profile restricted\n",
		}},
		{"another user", setUser(1000), "restricted", 2, []string{
			"profile chroot: runAsUser=1000; trying profile baseline\n", "profile baseline: runAsUser=1000; trying profile restricted\n",
			"changed the container of profile restricted: runAsUser=1000\n",
		}},
		{"SYS_PTRACE dropped", dropCapability("SYS_PTRACE"), "baseline", 2, []string{
			"profile chroot: capabilities dropped: SYS_PTRACE; trying profile baseline\n", "profile baseline: capabilities dropped: SYS_PTRACE\n"}},
		{"SYS_PTRACE not added", removeCapability("SYS_PTRACE"), "baseline", 2, []string{
			"profile chroot: capabilities not added: SYS_PTRACE; trying profile baseline\n"}},
		{"no escalation", func(c *corev1.EphemeralContainer) {
			no := false
			c.SecurityContext.AllowPrivilegeEscalation = &no
		}, "chroot", 1, []string{"changed the container of profile chroot: allowPrivilegeEscalation=false\n"}},
		{"NET_RAW dropped", dropCapability("NET_RAW"), "chroot", 1, []string{"profile chroot: capabilities dropped: NET_RAW\n"}},
		{"ALL dropped, added kept", dropCapability("ALL"), "restricted", 2, []string{"profile chroot: capabilities dropped: ALL; trying profile baseline\n"}},
		{"environment", func(c *corev1.EphemeralContainer) {
			c.Env = append(c.Env, corev1.EnvVar{Name: "HTTPS_PROXY", Value: "http://127.0.0.1:1"})
		}, "chroot", 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			namespace := kit.CreateRootPod(t)
			webhook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(c.change)}
			webhook.Register(t, namespace)
			for run := range 3 {
				got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "echo here")
				if got.Code != 0 || got.Stdout != "here\n" || c.profile != "chroot" && !strings.Contains(got.Stderr, "note: profile "+c.profile) {
					t.Errorf("run %d: shell: %v\nwant a shell of profile %s", run, got, c.profile)
				}

				for _, words := range c.words {
					if run == 0 && !strings.Contains(got.Stderr, words) {
						t.Errorf("stderr: %s\nwant %q", got.Stderr, words)
					}
				}

				if len(c.words) == 0 && strings.Contains(got.Stderr, "changed") {
					t.Errorf("stderr: %s\nwant no word of a change", got.Stderr)
				}
				if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != c.made {
					t.Errorf("run %d: containers: %q, want %d", run, made, c.made)
				}
			}
		})
	}
}

// TestMutationByName stops where a webhook spoils a profile that was asked for by
// name, says which profiles would do, and adds one container in three runs.
func TestMutationByName(t *testing.T) {
	wrap := func(c *corev1.EphemeralContainer) {
		c.Args = append(c.Command, c.Args...)
		c.Command = []string{"/wrapper"}
	}

	elsewhere := func(c *corev1.EphemeralContainer) { c.TargetContainerName = "" }
	for _, c := range []struct {
		name    string
		change  func(*corev1.EphemeralContainer)
		profile string
		words   string
		hint    string
	}{
		{"hardened", hardenContainer, "chroot", "runAsNonRoot=true", "allowed here: --profile=restricted (or auto)"},
		{"another user", setUser(1000), "baseline", "runAsUser=1000", "allowed here: --profile=restricted (or auto)"},
		{"SYS_PTRACE dropped", dropCapability("SYS_PTRACE"), "chroot", "dropped: SYS_PTRACE", "allowed here: --profile=baseline, --profile=restricted (or auto)"},
		{"wrapped", wrap, "chroot", `command=["/wrapper"]`, "mutatingwebhookconfigurations"},
		{"without a target", elsewhere, "restricted", `targetContainerName=""`, "mutatingwebhookconfigurations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			namespace := kit.CreateRootPod(t)
			webhook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(c.change)}
			webhook.Register(t, namespace)
			for range 3 {
				kit.ExpectFailure(1, c.words, c.hint).Verify(t, c.name, kit.RunKdiag(t, "shell", "-n", namespace, "root", "--profile="+c.profile, "--", "-c", "true"))
			}

			kit.VerifyContainerCount(t, namespace, "root", 1)
			if asked, _ := webhook.CountRequests(); asked != 1 {
				t.Errorf("%d requests that were no dry run, want 1", asked)
			}
		})
	}
}

// TestMutationAtOnce starts kdiag several times at once, which adds no more
// containers than one alone.
func TestMutationAtOnce(t *testing.T) {
	for profile, want := range map[string]struct{ code, made int }{"auto": {0, 2}, "chroot": {1, 1}} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			namespace := kit.CreateRootPod(t)
			webhook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(hardenContainer)}
			webhook.Register(t, namespace)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--profile="+profile, "--", "-c", "true"); got.Code != want.code {
						t.Errorf("shell: %v, want code %d", got, want.code)
					}
				})
			}

			all.Wait()
			kit.VerifyContainerCount(t, namespace, "root", want.made)
		})
	}
}

// TestMutationLifted adds the container that it could not have before, once the
// webhook has stopped to change it.
func TestMutationLifted(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	webhook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(hardenContainer)}
	webhook.Register(t, namespace)
	shell := []string{"shell", "-n", namespace, "root", "--profile=chroot", "--", "-c", "echo here"}
	kit.ExpectFailure(1, "the cluster changed container kdiag-shell-app-", "").Verify(t, "while it holds", kit.RunKdiag(t, shell...))
	report := kit.RunDoctor(t, "-n", namespace, "root")
	report.Verify(t, "pod security: shell", "ok", "profile restricted: ", "")
	report.Verify(t, "pod security: shell", "ok", "chroot was refused: the cluster would change the container: runAsNonRoot=true", "")

	webhook.SetAnswer(kit.ChangeContainer(func(*corev1.EphemeralContainer) {}))
	if got := kit.RunKdiag(t, shell...); got.Code != 0 || got.Stdout != "here\n" {
		t.Errorf("shell: %v, want one", got)
	}
	kit.VerifyContainerCount(t, namespace, "root", 2)
}

// TestMutationTakesAway says so where a webhook takes the container out again.
func TestMutationTakesAway(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	webhook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(func(c *corev1.EphemeralContainer) { c.Name = "" })}
	webhook.Register(t, namespace)
	kit.ExpectFailure(1, "the container was removed", "mutatingwebhookconfigurations").Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"))
	kit.ExpectFailure(1, "the container was removed", "mutatingwebhookconfigurations").Verify(t, "redir", kit.RunKdiag(t, "redir", "-n", namespace, "root", "8080:1"))
}

// TestMutationRedir stops where a webhook takes away what redirects need, and adds
// one container in three runs.
func TestMutationRedir(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*corev1.EphemeralContainer)
		words  string
	}{
		{"NET_ADMIN not added", removeCapability("NET_ADMIN"), "capabilities not added: NET_ADMIN"},
		{"NET_ADMIN dropped", dropCapability("NET_ADMIN"), "capabilities dropped: NET_ADMIN"},
		{"another user", setUser(1000), "runAsUser=1000"},
		{"hardened", hardenContainer, "runAsNonRoot=true, capabilities not added: NET_ADMIN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			namespace := kit.CreateRootPod(t)
			webhook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(c.change)}
			webhook.Register(t, namespace)
			for range 3 {
				kit.ExpectFailure(1, c.words, "redirects need a container that runs as root with the capability NET_ADMIN").Verify(t, c.name,
					kit.RunKdiag(t, "redir", "-n", namespace, "root", "8080:1"))
			}

			kit.VerifyContainerCount(t, namespace, "root", 1)

			report := kit.RunDoctor(t, "-n", namespace, "root")
			report.Verify(t, "pod security: redir", "failed", c.words, "NET_ADMIN")
		})
	}
}
