package redirectserver

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"kdiag/mux"
	"kdiag/mux/wire"
	"kdiag/netfilter"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSanitizeHolder(t *testing.T) {
	for name, want := range map[string]string{
		"me@laptop":             "me@laptop",
		"":                      "unknown",
		"a b\n\x7fä":            "a_b___",
		strings.Repeat("x", 99): strings.Repeat("x", netfilter.MaxHolder),
	} {
		if got := sanitizeHolder(name); got != want {
			t.Errorf("sanitizeHolder(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestNameServers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# comment\nsearch prod.svc\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\nnameserver\nnameserver x\noptions ndots:5\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	want := []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fe80::1")}
	if got := readNameServers(file); !reflect.DeepEqual(got, want) {
		t.Errorf("readNameServers = %v, want %v", got, want)
	}
	if got := readNameServers(file + ".none"); got != nil {
		t.Errorf("readNameServers of no file = %v", got)
	}
}

// A memoryBackend remembers the rules that it was given, and refuses those of one address.
type memoryBackend struct {
	attached map[netip.Addr]bool
	refuse   netip.Addr
	closed   bool
}

func (r *memoryBackend) Name() string { return "nft" }
func (r *memoryBackend) Close() error { r.closed = true; return nil }

func (r *memoryBackend) Attach(rule netfilter.Redirect) error {
	if rule.Address == r.refuse {
		return &netfilter.HeldError{Redirect: rule, Holder: "you@there"}
	}
	r.attached[rule.Address] = true
	return nil
}

func (r *memoryBackend) Detach(rule netfilter.Redirect) error {
	if !r.attached[rule.Address] {
		return errors.New("not attached")
	}
	delete(r.attached, rule.Address)
	return nil
}

var one, two, three = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")

// outgoingRules returns rules for outgoing connections to port 80 of addresses.
func outgoingRules(addresses ...netip.Addr) []netfilter.Redirect {
	var list []netfilter.Redirect
	for _, address := range addresses {
		list = append(list, netfilter.Redirect{Direction: netfilter.Outgoing, Port: 80, Address: address})
	}
	return list
}

// newTestRuleSet makes a ruleSet over a memoryBackend.
func newTestRuleSet(t *testing.T, refuse netip.Addr) (*ruleSet, *memoryBackend) {
	t.Helper()
	made := &memoryBackend{attached: map[netip.Addr]bool{}, refuse: refuse}
	rules := newRuleSet(Config{
		ID: "id", Log: slog.New(slog.DiscardHandler),
		OpenBackend: func(string, netfilter.Config) (netfilter.Backend, error) { return made, nil },
	})
	t.Cleanup(func() { _ = rules.close(); rules.reserve.release() })
	return rules, made
}

// TestAllOrNone leaves nothing of a redirect of which one rule was refused.
func TestAllOrNone(t *testing.T) {
	rules, made := newTestRuleSet(t, two)
	_, _, err := rules.attachRules("auto", outgoingRules(one, two, three))
	var refused *mux.RemoteError
	if !errors.As(err, &refused) || refused.Code != wire.CodeHeld || !strings.Contains(refused.Message, "by you@there") || refused.Hint == "" {
		t.Errorf("attach = %#v, want that it is held, and by whom", err)
	}

	if len(made.attached) != 0 || rules.inUse() {
		t.Errorf("left: %v, in use: %t", made.attached, rules.inUse())
	}
	if _, _, err := rules.attachRules("auto", outgoingRules(one)); err != nil {
		t.Fatal(err)
	}

	if _, _, err := rules.attachRules("iptables", outgoingRules(three)); !errors.As(err, &refused) || refused.Code != wire.CodeUnsupported {
		t.Errorf("another back end beside the open one: %v", err)
	}
	if err := rules.detachRules(outgoingRules(one)); err != nil || rules.inUse() || made.closed {
		t.Errorf("detach = %v, in use: %t, closed at once: %t", err, rules.inUse(), made.closed)
	}
}

// TestRequests refuses what makes no sense before it touches the kernel.
func TestRequests(t *testing.T) {
	rules, _ := newTestRuleSet(t, netip.Addr{})
	server := &Server{
		ruleSet: rules, doorPorts: []uint16{4000}, config: Config{Log: slog.New(slog.DiscardHandler), Version: "v1"},
		pool: newConnectionPool(16), budget: mux.NewBudget(slowCallers, fastCallers),
	}
	s := newRedirectSession(server)
	s.redirects[7] = &redirectListener{}
	s.bindLaptop(&mux.Session{})
	ask := func(name, body string) error {
		_, err := s.handleRequest(t.Context(), name, json.RawMessage(body))
		return err
	}

	if err := ask(wire.RequestAttach, `{"id":1,"port":80}`); err == nil || !strings.Contains(err.Error(), "must be hello") {
		t.Errorf("attach before hello = %v", err)
	}
	for body, want := range map[string]string{
		`{"holder":"me@here","graceSeconds":-1}`:        "must not be negative",
		`{"holder":"me@here","graceSeconds":3601}`:      "must be at most 3600 s, not 3601 s",
		`{"holder":"me@here","onDisconnect":"explode"}`: `unknown choice of what happens on disconnect: "explode"`,
	} {
		if err := ask(wire.RequestHello, body); err == nil || !strings.Contains(err.Error(), want) || s.holder != "" {
			t.Errorf("hello %s = %v, holder %q, want %q and no holder", body, err, s.holder, want)
		}
	}
	if err := ask(wire.RequestHello, `{"holder":"me@here"}`); err != nil || s.holder != "me@here" {
		t.Errorf("hello = %v, holder %q", err, s.holder)
	}

	for body, want := range map[string]string{
		`{"id":1}`:                       "port must not be 0",
		`{"id":1,"port":4000}`:           "belongs to the manager",
		`{"id":1,"port":80,"host":"db"}`: "needs an outgoing redirect",
		`{"id":7,"port":80}`:             "already exists",
		`{"id":1,"port":70000}`:          "decode",
		`[]`:                             "decode",
	} {
		if err := ask(wire.RequestAttach, body); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("attach %s = %v, want %q", body, err, want)
		}
	}

	if err := ask(wire.RequestDetach, `{"id":9}`); err == nil || !strings.Contains(err.Error(), "no redirect 9") {
		t.Errorf("detach of none = %v", err)
	}

	var refused *mux.RemoteError
	if err := ask("dance", `null`); !errors.As(err, &refused) || refused.Code != wire.CodeUnsupported {
		t.Errorf("an unknown request = %v", err)
	}
}

// TestHelloSetsGrace bounds what a laptop may ask for.
func TestHelloSetsGrace(t *testing.T) {
	for seconds, want := range map[float64]time.Duration{0: time.Minute, 0.25: 250 * time.Millisecond, 3600: time.Hour, 1e-12: 1} {
		if got, err := sessionGrace(wire.Hello{GraceSeconds: seconds}); err != nil || got != want {
			t.Errorf("grace of %v s = %v, %v, want %v", seconds, got, err, want)
		}
	}
	for given, want := range map[string]string{"": "app", "app": "app", "hold": "hold", "reset": "reset"} {
		if got, err := disconnectPolicy(wire.Hello{OnDisconnect: given}); err != nil || got != want {
			t.Errorf("on disconnect %q = %q, %v, want %q", given, got, err, want)
		}
	}
}
