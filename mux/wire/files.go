package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// "kdiag files" copies files between the laptop and a container, over the stdin and stdout of an
// exec. Each side begins with FilesGreeting and then sends frames: a kind, the number of bytes that
// follow in 4 bytes, the most significant first, and so many bytes.
//
//	from the pod   h  FilesHello, in JSON
//	from the laptop  q  FilesRequest, in JSON
//	from the sender of files
//	  e  an Entry; that of a directory opens it
//	  b  after "r": the offset in 8 bytes from which on the file's data follows, the point's or 0
//	  d  data of the last entry: its offset in 8 bytes, then the bytes. What no frame has is zero
//	  f  FileEnd of the last entry
//	  u  the open directory is complete
//	  t  FilesTotals, in JSON: what there is to copy, where the laptop asked for it
//	  z  everything has been sent
//	from the receiver
//	  r  ResumePoint: what is there of the last entry, for which the sender waits
//	  k  everything that was sent is in place
//	from each side
//	  c  room for so many more bytes, in 4 bytes
//	  w  FilesProblem: one file is not copied, or has changed; the rest goes on
//	  x  FilesProblem: nothing goes on
//
// The receiver of "k" ends the streams; the pod waits for that, since the end of its process would
// cut off what is under way.
const (
	FilesGreeting = "kdiagF1\n"

	FrameHello   = 'h'
	FrameRequest = 'q'
	FrameEntry   = 'e'
	FrameBegin   = 'b'
	FrameData    = 'd'
	FrameFileEnd = 'f'
	FrameUp      = 'u'
	FrameTotals  = 't'
	FrameAllSent = 'z'
	FrameResume  = 'r'
	FrameAllHere = 'k'
	FrameRoom    = 'c'
	FrameProblem = 'w'
	FrameFailure = 'x'

	// FilesHeadSize is the size of a frame's head, and FilesOffsetSize of a data frame's offset.
	FilesHeadSize   = 5
	FilesOffsetSize = 8
	// FilesChunk is the most data that a frame has, and MaxFilesFrame the longest frame.
	FilesChunk    = 128 << 10
	MaxFilesFrame = FilesChunk + FilesOffsetSize

	// A side sends no more than the other has room for, so that neither keeps the connection
	// waiting. Room is counted in bytes of frames, but for those that tell of room. At first there
	// is room for this much.
	FilesRoomInPod    = 4 << 20
	FilesRoomOnLaptop = 4 << 20

	// FilesBlock is the unit of a file's digest (package filecopy), and of what is resumed.
	FilesBlock = 64 << 10
	// ResumeAsked is the size from which on a sender waits for the answer "r" if a copy is resumed.
	ResumeAsked = FilesBlock

	// Bounds of names, of links' texts, of how deep directories may be, and of how many files with
	// several names are remembered, and how long their paths are together.
	MaxFileName  = 1024
	MaxLinkText  = 4096
	MaxFileDepth = 500
	MaxLinked    = 100_000

	MaxLinkedPaths = 32 << 20
)

// FilesHello says in the pod's first frame as whom files are read or written there.
type FilesHello struct {
	UID int `json:"uid"`
	GID int `json:"gid"`
	// TargetUID is the user of the target's first process.
	TargetUID int `json:"targetUID"`
	// ReadsAll says that the modes of files keep nothing from this user.
	ReadsAll bool `json:"readsAll,omitempty"`
}

// FilesRequest says what is copied.
type FilesRequest struct {
	// Path is the one in the container.
	Path FileBytes `json:"path"`
	// Base is the name that the copy gets in a directory Path, where the laptop sends. If it is
	// empty, the copy gets Path itself.
	Base FileBytes `json:"base,omitempty"`
	// Contents says that a directory is not to be copied into Path, but over it.
	Contents bool `json:"contents,omitempty"`
	// Preserve keeps owners, and the bits setuid and setgid.
	Preserve bool `json:"preserve,omitempty"`
	Resume   bool `json:"resume,omitempty"`
	// Totals asks for FilesTotals.
	Totals bool `json:"totals,omitempty"`
	// FileOnly refuses a directory.
	FileOnly bool `json:"fileOnly,omitempty"`
}

// FileBytes is a name or a path, which may be no text: JSON keeps only what is UTF-8.
type FileBytes string

// MarshalJSON writes the bytes in base64.
func (b FileBytes) MarshalJSON() ([]byte, error) { return json.Marshal([]byte(b)) }

// UnmarshalJSON is the reverse of MarshalJSON.
func (b *FileBytes) UnmarshalJSON(text []byte) error {
	var bytes []byte
	err := json.Unmarshal(text, &bytes)
	*b = FileBytes(bytes)
	return err
}

// FilesTotals says how much there is to copy.
type FilesTotals struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

// FilesProblem tells what is wrong with a file, or with all of a copy.
type FilesProblem struct {
	// Path is the file's, below what is copied.
	Path string `json:"path,omitempty"`
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
	// Denied says that the user in the pod has no right to the file.
	Denied bool `json:"denied,omitempty"`
}

// Shorten returns a problem that fits into a frame, however deep the file is.
func (p FilesProblem) Shorten() FilesProblem {
	const longest = 4 << 10 // JSON may need 6 bytes for one
	for _, text := range []*string{&p.Path, &p.Text, &p.Hint} {
		if over := len(*text) - longest; over > 0 {
			*text = "…" + (*text)[over:]
		}
	}
	return p
}

// FileKind is what an Entry stands for.
type FileKind byte

// The kinds of files.
const (
	KindFile      FileKind = 'f'
	KindDirectory FileKind = 'd'
	KindSymlink   FileKind = 'l'
	// KindHardLink is another name of a file that was sent before.
	KindHardLink FileKind = 'h'
)

// Entry describes a file. Its name is that in the directory that is open.
type Entry struct {
	Kind FileKind
	Name string
	// Mode has the permissions, and the bits setuid, setgid and sticky.
	Mode uint32
	// MTime is in nanoseconds since 1970; 0 for none.
	MTime    int64
	UID, GID uint32
	// Size is a file's, or -1 where only its end tells.
	Size int64
	// Link is what a symbolic link says.
	Link string
	// Number is not 0 for a file that has several names. A KindHardLink has the number of the file
	// that was sent before.
	Number uint32
}

// MaxFileMode holds every bit that Entry.Mode may have.
const MaxFileMode = 0o7777

var errEntry = errors.New("malformed entry")

// AppendEntry appends the encoding of an entry.
func AppendEntry(to []byte, e Entry) []byte {
	to = append(to, byte(e.Kind))
	to = binary.AppendUvarint(to, uint64(e.Mode))
	to = binary.AppendVarint(to, e.MTime)
	to = binary.AppendUvarint(to, uint64(e.UID))
	to = binary.AppendUvarint(to, uint64(e.GID))
	to = binary.AppendVarint(to, e.Size)
	to = binary.AppendUvarint(to, uint64(e.Number))
	to = binary.AppendUvarint(to, uint64(len(e.Name)))
	to = append(to, e.Name...)
	return append(to, e.Link...)
}

// ParseEntry parses an entry, and refuses what no entry has: its name is one that can be in a
// directory, and no way out of it.
func ParseEntry(content []byte) (Entry, error) {
	in := decoder{rest: content}
	e := Entry{Kind: FileKind(in.takeByte())}
	e.Mode = uint32(in.takeNumber(MaxFileMode))
	e.MTime = in.takeSigned()
	e.UID = uint32(in.takeNumber(1<<32 - 1))
	e.GID = uint32(in.takeNumber(1<<32 - 1))
	e.Size = in.takeSigned()
	e.Number = uint32(in.takeNumber(1<<32 - 1))
	e.Name = in.takeText(MaxFileName)
	e.Link = string(in.rest)
	if in.failed {
		return Entry{}, errEntry
	}

	return e, e.check()
}

// check refuses an entry whose parts do not fit.
func (e Entry) check() error {
	switch {
	case !IsFileName(e.Name):
		return fmt.Errorf("%w: name %q", errEntry, e.Name)
	case e.Size < -1, e.Kind != KindFile && e.Size != 0:
		return fmt.Errorf("%w: size %d", errEntry, e.Size)
	case len(e.Link) > MaxLinkText || (e.Kind == KindSymlink) != (e.Link != "") || strings.Contains(e.Link, "\x00"):
		return fmt.Errorf("%w: link %q", errEntry, e.Link)
	case e.Kind == KindHardLink && e.Number == 0:
		return fmt.Errorf("%w: link to no file", errEntry)
	}

	switch e.Kind {
	case KindFile, KindDirectory, KindSymlink, KindHardLink:
		return nil
	}
	return fmt.Errorf("%w: kind %q", errEntry, e.Kind)
}

// IsFileName reports whether a name can be that of a file in a directory.
func IsFileName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= MaxFileName && !strings.ContainsAny(name, "/\x00")
}

// DigestSize is the size of a digest: SHA-256's.
const DigestSize = 32

// FileEnd is the end of a file's data.
type FileEnd struct {
	// Size is what was read of it.
	Size   int64
	Digest [DigestSize]byte
	// Failed says that the sender could not read all of it, and has told so.
	Failed bool
}

// AppendFileEnd appends the encoding of a file's end.
func AppendFileEnd(to []byte, e FileEnd) []byte {
	failed := byte(0)
	if e.Failed {
		failed = 1
	}
	return appendDigest(append(to, failed), e.Size, e.Digest)
}

// ParseFileEnd parses the end of a file.
func ParseFileEnd(content []byte) (FileEnd, error) {
	if len(content) != 1+8+DigestSize || content[0] > 1 {
		return FileEnd{}, errors.New("malformed end of a file")
	}
	e := FileEnd{Failed: content[0] == 1}
	var err error
	e.Size, e.Digest, err = parseDigest(content[1:])
	return e, err
}

// ResumePoint says how much of a file is there: Size bytes, with a digest. A sender answers with
// where it goes on: at the same size if the digest is that of its own file, else at 0.
type ResumePoint struct {
	Size   int64
	Digest [DigestSize]byte
}

// AppendResumePoint appends the encoding of a point.
func AppendResumePoint(to []byte, p ResumePoint) []byte { return appendDigest(to, p.Size, p.Digest) }

// ParseResumePoint parses a point.
func ParseResumePoint(content []byte) (ResumePoint, error) {
	var p ResumePoint
	var err error
	p.Size, p.Digest, err = parseDigest(content)
	return p, err
}

func appendDigest(to []byte, size int64, digest [DigestSize]byte) []byte {
	return append(binary.BigEndian.AppendUint64(to, uint64(size)), digest[:]...)
}

// parseDigest parses a size and a digest.
func parseDigest(content []byte) (size int64, digest [DigestSize]byte, err error) {
	if len(content) != 8+DigestSize {
		return 0, digest, fmt.Errorf("%d bytes of size and digest", len(content))
	}
	size = int64(binary.BigEndian.Uint64(content))
	if size < 0 {
		return 0, digest, fmt.Errorf("size %d", size)
	}
	copy(digest[:], content[8:])
	return size, digest, nil
}

// decoder takes an encoding apart. Once it has failed it returns zeros.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) takeByte() byte {
	if len(d.rest) == 0 {
		d.failed = true
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

// takeNumber takes a number that is at most largest.
func (d *decoder) takeNumber(largest uint64) uint64 {
	number, n := binary.Uvarint(d.rest)
	if n <= 0 || number > largest {
		d.failed, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return number
}

func (d *decoder) takeSigned() int64 {
	number, n := binary.Varint(d.rest)
	if n <= 0 {
		d.failed, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return number
}

// takeText takes a text of at most longest bytes.
func (d *decoder) takeText(longest uint64) string {
	size := d.takeNumber(longest)
	if size > uint64(len(d.rest)) {
		d.failed, d.rest = true, nil
		return ""
	}
	text := string(d.rest[:size])
	d.rest = d.rest[size:]
	return text
}
