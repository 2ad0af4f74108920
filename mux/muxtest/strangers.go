package muxtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"

	"kdiag/mux"
)

// Stranger acts like somebody without the user's key, who does what it can to get in the way.
type Stranger struct {
	Name string
	// Act returns when the connection is closed, by the manager or the test.
	Act func(net.Conn)
	// Older says that it connects to the port for laptops of version 1.
	Older bool
}

// Strangers lists the kinds of stranger that tests should face. nextKnock waits for one of the
// user's knocks, which somebody who reads the pod's traffic can overhear. hash is the HashKey
// of the manager's key.
func Strangers(hash string, nextKnock func() []byte) ([]Stranger, error) {
	key, err := mux.NewKey()
	if err != nil {
		return nil, err
	}

	another, err := mux.ClientTLS(key, hash)
	if err != nil {
		return nil, err
	}

	hello := recordClientHello()
	noise := make([]byte, 4<<10)
	_, _ = rand.Read(noise)
	forged := append([]byte("kdiag\x00\x00\x02"), noise[:mux.KnockSize-8]...)

	say := func(what ...[]byte) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = conn.Write(bytes.Join(what, nil))
			holdOpen(conn)
		}
	}

	handshake := func(conn net.Conn) {
		client := tls.Client(conn, another)
		_ = client.Handshake()
		holdOpen(client)
	}

	return []Stranger{
		{Name: "silent", Act: holdOpen},
		{Name: "one byte", Act: say(forged[:1])},
		{Name: "slow", Act: func(conn net.Conn) { writeSlowly(conn, forged) }},
		{Name: "noise", Act: say(noise)},
		{Name: "half a knock", Act: say(forged[:50])},
		{Name: "a knock by another", Act: say(forged, hello)},
		{Name: "the user's knock again", Act: func(conn net.Conn) { say(nextKnock(), hello)(conn) }},
		{Name: "hello and no more", Act: say(hello)},
		{Name: "another key", Act: handshake},
		{Name: "hello and no more at the older port", Act: say(hello), Older: true},
		{Name: "another key at the older port", Act: handshake, Older: true},
	}, nil
}

// holdOpen reads until the connection is closed.
func holdOpen(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// writeSlowly writes a byte every 100 ms, and then holds the connection open.
func writeSlowly(conn net.Conn, said []byte) {
	for _, b := range said {
		if _, err := conn.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}

	holdOpen(conn)
}

// recordClientHello returns the first bytes that a TLS client sends.
func recordClientHello() []byte {
	near, far := net.Pipe()
	defer far.Close()

	go func() {
		_ = tls.Client(near, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}).Handshake()
	}()

	buffer := make([]byte, 16<<10)
	n, _ := far.Read(buffer)
	return buffer[:n]
}

// Flood makes strangers connect, so many a second, each kind in turn. It returns when a
// second's worth have begun; they go on until stop is called, which returns how many there
// were.
func Flood(perSecond int, kinds []Stranger, dial func(older bool) (net.Conn, error)) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	count := 0
	begun := make(chan struct{})

	all.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for ; ctx.Err() == nil; count++ {
			kind := kinds[count%len(kinds)]
			all.Go(func() { visitOnce(ctx, kind, dial) })
			if count == perSecond {
				close(begun)
			}
			<-tick.C
		}
	})

	<-begun
	var once sync.Once
	return func() int {
		once.Do(func() { cancel(); all.Wait() })
		return count
	}
}

// visitOnce connects one stranger and lets it act.
func visitOnce(ctx context.Context, kind Stranger, dial func(older bool) (net.Conn, error)) {
	conn, err := dial(kind.Older)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close()
	kind.Act(conn)
}
