//go:build soak

package integration

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// soakEnding is how a connection of TestSoakConnections ends.
type soakEnding uint8

const (
	answerWhole   soakEnding = iota // the program sends all and ends its data
	answerSlowly                    // the same, in pieces
	answerReset                     // the program sends all and resets
	requestWhole                    // the caller sends all and ends its data; the program says how much came
	requestReset                    // the caller sends all and resets
	silentRequest                   // nobody says anything; the caller ends
	soakEndings
)

// soakConnection is one connection. The caller's first bytes name it to the program.
type soakConnection struct {
	ending soakEnding
	size   int
	ended  chan error // how it went for the program
}

// soakConnections are all that are under way.
type soakConnections struct {
	mu     sync.Mutex
	byName map[uint32]*soakConnection
	data   []byte
}

// serve is the program on the laptop.
func (s *soakConnections) serve(conn *net.TCPConn) {
	defer conn.Close()
	kit.SetPatience(conn)
	var name [4]byte
	if _, err := io.ReadFull(conn, name[:]); err != nil {
		return // the caller says so
	}
	s.mu.Lock()
	c := s.byName[binary.BigEndian.Uint32(name[:])]
	s.mu.Unlock()
	if c != nil {
		c.ended <- s.answer(conn, c)
	}
}

// answer does the program's part of a connection, and returns what is wrong with the caller's.
func (s *soakConnections) answer(conn *net.TCPConn, c *soakConnection) error {
	switch c.ending {
	case answerReset:
		_, err := conn.Write(s.data[:c.size])
		_ = conn.SetLinger(0)
		return err
	case answerWhole, answerSlowly:
		piece := max(c.size, 1)
		if c.ending == answerSlowly {
			piece = c.size/4 + 1
		}
		for sent := 0; sent < c.size; sent += piece {
			if _, err := conn.Write(s.data[sent:min(sent+piece, c.size)]); err != nil {
				return err
			}
		}
		_ = conn.CloseWrite()
		return s.wantData(conn, 0, byEnd)
	case requestReset:
		return s.wantData(conn, c.size, byReset)
	default:
		if err := s.wantData(conn, c.size, byEnd); err != nil {
			return err
		}
		return binary.Write(conn, binary.BigEndian, uint32(c.size))
	}
}

// call is the caller in the cluster.
func (s *soakConnections) call(address string, name uint32, c *soakConnection) error {
	conn, err := kit.DialFrom(kit.NodeNetwork, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	kit.SetPatience(conn)
	if err := binary.Write(conn, binary.BigEndian, name); err != nil {
		return err
	}

	switch c.ending {
	case answerReset:
		return s.wantData(conn, c.size, byReset)
	case answerWhole, answerSlowly:
		return s.wantData(conn, c.size, byEnd)
	case requestReset:
		_, err := conn.Write(s.data[:c.size])
		_ = conn.SetLinger(0)
		return err
	default:
		if _, err := conn.Write(s.data[:c.size]); err != nil {
			return err
		}
		_ = conn.CloseWrite()
		var got uint32
		if err := binary.Read(conn, binary.BigEndian, &got); err != nil || got != uint32(c.size) {
			return fmt.Errorf("the program got %d bytes, %w", got, err)
		}
		return s.wantData(conn, 0, byEnd)
	}
}

// wantData reads to the end, and wants that many bytes of the data and this end. Of data that a reset
// follows TCP may drop some.
func (s *soakConnections) wantData(conn *net.TCPConn, size int, end string) error {
	got, err := io.ReadAll(conn)
	least := size
	if end == byReset {
		least = 0
	}
	if nameEnd(err) != end || len(got) < least || len(got) > size || !bytes.Equal(got, s.data[:len(got)]) {
		return fmt.Errorf("%d bytes and %s, want %d and %s", len(got), nameEnd(err), size, end)
	}
	return nil
}

// How a connection's data ends.
const (
	byEnd   = "an end"
	byReset = "a reset"
)

// nameEnd names how a read to the end has ended.
func nameEnd(err error) string {
	switch {
	case err == nil:
		return byEnd
	case errors.Is(err, syscall.ECONNRESET):
		return byReset
	}
	return err.Error()
}

// TestSoakConnections makes 200,000 connections of random sizes that end in all ways, while the
// connection to the API server is cut again and again. Each ends for both sides as it did for the other,
// and nothing is left of any.
func TestSoakConnections(t *testing.T) {
	t.Parallel()
	const many, callers = 200_000, 40
	namespace, app, _ := kit.CreateRedirPods(t)
	s := &soakConnections{byName: map[uint32]*soakConnection{}, data: make([]byte, 64<<10)}
	for i := range s.data {
		s.data[i] = byte(i * 7 >> 3)
	}
	program := kit.StartLocalServer(t, s.serve)
	netns := kit.FindPodNetwork(t, namespace, "app")
	rules := netns.Run(t, "nft", "list", "ruleset")
	proxy, through := kit.StartProxy(t)
	redir := kit.StartRedirects(t, 1, append([]string{"-n", namespace, "app", "7000:" + program.Port, "-q", "--on-disconnect=hold"}, through...)...)
	pid := kit.FindNetManager(t, namespace)

	var next atomic.Uint32
	run := func(total uint32) {
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				for name := next.Add(1); name <= total && !t.Failed(); name = next.Add(1) {
					s.tryOne(t, app+":7000", name)
				}
			})
		}
		all.Wait()
	}

	run(2000)
	kit.WaitUntil(t, "the first connections to be gone", func() bool { return kit.CountConnections(pid) == 0 })
	files := kit.CountDescriptors(pid)
	stop, cut := make(chan struct{}), make(chan int)
	go func() {
		cuts := 0
		for {
			select {
			case <-stop:
				cut <- cuts
				return
			case <-time.After(time.Duration(500+rand.IntN(4000)) * time.Millisecond): // a random moment
				proxy.DropConnections()
				cuts++
			}
		}
	}()
	began := time.Now()
	run(many)
	close(stop)
	t.Logf("%d connections in %s, %d cuts", many, time.Since(began), <-cut)

	kit.WaitUntil(t, "all connections to be gone", func() bool { return kit.CountConnections(pid) == 0 && kit.CountDescriptors(pid) <= files })
	most := kit.ReadAnonymousMemory(t, pid)
	if t.Logf("the manager's anonymous memory: %d KiB", most); most > maxManagerMemory {
		t.Errorf("the manager has %d KiB of anonymous memory, over %d", most, maxManagerMemory)
	}
	if got := redir.Interrupt(); got.Code != 0 {
		t.Errorf("redir: %v, want code 0", got)
	}
	kit.WaitUntil(t, "the rules to go", func() bool { return netns.Run(t, "nft", "list", "ruleset") == rules })
	kit.WaitUntil(t, "no established entry in conntrack", func() bool {
		return !strings.Contains(netns.Run(t, "conntrack", "-L", "-p", "tcp", "--state", "ESTABLISHED", "--dport", "7000"), "dport=7000")
	})
}

// tryOne makes one connection, and wants both sides content.
func (s *soakConnections) tryOne(t *testing.T, address string, name uint32) {
	dice := rand.New(rand.NewPCG(uint64(name), 1))
	c := &soakConnection{ended: make(chan error, 1), size: dice.IntN(1 << dice.IntN(16)), ending: soakEnding(dice.IntN(int(soakEndings)))}
	if c.ending == silentRequest {
		c.size = 0
	}
	s.mu.Lock()
	s.byName[name] = c
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.byName, name)
	}()

	err := s.call(address, name, c)
	if err != nil {
		t.Errorf("connection %d of %d bytes that ends by %d: the caller: %v", name, c.size, c.ending, err)
		return
	}
	if c.ending == requestReset {
		// A reset may overtake even the name, which TCP then drops.
		select {
		case err = <-c.ended:
		case <-time.After(time.Second):
			return
		}
	} else {
		select {
		case err = <-c.ended:
		case <-time.After(time.Minute):
			err = errors.New("it has not ended")
		}
	}
	if err != nil {
		t.Errorf("connection %d of %d bytes that ends by %d: the program: %v", name, c.size, c.ending, err)
	}
}
