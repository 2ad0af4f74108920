package filecopy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"kdiag/mux/wire"
)

// incoming is the file that is being received.
type incoming struct {
	entry wire.Entry
	in    *level
	// file is nil for one that is passed over.
	file File
	// temp is the name that the file has until it is complete, or empty if it is there already.
	temp string
	// pos is where the next data may begin, and from where this copy began.
	pos, from int64
}

// discard takes a file of which nothing is made. A sender that waits hears that nothing is there.
func (r *Receiver) discard(e wire.Entry) error {
	r.file = &incoming{entry: e}
	if !r.isAsked(e) {
		return nil
	}
	_, err := r.askStart(wire.ResumePoint{})
	return err
}

// isAsked reports whether the sender waits to hear what there is of a file.
func (r *Receiver) isAsked(e wire.Entry) bool { return r.options.Resume && e.Size >= wire.ResumeAsked }

// beginFile makes a file under a temporary name, or opens what a broken copy has left of it.
func (r *Receiver) beginFile(in *level, e wire.Entry) error {
	if !in.fresh || isLong(e) {
		if text := in.refuseReplacing(e.Name); text != "" {
			return r.refuse(e, text)
		}
	}
	if r.isAsked(e) {
		return r.resumeFile(in, e)
	}

	r.digest.Reset()
	now, err := r.createFile(in, e)
	if in.fresh && errors.Is(err, fs.ErrExist) {
		return r.refuse(e, sameName)
	}
	if err != nil {
		return r.refuseError(e, "create the file", err)
	}
	r.file = now
	return nil
}

// createFile makes a file. One that takes a single write to a directory in which nothing was has its
// own name at once.
func (r *Receiver) createFile(in *level, e wire.Entry) (*incoming, error) {
	now := &incoming{entry: e, in: in}
	var err error
	switch {
	case isLong(e):
		now.temp = partialName(e.Name)
		now.file, err = openTemp(in.dir, now.temp)
		if err == nil {
			err = now.file.Truncate(0)
		}
	case in.fresh:
		now.temp = e.Name
		now.file, err = in.dir.CreateFile(e.Name, e.Mode&0o777)
	default:
		now.temp = r.names.next()
		now.file, err = in.dir.CreateFile(now.temp, e.Mode&0o777)
	}

	if err != nil {
		now.close()
		return nil, err
	}
	return now, nil
}

// isLong reports whether a file is worth going on with once its copy broke off.
func isLong(e wire.Entry) bool { return e.Size < 0 || e.Size >= wire.ResumeAsked }

// openTemp opens the file of a temporary name, which may have been left there, and makes it if need
// be.
func openTemp(dir Dir, temp string) (File, error) {
	file, err := dir.CreateFile(temp, 0o600)
	if !errors.Is(err, fs.ErrExist) {
		return file, err
	}

	file, _, err = dir.OpenPartial(temp)
	if err == nil || errors.Is(err, ErrBusy) {
		return file, err
	}
	// It is no file of ours.
	if err := dir.Remove(temp); err != nil {
		return nil, err
	}
	return dir.CreateFile(temp, 0o600)
}

// ErrBusy reports a temporary file that another copy writes.
var ErrBusy = errors.New("another copy of the same file is under way")

// resumeFile tells the sender what is there of a file, and goes on from there.
func (r *Receiver) resumeFile(in *level, e wire.Entry) error {
	if found := r.openComplete(in.dir, e); found != nil {
		r.file = &incoming{entry: e, in: in, file: found, from: e.Size, pos: e.Size}
		from, err := r.askStart(wire.ResumePoint{Size: e.Size, Digest: r.digest.Sum()})
		if err != nil || from == e.Size {
			return err
		}
		r.file.close()
		r.file = nil
	} else if r.file = r.openBegun(in, e); r.file != nil {
		from, err := r.askStart(wire.ResumePoint{Size: r.file.pos, Digest: r.digest.Sum()})
		if err != nil {
			return err
		}
		if from == r.file.pos {
			return r.cutBegun()
		}
		r.file.close()
		r.file = nil
	} else if _, err := r.askStart(wire.ResumePoint{Digest: NewDigest().Sum()}); err != nil {
		return err
	}

	return r.beginAnew(in, e)
}

// cutBegun takes away what stands behind the part of a begun file that is used: where the source has
// a hole, nothing is written over it.
func (r *Receiver) cutBegun() error {
	if err := r.file.file.Truncate(r.file.pos); err != nil {
		return r.failWriting(err)
	}
	return nil
}

// beginAnew begins a file of which nothing can be used. The sender waits no longer.
func (r *Receiver) beginAnew(in *level, e wire.Entry) error {
	r.digest.Reset()
	now := &incoming{entry: e, in: in, temp: partialName(e.Name)}
	var err error
	if now.file, err = openTemp(in.dir, now.temp); err == nil {
		err = now.file.Truncate(0)
	}
	if err == nil {
		r.file = now
		return nil
	}

	now.close()
	if isFatal(err) {
		return fmt.Errorf("create the file %s: %w", r.pathOf(e.Name), cause(err))
	}
	r.file = &incoming{entry: e}
	return r.tell(e.Name, "not copied: create the file: "+cause(err).Error())
}

// openComplete opens a file that is there with the size and the time of the one to come, and adds it
// to the digest.
func (r *Receiver) openComplete(dir Dir, e wire.Entry) File {
	r.digest.Reset()
	file, info, err := dir.OpenFile(e.Name)
	if err != nil {
		return nil
	}
	if info.Size != e.Size || info.MTime != e.MTime || addDigest(r.digest, file, info, info.Size) != nil {
		_ = file.Close()
		return nil
	}
	return file
}

// openBegun opens what a broken copy has left of a file, and adds it to the digest.
func (r *Receiver) openBegun(in *level, e wire.Entry) *incoming {
	r.digest.Reset()
	begun := &incoming{entry: e, in: in, temp: partialName(e.Name)}
	file, info, err := in.dir.OpenPartial(begun.temp)
	if err != nil {
		return nil
	}

	begun.file = file
	usable := min(info.Size, e.Size)
	usable -= usable % wire.FilesBlock
	begun.pos, begun.from = usable, usable
	if usable == 0 || addDigest(r.digest, file, info, usable) != nil {
		begun.close()
		return nil
	}
	return begun
}

// askStart tells the sender what is there, and returns from where on it sends.
func (r *Receiver) askStart(point wire.ResumePoint) (int64, error) {
	if err := r.link.Send(wire.FrameResume, wire.AppendResumePoint(nil, point)); err != nil {
		return 0, err
	}
	if err := r.link.Flush(); err != nil {
		return 0, err
	}

	frame, err := r.link.Receive()
	if err != nil {
		return 0, err
	}
	defer r.link.Release(frame)
	if frame.Kind != wire.FrameBegin || len(frame.Content) != wire.FilesOffsetSize {
		return 0, errOrder
	}
	from := int64(binary.BigEndian.Uint64(frame.Content))
	if from != 0 && from != point.Size {
		return 0, fmt.Errorf("the sender goes on at %d, where %d bytes are", from, point.Size)
	}
	if from > 0 && r.options.Progress != nil {
		r.options.Progress(from)
	}
	return from, nil
}

// takeData writes data of the file that is being received.
func (r *Receiver) takeData(content []byte) error {
	if r.file == nil || len(content) < wire.FilesOffsetSize {
		return errOrder
	}

	now := r.file
	at := int64(binary.BigEndian.Uint64(content))
	data := content[wire.FilesOffsetSize:]
	end := at + int64(len(data))
	switch {
	case at < now.pos || end < at || now.entry.Size > 0 && end > now.entry.Size:
		return fmt.Errorf("data from %d to %d of a file of %d bytes, of which %d are there", at, end, now.entry.Size, now.pos)
	case now.entry.Size <= 0 && at != now.pos:
		return fmt.Errorf("data at %d of a file that has %d bytes so far", at, now.pos)
	}
	now.pos = end
	if now.file == nil {
		return nil
	}
	if now.temp == "" {
		return errOrder // it is complete
	}

	r.digest.Skip(at)
	r.digest.Add(data)
	if _, err := now.file.WriteAt(data, at); err != nil {
		return r.failWriting(err)
	}
	r.Counts.Bytes += int64(len(data))
	if r.options.Progress != nil {
		r.options.Progress(int64(len(data)))
	}
	return nil
}

// failWriting gives a file up that cannot be written.
func (r *Receiver) failWriting(err error) error {
	name := r.file.entry.Name
	if isFatal(err) {
		return fmt.Errorf("write %s: %w", r.pathOf(name), cause(err))
	}
	r.file.abandon()
	return r.tell(name, "not copied: write it: "+cause(err).Error())
}

// takeEnd completes the file that is being received.
func (r *Receiver) takeEnd(content []byte) error {
	end, err := wire.ParseFileEnd(content)
	if err != nil {
		return err
	}
	now := r.file
	if now == nil || !end.Failed && (end.Size < now.pos || end.Size > max(now.pos, now.entry.Size)) {
		return errOrder
	}

	if err := r.endFile(now, end); err != nil {
		return err
	}
	r.file = nil
	return nil
}

// endFile completes a file, unless it is not all there.
func (r *Receiver) endFile(now *incoming, end wire.FileEnd) error {
	switch {
	case now.file == nil:
		return nil
	case end.Failed:
		now.abandon()
		return nil
	}

	r.digest.Skip(end.Size)
	if r.digest.Sum() != end.Digest {
		now.abandon()
		return r.tell(now.entry.Name, "not copied: its SHA-256 differs at the two ends")
	}
	return r.complete(now, end.Size)
}

// complete gives a file its size, its meta data and its name.
func (r *Receiver) complete(now *incoming, size int64) error {
	if now.temp != "" && now.pos < size {
		if err := now.file.Truncate(size); err != nil {
			return r.failWriting(err)
		}
	}
	metaErr := now.file.SetMeta(r.metaOf(now.entry))
	if now.temp != "" {
		if err := now.settle(); err != nil {
			return r.failWriting(err)
		}
	}
	if now.temp != "" && now.temp != now.entry.Name {
		if err := now.in.dir.Rename(now.temp, now.entry.Name); err != nil {
			now.abandon()
			return r.tell(now.entry.Name, "not copied: rename it: "+cause(err).Error())
		}
	}
	now.close()
	r.Counts.Files++
	r.rememberLinked(now.entry)
	if metaErr != nil {
		return r.tell(now.entry.Name, "copied, but not its mode, time or owner: "+cause(metaErr).Error())
	}
	return nil
}

// rememberLinked remembers where a file with several names is. Paths may be long, and all of them
// together too long.
func (r *Receiver) rememberLinked(e wire.Entry) {
	if e.Number == 0 || len(r.linked) >= wire.MaxLinked {
		return
	}
	path := r.pathInTop(e.Name)
	if r.linkedBytes += len(path); r.linkedBytes <= wire.MaxLinkedPaths {
		r.linked[e.Number] = path
	}
}

// settle returns what closing a file tells. One that another copy may open by its temporary name is
// closed, and so unlocked, only once it has its own.
func (f *incoming) settle() error {
	if isLong(f.entry) {
		return f.file.Flush()
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// close closes a file, and leaves it where it is.
func (f *incoming) close() {
	if f.file != nil {
		_ = f.file.Close()
		f.file = nil
	}
}

// abandon takes a file away that will not be complete. What still comes of it is passed over.
func (f *incoming) abandon() {
	f.close()
	if f.temp != "" {
		_ = f.in.dir.Remove(f.temp)
		f.temp = ""
	}
}

// A PartialError is what ended a copy in the middle of a file, of which a part was kept.
type PartialError struct {
	Err error
	// Path is the file's, and Temp the name of what was kept beside it, Size bytes.
	Path, Temp string
	Size       int64
}

func (e *PartialError) Error() string { return e.Err.Error() }
func (e *PartialError) Unwrap() error { return e.Err }

// close closes what is open. It keeps the file that is being received if a copy can go on with it:
// where no space is left, only if that was asked for.
func (r *Receiver) close(err error) error {
	if now := r.file; now != nil && now.file != nil {
		keep := now.temp != "" && isLong(now.entry) && now.entry.Size >= 0 && now.pos >= wire.FilesBlock && (r.options.Resume || !isFatal(err))
		if keep {
			err = &PartialError{Err: err, Path: r.pathOf(now.entry.Name), Temp: now.temp, Size: now.pos}
			now.close()
		} else {
			now.abandon()
		}
	}

	for _, l := range r.levels {
		if l.dir != nil && l.dir != r.top.Dir {
			_ = l.dir.Close()
		}
	}
	if r.top.Dir != nil {
		_ = r.top.Dir.Close()
	}
	return err
}
