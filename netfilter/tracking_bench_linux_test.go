package netfilter

import (
	"fmt"
	"net"
	"testing"
)

// BenchmarkTracking measures a question and its answer of a few bytes, by UDP and in one TCP
// connection, without rules, beside a redirect, and with conntrack for everything.
func BenchmarkTracking(b *testing.B) {
	for _, rules := range []string{"none", "redirect", "everything tracked"} {
		for _, network := range []string{"udp", "tcp"} {
			b.Run(network+"/"+rules, func(b *testing.B) {
				pod, outside := newPod(b)
				addTracking(b, pod, rules)
				conn := dialEcho(b, pod, outside, network)

				buffer := make([]byte, 64)
				for b.Loop() {
					if _, err := conn.Write(buffer[:16]); err != nil {
						b.Fatal(err)
					}
					if _, err := conn.Read(buffer); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// addTracking has the kernel track nothing, what a redirect needs, or everything.
func addTracking(b *testing.B, pod namespace, rules string) {
	b.Helper()
	switch rules {
	case "redirect":
		backend, err := Open("nft", Config{ID: "bench", Mark: testMark})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = backend.Close() })
	case "everything tracked":
		pod.Run(b, "nft", "table inet other {\nchain output {\ntype nat hook output priority -100\n}\nchain prerouting {\ntype nat hook prerouting priority -100\n}\n}")
	}
}

// dialEcho connects from outside to an echo in the pod.
func dialEcho(b *testing.B, pod, outside namespace, network string) (conn net.Conn) {
	b.Helper()
	serveUDP(b, pod)
	pod.Serve(b, fmt.Sprintf(":%d", appPort), func(c net.Conn) {
		buffer := make([]byte, 64)
		for {
			n, err := c.Read(buffer)
			if err != nil {
				return
			}
			_, _ = c.Write(buffer[:n])
		}
	})

	port := map[string]int{"udp": nameServerPort, "tcp": appPort}[network]
	err := outside.Do(func() (err error) {
		conn, err = net.Dial(network, net.JoinHostPort(pod4, fmt.Sprint(port)))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}
