package redirectserver

import (
	"net/netip"
	"testing"
	"time"

	"kdiag/mux/wire"
)

// TestSuspendedRedirect takes a redirect's rules out of the kernel and puts them back, as long as it
// is not detached.
func TestSuspendedRedirect(t *testing.T) {
	rules, made := newTestRuleSet(t, netip.Addr{})
	r := newFollower(t, rules, two.String(), func(m wire.Moved) error {
		t.Errorf("told %v", m)
		return nil
	})

	for range 2 {
		if ok := r.suspendRules(); !ok || len(made.attached) != 0 || !rules.inUse() {
			t.Errorf("suspended: %t, left %v, in use: %t", ok, made.attached, rules.inUse())
		}
		if _, err := r.refreshAddresses(t.Context()); err != nil || len(made.attached) != 0 || len(r.currentRules()) != 0 {
			t.Errorf("a suspended name moved: %v, rules %v", err, made.attached)
		}
	}
	for range 2 {
		if err := r.armRules(); err != nil || !made.attached[one] || len(r.currentRules()) != 1 {
			t.Errorf("armed: %v, rules %v", err, made.attached)
		}
	}

	r.suspendRules()
	made.refuse = one
	if err := r.armRules(); err == nil || len(made.attached) != 0 || !r.isSuspended() {
		t.Errorf("armed what somebody else holds: %v, rules %v", err, made.attached)
	}
	made.refuse = netip.Addr{}
	if err := r.stopRedirecting(); err != nil || rules.inUse() {
		t.Errorf("the end of a suspended redirect: %v, in use: %t", err, rules.inUse())
	}
	if err := r.armRules(); err != nil || len(made.attached) != 0 || r.suspendRules() || r.needsProof(9) {
		t.Errorf("a detached redirect was armed: %v, rules %v", err, made.attached)
	}
}

// TestLateTimer ignores a timer that was stopped too late to know of it.
func TestLateTimer(t *testing.T) {
	for _, laptop := range []attendance{{away: false, returns: 1}, {away: true, returns: 2}} {
		s := newRedirectSession(&Server{config: Config{AwayPatience: time.Hour}})
		s.laptopIs = laptop
		s.noteOverdue(1)
		if s.laptopIs.overdue {
			t.Errorf("a laptop that is %+v counts as overdue", laptop)
		}
	}

	s := newRedirectSession(&Server{config: Config{AwayPatience: time.Hour}})
	s.laptopIs = attendance{away: true, returns: 1}
	s.noteOverdue(1)
	s.helpers.Wait()
	if !s.laptopIs.overdue {
		t.Error("a laptop that is away does not count as overdue")
	}
}
