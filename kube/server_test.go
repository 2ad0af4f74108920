package kube

import (
	"io"
	"testing"
)

// TestReadServerVersion wants an error with every answer that names no version: callers print the
// one or the other.
func TestReadServerVersion(t *testing.T) {
	for _, test := range []struct {
		answer, version string
		minor           int
		fails           bool
	}{
		{`{"major":"1","minor":"31+","gitVersion":"v1.31.2-some"}`, "v1.31.2-some", 31, false},
		{`{"major":"1","minor":"31","gitVersion":""}`, "", 0, true},
		{`{}`, "", 0, true},
		{`null`, "", 0, true},
		{``, "", 0, true},
		{`{"major":"2","minor":"0","gitVersion":"v2.0.0"}`, "v2.0.0", 0, true},
		{`{"major":"1","minor":"","gitVersion":"v1.31.2"}`, "v1.31.2", 0, true},
	} {
		server := startAnswering(t, false, 200, "application/json", test.answer)
		c, err := Connect(ConnectOptions{Kubeconfig: writeConfig(t, `{server: "`+server.URL+`"}`, "{}")}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}

		version, minor, err := c.ReadServerVersion(t.Context())
		if version != test.version || minor != test.minor || (err != nil) != test.fails {
			t.Errorf("ReadServerVersion() of %q = %q, %d, %v, want %q, %d, failure %t",
				test.answer, version, minor, err, test.version, test.minor, test.fails)
		}
	}
}
