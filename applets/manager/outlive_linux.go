package manager

import (
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/podproc"
)

const (
	// endLook is the time between two looks whether the application has ended. A look that costs
	// much, as one does with few CPU and many sockets, is taken less often.
	endLook    = 100 * time.Millisecond
	maxEndLook = time.Second
	costlyLook = 10
	// endLooks is how often in a row nothing of the application must be seen: one that is at work
	// may have no socket for a moment.
	endLooks = 2
	// failedLooks is how often in a row a look may fail: a lack of memory or of descriptors passes.
	failedLooks = 20
)

// outliveApplication returns when the pod's application has ended, or nothing is in use and w does
// not outlive that. The kubelet sends SIGTERM to all containers at once when a pod is deleted, and
// the application may take its grace period to end: meanwhile its redirects and shells go on. Then
// the pod's end waits for this process.
func (w work) outliveApplication(streams applets.Streams) {
	for unseen, failed := 0, 0; unseen < endLooks; {
		began := time.Now()
		used, err := w.inUse()
		if err == nil && !used && !w.outlivesIdle {
			return
		}

		left, err := w.applicationLeft()
		switch {
		case err != nil && failed == failedLooks:
			applets.Note(streams.Err, "check whether the application has ended: %v", err)
			return
		case err != nil:
			failed++
		case left:
			unseen, failed = 0, 0
		default:
			unseen, failed = unseen+1, 0
		}

		w.pause(min(max(endLook, costlyLook*time.Since(began)), maxEndLook))
	}
}

// pause waits for some time, and for children that have ended.
func (w work) pause(wait time.Duration) {
	over := time.After(wait)
	for {
		select {
		case <-w.ended:
			podproc.ReapChildren()
		case <-over:
			return
		}
	}
}
