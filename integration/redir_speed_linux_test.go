//go:build bench

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// distance is the round trip between the laptop and the API server.
const distance = 50 * time.Millisecond

// toxiproxy is one on this machine, with proxies that add distance.
type toxiproxy struct{ api string }

func newToxiproxy(t *testing.T) *toxiproxy {
	t.Helper()
	port := freePort(t)
	cmd := exec.Command(filepath.Join(shared.root, ".cluster/bin/server"), "-host", "127.0.0.1", "-port", port)
	cmd.Stdout, cmd.Stderr = nil, nil
	if err := cmd.Start(); err != nil {
		t.Fatalf("toxiproxy: %v (make bench installs it)", err)
	}

	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	x := &toxiproxy{"http://127.0.0.1:" + port}
	eventually(t, "toxiproxy", func() bool {
		response, err := http.Get(x.api + "/version")
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil
	})

	return x
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}

func (x *toxiproxy) post(t *testing.T, path string, body any) {
	t.Helper()
	text, _ := json.Marshal(body)
	response, err := http.Post(x.api+path, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()

	if response.StatusCode/100 != 2 {
		said, _ := io.ReadAll(response.Body)
		t.Fatalf("toxiproxy %s: %s", path, said)
	}
}

// far is an address by which upstream is at the distance.
func (x *toxiproxy) far(t *testing.T, name, upstream string) string {
	t.Helper()
	address := "127.0.0.1:" + freePort(t)
	x.post(t, "/proxies", map[string]any{"name": name, "listen": address, "upstream": upstream, "enabled": true})
	for _, stream := range []string{"upstream", "downstream"} {
		x.post(t, "/proxies/"+name+"/toxics", map[string]any{
			"type": "latency", "stream": stream, "attributes": map[string]any{"latency": distance.Milliseconds() / 2},
		})
	}
	return address
}

// TestSpeedRedir prints what a new connection through a redirect takes, in
// round trips between the laptop and the API server.
func TestSpeedRedir(t *testing.T) {
	namespace, app, _ := redirPods(t)
	tox := newToxiproxy(t)
	here := newLaptop(t, echoing)
	near := newLaptop(t, echoing)
	trip := roundTrip(t, tox.far(t, "echo", near.Addr().String()))

	to := server(t)
	api := tox.far(t, "api", to.Host)
	began := time.Now()
	r := redirecting(t, 1, "-n", namespace, "app", "7000:"+here.port, "-q", "--server=https://"+api, "--tls-server-name="+to.Hostname())
	fmt.Printf("redir starts in %s with the pod's container to be created, at a round trip of %s\n", time.Since(began).Round(time.Millisecond), trip.Round(100*time.Microsecond))

	for _, many := range []int{1, 10, 25, 50} {
		began := time.Now()
		times := callers(t, app+":7000", many, 40)
		rate := float64(len(times)) / time.Since(began).Seconds()
		slices.Sort(times)
		median := times[len(times)/2]
		fmt.Printf("a new connection, a byte there and back, %d at a time without a pause: median %s, %.2f round trips (of %d; %.0f a second)\n",
			many, median.Round(100*time.Microsecond), float64(median)/float64(trip), len(times), rate)
	}

	fmt.Printf("the manager's anonymous memory: %d KiB\n", anonymous(t, netManager(t, namespace)))
	r.interrupt()
	_ = os.Stdout.Sync()
}

// callers has some callers make connections, each one after the other, and
// returns how long each took: to be there, and a byte to go there and back.
func callers(t *testing.T, address string, many, each int) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var times []time.Duration
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			err := nodeNetns.Do(func() error {
				for range each {
					began := time.Now()
					conn, err := net.Dial("tcp", address)
					if err != nil {
						return err
					}

					tcp, _ := conn.(*net.TCPConn)
					err = exchange(tcp, "x")
					took := time.Since(began)
					_ = conn.Close()
					if err != nil {
						return err
					}

					mu.Lock()
					times = append(times, took)
					mu.Unlock()
				}

				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}

	all.Wait()
	return times
}

// roundTrip is the median time of a byte there and back.
func roundTrip(t *testing.T, address string) time.Duration {
	t.Helper()
	dialled, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}

	conn, _ := dialled.(*net.TCPConn)
	defer conn.Close()
	var times []time.Duration
	for range 21 {
		began := time.Now()
		if err := exchange(conn, "x"); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(began))
	}

	slices.Sort(times)
	return times[len(times)/2]
}
