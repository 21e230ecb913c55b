package site

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// rsaBits is the size Choria sites use, and the one the signer is measured with.
const rsaBits = 2048

// Pair names the two PEM files of one certificate.
type Pair struct {
	Certificate string
	Key         string
}

// Authority is the certificate authority of one site.
type Authority struct {
	File string

	dir    string
	cert   *x509.Certificate
	key    *rsa.PrivateKey
	serial int64
}

// NewAuthority makes a self-signed authority and writes its certificate to dir/ca.pem.
func NewAuthority(dir string) (*Authority, error) {
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, err
	}

	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "Interop Authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}

	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}

	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}

	a := &Authority{dir: dir, cert: cert, key: key, serial: 1, File: filepath.Join(dir, "ca.pem")}

	return a, writePEM(a.File, "CERTIFICATE", der, 0o644)
}

// Issue makes a certificate for name, which is its common name and first DNS name, good for servers and clients.
//
// An RSA key is written as PKCS#1 and an ECDSA key as PKCS#8, so that both encodings are met.
func (a *Authority) Issue(name string, key crypto.Signer, alsoDNS ...string) (Pair, error) {
	a.serial++

	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     append([]string{name}, alsoDNS...),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(12 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}

	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, err
	}

	pair := Pair{
		Certificate: filepath.Join(a.dir, name+".pem"),
		Key:         filepath.Join(a.dir, name+".key"),
	}

	err = writePEM(pair.Certificate, "CERTIFICATE", der, 0o644)
	if err != nil {
		return Pair{}, err
	}

	return pair, writePrivateKey(pair.Key, key)
}

// newRSAKey makes a key of the size Choria sites use.
func newRSAKey() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, rsaBits) }

// newECDSAKey makes a P-256 key, which only the HTTPS listener may have: Choria's v1 signatures are RSA.
func newECDSAKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func writePrivateKey(path string, key crypto.Signer) error {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return writePEM(path, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), 0o600)

	case *ecdsa.PrivateKey:
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}

		return writePEM(path, "PRIVATE KEY", der, 0o600)

	default:
		return fmt.Errorf("do not know how to write a %T", key)
	}
}

// writePublicKey writes an RSA public key as SubjectPublicKeyInfo.
func writePublicKey(path string, key *rsa.PublicKey) error {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return err
	}

	return writePEM(path, "PUBLIC KEY", der, 0o644)
}

func writePEM(path string, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
