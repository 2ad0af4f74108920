package containers

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"kdiag/applets/internal/testkit/fakecluster"
	"kdiag/kube"
	"kdiag/mux"
	"kdiag/mux/muxtest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// fakeManager serves sessions in a fake cluster.
type fakeManager struct {
	cluster *fakecluster.Fake
	handle  *Net
	host    *mux.Host
	door    *mux.Door

	mu    sync.Mutex
	fails error // of a port-forward
	dead  bool  // a port-forward opens, and says nothing
	left  sync.WaitGroup
}

// newFakeManager makes a cluster with a manager, and a handle that has found it.
func newFakeManager(t *testing.T) *fakeManager {
	t.Helper()
	fakecluster.KeepHome(t)
	m := &fakeManager{cluster: &fakecluster.Fake{}}
	m.cluster.Dial = m.dial
	m.handle = NewNet(m.cluster, Request{Pod: kube.Selection{Kind: "pods", Name: "web"}, Timeout: time.Minute}, NotesTo(io.Discard))
	user, err := m.handle.owner.waitForKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	own := muxtest.NewKey(t)
	var errs [2]error
	m.door, errs[0] = mux.NewDoor(own, mux.PublicText(user))
	m.host, errs[1] = mux.NewHost(own, mux.PublicText(user))
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}

	public, _ := own.Public().(ed25519.PublicKey)
	m.cluster.Line = fmt.Sprintf(`{"role":"net","door":1,"protocol":%d,"key":%q}`, mux.ProtocolVersion, mux.HashKey(public))
	t.Cleanup(m.left.Wait)
	return m
}

func (m *fakeManager) dial() (net.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fails != nil {
		return nil, m.fails
	}

	near, far := net.Pipe()
	if m.dead {
		_ = far.Close()
		return near, nil
	}
	m.left.Go(func() { m.serve(far) })
	return near, nil
}

// serve keeps a session until the laptop ends it.
func (m *fakeManager) serve(conn net.Conn) {
	defer conn.Close()
	challenge, err := m.door.SendChallenge(conn)
	if err != nil || m.door.VerifyKnock(conn, challenge) != nil {
		return
	}
	if s, err := m.host.Receive(context.Background(), conn, mux.SessionOptions{}); err == nil && s != nil {
		s.KeepFor(time.Minute)
		<-s.Done()
		_ = s.Close()
	}
}

func (m *fakeManager) set(fails error, dead bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails, m.dead = fails, dead
}

// open opens the first session.
func (m *fakeManager) open(t *testing.T, o mux.SessionOptions) *mux.Session {
	t.Helper()
	session, err := m.handle.OpenSession(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// TestRedialAsksNothingElse makes another connection without a look at the pod.
func TestRedialAsksNothingElse(t *testing.T) {
	m := newFakeManager(t)
	session := m.open(t, mux.SessionOptions{Redial: m.handle.Redial})
	defer session.Close()

	conn, err := m.handle.Redial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if asked := m.cluster.GoneAsked(); asked != 0 {
		t.Errorf("the pod was looked at %d times, want none", asked)
	}

	// So soon again, somebody else may have the port.
	conn, err = m.handle.Redial(t.Context())
	if err != nil || m.cluster.GoneAsked() != 1 {
		t.Fatalf("Redial = %v, the pod was looked at %d times, want one", err, m.cluster.GoneAsked())
	}
	_ = conn.Close()
}

// TestRedialGivesUp tells what will not come back from what may.
func TestRedialGivesUp(t *testing.T) {
	answer := apierrors.NewInternalError(errors.New("error dialing backend"))
	for _, c := range []struct {
		name           string
		fails          error
		dead           bool
		gone           error
		givenUp, asked bool
	}{
		{"network away", errors.New("no route to host"), false, kube.NewGoneError(true, "nobody knows"), false, false},
		{"kubelet away", answer, false, nil, false, true},
		{"pod gone", answer, false, kube.NewGoneError(true, "the pod was deleted"), true, true},
		{"manager silent", nil, true, nil, false, true},
		{"manager ended", nil, true, kube.NewGoneError(false, "it exited with code 137"), true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newFakeManager(t)
			defer m.open(t, mux.SessionOptions{}).Close()
			m.set(c.fails, c.dead)
			m.cluster.Gone = func() error { return c.gone }

			_, err := m.handle.Redial(t.Context())
			if err == nil || errors.Is(err, mux.ErrGivenUp) != c.givenUp || m.cluster.GoneAsked() > 0 != c.asked {
				t.Errorf("Redial = %v, the pod was looked at %d times, want given up: %t, looked: %t", err, m.cluster.GoneAsked(), c.givenUp, c.asked)
			}
			if c.givenUp && !strings.HasSuffix(err.Error(), c.gone.Error()) {
				t.Errorf("Redial = %v, want why", err)
			}
		})
	}
}

// TestReopenFindsManager opens a session with the same manager, or with one in a new container where
// that has ended, but not again and again, and not in another pod.
func TestReopenFindsManager(t *testing.T) {
	m := newFakeManager(t)
	_ = m.open(t, mux.SessionOptions{}).Close()
	reopen := func() error {
		session, err := m.handle.ReopenSession(t.Context(), mux.SessionOptions{})
		if err == nil {
			_ = session.Close()
		}
		return err
	}
	if err := reopen(); err != nil || len(m.cluster.Nets()) != 1 {
		t.Errorf("reopen = %v with %d containers asked for, want the same one", err, len(m.cluster.Nets()))
	}

	// It has ended until another one is asked for.
	m.cluster.Gone = func() error {
		m.set(nil, false)
		return kube.NewGoneError(false, "it exited with code 137")
	}
	for i := range maxAdded {
		m.set(nil, true)
		if err := reopen(); err != nil || len(m.cluster.Nets()) != i+2 {
			t.Errorf("reopen = %v with %d containers asked for, want %d", err, len(m.cluster.Nets()), i+2)
		}
	}
	m.set(nil, true)
	if err := reopen(); !errors.Is(err, mux.ErrGivenUp) || !strings.Contains(err.Error(), "again and again, at last: it exited with code 137") {
		t.Errorf("reopen = %v, want that it is of no use", err)
	}

	m.set(nil, true)
	m.cluster.Gone = func() error { return kube.NewGoneError(true, "the pod was deleted") }
	if err := reopen(); !errors.Is(err, mux.ErrGivenUp) || !strings.HasSuffix(err.Error(), "the pod was deleted") {
		t.Errorf("reopen = %v, want that the pod is gone", err)
	}
}

// TestReopenEndsWithContext ends with its context while a port-forward says nothing.
func TestReopenEndsWithContext(t *testing.T) {
	m := newFakeManager(t)
	_ = m.open(t, mux.SessionOptions{}).Close()
	ctx, cancel := context.WithCancel(t.Context())
	m.cluster.Dial = func() (net.Conn, error) {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = far.Close() })
		cancel()
		return near, nil
	}
	if _, err := m.handle.ReopenSession(ctx, mux.SessionOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("reopen = %v, want that it was cancelled", err)
	}
}

// TestManagerHasJustEnded finds a container whose manager was killed a moment ago, before the
// cluster knows: another one takes its place.
func TestManagerHasJustEnded(t *testing.T) {
	m := newFakeManager(t)
	m.cluster.NetFound = true
	m.set(nil, true)
	asked := 0
	m.cluster.Gone = func() error {
		if asked++; asked < 3 {
			return nil
		}
		m.set(nil, false)
		return kube.NewGoneError(false, "container kdiag-net-abcde has ended")
	}

	session := m.open(t, mux.SessionOptions{})
	defer session.Close()
	nets := m.cluster.Nets()
	if len(nets) != 2 {
		t.Fatalf("asked for %d net containers, want 2", len(nets))
	}
	if nets[0].Pod == nets[1].Pod {
		t.Error("the pod was not looked up again: its old status still has the manager running")
	}
}
