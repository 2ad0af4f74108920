package netfilter

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// nameServerPort is where the tests ask by UDP.
const nameServerPort = 53

// serveUDP answers each datagram with itself, until the test ends.
func serveUDP(t testing.TB, ns namespace) {
	t.Helper()
	var conn net.PacketConn
	err := ns.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", fmt.Sprintf(":%d", nameServerPort))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })

	_ = conn.(*net.UDPConn).SetReadBuffer(4 << 20)
	for range 4 {
		go func() {
			buffer := make([]byte, 512)
			for {
				n, from, err := conn.ReadFrom(buffer)
				if err != nil {
					return
				}
				_, _ = conn.WriteTo(buffer[:n], from)
			}
		}()
	}
}

// askUDP asks again and again from new sockets until stop closes, and counts questions and those
// without an answer.
func askUDP(t testing.TB, from namespace, stop <-chan struct{}, asked, lost *atomic.Int64) {
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}

		var conn net.Conn
		err := from.Do(func() (err error) {
			conn, err = net.Dial("udp", net.JoinHostPort([]string{pod4, pod6}[i%2], fmt.Sprint(nameServerPort)))
			return err
		})
		if err != nil {
			t.Error(err)
			return
		}

		for range 100 {
			_ = conn.SetDeadline(time.Now().Add(waitTimeout))
			_, err := conn.Write([]byte("who is it?"))
			if err == nil {
				_, err = conn.Read(make([]byte, 64))
			}
			asked.Add(1)
			if err != nil {
				lost.Add(1)
			}
		}
		_ = conn.Close()
	}
}

// TestUDPLosesNothing starts and stops redirects again and again beside a name server that answers
// many queries, of which none is lost.
func TestUDPLosesNothing(t *testing.T) {
	pod, outside := newPod(t)
	serveUDP(t, pod)

	var asked, lost atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() { askUDP(t, outside, stop, &asked, &lost) })
	}

	const starts, queries = 20, 30000
	for i := 0; i < starts || asked.Load() < queries; i++ {
		b, err := Open("nft", Config{ID: "udp", Mark: testMark})
		if err != nil {
			t.Error(err)
			break
		}
		if err := b.Attach(Redirect{Direction: Incoming, Port: appPort, Listener: listener, Holder: "me@here"}); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}

	close(stop)
	all.Wait()
	if lost.Load() != 0 {
		t.Errorf("%d of %d queries were lost, want none", lost.Load(), asked.Load())
	}
	t.Logf("%d queries", asked.Load())
}

// TestUDPStaysUntracked has no entry of a query in conntrack, unless others have rules in the
// namespace, whose needs nobody knows.
func TestUDPStaysUntracked(t *testing.T) {
	for name, c := range map[string]struct {
		others string
		want   bool // that UDP is tracked
	}{
		"alone":              {"", false},
		"beside other rules": {"table ip nat {\nchain output {\ntype nat hook output priority -100\n}\n}", true},
	} {
		t.Run(name, func(t *testing.T) {
			pod, outside := newPod(t)
			if c.others != "" {
				pod.Run(t, "nft", c.others)
			}
			serveUDP(t, pod)
			b, err := Open("nft", Config{ID: "udp", Mark: testMark})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.Close() })
			attachAll(t, b, Redirect{Direction: Incoming, Port: appPort, Listener: listener, Holder: "me@here"})
			startServer(t, pod, listener, greetWithDestination)

			askOnce(t, outside)
			wantGreeting(t, outside, 0, net.JoinHostPort(pod4, fmt.Sprint(appPort)), "redirected from "+net.JoinHostPort(pod4, fmt.Sprint(appPort)))

			entries := pod.Run(t, "conntrack", "-L")
			if got := strings.Contains(entries, "udp"); got != c.want {
				t.Errorf("UDP is tracked: %t, want %t:\n%s", got, c.want, entries)
			}
			if !strings.Contains(entries, "tcp") {
				t.Errorf("the redirected connection is not tracked:\n%s", entries)
			}
		})
	}
}

// askOnce asks one question, which must be answered.
func askOnce(t *testing.T, from namespace) {
	t.Helper()
	err := from.Do(func() error {
		conn, err := net.Dial("udp", net.JoinHostPort(pod4, fmt.Sprint(nameServerPort)))
		if err != nil {
			return err
		}
		defer conn.Close()

		_ = conn.SetDeadline(time.Now().Add(waitTimeout))
		if _, err := conn.Write([]byte("who is it?")); err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 64))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTrackRoom(t *testing.T) {
	const text = "sockets: used 9\nTCP: inuse 30 orphan 0 tw 4 alloc 5 mem 1\nUDP: inuse 10 mem 3\nRAW: inuse 7\nFRAG: inuse 0 memory 0\n"
	if got := parseSockstat(text); got != 40 {
		t.Errorf("parseSockstat = %d, want 40", got)
	}

	for room, want := range map[TrackRoom]bool{
		{Max: 100, Count: 20, Sockets: 40}: false,
		{Max: 100, Count: 20, Sockets: 41}: true,
		{Sockets: 41}:                      false,
	} {
		if got := room.Scarce(); got != want {
			t.Errorf("%+v: scarce %t, want %t", room, got, want)
		}
	}

	newPod(t)
	room, err := ReadTrackRoom()
	if err != nil || room.Max == 0 {
		t.Errorf("ReadTrackRoom = %+v, %v, want the node's maximum", room, err)
	}
}
