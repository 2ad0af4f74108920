package mux

import (
	"errors"
	"io"
	"sync"
	"testing"
)

// manyInARow returns how many connections tests make that want memory to stay flat. The long run of
// KDIAG_SOAK makes a million.
func manyInARow(t *testing.T) int {
	t.Helper()
	switch n := soakSize(t); {
	case n > 20000:
		return 1e6
	case n < 20000:
		return 20000
	}
	return 200000
}

// TestEndBeforeAccept makes connections in a row that end before they are accepted, of which half
// are reset, beside 1,024 half-closed ones that live on. Memory, yamux's maps and the stream ids
// stay as they are.
func TestEndBeforeAccept(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	var living []*Conn
	for range streamsInFlight {
		near, far := newStreams(t, client, server)
		_ = far.CloseWrite()
		living = append(living, near, far)
	}

	churn := func(many int) {
		const batch = 100
		for range many / batch {
			for i := range batch {
				far, err := server.Open(Header{})
				if err != nil {
					t.Fatal(err)
				}
				if i%2 == 0 {
					_ = far.CloseWrite()
				}
				far.Reset()
			}
			for range batch {
				near, err := client.Accept()
				if err != nil {
					t.Fatal(err)
				}
				_ = near.Close()
			}
			// The laptop's side may be behind, which says nothing about ids.
			waitUntil(t, "the last but one batch to be gone", func() bool { return countConns(server) <= streamsInFlight+batch })
		}
	}

	many := manyInARow(t)
	churn(many / 10)
	heap, ids := heapInUse(), server.highestID()
	churn(many)
	waitUntil(t, "all but those that live to be gone", func() bool { return countConns(server) == streamsInFlight })
	if now := heapInUse(); now > heap+4<<20 {
		t.Errorf("the heap grew from %d to %d bytes", heap, now)
	}
	if now := server.highestID(); now > ids+1000 {
		t.Errorf("stream ids went from %d to %d", ids, now)
	}

	for _, conn := range living {
		_ = conn.Close()
	}
	waitUntilGone(t, client, server)
	checkStreams(t, client, server)
}

// highestID returns the highest id of a lane.
func (s *Session) highestID() (highest uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.lanes {
		highest = max(highest, id)
	}
	return highest
}

// TestStreamIDs counts the ids that a minute takes in which the house is kept 60 times, connections
// come 50 at once, and then in a burst of 2,000: no more than were trimmed meanwhile, however many
// connections there are.
func TestStreamIDs(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	burst := func(atOnce int) {
		var both sync.WaitGroup
		for range atOnce {
			near, far := newStreams(t, client, server)
			both.Go(func() { _ = far.CloseWrite(); _, _ = io.ReadAll(far) })
			both.Go(func() { _, _ = io.ReadAll(near); _ = near.CloseWrite() })
		}
		both.Wait()
		waitUntilGone(t, client, server)
	}

	burst(2000)
	before := server.highestID()
	made := 0
	for range 60 {
		server.trimLanes()
		burst(50)
		made += 50
	}
	burst(2000) // what was trimmed is opened anew

	used := uint64(server.highestID()-before) / 2
	days := float64(1<<31) / float64(used*60*24)
	t.Logf("%d connections in a minute took %d ids: 2^31 of them last for %.0f days", made+2000, used, days)
	if used > 60*trimmedAtOnce || days < 365 {
		t.Errorf("a minute takes %d ids, want %d at most", used, 60*trimmedAtOnce)
	}

	t.Run("in a row", func(t *testing.T) {
		lanes, one := server.highestID(), make([]byte, 1)
		var batch [50]struct{ near, far *Conn }
		for range manyInARow(t) * 3 / 2 / len(batch) {
			for i := range batch {
				batch[i].near, batch[i].far = newStreams(t, client, server)
				_ = batch[i].far.CloseWrite()
			}
			for _, pair := range batch {
				_ = pair.near.CloseWrite()
				_, _ = pair.near.Read(one)
			}
			for _, pair := range batch {
				_, _ = pair.far.Read(one)
			}
		}
		if now := server.highestID(); now > lanes+2*10*trimmedAtOnce {
			t.Errorf("ids went from %d to %d", lanes, now)
		}
	})
	checkStreams(t, client, server)
}

// TestTrimming wants unused streams closed on both sides, a few at a time.
func TestTrimming(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	for range 300 {
		_, far := newStreams(t, client, server)
		far.Reset()
	}
	for _, conn := range client.listConns() {
		_ = conn.Close()
	}
	waitUntilGone(t, client, server)
	for range 300/trimmedAtOnce + 2 {
		server.trimLanes()
	}

	waitUntil(t, "both sides to forget the streams", func() bool {
		client.mu.Lock()
		defer client.mu.Unlock()
		return len(client.lanes) == 0 && client.yamux.NumStreams() == 2 && server.yamux.NumStreams() == 2
	})
	near, far := newStreams(t, client, server)
	exchangePiece(t, near, far)
}

// TestResetBringsData writes, and resets at once, with a reader that is behind: everything arrives,
// then the reset.
func TestResetBringsData(t *testing.T) {
	client, server := newSessions(t, SessionOptions{}, SessionOptions{}, nil)
	for i := range 1000 {
		near, far := newStreams(t, client, server)
		from, to := near, far
		if i%2 == 0 {
			from, to = far, near
		}
		want := patternOf(i, 1+i*97%60000)
		if _, err := from.Write(want); err != nil {
			t.Fatal(err)
		}
		from.Reset()
		if i%3 == 0 {
			<-to.PeerReset() // the reset is there before anybody reads
		}

		got, err := io.ReadAll(to)
		if string(got) != string(want) || !errors.Is(err, ErrReset) {
			t.Fatalf("round %d: %d bytes of %d, %v, want all and a reset", i, len(got), len(want), err)
		}
	}
	waitUntilGone(t, client, server)
}
