package extcap

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestCalls reads the command lines that Wireshark 4.0 was seen to use, and others that are right.
func TestCalls(t *testing.T) {
	for _, c := range []struct {
		line []string
		want Call
	}{
		{[]string{"--extcap-interfaces", "--extcap-version=4.0"}, Call{Action: ListInterfaces, Options: map[string]string{"extcap-version": "4.0"}}},
		{[]string{"--extcap-config", "--extcap-interface", "kdiag"}, Call{Action: ListArguments, Interface: "kdiag"}},
		{[]string{"--extcap-interface", "kdiag", "--extcap-dlts"}, Call{Action: ListLinkTypes, Interface: "kdiag"}},
		{[]string{"--extcap-dlts", "--extcap-interface=kdiag", "--extcap-capture-filter=tcp"}, Call{Action: ListLinkTypes, Interface: "kdiag", Filter: "tcp"}},
		{[]string{"--extcap-capture-filter", "tcp prot", "--extcap-interface", "kdiag"}, Call{Action: CheckFilter, Interface: "kdiag", Filter: "tcp prot"}},
		{
			[]string{"--extcap-interface", "kdiag", "--extcap-config", "--extcap-reload-option", "--pod", "--namespace", "shop"},
			Call{Action: ReloadArgument, Interface: "kdiag", Reload: "pod", Options: map[string]string{"namespace": "shop"}},
		},
		{
			[]string{"--extcap-interface", "kdiag", "--extcap-config", "--extcap-reload-option", "pod", "--namespace", "shop"},
			Call{Action: ReloadArgument, Interface: "kdiag", Reload: "pod", Options: map[string]string{"namespace": "shop"}},
		},
		{
			[]string{"--capture", "--extcap-interface", "kdiag", "--extcap-capture-filter", "tcp port 80", "--fifo", "/tmp/x", "--namespace", "shop", "--pod", "web 0", "--names"},
			Call{Action: Capture, Interface: "kdiag", Fifo: "/tmp/x", Filter: "tcp port 80", Options: map[string]string{"namespace": "shop", "pod": "web 0", "names": ""}},
		},
	} {
		if !IsCall(c.line) {
			t.Errorf("IsCall(%q) = false", c.line)
		}

		got, err := ParseCall(c.line)
		if len(got.Options) == 0 {
			got.Options = nil
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("ParseCall(%q) = %+v, %v, want %+v", c.line, got, err, c.want)
		}
	}
}

// TestWrongCalls checks that a call that lacks something is an error, and that a user's commands are
// no calls.
func TestWrongCalls(t *testing.T) {
	for _, line := range []string{
		"--extcap-version=4.0", "--extcap-config", "--capture --extcap-interface kdiag", "--extcap-interface kdiag",
		"--extcap-interfaces word", "--capture --fifo /tmp/x",
	} {
		if got, err := ParseCall(strings.Fields(line)); err == nil {
			t.Errorf("ParseCall(%q) = %+v, want an error", line, got)
		}
	}

	for _, line := range []string{"", "capture web-0", "--capture web-0", "logs -- grep --extcap-config", "-n shop shell"} {
		if IsCall(strings.Fields(line)) {
			t.Errorf("IsCall(%q) = true", line)
		}
	}
}

// TestArguments checks the sentences, and that no text ends a value.
func TestArguments(t *testing.T) {
	arguments := []Argument{
		{Name: "namespace", Display: "Namespace", Type: "selector", Reload: true, Default: "shop", Values: []Value{{"shop", "shop"}, {"a}{b", "a\nb\xff"}}},
		{Name: "filter", Display: "Filter", Tooltip: "What {to} capture", Type: "string", Group: "More", Default: "tcp", Placeholder: "all"},
	}
	var out strings.Builder
	if err := WriteArguments(&out, arguments); err != nil {
		t.Fatal(err)
	}

	want := `arg {number=0}{call=--namespace}{display=Namespace}{type=selector}{reload=true}
value {arg=0}{value=shop}{display=shop}{default=true}
value {arg=0}{value=a)(b}{display=a b�}
arg {number=1}{call=--filter}{display=Filter}{type=string}{tooltip=What (to) capture}{group=More}{placeholder=all}{default=tcp}
`
	if out.String() != want {
		t.Errorf("arguments =\n%swant\n%s", out.String(), want)
	}
}

// TestFolder checks where the folder is, by what versions of Wireshark say.
func TestFolder(t *testing.T) {
	answers := map[string]string{
		"tshark of 4.0": "Temp:   /tmp\nPersonal configuration:\t/home/u/.config/wireshark\nExtcap path:\t/usr/lib/wireshark/extcap\n",
		"tshark of 4.4": "Personal configuration:\t/home/u/.config/wireshark\nPersonal Extcap path:\t/home/u/.local/lib/wireshark/extcap\nGlobal Extcap path:\t/usr/lib\n",
		"nobody":        "",
	}
	for who, want := range map[string]string{
		"tshark of 4.0": "/home/u/.config/wireshark/extcap", "tshark of 4.4": "/home/u/.local/lib/wireshark/extcap",
		"nobody": "/home/u/.local/lib/wireshark/extcap",
	} {
		finder := Finder{Home: "/home/u", Config: "/home/u/.config", OS: "linux"}
		finder.Ask = func(_ context.Context, program string, _ ...string) (string, error) {
			if answers[who] == "" || program != "tshark" {
				return "", errors.New("not found")
			}
			return answers[who], nil
		}
		if got := finder.Folder(t.Context()); got != want {
			t.Errorf("folder, if %s answers, = %s, want %s", who, got, want)
		}
	}
}

// TestInstall checks that a link is made, replaced and removed, and that nothing else is.
func TestInstall(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "new", "extcap")
	for _, program := range []string{"/opt/old/kubectl-kdiag", "/opt/new/kubectl-kdiag"} {
		link, err := Install(folder, program)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(link); got != program || filepath.Base(link) != "kdiag" {
			t.Errorf("%s leads to %q, %v, want %q", link, got, err, program)
		}
	}

	link, err := Remove(folder)
	if err != nil || link != filepath.Join(folder, "kdiag") {
		t.Errorf("Remove() = %q, %v", link, err)
	}
	if link, err = Remove(folder); err != nil || link != "" {
		t.Errorf("Remove() again = %q, %v, want nothing", link, err)
	}

	file := filepath.Join(folder, "kdiag")
	if err := os.WriteFile(file, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Install(folder, "/opt/kubectl-kdiag"); err == nil {
		t.Error("Install() replaced a file")
	}
	if link, err := Remove(folder); link != "" || err != nil {
		t.Errorf("Remove() of a file = %q, %v", link, err)
	}
}

// FuzzParseCall looks for command lines that no reader expects.
func FuzzParseCall(f *testing.F) {
	f.Add("--capture\n--fifo")
	f.Add("--extcap-interface=\n--=\n--")
	f.Fuzz(func(_ *testing.T, line string) { _, _ = ParseCall(strings.Split(line, "\n")) })
}
