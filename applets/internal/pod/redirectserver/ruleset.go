package redirectserver

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"kdiag/mux/wire"
	"kdiag/netfilter"
)

// A ruleSet holds this manager's rules in the kernel. It keeps the back end open from the first
// redirect until the last redirected connection has ended, because connections break without
// rules.
type ruleSet struct {
	id   string
	log  *slog.Logger
	open func(name string, c netfilter.Config) (netfilter.Backend, error)

	mu      sync.Mutex
	backend netfilter.Backend
	mesh    string
	holds   int // redirects and redirected connections, which keep the back end open
	timer   *time.Timer
	closed  bool
	ports   map[uint16]bool // of the redirects' listeners
	reserve descriptorReserve
	// retired are the listeners of redirects that are over, the oldest first.
	retired  []*net.TCPListener
	retiring sync.WaitGroup // serve the retired listeners
}

// linger is how long the rules outlive the last connection, whose last segments may still be on
// their way.
const linger = 3 * time.Second

// newRuleSet makes an empty set, and takes the reserve of file descriptors.
func newRuleSet(c Config) *ruleSet {
	r := &ruleSet{id: c.ID, log: c.Log, open: c.OpenBackend, ports: map[uint16]bool{}}
	r.reserve.fill()
	return r
}

// setListenerPort notes whether one of the redirects' listeners has a port.
func (r *ruleSet) setListenerPort(port uint16, used bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if used {
		r.ports[port] = true
	} else {
		delete(r.ports, port)
	}
}

// isListenerPort reports whether one of the redirects' listeners has a port.
func (r *ruleSet) isListenerPort(port uint16) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ports[port]
}

// attachRules adds rules, all or none, with the back end of a name: "auto", "nft" or "iptables".
// It opens the back end for the first rules.
func (r *ruleSet) attachRules(name string, rules []netfilter.Redirect) (backend, mesh string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ensureBackend(name); err != nil {
		return "", "", err
	}

	if err := r.addAll(rules); err != nil {
		r.scheduleClose()
		return "", "", err
	}

	r.holds++
	return r.backend.Name(), r.mesh, nil
}

// restoreRules adds rules of a redirect that has a hold already, all or none.
func (r *ruleSet) restoreRules(rules []netfilter.Redirect) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.backend == nil {
		return errors.New("the manager is shutting down")
	}
	return r.addAll(rules)
}

// addAll adds rules, all or none. mu is held.
func (r *ruleSet) addAll(rules []netfilter.Redirect) error {
	for i, rule := range rules {
		if err := r.backend.Attach(rule); err != nil {
			for _, made := range rules[:i] {
				err = errors.Join(err, r.backend.Detach(made))
			}
			return explainAttach(rule, err)
		}
	}

	return nil
}

// ensureBackend opens the back end, or checks that the open one is the one asked for.
func (r *ruleSet) ensureBackend(name string) error {
	if r.closed {
		return errors.New("the manager is shutting down")
	}

	if r.backend != nil {
		if name != "auto" && name != r.backend.Name() {
			return refuseRequest(wire.CodeUnsupported, "stop its redirects first, or leave out --netfilter",
				"this manager already uses %s", r.backend.Name())
		}

		return nil
	}

	mesh, err := netfilter.DetectMesh()
	if err != nil {
		r.log.Warn("look for a service mesh", "err", err)
	}

	// The back end gets the low numbers of the reserve, which is filled again once it is closed.
	r.reserve.release()
	config := netfilter.Config{ID: r.id, Mark: Mark, Exclude: excludedDestinations(), LoopbackOnly: mesh != ""}
	r.backend, err = r.open(name, config)
	if err != nil {
		r.backend = nil
		r.reserve.fill()
		return refuseRequest(wire.CodeUnsupported, "redirects need nftables in the node's kernel, or an image with iptables in it", "%v", err)
	}

	r.mesh = mesh
	r.forgetDead()
	return nil
}

// explainAttach says who holds the port, if that is why a rule could not be added.
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
func (r *ruleSet) changeRules(add, remove []netfilter.Redirect) (added []netfilter.Redirect, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.backend == nil {
		return nil, nil
	}

	for _, rule := range remove {
		err = errors.Join(err, r.backend.Detach(rule))
	}

	for _, rule := range add {
		if attachErr := r.backend.Attach(rule); attachErr != nil {
			err = errors.Join(err, explainAttach(rule, attachErr))
			continue
		}
		added = append(added, rule)
	}

	return added, err
}

// openTrials prepares connections that try rules. A back end that cannot try any has none.
func (r *ruleSet) openTrials(rules []netfilter.Redirect) (*netfilter.Trials, error) {
	r.mu.Lock()
	backend := r.backend
	r.mu.Unlock()

	prover, ok := backend.(netfilter.Prover)
	if !ok {
		return &netfilter.Trials{}, nil
	}

	return prover.OpenTrials(rules)
}

// keepsSources reports whether keepSource works with the back end.
func (r *ruleSet) keepsSources() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.backend.(netfilter.SourceKeeper)
	return ok
}

// keepSource has a connection of the manager's own come from another address
// (netfilter.SourceKeeper).
func (r *ruleSet) keepSource(port uint16, source netip.Addr) (forget func() error, err error) {
	r.mu.Lock()
	backend := r.backend
	r.mu.Unlock()

	keeper, ok := backend.(netfilter.SourceKeeper)
	if !ok {
		return nil, errors.New("the back end keeps no sources")
	}
	return keeper.KeepSource(port, source)
}

// detachRules removes a redirect's rules. Its connections go on.
func (r *ruleSet) detachRules(rules []netfilter.Redirect) error {
	_, err := r.changeRules(nil, rules)
	r.releaseBackend()
	return err
}

// holdBackend keeps the back end open for a connection, until releaseBackend.
func (r *ruleSet) holdBackend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds++
}

// releaseBackend ends the hold of a redirect or of a connection.
func (r *ruleSet) releaseBackend() {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.holds--
	r.scheduleClose()
}

// scheduleClose closes the back end a while after its last hold has ended. mu is held.
func (r *ruleSet) scheduleClose() {
	if r.holds > 0 || r.backend == nil || r.closed {
		return
	}
	if r.timer != nil {
		r.timer.Stop()
	}

	r.timer = time.AfterFunc(linger, func() {
		r.mu.Lock()
		defer r.mu.Unlock()

		if r.holds == 0 {
			if err := r.closeBackend(); err != nil {
				r.log.Error("remove the rules", "err", err)
			}
		}
	})
}

// closeBackend closes the back end, and with it removes every rule. mu is held.
func (r *ruleSet) closeBackend() error {
	if r.backend == nil {
		return nil
	}

	backend := r.backend
	r.backend = nil
	defer r.reserve.fill()
	err := backend.Close()
	r.closeRetired()
	return err
}

// inUse reports whether there are redirects or redirected connections.
func (r *ruleSet) inUse() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.holds > 0
}

// close removes every rule, now and for good.
func (r *ruleSet) close() error {
	defer r.retiring.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}

	return r.closeBackend()
}

// excludedDestinations returns what no redirect takes unless it names it: the API server and the
// pod's name servers.
func excludedDestinations() []netip.AddrPort {
	var excluded []netip.AddrPort
	// Every kubelet sets these two (pkg/kubelet, masterServices).
	if host, err := netip.ParseAddr(os.Getenv("KUBERNETES_SERVICE_HOST")); err == nil {
		if port, err := strconv.ParseUint(os.Getenv("KUBERNETES_SERVICE_PORT"), 10, 16); err == nil {
			excluded = append(excluded, netip.AddrPortFrom(host, uint16(port)))
		}
	}

	for _, server := range readNameServers("/etc/resolv.conf") {
		excluded = append(excluded, netip.AddrPortFrom(server, 53), netip.AddrPortFrom(server, 853))
	}

	return excluded
}
