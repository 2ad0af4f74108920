package enter_test

import (
	"strings"
	"testing"

	"kdiag/applets/internal/testkit/runctest"
)

// rights prints what /proc/self/status tells about users, groups and capabilities.
const rights = `grep -E "^(Uid|Gid|Groups|Cap|NoNewPrivs)" /proc/self/status`

// TestAsTarget compares the shell with what a runtime executes in the target.
func TestAsTarget(t *testing.T) {
	targets := map[string]runctest.ContainerSpec{
		"root":                   {Caps: runctest.DefaultCaps},
		"root, few capabilities": {Caps: []string{"CHOWN", "NET_BIND_SERVICE"}},
		"root, none, closed":     {NoNewPrivileges: true},
		"other user":             {Caps: runctest.DefaultCaps, UID: 1000, GID: 2000, Groups: []int{3000, 4000}},
		"other user, closed":     {UID: 65532, GID: 65532, NoNewPrivileges: true},
		"other user, ambient":    {Caps: runctest.DefaultCaps, UID: 1000, GID: 2000, Ambient: []string{"NET_BIND_SERVICE", "CHOWN"}},
	}

	ways := map[string][]string{"setns": setnsCaps, "chroot": chrootCaps, "baseline": runctest.DefaultCaps}
	for who, spec := range targets {
		t.Run(who, func(t *testing.T) {
			target := startTarget(t, spec)
			want := runToEnd(t, target.ExecCommand("/app/busybox-server", "ash", "-c", "/app/busybox-server "+rights))
			for way, caps := range ways {
				p := pod{t, target, startEphemeral(t, runctest.ContainerSpec{Caps: caps, PIDsOf: target}), runctest.NewID()[:16]}
				got := p.runEnter("--as-target", "--", "-c", rights+"; exit 7")
				if got.stdout != want.stdout || got.code != 7 || got.stderr != "" {
					t.Errorf("rights of the shell by %s = %+v, want\n%s", way, got, want.stdout)
				}
			}
		})
	}
}

func TestAsTargetOnTerminal(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{UID: 1000, GID: 2000}, runctest.ContainerSpec{Caps: runctest.DefaultCaps})
	s := p.startShell("--as-target")
	s.expectText("/$ ")
	s.typeText("echo fi''ne >/dev/stdout\n")
	s.expectText("fine")
	s.typeText("ls -n /proc/self/exe | grep -c busybox-kdiag\n")
	s.expectText("1\r\n")
	s.startForeground()
	s.stopForeground()

	// The first exit tells of the stopped job alone.
	s.typeText("exit\n")
	s.wantExit(9)
}

// TestAsTargetWithMore has a target with more capabilities than the shell can get.
func TestAsTargetWithMore(t *testing.T) {
	p := startPod(t, runctest.ContainerSpec{Caps: append([]string{"NET_ADMIN"}, runctest.DefaultCaps...)}, runctest.ContainerSpec{Caps: chrootCaps})
	got := p.runEnter("--as-target", "--", "-c", "id -u")
	if got.stdout != "0\n" || got.code != 0 || !strings.Contains(got.stderr, "note: the shell lacks capabilities that the target has: this container has no NET_ADMIN\n") {
		t.Errorf("enter --as-target: %+v, want a note on NET_ADMIN", got)
	}
}
