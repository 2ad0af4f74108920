package resumable

import "sync"

// chunkSize is how many bytes are kept together.
const chunkSize = 32 << 10

// maxSpareSlots is how much room for chunks stays when there is none.
const maxSpareSlots = 64

type chunk [chunkSize]byte

// keptBytes holds the bytes of a stream from position start to position end, in chunks of which all
// but the first and the last are full. It holds no chunk when it holds no byte.
type keptBytes struct {
	pool       sync.Pool // of *chunk
	chunks     []*chunk
	base       uint64 // position of the first chunk's first byte
	start, end uint64
}

func (k *keptBytes) size() int64 { return int64(k.end - k.start) }

// add copies p behind what is there.
func (k *keptBytes) add(p []byte) {
	if len(k.chunks) == 0 {
		k.base = k.end
	}

	for len(p) > 0 {
		at := k.end - k.base
		if at == uint64(len(k.chunks))*chunkSize {
			k.chunks = append(k.chunks, k.pool.Get().(*chunk))
		}

		n := copy(k.chunks[at/chunkSize][at%chunkSize:], p)
		k.end += uint64(n)
		p = p[n:]
	}
}

// copyFrom fills p with the bytes from position on, all of which must be there.
func (k *keptBytes) copyFrom(position uint64, p []byte) {
	for len(p) > 0 {
		at := position - k.base
		n := copy(p, k.chunks[at/chunkSize][at%chunkSize:])
		position += uint64(n)
		p = p[n:]
	}
}

// release forgets the bytes before position.
func (k *keptBytes) release(position uint64) {
	k.start = position
	full := int((position - k.base) / chunkSize)
	if position == k.end {
		full = len(k.chunks)
	}

	for i := range full {
		k.pool.Put(k.chunks[i])
		k.chunks[i] = nil
	}
	k.base += uint64(full) * chunkSize

	switch {
	case full < len(k.chunks):
		k.chunks = k.chunks[full:]
	case cap(k.chunks) <= maxSpareSlots:
		k.chunks = k.chunks[:0]
	default:
		k.chunks = nil
	}
}

// drop forgets everything.
func (k *keptBytes) drop() { k.release(k.end) }
