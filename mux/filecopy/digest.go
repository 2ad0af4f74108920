package filecopy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"kdiag/mux/wire"
)

// Digest is the SHA-256 of a file's blocks that are not all zero, each with its number before it,
// and of its size. So two files have the same digest if their bytes are the same, wherever they have
// holes, and a hole of terabytes takes no time.
type Digest struct {
	hash  hash.Hash
	pos   int64
	block [wire.FilesBlock]byte
	// dirty says that the block under way is not all zero.
	dirty bool
}

// zeros is what a block without data has. Nothing writes to it.
var zeros [wire.FilesBlock]byte

// NewDigest makes the digest of an empty file.
func NewDigest() *Digest { return &Digest{hash: sha256.New()} }

// Reset makes it the digest of an empty file again.
func (d *Digest) Reset() {
	d.hash.Reset()
	d.pos, d.dirty = 0, false
}

// Size returns how many bytes there have been.
func (d *Digest) Size() int64 { return d.pos }

// Add adds bytes.
func (d *Digest) Add(p []byte) {
	for len(p) > 0 {
		at := int(d.pos % wire.FilesBlock)
		if at == 0 && len(p) >= wire.FilesBlock {
			d.addBlock(p[:wire.FilesBlock])
			d.pos += wire.FilesBlock
			p = p[wire.FilesBlock:]
			continue
		}

		if !d.dirty {
			clear(d.block[:at])
			d.dirty = true
		}
		n := copy(d.block[at:], p)
		d.pos += int64(n)
		p = p[n:]
		d.endBlock()
	}
}

// endBlock adds the block under way if it is complete.
func (d *Digest) endBlock() {
	if d.pos%wire.FilesBlock == 0 && d.dirty {
		d.pos -= wire.FilesBlock
		d.addBlock(d.block[:])
		d.pos += wire.FilesBlock
		d.dirty = false
	}
}

// Skip adds zeros up to a position.
func (d *Digest) Skip(to int64) {
	if at := int(d.pos % wire.FilesBlock); d.dirty && to > d.pos {
		n := min(to-d.pos, int64(wire.FilesBlock-at))
		clear(d.block[at : at+int(n)])
		d.pos += n
		d.endBlock()
	}
	d.pos = max(d.pos, to)
}

// addBlock adds a block, or the beginning of one, at the position.
func (d *Digest) addBlock(block []byte) {
	if bytes.Equal(block, zeros[:len(block)]) {
		return
	}
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], uint64(d.pos/wire.FilesBlock))
	d.hash.Write(number[:])
	d.hash.Write(block)
}

// Sum returns the digest of a file that ends here. Only at a multiple of a block may more follow.
func (d *Digest) Sum() (sum [wire.DigestSize]byte) {
	if at := d.pos % wire.FilesBlock; d.dirty && at > 0 {
		d.pos -= at
		d.addBlock(d.block[:at])
		d.pos += at
		d.dirty = false
	}

	// The size goes into a copy of the state.
	state, err := d.hash.(hash.Cloner).Clone()
	if err != nil {
		panic(err) // sha256 always can
	}
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(d.pos))
	state.Write(size[:])
	state.Sum(sum[:0])
	return sum
}
