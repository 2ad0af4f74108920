package netnstest

import (
	"embed"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// meshRules holds the rules that each mesh puts into a pod, written down from what the
// meshes publish.
//
//go:embed meshes
var meshRules embed.FS

// Mesh describes how a service mesh takes the connections of a pod.
type Mesh struct {
	// Kind names the mesh as DetectMesh does.
	Kind string
	// rules names the file in meshes.
	rules string
	// restore names the variant of iptables-restore that loads the rules, or is empty
	// for those of nft.
	restore string
	proxy   meshProxy
}

// meshProxy says how a mesh's proxy connects to the application.
type meshProxy struct {
	port int
	// user owns the proxy's process, and mark marks its connections.
	user, mark uint32
	// source4 and source6 are the addresses that its connections come from. It keeps
	// the client's if keepsSource is set.
	source4, source6 string
	keepsSource      bool
	// dialsLoopback says that it dials the application at 127.0.0.1 or ::1.
	dialsLoopback bool
}

// The proxies of the meshes. Those of Istio and Kuma are Envoy.
var (
	istioSidecar = meshProxy{port: 15006, user: 1337, source4: "127.0.0.6", source6: "::6"}
	istioTproxy  = meshProxy{port: 15006, user: 1337, mark: 1337, keepsSource: true}
	ztunnel      = meshProxy{port: 15006, mark: 0x539, keepsSource: true}
	linkerd      = meshProxy{port: 4143, user: 2102}
	kuma         = meshProxy{port: 15006, user: 5678, dialsLoopback: true}
)

// Meshes returns each mesh with each of the ways in which its rules are loaded.
func Meshes() []Mesh {
	meshes := []Mesh{
		{"istio", "istio-sidecar.nft", "", istioSidecar},
		{"istio", "istio-ambient.nft", "", ztunnel},
	}
	for _, variant := range []string{"nft", "legacy"} {
		meshes = append(meshes,
			Mesh{"istio", "istio-sidecar.iptables", variant, istioSidecar},
			Mesh{"istio", "istio-tproxy.iptables", variant, istioTproxy},
			Mesh{"istio", "istio-ambient.iptables", variant, ztunnel},
			Mesh{"linkerd", "linkerd.iptables", variant, linkerd},
			Mesh{"kuma", "kuma.iptables", variant, kuma},
		)
	}
	return meshes
}

// String names the mesh, its mode and what loads its rules.
func (m Mesh) String() string { return strings.TrimSuffix(m.rules+"-"+m.restore, "-") }

// KeepsSource reports whether the application sees the client's address.
func (m Mesh) KeepsSource() bool { return m.proxy.keepsSource }

// TakesSelfCalls reports whether its rules send the proxy's own connections to the pod's
// address back to the proxy.
func (m Mesh) TakesSelfCalls() bool {
	return strings.HasPrefix(m.rules, "istio-sidecar") || m.Kind == "kuma"
}

// addressesOf6 turns the addresses of IPv4 rules into those of IPv6 rules.
var addressesOf6 = strings.NewReplacer("127.0.0.1/32", "::1/128", "127.0.0.6/32", "::6/128",
	"169.254.7.127/32", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128")

// Load puts the mesh's rules and routes into a namespace.
func (m Mesh) Load(t testing.TB, ns Namespace) {
	t.Helper()
	content, err := meshRules.ReadFile("meshes/" + m.rules)
	if err != nil {
		t.Fatal(err)
	}

	rules := string(content)
	if m.restore == "" {
		ns.Run(t, "nft", rules)
	} else {
		ns.Run(t, "sh", "-c", "iptables-"+m.restore+"-restore <<'END'\n"+rules+"END")
		ns.Run(t, "sh", "-c", "ip6tables-"+m.restore+"-restore <<'END'\n"+addressesOf6.Replace(rules)+"END")
	}

	if m.proxy.keepsSource {
		m.routeAnswers(t, ns)
	}
	if !m.proxy.keepsSource && m.proxy.source6 != "" {
		ns.Run(t, "ip", "address", "add", m.proxy.source6+"/128", "dev", "lo")
	}
}

// routeAnswers leads the application's answers to foreign addresses back over lo, to the
// proxy.
func (m Mesh) routeAnswers(t testing.TB, ns Namespace) {
	t.Helper()
	mark := "0x111/0xfff"
	if m.proxy.user != 0 {
		mark = fmt.Sprint(m.proxy.mark)
	}

	for _, family := range []string{"-4", "-6"} {
		ns.Run(t, "ip", family, "rule", "add", "fwmark", mark, "pref", "32764", "lookup", "100")
		ns.Run(t, "ip", family, "route", "add", "local", "default", "dev", "lo", "table", "100")
	}
}

// OriginalDestination returns where the peer of a connection wanted to go.
type OriginalDestination func(syscall.Conn) (netip.AddrPort, error)

// ServeProxy runs the mesh's proxy until the test ends: what the rules send there goes on
// to the application, with a word before the first byte that comes back.
func (m Mesh) ServeProxy(t testing.TB, ns Namespace, original OriginalDestination, word string) {
	t.Helper()
	m.serve(t, ns, func(c *net.TCPConn) error {
		to, err := original(c)
		if err != nil {
			to = unmap(c.LocalAddr()) // TPROXY changes no address
		}

		app, err := m.dialApp(ns, unmap(c.RemoteAddr()), to)
		if err != nil {
			return err
		}
		defer app.Close()

		go func() {
			_, _ = io.Copy(app, c)
			_ = app.CloseWrite()
		}()

		_, _ = io.WriteString(c, word)
		_, _ = io.Copy(c, app)
		return nil
	})
}

// serve accepts connections as the proxy. What they fail of is the answer.
func (m Mesh) serve(t testing.TB, ns Namespace, handle func(*net.TCPConn) error) {
	t.Helper()
	config := net.ListenConfig{Control: markTransparent(0)}
	ns.serveWith(t, config, fmt.Sprintf(":%d", m.proxy.port), func(c net.Conn) {
		if err := handle(c.(*net.TCPConn)); err != nil {
			fmt.Fprintln(c, err)
		}
	})
}

// dialApp connects to the application, as the proxy does.
func (m Mesh) dialApp(ns Namespace, client, to netip.AddrPort) (app *net.TCPConn, err error) {
	dialer := net.Dialer{Timeout: 5 * time.Second, Control: markTransparent(m.proxy.mark)}
	source, loopback := m.proxy.source4, "127.0.0.1"
	if to.Addr().Is6() {
		source, loopback = m.proxy.source6, "::1"
	}

	switch {
	case m.proxy.keepsSource:
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(client.Addr(), 0))
	case source != "":
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	if m.proxy.dialsLoopback {
		to = netip.AddrPortFrom(netip.MustParseAddr(loopback), to.Port())
	}

	err = ns.doAs(m.proxy.user, func() error {
		conn, err := dialer.Dial("tcp", to.String())
		if err == nil {
			app = conn.(*net.TCPConn)
		}
		return err
	})
	return app, err
}

// DialSelf connects to a port of the pod as the mesh's proxy does for an application that
// calls itself: from the pod's own address.
func (m Mesh) DialSelf(ns Namespace, to string) (c net.Conn, err error) {
	dialer := net.Dialer{Timeout: 5 * time.Second, Control: markTransparent(m.proxy.mark)}
	err = ns.doAs(m.proxy.user, func() error {
		c, err = dialer.Dial("tcp", to)
		return err
	})
	return c, err
}

// doAs runs f in the namespace while sockets that it makes belong to a user
// (setfsuid(2) is the thread's own).
func (ns Namespace) doAs(user uint32, f func() error) error {
	return ns.Do(func() error {
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(user), 0, 0)
		defer unix.RawSyscall(unix.SYS_SETFSUID, 0, 0, 0) //nolint:errcheck // it reports no errors
		return f()
	})
}

// markTransparent returns a function for net.Dialer.Control: it marks the connection, and
// lets it come from an address that the namespace does not have.
func markTransparent(mark uint32) func(_, _ string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = setTransparent(int(fd))
			if failed == nil && mark != 0 {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
			}
		})
		if err != nil {
			return err
		}
		return failed
	}
}

// setTransparent lets a socket have addresses that are not the namespace's.
func setTransparent(fd int) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err == nil && domain == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
	}
	if err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
}

// unmap returns a TCP address, an IPv4 one as such.
func unmap(a net.Addr) netip.AddrPort {
	address := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(address.Addr().Unmap(), address.Port())
}
