package redirectclient

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestTakenOver ends a client whose only redirect another session of the user's took over while it
// was away. Its connections go on.
func TestTakenOver(t *testing.T) {
	r, p, conn := startReconnecting(t, Config{Grace: time.Minute, Drain: time.Minute})
	p.fail(errors.New("no way"))
	next[Disconnected](t, r.events)
	p.pod.waitUntilFree(t, 8080)

	other := start(t, p.pod, Config{Redirects: []Spec{{Port: 8080, Local: startEcho(t)}}})
	next[RedirectStarted](t, other.events)
	p.fail(nil)
	wantTakenOverProblem(t, awaitEvent[Problem](t, r.events))
	if e := awaitEvent[DrainStarted](t, r.events); !e.TakenOver || e.Open != 1 {
		t.Errorf("event %+v, want one connection of a redirect that was taken over", e)
	}

	echo(t, conn, "it goes on")
	echo(t, p.pod.call(t, 8080), "with the other")
	_ = conn.Close()
	if err := <-r.done; !errors.Is(err, ErrTakenOver) {
		t.Errorf("Run = %v, want %v", err, ErrTakenOver)
	}
	other.cancel()
	<-other.done
}

// TestTakenOverAfterGrace does not take the port back once the session is gone, either.
func TestTakenOverAfterGrace(t *testing.T) {
	r, p, _ := startReconnecting(t, Config{Grace: time.Millisecond})
	p.fail(errors.New("no way"))
	p.pod.waitUntilFree(t, 8080)
	other := start(t, p.pod, Config{Redirects: []Spec{{Port: 8080, Local: startEcho(t)}}})
	next[RedirectStarted](t, other.events)
	p.fail(nil)

	next[Disconnected](t, r.events)
	problem := awaitEvent[Problem](t, r.events)
	if want := "another session of yours (me@here, for "; !strings.Contains(problem.Err.Error(), want) {
		t.Errorf("problem %v, want %q", problem.Err, want)
	}
	if err := <-r.done; !errors.Is(err, ErrTakenOver) {
		t.Errorf("Run = %v, want %v", err, ErrTakenOver)
	}
	other.cancel()
	<-other.done
}

// wantTakenOverProblem wants that the user is told who has the redirect.
func wantTakenOverProblem(t *testing.T, e Problem) {
	t.Helper()
	if want := "redirect 8080 in pod default/web: another session of yours (me@here) has taken it over"; e.Err.Error() != want {
		t.Errorf("problem %v, want %q", e.Err, want)
	}
}
