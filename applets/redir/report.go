package redir

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/statusline"
	"kdiag/applets/internal/laptop/units"
	"kdiag/mux"
	"kdiag/mux/wire"
)

// level is how much is told of each connection.
type level int

const (
	levelQuiet level = iota
	levelConnections
	levelAll
)

// event is one thing that happened, as -o json prints it.
type event struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"` // redirect, open, close, refused, moved, error, draining or summary
	// Redirect is the port, or what --outgoing named.
	Redirect    string          `json:"redirect,omitempty"`
	Local       string          `json:"local,omitempty"`
	Backend     string          `json:"backend,omitempty"`
	Mesh        string          `json:"mesh,omitempty"`
	Established int             `json:"established,omitempty"`
	TakenOver   int             `json:"takenOver,omitempty"`
	Addresses   []netip.Addr    `json:"addresses,omitempty"`
	Source      *netip.AddrPort `json:"source,omitempty"`
	Destination *netip.AddrPort `json:"destination,omitempty"`
	// Received and Sent are bytes from the pod and to it.
	Received    *int64   `json:"received,omitempty"`
	Sent        *int64   `json:"sent,omitempty"`
	Seconds     *float64 `json:"seconds,omitempty"`
	Connections *int64   `json:"connections,omitempty"`
	Refused     *int64   `json:"refused,omitempty"`
	Open        *int64   `json:"open,omitempty"`
	Error       string   `json:"error,omitempty"`
}

// report tells the user what happens: a line each on stdout, and the counters
// on a terminal's last line.
type report struct {
	level level
	out   io.Writer
	write func(io.Writer, event)
	line  *statusline.Line
	stop  chan struct{}
	done  sync.WaitGroup
	once  sync.Once
	began time.Time

	mu                       sync.Mutex // of out
	names                    map[uint32]*redirect
	open, total, refusals    atomic.Int64
	receivedBytes, sentBytes atomic.Int64
}

func startReport(streams applets.Streams, l level, write func(io.Writer, event)) *report {
	return &report{
		level: l, out: streams.Out, write: write, line: statusline.New(streams.Err), stop: make(chan struct{}),
		names: map[uint32]*redirect{}, began: time.Now(),
	}
}

// begin shows the counters from now on.
func (r *report) begin() {
	r.line.Show(r.counters())
	r.done.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-r.stop:
				return
			case <-tick.C:
				r.line.Show(r.counters())
			}
		}
	})
}

func (r *report) counters() string {
	return fmt.Sprintf("%d open, %d in all, %s in, %s out; Ctrl-C ends it", r.open.Load(), r.total.Load(),
		units.Size(r.receivedBytes.Load()), units.Size(r.sentBytes.Load()))
}

// end takes the counters away.
func (r *report) end() {
	r.once.Do(func() {
		close(r.stop)
		r.done.Wait()
		r.line.End()
	})
}

func (r *report) tell(e event) {
	e.Time = time.Now().UTC()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line.Above(func() { r.write(r.out, e) })
}

func (r *report) attached(red *redirect, a wire.Attached) {
	r.mu.Lock()
	r.names[red.id] = red
	r.mu.Unlock()
	r.tell(event{
		Event: "redirect", Redirect: red.String(), Local: red.local, Backend: a.Backend, Mesh: a.Mesh,
		Established: a.Established, TakenOver: a.TakenOver, Addresses: a.Addresses,
	})
}

func (r *report) moved(m wire.Moved) {
	r.mu.Lock()
	red := r.names[m.ID]
	r.mu.Unlock()
	if red != nil {
		r.tell(event{Event: "moved", Redirect: red.String(), Addresses: m.Addresses})
	}
}

func (r *report) failed(err error) { r.tell(event{Event: "error", Error: err.Error()}) }

// draining says that new connections go elsewhere now, if some are still open
// here.
func (r *report) draining(most time.Duration) {
	open, seconds := r.open.Load(), most.Seconds()
	if open > 0 {
		r.tell(event{Event: "draining", Open: &open, Seconds: &seconds})
	}
}

func (r *report) summary() {
	r.end()
	total, refused, received, sent := r.total.Load(), r.refusals.Load(), r.receivedBytes.Load(), r.sentBytes.Load()
	seconds := time.Since(r.began).Seconds()
	r.tell(event{Event: "summary", Connections: &total, Refused: &refused, Received: &received, Sent: &sent, Seconds: &seconds})
}

// connection is one that came by a redirect.
type connection struct {
	report *report
	event  event // what all of its events have in common
	began  time.Time
}

func (r *report) opened(red *redirect, h mux.Header) *connection {
	r.open.Add(1)
	r.total.Add(1)
	c := &connection{report: r, began: time.Now()}
	c.event = event{Redirect: red.String(), Local: red.local, Source: &h.Source, Destination: &h.Destination}
	if r.level >= levelAll {
		e := c.event
		e.Event = "open"
		r.tell(e)
	}
	return c
}

// moved counts bytes as they pass: from the pod, and to it.
func (c *connection) moved(received, sent int) {
	c.report.receivedBytes.Add(int64(received))
	c.report.sentBytes.Add(int64(sent))
}

// refused is always told: the program here is not there.
func (c *connection) refused(err error) {
	c.report.open.Add(-1)
	c.report.refusals.Add(1)
	e := c.event
	e.Event, e.Error = "refused", err.Error()
	c.report.tell(e)
}

func (c *connection) closed(result mux.Result) {
	c.report.open.Add(-1)
	if c.report.level < levelConnections {
		return
	}

	seconds := time.Since(c.began).Seconds()
	e := c.event
	e.Event, e.Received, e.Sent, e.Seconds = "close", &result.Sent, &result.Received, &seconds
	if result.Err != nil {
		e.Error = result.Err.Error()
	}

	c.report.tell(e)
}

func writeJSON(w io.Writer, e event) { _ = applets.WriteJSON(w, e, "") }

// writeText writes an event as one line. Names and errors in it may be the
// pod's own words.
func writeText(w io.Writer, e event) { fmt.Fprintln(w, wire.Printable(eventText(e))) }

func eventText(e event) string {
	switch e.Event {
	case "redirect":
		return fmt.Sprintf("%s → %s (%s)%s", e.Redirect, e.Local, e.Backend, notes(e))
	case "open":
		return fmt.Sprintf("%s → %s  begins", e.Source, e.Redirect)
	case "refused":
		return fmt.Sprintf("%s → %s  reset: %s", e.Source, e.Redirect, e.Error)
	case "close":
		ended := ""
		if e.Error != "" {
			ended = "  reset: " + e.Error
		}
		return fmt.Sprintf("%s → %s  %s in, %s out, %s%s", e.Source, e.Redirect, units.Size(*e.Received), units.Size(*e.Sent), units.Span(*e.Seconds), ended)
	case "moved":
		return fmt.Sprintf("%s is %s now", e.Redirect, list(e.Addresses))
	case "draining":
		return fmt.Sprintf("new connections go where they went before; up to %s for %d in flight (Ctrl-C cuts them)", units.Span(*e.Seconds), *e.Open)
	case "summary":
		refused := ""
		if *e.Refused > 0 {
			refused = fmt.Sprintf(", %d of them refused here", *e.Refused)
		}
		return fmt.Sprintf("connections: %d in %s%s; %s in, %s out", *e.Connections, units.Span(*e.Seconds), refused, units.Size(*e.Received), units.Size(*e.Sent))
	}

	return e.Error
}

// notes are what there is to say of a redirect beside where it leads.
func notes(e event) string {
	var notes []string
	if len(e.Addresses) > 0 {
		notes = append(notes, "to "+list(e.Addresses))
	}
	if e.TakenOver > 0 {
		notes = append(notes, fmt.Sprintf("%d established closed", e.TakenOver))
	}
	if e.Established > 0 {
		notes = append(notes, fmt.Sprintf("%d established stay with the application (--take-over closes them)", e.Established))
	}
	if e.Mesh != "" {
		notes = append(notes, e.Mesh+": what the sidecar passes on")
	}
	if len(notes) == 0 {
		return ""
	}

	return "; " + strings.Join(notes, "; ")
}

func list(addresses []netip.Addr) string {
	texts := make([]string, len(addresses))
	for i, address := range addresses {
		texts[i] = address.String()
	}
	return strings.Join(texts, ", ")
}
