package interop

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/choria-io/go-choria/choria"
	security "github.com/choria-io/go-choria/providers/security/choria"
	"github.com/choria-io/tokens"
	"github.com/sirupsen/logrus"
)

// holder has a key, and the token of an organization that is bound to it.
type holder struct {
	key   ed25519.PrivateKey
	token string
}

// TestVerifyIsANode has `aaa verify` and a node judge every combination of who asks, who signs and who vouches for them.
func TestVerifyIsANode(t *testing.T) {
	onlyOurs(t, "it has no command for it")

	dir := t.TempDir()
	pair := func(name string) (ed25519.PublicKey, ed25519.PrivateKey) {
		public, private, err := choria.Ed25519KeyPairToFile(filepath.Join(dir, name))
		must(t, err)

		return public, private
	}

	issuers := map[string]ed25519.PublicKey{}
	vouching := map[string]ed25519.PrivateKey{}
	config := "plugin.security.provider = choria\nplugin.security.issuer.names = choria, acme\n"
	for _, ou := range []string{"choria", "acme"} {
		issuers[ou], vouching[ou] = pair(ou + ".seed")
		config += fmt.Sprintf("plugin.security.issuer.%s.public = %s\n", ou, hex.EncodeToString(issuers[ou]))
	}
	client := filepath.Join(dir, "client.conf")
	must(t, os.WriteFile(client, []byte(config), 0o600))

	node, err := security.New(security.WithConfig(&security.Config{Issuers: issuers}), security.WithLog(logrus.NewEntry(logrus.StandardLogger())))
	must(t, err)

	// in the name of an organization, vouched for by the issuer of the same or of another
	give := func(caller string, ou string, by string, permissions tokens.ClientPermissions) holder {
		public, private := pair(caller + ou + by + ".seed")
		claims, err := tokens.NewClientIDClaims(caller, nil, ou, nil, "", "Interop", time.Hour, &permissions, public)
		must(t, err)
		must(t, claims.AddOrgIssuerData(vouching[by]))
		token, err := tokens.SignToken(claims, vouching[by])
		must(t, err)

		return holder{key: private, token: token}
	}

	rights := map[string]tokens.ClientPermissions{
		"nothing":   {},
		"fleet":     {FleetManagement: true},
		"signed":    {SignedFleetManagement: true},
		"both":      {FleetManagement: true, SignedFleetManagement: true},
		"delegator": {AuthenticationDelegator: true},
		"all":       {AuthenticationDelegator: true, FleetManagement: true},
	}
	accepted, refused := 0, 0

	for may, permissions := range rights {
		for _, organization := range [][2]string{{"choria", "choria"}, {"acme", "acme"}, {"choria", "acme"}, {"other", "acme"}} {
			caller := give("up=bob", organization[0], organization[1], permissions)

			for signing, signer := range map[string]*holder{
				"nobody":     nil,
				"delegator":  pointer(give("aaa=signer", "choria", "choria", rights["delegator"])),
				"themselves": &caller,
				"somebody":   pointer(give("up=eve", "choria", "choria", rights["fleet"])),
			} {
				for _, name := range []string{"up=bob", "up=eve"} {
					for _, plain := range []bool{false, true} {
						if plain && signer == nil {
							continue
						}

						secure := map[string]any{"protocol": "io.choria.protocol.v2.secure_request", "caller": caller.token}
						by := caller
						callers := [][]byte{[]byte(caller.token)}
						if signer != nil {
							by = *signer
							secure["signer"] = signer.token
							// as the signer answers, before the client puts its own token there
							if plain {
								secure["caller"] = signer.token
								callers[0] = []byte(signer.token)
							}
							callers = append(callers, []byte(signer.token))
						}

						request := v2Request(t, name)
						signature := ed25519.Sign(by.key, request)
						secure["request"] = base64.StdEncoding.EncodeToString(request)
						secure["signature"] = base64.StdEncoding.EncodeToString(signature)

						should, _ := node.VerifySignatureBytes(request, signature, callers...)
						if should {
							_, err := node.ShouldAllowCaller(name, callers...)
							should = err == nil
						}

						document, err := json.Marshal(secure)
						must(t, err)
						file := filepath.Join(dir, "secure.json")
						must(t, os.WriteFile(file, document, 0o600))
						out, err := exec.Command(program.Path, "verify", "--config", client, file).CombinedOutput()

						if ours := err == nil; ours != should {
							t.Errorf("%s of %v in the name of %s, signed by %s, plain %v: a node says %v, aaa verify %v: %s",
								may, organization, name, signing, plain, should, ours, out)
						}

						if should {
							accepted++
						} else {
							refused++
						}
					}
				}
			}
		}
	}

	if accepted < 10 || refused < 10 {
		t.Errorf("%d accepted and %d refused", accepted, refused)
	}
}

func v2Request(t *testing.T, caller string) []byte {
	t.Helper()

	request, err := json.Marshal(map[string]any{
		"protocol": "io.choria.protocol.v2.request", "message": []byte(`{"agent":"puppet","action":"status","data":{}}`), "id": "1",
		"sender": "dev1", "caller": caller, "collective": "choria", "agent": "puppet", "ttl": 60, "time": time.Now().UnixNano(),
		"filter": map[string]any{},
	})
	must(t, err)

	return request
}

func pointer(to holder) *holder { return &to }
