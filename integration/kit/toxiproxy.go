package kit

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Distance is the round trip between the laptop and the API server.
const Distance = 50 * time.Millisecond

// Toxiproxy is one on this machine, with proxies that add distance.
type Toxiproxy struct{ api string }

func (x *Toxiproxy) post(t *testing.T, path string, body any) {
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

// Delay is an address by which upstream is at the distance.
func (x *Toxiproxy) Delay(t *testing.T, name, upstream string) string {
	t.Helper()
	address := "127.0.0.1:" + findFreePort(t)
	x.post(t, "/proxies", map[string]any{"name": name, "listen": address, "upstream": upstream, "enabled": true})
	for _, stream := range []string{"upstream", "downstream"} {
		x.post(t, "/proxies/"+name+"/toxics", map[string]any{
			"type": "latency", "stream": stream, "attributes": map[string]any{"latency": Distance.Milliseconds() / 2},
		})
	}
	return address
}

func StartToxiproxy(t *testing.T) *Toxiproxy {
	t.Helper()
	port := findFreePort(t)
	cmd := exec.Command(filepath.Join(RootDir(), ".cluster/bin/server"), "-host", "127.0.0.1", "-port", port)
	cmd.Stdout, cmd.Stderr = nil, nil
	if err := cmd.Start(); err != nil {
		t.Fatalf("toxiproxy: %v (make bench installs it)", err)
	}

	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	x := &Toxiproxy{"http://127.0.0.1:" + port}
	WaitUntil(t, "toxiproxy", func() bool {
		response, err := http.Get(x.api + "/version")
		if err == nil {
			_ = response.Body.Close()
		}
		return err == nil
	})

	return x
}

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
