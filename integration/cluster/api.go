package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// getJSON asks a server of the cluster, as the admin, and decodes the answer into v
// unless that is nil.
func (c *cluster) getJSON(ctx context.Context, url string, v any) error {
	ca, err := os.ReadFile(c.Path("pki/ca.crt"))
	if err != nil {
		return err
	}

	cert, err := tls.LoadX509KeyPair(c.Path("pki/admin.crt"), c.Path("pki/admin.key"))
	if err != nil {
		return err
	}

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}}}
	defer transport.CloseIdleConnections()

	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}

	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()

	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}

	if resp.StatusCode != http.StatusOK {
		line, _, _ := strings.Cut(string(body), "\n")
		return fmt.Errorf("%s: %s: %s", url, resp.Status, line)
	}

	if v == nil {
		return nil
	}

	return json.Unmarshal(body, v)
}

// checkURL returns a check that a server answers at a URL.
func checkURL(url string) func(context.Context, *cluster) error {
	return func(ctx context.Context, c *cluster) error { return c.getJSON(ctx, url, nil) }
}

// checkSocket returns a check that a program accepts connections at a socket of the
// state directory.
func checkSocket(socket string) func(context.Context, *cluster) error {
	return func(ctx context.Context, c *cluster) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", c.Path(socket))
		if err == nil {
			conn.Close()
		}
		return err
	}
}

// checkKubelet returns nil if the kubelet says that it is healthy and the node is
// ready for pods.
func checkKubelet(ctx context.Context, c *cluster) error {
	if err := c.getJSON(ctx, "http://"+net.JoinHostPort(nodeIP4, kubeletHealthPort)+"/healthz", nil); err != nil {
		return err
	}

	var n struct {
		Spec struct {
			Taints []struct{ Key string }
		}
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}

	if err := c.getJSON(ctx, "https://"+apiserverAddr()+"/api/v1/nodes/"+node, &n); err != nil {
		return err
	}
	if len(n.Spec.Taints) > 0 {
		return fmt.Errorf("node has taint %s", n.Spec.Taints[0].Key)
	}

	for _, condition := range n.Status.Conditions {
		if condition.Type != "Ready" {
			continue
		}
		if condition.Status == "True" {
			return nil
		}
		return errors.New(condition.Message)
	}

	return errors.New("node has no Ready condition")
}

// checkServiceAccount returns nil if the default namespace has the service account
// without which it takes no pods.
func checkServiceAccount(ctx context.Context, c *cluster) error {
	return c.getJSON(ctx, "https://"+apiserverAddr()+"/api/v1/namespaces/default/serviceaccounts/default", nil)
}
