package mux

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// ErrWrongKey reports a peer that does not have the pinned key.
var ErrWrongKey = errors.New("the peer has the wrong key")

// ServerTLS configures the manager's side: TLS 1.3, only for the holder of the private key that
// belongs to user, a public key as PublicText writes it.
func ServerTLS(own ed25519.PrivateKey, user string) (*tls.Config, error) {
	config, err := newPinnedConfig(own, func(peer ed25519.PublicKey) bool {
		return base64.RawStdEncoding.EncodeToString(peer) == user
	})
	if err != nil {
		return nil, err
	}

	config.ClientAuth = tls.RequireAnyClientCert
	return config, nil
}

// ClientTLS configures the laptop's side: TLS 1.3, only with the manager whose public key has
// the hash.
func ClientTLS(own ed25519.PrivateKey, hash string) (*tls.Config, error) {
	config, err := newPinnedConfig(own, func(peer ed25519.PublicKey) bool { return HashKey(peer) == hash })
	if err != nil {
		return nil, err
	}

	// There is no authority and no name to verify: VerifyConnection pins the key.
	config.InsecureSkipVerify = true
	return config, nil
}

// newPinnedConfig makes what both sides have in common. In TLS 1.3 a peer proves that it holds
// the key of its certificate (RFC 8446, 4.4.3). VerifyConnection checks that it is the right
// key. It would do so for resumed sessions, too, but there are none.
func newPinnedConfig(own ed25519.PrivateKey, isPeer func(ed25519.PublicKey) bool) (*tls.Config, error) {
	certificate, err := selfSigned(own)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}

	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		Certificates:                []tls.Certificate{certificate},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true, // use full records: there is no browser that would wait for them
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) != 1 {
				return fmt.Errorf("%d certificates: %w", len(state.PeerCertificates), ErrWrongKey)
			}
			if key, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey); !ok || !isPeer(key) {
				return ErrWrongKey
			}
			return nil
		},
	}, nil
}

// selfSigned wraps a key in a certificate, because TLS needs one. Nobody looks at anything in
// it but the key.
func selfSigned(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280, 4.1.2.5: no expiry
	}

	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}

	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
