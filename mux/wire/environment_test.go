package wire

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseEnvironment(t *testing.T) {
	want := Environment{Time: time.Unix(1700000000, 0).UTC(), PID: 7, Entries: [][]byte{[]byte("A=\xff\n"), {}}, Cut: true}
	line, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseEnvironment(line); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseEnvironment(%s) = %+v, %v, want %+v", line, got, err, want)
	}

	for _, bad := range []string{"", "{}", `{"pid":7}`, `{"time":"2026-01-02T03:04:05Z"}`, `{"entries":["%"]}`, strings.Repeat(" ", MaxSnapshot+1)} {
		if got, err := ParseEnvironment([]byte(bad)); err == nil {
			t.Errorf("ParseEnvironment(%.30q) = %+v, want an error", bad, got)
		}
	}
}
