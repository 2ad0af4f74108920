package kit

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

// RedirEvent carries a line of "redir -o json".
type RedirEvent struct {
	Event, Redirect, Local, Backend, Source, Destination, Error string
	Established, TakenOver                                      int
	Addresses                                                   []string
	Received, Sent, Connections, Refused                        int64
	Seconds                                                     float64
	Kept, Cut                                                   int
	Renewed                                                     bool
	Probes                                                      json.RawMessage
	ProbesTo                                                    string
	Recognized, Ambiguous                                       int64
	Namespace, Pod, PortName, Service                           string
	ServicePort, Of                                             int
	Endpoints, Added                                            []string
	Listening, IdleContainer, DeclaredProtocol                  string
	// Pod is the event's, Next and Reason those of "gone", Pods the summary's.
	Next, Reason, Instead string
	Pods                  []string
}

// RedirProcess carries a "kdiag redir" that runs in the background, and its
// events in place of what it prints.
type RedirProcess struct {
	*Process
	Events <-chan RedirEvent
}

// StartRedir starts "kdiag redir" with more environment.
func StartRedir(t *testing.T, env []string, args ...string) *RedirProcess {
	t.Helper()
	// Large enough that kdiag never waits for a test that does not read them.
	events := make(chan RedirEvent, 100000)
	p := newProcess(t, env, BinaryPath(), append([]string{"redir", "-o", "json"}, args...))
	p.cmd.Stdout = &eventWriter{events: events}
	p.start()

	go func() {
		<-p.ended
		close(events)
	}()

	return &RedirProcess{p, events}
}

// StartRedirects starts "kdiag redir" and waits until all of its redirects hold.
func StartRedirects(t *testing.T, redirects int, args ...string) *RedirProcess {
	t.Helper()
	r := StartRedir(t, nil, args...)
	for range redirects {
		r.WaitForEvent("redirect")
	}
	return r
}

// WaitForEvent waits for the next event of a kind, and passes over others.
func (r *RedirProcess) WaitForEvent(kind string) RedirEvent {
	r.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case event, open := <-r.Events:
			if !open {
				r.t.Fatalf("redir ended before an event %q: %v", kind, r.WaitForEnd())
			}
			if event.Event == kind {
				return event
			}
		case <-limit:
			r.t.Fatalf("still waiting for an event %q: %s", kind, r.Stderr)
		}
	}
}

// eventWriter decodes the lines that are written to it.
type eventWriter struct {
	events chan<- RedirEvent
	rest   []byte // of a line that has no end yet
}

// Write decodes the lines that are whole with what is added.
func (w *eventWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, whole := bytes.Cut(w.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}

		var event RedirEvent
		if json.Unmarshal(line, &event) == nil {
			w.events <- event
		}
		w.rest = rest
	}
}
