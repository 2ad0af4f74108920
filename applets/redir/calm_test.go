package redir

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/redirectclient"
)

var shopPod = redirectclient.Pod{Namespace: "shop", Name: "web"}

// testCalm is a calm that prints for people, and the connection that it tells of.
type testCalm struct {
	*calm
	out  strings.Builder
	away *redirectclient.Away
}

func newTestCalm(tellStill bool) *testCalm {
	c := &testCalm{}
	c.calm = newCalm(textEvents{newLines(&c.out)}, func() *redirectclient.Away { return c.away }, tellStill)
	return c
}

// blink loses the connection for some time.
func (c *testCalm) blink(away time.Duration, cut int) {
	c.away = &redirectclient.Away{Since: time.Now(), Cause: errors.New("no route")}
	c.Disconnected(redirectclient.Disconnected{Pod: shopPod, Err: errors.New("cut"), Grace: time.Minute})
	time.Sleep(away)
	synctest.Wait()
	c.away = nil
	c.Reconnected(redirectclient.Reconnected{Pod: shopPod, After: away, Kept: 2 - cut, Cut: cut})
}

func (c *testCalm) verify(t *testing.T, want ...string) {
	t.Helper()
	if got := c.out.String(); got != strings.Join(want, "") {
		t.Errorf("it says\n%swant\n%s", got, strings.Join(want, ""))
	}
}

const lostLine = "lost the connection to pod shop/web: cut; connecting again (open connections wait, up to 1m)\n"

func backLine(after string, cut int) string {
	return fmt.Sprintf("connected again after %s; connections kept: %d, cut: %d\n", after, 2-cut, cut)
}

// TestCalmTellsBlinks tells a few losses one by one, and many in sum.
func TestCalmTellsBlinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCalm(true)
		for range 30 {
			c.blink(100*time.Millisecond, 0)
			time.Sleep(4900 * time.Millisecond)
		}
		c.Finished(redirectclient.Summary{Pod: shopPod, Duration: time.Second})

		// At 0, 60 and 120 s the three of a minute before count no more.
		three := strings.Repeat(lostLine+backLine("100ms", 0), 3)
		const sum = "the connection to pod shop/web was lost and made again %d more times in the last 1m, for %s in all; the last time: cut\n"
		c.verify(t, three, three, fmt.Sprintf(sum, 9, "900ms"), three, fmt.Sprintf(sum, 9, "900ms"), fmt.Sprintf(sum, 3, "300ms"),
			"connections: 0 in 1s; 0 B in, 0 B out\n")
	})
}

// TestCalmTellsWhatCosts tells a loss that costs connections, or lasts, however many there were.
func TestCalmTellsWhatCosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCalm(true)
		for range maxBlinks {
			c.blink(time.Millisecond, 0)
		}
		c.out.Reset()

		c.blink(time.Second, 1)
		c.verify(t, lostLine, backLine("1s", 1))
		c.out.Reset()

		c.blink(longAway+time.Second, 0)
		c.verify(t, lostLine, backLine("6s", 0))
		c.stop()
	})
}

// TestCalmNeverSilent says again and again that the connection is away, where nothing else does.
func TestCalmNeverSilent(t *testing.T) {
	still := func(after string) string {
		return "no connection to pod shop/web for " + after + ": no route\n"
	}
	synctest.Test(t, func(t *testing.T) {
		c := newTestCalm(true)
		c.blink(8*time.Minute, 0)
		c.verify(t, lostLine, still("30s"), still("1m30s"), still("3m30s"), still("7m30s"), backLine("8m", 0))
		time.Sleep(time.Hour)

		c = newTestCalm(false)
		c.blink(8*time.Minute, 0)
		c.verify(t, lostLine, backLine("8m", 0))
	})
}

// TestStatusOfAway shows since when the connection is away.
func TestStatusOfAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := &redirectclient.Away{Since: time.Now(), Cause: errors.New("no route")}
		time.Sleep(72500 * time.Millisecond)
		if got, want := formatStatus(redirectclient.Counters{}, away), "reconnecting for 1m12s; press Ctrl-C to stop (no route)"; got != want {
			t.Errorf("status %q, want %q", got, want)
		}
	})
}

// TestProblemHasHint prints what the user may do.
func TestProblemHasHint(t *testing.T) {
	var text, document strings.Builder
	problem := redirectclient.Problem{Pod: shopPod, Err: applets.WithHint(io.ErrNoProgress, "push")}
	textEvents{newLines(&text)}.Problem(problem)
	jsonEvents{newLines(&document)}.Problem(problem)
	if want := io.ErrNoProgress.Error() + "\nhint: push\n"; text.String() != want {
		t.Errorf("text %q, want %q", text.String(), want)
	}
	if !strings.Contains(document.String(), `"hint":"push"`) {
		t.Errorf("JSON %s, want a hint", document.String())
	}
}
