package resumable

import "time"

// maxSendTimes limits how many batches are remembered; what is sent beyond counts to the last one.
const maxSendTimes = 512

// sendTimes remembers when bytes were sent for the first time on a link, until they are
// acknowledged.
type sendTimes struct {
	batches []sentBatch // in the order of their positions
	first   int         // batches before it are acknowledged
}

type sentBatch struct {
	start, end uint64
	acked      uint64 // what was acknowledged when the batch was sent
	at         time.Duration
}

// add notes a batch that is sent.
func (t *sendTimes) add(batch sentBatch) {
	if t.first == len(t.batches) {
		t.batches, t.first = t.batches[:0], 0
	}

	if n := len(t.batches); n-t.first >= maxSendTimes && t.batches[n-1].end == batch.start {
		t.batches[n-1].end = batch.end
		return
	}
	if len(t.batches) == cap(t.batches) && t.first > len(t.batches)/2 {
		t.batches = t.batches[:copy(t.batches, t.batches[t.first:])]
		t.first = 0
	}

	t.batches = append(t.batches, batch)
}

// take returns the batch with the byte before position, and forgets those before it. It returns
// false if there is none: bytes that were sent again have no one time.
func (t *sendTimes) take(position uint64) (batch sentBatch, ok bool) {
	for t.first < len(t.batches) && t.batches[t.first].start < position {
		batch = t.batches[t.first]
		ok = position <= batch.end
		if position < batch.end {
			break
		}
		t.first++
	}

	return batch, ok
}
