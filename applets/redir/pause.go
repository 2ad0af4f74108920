package redir

import (
	"context"
	"sync"
	"time"
)

// pauseAll gives new connections of every pod back, since this process is about to be stopped, and
// shows that.
func (f *follower) pauseAll(ctx context.Context) {
	var all sync.WaitGroup
	for _, client := range f.tally.listClients() {
		all.Go(func() { client.Pause(ctx) })
	}
	all.Wait()

	idle, _ := f.show.queue.progress()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-time.After(showTimeout):
	}
}

// showTimeout bounds the wait for an output that takes nothing.
const showTimeout = 500 * time.Millisecond

// resumeAll redirects again what pauseAll has given back.
func (f *follower) resumeAll() {
	for _, client := range f.tally.listClients() {
		client.Resume()
	}
}
