package packets

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"kdiag/applets"
	"kdiag/applets/internal/pod/lastuse"
	"kdiag/applets/internal/pod/lockdown"
	"kdiag/applets/internal/pod/procfs"
	"kdiag/mux/wire"

	"golang.org/x/sys/unix"
)

const (
	// statisticsInterval is the time between two records of statistics.
	statisticsInterval = time.Second
	// drainTime bounds the wait for the next of the last packets.
	drainTime = 5 * time.Second
)

// run captures until the laptop says stop, and then waits for it to end stdin. It returns at once
// when stdin ends, even while nobody reads what it writes.
func run(ctx context.Context, streams applets.Streams) error {
	lastuse.MarkUsed()
	if err := lockdown.KeepCapabilities(procfs.CapSet(1<<unix.CAP_NET_RAW), 0); err != nil {
		return err
	}

	request, lines, err := readRequest(streams.In)
	if err != nil {
		return err
	}
	c, err := open(request, streams.Out)
	if err != nil {
		return err
	}

	// The sockets are open: no capability is of use any more.
	if err := lockdown.KeepCapabilities(0, 0); err != nil {
		return err
	}

	gone := make(chan struct{})
	go func() {
		defer close(gone)
		c.obey(lines)
	}()

	done := make(chan error, 1)
	go func() { done <- c.capture() }()
	select {
	case err := <-done:
		if err == nil {
			<-gone // the end of the process would cut off what is under way
		}
		return err
	case <-gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// capturer reads the rings of all interfaces.
type capturer struct {
	rings []*ring
	notes []string
	out   io.Writer
	// stop is an event descriptor that is readable once the laptop wants no more.
	stop   int
	buffer []byte
}

// open opens a ring for each interface that the request means.
func open(request wire.PacketsRequest, out io.Writer) (*capturer, error) {
	sources, notes, err := findSources(request)
	if err != nil {
		return nil, err
	}

	c := &capturer{out: out, notes: notes}
	if c.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("make an event descriptor: %w", err)
	}

	blocks := max(minBlocks, min(maxBlocks, allBlocks/len(sources)))
	for _, from := range sources {
		added, err := openRing(from, blocks)
		if err != nil {
			return nil, err // the process ends, and everything with it
		}
		c.rings = append(c.rings, added)
	}
	return c, nil
}

// obey waits for the order to stop, and returns when stdin ends.
func (c *capturer) obey(lines *bufio.Reader) {
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return
		}
		if strings.TrimSpace(string(line)) == wire.StopPackets {
			_, _ = unix.Write(c.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		}
	}
}

// capture sends the interfaces, their packets until the laptop wants no more, and the end.
func (c *capturer) capture() error {
	var err error
	for _, r := range c.rings {
		if c.buffer, err = wire.AppendInterface(c.buffer, r.PacketInterface); err != nil {
			return err
		}
	}
	for _, note := range c.notes {
		c.buffer = wire.AppendNote(c.buffer, note)
	}
	if err := c.send(); err != nil {
		return err
	}

	if err := c.follow(); err != nil {
		return err
	}
	return c.finish()
}

// follow sends packets until the laptop wants no more.
func (c *capturer) follow() error {
	counted := time.Now()
	for {
		stopped, err := c.wait(statisticsInterval)
		if err != nil || stopped {
			return err
		}
		if err := c.sendReady(); err != nil {
			return err
		}

		if time.Since(counted) >= statisticsInterval {
			counted = time.Now()
			if err := c.readCounts(); err != nil {
				return err
			}
			if err := c.sendCounts(); err != nil {
				return err
			}
		}
	}
}

// wait waits until a ring has a block, the laptop wants no more, or some time has passed.
func (c *capturer) wait(most time.Duration) (stopped bool, err error) {
	list := []unix.PollFd{{Fd: int32(c.stop), Events: unix.POLLIN}}
	for _, r := range c.rings {
		if r.isReady() {
			most = 0
		}
		list = append(list, unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN})
	}

	_, err = unix.Poll(list, int(most.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, fmt.Errorf("wait for packets: %w", err)
	}

	for i, r := range c.rings {
		if list[i+1].Revents&unix.POLLERR != 0 {
			if err := r.takeError(); err != nil {
				return false, err
			}
		}
	}
	return list[0].Revents&unix.POLLIN != 0, nil
}

// takeError takes the socket's error. That the interface is down is none: it may come up again.
func (r *ring) takeError() error {
	code, err := unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 && unix.Errno(code) != unix.ENETDOWN {
		err = unix.Errno(code)
	}
	if err != nil {
		return fmt.Errorf("capture from interface %s: %w", r.Name, err)
	}
	return nil
}

// sendReady sends the blocks that are ready, one of each ring at a time.
func (c *capturer) sendReady() error {
	for _, r := range c.rings {
		if !r.isReady() {
			continue
		}
		c.buffer = r.takeBlock(c.buffer)
		if err := c.send(); err != nil {
			return err
		}
	}
	return nil
}

// readCounts reads the statistics of all interfaces.
func (c *capturer) readCounts() error {
	for _, r := range c.rings {
		if err := r.readCounts(); err != nil {
			return err
		}
	}
	return nil
}

// sendCounts sends the statistics of all interfaces as they were read last.
func (c *capturer) sendCounts() error {
	for _, r := range c.rings {
		c.buffer = wire.AppendStatistics(c.buffer, r.counts)
	}
	return c.send()
}

// finish has the kernel take no more packets, and sends those that it has, the last statistics and
// the end.
func (c *capturer) finish() error {
	for _, r := range c.rings {
		if err := r.setFilter(one(returnValue, 0)); err != nil {
			return err
		}
	}

	if err := c.drain(); err != nil {
		return err
	}
	// The statistics are those that drain has compared: a packet that passed the filter while it
	// was replaced may be counted by now.
	if err := c.sendCounts(); err != nil {
		return err
	}
	c.buffer = wire.AppendEnd(c.buffer)
	return c.send()
}

// drain sends the packets that the kernel still has. A laptop that is slow to read them has all the
// time that it needs.
func (c *capturer) drain() error {
	for deadline := time.Now().Add(drainTime); ; {
		if c.hasReady() {
			if err := c.sendReady(); err != nil {
				return err
			}
			deadline = time.Now().Add(drainTime)
		}

		if err := c.readCounts(); err != nil {
			return err
		}
		if c.isDrained() {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the kernel keeps packets back that it has counted")
		}
		time.Sleep(time.Millisecond) // the kernel hands a block over within retireTime
	}
}

// hasReady reports whether any block is ready.
func (c *capturer) hasReady() bool { return slices.ContainsFunc(c.rings, (*ring).isReady) }

// isDrained reports whether no ring has packets that were not sent.
func (c *capturer) isDrained() bool {
	return !slices.ContainsFunc(c.rings, func(r *ring) bool { return !r.isDrained() })
}

// send writes what was collected.
func (c *capturer) send() error {
	_, err := c.out.Write(c.buffer)
	c.buffer = c.buffer[:0]
	if err != nil {
		return fmt.Errorf("send packets: %w", err)
	}
	return nil
}
