package integration

import (
	"strings"
	"syscall"
	"testing"

	"kdiag/integration/kit"
)

// TestRedirOwnSessionStopped takes a port over from a kdiag of the same user that is stopped, and
// never gives it back to that one.
func TestRedirOwnSessionStopped(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	first, second := kit.StartLocalServer(t, kit.SayWord("first")), kit.StartLocalServer(t, kit.AnswerRequest)

	old := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+first.Port)
	old.Signal(syscall.SIGSTOP)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+second.Port)
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)

	old.Signal(syscall.SIGCONT)
	if e := old.WaitForEvent("error"); !strings.Contains(e.Error, "redirect 8080 in pod "+namespace+"/app: another session of yours (") {
		t.Errorf("event = %+v, want that it was taken over", e)
	}
	kit.ExpectFailure(1, "another session of yours has taken over every redirect", "").Verify(t, "the first", old.WaitForEnd())

	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	redir.Interrupt()
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)
}

// TestRedirOwnSessionLives refuses a port that another kdiag of the same user redirects, and says
// that it is one's own.
func TestRedirOwnSessionLives(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	old := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)

	redir := kit.StartRedir(t, nil, "-n", namespace, "app", "8080:1")
	kit.ExpectFailure(1, "port 8080 is already redirected by another session of yours (", "end that session").
		Verify(t, "the second", redir.WaitForEnd())
	kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)
	old.Interrupt()
}
