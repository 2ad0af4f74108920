package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"
)

func TestCerts(t *testing.T) {
	c := &cluster{dir: t.TempDir()}
	if err := c.writeConfig(runtimes[0]); err != nil {
		t.Fatal(err)
	}
	if err := c.writeCerts(); err != nil {
		t.Fatal(err)
	}

	ca, err := os.ReadFile(c.Path("pki/ca.crt"))
	if err != nil {
		t.Fatal(err)
	}

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, test := range []struct {
		file, host, name string
		usage            x509.ExtKeyUsage
	}{
		{"apiserver", "127.0.0.1", "kube-apiserver", x509.ExtKeyUsageServerAuth},
		{"apiserver", hostIP4, "kube-apiserver", x509.ExtKeyUsageServerAuth},
		{"apiserver", "kubernetes.default.svc", "kube-apiserver", x509.ExtKeyUsageServerAuth},
		{"controllers", "127.0.0.1", "controllers", x509.ExtKeyUsageServerAuth},
		{"kubelet-server", nodeIP6, node, x509.ExtKeyUsageServerAuth},
		{"admin", "", "admin", x509.ExtKeyUsageClientAuth},
		{"kubelet", "", "system:node:" + node, x509.ExtKeyUsageClientAuth},
	} {
		pair, err := tls.LoadX509KeyPair(c.Path("pki/"+test.file+".crt"), c.Path("pki/"+test.file+".key"))
		if err != nil {
			t.Fatal(err)
		}

		options := x509.VerifyOptions{Roots: roots, DNSName: test.host, KeyUsages: []x509.ExtKeyUsage{test.usage}}
		if _, err := pair.Leaf.Verify(options); err != nil {
			t.Errorf("%s for %q: %v", test.file, test.host, err)
		}
		if pair.Leaf.Subject.CommonName != test.name {
			t.Errorf("%s is %q's, want %q's", test.file, pair.Leaf.Subject.CommonName, test.name)
		}
	}

	for user, file := range kubeconfigFiles {
		text, err := os.ReadFile(c.Path(file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), c.dir) || !strings.Contains(string(text), "server: https://"+serverAddressFor(user)) {
			t.Errorf("%s is not one to carry elsewhere:\n%s", file, text)
		}
	}
}
