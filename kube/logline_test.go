package kube

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestLogReader(t *testing.T) {
	stamp := "2026-11-26T11:49:44.285112699Z"
	at, _ := time.Parse(time.RFC3339Nano, stamp)
	long := strings.Repeat("x", MaxLogLine+1000)
	for _, test := range []struct {
		log  string
		want []LogLine
	}{
		{"", nil},
		{stamp + " a line\n", []LogLine{{Time: at, Text: []byte("a line")}}},
		{stamp + " \n" + stamp + " b\n", []LogLine{{Time: at}, {Time: at, Text: []byte("b")}}},
		{stamp + " cut o", []LogLine{{Time: at, Text: []byte("cut o"), Open: true}}},
		{"unable to retrieve\n", []LogLine{{Text: []byte("unable to retrieve")}}},
		{stamp + "\n", []LogLine{{Text: []byte(stamp)}}},
		{stamp + " " + long + "\n" + stamp + " b\n", []LogLine{{Time: at, Text: []byte(long[:MaxLogLine]), Cut: true}, {Time: at, Text: []byte("b")}}},
		{stamp + " " + long[:MaxLogLine] + "\n", []LogLine{{Time: at, Text: []byte(long[:MaxLogLine])}}},
	} {
		reader := NewLogReader(iotest.HalfReader(strings.NewReader(test.log)))
		for i, want := range test.want {
			got, err := reader.ReadLine()
			if err != nil || !got.Time.Equal(want.Time) || string(got.Text) != string(want.Text) || got.Cut != want.Cut || got.Open != want.Open {
				t.Errorf("line %d of %.60q = %v %.60q cut %v open %v, %v, want %.60q cut %v open %v",
					i, test.log, got.Time, got.Text, got.Cut, got.Open, err, want.Text, want.Cut, want.Open)
			}
		}

		if got, err := reader.ReadLine(); !errors.Is(err, io.EOF) {
			t.Errorf("after the last line of %.60q: %.60q, %v, want EOF", test.log, got.Text, err)
		}
	}
}

// FuzzTimestamps: a timestamp is read as the time package reads it, whatever came before it.
func FuzzTimestamps(f *testing.F) {
	for _, stamp := range []string{"2026-11-26T11:49:44.285112699Z", "2026-11-26T11:49:44.2Z", "2026-11-26T11:49:44Z",
		"2026-11-26T11:49:44.5+02:00", "2026-11-26T11:49:44.Z", "2026-11-26T11:49:44.12345678901Z", "2026-11-26T11:49:44.1x3Z"} {
		f.Add("2026-11-26T11:49:44.000000001Z", stamp)
	}
	f.Fuzz(func(t *testing.T, before, stamp string) {
		reader := NewLogReader(strings.NewReader(""))
		for _, text := range []string{before, stamp} {
			if len(text) < 20 {
				continue
			}
			want, err := time.Parse(time.RFC3339Nano, text)
			if got, ok := reader.parseStamp([]byte(text)); ok != (err == nil) || ok && !got.Equal(want) {
				t.Errorf("parseStamp(%q) = %s, %v, want %s, %v", text, got, ok, want, err)
			}
		}
	})
}

func FuzzLogReader(f *testing.F) {
	f.Add("2026-11-26T11:49:44.285112699Z a line\nno time\n2026-11-26T11:49:44Z b")
	f.Add("\n\n 2026-11-26T11:49:44Z")
	f.Fuzz(func(t *testing.T, log string) {
		reader, lines, open := NewLogReader(strings.NewReader(log)), 0, 0
		for {
			line, err := reader.ReadLine()
			if err != nil {
				break
			}

			lines++
			if line.Open {
				open++
			}
			if len(line.Text) > MaxLogLine || strings.Contains(string(line.Text), "\n") {
				t.Errorf("a line of %d bytes, or of several lines", len(line.Text))
			}
		}

		if want := strings.Count(log, "\n"); lines-open != want || open > 1 {
			t.Errorf("%d lines and %d open, want %d and 1 at most", lines-open, open, want)
		}
	})
}
