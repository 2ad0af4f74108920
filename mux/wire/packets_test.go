package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"
)

// TestPacketRecords checks that records come back as they were written.
func TestPacketRecords(t *testing.T) {
	lo := PacketInterface{Number: 1, Name: "lo", LinkType: LinkEthernet, MTU: 65536}
	at := time.Unix(1700000000, 123456789)
	packet := CapturedPacket{Interface: 1, Time: at, Length: 1500, Outgoing: true, ChecksumMissing: true, Data: []byte("data")}
	counts := PacketStatistics{Interface: 1, Time: at, Received: 1 << 40, Dropped: 3, Sent: 1<<40 - 3}

	stream, err := AppendInterface(nil, lo)
	if err != nil {
		t.Fatal(err)
	}
	stream = AppendPacket(stream, packet)
	stream = AppendStatistics(stream, counts)
	stream = AppendNote(stream, "a\nnote")
	stream = AppendEnd(append(stream, 'x', 0, 0, 0, 1, 'y')) // of a kind that is not known

	r := NewPacketReader(bytes.NewReader(stream))
	for n, want := range []PacketRecord{RecordInterface, RecordPacket, RecordStatistics, RecordNote, 'x', RecordEnd} {
		kind, err := r.Next()
		if kind != want || err != nil {
			t.Fatalf("record %d = %q, %v, want %q", n, kind, err, want)
		}
		if kind == RecordPacket && !reflect.DeepEqual(r.Packet, packet) {
			t.Errorf("packet = %+v, want %+v", r.Packet, packet)
		}
	}

	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end = %v, want EOF", err)
	}
	if r.Interface != lo || r.Statistics != counts || r.Note != OneLine("a\nnote") {
		t.Errorf("records = %+v, %+v, %q", r.Interface, r.Statistics, r.Note)
	}
}

// TestPacketRecordsAreBounded checks that no length in a stream makes the reader take memory, or
// lets it end within a record unnoticed.
func TestPacketRecordsAreBounded(t *testing.T) {
	whole := AppendPacket(nil, CapturedPacket{Data: make([]byte, MaxSnapLen+1)})
	if kind, err := NewPacketReader(bytes.NewReader(whole)).Next(); kind != RecordPacket || err != nil {
		t.Errorf("longest packet = %q, %v", kind, err)
	}
	if _, err := NewPacketReader(bytes.NewReader([]byte{'P', 255, 255, 255, 255})).Next(); err == nil {
		t.Error("a record of 4 GiB was read")
	}
	if _, err := NewPacketReader(bytes.NewReader([]byte{'S', 0, 0, 0, 1, 0})).Next(); err == nil {
		t.Error("short statistics were read")
	}
	for cut := 1; cut < 30; cut++ {
		if _, err := NewPacketReader(bytes.NewReader(whole[:cut])).Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("after %d bytes = %v, want an unexpected end", cut, err)
		}
	}
}

func FuzzPacketRecords(f *testing.F) {
	f.Add(AppendStatistics(AppendPacket(nil, CapturedPacket{Data: []byte("x")}), PacketStatistics{}))
	f.Fuzz(func(_ *testing.T, stream []byte) {
		r := NewPacketReader(bytes.NewReader(stream))
		for range 100 {
			if _, err := r.Next(); err != nil {
				return
			}
		}
	})
}
