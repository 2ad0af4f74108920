package scratchshell

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"kdiag/mux/wire"
)

func TestScripts(t *testing.T) {
	const becomes = `sh -c '` + wire.CommandScript + `' kdiag `
	tests := []struct {
		name   string
		script string
		want   result
	}{
		{"ls", "ls /", result{"dev\nhome\nproc\ntmp\n", "", 0}},
		{"pipe", `printf '1 a\n2 b\n' | sed s/b/c/ | awk '{ print $2 }' | tr a-z A-Z | tac`, result{"C\nA\n", "", 0}},
		{"exit code", "exit 42", result{"", "", 42}},
		{"exit code of an applet", "grep x /proc/nothing", result{"", "grep: /proc/nothing: No such file or directory\n", 2}},
		{"not found", "nothing-like-it", result{"", "ash: nothing-like-it: not found\n", 127}},
		{"signal", "sh -c 'kill -9 $$'; echo $?", result{"137\n", "Killed\n", 0}},
		{"two streams", "echo o; echo e >&2", result{"o\n", "e\n", 0}},
		{"background", "(sleep 0.1; echo slow) & echo fast; wait", result{"fast\nslow\n", "", 0}},
		{"wait for one", "(exit 7) & sleep 0.1 & wait %1; echo $?", result{"7\n", "", 0}},

		// The shell finds applets without PATH, by themselves and from other applets, and
		// runs them under their names.
		{"name", "cat /proc/self/comm", result{"cat\n", "", 0}},
		{"prefix", "tr '\\0' ' ' </proc/1/cmdline | cut -d' ' -f1-3", result{argv0 + " ash -c\n", "", 0}},
		{"nested shell", `sh -c 'ash -c "ls / | wc -l"'`, result{"4\n", "", 0}},
		{"xargs", "echo 1 2 | xargs -n1 seq -s,", result{"1\n1,2\n", "", 0}},
		{"find", "find /home -exec basename {} ';'", result{"home\n", "", 0}},
		{"env", "env A=b sh -c 'echo $A'", result{"b\n", "", 0}},
		// Programs get variables whose names are none to a shell, through any number of shells.
		{"dotted names", "env discovery.type=single-node a-b=c 1x=y sh -c 'A=b; export A; sh -c \"env | sort | grep -v ^[HPOST]\"; echo $a'",
			result{"1x=y\nA=b\na-b=c\ndiscovery.type=single-node\n\n", "", 0}},
		{"dotted names listed", "env a.b=c A=d sh -c 'export -p | grep -c a.b; set | grep -c a.b; A=e env -u A | grep ^[aA]'", result{"0\n0\na.b=c\n", "", 0}},
		// What the laptop makes of "-- cat 'a b' '$x'", for tools, builtins, programs and what is neither.
		{"arguments as they are", becomes + `printf '%s|' 'a b' '$x' '' '*'`, result{"a b|$x||*|", "", 0}},
		{"a builtin as it is", becomes + `cd /nothing`, result{"", "kdiag: cd: line 0: can't cd to /nothing: No such file or directory\n", 2}},
		{"not a command", becomes + `nothing-like-it -x`, result{"", "kdiag: nothing-like-it: not found\n", 127}},
		{"not a word", becomes + `''`, result{"", "kdiag: : not found\n", 127}},
		{"a word of the shell's", becomes + `if`, result{"", "kdiag: line 0: if: not found\n", 127}},
		{"not a file", becomes + `/nothing`, result{"", "kdiag: line 0: /nothing: not found\n", 127}},
		{"not a program", `touch /tmp/data; ` + becomes + `/tmp/data`, result{"", "kdiag: line 0: /tmp/data: Permission denied\n", 126}},
		{"not a program in PATH", `touch /tmp/data; PATH=/tmp; ` + becomes + `data`, result{"", "kdiag: line 0: data: Permission denied\n", 126}},
		{"it becomes the command", becomes + `cat /proc/self/comm; sh -c 'echo $$; ` + wire.CommandScript + `' kdiag sh -c 'echo $$' | uniq | wc -l`, result{"cat\n1\n", "", 0}},
		{"timeout", "timeout 0.1 sleep 9; echo $?", result{"143\n", "Terminated\n", 0}},
		{"setsid nohup", "setsid nohup seq 1 2>/tmp/err", result{"1\n", "", 0}},
		{"nsenter", "nsenter -t 1 -p seq 1", result{"1\n", "", 0}},
		{"chroot without proc", "chroot /tmp seq 1", result{"", "chroot: can't execute 'seq': No such file or directory\n", 127}},

		// Applets that ask for /bin/sh get this shell: see busybox/exec.c.
		{"sh by path", "/bin/sh -c 'echo $0 $1' a b", result{"a b\n", "", 0}},
		{"sh of awk", `awk 'BEGIN { system("seq 1"); "seq 2 2" | getline x; print x; print "3" | "cat" }'`,
			result{"1\n2\n3\n", "", 0}},
		{"sh of watch", "timeout 0.5 watch -t -n9 seq 7 7 | tr -dc 0-9", result{"7", "Terminated\n", 0}},
		{"only sh", "/bin/bash", result{"", "ash: /bin/bash: not found\n", 127}},

		{"bash words", `x=abcb; [[ $x == a* ]] && echo ${x:1:2} ${x/b/B} ${x//b/} $((1 << 40)) $'\x41'`,
			result{"bc aBcb ac 1099511627776 A\n", "", 0}},
		{"getopts", `set -- -v -n 3; while getopts vn: o; do echo $o $OPTARG; done`, result{"v\nn 3\n", "", 0}},
		{"local", "f() { local a=1; echo $a; }; a=2; f; echo $a", result{"1\n2\n", "", 0}},
		{"utf-8", `touch /tmp/ä日本; ls /tmp; echo ä日本 | wc -m`, result{"ä日本\n4\n", "", 0}},

		{"archive", "cd /tmp; seq 1000 >f; tar czf t.gz f; rm f; tar xf t.gz; md5sum f; bzip2 -k f; bzcat f.bz2 | cmp f",
			result{"53d025127ae99ab79e8502aae2d9bea6  f\n", "", 0}},
		{"patch", "cd /tmp; seq 9 >a; sed s/5/five/ a >b; diff -u a b >d; patch a d >/dev/null; cmp a b && sed -n 5p a",
			result{"five\n", "", 0}},
		{"numbers", "echo '2 ^ 70' | bc; date -u -d @86400 +%F.%N; echo hi | xxd -p; echo hi | base64",
			result{"1180591620717411303424\n1970-01-02.000000000\n68690a\naGkK\n", "", 0}},
		{"ps", "sleep 9 & sleep 0.3; ps -o comm,args | grep ^sleep; pgrep -l sleep | cut -d' ' -f2; pkill sleep",
			result{"sleep            sleep 9\nsleep\n", "", 0}},
		{"ls colour", "ls --color=always -d /tmp | od -An -c | head -1", result{" 033   [   1   ;   3   4   m   /   t   m   p 033   [   m  \\n\n", "", 0}},
		{"nc", "nc --help 2>&1 | grep -oE -e '-(e PROG|l|p PORT|u|z)' | awk '!seen[$0]++' | tr '\\n' ,", result{"-l,-p PORT,-e PROG,-u,-z,", "", 0}},
	}

	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := runScript(t, test.script); got != test.want {
				t.Errorf("%s\n got %+v\nwant %+v", test.script, got, test.want)
			}
		})
	}
}

func TestApplets(t *testing.T) {
	r := runScript(t, "busybox --list")
	applets := strings.Fields(r.stdout)
	if got, want := len(applets), 250; got < want {
		t.Errorf("%d applets, want at least %d", got, want)
	}

	for _, want := range strings.Fields(`
		[ [[ ash awk base64 bc cal cat chroot clear date dc dd df diff du echo env find free ftpget grep gzip hexdump httpd
		id iostat ip less ls lsof md5sum mount nc netstat nohup nsenter nslookup patch pgrep ping printf ps pstree reset
		script sed setsid sh sha256sum sleep stat strings stty tar telnet test timeout top traceroute tty unshare vi watch
		wget whoami xargs xxd`) {
		if !slices.Contains(applets, want) {
			t.Errorf("applet %s is missing, want it", want)
		}
	}

	for _, bad := range strings.Fields(`
		adduser crond dpkg fdisk getty halt init insmod killall5 login mkfs.ext2 mkswap modprobe passwd pivot_root poweroff
		reboot resume rmmod rpm runsv sendmail su swapoff switch_root syslogd bash hush`) {
		if slices.Contains(applets, bad) {
			t.Errorf("applet %s exists, want it left out", bad)
		}
	}
}

// TestWget fetches over http and https from the test, whose network the shell shares.
func TestWget(t *testing.T) {
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	plain, secure := httptest.NewServer(hello), httptest.NewTLSServer(hello)
	defer plain.Close()
	defer secure.Close()

	for _, url := range []string{plain.URL, secure.URL} {
		r := runScript(t, "wget -q -O- "+url)
		if r.stdout != "hello\n" || r.code != 0 {
			t.Errorf("wget %s = %+v, want hello", url, r)
		}
	}
}

func TestNetcatAndNetstat(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}

	port := l.Addr().(*net.TCPAddr).Port
	l.Close()

	// netstat complains about a process that ends while it looks at that process's
	// files, which one of the pipe's may.
	r := runScript(t, fmt.Sprintf(`
		nc -l -p %[1]d -s 127.0.0.1 -e sed s/i/o/ &
		until netstat -tln | grep -q :%[1]d; do sleep 0.05; done
		netstat -tlnp 2>/dev/null | awk '/:%[1]d/ { print $NF }' | cut -d/ -f2
		echo hi | nc 127.0.0.1 %[1]d`, port))
	if want := (result{"nc\nho\n", "", 0}); r != want {
		t.Errorf("netstat and nc = %+v, want %+v", r, want)
	}
}
