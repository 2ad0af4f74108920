package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// testLockName returns the name of a lock of the test's own.
func testLockName(t *testing.T) string {
	return fmt.Sprintf("@kdiag-cluster-test-%d-%s", os.Getpid(), t.Name())
}

// TestLockWaitsItsTurn takes a lock only after its holder has released it.
func TestLockWaitsItsTurn(t *testing.T) {
	name := testLockName(t)
	unlock, err := takeLock(t.Context(), name, func() { t.Error("waited for nobody") })
	if err != nil {
		t.Fatal(err)
	}

	waited, second := make(chan struct{}), make(chan error)
	go func() {
		unlock, err := takeLock(t.Context(), name, func() { close(waited) })
		if err == nil {
			unlock()
		}
		second <- err
	}()

	<-waited
	select {
	case err := <-second:
		t.Fatalf("the second did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}

	unlock()
	if err := <-second; err != nil {
		t.Error(err)
	}
}

// TestLockGivesUp stops waiting when its context is done.
func TestLockGivesUp(t *testing.T) {
	name := testLockName(t)
	unlock, err := takeLock(t.Context(), name, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := takeLock(ctx, name, func() {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("lock() = %v, want deadline exceeded", err)
	}
}

// TestLockIsNotInherited starts a process while it holds the lock. The process lives
// on, and does not hold it.
func TestLockIsNotInherited(t *testing.T) {
	name := testLockName(t)
	unlock, err := takeLock(t.Context(), name, func() {})
	if err != nil {
		t.Fatal(err)
	}

	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Process.Kill()

	unlock()
	again, err := takeLock(t.Context(), name, func() { t.Error("a child holds the lock") })
	if err != nil {
		t.Fatal(err)
	}

	again()
}

// TestLockGoesWithItsHolder takes a lock after its holder was killed.
func TestLockGoesWithItsHolder(t *testing.T) {
	name := testLockName(t)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdEnv+"="+name)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}

	waited := false
	time.AfterFunc(100*time.Millisecond, func() { holder.Process.Kill() })
	unlock, err := takeLock(t.Context(), name, func() { waited = true })
	if err != nil {
		t.Fatal(err)
	}

	unlock()
	if !waited {
		t.Error("the holder did not hold it")
	}

	holder.Wait()
}
