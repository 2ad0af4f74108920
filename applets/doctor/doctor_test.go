package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kdiag/applets"

	corev1 "k8s.io/api/core/v1"
)

// doctor runs the applet against a server.
func doctor(t *testing.T, server string, args ...string) (stdout string, err error) {
	t.Helper()
	t.Setenv("KUBECONFIG", "/dev/null")
	var out, notes strings.Builder
	line := append([]string{"--server=" + server, "--token=x"}, args...)
	err = applets.Execute(t.Context(), Applet(), "kdiag", line, applets.Build{Image: "localhost/kdiag:dev"}, applets.Streams{Out: &out, Err: &notes})
	if notes.Len() > 0 {
		t.Errorf("doctor wrote on stderr: %s", notes.String())
	}
	return out.String(), err
}

// TestOldServer is told so; the rest is asked all the same.
func TestOldServer(t *testing.T) {
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/version":
			fmt.Fprint(w, `{"major":"1","minor":"24+","gitVersion":"v1.24.1-some"}`)
		case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
			fmt.Fprint(w, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","message":"not here","code":404}`)
		}
	}))
	defer old.Close()

	out, err := doctor(t, old.URL)
	for _, line := range []string{
		"✗ version                v1.24.1-some doesn't support ephemeral containers\n  hint: kdiag needs Kubernetes 1.25 or later\n",
		"✓ credentials            accepted; the server doesn't say as which user\n",
		"✓ rights: shell          get, list pods; patch",
		"– pod security: shell    read namespace",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("doctor = %s\nwant %q", out, line)
		}
	}

	if applets.ExitCode(err) != 1 || !applets.IsSilent(err) {
		t.Errorf("doctor: %v, want code 1 and no more words", err)
	}
}

// TestRefused puts it on the credentials, not on the server.
func TestRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()

	out, err := doctor(t, server.URL)
	if !strings.Contains(out, "✗ credentials            ") || strings.Count(out, "✗") != 1 || applets.ExitCode(err) != 1 {
		t.Errorf("doctor = %s, %v, want ✗ for the credentials alone", out, err)
	}
}

// TestInterrupted ends with the user's Ctrl-C while a server says nothing.
func TestInterrupted(t *testing.T) {
	t.Setenv("KUBECONFIG", "/dev/null")
	asked, release := make(chan struct{}, 1), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(release)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	go func() {
		<-asked
		cancel()
	}()

	var out strings.Builder
	err := applets.Execute(ctx, Applet(), "kdiag", []string{"--server=" + server.URL}, applets.Build{Image: "localhost/kdiag:dev"}, applets.Streams{Out: &out, Err: &out})
	if !errors.Is(err, context.Canceled) || strings.Contains(out.String(), "✗") {
		t.Errorf("doctor = %s, %v, want the end of its context and no verdict", out.String(), err)
	}
}

func TestFormatMark(t *testing.T) {
	for status, want := range map[Outcome][2]string{
		OK: {"✓", "\x1b[32m✓\x1b[0m"}, Failed: {"✗", "\x1b[31m✗\x1b[0m"}, Unknown: {"–", "–"},
	} {
		if got := [2]string{textPrinter{}.formatMark(status), textPrinter{colour: true}.formatMark(status)}; got != want {
			t.Errorf("formatMark(%s) = %q, want %q", status, got, want)
		}
	}
}

func TestCheckKernel(t *testing.T) {
	for release, want := range map[string]Outcome{"5.2.1": Failed, "5.4.0-150": OK, "6.1": OK, "Plan 9": Unknown, "": Unknown} {
		node := &corev1.Node{}
		node.Status.NodeInfo.KernelVersion = release
		got := checkKernel(node, nil)
		if got.Status != want || want == OK && strings.Contains(got.Detail, "without the owner flag") != (release == "5.4.0-150") {
			t.Errorf("checkKernel(%q) = %+v, want %s", release, got, want)
		}
	}

	if got := checkKernel(nil, errors.New("no right")); got.Status != Unknown {
		t.Errorf("kernel of a node that may not be read = %+v, want unknown", got)
	}
}
