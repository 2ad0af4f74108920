package redir

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// TestReportIsPrintable has a manager's own words in every text of an event.
func TestReportIsPrintable(t *testing.T) {
	const hostile = "evil\x1b[2J\x1b]0;x\x07\u009b\x7f\n\u202e\u2028"
	number, seconds, address := int64(1), 1.0, netip.MustParseAddrPort("10.0.0.1:1")
	for _, name := range []string{"redirect", "open", "close", "refused", "moved", "error", "draining", "summary", "of a later kdiag"} {
		e := event{
			Event: name, Redirect: hostile, Local: hostile, Backend: hostile, Mesh: hostile, Error: hostile,
			Source: &address, Destination: &address, Received: &number, Sent: &number, Seconds: &seconds,
			Connections: &number, Refused: &number, Open: &number,
		}
		var text, document strings.Builder
		writeText(&text, e)
		writeJSON(&document, e)
		for _, got := range []string{text.String(), document.String()} {
			if strings.Count(got, "\n") != 1 || strings.ContainsAny(strings.TrimSuffix(got, "\n"), "\x1b\x07\u009b\x7f\n\u202e\u2028") {
				t.Errorf("event %s is written as %q, want one printable line", name, got)
			}
		}

		var again event
		if err := json.Unmarshal([]byte(document.String()), &again); err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("event %s as JSON is %q, which says %+v (%v), want %+v", name, document.String(), again, err, e)
		}
	}
}
