package mux

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// soakSize returns how many connections TestSoak makes. KDIAG_SOAK says another number.
func soakSize(t *testing.T) int {
	t.Helper()
	text := os.Getenv("KDIAG_SOAK")
	switch {
	case text == "" && testing.Short():
		return 2000
	case text == "":
		return 20000
	}

	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSoak makes connections of random sizes with random ends on either side, many at once, while
// the connection below is cut at random moments. Each must end on one side as it did on the other,
// and leave nothing behind.
func TestSoak(t *testing.T) {
	many := soakSize(t)
	c := newCutter(t)
	client, server := c.connect(t, SessionOptions{Budget: NewBudget(10<<20, 0)})
	stop, stopped := make(chan struct{}), make(chan int)
	go func() { stopped <- c.cutAtRandom(stop) }()

	s := newSoak(t, client, server)
	s.run(0, many/4)
	early := heapInUse()
	s.run(many/4, many)
	close(stop)
	t.Logf("%d connections, %d cuts; ends seen: %v", many, <-stopped, s.seen)

	waitUntilGone(t, client, server)
	if late := heapInUse(); late > early+16<<20 {
		t.Errorf("the heap grew from %d to %d bytes", early, late)
	}
	checkStreams(t, client, server)
	for _, session := range []*Session{client, server} {
		if held := session.held.count; held != 0 {
			t.Errorf("%d bytes count as held that were read", held)
		}
	}
}

// cutAtRandom cuts the connection at random moments until stop closes, and returns how often.
func (c *cutter) cutAtRandom(stop <-chan struct{}) (cuts int) {
	dice := rand.New(rand.NewPCG(3, 4))
	for {
		select {
		case <-stop:
			return cuts
		case <-time.After(time.Duration(dice.IntN(200)) * time.Millisecond): // a random moment
			c.cut(dice.IntN(2))
			cuts++
		}
	}
}

// checkStreams wants yamux to know no streams but the lanes and the session's own.
func checkStreams(t *testing.T, client, server *Session) {
	t.Helper()
	waitUntil(t, "yamux to forget its streams", func() bool {
		server.mu.Lock()
		lanes := len(server.lanes)
		server.mu.Unlock()
		return client.yamux.NumStreams() <= 2+lanes && server.yamux.NumStreams() <= 2+lanes
	})
}

func heapInUse() uint64 {
	var m runtime.MemStats
	for range 3 { // pools take two collections
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A soak runs connections between two sessions.
type soak struct {
	t              *testing.T
	client, server *Session
	pattern        []byte

	mu      sync.Mutex
	waiting map[uint32]chan *Conn
	seen    map[string]int
}

func newSoak(t *testing.T, client, server *Session) *soak {
	s := &soak{t: t, client: client, server: server, waiting: map[uint32]chan *Conn{}, seen: map[string]int{}}
	s.pattern = make([]byte, 4<<20)
	source := rand.NewChaCha8([32]byte{5})
	_, _ = source.Read(s.pattern)

	go func() {
		for {
			conn, err := client.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.waiting[conn.Header().Redirect] <- conn
			s.mu.Unlock()
		}
	}()
	return s
}

// run makes the connections with these numbers, 100 at once.
func (s *soak) run(from, to int) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range 100 {
		workers.Go(func() {
			for i := range next {
				s.runPair(uint32(i))
			}
		})
	}

	for i := from; i < to && !s.t.Failed(); i++ {
		next <- i
	}
	close(next)

	done := make(chan struct{})
	go func() { defer close(done); workers.Wait() }()
	waitFor(s.t, "all connections to end", done)
}

// runPair has both ends of one connection behave at random, and compares how they ended.
func (s *soak) runPair(number uint32) {
	came := make(chan *Conn, 1)
	s.mu.Lock()
	s.waiting[number] = came
	s.mu.Unlock()

	far, err := s.server.Open(Header{Redirect: number})
	if err != nil {
		s.t.Error(err)
		return
	}
	near := <-came

	dice := rand.New(rand.NewPCG(uint64(number), 7))
	a := s.newEnd(near, dice, kindsOfEnds)
	b := s.newEnd(far, dice, kindsOfEnds-1) // two that wait for each other's end never do
	var both sync.WaitGroup
	both.Go(a.run)
	both.Go(b.run)
	both.Wait()

	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, number)
	for _, failure := range []string{compareEnds(a, b), compareEnds(b, a)} {
		if failure != "" {
			s.t.Errorf("connection %d: %s", number, failure)
		}
	}
	s.seen[fmt.Sprint(a.readErr)]++
	s.seen[fmt.Sprint(b.readErr)]++
}

// soakKind says how one end behaves.
type soakKind int

const (
	soakExchange soakKind = iota // sends and reads all at once
	soakSlow                     // reads in small pieces with pauses
	soakReset                    // sends, and then resets
	soakSilent                   // does nothing for a while, and then resets
	soakBlind                    // sends and closes without having read
	soakAnswer                   // reads all, and then answers
	kindsOfEnds
)

// soakEnd is one end of a connection, and what it did and saw.
type soakEnd struct {
	conn    *Conn
	kind    soakKind
	size    int
	pattern []byte // that it sends
	want    []byte // that it reads

	wrote   int
	ended   bool // CloseWrite has worked
	aborted bool // it has reset
	read    int
	readErr error // nil if it has not read to the end
	differs bool
}

func (s *soak) newEnd(conn *Conn, dice *rand.Rand, kinds soakKind) *soakEnd {
	e := &soakEnd{conn: conn, kind: soakKind(dice.IntN(int(kinds)))}
	switch dice.IntN(20) {
	case 0:
		e.size = dice.IntN(1 << 20)
	case 1, 2, 3:
		e.size = dice.IntN(100 << 10)
	default:
		e.size = dice.IntN(3000)
	}
	if e.kind == soakBlind {
		e.size %= minWindow // more could wait for ever
	}

	mine, others := 0, 1000
	if conn.session.opens {
		mine, others = others, mine
	}
	number := int(conn.Header().Redirect) % 4096
	e.pattern, e.want = s.pattern[number+mine:], s.pattern[number+others:]
	return e
}

func (e *soakEnd) run() {
	var reading sync.WaitGroup
	switch e.kind {
	case soakExchange, soakSlow:
		reading.Go(e.readAll)
		e.write(true)
	case soakReset:
		reading.Go(e.readAll)
		e.write(false)
		e.reset()
	case soakSilent:
		time.Sleep(time.Duration(e.size) * time.Microsecond) // the other end goes on
		e.reset()
	case soakBlind:
		e.write(true)
		e.aborted = true
	case soakAnswer:
		e.readAll()
		e.write(true)
	}

	reading.Wait()
	_ = e.conn.Close()
}

func (e *soakEnd) reset() {
	e.aborted = true
	e.conn.Reset()
}

// write sends what the end has to say, in random pieces.
func (e *soakEnd) write(end bool) {
	for e.wrote < e.size {
		piece := min(1+(e.wrote*7+e.size)%9000, e.size-e.wrote)
		n, err := e.conn.Write(e.pattern[e.wrote : e.wrote+piece])
		e.wrote += n
		if err != nil {
			return
		}
	}
	if end {
		e.ended = e.conn.CloseWrite() == nil
	}
}

// readAll reads to the end and compares.
func (e *soakEnd) readAll() {
	buffer := make([]byte, 16<<10)
	if e.kind == soakSlow {
		buffer = buffer[:1500]
	}
	for {
		n, err := e.conn.Read(buffer)
		if !bytes.Equal(buffer[:n], e.want[e.read:e.read+n]) {
			e.differs = true
		}
		e.read += n
		if err != nil {
			e.readErr = err
			return
		}
		if e.kind == soakSlow && n == len(buffer) {
			time.Sleep(time.Millisecond) // it is slow
		}
	}
}

// compareEnds says what is wrong with what one end has read of the other.
func compareEnds(from, to *soakEnd) string {
	wrong := ""
	switch {
	case to.differs:
		wrong = "other bytes"
	case to.read > from.wrote:
		wrong = "more than was sent"
	case to.readErr == nil:
	case errors.Is(to.readErr, io.EOF):
		if !from.ended || to.read != from.wrote {
			wrong = "a clean end"
		}
	case errors.Is(to.readErr, ErrReset):
		if from.ended || to.read != from.wrote {
			wrong = "a reset"
		}
	case !errors.Is(to.readErr, errAborted) || !to.aborted:
		wrong = "another end"
	}
	if wrong == "" {
		return ""
	}
	return fmt.Sprintf("%s: read %d bytes, %v, of %d that were sent; ended %v, aborted %v, kinds %d and %d",
		wrong, to.read, to.readErr, from.wrote, from.ended, from.aborted, from.kind, to.kind)
}

// TestCloseUnderLoad closes a session on which much is under way, from either side. The other one
// must learn that it was closed: it would wait for a lost one.
func TestCloseUnderLoad(t *testing.T) {
	for i := range 20 {
		c := newCutter(t)
		client, server := c.connect(t, SessionOptions{})
		var copies sync.WaitGroup
		for range 8 {
			near, far := newStreams(t, client, server)
			for _, conn := range []*Conn{near, far} {
				copies.Go(func() { _, _ = io.Copy(conn, zeroReader{}) })
				copies.Go(func() { _, _ = io.Copy(io.Discard, conn) })
			}
		}

		closing, other := client, server
		if i%2 == 1 {
			closing, other = server, client
		}
		copies.Go(func() {
			for goesOn := true; goesOn; {
				goesOn = closing.Notify("goes on during Close", 1) == nil
			}
		})
		waitUntil(t, "much to be under way", func() bool { return other.link.Received() > 1<<20 })
		_ = closing.Close()
		waitFor(t, "the other side to notice", other.Done())
		if !errors.Is(other.Err(), ErrPeerEnded) {
			t.Errorf("round %d: the other side ended with %v, want ErrPeerEnded", i, other.Err())
		}
		_ = other.Close()
		copies.Wait()
	}
}

// TestEndOutlivesSession ends connections and then the session at once. Those that came to their
// end count as ended, also for who reads later; the others do not.
func TestEndOutlivesSession(t *testing.T) {
	host := newTestHost(t)
	for round := range 50 {
		a, b := tcpPair(t)
		client, server := host.connect(t, a, b, SessionOptions{}, SessionOptions{})
		var nears []*Conn
		var reading sync.WaitGroup
		check := func(i int, near *Conn) {
			got, err := io.ReadAll(near)
			if ended := i%2 == 0; len(got) != 1000 || ended != (err == nil) || !ended && !errors.Is(err, ErrReset) {
				t.Errorf("round %d, connection %d: %d bytes, %v", round, i, len(got), err)
			}
		}
		for i := range 20 {
			near, far := newStreams(t, client, server)
			nears = append(nears, near)
			if i < 10 {
				reading.Go(func() { check(i, near) })
			}
			_, _ = far.Write(make([]byte, 1000))
			if i%2 == 0 {
				_ = far.CloseWrite()
			}
		}

		_ = server.Close()
		reading.Wait()
		for i := 10; i < 20; i++ {
			check(i, nears[i])
		}
		_ = client.Close()
	}
}

// TestEndBeforeSignalsAreRead has a connection read to its end when the session is over, and the
// signal of its end has come but was not yet obeyed.
func TestEndBeforeSignalsAreRead(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	slow, slowFar := newStreams(t, client, server)
	near, far := newStreams(t, client, server)

	slow.mu.Lock() // the signals wait for this connection
	server.send(signalCredit, slowFar.id(), 1)
	_, _ = far.Write([]byte("all"))
	_ = far.CloseWrite()
	_ = server.Close()
	waitUntil(t, "the link to end", func() bool { return client.carrier.readError() != nil })

	read := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(near)
		read <- err
	}()
	for range 1000 {
		runtime.Gosched() // a Read that does not wait is over by then
	}
	slow.mu.Unlock()
	if err := <-read; err != nil {
		t.Errorf("read = %v, want a clean end", err)
	}
}

// TestLateLoss tells a session that a connection was lost which it has replaced meanwhile: the
// grace must not begin.
func TestLateLoss(t *testing.T) {
	c := newCutter(t)
	client, server := c.connect(t, SessionOptions{})
	for range 20 {
		c.cut(0)
		near, far := newStreams(t, client, server)
		exchangePiece(t, near, far)
		server.handleLost(net.ErrClosed)
		client.handleLost(net.ErrClosed)
		for _, s := range []*Session{client, server} {
			s.outage.mu.Lock()
			if s.outage.lost && s.link.Connected() {
				t.Error("the session takes its connection for lost")
			}
			s.outage.mu.Unlock()
		}
	}
}

// TestCloseDuringOutage closes a session that has no connection: at once, whatever Redial does.
func TestCloseDuringOutage(t *testing.T) {
	for _, end := range []string{"laptop", "manager"} {
		t.Run(end, func(t *testing.T) {
			c := newCutter(t)
			trying := make(chan struct{}, 100)
			client, server := c.connectBy(t, SessionOptions{}, hangingDial(trying))
			near, far := newStreams(t, client, server)
			c.cut(0)
			<-trying

			s, conn := client, near
			if end == "manager" {
				waitUntil(t, "the manager to notice", func() bool { return !server.Connected() })
				s, conn = server, far
			}
			done := make(chan struct{})
			go func() { defer close(done); _ = s.Close() }()
			waitFor(t, "Close", done)
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
				t.Errorf("read = %v, want ErrReset", err)
			}
			waitUntil(t, "the timer of the grace to be stopped", func() bool {
				s.outage.mu.Lock()
				defer s.outage.mu.Unlock()
				return s.outage.expiry == nil
			})
		})
	}
}
