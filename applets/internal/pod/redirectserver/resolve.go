package redirectserver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"kdiag/netfilter"

	"golang.org/x/net/dns/dnsmessage"
)

// readNameServers reads the nameserver lines of a resolv.conf(5). Without such a file there are
// none.
func readNameServers(file string) []netip.Addr {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()

	var servers []netip.Addr
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if server, err := netip.ParseAddr(words[1]); err == nil {
			servers = append(servers, server.WithZone(""))
		}
	}

	return servers
}

// unknownTTL stands for an answer that does not say how long it is valid, such as one from
// /etc/hosts.
const unknownTTL time.Duration = -1

// resolveFunc returns the addresses that a host has in the pod's view, sorted, and how long that is
// valid.
type resolveFunc func(ctx context.Context, host string) (found []netip.Addr, ttl time.Duration, err error)

// dialFunc dials a name server.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialMarked dials over connections that no redirect takes.
func dialMarked(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Control: netfilter.ControlMark(Mark)}).DialContext(ctx, network, address)
}

// newResolver makes what asks as the pod does, by its resolv.conf.
func newResolver(dial dialFunc) resolveFunc {
	return func(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
		if address, err := netip.ParseAddr(host); err == nil {
			return []netip.Addr{address.Unmap()}, unknownTTL, nil
		}

		validity := &validity{ttl: unknownTTL}
		resolver := &net.Resolver{PreferGo: true, Dial: validity.watch(dial)}
		found, err := resolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, unknownTTL, fmt.Errorf("resolve %s in the pod: %w", host, err)
		}

		for i := range found {
			found[i] = found[i].Unmap()
		}
		slices.SortFunc(found, netip.Addr.Compare)
		return slices.Compact(found), validity.read(), nil
	}
}

// validity is how long the answers of name servers are valid, which package net does not tell.
type validity struct {
	mu  sync.Mutex
	ttl time.Duration
}

func (v *validity) read() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ttl
}

// watch has the datagrams read that come over what dial connects. Answers over TCP are those that
// are too long for a datagram, and their beginning came in one.
func (v *validity) watch(dial dialFunc) dialFunc {
	servers := &nameServers{}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		server := servers.find(address)
		conn, err := server.ask(ctx, dial, network, address)
		if udp, ok := conn.(*net.UDPConn); ok && err == nil {
			return &watchedConn{udp, v, server}, nil
		}
		return conn, err
	}
}

// watchedConn is a UDPConn, so that package net knows it for datagrams.
type watchedConn struct {
	*net.UDPConn
	validity *validity
	server   *nameServer
}

// SetDeadline sets the earlier of a time and answerPatience.
func (c *watchedConn) SetDeadline(t time.Time) error {
	if limit := time.Now().Add(answerPatience); t.IsZero() || t.After(limit) {
		t = limit
	}
	return c.UDPConn.SetDeadline(t)
}

func (c *watchedConn) Close() error {
	c.server.noteClosed(c.UDPConn)
	return c.UDPConn.Close()
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.UDPConn.Read(p)
	if err == nil {
		c.validity.note(p[:n])
	}
	return n, c.server.noteRead(err)
}

// note reads the shortest validity of a message's answers.
func (v *validity) note(message []byte) {
	var parser dnsmessage.Parser
	if _, err := parser.Start(message); err != nil || parser.SkipAllQuestions() != nil {
		return
	}

	for {
		header, err := parser.AnswerHeader()
		if err != nil || parser.SkipAnswer() != nil {
			return
		}
		v.noteTTL(time.Duration(header.TTL) * time.Second)
	}
}

func (v *validity) noteTTL(ttl time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ttl == unknownTTL || ttl < v.ttl {
		v.ttl = ttl
	}
}
