package interop

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"mime"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/choria-io/go-choria/choria"

	"github.com/choria-io/aaa/tests/interop/site"
)

// TestLogin has the stock client log in, and Choria's own token library verify what it got.
func TestLogin(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		client := w.loggedIn(ctx, t, "alice", site.ClientOptions{Service: w.actionlist})

		token, err := client.Token()
		must(t, err)

		claims, err := w.ParseToken(token)
		must(t, err)

		public, _, err := choria.Ed25519KeyPairFromSeedFile(client.SeedFile)
		must(t, err)

		if claims.CallerID != "up=alice" {
			t.Errorf("caller is %q", claims.CallerID)
		}
		if claims.PublicKey != hex.EncodeToString(public) {
			t.Errorf("the token is bound to %s, the client holds %x", claims.PublicKey, public)
		}
		if claims.OrganizationUnit != "choria" {
			t.Errorf("organization is %q", claims.OrganizationUnit)
		}
		if len(claims.AllowedAgents) != 1 || claims.AllowedAgents[0] != "*" {
			t.Errorf("agents are %q", claims.AllowedAgents)
		}
		if claims.UserProperties["group"] != "admins" {
			t.Errorf("properties are %q", claims.UserProperties)
		}
		if claims.Permissions == nil || !claims.Permissions.FleetManagement || claims.Permissions.SignedFleetManagement {
			t.Errorf("permissions are %+v", claims.Permissions)
		}
		if validity := claims.ExpiresAt.Sub(claims.IssuedAt.Time); validity != time.Hour {
			t.Errorf("valid for %v", validity)
		}

		wantIssuer := "Choria Userlist Authenticator"
		if w.Mode == site.V2 {
			chain, err := w.ParseToken(readFile(t, w.Login.Token))
			must(t, err)
			wantIssuer = "C-" + chain.ID + "." + w.Login.PublicHex()
		}
		if claims.Issuer != wantIssuer {
			t.Errorf("issuer is %q, want %q", claims.Issuer, wantIssuer)
		}
	})
}

// TestLoginPolicyTravelsInToken shows that a user's policy, from a file or inline, is in the token as it was written.
func TestLoginPolicyTravelsInToken(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		client := w.loggedIn(ctx, t, "carol", site.ClientOptions{Service: w.opa})

		token, err := client.Token()
		must(t, err)

		claims, err := w.ParseToken(token)
		must(t, err)

		if claims.OPAPolicy != w.FactPolicy() {
			t.Errorf("policy is %q", claims.OPAPolicy)
		}
	})
}

// TestOurLoginServesTheStockClient logs in with aaa login and the stock client's configuration, and pings with what that left behind.
func TestOurLoginServesTheStockClient(t *testing.T) {
	onlyOurs(t, "it has no command line for users")

	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		client := w.newClient(t, "shell", site.ClientOptions{Service: w.actionlist})

		command := exec.CommandContext(ctx, program.Path,
			"login", "--config", client.ConfigFile(), "--username", "bob", "--password-file", "-")
		command.Stdin = strings.NewReader(site.Passwords["bob"] + "\n")
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, output)
		}

		for _, file := range []string{client.TokenFile, client.SeedFile} {
			info, err := os.Stat(file)
			must(t, err)
			if info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", file, info.Mode())
			}
		}

		done(ctx, t, client, ping)
	})
}

// TestLoginRefused shows that a wrong password and an unknown user look the same to the person at the stock client.
func TestLoginRefused(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		for name, credentials := range map[string][2]string{
			"wrong password": {"alice", "nothing, thanks"},
			"unknown user":   {"mallory", site.Passwords["alice"]},
		} {
			t.Run(name, func(t *testing.T) {
				client := w.newClient(t, "refused", site.ClientOptions{Service: w.actionlist})

				err := client.Login(ctx, credentials[0], credentials[1])
				if err == nil || err.Error() != "Login failed" {
					t.Errorf("the stock client shows %v", err)
				}

				_, err = client.Token()
				if err == nil {
					t.Error("there is a token")
				}
			})
		}
	})
}

// TestLoginAnswersAreStrings holds the raw answers to what the stock client can read: 200, JSON, an object of strings.
func TestLoginAnswersAreStrings(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		client := w.newClient(t, "raw", site.ClientOptions{Service: w.actionlist})

		good, err := client.LoginRequest("alice", site.Passwords["alice"])
		must(t, err)
		members := postLogin(ctx, t, client, good)
		if members["token"] == "" || members["error"] != "" {
			t.Errorf("a good login is answered %q", members)
		}

		for name, change := range map[string]func(map[string]string){
			"wrong password":      func(r map[string]string) { r["password"] = "guess" },
			"from the future":     func(r map[string]string) { r["timestamp"] = "99999999999" },
			"old":                 func(r map[string]string) { r["timestamp"] = "1500000000" },
			"another's signature": func(r map[string]string) { r["signature"] = strings.Repeat("00", 64) },
			"no key": func(r map[string]string) {
				delete(r, "public_key")
				delete(r, "timestamp")
				delete(r, "signature")
			},
		} {
			request, err := client.LoginRequest("alice", site.Passwords["alice"])
			must(t, err)
			change(request)

			members := postLogin(ctx, t, client, request)
			if !strings.HasPrefix(members["error"], "Login failed") || members["token"] != "" {
				t.Errorf("%s: answered %q", name, members)
			}
		}
	})
}

// postLogin sends a login and reads an answer that must be 200 and an object of strings.
func postLogin(ctx context.Context, t *testing.T, client *site.Client, request map[string]string) map[string]string {
	t.Helper()

	body, err := json.Marshal(request)
	must(t, err)

	response, answer, err := client.PostLogin(ctx, body)
	must(t, err)

	return stringMembers(t, response, answer)
}

// stringMembers reads an answer as the stock client does, and insists on 200 and JSON.
func stringMembers(t *testing.T, response *http.Response, answer []byte) map[string]string {
	t.Helper()

	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if response.StatusCode != http.StatusOK || err != nil || kind != "application/json" {
		t.Fatalf("answered %s, %q: %s", response.Status, response.Header.Get("Content-Type"), answer)
	}

	members := map[string]string{}
	err = json.Unmarshal(answer, &members)
	if err != nil {
		t.Fatalf("the stock client cannot read %s: %v", answer, err)
	}

	return members
}
