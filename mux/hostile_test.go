package mux

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kdiag/mux/wire"
)

// A lie is what a peer does that does not keep to the protocol. The session must end with an error
// that has the text, or go on if that is empty.
type lie struct {
	name string
	tell func(t *testing.T, liar *Session, near, far *Conn)
	want string
}

// send sends a signal that the session itself would not.
func (s *Session) send(kind signalKind, stream uint32, value uint64, header ...byte) {
	s.signals.put(signal{kind, stream, value, header})
	s.signals.flush()
}

// sendFrame sends a frame that yamux itself would not, while yamux is idle.
func (s *Session) sendFrame(kind byte, flags uint16, stream uint32, length int, body []byte) {
	frame := []byte{0, kind, byte(flags >> 8), byte(flags)}
	frame = binary.BigEndian.AppendUint32(frame, stream)
	frame = binary.BigEndian.AppendUint32(frame, uint32(length))
	_, _ = s.link.Write(append(frame, body...))
	s.link.Flush()
}

var anyHeader = Header{Redirect: 1}.Encode()

// lies work both ways: far is the liar's end of a connection.
var lies = []lie{
	{"signals of no stream", func(_ *testing.T, liar *Session, _, _ *Conn) {
		for kind := signalCredit; kind <= signalInitial; kind++ {
			if kind != signalDrop {
				liar.send(kind, 4444, 7)
			}
		}
	}, ""},
	{"an unknown signal", func(_ *testing.T, liar *Session, _, far *Conn) { liar.send(99, far.id(), 7) }, ""},
	{"a credit that goes down", func(_ *testing.T, liar *Session, _, far *Conn) { liar.send(signalCredit, far.id(), 1) }, ""},
	{"a huge credit", func(_ *testing.T, liar *Session, _, far *Conn) { liar.send(signalCredit, far.id(), 1<<63) }, "a credit of"},
	{"huge credits for new connections", func(_ *testing.T, liar *Session, _, _ *Conn) { liar.send(signalInitial, 0, 1<<63) }, ""},
	{"one end twice", func(_ *testing.T, liar *Session, _, far *Conn) {
		liar.send(signalEnd, far.id(), 0)
		liar.send(signalEnd, far.id(), 0)
	}, ""},
	{"two ends", func(_ *testing.T, liar *Session, _, far *Conn) {
		liar.send(signalEnd, far.id(), 0)
		liar.send(signalReset, far.id(), 9)
	}, "ends after 9 bytes"},
	{"an end after more than was allowed", func(_ *testing.T, liar *Session, _, far *Conn) {
		liar.send(signalEnd, far.id(), 1<<40)
	}, "ends after 1099511627776 bytes"},
	{"an end that is read and after more than came", func(t *testing.T, liar *Session, near, far *Conn) {
		liar.send(signalEnd, far.id(), 9)
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
			t.Errorf("read = %v, want ErrReset", err)
		}
	}, "bytes, of which"},
	{"an end that is dropped and after more than came", func(_ *testing.T, liar *Session, near, far *Conn) {
		far.mu.Lock()
		far.final = signalEnd // the session itself says nothing else then
		far.mu.Unlock()
		liar.send(signalEnd, far.id(), 9)
		near.Reset()
	}, "bytes, of which"},
	{"credit given back that nobody asked for", func(_ *testing.T, liar *Session, _, far *Conn) {
		liar.send(signalRevoked, far.id(), 9)
	}, "keeps a credit"},
	{"a stream dropped that is in use", func(_ *testing.T, liar *Session, _, far *Conn) { liar.send(signalDrop, far.id(), 0) }, "dropped stream"},
	{"done with what has not ended", func(_ *testing.T, liar *Session, _, far *Conn) { liar.send(signalFree, far.id(), 0) }, "done with stream"},
	{"a ping", func(_ *testing.T, liar *Session, _, _ *Conn) { liar.sendFrame(2, 1, 0, 7, nil) }, "frame of type 2"},
	{"go away", func(_ *testing.T, liar *Session, _, _ *Conn) { liar.sendFrame(3, 0, 0, 0, nil) }, "frame of type 3"},
	{"a frame of 200 MB", func(_ *testing.T, liar *Session, _, far *Conn) { liar.sendFrame(0, 0, far.id(), 200e6, nil) }, "frame of 200000000 bytes"},
	{"a message of 1 GB", func(_ *testing.T, liar *Session, _, _ *Conn) {
		_, _ = liar.control.Write([]byte{0x40, 0, 0, 0})
	}, "control message of 1073741824 bytes"},
	{"no JSON", func(_ *testing.T, liar *Session, _, _ *Conn) {
		_, _ = liar.control.Write([]byte{0, 0, 0, 1, '{'})
	}, "decode a control message"},
}

// managersLies are those that only who opens connections can tell.
var managersLies = []lie{
	{"a connection where one is", func(_ *testing.T, liar *Session, _, far *Conn) {
		liar.send(signalOpen, far.id(), openValue(1000, 1000), anyHeader...)
	}, "cannot carry it"},
	{"a connection with a huge credit of its own", func(_ *testing.T, liar *Session, _, far *Conn) {
		liar.send(signalOpen, far.id(), openValue(1000, 1<<31), anyHeader...)
	}, "begins with credits of 2147483648"},
	{"a connection with a huge credit for us", func(_ *testing.T, liar *Session, _, far *Conn) {
		liar.send(signalOpen, far.id(), openValue(1<<31, 1000), anyHeader...)
	}, "begins with credits of 1000 and 2147483648"},
	{"a connection with another header", func(_ *testing.T, liar *Session, _, far *Conn) {
		liar.send(signalOpen, far.id(), openValue(1000, 1000), bytes.Repeat([]byte{9}, HeaderSize)...)
	}, "header"},
	{"a drop of no stream", func(_ *testing.T, liar *Session, _, _ *Conn) { liar.send(signalDrop, 4444, 0) }, "dropped stream 4444"},
	{"streams without end", func(_ *testing.T, liar *Session, _, _ *Conn) {
		for range maxLanes + 10 {
			if _, err := liar.Open(Header{}); err != nil {
				return
			}
		}
	}, "opened more than 65536 streams"},
}

// TestLyingManager wants a laptop to end the session with one clear line, or to go on.
func TestLyingManager(t *testing.T) {
	for _, lie := range append(lies, managersLies...) {
		t.Run(lie.name, func(t *testing.T) {
			client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
			near, far := newStreams(t, client, server)
			lie.tell(t, server, near, far)
			lie.check(t, client, server)
		})
	}
}

// TestLyingLaptop wants the same of a manager.
func TestLyingLaptop(t *testing.T) {
	opens := lie{"a connection of the laptop's", func(_ *testing.T, liar *Session, _, far *Conn) {
		liar.send(signalOpen, far.id(), openValue(1000, 1000), anyHeader...)
	}, "the laptop opened a connection"}

	for _, lie := range append(lies, opens) {
		t.Run(lie.name, func(t *testing.T) {
			client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
			near, far := newStreams(t, client, server)
			lie.tell(t, client, far, near)
			lie.check(t, server, client)
		})
	}
}

// check wants a session to end with the error that is wanted, or to work.
func (l lie) check(t *testing.T, s, liar *Session) {
	t.Helper()
	if l.want == "" {
		if err := liar.Call(t.Context(), "x", nil, nil); err == nil || !strings.Contains(err.Error(), "takes no requests") {
			t.Errorf("call = %v, want an answer; the session ended with %v", err, s.Err())
		}
		return
	}

	waitFor(t, "the session to end", s.Done())
	if got := s.Err().Error(); !strings.Contains(got, l.want) || strings.Contains(got, "\n") {
		t.Errorf("the session ended with %q, want a line with %q", got, l.want)
	}
	waitFor(t, "the liar's session to end", liar.Done())
}

// TestFloods has a peer send without end what costs it nothing: what this side holds is bounded.
func TestFloods(t *testing.T) {
	small := SessionOptions{Budget: NewBudget(1<<20, 0), Buffer: 1 << 20}

	t.Run("data beyond the credit", func(t *testing.T) {
		client, server := newSessions(t, small, SessionOptions{}, nil)
		_, far := newStreams(t, client, server)
		far.mu.Lock()
		far.limit = 1 << 40
		far.mu.Unlock()
		_, _ = io.Copy(far, zeroReader{})
		waitFor(t, "the laptop to end the session", client.Done())
		if got := client.Err().Error(); !strings.Contains(got, "more than it may") {
			t.Errorf("the session ended with %q", got)
		}
		if held := client.held.count; held > 8<<20 {
			t.Errorf("%d bytes are held, want a few MiB", held)
		}
	})

	t.Run("requests", func(t *testing.T) {
		stuck := small
		stuck.Handle = func(ctx context.Context, _ string, _ json.RawMessage) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		client, server := newSessions(t, stuck, SessionOptions{}, nil)
		for range maxRequests + 1 {
			if err := server.sendMessage(message{Kind: kindRequest, ID: 1, Name: "x"}); err != nil {
				break
			}
		}
		waitFor(t, "the laptop to end the session", client.Done())
		if got := client.Err().Error(); !strings.Contains(got, "requests at once") {
			t.Errorf("the session ended with %q", got)
		}
	})

	t.Run("questions whose answers it does not read", func(t *testing.T) {
		var gate *gateConn
		client, server := newSessions(t, small, SessionOptions{}, func(a, b net.Conn) (net.Conn, net.Conn) {
			gate = newGateConn(a)
			return gate, b
		})
		_, far := newStreams(t, client, server)
		gate.stopWrites() // nothing of the laptop's gets out any more
		go func() {
			ask := bytes.Repeat(signal{kind: signalRevoke, stream: far.id()}.appendTo(nil), 1000)
			for server.ctx.Err() == nil {
				if _, err := server.signals.stream.Write(ask); err != nil {
					return
				}
			}
		}()

		waitFor(t, "the laptop to end the session", client.Done())
		client.signals.mu.Lock()
		pending := cap(client.signals.pending)
		client.signals.mu.Unlock()
		if got := client.Err().Error(); !strings.Contains(got, "more than it may") || pending > 2*maxPending {
			t.Errorf("%d bytes of signals were left when the session ended with %q", pending, got)
		}
	})
}

// gateConn lets writes through until it is told to stop. Close ends those that wait.
type gateConn struct {
	net.Conn
	stopped, closed chan struct{}
	once            sync.Once
}

func newGateConn(c net.Conn) *gateConn {
	return &gateConn{Conn: c, stopped: make(chan struct{}), closed: make(chan struct{})}
}

func (g *gateConn) stopWrites() { close(g.stopped) }

func (g *gateConn) Write(p []byte) (int, error) {
	if wire.IsClosed(g.stopped) {
		<-g.closed
		return 0, net.ErrClosed
	}
	return g.Conn.Write(p)
}

func (g *gateConn) Close() error {
	g.once.Do(func() { close(g.closed) })
	return g.Conn.Close()
}

// TestLyingHello has a laptop say what no laptop says at first.
func TestLyingHello(t *testing.T) {
	c := newCutter(t)
	client, server := c.connect(t, SessionOptions{})
	far, err := server.Open(Header{})
	if err != nil {
		t.Fatal(err)
	}

	for name, said := range map[string]struct {
		hello
		answer string
	}{
		"an unknown kind":         {hello{kind: 7, id: client.id}, "the connection was cut"},
		"a session that is there": {hello{id: client.id}, "the connection was cut"},
		"another's session":       {hello{kind: helloResume, id: sessionID{1}}, errUnknownSession.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.hello(t, said.hello); err == nil || !strings.Contains(err.Error(), said.answer) {
				t.Errorf("answer %v, want %s", err, said.answer)
			}
			if _, err := far.Write([]byte("x")); err != nil || server.Err() != nil {
				t.Errorf("the session of the others: %v, %v", err, server.Err())
			}
		})
	}

	t.Run("more received than was sent", func(t *testing.T) {
		_ = c.hello(t, hello{helloResume, client.id, 1 << 60})
		waitFor(t, "the manager to end the session", server.Done())
		if got := server.Err().Error(); !strings.Contains(got, "were sent") {
			t.Errorf("the session ended with %q", got)
		}
	})
}

// hello says hello to the cutter's host, and returns the error of the answer.
func (c *cutter) hello(t *testing.T, h hello) error {
	near, far := tcpPair(t)
	c.serve.Go(func() { _, _ = c.host.receive(context.WithoutCancel(t.Context()), far, SessionOptions{}) })
	conn, _, err := credential{c.host.user, c.host.hash}.join(t.Context(), near, h)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// FuzzSignals reads random signals: a session never panics, and ends or goes on.
func FuzzSignals(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add(signal{signalOpen, 2, openValue(1000, 1000), anyHeader}.appendTo(nil), false)
	f.Add(signal{kind: signalRevoke, stream: 2}.appendTo(signal{kind: signalReset, stream: 2}.appendTo(nil)), true)

	f.Fuzz(func(t *testing.T, sent []byte, opens bool) {
		client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
		near, far := newStreams(t, client, server)
		liar, victim := server, client
		if opens {
			liar, victim, near = client, server, far
		}

		_, _ = liar.signals.stream.Write(sent)
		_ = liar.Close()
		waitFor(t, "the session to end", victim.Done())
		if _, err := io.Copy(io.Discard, near); err == nil && !bytes.Contains(sent, []byte{byte(signalEnd), 0, 0, 0}) {
			t.Error("an end that nobody sent")
		}
	})
}

// FuzzFrames has frames pass the guard however they are cut into pieces.
func FuzzFrames(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		dice := rand.New(rand.NewPCG(seed, 1))
		var all []byte
		var want, got int
		guard := frameGuard{arrived: func(n int) error { got += n; return nil }}
		for range dice.IntN(50) {
			length := dice.IntN(maxFrame + 1)
			kind := byte(dice.IntN(2))
			all = append(all, 0, kind, 0, 0, 0, 0, 0, 2)
			all = binary.BigEndian.AppendUint32(all, uint32(length))
			if kind == frameData {
				all = append(all, make([]byte, length)...)
				want += length
			}
		}

		for len(all) > 0 {
			n := min(1+dice.IntN(5000), len(all))
			if err := guard.check(all[:n]); err != nil {
				t.Fatal(err)
			}
			all = all[n:]
		}
		if got != want || guard.body != 0 || guard.have != 0 {
			t.Errorf("%d bytes of data counted, %d left, want %d", got, guard.body, want)
		}
	})
}

// TestRevokeOfFinished has the peer ask for credit back of a connection that has just finished: an
// answer would reach the lane's next connection and end the session.
func TestRevokeOfFinished(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	near, far := newStreams(t, client, server)
	_, _ = near.CloseWrite(), far.CloseWrite()
	_, _ = io.ReadAll(near)
	_, _ = io.ReadAll(far)
	waitUntilGone(t, client, server)

	for name, s := range map[string]*Session{"laptop": client, "manager": server} {
		conn := map[bool]*Conn{true: far, false: near}[s.opens]
		s.signals.mu.Lock()
		s.signals.writing = true // so that what is put stays
		s.signals.mu.Unlock()

		conn.handleRevoke(0)
		s.signals.mu.Lock()
		s.signals.writing = false
		if len(s.signals.pending) > 0 {
			t.Errorf("%s: answered %v", name, s.signals.pending)
		}
		s.signals.mu.Unlock()
	}
}

// TestCloseWriteEndsWrite ends the data while a Write waits for credit, which will not come then.
func TestCloseWriteEndsWrite(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	_, far := newStreams(t, client, server)
	done := make(chan error, 1)
	go func() {
		_, err := io.Copy(far, zeroReader{})
		done <- err
	}()

	waitUntil(t, "the credit to be used up", func() bool {
		far.mu.Lock()
		defer far.mu.Unlock()
		return far.sent == far.limit
	})
	if err := far.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("write = %v, want that it is closed", err)
		}
	case <-time.After(patience):
		t.Fatal("the Write waits for ever")
	}
}

// TestUnaccepted leaves thousands of connections unaccepted: the others go on.
func TestUnaccepted(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	near, far := newStreams(t, client, server)
	const many = 3 * streamsInFlight
	for i := range many {
		conn, err := server.Open(Header{Redirect: uint32(i)})
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			_ = conn.CloseWrite()
		}
	}

	exchangeRandom(t, near, far, 1, 4<<20)
	for i := range many {
		conn, err := client.Accept()
		if err != nil || conn.Header().Redirect != uint32(i) {
			t.Fatalf("connection %d: %+v, %v", i, conn, err)
		}
		conn.Reset()
	}
	for _, conn := range server.listConns() {
		conn.Reset()
	}
	waitUntilGone(t, client, server)
}

// TestErrorTexts has four things happen to a connection: each is told by its own clear line, from
// Client and from a session's end.
func TestErrorTexts(t *testing.T) {
	died := errors.New("the port-forward ended: container not running")
	stranger := newTestHost(t)
	check := func(t *testing.T, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "EOF") ||
			strings.Contains(err.Error(), "preface") {
			t.Errorf("error %q, want one with %q and in words", err, want)
		}
	}

	// at is what of Client's the trouble comes in: 0 is the challenge, 1 is TLS, 2 is the answer.
	begin := func(t *testing.T, at int, end error, refuse bool) error {
		host := newTestHost(t)
		near, far := tcpPair(t)
		go func() {
			server, err := host.receive(t.Context(), far, SessionOptions{})
			_ = far.Close()
			if err == nil {
				<-server.Done()
				_ = server.Close()
			}
		}()

		key := host.user
		if refuse {
			key = stranger.user
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		client, err := Client(ctx, newFailingConn(near, at, end), key, host.hash, SessionOptions{})
		if err == nil {
			_ = client.Close()
		}
		return err
	}

	for at, doing := range []string{"before the challenge", "in TLS", "before the answer"} {
		t.Run(doing, func(t *testing.T) {
			cut := []string{"cut before the manager said", "connection was cut", "connection was cut"}
			check(t, begin(t, at, io.EOF, false), cut[at])
			check(t, begin(t, at, died, false), died.Error())
			check(t, begin(t, at, nil, false), "did not answer in time")
		})
	}
	t.Run("a refused key", func(t *testing.T) {
		check(t, begin(t, 99, nil, true), "rejected this user's key")
	})
	t.Run("a key that TLS refuses", func(t *testing.T) { check(t, refusedByTLS(t), "refused this user's key") })

	for _, c := range []struct {
		name, want string
		end        error
	}{{"cut", "connection lost: the connection was cut", io.EOF}, {"died", died.Error(), died}, {"silent", "nothing came from the peer for", nil}} {
		t.Run("a session: "+c.name, func(t *testing.T) {
			var conn *failingConn
			client, _ := newSessions(t, SessionOptions{Heartbeat: time.Hour, Dead: 100 * time.Millisecond}, SessionOptions{},
				func(a, b net.Conn) (net.Conn, net.Conn) {
					conn = newFailingConn(a, 1e6, c.end)
					return conn, b
				})
			conn.failNow()
			waitFor(t, "the session to end", client.Done())
			check(t, client.Err(), c.want)
		})
	}
}

// refusedByTLS returns the error of a laptop with the key of a stranger, without a door.
func refusedByTLS(t *testing.T) error {
	host := newTestHost(t)
	near, far := tcpPair(t)
	go func() { _, _ = host.host.Receive(t.Context(), far, SessionOptions{}) }()

	config, err := ClientTLS(newKey(t), host.hash)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = sayHello(t.Context(), newTLSConn(near, config, tls.Client), hello{})
	return err
}

// failingConn lets some Reads through. The next ones return an error, or nothing if it is nil.
type failingConn struct {
	net.Conn
	reads  atomic.Int64
	err    error
	closed chan struct{}
	once   sync.Once
}

func newFailingConn(c net.Conn, reads int, err error) *failingConn {
	f := &failingConn{Conn: c, err: err, closed: make(chan struct{})}
	f.reads.Store(int64(reads))
	return f
}

// failNow ends a Read that waits, as the next ones.
func (f *failingConn) failNow() {
	f.reads.Store(-1)
	_ = f.SetReadDeadline(time.Unix(1, 0))
}

func (f *failingConn) Read(p []byte) (int, error) {
	if f.reads.Add(-1) >= 0 {
		n, err := f.Conn.Read(p)
		if f.reads.Load() >= 0 {
			return n, err
		}
	}
	if f.err == nil {
		<-f.closed
		return 0, net.ErrClosed
	}
	return 0, f.err
}

func (f *failingConn) Close() error {
	f.once.Do(func() { close(f.closed) })
	return f.Conn.Close()
}
