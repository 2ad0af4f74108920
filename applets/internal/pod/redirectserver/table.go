package redirectserver

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// A table holds this manager's rules in the kernel. It keeps the back end open from the first
// redirect until the last redirected connection has ended, because connections break without
// rules.
type table struct {
	id   string
	log  *slog.Logger
	open func(name string, c netfilter.Config) (netfilter.Backend, error)

	mu      sync.Mutex
	backend netfilter.Backend
	mesh    string
	holds   int // redirects and redirected connections, which keep the back end open
	timer   *time.Timer
	closed  bool
	ports   map[uint16]bool // of this manager's listeners
	reserve descriptorReserve
}

// linger is how long the rules outlive the last connection, whose last segments may still be on
// their way.
const linger = 3 * time.Second

// newTable makes a table without rules, and takes the reserve of file descriptors.
func newTable(c Config) *table {
	t := &table{id: c.ID, log: c.Log, open: c.OpenBackend, ports: map[uint16]bool{}}
	t.reserve.fill()
	return t
}

// setOwnPort notes whether one of this manager's listeners has a port.
func (t *table) setOwnPort(port uint16, own bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if own {
		t.ports[port] = true
	} else {
		delete(t.ports, port)
	}
}

// isOwnPort reports whether one of this manager's listeners has a port.
func (t *table) isOwnPort(port uint16) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ports[port]
}

// attachRules adds rules, all or none, with the back end of a name: "auto", "nft" or "iptables".
// It opens the back end for the first rules.
func (t *table) attachRules(name string, rules []netfilter.Redirect) (backend, mesh string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.ensureBackend(name); err != nil {
		return "", "", err
	}

	for i, rule := range rules {
		if err := t.backend.Attach(rule); err != nil {
			for _, made := range rules[:i] {
				err = errors.Join(err, t.backend.Detach(made))
			}

			t.scheduleClose()
			return "", "", explainAttach(rule, err)
		}
	}

	t.holds++
	return t.backend.Name(), t.mesh, nil
}

// ensureBackend opens the back end, or checks that the open one is the one asked for.
func (t *table) ensureBackend(name string) error {
	if t.closed {
		return errors.New("the manager is shutting down")
	}

	if t.backend != nil {
		if name != "auto" && name != t.backend.Name() {
			return refuseRequest(wire.CodeUnsupported, "end its redirects first, or leave --netfilter out",
				"this manager already uses %s", t.backend.Name())
		}

		return nil
	}

	mesh, err := netfilter.DetectMesh()
	if err != nil {
		t.log.Warn("look for a service mesh", "err", err)
	}

	// The back end gets the low numbers of the reserve, which is filled again once it is closed.
	t.reserve.release()
	config := netfilter.Config{ID: t.id, Mark: Mark, Exclude: sparedDestinations(), LoopbackOnly: mesh != ""}
	t.backend, err = t.open(name, config)
	if err != nil {
		t.backend = nil
		t.reserve.fill()
		return refuseRequest(wire.CodeUnsupported, "redirects need nftables in the node's kernel, or an image with iptables in it", "%v", err)
	}

	t.mesh = mesh
	return nil
}

// explainAttach says who holds the port, where that is why a rule could not be added.
func explainAttach(rule netfilter.Redirect, err error) error {
	var held *netfilter.HeldError
	if errors.As(err, &held) {
		return refuseRequest(wire.CodeHeld, "only one session can redirect a port: end the other session, or choose another pod",
			"port %d is already redirected by %s", rule.Port, held.Holder)
	}

	return fmt.Errorf("redirect port %d: %w", rule.Port, err)
}

// changeRules replaces rules of one redirect, whose name has other addresses now. It returns those
// of add that the kernel took.
func (t *table) changeRules(add, remove []netfilter.Redirect) (added []netfilter.Redirect, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.backend == nil {
		return nil, nil
	}

	for _, rule := range remove {
		err = errors.Join(err, t.backend.Detach(rule))
	}

	for _, rule := range add {
		if attachErr := t.backend.Attach(rule); attachErr != nil {
			err = errors.Join(err, explainAttach(rule, attachErr))
			continue
		}
		added = append(added, rule)
	}

	return added, err
}

// detachRules removes a redirect's rules. Its connections go on.
func (t *table) detachRules(rules []netfilter.Redirect) error {
	_, err := t.changeRules(nil, rules)
	t.releaseBackend()
	return err
}

// holdBackend keeps the back end open for a connection, until releaseBackend.
func (t *table) holdBackend() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holds++
}

// releaseBackend ends the hold of a redirect or of a connection.
func (t *table) releaseBackend() {
	t.mu.Lock()
	defer t.mu.Unlock()

	t.holds--
	t.scheduleClose()
}

// scheduleClose closes the back end a while after its last hold has ended. mu is held.
func (t *table) scheduleClose() {
	if t.holds > 0 || t.backend == nil || t.closed {
		return
	}
	if t.timer != nil {
		t.timer.Stop()
	}

	t.timer = time.AfterFunc(linger, func() {
		t.mu.Lock()
		defer t.mu.Unlock()

		if t.holds == 0 {
			if err := t.closeBackend(); err != nil {
				t.log.Error("remove the rules", "err", err)
			}
		}
	})
}

// closeBackend closes the back end, and with it removes every rule. mu is held.
func (t *table) closeBackend() error {
	if t.backend == nil {
		return nil
	}

	backend := t.backend
	t.backend = nil
	defer t.reserve.fill()
	return backend.Close()
}

// inUse reports whether there are redirects or redirected connections.
func (t *table) inUse() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.holds > 0
}

// close removes every rule, now and for good.
func (t *table) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}

	return t.closeBackend()
}

// sparedDestinations returns what no redirect takes unless it names it: the API server and the
// pod's name servers.
func sparedDestinations() []netip.AddrPort {
	var spared []netip.AddrPort
	// Every kubelet sets these two (pkg/kubelet, masterServices).
	if host, err := netip.ParseAddr(os.Getenv("KUBERNETES_SERVICE_HOST")); err == nil {
		if port, err := strconv.ParseUint(os.Getenv("KUBERNETES_SERVICE_PORT"), 10, 16); err == nil {
			spared = append(spared, netip.AddrPortFrom(host, uint16(port)))
		}
	}

	for _, server := range readNameServers("/etc/resolv.conf") {
		spared = append(spared, netip.AddrPortFrom(server, 53), netip.AddrPortFrom(server, 853))
	}

	return spared
}
