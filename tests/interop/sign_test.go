package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/choria-io/go-choria/choria"
	"github.com/choria-io/go-choria/inter"
	"github.com/choria-io/tokens"

	"github.com/choria-io/aaa/tests/interop/site"
)

// untrusted is all that anybody learns whose token or signature is not good.
const untrusted = "error from remote signer: Request denied"

// fleet is the permission without which the broker lets nobody publish requests.
var fleet = &tokens.ClientPermissions{FleetManagement: true}

// TestUntrustedTokens sends a good user's request with tokens that must not count.
func TestUntrustedTokens(t *testing.T) {
	everything := site.ClientSpec{Caller: "up=alice", Agents: []string{"*"}, Permissions: fleet}

	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		for name, spoil := range map[string]func(t *testing.T, client *site.Client){
			"expired": func(t *testing.T, client *site.Client) {
				spec := everything
				spec.IssuedAt = time.Now().Add(-2 * time.Hour)
				must(t, client.GiveToken(spec))
			},
			"not valid yet": func(t *testing.T, client *site.Client) {
				spec := everything
				spec.IssuedAt = time.Now().Add(30 * time.Minute)
				must(t, client.GiveToken(spec))
			},
			"valid for too long": func(t *testing.T, client *site.Client) {
				spec := everything
				spec.Validity = 5 * time.Hour
				must(t, client.GiveToken(spec))
			},
			"tampered claims": func(t *testing.T, client *site.Client) {
				spec := everything
				spec.Agents = []string{"rpcutil.ping"}
				must(t, client.GiveToken(spec))
				rewriteClaims(t, client, func(claims map[string]any) { claims["agents"] = []string{"*"} })
			},
			"tampered caller": func(t *testing.T, client *site.Client) {
				must(t, client.GiveToken(everything))
				rewriteClaims(t, client, func(claims map[string]any) { claims["callerid"] = "up=root" })
			},
			"another's key": func(t *testing.T, client *site.Client) {
				must(t, client.GiveToken(everything))
				_, _, err := choria.Ed25519KeyPairToFile(client.SeedFile)
				must(t, err)
			},
			"no token": func(t *testing.T, client *site.Client) {
				must(t, client.GiveToken(everything))
				must(t, os.WriteFile(client.TokenFile, nil, 0o600))
			},
		} {
			t.Run(name, func(t *testing.T) {
				client := w.newClient(t, "untrusted", site.ClientOptions{Service: w.actionlist})
				spoil(t, client)

				document, err := client.RequestBytes(stats)
				must(t, err)

				_, err = client.SignOverHTTPS(ctx, document)
				if err == nil || err.Error() != untrusted {
					t.Errorf("the stock client shows %v", err)
				}

				records, err := w.actionlist.Audit(requestID(t, document))
				must(t, err)
				if len(records) != 1 || records[0].Action != "deny" {
					t.Fatalf("on record is %+v", records)
				}

				// a name that nobody vouches for is not the caller on record; the reference takes it from the request
				if records[0].Caller == "up=root" && !program.Reference {
					t.Errorf("on record is %+v", records)
				}
			})
		}
	})
}

// TestMintedTokenIsGood shows that the tokens which TestUntrustedTokens spoils are good before it does.
func TestMintedTokenIsGood(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		client := w.newClient(t, "minted", site.ClientOptions{Service: w.actionlist})
		must(t, client.GiveToken(site.ClientSpec{Caller: "up=minted", Agents: []string{"rpcutil.*"}, Permissions: fleet}))

		outcome := done(ctx, t, client, stats)

		records, err := w.NodeRecords(outcome.RequestID)
		must(t, err)
		if len(records) != 1 || records[0].Caller != "up=minted" {
			t.Errorf("the node has on record %+v", records)
		}
	})
}

// TestCallerComesFromToken signs a request that claims another caller: what the node sees is the token's, made fit for the wire.
func TestCallerComesFromToken(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		client := w.newClient(t, "renamed", site.ClientOptions{Service: w.actionlist})
		must(t, client.GiveToken(site.ClientSpec{Caller: "okta=ann@example.net", Agents: []string{"*"}, Permissions: fleet}))

		document, err := client.RequestBytes(ping)
		must(t, err)
		claimed := strings.Replace(string(document), "okta=ann@example.net", "up=root", 1)
		if claimed == string(document) {
			t.Fatalf("the caller is not in %s", document)
		}

		signed, err := client.SignOverHTTPS(ctx, []byte(claimed))
		must(t, err)

		inside := signedRequest(t, w.Mode, signed)
		if !strings.Contains(inside, `"okta=ann_example_net"`) || strings.Contains(inside, "up=root") {
			t.Errorf("signed is %s", inside)
		}
	})
}

// bearerSigner asks for a signature with the token alone, as a client that holds no key does.
type bearerSigner struct {
	url   string
	token func() (string, error)
}

// Kind implements inter.RequestSigner.
func (b *bearerSigner) Kind() string { return "bearer token" }

// Sign implements inter.RequestSigner.
func (b *bearerSigner) Sign(ctx context.Context, request []byte, _ inter.RequestSignerConfig) ([]byte, error) {
	token, err := b.token()
	if err != nil {
		return nil, err
	}

	response, answer, err := postSign(ctx, b.url, map[string]any{"token": token, "request": request})
	if err != nil {
		return nil, err
	}

	var reply struct {
		SecureRequest []byte `json:"secure_request"`
		Error         string `json:"error"`
	}
	err = json.Unmarshal(answer, &reply)
	if err != nil || reply.Error != "" || response.StatusCode != http.StatusOK {
		return nil, &signingError{status: response.Status, answer: string(answer)}
	}

	return reply.SecureRequest, nil
}

type signingError struct {
	status string
	answer string
}

func (e *signingError) Error() string { return e.status + ": " + e.answer }

// TestBearerTokens signs without a signature where the service allows it, and nowhere else.
func TestBearerTokens(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		signer := &bearerSigner{url: w.bearer.SignURL()}
		client := w.loggedIn(ctx, t, "alice", site.ClientOptions{Service: w.bearer, Signer: signer})
		signer.token = client.Token

		answered, err := client.Ping(ctx, site.NodeIdentity)
		must(t, err)
		if !slices.Equal(answered, []string{site.NodeIdentity}) {
			t.Errorf("%q answered", answered)
		}

		signer.url = w.actionlist.SignURL()
		_, err = client.Ping(ctx, site.NodeIdentity)
		if err == nil || !strings.Contains(err.Error(), `"error":"Request denied"`) {
			t.Errorf("without allow_bearer_tokens the answer is %v", err)
		}
	})
}

// TestBearerServiceStillVerifies shows that allowing bearer tokens is not ignoring signatures.
func TestBearerServiceStillVerifies(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		client := w.loggedIn(ctx, t, "alice", site.ClientOptions{Service: w.bearer})
		token, err := client.Token()
		must(t, err)
		document, err := client.RequestBytes(ping)
		must(t, err)

		response, answer, err := postSign(ctx, w.bearer.SignURL(), map[string]any{
			"token": token, "request": document, "signature": hex.EncodeToString(make([]byte, 64)),
		})
		must(t, err)

		members := stringMembers(t, response, answer)
		if members["error"] != "Request denied" || members["secure_request"] != "" {
			t.Errorf("answered %q", members)
		}
	})
}

// TestSignAnswersAreStrings holds the raw answers to what the stock client can read.
func TestSignAnswersAreStrings(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		client := w.loggedIn(ctx, t, "bob", site.ClientOptions{Service: w.actionlist})
		token, err := client.Token()
		must(t, err)

		for _, want := range []struct {
			request site.Request
			allowed bool
		}{{ping, true}, {stats, false}} {
			document, err := client.RequestBytes(want.request)
			must(t, err)
			signature, err := choria.Ed25519SignWithSeedFile(client.SeedFile, document)
			must(t, err)

			response, answer, err := postSign(ctx, w.actionlist.SignURL(), map[string]any{
				"token": token, "request": document, "signature": hex.EncodeToString(signature),
			})
			must(t, err)

			members := stringMembers(t, response, answer)
			if allowed := members["error"] == "" && members["secure_request"] != ""; allowed != want.allowed {
				t.Errorf("%s: answered %q", want.request, members)
			}
			if !want.allowed && members["secure_request"] != "" {
				t.Errorf("%s: refused, and signed: %q", want.request, members)
			}
		}
	})
}

// postSign sends a signing body the way the stock client does, which does not verify the signer's certificate.
func postSign(ctx context.Context, url string, body map[string]any) (*http.Response, []byte, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, nil, err
	}

	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(encoded))
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Content-Type", "application/json")

	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()

	answer, err := io.ReadAll(response.Body)

	return response, answer, err
}

// rewriteClaims changes the claims of a client's token and leaves its signature as it was.
func rewriteClaims(t *testing.T, client *site.Client, change func(map[string]any)) {
	t.Helper()

	token, err := client.Token()
	must(t, err)

	parts := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(t, err)

	claims := map[string]any{}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	must(t, decoder.Decode(&claims))

	change(claims)

	payload, err = json.Marshal(claims)
	must(t, err)

	parts[1] = base64.RawURLEncoding.EncodeToString(payload)
	must(t, os.WriteFile(client.TokenFile, []byte(strings.Join(parts, ".")), 0o600))
}

// requestID is the id in a request document of either version.
func requestID(t *testing.T, document []byte) string {
	t.Helper()

	var request struct {
		ID       string `json:"id"`
		Envelope struct {
			RequestID string `json:"requestid"`
		} `json:"envelope"`
	}
	must(t, json.Unmarshal(document, &request))

	return request.ID + request.Envelope.RequestID
}

// signedRequest is the request document inside a secure request.
func signedRequest(t *testing.T, mode site.Mode, signed []byte) string {
	t.Helper()

	var secure struct {
		Message string `json:"message"`
		Request []byte `json:"request"`
	}
	must(t, json.Unmarshal(signed, &secure))

	if mode == site.V1 {
		return secure.Message
	}

	return string(secure.Request)
}
