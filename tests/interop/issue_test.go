package interop

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/choria-io/aaa/tests/interop/site"
)

// TestOwnTokens runs a site whose login service and delegator hold tokens that `aaa token issue` made: nodes and broker take
// what comes of them.
func TestOwnTokens(t *testing.T) {
	onlyOurs(t, "it makes no tokens for services")

	inMode(t, site.V2, func(ctx context.Context, t *testing.T, w *world) {
		login := w.issue(ctx, t, "chain-issuer", "own-login")
		delegator := w.issue(ctx, t, "delegator", "own-delegator")
		service := w.started(ctx, t, site.ServiceOptions{
			Name: "own", Authorizer: "actionlist", Login: login, Delegator: delegator,
		})

		client := w.loggedIn(ctx, t, "bob", site.ClientOptions{Service: service})
		done(ctx, t, client, ping)
		refused(ctx, t, client, stats)
	})
}

// issue makes a key and a token of a kind with the commands that an operator types.
func (w *world) issue(ctx context.Context, t *testing.T, kind string, name string) *site.Identity {
	t.Helper()

	file := func(end string) string { return filepath.Join(w.Dir, name+end) }
	own := &site.Identity{Seed: file(".seed"), Public: file(".public"), Token: file(".jwt")}

	for _, arguments := range [][]string{
		{"keys", "generate", "--seed", own.Seed, "--public", own.Public},
		{"token", "issue", kind, "--issuer-seed", w.Issuer.Seed, "--public-key", own.Public, "--validity", "1h", "--output", own.Token},
	} {
		out, err := exec.CommandContext(ctx, program.Path, arguments...).CombinedOutput()
		if err != nil {
			t.Fatalf("aaa %v: %v\n%s", arguments, err, out)
		}
	}

	return own
}
