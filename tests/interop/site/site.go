package site

import (
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/choria-io/go-choria/config"
	"github.com/choria-io/tokens"
	"github.com/sirupsen/logrus"
)

// Mode is how the parties of a site prove who they are.
type Mode string

const (
	// V1 is the mode of certificates: protocol version 1, RSA, a privileged certificate signs.
	V1 Mode = "v1"
	// V2 is the mode of tokens: protocol version 2, Ed25519, a delegator token signs.
	V2 Mode = "v2"
)

const (
	// NodeIdentity is the name of the one node of a site.
	NodeIdentity = "srv1.example.net"
	// NodeFact is a fact that the node has, as a filter.
	NodeFact = "country=mt"
	// NodeClass is a configuration class that the node has.
	NodeClass = "apache"
	// PrivilegedName is the certificate that may set any caller in V1.
	PrivilegedName = "aaasvc.privileged.mcollective"

	// startDeadline is how long any one part may take to come up, or to go down, before the test gives up.
	startDeadline = 30 * time.Second
)

// Site is one running Choria network and the keys of all its parties.
type Site struct {
	Mode Mode
	Dir  string

	// Authority issues the certificates of the broker and of the HTTPS listener, in V1 those of everybody.
	Authority *Authority
	// TLS is what the services show on HTTPS.
	TLS Pair

	// Issuer is the organization issuer; V2 only.
	Issuer *Identity
	// Login is the chain issuer that the login service mints with; V2 only.
	Login *Identity
	// Delegator signs requests for others; V2 only.
	Delegator *Identity
	// ServiceHost is what a service joins the network with; V2 only.
	ServiceHost *Identity

	// Privileged is the certificate that signs requests; V1 only.
	Privileged Pair

	// loginKey mints tokens in V1; loginCert and loginPublic are what verifies them, in both forms that sites use.
	loginKey    *rsa.PrivateKey
	loginPEM    string
	loginCert   string
	loginPublic string

	brokerPair Pair
	nodePair   Pair
	brokerID   *Identity
	nodeID     *Identity

	brokerPort int
	cancel     context.CancelFunc
	wg         sync.WaitGroup
}

// Start makes the keys of a site in dir and starts its broker and its node; it returns when the node handles requests.
func Start(ctx context.Context, mode Mode, dir string) (*Site, error) {
	registerPlugins()

	s := &Site{Mode: mode, Dir: dir}

	err := s.makeKeys()
	if err != nil {
		return nil, fmt.Errorf("making keys: %w", err)
	}

	s.brokerPort, err = freePort()
	if err != nil {
		return nil, err
	}

	ctx, s.cancel = context.WithCancel(ctx)

	err = s.startBroker(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the broker: %w", err), s.Close())
	}

	err = s.startNode(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the node: %w", err), s.Close())
	}

	return s, nil
}

// Close stops the node and the broker.
func (s *Site) Close() error {
	s.cancel()

	stopped := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(stopped)
	}()

	select {
	case <-stopped:
		return nil
	case <-time.After(startDeadline):
		return fmt.Errorf("the %s site did not stop within %v", s.Mode, startDeadline)
	}
}

func (s *Site) makeKeys() error {
	var err error

	s.Authority, err = NewAuthority(s.Dir)
	if err != nil {
		return err
	}

	s.brokerPair, err = s.issueRSA("localhost")
	if err != nil {
		return err
	}

	switch s.Mode {
	case V1:
		return s.makeCertificates()
	case V2:
		return s.makeTokens()
	default:
		return fmt.Errorf("unknown mode %q", s.Mode)
	}
}

func (s *Site) makeCertificates() error {
	var err error

	s.nodePair, err = s.issueRSA(NodeIdentity)
	if err != nil {
		return err
	}

	s.Privileged, err = s.issueRSA(PrivilegedName)
	if err != nil {
		return err
	}

	s.TLS, err = s.issueRSA("aaa.example.net", "localhost")
	if err != nil {
		return err
	}

	s.loginKey, err = newRSAKey()
	if err != nil {
		return err
	}

	// the certificate only carries the login service's public key: nobody checks who issued it
	login, err := s.Authority.Issue("login.example.net", s.loginKey)
	if err != nil {
		return err
	}

	s.loginPEM = login.Key
	s.loginCert = login.Certificate
	s.loginPublic = filepath.Join(s.Dir, "login.example.net.public.pem")

	return writePublicKey(s.loginPublic, &s.loginKey.PublicKey)
}

func (s *Site) makeTokens() error {
	key, err := newECDSAKey()
	if err != nil {
		return err
	}

	s.TLS, err = s.Authority.Issue("aaa.example.net", crypto.Signer(key), "localhost")
	if err != nil {
		return err
	}

	for name, id := range map[string]**Identity{
		"issuer":    &s.Issuer,
		"login":     &s.Login,
		"delegator": &s.Delegator,
		"rpc":       &s.ServiceHost,
		"broker":    &s.brokerID,
		"server":    &s.nodeID,
	} {
		*id, err = NewIdentity(s.Dir, name)
		if err != nil {
			return err
		}
	}

	return errors.Join(
		s.Issuer.issueClient(s.Login, ClientSpec{Caller: "choria=login", Validity: 6 * time.Hour}),
		s.Issuer.issueClient(s.Delegator, ClientSpec{
			Caller:      "choria=signer",
			Permissions: &tokens.ClientPermissions{AuthenticationDelegator: true},
		}),
		s.Issuer.issueServer(s.ServiceHost, "aaa.example.net", &tokens.ServerPermissions{ServiceHost: true, Streams: true}, AuditTopic),
		s.Issuer.issueServer(s.brokerID, "localhost", nil),
		s.Issuer.issueServer(s.nodeID, NodeIdentity, nil),
	)
}

func (s *Site) issueRSA(name string, alsoDNS ...string) (Pair, error) {
	key, err := newRSAKey()
	if err != nil {
		return Pair{}, err
	}

	return s.Authority.Issue(name, key, alsoDNS...)
}

// load writes the settings to dir/role.conf and reads them the way Choria does, logging to a file of its own.
func (s *Site) load(role string, conf settings) (*config.Config, *logrus.Logger, error) {
	file := filepath.Join(s.Dir, role+".conf")

	err := conf.write(file)
	if err != nil {
		return nil, nil, err
	}

	cfg, err := config.NewConfig(file)
	if err != nil {
		return nil, nil, err
	}

	cfg.CustomLogger, err = newLogger(s.Dir, strings.ReplaceAll(role, "/", "-"))

	return cfg, cfg.CustomLogger, err
}

// writeFile writes a file of the site and returns its path.
func (s *Site) writeFile(name string, content string) (string, error) {
	path := filepath.Join(s.Dir, name)

	return path, os.WriteFile(path, []byte(content), 0o600)
}
