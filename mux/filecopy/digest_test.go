package filecopy

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"kdiag/mux/wire"
)

// TestDigest has the same digest for the same bytes, however they are cut, and wherever holes are.
func TestDigest(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		content := make([]byte, random.IntN(5*wire.FilesBlock))
		for at := 0; at < len(content); {
			n := min(1+random.IntN(2*wire.FilesBlock), len(content)-at)
			if random.IntN(2) == 0 {
				for i := range n {
					content[at+i] = byte(random.IntN(3))
				}
			}
			at += n
		}

		whole := NewDigest()
		whole.Add(content)
		want := whole.Sum()
		if again := whole.Sum(); again != want {
			t.Fatalf("a second Sum = %x, want %x", again, want)
		}
		if got := sumInParts(content, random); got != want {
			t.Fatalf("digest of %d bytes in parts = %x, want %x", len(content), got, want)
		}
		if got := blockSum(content); got != want {
			t.Fatalf("digest of %d bytes = %x, want that by the definition, %x", len(content), want, got)
		}
	}
}

// sumInParts adds the parts that are not zero, and skips some of the others.
func sumInParts(content []byte, random *rand.Rand) [wire.DigestSize]byte {
	d := NewDigest()
	for at := 0; at < len(content); {
		n := min(1+random.IntN(100_000), len(content)-at)
		part := content[at : at+n]
		at += n
		if len(bytes.Trim(part, "\x00")) > 0 || random.IntN(2) == 0 {
			d.Skip(int64(at - n))
			d.Add(part)
		}
	}
	d.Skip(int64(len(content)))
	return d.Sum()
}

// blockSum is the digest by its definition.
func blockSum(content []byte) (sum [wire.DigestSize]byte) {
	var all []byte
	for at := 0; at < len(content); at += wire.FilesBlock {
		block := content[at:min(at+wire.FilesBlock, len(content))]
		if len(bytes.Trim(block, "\x00")) > 0 {
			all = append(append(all, appendOffset(int64(at/wire.FilesBlock))...), block...)
		}
	}
	return sha256.Sum256(append(all, appendOffset(int64(len(content)))...))
}

// TestDigestTellsApart has another digest for another size, place or byte.
func TestDigestTellsApart(t *testing.T) {
	seen := map[[wire.DigestSize]byte]string{}
	for name, content := range map[string][]byte{
		"empty": nil, "a zero": {0}, "two zeros": {0, 0}, "a one": {1}, "a one and a zero": {1, 0},
		"a block of zeros":   make([]byte, wire.FilesBlock),
		"a one at the end":   append(make([]byte, wire.FilesBlock-1), 1),
		"a one in block two": append(make([]byte, wire.FilesBlock), 1),
		"a one in block one": append([]byte{1}, make([]byte, wire.FilesBlock)...),
	} {
		d := NewDigest()
		d.Add(content)
		sum := d.Sum()
		if other, taken := seen[sum]; taken {
			t.Errorf("%q and %q have the same digest", name, other)
		}
		seen[sum] = name
	}
}

// TestSkipIsQuick skips a hole of an exbibyte.
func TestSkipIsQuick(t *testing.T) {
	d := NewDigest()
	d.Add([]byte("begin"))
	d.Skip(1 << 60)
	d.Add([]byte("end"))
	if d.Size() != 1<<60+3 {
		t.Errorf("Size = %d", d.Size())
	}
	d.Sum()
}
