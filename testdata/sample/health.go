package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net/http"
	"sync/atomic"
	"time"
)

// allProtocols has HTTP/2 without TLS, too.
func allProtocols() *http.Protocols {
	all := new(http.Protocols)
	all.SetHTTP1(true)
	all.SetHTTP2(true)
	all.SetUnencryptedHTTP2(true)
	return all
}

// addHealth adds what health probes ask for: /started fails until somebody posts to /start, and so
// does the service "started" of gRPC's health check.
func addHealth() {
	var started atomic.Bool
	http.HandleFunc("POST /start", func(http.ResponseWriter, *http.Request) { started.Store(true) })
	http.HandleFunc("GET /started", func(w http.ResponseWriter, r *http.Request) {
		log.Printf("probe %s by %s", r.URL.Path, r.UserAgent())
		if !started.Load() {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("GET /healthy", func(_ http.ResponseWriter, r *http.Request) {
		log.Printf("probe %s by %s", r.URL.Path, r.UserAgent())
	})
	http.HandleFunc("POST /grpc.health.v1.Health/Check", func(w http.ResponseWriter, r *http.Request) {
		asked, _ := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		service := string(asked[min(len(asked), 7):])
		log.Printf("probe gRPC %s by %s", service, r.UserAgent())
		answerHealthCheck(w, service != "started" || started.Load())
	})
}

// answerHealthCheck answers with a HealthCheckResponse of SERVING or NOT_SERVING, framed as gRPC
// does (grpc/doc/PROTOCOL-HTTP2.md, health.proto).
func answerHealthCheck(w http.ResponseWriter, serving bool) {
	status := byte(2)
	if serving {
		status = 1
	}

	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write([]byte{0, 0, 0, 0, 2, 0x08, status})
	w.Header().Set("Grpc-Status", "0")
}

// serveTLS serves with a certificate of its own making.
func serveTLS(address string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}

	server := &http.Server{
		Addr: address, ReadHeaderTimeout: 5 * time.Second, Protocols: allProtocols(),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}},
	}
	log.Printf("listening on %s", address)
	log.Fatal(server.ListenAndServeTLS("", ""))
}
