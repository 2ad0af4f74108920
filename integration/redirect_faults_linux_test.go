package integration

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// TestRedirProgramReturns has the program on the laptop die and come back: callers are refused
// meanwhile, the redirect stays, and kdiag need not be told.
func TestRedirProgramReturns(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port)
	calls := kit.StartCalls(t, app+":8080")
	calls.WaitForAnswer(t, time.Now(), kit.FromLaptop)

	died := time.Now()
	_ = here.Close()
	refused := calls.WaitForLoss(t, died)
	if e := redir.WaitForEvent("refused"); !strings.Contains(e.Error, "nothing listens on localhost:"+here.Port) {
		t.Errorf("event %+v, want that nothing listens", e)
	}

	back := time.Now()
	kit.StartServer(t, "127.0.0.1:"+here.Port, kit.AnswerRequest)
	served := calls.WaitForAnswer(t, back, kit.FromLaptop)
	counts := calls.CountAnswers()
	t.Logf("a caller was refused %s after the program's end, and answered %s after its return; %s", refused, served, counts)
	if counts.Application > 0 {
		t.Errorf("the application answered %d calls of a port that is redirected", counts.Application)
	}
	redir.Interrupt()
}

// bulkReaders are connections from which bytes without end are read, by callers in the cluster or by
// the program on the laptop. The first can be stopped.
type bulkReaders struct {
	gate        sync.Mutex   // the first reader reads only while nobody else holds it
	first, rest atomic.Int64 // bytes that were read by the first and by all others
}

// read reads from a connection until it ends.
func (b *bulkReaders) read(conn net.Conn, isFirst bool) {
	buffer := make([]byte, 64<<10)
	count := &b.rest
	if isFirst {
		count = &b.first
	}

	for {
		if isFirst {
			b.gate.Lock()
			b.gate.Unlock() //nolint:staticcheck // it only waits
		}
		n, err := conn.Read(buffer)
		count.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// measureRest returns the rate, in bytes a second, at which the others read so many more bytes.
func (b *bulkReaders) measureRest(t *testing.T, size int64) float64 {
	t.Helper()
	before, began := b.rest.Load(), time.Now()
	var moved int64
	kit.WaitUntil(t, "the other readers", func() bool {
		moved = b.rest.Load() - before
		return moved >= size
	})
	return float64(moved) / time.Since(began).Seconds()
}

// writeForever writes to a connection until it ends.
func writeForever(conn net.Conn) {
	defer conn.Close()
	for piece := make([]byte, 64<<10); ; {
		if _, err := conn.Write(piece); err != nil {
			return
		}
	}
}

// TestRedirReaderStopped stops one reader of 50 bulk transfers: the others go on as fast as before.
func TestRedirReaderStopped(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)

	t.Run("callers read", func(t *testing.T) {
		readers := &bulkReaders{}
		startBulkRedirect(t, namespace, func(conn *net.TCPConn) { writeForever(conn) })
		for i := range bulkTransfers {
			conn := kit.OpenConnection(t, kit.NodeNetwork, app+":7000")
			go readers.read(conn, i == 0)
		}
		verifyOthersGoOn(t, readers)
	})

	t.Run("the program reads", func(t *testing.T) {
		readers := &bulkReaders{}
		var first sync.Once
		startBulkRedirect(t, namespace, func(conn *net.TCPConn) {
			defer conn.Close()
			isFirst := false
			first.Do(func() { isFirst = true })
			readers.read(conn, isFirst)
		})
		for range bulkTransfers {
			go writeForever(kit.OpenConnection(t, kit.NodeNetwork, app+":7000"))
		}
		verifyOthersGoOn(t, readers)
	})
}

// bulkTransfers is how many transfers there are at once.
const bulkTransfers = 50

// startBulkRedirect redirects port 7000 to a program that handles bulk transfers, until the test ends.
func startBulkRedirect(t *testing.T, namespace string, handle func(*net.TCPConn)) {
	t.Helper()
	here := kit.StartLocalServer(t, handle)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "7000:"+here.Port, "-q", "--drain=1s")
	t.Cleanup(func() { redir.Interrupt() })
}

// verifyOthersGoOn measures the other readers while the first reads and while it does not, in turns,
// and fails the test if in no turn they come near to what they did before. On a busy machine one turn
// says little.
func verifyOthersGoOn(t *testing.T, readers *bulkReaders) {
	t.Helper()
	const rounds, size, least = 5, 24 << 20, 0.7
	readers.measureRest(t, size) // until all are at full speed
	var reading, ratios []float64
	for range rounds {
		before := readers.measureRest(t, size)
		readers.gate.Lock()
		readers.waitForStandstill(t)
		reading, ratios = append(reading, before), append(ratios, readers.measureRest(t, size)/before)
		readers.gate.Unlock()
	}

	slices.Sort(reading)
	slices.Sort(ratios)
	t.Logf("49 readers of 50: %.1f MB/s while the first read, and %.0f %% of that while it was stopped (%.0f to %.0f %% in %d turns)",
		reading[rounds/2]/1e6, 100*ratios[rounds/2], 100*ratios[0], 100*ratios[rounds-1], rounds)
	if ratios[rounds-1] < least {
		t.Errorf("the others read %.0f %% of what they did before, want %.0f %% at least", 100*ratios[rounds-1], 100*least)
	}

	before := readers.first.Load()
	kit.WaitUntil(t, "the first reader to go on", func() bool { return readers.first.Load() > before })
}

// waitForStandstill waits until the first reader reads nothing more.
func (b *bulkReaders) waitForStandstill(t *testing.T) {
	t.Helper()
	last := int64(-1)
	kit.WaitUntil(t, "the first reader to stand still", func() bool {
		now := b.first.Load()
		stands := now == last
		last = now
		return stands
	})
}

// TestRedirFullQueues fills a link of 1 MB/s in both directions for longer than kdiag waits for a sign
// of life, which is what full queues delay: no byte is lost, the connection is never taken for lost, and
// other connections go on.
func TestRedirFullQueues(t *testing.T) { fillQueues(t, 11<<20) }

// fillQueues sends so many bytes to an echo and back over a link of 1 MB/s.
func fillQueues(t *testing.T, size int64) {
	t.Helper()
	namespace, app, _ := kit.CreateRedirPods(t)
	api := kit.ReadServerURL(t)
	link := kit.StartLink(t, api.Port(), kit.LinkSpeed{RoundTrip: 20 * time.Millisecond, BitRate: 8e6})
	here := kit.StartLocalServer(t, kit.EchoBytes)
	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "7000:"+here.Port, "-q", "--server=https://"+link, "--tls-server-name="+api.Hostname())
	small := kit.OpenConnections(t, 1, app+":7000", "before")[0]

	const streams = 4
	began := time.Now()
	var all sync.WaitGroup
	for i := range streams {
		conn := kit.OpenConnection(t, kit.NodeNetwork, app+":7000")
		all.Go(func() { transferBytes(t, conn, uint64(i), size/streams, 5*time.Minute) })
	}

	moved := make(chan struct{})
	go func() { all.Wait(); close(moved) }()
	exchanges, slowest := exchangeUntil(t, small, moved)
	took := time.Since(began)
	t.Logf("%d MiB each way in %.1f s, %.2f MB/s; %d exchanges on another connection meanwhile, the slowest in %s",
		size>>20, took.Seconds(), float64(size)/1e6/took.Seconds(), exchanges, slowest.Round(time.Millisecond))

	_ = small.Close() // or the end would wait for it
	redir.Interrupt()
	for e := range redir.Events {
		if e.Event == "disconnected" || e.Event == "error" {
			t.Errorf("event %+v, want that the connection is never lost", e)
		}
	}
}

// exchangeUntil sends a text there and back every 100 ms until done is closed, and returns how often,
// and the longest that took.
func exchangeUntil(t *testing.T, conn *net.TCPConn, done <-chan struct{}) (count int, slowest time.Duration) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		began := time.Now()
		if err := kit.ExchangeText(conn, "small"); err != nil {
			t.Errorf("a small exchange beside full queues: %v", err)
			return count, slowest
		}
		count++
		slowest = max(slowest, time.Since(began))

		select {
		case <-done:
			return count, slowest
		case <-tick.C:
		}
	}
}

// startRedirWithHome starts a redirect with a small file system of its own as the home directory, which
// a script makes ready. The mount goes with the process.
func startRedirWithHome(t *testing.T, script string, args ...string) *kit.Process {
	t.Helper()
	home := t.TempDir()
	const mount = `set -e; mount -t tmpfs -o size=64k,nr_inodes=64 none "$HOME"; `
	env := []string{"HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, ".config"), "KEY=" + kit.HomePath(".config/kdiag/key.pem")}
	command := append([]string{"--mount", "--propagation=private", "sh", "-c", mount + script + `; exec "$@"`, "sh", kit.BinaryPath(), "redir"}, args...)
	return kit.StartProgram(t, env, "unshare", command...)
}

// TestRedirHomeUnusable has no room for the user's key, or may not write it: kdiag works, with a key for
// one run, and says so once. With a key there is nothing to say, and its container is found again.
func TestRedirHomeUnusable(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	here := kit.StartLocalServer(t, kit.AnswerRequest)
	kit.StartRedirects(t, 1, "-n", namespace, "app", "8080:"+here.Port).Interrupt() // makes the user's key

	const fill = `; cat /dev/zero >"$HOME/fill" 2>/dev/null || true`
	const copyKey = `mkdir -p "$HOME/.config/kdiag"; cp "$KEY" "$HOME/.config/kdiag/"; chmod 600 "$HOME/.config/kdiag/key.pem"`
	for _, c := range []struct {
		what, script, note string
		containers         int // in the pod, afterwards
	}{
		{"full", "true" + fill, "no space left on device", 2},
		{"read-only", `mount -o remount,ro "$HOME"`, "read-only file system", 3},
		{"full, with a key", copyKey + fill, "", 3},
		{"read-only, with a key", copyKey + `; mount -o remount,ro "$HOME"`, "", 3},
	} {
		t.Run(c.what, func(t *testing.T) {
			began := time.Now()
			redir := startRedirWithHome(t, c.script, "-n", namespace, "app", "8080:"+here.Port)
			redir.WaitForOutput("8080 → localhost:" + here.Port)
			t.Logf("redirected after %s", time.Since(began).Round(time.Millisecond))
			kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromLaptop)

			got := redir.Interrupt()
			verifyKeyNote(t, got, c.note)
			kit.VerifyContainerCount(t, namespace, "app", c.containers)
			kit.VerifyAnswer(t, kit.NodeNetwork, app+":8080", kit.FromApp)
		})
	}
}

// verifyKeyNote fails the test unless a run ended well and said in one note, or in none if cause is
// empty, that its key could not be kept.
func verifyKeyNote(t *testing.T, got kit.Result, cause string) {
	t.Helper()
	notes := strings.Count(got.Stderr, "note: ")
	isSaid := strings.Contains(got.Stderr, "note: using a key for this run only") && strings.Contains(got.Stderr, cause)
	if got.Code != 0 || cause == "" && notes > 0 || cause != "" && (notes != 1 || !isSaid) {
		t.Errorf("redir: %v\nwant code 0 and a note on the key with %q, or none if that is empty", got, cause)
	}
}
