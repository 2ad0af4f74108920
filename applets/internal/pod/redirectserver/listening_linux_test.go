package redirectserver

import (
	"net"
	"testing"

	"kdiag/mux/wire"
)

// TestListening says of a redirected port whether the pod serves it.
func TestListening(t *testing.T) {
	if !inOwnNetwork(t) {
		return
	}
	for address, port := range map[string]int{"127.0.0.1": 9001, "::1": 9002, podIPv4: 9003} {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(address), Port: port})
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}

	v := startManager(t, never).visit(t, wire.Hello{Holder: "me@here"})
	id := uint32(0)
	for port, want := range map[uint16]string{
		appPort: "", 9000: wire.ListeningNone, 9001: wire.ListeningLoopback, 9002: wire.ListeningLoopback, 9003: "",
	} {
		id++
		var got wire.Attached
		if err := v.Call(t.Context(), wire.RequestAttach, wire.Attach{ID: id, Port: port}, &got); err != nil || got.Listening != want {
			t.Errorf("attach of port %d: listening %q, %v, want %q", port, got.Listening, err, want)
		}
	}

	if got, err := describeListening(9001, "istio"); err != nil || got != "" {
		t.Errorf("describeListening behind a sidecar = %q, %v, want that loopback will do", got, err)
	}
}
