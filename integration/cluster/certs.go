package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// Certificates last longer than any test cluster does, and are made anew with it.
const validity = 365 * 24 * time.Hour

// identity describes whom a certificate is for: a user of the API (name and group),
// a server (hosts), or the CA (neither).
type identity struct {
	file  string // in pki/, less .crt and .key
	name  string
	group string
	hosts []string
}

// listIdentities returns whom the CA issues certificates for.
func listIdentities() []identity {
	local := []string{"localhost", "127.0.0.1", "::1"}
	return []identity{
		{file: "apiserver", name: "kube-apiserver", hosts: append(local, hostIP4, hostIP6, serviceIP,
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")},
		{file: "controllers", name: "controllers", hosts: local},
		{file: "kubelet-server", name: node, hosts: []string{node, nodeIP4, nodeIP6}},
		{file: "apiserver-kubelet-client", name: "kube-apiserver", group: "system:masters"},
		{file: "admin", name: "admin", group: "system:masters"},
		{file: "kube-controller-manager", name: "system:kube-controller-manager"},
		{file: "kube-scheduler", name: "system:kube-scheduler"},
		{file: "kubelet", name: "system:node:" + node, group: "system:nodes"},
	}
}

// kubeconfigFiles names the kubeconfig of each identity that is a user of the API.
var kubeconfigFiles = map[string]string{
	"admin":                   "kubeconfig",
	"kube-controller-manager": "conf/kube-controller-manager.kubeconfig",
	"kube-scheduler":          "conf/kube-scheduler.kubeconfig",
	"kubelet":                 "conf/kubelet.kubeconfig",
}

// writeCerts writes a CA, all certificates, and the kubeconfigs.
func (c *cluster) writeCerts() error {
	if err := os.MkdirAll(c.Path("pki"), 0o700); err != nil {
		return err
	}

	ca, err := c.issueCertificate(identity{file: "ca", name: "kdiag test cluster"}, nil)
	if err != nil {
		return err
	}

	for _, id := range listIdentities() {
		if _, err := c.issueCertificate(id, ca); err != nil {
			return fmt.Errorf("certificate of %s: %w", id.name, err)
		}
	}

	for user, file := range kubeconfigFiles {
		if err := c.writeKubeconfig(user, file); err != nil {
			return err
		}
	}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}

	return writeKey(c.Path("pki/service-account.key"), key)
}

// authority carries a CA that can sign.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issueCertificate writes a key and a certificate for it. The CA signs it, or
// without one it signs itself, as a new CA.
func (c *cluster) issueCertificate(id identity, ca *authority) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}

	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}

	now := time.Now()
	cert := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: id.name},
		NotBefore:             now.Add(-time.Hour), // clocks jump
		NotAfter:              now.Add(validity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	if id.group != "" {
		cert.Subject.Organization = []string{id.group}
	}

	switch {
	case ca == nil:
		cert.IsCA = true
		cert.KeyUsage |= x509.KeyUsageCertSign
		ca = &authority{cert, key}
	case len(id.hosts) > 0:
		cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	default:
		cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}

	for _, host := range id.hosts {
		if ip := net.ParseIP(host); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
		} else {
			cert.DNSNames = append(cert.DNSNames, host)
		}
	}

	der, err := x509.CreateCertificate(rand.Reader, cert, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	if err := writePEM(c.Path("pki/"+id.file+".crt"), "CERTIFICATE", der); err != nil {
		return nil, err
	}
	if err := writeKey(c.Path("pki/"+id.file+".key"), key); err != nil {
		return nil, err
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}

	return &authority{cert, key}, nil
}

// writeKey writes a private key.
func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(file, "EC PRIVATE KEY", der)
}

// writePEM writes a block of PEM that only root can read.
func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// serverAddressFor returns the address of the API server for a user. The kubelet is
// on the other host, and reaches it at this end of the link.
func serverAddressFor(user string) string {
	if user == "kubelet" {
		return net.JoinHostPort(hostIP4, apiserverPort)
	}
	return apiserverAddr()
}

// writeKubeconfig writes a kubeconfig that contains the certificates, so that it can
// be copied elsewhere.
func (c *cluster) writeKubeconfig(user, file string) error {
	const format = `apiVersion: v1
kind: Config
clusters:
- name: kdiag
  cluster:
    server: https://%s
    certificate-authority-data: %s
users:
- name: %s
  user:
    client-certificate-data: %s
    client-key-data: %[5]s
contexts:
- name: kdiag
  context: {cluster: kdiag, user: %[3]s}
current-context: kdiag
`

	var data [3]string
	for i, name := range []string{"ca.crt", user + ".crt", user + ".key"} {
		raw, err := os.ReadFile(c.Path("pki/" + name))
		if err != nil {
			return err
		}
		data[i] = base64.StdEncoding.EncodeToString(raw)
	}

	text := fmt.Sprintf(format, serverAddressFor(user), data[0], user, data[1], data[2])
	return os.WriteFile(c.Path(file), []byte(text), 0o600)
}
