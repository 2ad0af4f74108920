package procfs

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// statLine writes a line of /proc/PID/stat as Linux does.
func statLine(s Stat) string {
	return fmt.Sprintf("%d (%s) %c %d %d %d 34816 -1 4194304 99 0 0 0 %d %d 0 0 20 0 %d 0 %d 3133440 %d 18446744073709551615 1 1\n",
		s.PID, s.Command, s.State, s.Parent, s.Group, s.Session, s.CPU/3, s.CPU-s.CPU/3, s.Threads, s.Start, s.RSS)
}

func TestParseStat(t *testing.T) {
	init := Stat{PID: 1, Command: "init", State: 'S', Parent: 888, Start: 777, RSS: 999, Threads: 111}
	for _, want := range []Stat{
		{PID: 1, Command: "init", State: 'S', Start: 1},
		{PID: 8745, Command: "cat", State: 'R', Parent: 8667, Group: 8667, Session: 19125, Start: 191508, CPU: 7, Threads: 12, RSS: 383},
		{PID: 7, Command: "a) S 1 2 (b", State: 'Z', Parent: 3, Group: 4, Session: 5, Start: 18446744073709551615},
		{PID: 7, Command: "two\nlines ", State: 't', Parent: 3, Group: -1, Session: -1, Start: 9},
		{PID: 7, Command: "", State: 'X', Start: 9},
	} {
		line := statLine(want)
		if got, err := ParseStat([]byte(line)); err != nil || got != want {
			t.Errorf("ParseStat(%q) = %+v, %v, want %+v", line, got, err, want)
		}
	}

	for _, line := range []string{
		"", "1", "1 (init", "1 init) S 0", ")(", "1 (init) S 0 1 1",
		strings.Replace(statLine(init), "1 (", "x (", 1),
		strings.Replace(statLine(init), " S ", " SS ", 1),
		strings.Replace(statLine(init), " 777 ", " -777 ", 1),
		strings.Replace(statLine(init), " 888 ", " 99999999999999999999 ", 1),
		strings.Replace(statLine(init), " 999 ", " -999 ", 1),
		strings.Replace(statLine(init), " 111 ", " x ", 1),
		strings.Replace(statLine(init), " 3133440 999 18446744073709551615 1 1", "", 1),
	} {
		if got, err := ParseStat([]byte(line)); err == nil || got != (Stat{}) {
			t.Errorf("ParseStat(%q) = %+v, %v, want an error", line, got, err)
		}
	}
}

func TestDead(t *testing.T) {
	for state, want := range map[byte]bool{'R': false, 'S': false, 'D': false, 'T': false, 't': false, 'I': false, 'Z': true, 'X': true} {
		if got := (Stat{State: state}).Dead(); got != want {
			t.Errorf("Dead of state %c = %v, want %v", state, got, want)
		}
	}
}

const statusText = `Name:	Uid:\n
Umask:	0022
State:	S (sleeping)
Uid:	1000	1001	1002	1003
Gid:	2000	2001	2002	4294967295
Groups:	3000 4000 
NStgid:	7	1
SigQ:	1/96365
SigBlk:	0000000000000000
SigIgn:	0000000000384004
SigCgt:	0000000008010002
CapInh:	0000000000000400
CapPrm:	000001ffffffffff
CapEff:	00000000a80425fb
CapBnd:	000001ffffffffff
CapAmb:	0000000000000401
NoNewPrivs:	1
Seccomp:	2
`

func TestParseStatus(t *testing.T) {
	want := Status{
		UIDs:    IDs{1000, 1001, 1002, 1003},
		GIDs:    IDs{2000, 2001, 2002, 4294967295},
		Groups:  []int{3000, 4000},
		Ignored: 0x384004, Caught: 0x8010002,
		Caps:            Capabilities{Inheritable: 0x400, Permitted: 0x1ffffffffff, Effective: 0xa80425fb, Bounding: 0x1ffffffffff, Ambient: 0x401},
		NoNewPrivileges: true,
	}
	if got, err := ParseStatus([]byte(statusText)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseStatus = %+v, %v, want %+v", got, err, want)
	}

	// What kernels before 4.3 and 4.10 do not have stays zero.
	old := strings.NewReplacer("CapAmb:\t0000000000000401\n", "", "NoNewPrivs:\t1\n", "", "3000 4000 ", "").Replace(statusText)
	want.Caps.Ambient, want.NoNewPrivileges, want.Groups = 0, false, nil
	if got, err := ParseStatus([]byte(old)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseStatus of an old kernel's = %+v, %v, want %+v", got, err, want)
	}

	for _, bad := range []string{
		"", "Name:\tx\n", "Uid:\t0 0 0 0\n",
		strings.Replace(statusText, "1003", "", 1), strings.Replace(statusText, "1003", "x", 1), strings.Replace(statusText, "1003", "-1", 1),
		strings.Replace(statusText, "1003", "4294967296", 1), strings.Replace(statusText, "4000", "y", 1),
		strings.Replace(statusText, "a80425fb", "xyz", 1), strings.Replace(statusText, "a80425fb", "123456789a80425fb", 1),
	} {
		if got, err := ParseStatus([]byte(bad)); err == nil {
			t.Errorf("ParseStatus(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestSets(t *testing.T) {
	if s := Signals(0x4001); !s.Has(1) || !s.Has(15) || s.Has(2) || s.Has(64) {
		t.Errorf("Signals(%x) has not just 1 and 15", uint64(s))
	}
	if c := CapSet(1<<21 | 1<<18); !c.Has(18, 21) || !c.Has() || c.Has(18, 19) {
		t.Errorf("CapSet(%x) has not just 18 and 21", uint64(c))
	}

	for ids, want := range map[IDs]bool{{1, 1, 1, 7}: true, {1, 2, 1, 1}: false, {1, 1, 2, 1}: false} {
		if got := ids.AllSame(); got != want {
			t.Errorf("AllSame of %+v = %v, want %v", ids, got, want)
		}
	}
}

func TestParseCgroups(t *testing.T) {
	const id = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
	for _, c := range []struct {
		name, content string
		names, root   bool
	}{
		{"v1", "9:name=systemd:/kubepods/besteffort/pod1/" + id + "\n4:memory:/kubepods/besteffort/pod1/" + id + "\n0::/\n", true, false},
		{"v1, systemd driver", "1:cpu,cpuacct:/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope\n", true, false},
		{"v2, host's namespace", "0::/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope/container\n", true, false},
		{"v2, in a group of the container's own", "0::/kubepods.slice/cri-containerd-" + id + ".scope/init.scope\n", true, false},
		{"cgroupfs driver, CRI-O", "0::/kubepods/pod1/crio-" + id + "\n", true, false},
		{"systemd path given to cgroupfs", "0::/system.slice/kubepods-pod1.slice:cri-containerd:" + id + "\n", true, false},
		{"Docker", "0::/docker/" + id + "\n", true, false},
		{"Podman", "0::/machine.slice/libpod-" + id + ".scope/container\n", true, false},
		{"CRI-O's monitor", "0::/kubepods.slice/kubepods-pod1.slice/crio-conmon-" + id + ".scope\n", false, false},
		{"CRI-O's monitor, cgroupfs", "1:pids:/kubepods/pod1/crio-conmon-" + id + "\n", false, false},
		{"Podman's monitor", "0::/machine.slice/libpod-conmon-" + id + ".scope\n", false, false},
		{"a longer ID", "0::/kubepods/pod1/" + id + "00\n", false, false},
		{"a longer ID, systemd", "0::/kubepods.slice/cri-containerd-00" + id + ".scope\n", false, false},
		{"the ID in another name", "0::/kubepods/" + id + ".backup\n", false, false},
		{"v2, a sibling", "0::/../cri-containerd-" + id + ".scope\n", true, false},
		{"v2, own namespace", "0::/\n", false, true},
		{"v2, node's init", "0::/../../../init.scope\n", false, false},
		{"none", "", false, true},
	} {
		got, err := ParseCgroups([]byte(c.content))
		if err != nil {
			t.Errorf("%s: ParseCgroups: %v", c.name, err)
		}
		if got.BelongToContainer(id) != c.names || got.AllAtRoot() != c.root {
			t.Errorf("%s: %+v: BelongToContainer = %v, AllAtRoot = %v, want %v, %v", c.name, got, got.BelongToContainer(id), got.AllAtRoot(), c.names, c.root)
		}
	}

	got, err := ParseCgroups([]byte("4:cpu,cpuacct:/a:b/c d\n0::/"))
	if want := (Cgroups{{"4", "cpu,cpuacct", "/a:b/c d"}, {"0", "", "/"}}); err != nil || !got.Same(want) {
		t.Errorf("ParseCgroups = %+v, %v, want %+v", got, err, want)
	}
	if got.Same(got[:1]) || got.Same(Cgroups{{"4", "cpu,cpuacct", "/a"}, {"0", "", "/"}}) {
		t.Errorf("%+v is the same as others", got)
	}

	for _, bad := range []string{"x", "1:x", "1:x:y", "1:x:", "\n", "1:name=x:y:/a:b"} {
		if got, err := ParseCgroups([]byte(bad)); err == nil {
			t.Errorf("ParseCgroups(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestParseStrings(t *testing.T) {
	for content, want := range map[string][]string{
		"": nil, "\x00": nil, "a\x00": {"a"}, "a": {"a"}, "a\x00b c\x00\x00": {"a", "b c", ""}, "\x00a\x00": {"", "a"},
	} {
		if got, err := ParseStrings([]byte(content)); err != nil || !slices.Equal(got, want) {
			t.Errorf("ParseStrings(%q) = %q, %v, want %q", content, got, err, want)
		}
	}
}

func TestParseRealtimeTimeout(t *testing.T) {
	const head = "Limit                     Soft Limit           Hard Limit           Units     \n" +
		"Max realtime priority     0                    0                    \n"
	for line, want := range map[string]uint64{
		"Max realtime timeout      unlimited            unlimited            us        \n": Unlimited,
		"Max realtime timeout      7206897469171544189  unlimited            us        \n": 7206897469171544189,
		"Max realtime timeout      0                    0                    us":           0,
	} {
		if got, err := ParseRealtimeTimeout([]byte(head + line)); err != nil || got != want {
			t.Errorf("ParseRealtimeTimeout(%q) = %d, %v, want %d", line, got, err, want)
		}
	}

	for _, bad := range []string{"", head, "Max realtime timeout", "Max realtime timeout  x y us\n"} {
		if got, err := ParseRealtimeTimeout([]byte(bad)); err == nil {
			t.Errorf("ParseRealtimeTimeout(%q) = %d, want an error", bad, got)
		}
	}
}

// FuzzParseStat checks that what was parsed is what is parsed again.
func FuzzParseStat(f *testing.F) {
	f.Add([]byte(statLine(Stat{8745, "a) (b", 'R', 8667, 8667, 19125, 191508, 5, 3, 0, 99})))
	f.Add([]byte(")("))
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := ParseStat(content)
		if err != nil {
			if got != (Stat{}) {
				t.Errorf("ParseStat(%q) = %+v with error %v, want nothing", content, got, err)
			}
			return
		}

		line := statLine(got)
		if again, err := ParseStat([]byte(line)); err != nil || again != got {
			t.Errorf("ParseStat(%q) = %+v, but of the same written again %+v, %v", content, got, again, err)
		}
	})
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(statusText))
	f.Add([]byte("Uid:\t0 0 0 0\nGid:\t0 0 0 0\nGroups:\t\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := ParseStatus(content)
		if err != nil {
			if !reflect.DeepEqual(got, Status{}) {
				t.Errorf("ParseStatus(%q) = %+v with error %v, want nothing", content, got, err)
			}
			return
		}

		noNewPrivileges := 0
		if got.NoNewPrivileges {
			noNewPrivileges = 1
		}

		u, g, c := got.UIDs, got.GIDs, got.Caps
		text := fmt.Sprintf("Uid:\t%d %d %d %d\nGid:\t%d %d %d %d\nGroups:\t%s\nSigIgn:\t%x\nSigCgt:\t%x\n"+
			"CapInh:\t%x\nCapPrm:\t%x\nCapEff:\t%x\nCapBnd:\t%x\nCapAmb:\t%x\nNoNewPrivs:\t%d\n",
			u.Real, u.Effective, u.Saved, u.FS, g.Real, g.Effective, g.Saved, g.FS, strings.Trim(fmt.Sprint(got.Groups), "[]"),
			uint64(got.Ignored), uint64(got.Caught), uint64(c.Inheritable), uint64(c.Permitted), uint64(c.Effective),
			uint64(c.Bounding), uint64(c.Ambient), noNewPrivileges)
		if again, err := ParseStatus([]byte(text)); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("ParseStatus(%q) = %+v, but of the same written again %+v, %v", content, got, again, err)
		}
	})
}

func FuzzParseCgroups(f *testing.F) {
	f.Add([]byte("4:cpu,cpuacct:/a:b/c d\n0::/\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := ParseCgroups(content)
		if err != nil {
			if got != nil {
				t.Errorf("ParseCgroups(%q) = %+v with error %v, want nothing", content, got, err)
			}
			return
		}

		var text strings.Builder
		for _, g := range got {
			fmt.Fprintf(&text, "%s:%s:%s\n", g.Hierarchy, g.Controllers, g.Path)
		}

		if written := strings.TrimSuffix(text.String(), "\n"); written != strings.TrimSuffix(string(content), "\n") {
			t.Errorf("ParseCgroups(%q) loses something: %q", content, written)
		}
	})
}

func FuzzParseStrings(f *testing.F) {
	f.Add([]byte("busybox\x00ash\x00-c\x00\x00"))
	f.Fuzz(func(t *testing.T, content []byte) {
		got, _ := ParseStrings(content)
		if joined := strings.Join(got, "\x00"); joined != string(bytes.TrimSuffix(content, []byte{0})) {
			t.Errorf("ParseStrings(%q) = %q", content, got)
		}
	})
}

func FuzzParseRealtimeTimeout(f *testing.F) {
	f.Add([]byte("Max realtime timeout      unlimited            unlimited            us        \n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := ParseRealtimeTimeout(content)
		if err != nil {
			return
		}

		text := "Max realtime timeout      unlimited"
		if got != Unlimited {
			text = fmt.Sprintf("Max realtime timeout      %d", got)
		}
		if again, err := ParseRealtimeTimeout([]byte(text)); err != nil || again != got {
			t.Errorf("ParseRealtimeTimeout(%q) = %d, but of the same written again %d, %v", content, got, again, err)
		}
	})
}
