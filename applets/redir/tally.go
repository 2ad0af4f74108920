package redir

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"kdiag/applets/internal/laptop/redirectclient"
	"kdiag/kube"
)

// A tally sums up over pods.
type tally struct {
	began time.Time

	mu      sync.Mutex
	clients map[*redirectclient.Client]*track // at work
	past    redirectclient.Counters           // of those that were
	pods    []redirectclient.Pod              // that were redirected
}

func newTally() *tally {
	return &tally{began: time.Now(), clients: map[*redirectclient.Client]*track{}}
}

// add counts what a client does, from now on.
func (y *tally) add(client *redirectclient.Client, t *track) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.clients[client] = t
}

// remove keeps what a client has counted.
func (y *tally) remove(client *redirectclient.Client) {
	y.mu.Lock()
	defer y.mu.Unlock()
	delete(y.clients, client)
	last := client.Counters()
	last.Open = 0
	y.past = addCounters(y.past, last)
}

// noteArmed notes that a pod is redirected.
func (y *tally) noteArmed(t *track) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if !slices.Contains(y.pods, t.name) {
		y.pods = append(y.pods, t.name)
	}
}

// listClients returns the clients at work.
func (y *tally) listClients() []*redirectclient.Client {
	y.mu.Lock()
	defer y.mu.Unlock()
	return slices.Collect(maps.Keys(y.clients))
}

// begun reports whether anything was redirected.
func (y *tally) begun() bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return len(y.pods) > 0
}

// lastPod returns the pod that was redirected last.
func (y *tally) lastPod() redirectclient.Pod {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.pods[len(y.pods)-1]
}

// sum returns the summary of all pods.
func (y *tally) sum() redirectclient.Summary {
	y.mu.Lock()
	defer y.mu.Unlock()
	sum := redirectclient.Summary{Pod: y.pods[0], Counters: y.countAll(), Duration: time.Since(y.began)}
	if len(y.pods) > 1 {
		sum.Pod.Name = ""
		for _, pod := range y.pods {
			sum.Pods = append(sum.Pods, pod.Name)
		}
	}
	return sum
}

// countAll adds up all counters. The caller holds mu.
func (y *tally) countAll() redirectclient.Counters {
	all := y.past
	for client := range y.clients {
		all = addCounters(all, client.Counters())
	}
	return all
}

// look returns what was counted, how many pods are redirected, and the absence of one of those that
// are away, and how many are.
func (y *tally) look() (sum redirectclient.Counters, pods, lost int, away *redirectclient.Away) {
	y.mu.Lock()
	clients := make([]*redirectclient.Client, 0, len(y.clients))
	for client, t := range y.clients {
		if t.armed.Load() && !t.isGoing() {
			clients = append(clients, client)
		}
	}
	sum = y.countAll()
	y.mu.Unlock()

	for _, client := range clients {
		if gone := client.Away(); gone != nil {
			lost, away = lost+1, gone
		}
	}

	return sum, len(clients), lost, away
}

// addCounters adds up.
func addCounters(a, b redirectclient.Counters) redirectclient.Counters {
	return redirectclient.Counters{
		Open: a.Open + b.Open, Total: a.Total + b.Total, Refused: a.Refused + b.Refused,
		Cut: a.Cut + b.Cut, Reset: a.Reset + b.Reset,
		Received: a.Received + b.Received, Sent: a.Sent + b.Sent, Probes: a.Probes + b.Probes, Ambiguous: a.Ambiguous + b.Ambiguous,
	}
}

// formatStatus says how things are, over all pods.
func (f *follower) formatStatus() string {
	sum, pods, lost, away := f.tally.look()
	switch {
	case f.scope == scopeAll && pods > 0 && lost == 0:
		return fmt.Sprintf("pods: %d; %s", pods, formatCounters(sum))
	case f.scope == scopeAll && pods > 0:
		return fmt.Sprintf("pods: %d, away: %d; %s", pods, lost, formatCounters(sum))
	case pods == 0 && f.scope != scopePod:
		return fmt.Sprintf("%s; press Ctrl-C to stop", f.show.waiting(f.request.Pod))
	}
	return formatStatus(sum, away)
}

// waiting says what is waited for while no pod is redirected.
func (d *display) waiting(target kube.Selection) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.progress != "" {
		return d.progress
	}
	return "waiting for a ready pod of " + target.String()
}
