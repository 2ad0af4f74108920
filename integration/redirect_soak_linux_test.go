//go:build soak

package integration

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// TestSoakCuts sends 1 GiB to an echo and back, beside 200 connections that echo texts, while the API
// server goes away 20 times at random moments, for 0.1 to 20 s each. Every byte arrives, and no
// connection is lost.
func TestSoakCuts(t *testing.T) {
	t.Parallel()
	const echoes, cuts, size = 200, 20, 1 << 30
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 2))

	r := startLossyRedirect(t, echoes, "--on-disconnect=hold")
	stop, whole := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	for i, conn := range r.conns {
		all.Go(func() { echoUntil(t, conn, i, stop) })
	}
	all.Go(func() {
		defer close(whole)
		transferBytes(t, kit.OpenConnection(t, kit.NodeNetwork, r.app+":7000"), seed, size, time.Hour)
	})

	began, away := time.Now(), time.Duration(0)
	for cut := range cuts {
		<-time.After(time.Duration(100+dice.IntN(3000)) * time.Millisecond) // a random moment
		outage := time.Duration(100+dice.IntN(19900)) * time.Millisecond
		r.proxy.SetAway(true)
		<-time.After(outage) // as long as it lasts
		r.proxy.SetAway(false)
		away += outage

		r.waitForLoss(t)
		back := r.WaitForEvent("reconnected")
		t.Logf("cut %d: away for %s, connected again after %.1f s", cut+1, outage, back.Seconds)
		if back.Cut != 0 || back.Kept < echoes {
			t.Errorf("event %+v, want all of %d connections kept", back, echoes)
		}
	}

	close(stop)
	<-whole
	all.Wait()
	t.Logf("1 GiB there and back in %s, of which the API server was away for %s", time.Since(began), away)
	r.end(t)
}

// TestSoakStopped stops kdiag for ten minutes: its connections are reset after the grace, the ports are
// the application's, and all works again afterwards.
func TestSoakStopped(t *testing.T) {
	t.Parallel()
	r := startLossyRedirect(t, 3)
	r.Signal(syscall.SIGSTOP)
	stopped := time.After(10 * time.Minute)
	r.waitForApp(t)
	r.waitForReset(t)
	<-stopped // as long as it lasts
	r.waitForApp(t)
	r.Signal(syscall.SIGCONT)
	r.waitForReturn(t, 0, 3)
	r.end(t)
}

// TestSoakFullQueues keeps a link of 1 MB/s full in both directions for two minutes.
func TestSoakFullQueues(t *testing.T) {
	t.Parallel()
	fillQueues(t, 120_000_000)
}
