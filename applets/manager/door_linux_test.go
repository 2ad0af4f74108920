package manager_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"kdiag/mux"
	"kdiag/mux/muxtest"
	"kdiag/mux/wire"
	"kdiag/netfilter/netnstest"
)

// roundTrip is the distance from the user to the pod.
const roundTrip = 100 * time.Millisecond

// perSecond is how many strangers dial the manager in a second.
const perSecond = 200

// A podWithManager is a network namespace with a net manager in it.
type podWithManager struct {
	netnstest.Namespace
	started wire.Ready
	pid     int
	stderr  *lockedBuffer
	user    ed25519.PrivateKey

	// heard is closed, and made anew, when a knock of the user's has arrived. It is then in knock,
	// as whoever has CAP_NET_RAW can read it.
	mu    sync.Mutex
	knock []byte
	heard chan struct{}
}

// newPodWithManager starts a manager in a network namespace of its own. The words of before, if
// any, are a program that becomes the manager.
func newPodWithManager(t *testing.T, before ...string) *podWithManager {
	t.Helper()
	return newManagerIn(t, netnstest.New(t), before...)
}

// newManagerIn starts another user's manager in a network namespace, as newPodWithManager does.
func newManagerIn(t *testing.T, pod netnstest.Namespace, before ...string) *podWithManager {
	t.Helper()
	b := &podWithManager{Namespace: pod, user: muxtest.NewKey(t), heard: make(chan struct{})}
	err := b.Do(func() error {
		cmd, stderr := managerCommand(t, "--role=net", "--user="+mux.PublicText(b.user))
		if len(before) > 0 {
			cmd.Args = append(before, cmd.Args...)
			cmd.Path = before[0]
		}
		b.stderr = &lockedBuffer{to: stderr}
		cmd.Stderr = b.stderr
		b.started = beginManager(t, cmd, stderr)
		b.pid = cmd.Process.Pid
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	return b
}

// A lockedBuffer may be read while a process writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	to *bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.to.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.to.String()
}

// dial connects to a port from inside the pod.
func (b *podWithManager) dial(port uint16) (conn net.Conn, err error) {
	err = b.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), 10*time.Second)
		return err
	})
	return conn, err
}

// dialNear connects to the manager without any distance.
func (b *podWithManager) dialNear() (net.Conn, error) { return b.dial(b.started.Port) }

// dialFar connects as a port-forward does: half a round trip after the user has asked for it, the
// kubelet dials; the user learns of that after the other half.
func (b *podWithManager) dialFar() (net.Conn, error) {
	time.Sleep(roundTrip / 2) // the distance itself
	conn, err := b.dialNear()
	if err != nil {
		return nil, err
	}
	time.Sleep(roundTrip / 2)

	return muxtest.AddLatency(&overheard{Conn: conn, building: b}, roundTrip), nil
}

// overheard is the kubelet's connection, whose first bytes strangers read, too.
type overheard struct {
	net.Conn
	building *podWithManager
	once     sync.Once
}

func (o *overheard) Write(p []byte) (int, error) {
	n, err := o.Conn.Write(p)
	if len(p) >= mux.KnockSize {
		o.once.Do(func() {
			b := o.building
			b.mu.Lock()
			defer b.mu.Unlock()
			b.knock = bytes.Clone(p[:mux.KnockSize])
			close(b.heard)
			b.heard = make(chan struct{})
		})
	}

	return n, err
}

// nextKnock returns the next knock that strangers read, or nil after a while.
func (b *podWithManager) nextKnock() []byte {
	b.mu.Lock()
	heard := b.heard
	b.mu.Unlock()
	select {
	case <-heard:
	case <-time.After(time.Second):
		return nil
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	return b.knock
}

// openSession opens a session of the user's and greets the manager.
func (b *podWithManager) openSession(ctx context.Context, dial func() (net.Conn, error)) (*mux.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := dial()
	if err != nil {
		return nil, err
	}

	session, err := mux.Client(ctx, conn, b.user, b.started.Key, mux.SessionOptions{})
	if err != nil {
		return nil, err
	}
	if err := session.Call(ctx, wire.RequestHello, wire.Hello{Holder: "me@here"}, nil); err != nil {
		return nil, errors.Join(err, session.Close())
	}

	return session, nil
}

// openAndCloseSession opens a session from afar and closes it again.
func (b *podWithManager) openAndCloseSession(ctx context.Context) error {
	session, err := b.openSession(ctx, b.dialFar)
	if err != nil {
		return err
	}
	return session.Close()
}

// kindsOfStrangers returns every kind of stranger that there is a test for.
func (b *podWithManager) kindsOfStrangers(t *testing.T) []muxtest.Stranger {
	t.Helper()
	kinds, err := muxtest.Strangers(b.started.Key, b.nextKnock)
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

// flood has strangers dial from inside the pod, until stop is called or the test ends.
func (b *podWithManager) flood(t *testing.T, kinds ...muxtest.Stranger) (stop func() int) {
	stop = muxtest.Flood(perSecond, kinds, func(older bool) (net.Conn, error) {
		if older {
			return b.dial(b.started.OlderPort)
		}
		return b.dial(b.started.Port)
	})
	t.Cleanup(func() { stop() })
	return stop
}

// tries is how often the user opens a session.
const tries = 10

// TestUserGetsInAmongStrangers has 200 strangers a second dial from inside the pod, from before
// the user does until after, of each kind and of all kinds.
func TestUserGetsInAmongStrangers(t *testing.T) {
	try := func(t *testing.T, b *podWithManager, kinds ...muxtest.Stranger) {
		stop := b.flood(t, kinds...)
		const lanes = 5
		var all sync.WaitGroup
		for range lanes {
			all.Go(func() {
				for i := range tries / lanes {
					if err := b.openAndCloseSession(t.Context()); err != nil {
						t.Errorf("try %d: %v", i, err)
					}
				}
			})
		}

		all.Wait()
		t.Logf("%d strangers", stop())
	}

	b := newPodWithManager(t)
	for _, kind := range b.kindsOfStrangers(t) {
		t.Run(kind.Name, func(t *testing.T) { try(t, b, kind) })
	}

	t.Run("all kinds", func(t *testing.T) { try(t, b, b.kindsOfStrangers(t)...) })
}
