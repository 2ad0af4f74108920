package filecopy

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"kdiag/mux/wire"
)

// ReceiveOptions says what a receiver does with a tree.
type ReceiveOptions struct {
	// Place returns the directory and the name that the copy gets, once it is known what comes. The
	// receiver closes the directory.
	Place func(top wire.Entry) (Placement, error)
	// Preserve keeps owners, and the bits setuid and setgid.
	Preserve bool
	Resume   bool
	// Problem is told of what is not in place as it is at the source.
	Problem func(wire.FilesProblem) error
	// Progress is told of bytes that are in place; it may be nil.
	Progress func(bytes int64)
	// Totals is told how much comes; it may be nil.
	Totals func(wire.FilesTotals)
	// Rules says which names the file system does not take.
	Rules NameRules
}

// Placement is where a copy goes.
type Placement struct {
	Dir  Dir
	Name string
	// Over says that Dir itself is the copy: what comes goes into it, and it stays as it is, unless
	// Begun says that it was made by a copy that broke off.
	Over, Begun bool
}

// Destination is what somebody has said of where a copy goes.
type Destination struct {
	Path string
	// Base is the name that the copy gets in a directory Path; empty for none.
	Base string
	// Contents says that a directory is not copied into Path, but over it.
	Contents    bool
	IsDirectory bool
	Resume      bool
}

// PlaceIn returns where a copy goes if its path is that of an open directory, which it closes with
// an error.
func (d Destination) PlaceIn(dir Dir) (Placement, error) {
	switch {
	case d.IsDirectory && d.Resume && isBegun(dir):
		return Placement{Dir: dir, Over: true, Begun: true}, nil
	case d.IsDirectory && (d.Contents || d.Base == ""):
		return Placement{Dir: dir, Over: true}, nil
	case d.Base == "":
		_ = dir.Close()
		return Placement{}, errors.New("it is a directory; name the file")
	}
	return Placement{Dir: dir, Name: d.Base}, nil
}

// begunMark is a file in the directory that is a copy, as long as that is not complete. By it a copy
// that goes on knows that the directory is not one to copy into.
const begunMark = tempStart + "copy-is-incomplete"

func isBegun(dir Dir) bool {
	_, err := dir.Stat(begunMark)
	return err == nil
}

// markBegun notes that the directory that is open is not complete.
func (r *Receiver) markBegun() error {
	file, err := r.levels[0].dir.CreateFile(begunMark, 0o600)
	if err != nil {
		return fmt.Errorf("create a file: %w", cause(err))
	}
	return file.Close()
}

// Receiver makes a tree of what a link brings.
type Receiver struct {
	link    *Link
	options ReceiveOptions
	digest  *Digest
	levels  []*level
	file    *incoming
	// top is the directory in which the copy is made, and linked the paths of files with several
	// names below it.
	top    Placement
	linked map[uint32]string
	// linkedBytes is how long these paths are together.
	linkedBytes int
	names       tempNames
	outer       int // links that lead out of the copy
	placed      bool
	Counts      Counts
}

// level is a directory that is open.
type level struct {
	dir  Dir // nil for one that is passed over
	name string
	meta Meta
	// fresh says that it was made for this copy, so that nothing is in it.
	fresh bool
	// keep leaves the directory's own mode and time, and begun says that it has the begunMark.
	keep, begun bool
	seen        seenNames
}

// NewReceiver makes a receiver.
func NewReceiver(link *Link, o ReceiveOptions) *Receiver {
	return &Receiver{link: link, options: o, digest: NewDigest(), linked: map[uint32]string{}, names: newTempNames()}
}

// OuterLinks returns how many symbolic links lead out of the copy.
func (r *Receiver) OuterLinks() int { return r.outer }

// Run receives a tree until all of it is in place, and tells the sender.
func (r *Receiver) Run() (err error) {
	defer func() { err = r.close(err) }()

	for {
		frame, err := r.link.Receive()
		if err != nil {
			return err
		}
		isLast, err := r.take(frame)
		r.link.Release(frame)
		if err != nil {
			return err
		}
		if isLast {
			break
		}
	}

	if err := r.link.Send(wire.FrameAllHere, nil); err != nil {
		return err
	}
	return r.link.Flush()
}

// take does what one frame says. It reports whether it was the last.
func (r *Receiver) take(frame Frame) (isLast bool, err error) {
	switch frame.Kind {
	case wire.FrameEntry:
		return false, r.takeEntry(frame.Content)
	case wire.FrameData:
		return false, r.takeData(frame.Content)
	case wire.FrameFileEnd:
		return false, r.takeEnd(frame.Content)
	case wire.FrameUp:
		return false, r.goUp()
	case wire.FrameTotals:
		return false, r.takeTotals(frame.Content)
	case wire.FrameAllSent:
		if r.file != nil || len(r.levels) > 0 {
			return false, errOrder
		}
		return true, nil
	}
	return false, fmt.Errorf("a frame of an unknown kind %q", frame.Kind)
}

// errOrder reports frames that cannot follow each other.
var errOrder = errors.New("the other side sends frames in a wrong order")

func (r *Receiver) takeTotals(content []byte) error {
	var totals wire.FilesTotals
	if err := json.Unmarshal(content, &totals); err != nil {
		return fmt.Errorf("totals: %w", err)
	}
	if r.options.Totals != nil {
		r.options.Totals(totals)
	}
	return nil
}

// takeEntry begins a file or a directory, or makes a link.
func (r *Receiver) takeEntry(content []byte) error {
	e, err := wire.ParseEntry(content)
	if err != nil {
		return err
	}
	if r.file != nil || len(r.levels) == 0 && r.placed || len(r.levels) > wire.MaxFileDepth {
		return errOrder
	}
	if len(r.levels) == 0 {
		return r.placeTop(e)
	}

	in := r.levels[len(r.levels)-1]
	if in.dir == nil {
		return r.passOver(e)
	}
	if e.Name == begunMark {
		return r.refuse(e, "not copied: it is the mark of an incomplete copy")
	}
	if IsPartialName(e.Name) {
		return r.refuse(e, "not copied: it is what an incomplete copy has left of a file")
	}
	if text := in.seen.refuse(e.Name, r.options.Rules); text != "" {
		return r.refuse(e, text)
	}
	return r.makeEntry(in, e)
}

// placeTop begins the copy.
func (r *Receiver) placeTop(e wire.Entry) error {
	r.placed = true
	place, err := r.options.Place(e)
	if err != nil {
		return err
	}

	r.top = place
	if place.Over {
		r.levels = append(r.levels, &level{dir: place.Dir, keep: !place.Begun, begun: place.Begun, meta: r.metaOf(e)})
		return nil
	}

	e.Name = place.Name
	if err := r.makeEntry(&level{dir: place.Dir}, e); err != nil {
		return err
	}
	if len(r.levels) == 0 || !r.levels[0].fresh {
		return nil
	}
	r.levels[0].begun = true
	return r.markBegun()
}

// makeEntry makes what an entry describes in a directory.
func (r *Receiver) makeEntry(in *level, e wire.Entry) error {
	switch e.Kind {
	case wire.KindDirectory:
		return r.makeDirectory(in, e)
	case wire.KindSymlink:
		return r.makeLink(in, e, func(name string) error { return in.dir.Symlink(e.Link, name) })
	case wire.KindHardLink:
		path, known := r.linked[e.Number]
		if !known {
			return r.tell(e.Name, "not copied: the file that it is another name of is not there, or not remembered")
		}
		return r.makeLink(in, e, func(name string) error { return in.dir.Link(r.top.Dir, path, name) })
	}
	return r.beginFile(in, e)
}

// passOver takes an entry of which nothing is made.
func (r *Receiver) passOver(e wire.Entry) error {
	switch e.Kind {
	case wire.KindDirectory:
		r.levels = append(r.levels, &level{name: e.Name})
	case wire.KindFile:
		return r.discard(e)
	}
	return nil
}

// refuse tells why nothing is made of an entry.
func (r *Receiver) refuse(e wire.Entry, text string) error {
	if err := r.tell(e.Name, text); err != nil {
		return err
	}
	return r.passOver(e)
}

// refuseError does the same for an error, unless that ends everything.
func (r *Receiver) refuseError(e wire.Entry, doing string, err error) error {
	if isFatal(err) {
		return fmt.Errorf("%s %s: %w", doing, r.pathOf(e.Name), cause(err))
	}
	return r.refuse(e, "not copied: "+doing+": "+cause(err).Error())
}

// tell reports a problem with a file in the directory that is open.
func (r *Receiver) tell(name, text string) error {
	r.Counts.Problems++
	return r.options.Problem(wire.FilesProblem{Path: r.pathOf(name), Text: text})
}

// pathOf returns the path of a file in the directory that is open, below what is copied.
func (r *Receiver) pathOf(name string) string {
	if len(r.levels) == 0 {
		return ""
	}
	var path []string
	for _, l := range r.levels[1:] {
		path = append(path, l.name)
	}
	return strings.Join(append(path, name), "/")
}

// pathInTop returns the path of a file below r.top.Dir.
func (r *Receiver) pathInTop(name string) string {
	path := r.pathOf(name)
	if r.top.Over {
		return path
	}
	return strings.TrimSuffix(r.top.Name+"/"+path, "/")
}

// metaOf returns what a copy gets.
func (r *Receiver) metaOf(e wire.Entry) Meta {
	mode := e.Mode
	if !r.options.Preserve {
		mode &^= 0o6000
	}
	return Meta{Kind: e.Kind, Mode: mode, MTime: e.MTime, Owner: r.options.Preserve, UID: e.UID, GID: e.GID}
}

// makeDirectory makes a directory, or goes into the one that is there.
func (r *Receiver) makeDirectory(in *level, e wire.Entry) error {
	made := in.dir.Mkdir(e.Name)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return r.refuseError(e, "make the directory", made)
	}
	if made != nil && in.fresh {
		return r.refuse(e, sameName)
	}

	dir, _, err := in.dir.OpenDir(e.Name)
	if err != nil {
		if made != nil {
			return r.refuse(e, "not copied: something else than a directory has its name")
		}
		return r.refuseError(e, "open the directory", err)
	}

	if r.options.Progress != nil {
		r.options.Progress(0)
	}
	r.levels = append(r.levels, &level{dir: dir, name: e.Name, meta: r.metaOf(e), fresh: made == nil})
	return nil
}

// goUp completes the directory that is open.
func (r *Receiver) goUp() error {
	if r.file != nil || len(r.levels) == 0 {
		return errOrder
	}

	done := r.levels[len(r.levels)-1]
	r.levels = r.levels[:len(r.levels)-1]
	if done.dir == nil {
		return nil
	}
	if done.begun {
		_ = done.dir.Remove(begunMark) // without it, a later copy goes into the directory
	}
	if !done.keep {
		if err := done.dir.SetMeta(".", done.meta); err != nil {
			if err := r.tell(done.name, "copied, but not its mode, time or owner: "+cause(err).Error()); err != nil {
				return err
			}
		}
	}
	if done.dir != r.top.Dir {
		_ = done.dir.Close()
	}
	return nil
}

// makeLink makes a link by make, under another name first if its own is taken.
func (r *Receiver) makeLink(in *level, e wire.Entry, makeIt func(name string) error) error {
	err := makeIt(e.Name)
	if errors.Is(err, fs.ErrExist) {
		if text := in.refuseReplacing(e.Name); text != "" {
			return r.refuse(e, text)
		}
		temp := r.names.next()
		if err = makeIt(temp); err == nil {
			err = in.dir.Rename(temp, e.Name)
			// Two names of one file stay as they are (rename(2)).
			_ = in.dir.Remove(temp)
		}
	}
	if err != nil {
		return r.refuseError(e, "make the link", err)
	}

	r.Counts.Files++
	if e.Kind == wire.KindHardLink {
		return nil
	}
	if leadsOut(r.levels, e.Link) {
		r.outer++
	}
	if err := in.dir.SetMeta(e.Name, r.metaOf(e)); err != nil {
		return r.tell(e.Name, "copied, but not its time or owner: "+cause(err).Error())
	}
	return nil
}

// leadsOut reports whether a link's text leads out of the copy, other links aside.
func leadsOut(levels []*level, text string) bool {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, `\`) || strings.Contains(text, ":") {
		return true
	}

	depth := len(levels) - 1
	for part := range strings.SplitSeq(text, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// sameName says that two files of a copy have the same name, as they may where the case of letters,
// or how they are composed, makes no difference.
const sameName = "not copied: here its name is the same as that of another file of the copy"

// refuseReplacing says why a file may not be replaced, if it may not. What is in a fresh directory
// has come with this copy.
func (l *level) refuseReplacing(name string) string {
	switch info, err := l.dir.Stat(name); {
	case err != nil:
		return "" // what comes says why
	case l.fresh:
		return sameName
	case info.Kind == wire.KindDirectory:
		return "not copied: a directory has its name"
	case info.Kind == 0:
		return "not copied: " + info.Special + " has its name"
	}
	return ""
}

func appendOffset(offset int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(offset)) }
