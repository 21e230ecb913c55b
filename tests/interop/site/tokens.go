package site

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/choria-io/go-choria/choria"
	"github.com/choria-io/tokens"
	"github.com/golang-jwt/jwt/v5"
	"github.com/segmentio/ksuid"
)

// tokenIssuer stands in the iss claim of tokens that no chain vouches for.
const tokenIssuer = "Interop"

// Identity is an Ed25519 key pair and the files it lies in, and the token file once a token was issued to it.
type Identity struct {
	Seed   string
	Public string
	Token  string

	public  ed25519.PublicKey
	private ed25519.PrivateKey
}

// NewIdentity makes a key pair in dir: name.seed and name.public hold 64 hex characters each; name.jwt is left for a token.
func NewIdentity(dir string, name string) (*Identity, error) {
	id := &Identity{
		Seed:   filepath.Join(dir, name+".seed"),
		Public: filepath.Join(dir, name+".public"),
		Token:  filepath.Join(dir, name+".jwt"),
	}

	var err error
	id.public, id.private, err = choria.Ed25519KeyPairToFile(id.Seed)
	if err != nil {
		return nil, err
	}

	return id, os.WriteFile(id.Public, []byte(id.PublicHex()), 0o644)
}

// PublicHex is the public key as Choria writes it.
func (i *Identity) PublicHex() string { return hex.EncodeToString(i.public) }

// PublicKey is the public key.
func (i *Identity) PublicKey() ed25519.PublicKey { return i.public }

// ClientSpec says what a client token is to hold.
type ClientSpec struct {
	Caller      string
	Agents      []string
	Policy      string
	Permissions *tokens.ClientPermissions
	// IssuedAt is now when zero.
	IssuedAt time.Time
	// Validity counts from IssuedAt; an hour when zero.
	Validity time.Duration
}

// claims makes the client claims that spec asks for, bound to the key of holder.
func (s ClientSpec) claims(holder ed25519.PublicKey) (*tokens.ClientIDClaims, error) {
	validity := s.Validity
	if validity == 0 {
		validity = time.Hour
	}

	claims, err := tokens.NewClientIDClaims(s.Caller, s.Agents, "choria", nil, s.Policy, tokenIssuer, validity, s.Permissions, holder)
	if err != nil {
		return nil, err
	}

	if s.IssuedAt.IsZero() {
		return claims, nil
	}

	// a token id is made from the time of issue, and in a chain the two must agree
	id, err := ksuid.NewRandomWithTime(s.IssuedAt)
	if err != nil {
		return nil, err
	}

	claims.ID = id.String()
	claims.IssuedAt = jwt.NewNumericDate(s.IssuedAt)
	claims.NotBefore = claims.IssuedAt
	claims.ExpiresAt = jwt.NewNumericDate(s.IssuedAt.Add(validity))

	return claims, nil
}

// issueClient writes a client token for holder, issued by the organization issuer.
func (i *Identity) issueClient(holder *Identity, spec ClientSpec) error {
	claims, err := spec.claims(holder.public)
	if err != nil {
		return err
	}

	err = claims.AddOrgIssuerData(i.private)
	if err != nil {
		return err
	}

	return tokens.SaveAndSignTokenWithKeyFile(claims, i.Seed, holder.Token, 0o600)
}

// issueServer writes a server token for holder, issued by the organization issuer.
//
// It carries no trust chain signature: with one, Choria wants a chain issuer's expiry too, which such a
// token cannot have, and calls it expired.
func (i *Identity) issueServer(holder *Identity, identity string, permissions *tokens.ServerPermissions, publishes ...string) error {
	claims, err := tokens.NewServerClaims(identity, []string{"choria"}, "choria", permissions, publishes, holder.public, tokenIssuer, time.Hour)
	if err != nil {
		return err
	}

	return tokens.SaveAndSignTokenWithKeyFile(claims, i.Seed, holder.Token, 0o600)
}

// issueFromChain makes a client token for holder, issued by this identity as a chain issuer.
func (i *Identity) issueFromChain(spec ClientSpec, holder ed25519.PublicKey) (string, error) {
	claims, err := spec.claims(holder)
	if err != nil {
		return "", err
	}

	chain, err := tokens.ParseClientIDTokenUnverified(mustRead(i.Token))
	if err != nil {
		return "", err
	}

	err = claims.AddChainIssuerData(chain, i.private)
	if err != nil {
		return "", err
	}

	return tokens.SignToken(claims, i.private)
}

// Mint makes the token that a login at this site would make for spec, bound to holder, without asking the login service.
func (s *Site) Mint(spec ClientSpec, holder ed25519.PublicKey) (string, error) {
	if s.Mode == V2 {
		return s.Login.issueFromChain(spec, holder)
	}

	claims, err := spec.claims(holder)
	if err != nil {
		return "", err
	}

	return tokens.SignToken(claims, s.loginKey)
}

// ParseToken verifies a client token of this site as Choria does and returns its claims.
func (s *Site) ParseToken(token string) (*tokens.ClientIDClaims, error) {
	switch s.Mode {
	case V1:
		return tokens.ParseClientIDToken(token, &s.loginKey.PublicKey, true)
	case V2:
		return tokens.ParseClientIDToken(token, s.Issuer.public, true)
	default:
		return nil, fmt.Errorf("unknown mode %q", s.Mode)
	}
}

// mustRead returns a file that the site wrote itself, or nothing, which no parser takes for a token.
func mustRead(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}

	return string(data)
}
