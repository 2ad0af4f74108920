package logs

import (
	"context"
	"fmt"
	"io"
	"kdiag/mux/wire"
	"regexp"
	"strings"
	"testing"
	"time"

	"kdiag/kube"
)

// oneLog is a cluster with one log, which has these lines.
type oneLog struct {
	*kubelet
	text string
}

func (l oneLog) OpenLog(context.Context, kube.LogRequest) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(l.text)), nil
}

// TestLongLineMatches: patterns see the whole line, however long it is, though only its
// beginning is shown. Nothing of that waits for a writer: there is none.
func TestLongLineMatches(t *testing.T) {
	stamp := "2026-11-26T11:49:44.28511269%dZ %s"
	for _, size := range []int{10, kube.MaxLogLine - 5, kube.MaxLogLine - 4, kube.MaxLogLine + 10, 3 << 20} {
		long := strings.Repeat("x", size)
		d := &delivery{
			failOn: regexp.MustCompile("xERROR$"), until: regexp.MustCompile("^BEGINx+ERROR$"), exclude: []*regexp.Regexp{regexp.MustCompile("HIDE$")},
			format: newRawFormat(false, painter{}), queue: newOutputQueue(queueLimits{memory: 64 << 20}),
			failed: make(chan struct{}), reached: make(chan struct{}), broken: func(err error) { t.Error(err) },
		}
		f := &follower{
			cluster: oneLog{text: fmt.Sprintf(stamp+"ERROR\n"+stamp+"HIDE\n"+stamp+"ERROR\n"+stamp+"ERROR", 1, long, 2, long, 3, "BEGIN"+long, 4, long)},
			slots:   newStreamSlots(1, nil), oneRead: &kube.LogRequest{},
			deliver: d.deliverLine, beginLong: d.beginLongLine,
			note: func(string, ...any) {}, fail: func(err error) { t.Error(err) }, started: time.Now(),
		}
		s := &logSource{f: f, pod: "web", container: "app"}
		s.readOnce(t.Context())

		const wantLines = 3
		shown := takeAll(d.queue)
		if _, matches := d.firstFailure(); matches != wantLines || strings.Count(shown, "\n") != wantLines || !wire.IsClosed(d.reached) {
			t.Errorf("lines of %d bytes: %d matches and %d lines, --until matched %v, want %d, %d and true",
				size, matches, strings.Count(shown, "\n"), wire.IsClosed(d.reached), wantLines, wantLines)
		}
	}
}
