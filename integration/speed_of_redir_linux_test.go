//go:build bench

package integration

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"kdiag/integration/kit"
)

// TestSpeedRedir prints how long a new connection through a redirect takes, in round
// trips between the laptop and the API server.
func TestSpeedRedir(t *testing.T) {
	namespace, app, _ := kit.CreateRedirPods(t)
	tox := kit.StartToxiproxy(t)
	here := kit.StartLocalServer(t, kit.EchoBytes)
	near := kit.StartLocalServer(t, kit.EchoBytes)
	trip := measureRoundTrip(t, tox.Delay(t, "echo", near.Addr().String()))

	to := kit.ReadServerURL(t)
	api := tox.Delay(t, "api", to.Host)
	began := time.Now()
	redir := kit.StartRedirects(t, 1, "-n", namespace, "app", "7000:"+here.Port, "-q", "--server=https://"+api, "--tls-server-name="+to.Hostname())
	fmt.Printf("redir starts in %s with the pod's container to be created, at a round trip of %s\n", time.Since(began).Round(time.Millisecond), trip.Round(100*time.Microsecond))

	for _, many := range []int{1, 10, 25, 50} {
		began := time.Now()
		times := timeCallers(t, app+":7000", many, 40)
		rate := float64(len(times)) / time.Since(began).Seconds()
		slices.Sort(times)
		median := times[len(times)/2]
		fmt.Printf("a new connection, a byte there and back, %d at a time without a pause: median %s, %.2f round trips (of %d; %.0f a second)\n",
			many, median.Round(100*time.Microsecond), float64(median)/float64(trip), len(times), rate)
	}

	fmt.Printf("the manager's anonymous memory: %d KiB\n", kit.ReadAnonymousMemory(t, kit.FindNetManager(t, namespace)))
	redir.Interrupt()
	_ = os.Stdout.Sync()
}

// timeCallers has some callers make connections, one after the other each, and
// returns how long each connection took to open and to carry a byte there and back.
func timeCallers(t *testing.T, address string, many, each int) []time.Duration {
	t.Helper()
	var mu sync.Mutex
	var times []time.Duration
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			err := kit.NodeNetwork.Do(func() error {
				for range each {
					took, err := timeConnection(address)
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

// timeConnection returns how long a connection takes to open and to carry a byte
// there and back.
func timeConnection(address string) (time.Duration, error) {
	began := time.Now()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()

	err = kit.ExchangeText(conn.(*net.TCPConn), "x")
	return time.Since(began), err
}

// measureRoundTrip returns the median time that a byte takes there and back.
func measureRoundTrip(t *testing.T, address string) time.Duration {
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
		if err := kit.ExchangeText(conn, "x"); err != nil {
			t.Fatal(err)
		}
		times = append(times, time.Since(began))
	}

	slices.Sort(times)
	return times[len(times)/2]
}
