package enter_test
import ("testing";"kdiag/applets/internal/runctest")
func TestX(t *testing.T){
	target := runctest.Start(t, runctest.Spec{Files: map[string][]byte{"/app/busybox": busybox(t)}, Args: []string{"/app/busybox", "sleep", "100000"}, Caps: runctest.DefaultCaps, Cwd: "/app", Env: []string{"A=b"}})
	out, err := target.Exec("/app/busybox","ash","-c","ulimit -n; ulimit -Hn").CombinedOutput()
	t.Logf("%s %v",out,err)
	out, err = target.Exec("/app/busybox","cat","/proc/1/limits").CombinedOutput()
	t.Logf("%s %v",out,err)
}
