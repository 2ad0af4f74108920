package redirectclient

import (
	"errors"
	"testing"
	"time"

	"kdiag/mux/wire"
)

// TestPause gives new connections back while this process is stopped, and takes them again. What is open
// goes on.
func TestPause(t *testing.T) {
	p := startPodSide(t)
	r := start(t, p, Config{Redirects: []Spec{{Port: 8080, Local: startEcho(t)}}, Grace: time.Minute})
	next[RedirectStarted](t, r.events)
	conn := p.call(t, 8080)
	next[Connection](t, r.events)
	echo(t, conn, "before")

	for range 3 {
		r.client.Pause(t.Context())
		if e := next[Paused](t, r.events); e.Open != 1 || e.Grace != time.Minute || e.Pod != webPod {
			t.Errorf("event %+v, want that one connection waits for 1m", e)
		}
		p.waitUntilFree(t, 8080)

		r.client.Resume()
		next[RedirectStarted](t, r.events)
		echo(t, conn, "after")
		again := p.call(t, 8080)
		next[Connection](t, r.events)
		echo(t, again, "again")
		_ = again.Close()
		next[ConnectionClosed](t, r.events)
	}

	_ = conn.Close()
	if e := next[ConnectionClosed](t, r.events); e.Err != nil {
		t.Errorf("event %+v, want a good end", e)
	}
	r.cancel()
	if err := <-r.done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if e := next[Summary](t, r.events); e.Total != 4 || e.Reset != 0 || e.Cut != 0 {
		t.Errorf("summary %+v, want four connections, and none reset", e)
	}
	p.waitUntilFree(t, 8080)
}

// TestPauseWhileNobodyServes does not wait for a client that serves no connections.
func TestPauseWhileNobodyServes(t *testing.T) {
	client := New(Config{}, newEvents())
	client.Pause(t.Context())
	client.Resume()
	client.Resume()
}

// TestEarlyInterrupt drains connections that came before all redirects were there.
func TestEarlyInterrupt(t *testing.T) {
	p := startPodSide(t)
	armed, goOn := make(chan struct{}), make(chan struct{})
	r := start(t, p, Config{
		Redirects: []Spec{{Port: 8080, Local: startEcho(t)}, {Port: 9090, Local: startEcho(t)}},
		Drain:     time.Minute,
		Describe: func(Spec) Declaration {
			close(armed)
			<-goOn
			return Declaration{}
		},
	})
	<-armed
	conn := p.call(t, 8080)
	next[Connection](t, r.events)
	echo(t, conn, "before")

	reached, release := make(chan struct{}, 1), make(chan struct{})
	p.mu.Lock()
	p.attaching = func() { once(reached); <-release }
	p.mu.Unlock()
	close(goOn)
	next[RedirectStarted](t, r.events)

	<-reached
	r.cancel()
	close(release) // the other redirect is made after all
	p.waitUntilFree(t, 8080)
	if e := next[DrainStarted](t, r.events); e.Open != 1 {
		t.Errorf("event %+v, want that one connection is open", e)
	}
	echo(t, conn, "after")
	_ = conn.Close()
	if e := next[ConnectionClosed](t, r.events); e.Err != nil {
		t.Errorf("event %+v, want a good end", e)
	}
	if err := <-r.done; err == nil {
		t.Error("Run = nil, want that it was ended")
	}
	p.waitUntilFree(t, 9090)
}

// TestStallIsTheCause blames no network for a connection that was lost while this process was stopped,
// or the machine slept.
func TestStallIsTheCause(t *testing.T) {
	at := time.Now()
	asleep := func(d time.Duration) time.Time { // only the wall clock goes on
		return time.Unix(0, at.Add(d).UnixNano())
	}
	for name, c := range map[string]struct {
		looks []time.Time
		ask   time.Time
		want  string
	}{
		"stopped":         {[]time.Time{at, at.Add(25 * time.Second)}, at.Add(26 * time.Second), "kdiag was stopped for 25s"},
		"not looked yet":  {[]time.Time{at}, at.Add(25 * time.Second), "kdiag was stopped for 25s"},
		"long ago":        {[]time.Time{at, at.Add(25 * time.Second)}, at.Add(27*time.Second + stallMatters), ""},
		"busy":            {[]time.Time{at, at.Add(time.Second)}, at.Add(2 * time.Second), ""},
		"never looked":    {nil, at, ""},
		"asleep, by wall": {[]time.Time{asleep(0)}, asleep(25 * time.Second), "kdiag was stopped for 25s"},
	} {
		var w stallWatch
		for _, look := range c.looks {
			w.look(look)
		}
		for range 40 { // a look per half second keeps the long ago apart from a stall
			if last := w.last; name == "long ago" && c.ask.Sub(last) > time.Second {
				w.look(last.Add(stallTick))
			}
		}
		got := ""
		if err := w.explain(c.ask); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}

	o := outage{observer: newEvents(), countOpen: func() int { return 0 }, countCut: func() int { return 0 }}
	o.begin(webPod)
	o.stall.look(time.Now().Add(-20 * time.Second))
	o.connectionLost(errors.New("i/o timeout"), 0)
	if away := o.read(); away == nil || away.Cause.Error() != "kdiag was stopped for 20s" {
		t.Errorf("away: %+v, want that kdiag was stopped", away)
	}
}

// TestRefusalsAreCounted tells of what managers have reset, each once, however often they say it.
func TestRefusalsAreCounted(t *testing.T) {
	e := newEvents()
	c := New(Config{}, e)
	c.pod = webPod
	r := &redirect{Spec: Spec{Port: 8080}}
	c.redirects[1] = r
	say := func(counts map[string]int64) { c.handleRefused(wire.Refused{ID: 1, Counts: counts}) }

	say(map[string]int64{wire.RefusedNoRoom: 104})
	if got := next[ConnectionsReset](t, e); got.Count != 104 || got.Redirect.Port != 8080 || got.Reason != refusalReasons[0].text {
		t.Errorf("event %+v, want 104 connections without room", got)
	}
	say(map[string]int64{wire.RefusedNoRoom: 104})
	say(map[string]int64{wire.RefusedNoRoom: 100, "news": 1, "more news": 1, wire.RefusedAway: -5})
	if got := next[ConnectionsReset](t, e); got.Count != 2 || got.Reason != refusalReasons[len(refusalReasons)-1].text {
		t.Errorf("event %+v, want 2 connections for reasons that are not known", got)
	}

	r.markUnarmed() // another manager begins anew
	say(map[string]int64{wire.RefusedAway: 3})
	if got := next[ConnectionsReset](t, e); got.Count != 3 {
		t.Errorf("event %+v, want 3 connections", got)
	}
	c.handleRefused(wire.Refused{ID: 7, Counts: map[string]int64{wire.RefusedAway: 1}})
	if got := c.Counters().Reset; got != 109 || len(e) != 0 {
		t.Errorf("%d connections were reset, want 109; %d events are left, want none", got, len(e))
	}
}
