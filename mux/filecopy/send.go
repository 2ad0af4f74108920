package filecopy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"kdiag/mux/wire"
)

// SendOptions says how a tree is sent.
type SendOptions struct {
	// Resume asks the receiver what it has of each larger file.
	Resume bool
	// Problem is told of what is not copied, or not as it is.
	Problem func(wire.FilesProblem) error
	// Progress is told of bytes that were read; it may be nil.
	Progress func(bytes int64)
	// Totals is what there is to send, once somebody knows it; it may be nil.
	Totals <-chan wire.FilesTotals
}

// Sender sends one tree over a link.
type Sender struct {
	link    *Link
	options SendOptions
	digest  *Digest
	chunk   []byte
	entry   []byte
	// linked has the numbers of files with several names.
	linked map[fileID]uint32
	path   []string
	Counts Counts
}

// fileID is what makes a file the same under another name.
type fileID struct{ dev, ino uint64 }

// NewSender makes a sender.
func NewSender(link *Link, o SendOptions) *Sender {
	return &Sender{
		link: link, options: o, digest: NewDigest(), linked: map[fileID]uint32{},
		chunk: make([]byte, dataHead+wire.FilesChunk),
	}
}

// topName stands for the name of what is copied, which the receiver has from its user.
const topName = "copy"

// SendDirectory sends an open directory, and waits until everything is in place.
func (s *Sender) SendDirectory(dir Dir, info Info) error {
	if err := s.sendOpenDirectory(dir, topName, info); err != nil {
		return err
	}
	return s.finish()
}

// SendFile sends a file, and waits until it is in place.
func (s *Sender) SendFile(dir Dir, name string) error {
	if err := s.sendFile(dir, name, topName); err != nil {
		return err
	}
	return s.finish()
}

// SendStream sends what a stream has up to its end as a file with a mode.
func (s *Sender) SendStream(in io.Reader, mode uint32) error {
	entry := wire.Entry{Kind: wire.KindFile, Name: topName, Mode: mode, Size: -1}
	if err := s.sendEntry(entry); err != nil {
		return err
	}

	s.digest.Reset()
	for {
		n, err := in.Read(s.chunk[dataHead:])
		if n > 0 {
			if err := s.sendChunk(s.digest.Size(), n); err != nil {
				return err
			}
			if err := s.link.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read stdin: %w", err)
		}
	}

	s.Counts.Files++
	if err := s.sendEnd(wire.FileEnd{Size: s.digest.Size(), Digest: s.digest.Sum()}); err != nil {
		return err
	}
	return s.finish()
}

// finish says that this is all, and waits until the receiver has it.
func (s *Sender) finish() error {
	if err := s.link.Send(wire.FrameAllSent, nil); err != nil {
		return err
	}
	if err := s.link.Flush(); err != nil {
		return err
	}
	_, err := s.await(wire.FrameAllHere)
	return err
}

// await returns the next frame, which is of a kind.
func (s *Sender) await(kind byte) ([]byte, error) {
	frame, err := s.link.Receive()
	if err != nil {
		return nil, err
	}
	defer s.link.Release(frame)
	if frame.Kind != kind {
		return nil, fmt.Errorf("a frame %q where %q was expected", frame.Kind, kind)
	}
	return append([]byte(nil), frame.Content...), nil
}

func (s *Sender) sendEntry(e wire.Entry) error {
	s.entry = wire.AppendEntry(s.entry[:0], e)
	return s.link.Send(wire.FrameEntry, s.entry)
}

func (s *Sender) sendEnd(e wire.FileEnd) error {
	s.entry = wire.AppendFileEnd(s.entry[:0], e)
	return s.link.Send(wire.FrameFileEnd, s.entry)
}

// newEntry describes a file to the receiver.
func newEntry(name string, info Info) wire.Entry {
	return wire.Entry{Kind: info.Kind, Name: name, Mode: info.Mode & wire.MaxFileMode, MTime: info.MTime, UID: info.UID, GID: info.GID}
}

// tell reports a problem with a file in the directory that is being sent.
func (s *Sender) tell(name, text string) error {
	return s.report(wire.FilesProblem{Path: s.pathOf(name), Text: text})
}

// tellError reports an error of a file.
func (s *Sender) tellError(name, doing string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return s.tell(name, "not copied: it disappeared meanwhile")
	}
	if errors.Is(err, ErrSpecial) {
		return s.tell(name, "not copied: it became another kind of file meanwhile")
	}
	return s.report(wire.FilesProblem{
		Path: s.pathOf(name), Text: "not copied: " + doing + ": " + cause(err).Error(),
		Denied: errors.Is(err, fs.ErrPermission),
	})
}

func (s *Sender) report(p wire.FilesProblem) error {
	s.Counts.Problems++
	return s.options.Problem(p)
}

// cause returns what the system said, without the path, which is told otherwise.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// pathOf returns the path of a file in the directory that is being sent.
func (s *Sender) pathOf(name string) string {
	if len(s.path) == 0 {
		return ""
	}
	return strings.Join(append(s.path[1:len(s.path):len(s.path)], name), "/")
}

// sendOpenDirectory sends a directory and what is in it.
func (s *Sender) sendOpenDirectory(dir Dir, name string, info Info) error {
	if err := s.sendEntry(newEntry(name, info)); err != nil {
		return err
	}

	s.path = append(s.path, name)
	err := dir.List(func(d Dirent) error { return s.sendAny(dir, d) })
	s.path = s.path[:len(s.path)-1]
	var sending *sendError
	switch {
	case errors.As(err, &sending):
		return err
	case err != nil:
		if err := s.tellError(name, "read the directory", err); err != nil {
			return err
		}
	}

	return s.link.Send(wire.FrameUp, nil)
}

// sendError is an error that ends everything, as told from one of reading a directory.
type sendError struct{ error }

func (e *sendError) Unwrap() error { return e.error }

// sendAny sends a file of any kind.
func (s *Sender) sendAny(dir Dir, d Dirent) error {
	if err := s.sendKind(dir, d); err != nil {
		return &sendError{err}
	}
	return s.sendTotals()
}

// sendTotals sends the totals, once they are known.
func (s *Sender) sendTotals() error {
	select {
	case totals, ok := <-s.options.Totals:
		if !ok {
			s.options.Totals = nil
			return nil
		}
		return s.link.SendJSON(wire.FrameTotals, totals)
	default:
		return nil
	}
}

func (s *Sender) sendKind(dir Dir, d Dirent) error {
	if !wire.IsFileName(d.Name) {
		return s.tell(d.Name, "not copied: its name is too long")
	}

	kind := d.Kind
	if kind == 0 {
		info, err := dir.Stat(d.Name)
		if err != nil {
			return s.tellError(d.Name, "look at it", err)
		}
		if info.Kind == 0 {
			return s.tell(d.Name, "not copied: it is "+info.Special)
		}
		kind = info.Kind
	}

	switch kind {
	case wire.KindDirectory:
		return s.sendDirectory(dir, d.Name)
	case wire.KindSymlink:
		return s.sendSymlink(dir, d.Name)
	}
	return s.sendFile(dir, d.Name, d.Name)
}

// sendDirectory opens a directory and sends it.
func (s *Sender) sendDirectory(dir Dir, name string) error {
	if len(s.path) >= wire.MaxFileDepth {
		return s.tell(name, fmt.Sprintf("not copied: more than %d directories deep", wire.MaxFileDepth))
	}
	sub, info, err := dir.OpenDir(name)
	if err != nil {
		return s.tellError(name, "open the directory", err)
	}
	defer sub.Close()
	if info.Special != "" {
		return s.tell(name, "not copied: it is "+info.Special)
	}

	return s.sendOpenDirectory(sub, name, info)
}

func (s *Sender) sendSymlink(dir Dir, name string) error {
	info, err := dir.Stat(name)
	if err != nil {
		return s.tellError(name, "look at it", err)
	}
	text, err := dir.Readlink(name)
	if err != nil || info.Kind != wire.KindSymlink {
		return s.tellError(name, "read the link", errors.Join(err, ErrSpecial))
	}

	e := newEntry(name, info)
	e.Link = text
	s.Counts.Files++
	return s.sendEntry(e)
}

// sendFile sends a regular file under a name.
func (s *Sender) sendFile(dir Dir, name, as string) error {
	file, info, err := dir.OpenFile(name)
	if err != nil {
		return s.tellError(name, "open it", err)
	}
	defer file.Close()

	entry := newEntry(as, info)
	number, again := s.numberOf(info)
	if entry.Number = number; again {
		entry.Kind = wire.KindHardLink
		s.Counts.Files++
		return s.sendEntry(entry)
	}

	entry.Size = info.Size
	if err := s.sendEntry(entry); err != nil {
		return err
	}
	from, err := s.findStart(file, info)
	if err != nil {
		return err
	}
	return s.sendContent(file, info, name, from)
}

// numberOf returns the number of a file with several names, and whether it was sent before.
func (s *Sender) numberOf(info Info) (number uint32, again bool) {
	if info.Links <= 1 {
		return 0, false
	}

	id := fileID{info.Dev, info.Ino}
	if number, again = s.linked[id]; again {
		return number, true
	}
	if len(s.linked) >= wire.MaxLinked {
		return 0, false
	}
	number = uint32(len(s.linked) + 1)
	s.linked[id] = number
	return number, false
}

// findStart returns from where on a file is sent: from the end of what the receiver has, if that is
// how the file begins. The digest is that of what comes before.
func (s *Sender) findStart(file File, info Info) (int64, error) {
	s.digest.Reset()
	if !s.options.Resume || info.Size < wire.ResumeAsked {
		return 0, nil
	}
	if err := s.link.Flush(); err != nil {
		return 0, err
	}

	content, err := s.await(wire.FrameResume)
	if err != nil {
		return 0, err
	}
	point, err := wire.ParseResumePoint(content)
	if err != nil {
		return 0, err
	}

	from := point.Size
	if from > info.Size || addDigest(s.digest, file, info, from) != nil || s.digest.Sum() != point.Digest {
		s.digest.Reset()
		from = 0
	}
	return from, s.link.Send(wire.FrameBegin, appendOffset(from))
}

// sendContent sends a file's bytes from an offset on, and its end.
func (s *Sender) sendContent(file File, info Info, name string, from int64) error {
	if s.options.Progress != nil {
		s.options.Progress(from)
	}
	size, reading, err := s.sendExtents(file, info, from)
	if err != nil {
		return err
	}

	end := wire.FileEnd{Size: size, Failed: reading != nil}
	if reading != nil {
		if err := s.tellError(name, "read it", reading); err != nil {
			return err
		}
		return s.sendEnd(end)
	}

	if now, err := file.Stat(); err != nil || now.Size != info.Size || now.MTime != info.MTime || now.CTime != info.CTime {
		if err := s.tell(name, "changed while it was copied"); err != nil {
			return err
		}
	}
	s.digest.Skip(size)
	end.Digest = s.digest.Sum()
	s.Counts.Files++
	return s.sendEnd(end)
}

// maxUnsized bounds what is read of a file whose size is said to be 0, as it is in /proc.
const maxUnsized = 64 << 20

var errUnsized = errors.New("its size is said to be 0, but it has more than 64 MiB")

// sendExtents sends the data that a file has from an offset on. It returns where the file ended,
// and apart from each other what is wrong with the file and with the link.
func (s *Sender) sendExtents(file File, info Info, from int64) (size int64, reading, sending error) {
	err := eachExtent(file, info, from, func(at, end int64) (int64, error) {
		n, err := file.ReadAt(s.chunk[dataHead:dataHead+int(min(end-at, wire.FilesChunk))], at)
		if n > 0 {
			s.digest.Skip(at)
			if err := s.sendChunk(at, n); err != nil {
				return 0, &sendError{err}
			}
			return int64(n), nil
		}
		return 0, err
	}, &size)

	var failed *sendError
	if errors.As(err, &failed) {
		return size, nil, failed.error
	}
	return size, err, nil
}

// sendChunk sends n bytes that stand in s.chunk.
func (s *Sender) sendChunk(offset int64, n int) error {
	s.digest.Add(s.chunk[dataHead : dataHead+n])
	s.Counts.Bytes += int64(n)
	if s.options.Progress != nil {
		s.options.Progress(int64(n))
	}
	return s.link.SendData(offset, s.chunk[:dataHead+n])
}

// eachExtent calls read for the data of a file from an offset on, until it is at the file's end. It
// sets size to that end, which comes sooner than the file's size if the file has shrunk.
func eachExtent(file File, info Info, at int64, read func(at, end int64) (int64, error), size *int64) error {
	limit := info.Size
	if limit == 0 {
		limit = maxUnsized + 1
	}

	end := at
	for at < limit {
		if at >= end {
			var err error
			at, end, err = nextData(file, info, at, limit)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			continue
		}

		n, err := read(at, end)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n == 0 {
			*size = at
			return nil
		}
		at += n
	}
	if info.Size == 0 && at > maxUnsized {
		return errUnsized
	}

	*size = max(info.Size, min(at, limit))
	return nil
}

// nextData returns the next data of a file below a limit.
func nextData(file File, info Info, at, limit int64) (start, end int64, err error) {
	if !info.Sparse {
		return at, limit, nil
	}
	start, end, err = file.NextData(at)
	if err == nil && (start < at || end <= start) {
		return at, limit, nil
	}
	return min(start, limit), min(end, limit), err
}

// addDigest adds what a file has up to a size to a digest.
func addDigest(d *Digest, file File, info Info, size int64) error {
	buffer := make([]byte, wire.FilesChunk)
	part := info
	part.Size = size
	if size == 0 {
		return nil
	}

	var read int64
	err := eachExtent(file, part, 0, func(at, end int64) (int64, error) {
		n, err := file.ReadAt(buffer[:min(end-at, wire.FilesChunk)], at)
		d.Skip(at)
		d.Add(buffer[:n])
		return int64(n), err
	}, &read)
	if err == nil && read < size {
		err = io.ErrUnexpectedEOF
	}
	d.Skip(size)
	return err
}
