package kit

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"testing"
	"time"
)

// Distance is the round trip that tests of speed put between the laptop and the API server.
const Distance = 50 * time.Millisecond

// Toxiproxy adds distance to connections. It carries the address of the API of a
// Toxiproxy on this machine.
type Toxiproxy struct{ api string }

// StartToxiproxy starts the program that "make bench" installs.
func StartToxiproxy(t *testing.T) *Toxiproxy {
	t.Helper()
	port := findFreePort(t)
	cmd := exec.Command(RootPath(".cluster/bin/server"), "-host", "127.0.0.1", "-port", port)
	cmd.Stdout, cmd.Stderr = nil, nil
	if err := cmd.Start(); err != nil {
		t.Fatalf("toxiproxy: %v (make bench installs it)", err)
	}

	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p := &Toxiproxy{"http://127.0.0.1:" + port}
	WaitUntil(t, "toxiproxy", func() bool {
		response, err := http.Get(p.api + "/version")
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil
	})

	return p
}

// Delay returns an address through which a server is at the distance.
func (p *Toxiproxy) Delay(t *testing.T, name, upstream string) string {
	t.Helper()
	address := "127.0.0.1:" + findFreePort(t)
	p.post(t, "/proxies", map[string]any{"name": name, "listen": address, "upstream": upstream, "enabled": true})
	for _, stream := range []string{"upstream", "downstream"} {
		p.post(t, "/proxies/"+name+"/toxics", map[string]any{
			"type": "latency", "stream": stream, "attributes": map[string]any{"latency": Distance.Milliseconds() / 2},
		})
	}
	return address
}

// post sends a request to the program's API.
func (p *Toxiproxy) post(t *testing.T, path string, body any) {
	t.Helper()
	text, _ := json.Marshal(body)
	response, err := http.Post(p.api+path, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()

	if response.StatusCode/100 != 2 {
		said, _ := io.ReadAll(response.Body)
		t.Fatalf("toxiproxy %s: %s", path, said)
	}
}

// findFreePort returns a port of loopback on which nothing listens.
func findFreePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}
