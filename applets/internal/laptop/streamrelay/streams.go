// Package streamrelay is the laptop's end of the relay that stands between a shell in a pod and the
// streams of an exec. It knows when all of the output has arrived, and it never keeps the connection
// waiting: not for a user who does not read, nor for a command that does not.
package streamrelay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"kdiag/kube"
	"kdiag/mux/wire"
)

// Streams carries the three streams of a command that has no terminal.
type Streams struct {
	in             io.Reader
	stdout, stderr *output
	parser         parser

	mu      sync.Mutex
	changed sync.Cond
	toPod   []byte // what Read returns next
	input   []byte // a frame of stdin that waits to be sent
	room    int    // for stdin
	started bool   // stdin is being read
	ended   bool   // stdin has ended, and is to be told
	exited  bool   // the pod has sent the exit code
	code    int
	allCame bool // is to be told
	closed  bool
	calls   Calls
}

// Calls are what a relay's end tells of. None of them may wait for the user.
type Calls struct {
	// Begun is called when the relay greets, before anything is written that came after that: it is
	// the shell's, no longer the launcher's.
	Begun func()
	// Ending is called when everything has arrived and the exec may be cut off.
	Ending func()
	// Failed is called when the user's stdout or stderr cannot be written, or the terminal is gone.
	Failed func(error)
}

// ackSize is how much of an output is written before the pod hears of room for it. What is smaller
// needs no answer at all.
const ackSize = wire.RelayOutputRoom / 16

// New returns the streams of a command.
func New(in io.Reader, out, err io.Writer, calls Calls) *Streams {
	s := &Streams{in: in, room: wire.RelayInputRoom, calls: calls}
	s.changed.L = &s.mu
	s.parser.streams = s
	s.stdout = newOutput("stdout", out, s.wake, calls.Failed)
	s.stderr = newOutput("stderr", err, s.wake, calls.Failed)
	return s
}

// wake has Read look again.
func (s *Streams) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

// Stdin returns what the exec sends to the pod.
func (s *Streams) Stdin() io.Reader { return (*toPod)(s) }

// Stdout returns what takes the stdout of the exec.
func (s *Streams) Stdout() io.Writer { return &s.parser }

// Stderr returns what takes the stderr of the exec, which carries only what is said before the
// shell starts.
func (s *Streams) Stderr() io.Writer { return s.stderr }

// errCut reports that a command's end was not told, though the exec has ended.
var errCut = errors.New("connection lost before all of the output arrived")

// Finish waits until all that arrived is written, or until stop is closed, and returns the result of
// the command whose exec returned err. The result is an error unless all of the output was written.
func (s *Streams) Finish(stop <-chan struct{}, err error) error {
	s.mu.Lock()
	s.closed = true
	exited, code := s.exited, s.code
	s.mu.Unlock()
	s.wake()

	for _, o := range []*output{s.stdout, s.stderr} {
		if failure := o.finish(stop); failure != nil {
			return failure
		}
	}

	greeted, wrong := s.parser.state()
	var exit *kube.CommandExitError
	switch {
	case wrong != nil:
		return wrong
	case exited && code != 0:
		return &kube.CommandExitError{Code: code}
	case exited:
		return nil
	case err == nil, errors.As(err, &exit) && greeted && exit.Code <= maxOwnCode:
		return errCut
	}

	return err
}

// maxOwnCode is the highest exit code that says nothing of a signal.
const maxOwnCode = 128

// toPod is Streams as the reader of what goes to the pod.
type toPod Streams

func (t *toPod) Read(p []byte) (int, error) {
	s := (*Streams)(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started {
		s.started = true
		go s.readInput()
	}

	for len(s.toPod) == 0 && !s.gather() {
		if s.closed || s.allCame {
			return 0, io.EOF
		}
		s.changed.Wait()
	}

	n := copy(p, s.toPod)
	s.toPod = s.toPod[n:]
	return n, nil
}

// gather collects what there is to send. It reports whether there is anything. The caller holds mu.
func (s *Streams) gather() bool {
	s.toPod = nil
	if n := s.stdout.takeAck(); n > 0 {
		s.toPod = wire.AppendRelayHead(s.toPod, wire.RelayOutput, n)
	}
	if n := s.stderr.takeAck(); n > 0 {
		s.toPod = wire.AppendRelayHead(s.toPod, wire.RelayErrors, n)
	}

	if len(s.input) > 0 {
		s.toPod = append(wire.AppendRelayHead(s.toPod, wire.RelayInput, len(s.input)), s.input...)
		s.input = nil
		s.changed.Broadcast()
	}

	if s.ended && !s.exited {
		s.toPod = wire.AppendRelayHead(s.toPod, wire.RelayInputEnd, 0)
		s.ended = false
	}
	if s.exited && !s.allCame {
		s.toPod = wire.AppendRelayHead(s.toPod, wire.RelayAllCame, 0)
		s.allCame = true
		go s.calls.Ending()
	}

	return len(s.toPod) > 0
}

// inputPart is how much of stdin one frame carries: with its head, and one for each output, it fits
// into the 32 KiB that an exec sends at once.
const inputPart = 32<<10 - 3*wire.RelayHeadSize

// readInput reads the user's stdin as far as the pod has room for it: one part while the last one is
// sent.
func (s *Streams) readInput() {
	part, next := make([]byte, inputPart), make([]byte, inputPart)
	for {
		room := s.awaitRoom()
		if room == 0 {
			return
		}

		n, err := s.in.Read(part[:min(room, len(part))])
		if !s.sendInput(part[:n], err != nil) {
			return
		}
		part, next = next, part
	}
}

// awaitRoom returns how much may be sent, or 0 once nothing more is wanted.
func (s *Streams) awaitRoom() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.room == 0 && !s.closed && !s.exited {
		s.changed.Wait()
	}
	if s.closed || s.exited {
		return 0
	}
	return s.room
}

// sendInput has a part of stdin sent once the last one has been. It reports whether another is
// wanted.
func (s *Streams) sendInput(part []byte, last bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.input) > 0 && !s.closed && !s.exited {
		s.changed.Wait()
	}

	s.input = part
	s.room -= len(part)
	s.ended = last
	s.changed.Broadcast()
	return !last
}

// parser takes the frames apart that come from the pod.
type parser struct {
	streams *Streams

	mu      sync.Mutex
	greeted bool
	head    []byte
	to      *output
	left    int // of the frame's bytes
	err     error
}

// Write never waits for the user.
func (p *parser) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := len(b)
	for len(b) > 0 && p.err == nil {
		if p.left > 0 {
			n := min(p.left, len(b))
			p.err = p.to.put(b[:n])
			p.left -= n
			b = b[n:]
			continue
		}
		b = p.readHead(b)
	}

	if p.err != nil {
		p.streams.calls.Failed(p.err)
	}
	return size, p.err
}

// state returns whether the pod has greeted, and what it did wrong.
func (p *parser) state() (greeted bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.greeted, p.err
}

// readHead reads the greeting, or the head of a frame, as far as it has arrived. It returns the
// rest.
func (p *parser) readHead(b []byte) []byte {
	want := wire.RelayHeadSize
	if !p.greeted {
		want = len(wire.RelayGreeting)
	}

	n := min(want-len(p.head), len(b))
	p.head = append(p.head, b[:n]...)
	if len(p.head) < want {
		return b[n:]
	}

	if !p.greeted {
		p.greeted = true
		p.streams.calls.Begun()
		if string(p.head) != wire.RelayGreeting {
			p.err = fmt.Errorf("the container's program is not this kdiag: its output begins with %q", p.head)
		}
	} else {
		p.err = p.beginFrame(p.head[0], int(binary.BigEndian.Uint32(p.head[1:])))
	}
	p.head = p.head[:0]
	return b[n:]
}

// beginFrame handles what is known once the head of a frame is there.
func (p *parser) beginFrame(kind byte, number int) error {
	s := p.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	switch kind {
	case wire.RelayOutput:
		p.to, p.left = s.stdout, number
	case wire.RelayErrors:
		p.to, p.left = s.stderr, number
	case wire.RelayInput:
		s.room = min(s.room+number, wire.RelayInputRoom)
	case wire.RelayExit:
		s.exited, s.code = true, number
	default:
		return fmt.Errorf("the pod sent a frame of an unknown kind %q", kind)
	}

	s.changed.Broadcast()
	return nil
}
