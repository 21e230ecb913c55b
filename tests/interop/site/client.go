package site

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/choria-io/go-choria/choria"
	"github.com/choria-io/go-choria/inter"
	"github.com/choria-io/go-choria/providers/signers"
	"github.com/nats-io/nats.go"
)

// discoverySeconds bounds the wait for the first answer; the windowed discovery ends soon after the last one.
const discoverySeconds = 10

// clients numbers the clients of a process, so that no two share a directory.
var clients atomic.Int64

// Client is a stock client with a configuration, a token and a seed of its own.
type Client struct {
	// Name is what the client's directory and log are called.
	Name string
	// TokenFile and SeedFile are where the stock client keeps what a login gives it.
	TokenFile string
	SeedFile  string

	site *Site
	opts ClientOptions
	fw   *choria.Framework
}

// ClientOptions say where a client logs in and who signs for it.
type ClientOptions struct {
	// Service is where it logs in, and who signs its requests over HTTPS.
	Service *Service
	// LoginService is where it logs in instead, when set.
	LoginService *Service
	// OverNetwork has its requests signed over the Choria network, by whichever signer takes them there.
	OverNetwork bool
	// SelfSigned makes it sign its own requests, which only V2 has and only fleet_management allows.
	SelfSigned bool
	// Signer signs instead of the library's own HTTPS signer, when set.
	Signer inter.RequestSigner
}

// NewClient configures a client; it has no token until it logs in or is given one.
func (s *Site) NewClient(name string, opts ClientOptions) (*Client, error) {
	name = fmt.Sprintf("%s-%d", name, clients.Add(1))
	dir := filepath.Join(s.Dir, "clients", name)

	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return nil, err
	}

	c := &Client{
		Name:      name,
		TokenFile: filepath.Join(dir, "client.jwt"),
		SeedFile:  filepath.Join(dir, "client.key"),
		site:      s,
		opts:      opts,
	}

	cfg, _, err := s.load(filepath.Join("clients", name, "client"), c.settings())
	if err != nil {
		return nil, err
	}

	var options []choria.Option
	if opts.Signer != nil {
		options = append(options, choria.WithCustomRequestSigner(opts.Signer))
	}

	c.fw, err = choria.NewWithConfig(cfg, options...)

	return c, err
}

func (c *Client) settings() settings {
	conf := settings{
		"identity":                       "workstation.example.net",
		"plugin.choria.middleware_hosts": c.site.middleware(),
		"discovery_timeout":              discoverySeconds,
		"plugin.choria.discovery.broadcast.windowed_timeout": true,
	}

	login := c.opts.Service
	if c.opts.LoginService != nil {
		login = c.opts.LoginService
	}
	conf["plugin.login.aaasvc.login.url"] = login.LoginURL()

	switch {
	case c.opts.OverNetwork:
		conf["plugin.choria.security.request_signer.service"] = true
	case !c.opts.SelfSigned:
		conf["plugin.choria.security.request_signer.url"] = c.opts.Service.SignURL()
	}

	switch c.site.Mode {
	case V1:
		// the user of a remote signer has no certificate: these two files do not exist
		missing := Pair{Certificate: filepath.Join(c.site.Dir, "none.pem"), Key: filepath.Join(c.site.Dir, "none.key")}
		conf.file(missing, c.site.Authority)
		conf["plugin.security.client_anon_tls"] = true
		// no seed_file: the library then looks beside the token, for the same name ending in .key
		conf["plugin.choria.security.request_signer.token_file"] = c.TokenFile

	case V2:
		conf.collective()
		conf["plugin.security.provider"] = "choria"
		conf["plugin.security.choria.token_file"] = c.TokenFile
		conf["plugin.security.choria.seed_file"] = c.SeedFile
		// with an authority the library verifies the broker and the login service; it never verifies the signer
		conf["plugin.security.choria.ca"] = c.site.Authority.File
	}

	return conf
}

// GiveToken puts a minted token and the seed it is bound to where the client looks for them.
func (c *Client) GiveToken(spec ClientSpec) error {
	// a new key for each token, as at a login
	public, _, err := choria.Ed25519KeyPairToFile(c.SeedFile)
	if err != nil {
		return err
	}

	token, err := c.site.Mint(spec, public)
	if err != nil {
		return err
	}

	return os.WriteFile(c.TokenFile, []byte(token), 0o600)
}

// GiveForgedToken gives the client a token whose chain a stranger began in the place of the organization issuer; V2 only.
func (c *Client) GiveForgedToken(spec ClientSpec) error {
	dir := filepath.Dir(c.TokenFile)

	stranger, err := NewIdentity(dir, "stranger")
	if err != nil {
		return err
	}

	chain, err := NewIdentity(dir, "chain")
	if err != nil {
		return err
	}

	err = stranger.issueClient(chain, ClientSpec{Caller: "choria=login"})
	if err != nil {
		return err
	}

	public, _, err := choria.Ed25519KeyPairToFile(c.SeedFile)
	if err != nil {
		return err
	}

	token, err := chain.issueFromChain(spec, public)
	if err != nil {
		return err
	}

	return os.WriteFile(c.TokenFile, []byte(token), 0o600)
}

// ConfigFile is the client's Choria configuration.
func (c *Client) ConfigFile() string { return filepath.Join(filepath.Dir(c.TokenFile), "client.conf") }

// Token is what lies in the client's token file.
func (c *Client) Token() (string, error) {
	token, err := os.ReadFile(c.TokenFile)

	return string(token), err
}

// SignOverHTTPS has a request signed by the library's HTTPS signer alone, without joining the network.
func (c *Client) SignOverHTTPS(ctx context.Context, request []byte) ([]byte, error) {
	return signers.NewAAAServiceHTTPSigner().Sign(ctx, request, c)
}

// RemoteSignerURL implements inter.RequestSignerConfig.
func (c *Client) RemoteSignerURL() (*url.URL, error) { return url.Parse(c.opts.Service.SignURL()) }

// RemoteSignerToken implements inter.RequestSignerConfig.
func (c *Client) RemoteSignerToken() ([]byte, error) { return os.ReadFile(c.TokenFile) }

// RemoteSignerSeedFile implements inter.RequestSignerConfig.
func (c *Client) RemoteSignerSeedFile() (string, error) { return c.SeedFile, nil }

// Streams is the JetStream of the broker, as the client may use it.
func (c *Client) Streams(ctx context.Context) (nats.JetStreamContext, error) {
	connection, err := c.fw.NewConnector(ctx, c.fw.MiddlewareServers, c.Name, c.fw.Logger("streams"))
	if err != nil {
		return nil, err
	}

	return connection.Nats().JetStream()
}
