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

// get asks a server of the cluster's, as its admin, and decodes the answer into v unless that is nil.
func (c *cluster) get(ctx context.Context, url string, v any) error {
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

func healthy(url string) func(context.Context, *cluster) error {
	return func(ctx context.Context, c *cluster) error { return c.get(ctx, url, nil) }
}

func dial(socket string) func(context.Context, *cluster) error {
	return func(ctx context.Context, c *cluster) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", c.Path(socket))
		if err == nil {
			conn.Close()
		}
		return err
	}
}

// kubeletReady is true when the kubelet itself says so, and the node is fit for pods.
func kubeletReady(ctx context.Context, c *cluster) error {
	if err := c.get(ctx, "http://"+net.JoinHostPort(nodeIP4, kubeletHealthPort)+"/healthz", nil); err != nil {
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

	if err := c.get(ctx, "https://"+apiserverAddr()+"/api/v1/nodes/"+node, &n); err != nil {
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

// hasServiceAccount is true when pods can be made in the default namespace.
func hasServiceAccount(ctx context.Context, c *cluster) error {
	return c.get(ctx, "https://"+apiserverAddr()+"/api/v1/namespaces/default/serviceaccounts/default", nil)
}
