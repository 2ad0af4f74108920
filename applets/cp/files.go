package cp

import (
	"errors"
	"fmt"

	"kdiag/applets"
	"kdiag/applets/internal/laptop/localfiles"
	"kdiag/mux/filecopy"
	"kdiag/mux/wire"
)

// copyFiles copies in one of the two directions.
func (t *transfer) copyFiles() error {
	if t.upload {
		return t.send()
	}
	return t.receive()
}

// send copies from the laptop into the container.
func (t *transfer) send() error {
	request := wire.FilesRequest{
		Path: wire.FileBytes(t.remote.path), Base: wire.FileBytes(localBase(t.local)), Contents: standsForContents(t.local),
		Preserve: t.preserve, Resume: t.resume,
	}
	if t.local == stream {
		request.Base = ""
		if err := t.link.SendJSON(wire.FrameRequest, request); err != nil {
			return err
		}
		return t.newSender(nil).SendStream(stdinToCopy{t}, 0o644)
	}

	source, err := localfiles.OpenSource(t.local)
	if err != nil {
		return err
	}
	defer source.Dir.Close()
	if err := t.link.SendJSON(wire.FrameRequest, request); err != nil {
		return err
	}

	if source.Name != "" {
		t.meter.setTotals(wire.FilesTotals{Files: 1, Bytes: source.Info.Size})
		return t.newSender(nil).SendFile(source.Dir, source.Name)
	}
	if t.showsProgress() {
		go t.countLocal()
	}
	return t.newSender(nil).SendDirectory(source.Dir, source.Info)
}

// countLocal counts what there is to send, beside the copy.
func (t *transfer) countLocal() {
	source, err := localfiles.OpenSource(t.local)
	if err != nil {
		return
	}
	defer source.Dir.Close()
	t.meter.setTotals(filecopy.CountTree(source.Dir))
}

func (t *transfer) newSender(totals <-chan wire.FilesTotals) *filecopy.Sender {
	return filecopy.NewSender(t.link, filecopy.SendOptions{
		Resume: t.resume, Problem: t.tell, Progress: t.meter.add, Totals: totals,
	})
}

// receive copies from the container to the laptop.
func (t *transfer) receive() error {
	request := wire.FilesRequest{
		Path: wire.FileBytes(t.remote.path), Resume: t.resume, Totals: t.showsProgress(), FileOnly: t.local == stream,
	}
	if err := t.link.SendJSON(wire.FrameRequest, request); err != nil {
		return err
	}

	receiver := filecopy.NewReceiver(t.link, filecopy.ReceiveOptions{
		Place: t.placeLocal, Preserve: t.preserve, Resume: t.resume,
		Problem: t.tell, Progress: t.meter.add, Totals: t.meter.setTotals, Rules: localfiles.Rules(),
	})
	if err := receiver.Run(); err != nil {
		return err
	}
	if outer := receiver.OuterLinks(); outer > 0 {
		t.shell.Note(fmt.Sprintf("symbolic links that lead out of the copy: %d", outer))
	}
	return nil
}

// placeLocal opens where the copy goes.
func (t *transfer) placeLocal(top wire.Entry) (filecopy.Placement, error) {
	if top.Size > 0 {
		t.meter.setTotals(wire.FilesTotals{Files: 1, Bytes: top.Size})
	}
	if t.local == stream {
		return filecopy.PlaceStream(t.streams.Out)(top)
	}

	return localfiles.OpenPlace(filecopy.Destination{
		Path: t.local, Base: t.remote.base(), Contents: standsForContents(t.remote.path),
		IsDirectory: top.Kind == wire.KindDirectory, Resume: t.resume,
	})
}

// tell prints what is wrong with one file. After maxTold it counts only.
func (t *transfer) tell(p wire.FilesProblem) error {
	const maxTold = 1000
	p = p.Shorten()
	if p.Denied {
		t.denied.Store(true)
	}
	switch count := t.problems.Add(1); {
	case count < maxTold:
		applets.PrintError(t.line.WriterAbove(), errors.New(t.nameOf(p.Path)+": "+p.Text))
	case count == maxTold:
		applets.PrintError(t.line.WriterAbove(), errors.New("more files are not copied as they are; each is counted, and none named any more"))
	}
	return nil
}

// nameOf names a file of the copy at its source.
func (t *transfer) nameOf(below string) string {
	source := t.remote.path
	if t.upload {
		source = t.local
	}
	if below == "" {
		return source
	}
	return source + "/" + below
}

// result is nothing if all is there.
func (t *transfer) result() error {
	count := t.problems.Load()
	if count == 0 {
		return nil
	}

	err := fmt.Errorf("files that are not copied as they are: %d", count)
	if !t.denied.Load() {
		return err
	}
	if t.upload || t.hello.ReadsAll {
		return applets.WithHint(err, "user %d in the container may not open some of them", t.hello.UID)
	}
	return applets.WithHint(err, "files are read as user %d in the container, who may not open some of them; --profile=chroot reads as root, without --as-target", t.hello.UID)
}
