package image

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kdiag/applets"
	"kdiag/integration/testenv"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// serve starts a registry behind guard and returns its host.
func serve(t *testing.T, guard func(http.Handler) http.Handler) string {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	if guard != nil {
		handler = guard(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// noCredentials hides those of whoever runs the test, and returns where others
// may be put.
func noCredentials(t *testing.T) (dockerConfig string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"HOME", "USERPROFILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"} {
		t.Setenv(name, dir)
	}
	t.Setenv("REGISTRY_AUTH_FILE", "")
	return filepath.Join(dir, "config.json")
}

// pushed is what a registry has under a name.
func pushed(t *testing.T, ref string, opts ...name.Option) *remote.Descriptor {
	t.Helper()
	tag, err := name.NewTag(ref, opts...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Get(tag, remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestPushImage(t *testing.T) {
	noCredentials(t)
	ref := serve(t, nil) + "/team/kdiag:v1"
	stdout, stderr, err := run("push", ref, "--platform=linux/arm64", "--binary", kdiagFor("arm64").path(t))
	if err != nil {
		t.Fatal(err)
	}

	want := buildFixture(t, "arm64")
	digest, err := want.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if stdout != ref+"@"+digest.String()+"\n" || stderr != "" {
		t.Errorf("stdout %q, want %s@%s; stderr %q, want none", stdout, ref, digest, stderr)
	}

	got, err := pushed(t, ref).Image()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}

	wantOnlyKdiag(t, got, kdiagFor("arm64").path(t))
	// A second time there is nothing to send.
	if again, _, err := run("push", ref, "--platform=linux/arm64", "--binary", kdiagFor("arm64").path(t)); again != stdout || err != nil {
		t.Errorf("the second push: %q, %v", again, err)
	}
}

// TestPushIndex pushes two platforms under one name, one of them from beside
// the running program.
func TestPushIndex(t *testing.T) {
	noCredentials(t)
	ref := serve(t, nil) + "/kdiag:v1"
	for _, binaries := range [][]string{
		nil,
		{kdiagFor("arm64").path(t), kdiagFor("amd64").path(t)},
	} {
		dir := t.TempDir()
		for _, arch := range []string{"amd64", "arm64"} {
			if err := os.Symlink(kdiagFor(arch).path(t), filepath.Join(dir, "kdiag-linux-"+arch)); err != nil {
				testenv.Missing(t, "no symbolic links: %v", err)
			}
		}

		var stdout strings.Builder
		err := pushImage(t.Context(), applets.Streams{Out: &stdout, Err: io.Discard}, pushOptions{
			Image: ref, Platforms: []string{"linux/amd64,linux/arm64"}, Binaries: binaries, Version: "v1.2.3",
			keychain: authn.DefaultKeychain, self: &program{name: filepath.Join(dir, "kdiag"), platform: platform{"darwin", "arm64"}},
		})
		if err != nil {
			t.Fatal(err)
		}

		index, err := pushed(t, ref).ImageIndex()
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(index); err != nil {
			t.Error(err)
		}

		digest, err := index.Digest()
		if err != nil || stdout.String() != ref+"@"+digest.String()+"\n" {
			t.Errorf("stdout %q, want %s@%s (%v)", stdout.String(), ref, digest, err)
		}

		wantIndexed(t, index, "amd64", "arm64")
	}
}

// wantIndexed checks that an index holds the fixtures for arches.
func wantIndexed(t *testing.T, index v1.ImageIndex, arches ...string) {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != len(arches) {
		t.Fatalf("index of %d images, want %d", len(manifest.Manifests), len(arches))
	}

	for i, arch := range arches {
		digest, err := buildFixture(t, arch).Digest()
		if err != nil {
			t.Fatal(err)
		}
		entry := manifest.Manifests[i]
		if entry.Digest != digest || entry.Platform.String() != "linux/"+arch {
			t.Errorf("image %d of the index is %s for %s, want %s for linux/%s", i, entry.Digest, entry.Platform, digest, arch)
		}
	}
}

func TestPushWithoutABinary(t *testing.T) {
	noCredentials(t)
	amd64 := kdiagFor("amd64").path(t)
	_, _, err := run("push", "127.0.0.1:1/kdiag", "--platform=linux/arm64", "--binary", amd64)
	wantError(t, err, "binary "+amd64+": built for linux/amd64, not for linux/arm64")
	_, _, err = run("push", "127.0.0.1:1/kdiag", "--platform=linux/arm64", "--binary", amd64, "--binary", amd64)
	wantError(t, err, "no file given with --binary is a static kdiag for linux/arm64")
}

// refuse answers a status with a registry's JSON, but to HEAD, whose answers
// have no body.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q,"detail":[{"Type":"repository"}]}]}`, code, message)
}

// basic lets one account in.
func basic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ann" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestPushCredentials(t *testing.T) {
	config := noCredentials(t)
	host := serve(t, basic)
	line := []string{"push", host + "/kdiag:v1", "--platform=linux/amd64", "--binary", kdiagFor("amd64").path(t)}

	login := func(password string) {
		auth := base64.StdEncoding.EncodeToString([]byte("ann:" + password))
		writeText(t, config, fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth))
	}

	for _, test := range []struct {
		name  string
		setup func()
		hint  string
	}{
		{"none", func() {}, "no credentials for " + host + ": run 'docker login " + host + "'"},
		{"wrong ones", func() { login("wrong") }, host + " rejected the stored credentials: run 'docker login " + host + "'"},
	} {
		test.setup()
		stdout, _, err := run(line...)
		wantError(t, err, "push "+host+"/kdiag:v1: 401 Unauthorized: authentication required")
		if hints := strings.Join(applets.Hints(err), "\n"); hints != test.hint || stdout != "" {
			t.Errorf("%s: hints %q, want %q; stdout %q", test.name, hints, test.hint, stdout)
		}
	}

	login("secret")
	if _, _, err := run(line...); err != nil {
		t.Fatal(err)
	}

	pushed(t, host+"/kdiag:v1")
}

func TestPushRefused(t *testing.T) {
	noCredentials(t)
	always := func(status int, code, message string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" || r.Method == http.MethodHead && status == http.StatusNotFound {
					next.ServeHTTP(w, r)
					return
				}
				refuse(w, status, code, message)
			})
		}
	}

	page := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, "<html>\n", strings.Repeat("<p>a long page</p>\n", 1000))
		})
	}

	for _, test := range []struct {
		name       string
		guard      func(http.Handler) http.Handler
		want, hint string
	}{
		{"denied", always(http.StatusForbidden, "DENIED", "requested access to the resource is denied"),
			"403 Forbidden: requested access to the resource is denied", "this account may not push to kdiag"},
		{"unknown", always(http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry"),
			"404 Not Found: repository name not known to registry", "before the first push"},
		{"no words", always(http.StatusForbidden, "DENIED", ""), "403 Forbidden: DENIED", "may not push"},
		{"no registry", page, "418 I'm a teapot: <html> <p>a long page", ""},
	} {
		host := serve(t, test.guard)
		_, _, err := run("push", host+"/kdiag:v1", "--platform=linux/amd64", "--binary", kdiagFor("amd64").path(t))
		wantError(t, err, "push "+host+"/kdiag:v1: ", test.want)
		if len(err.Error()) > 600 {
			t.Errorf("%s: an error of %d bytes", test.name, len(err.Error()))
		}
		if hints := strings.Join(applets.Hints(err), "\n"); !strings.Contains(hints, test.hint) || (test.hint == "") != (hints == "") {
			t.Errorf("%s: hints %q, want %q", test.name, hints, test.hint)
		}
	}
}

func TestPushUnreachable(t *testing.T) {
	noCredentials(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
	listener.Close()
	_, _, err = run("push", host+"/kdiag:v1", "--platform=linux/amd64", "--binary", kdiagFor("amd64").path(t))
	wantError(t, err, "push "+host+"/kdiag:v1: dial tcp "+host+": ", "refused")
}

// TestPushInsecure has a registry without TLS on an address that is not taken
// for the machine's own.
func TestPushInsecure(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs all of 127.0.0.0/8 on the loopback interface")
	}

	noCredentials(t)
	server := httptest.NewUnstartedServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	server.Listener.Close()
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}

	server.Listener = listener
	server.Start()
	defer server.Close()
	ref := listener.Addr().String() + "/kdiag:v1"
	line := []string{"push", ref, "--platform=linux/amd64", "--binary", kdiagFor("amd64").path(t)}
	_, _, err = run(line...)
	wantError(t, err, "speaks HTTP, not HTTPS")
	if hints := applets.Hints(err); len(hints) != 1 || !strings.HasPrefix(hints[0], "use --insecure") {
		t.Errorf("hints %q", hints)
	}
	if _, _, err := run(append(line, "--insecure")...); err != nil {
		t.Fatal(err)
	}

	pushed(t, ref, name.Insecure)
}

func TestPushUntrusted(t *testing.T) {
	noCredentials(t)
	server := httptest.NewUnstartedServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "https://")
	_, _, err := run("push", host+"/kdiag:v1", "--platform=linux/amd64", "--binary", kdiagFor("amd64").path(t))
	wantError(t, err, "push "+host+"/kdiag:v1: tls: failed to verify certificate: x509: ")
	if hints := applets.Hints(err); len(hints) != 1 || !strings.Contains(hints[0], "the certificate of "+host) {
		t.Errorf("hints %q", hints)
	}
}

// TestPushCancelled ends a push whose registry takes the layer and says
// nothing more.
func TestPushCancelled(t *testing.T) {
	noCredentials(t)
	ctx, cancel := context.WithCancel(t.Context())
	var cancelled atomic.Pointer[time.Time]
	over := make(chan struct{})
	defer close(over)
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPatch {
				now := time.Now()
				cancelled.Store(&now)
				cancel()
				<-over
				return
			}
			next.ServeHTTP(w, r)
		})
	})

	err := pushImage(ctx, applets.Streams{Out: io.Discard, Err: io.Discard}, pushOptions{
		Image: host + "/kdiag:v1", Platforms: []string{"linux/amd64"}, Binaries: []string{kdiagFor("amd64").path(t)}, keychain: authn.DefaultKeychain,
	})
	at := cancelled.Load()
	if at == nil {
		t.Fatalf("pushImage = %v before it sent the layer", err)
	}
	if took := time.Since(*at); err == nil || took > 5*time.Second {
		t.Errorf("pushImage = %v, %v after it was cancelled, want it to end at once", err, took)
	}
}
