package integration

import (
	"kdiag/integration/kit"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// hardenContainer is what clusters do to containers that do not ask for it: nothing of
// root's is left.
func hardenContainer(c *corev1.EphemeralContainer) {
	yes, no := true, false
	c.SecurityContext.RunAsNonRoot, c.SecurityContext.AllowPrivilegeEscalation = &yes, &no
	c.SecurityContext.Capabilities = &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
}

func setUser(uid int64) func(*corev1.EphemeralContainer) {
	return func(c *corev1.EphemeralContainer) { c.SecurityContext.RunAsUser = &uid }
}

func dropCapability(name corev1.Capability) func(*corev1.EphemeralContainer) {
	return func(c *corev1.EphemeralContainer) {
		c.SecurityContext.Capabilities.Drop = append(c.SecurityContext.Capabilities.Drop, name)
	}
}

func removeCapability(name corev1.Capability) func(*corev1.EphemeralContainer) {
	return func(c *corev1.EphemeralContainer) {
		all := &c.SecurityContext.Capabilities.Add
		*all = slices.DeleteFunc(*all, func(c corev1.Capability) bool { return c == name })
	}
}

// TestMutation has a webhook change what comes: the profile that is left is
// taken, what was changed is said, and run after run adds no container.
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
			hook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(c.change)}
			hook.Register(t, namespace)
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

// TestMutationByName has a profile that was asked for by name spoilt: kdiag
// stops, says which would do, and adds one container in three runs.
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
		{"hardened", hardenContainer, "chroot", "runAsNonRoot=true", "admitted here: --profile=restricted (or auto)"},
		{"another user", setUser(1000), "baseline", "runAsUser=1000", "admitted here: --profile=restricted (or auto)"},
		{"SYS_PTRACE dropped", dropCapability("SYS_PTRACE"), "chroot", "dropped: SYS_PTRACE", "admitted here: --profile=baseline, --profile=restricted (or auto)"},
		{"wrapped", wrap, "chroot", `command=["/wrapper"]`, "mutatingwebhookconfigurations"},
		{"without a target", elsewhere, "restricted", `targetContainerName=""`, "mutatingwebhookconfigurations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			namespace := kit.CreateRootPod(t)
			hook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(c.change)}
			hook.Register(t, namespace)
			for range 3 {
				kit.ExpectFailure(1, c.words, c.hint).Verify(t, c.name, kit.RunKdiag(t, "shell", "-n", namespace, "root", "--profile="+c.profile, "--", "-c", "true"))
			}

			if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != 1 {
				t.Errorf("containers: %q, want 1", made)
			}
			if asked, _ := hook.CountRequests(); asked != 1 {
				t.Errorf("%d requests that were no dry run, want 1", asked)
			}
		})
	}
}

// TestMutationAtOnce starts several at the same time: they add no more containers
// than one alone.
func TestMutationAtOnce(t *testing.T) {
	for profile, want := range map[string]struct{ code, made int }{"auto": {0, 2}, "chroot": {1, 1}} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			namespace := kit.CreateRootPod(t)
			hook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(hardenContainer)}
			hook.Register(t, namespace)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					if got := kit.RunKdiag(t, "shell", "-n", namespace, "root", "--profile="+profile, "--", "-c", "true"); got.Code != want.code {
						t.Errorf("shell: %v, want code %d", got, want.code)
					}
				})
			}

			all.Wait()
			if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != want.made {
				t.Errorf("containers: %q, want %d", made, want.made)
			}
		})
	}
}

// TestMutationLifted has the cluster change its mind: the next run adds the
// container that it could not have before.
func TestMutationLifted(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	hook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(hardenContainer)}
	hook.Register(t, namespace)
	shell := []string{"shell", "-n", namespace, "root", "--profile=chroot", "--", "-c", "echo here"}
	kit.ExpectFailure(1, "the cluster changed container kdiag-shell-app-", "").Verify(t, "while it holds", kit.RunKdiag(t, shell...))
	checks, all := kit.RunDoctor(t, "-n", namespace, "root")
	kit.ExpectCheck("pod security: shell", "ok", "profile restricted: ", "").Verify(t, checks, all)
	kit.ExpectCheck("pod security: shell", "ok", "chroot was refused: the cluster would change the container: runAsNonRoot=true", "").Verify(t, checks, all)

	hook.SetAnswer(kit.ChangeContainer(func(*corev1.EphemeralContainer) {}))
	if got := kit.RunKdiag(t, shell...); got.Code != 0 || got.Stdout != "here\n" {
		t.Errorf("shell: %v, want one", got)
	}
	if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != 2 {
		t.Errorf("containers: %q, want 2", made)
	}
}

// TestMutationTakesAway has a webhook take the container out again.
func TestMutationTakesAway(t *testing.T) {
	namespace := kit.CreateRootPod(t)
	hook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(func(c *corev1.EphemeralContainer) { c.Name = "" })}
	hook.Register(t, namespace)
	kit.ExpectFailure(1, "it was taken out again", "mutatingwebhookconfigurations").Verify(t, "shell", kit.RunKdiag(t, "shell", "-n", namespace, "root", "--", "-c", "true"))
	kit.ExpectFailure(1, "it was taken out again", "mutatingwebhookconfigurations").Verify(t, "redir", kit.RunKdiag(t, "redir", "-n", namespace, "root", "8080:1"))
}

// TestMutationRedir stops where a net container cannot redirect, and adds one
// in three runs.
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
			hook := kit.Webhook{Kind: "Mutating", Answer: kit.ChangeContainer(c.change)}
			hook.Register(t, namespace)
			for range 3 {
				kit.ExpectFailure(1, c.words, "redirects need a container with the capability NET_ADMIN, which runs as root").Verify(t, c.name,
					kit.RunKdiag(t, "redir", "-n", namespace, "root", "8080:1"))
			}

			if made := kit.ListEphemeralContainers(t, namespace, "root"); len(made) != 1 {
				t.Errorf("containers: %q, want 1", made)
			}

			checks, all := kit.RunDoctor(t, "-n", namespace, "root")
			kit.ExpectCheck("pod security: redir", "failed", c.words, "NET_ADMIN").Verify(t, checks, all)
		})
	}
}
