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

// table holds the back end while it is needed: from the first redirect until
// the last redirected connection has ended, for those break with the rules.
type table struct {
	id   string
	log  *slog.Logger
	open func(name string, c netfilter.Config) (netfilter.Backend, error)

	mu      sync.Mutex
	backend netfilter.Backend
	mesh    string
	users   int // redirects and redirected connections
	timer   *time.Timer
	closed  bool
	ports   map[uint16]bool // that this manager's listeners have
	reserve reserve
}

// linger is how long the rules outlive the last connection: its last segments
// may still be on their way.
const linger = 3 * time.Second

func newTable(c Config) *table {
	t := &table{id: c.ID, log: c.Log, open: c.OpenBackend, ports: map[uint16]bool{}}
	t.reserve.take()
	return t
}

// listens says that a port is a listener of this manager's, or is no more.
func (t *table) listens(port uint16, does bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if does {
		t.ports[port] = true
	} else {
		delete(t.ports, port)
	}
}

// own reports whether a port is a listener of this manager's.
func (t *table) own(port uint16) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ports[port]
}

// attach puts rules into the kernel, all or none, and opens the back end for
// the first of them. name is "auto", "nft" or "iptables".
func (t *table) attach(name string, rules []netfilter.Redirect) (backend, mesh string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.ready(name); err != nil {
		return "", "", err
	}

	for i, rule := range rules {
		if err := t.backend.Attach(rule); err != nil {
			for _, made := range rules[:i] {
				err = errors.Join(err, t.backend.Detach(made))
			}
			t.settle()
			return "", "", explain(rule, err)
		}
	}

	t.users++
	return t.backend.Name(), t.mesh, nil
}

// ready opens the back end, or makes sure that the open one will do.
func (t *table) ready(name string) error {
	if t.closed {
		return errors.New("the manager is ending")
	}

	if t.backend != nil {
		if name != "auto" && name != t.backend.Name() {
			return refusal(wire.CodeUnsupported, "leave --netfilter out, or wait until the others have ended",
				"redirects are made by %s here, as long as there are any", t.backend.Name())
		}
		return nil
	}

	mesh, err := netfilter.DetectMesh()
	if err != nil {
		t.log.Warn("look for a service mesh", "err", err)
	}

	t.reserve.give()
	t.backend, err = t.open(name, netfilter.Config{ID: t.id, Mark: Mark, Exclude: spared(), LoopbackOnly: mesh != ""})
	if err != nil {
		t.backend = nil
		t.reserve.take()
		return refusal(wire.CodeUnsupported, "redirects need nftables in the node's kernel, or an image with iptables in it", "%v", err)
	}

	t.mesh = mesh
	return nil
}

func explain(rule netfilter.Redirect, err error) error {
	var held *netfilter.HeldError
	if errors.As(err, &held) {
		return refusal(wire.CodeHeld, "two cannot have the same connections: have the other session end, or take another pod",
			"port %d is redirected already, by %s", rule.Port, held.Holder)
	}
	return fmt.Errorf("redirect port %d: %w", rule.Port, err)
}

// change swaps one redirect's rules for others: of a name that leads elsewhere
// now. It returns those of add that hold.
func (t *table) change(add, remove []netfilter.Redirect) (added []netfilter.Redirect, err error) {
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
			err = errors.Join(err, explain(rule, attachErr))
			continue
		}
		added = append(added, rule)
	}

	return added, err
}

// detach takes a redirect's rules away. Its connections go on.
func (t *table) detach(rules []netfilter.Redirect) error {
	_, err := t.change(nil, rules)
	t.release()
	return err
}

// hold keeps the back end for a connection, until release.
func (t *table) hold() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users++
}

func (t *table) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users--
	t.settle()
}

// settle closes the back end a while after its last user.
func (t *table) settle() {
	if t.users > 0 || t.backend == nil || t.closed {
		return
	}
	if t.timer != nil {
		t.timer.Stop()
	}

	t.timer = time.AfterFunc(linger, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.users == 0 {
			if err := t.drop(); err != nil {
				t.log.Error("take the rules away", "err", err)
			}
		}
	})
}

func (t *table) drop() error {
	if t.backend == nil {
		return nil
	}
	backend := t.backend
	t.backend = nil
	defer t.reserve.take()
	return backend.Close()
}

func (t *table) inUse() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.users > 0
}

func (t *table) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}
	return t.drop()
}

// spared are the destinations that no redirect takes unless it names them: the
// API server and the pod's name servers.
func spared() []netip.AddrPort {
	var spare []netip.AddrPort
	// Every kubelet sets these two (pkg/kubelet, masterServices).
	if host, err := netip.ParseAddr(os.Getenv("KUBERNETES_SERVICE_HOST")); err == nil {
		if port, err := strconv.ParseUint(os.Getenv("KUBERNETES_SERVICE_PORT"), 10, 16); err == nil {
			spare = append(spare, netip.AddrPortFrom(host, uint16(port)))
		}
	}

	for _, server := range nameServers("/etc/resolv.conf") {
		spare = append(spare, netip.AddrPortFrom(server, 53), netip.AddrPortFrom(server, 853))
	}

	return spare
}
