package kube

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate makes a client certificate that expires at a time, and writes it and its key
// to files.
func writeCertificate(t *testing.T, expires time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: expires.Add(-time.Hour), NotAfter: expires}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}

	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}

	inFile := func(kind string, der []byte) string {
		return writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	return inFile("CERTIFICATE", der), inFile("EC PRIVATE KEY", private)
}

func encodeJWT(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("s3cret"))
}

// TestRefusedCredentials wants the kubeconfig's user named, and the expiry date if it is known.
func TestRefusedCredentials(t *testing.T) {
	cluster := trustedConfig(startAnswering(t, true, 401, "application/json", unauthorized))
	old, oldKey := writeCertificate(t, time.Date(2024, 2, 3, 4, 5, 0, 0, time.UTC))
	good, goodKey := writeCertificate(t, time.Now().Add(time.Hour))

	for name, test := range map[string]struct{ user, line, hint string }{
		"a token":                {"{token: s3cret}", `rejected the credentials of user "dev" (context "ctx"): Unauthorized`, "log in again"},
		"a token that expired":   {"{token: " + encodeJWT(`{"exp":1706933100}`) + "}", `the token for user "dev" (context "ctx") expired on 2024-02-03 04:05 UTC: Unauthorized`, "log in again"},
		"a token that has not":   {"{token: " + encodeJWT(`{"exp":4102444800}`) + "}", "rejected the credentials", "log in again"},
		"an expired certificate": {"{client-certificate: " + old + ", client-key: " + oldKey + "}", `the client certificate for user "dev" (context "ctx") expired on 2024-02-03 04:05 UTC`, "log in again"},
		"another's certificate":  {"{client-certificate: " + good + ", client-key: " + goodKey + "}", "rejected the credentials", "log in again"},
		"none":                   {"{}", `user "dev" (context "ctx") has no credentials: Unauthorized`, "--token"},
	} {
		t.Run(name, func(t *testing.T) {
			line, hint := findWeb(t, cluster, test.user)
			if !strings.Contains(line, test.line) || !strings.Contains(hint, test.hint) || strings.Contains(line+hint, "s3cret") {
				t.Errorf("error = %q\nhint = %q\nwant %q and %q", line, hint, test.line, test.hint)
			}
		})
	}
}

func FuzzTokenExpiry(f *testing.F) {
	f.Add(encodeJWT(`{"exp":1706933100}`))
	f.Add("a.e30.b")
	f.Add(encodeJWT(`{"exp":1e300}`))
	f.Fuzz(func(t *testing.T, token string) {
		at, known := tokenExpiry(token)
		if known && (at.Year() < 1970 || at.Year() > 9999) {
			t.Errorf("tokenExpiry(%q) = %v, want a date that can be printed", token, at)
		}
	})
}

func FuzzCertificateExpiry(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if at, known := certificateExpiry(text); !known && !at.IsZero() {
			t.Errorf("certificateExpiry(%q) = %v, want no time where none is known", text, at)
		}
	})
}

// pluginConfig returns a user for a kubeconfig whose credential plugin is a shell command.
func pluginConfig(command string) string {
	return `{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: sh, args: [-c, "` + command + `"]}}`
}

// TestCredentialCommand tells a plugin's failures from the server's.
func TestCredentialCommand(t *testing.T) {
	cluster := trustedConfig(startAnswering(t, true, 401, "application/json", unauthorized))
	const who = `user "dev" (context "ctx"): `
	gives := `echo '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"s3cret\"}}'`
	for name, test := range map[string]struct{ user, line, hint string }{
		"missing":       {`{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: no-such-command}}`, who + `credential plugin "no-such-command" not found`, "install it"},
		"missing, hint": {`{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: no-such-command, installHint: "see\nexample.com"}}`, who, "see example.com"},
		"fails":         {pluginConfig("exit 3"), who + `credential plugin "sh": getting credentials: exec: executable sh failed with exit code 3`, "run it by hand"},
		"says nonsense": {pluginConfig("echo hello"), who + `credential plugin "sh": getting credentials: decoding stdout`, "run it by hand"},
		"is refused":    {pluginConfig(gives), "rejected the credentials of " + strings.TrimSuffix(who, ": ") + ": Unauthorized", "log in again"},
	} {
		t.Run(name, func(t *testing.T) {
			line, hint := findWeb(t, cluster, test.user)
			if !strings.Contains(line, test.line) || !strings.Contains(hint, test.hint) || strings.Contains(line+hint, "s3cret") || strings.Contains(line+hint, "\n") {
				t.Errorf("error = %q\nhint = %q\nwant %q and %q", line, hint, test.line, test.hint)
			}
		})
	}
}

// TestCredentialCommandHangs wants the timeout to end a request while the plugin hangs.
func TestCredentialCommandHangs(t *testing.T) {
	cluster := trustedConfig(startAnswering(t, true, 401, "application/json", unauthorized))
	// It ends when it is told to, by a file that goes.
	waits := filepath.Join(t.TempDir(), "waits")
	if err := os.WriteFile(waits, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(waits)

	connection, err := Connect(ConnectOptions{Kubeconfig: writeConfig(t, cluster, pluginConfig("while [ -e "+waits+" ]; do sleep 0.1; done"))}, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = connection.FindPod(ctx, Selection{Kind: "pods", Name: "web"})
	line, hint := splitError(err)
	if !strings.Contains(line, `credential plugin "sh": no answer within 200ms`) || !strings.Contains(hint, "waiting for a login") {
		t.Errorf("error = %q, hint %q, want the plugin and the timeout", line, hint)
	}
}
