package interop

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/choria-io/tokens"

	"github.com/choria-io/aaa/tests/interop/site"
)

// TestApart runs the two halves as services of their own: each answers 501 for the other, and the signer takes the other's tokens.
func TestApart(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		login := w.started(ctx, t, site.ServiceOptions{Name: "login", NoSigner: true})
		signer := w.started(ctx, t, site.ServiceOptions{Name: "signer", Authorizer: "actionlist", NoLogin: true})

		client := w.loggedIn(ctx, t, "bob", site.ClientOptions{Service: signer, LoginService: login})
		done(ctx, t, client, ping)

		for _, url := range []string{login.SignURL(), signer.LoginURL()} {
			response, answer, err := postSign(ctx, url, map[string]any{})
			must(t, err)
			if response.StatusCode != http.StatusNotImplemented {
				t.Errorf("%s answers %s: %s", url, response.Status, answer)
			}
		}

		must(t, login.Stop())
		must(t, signer.Stop())
	})
}

// started is a service that ends with the test.
func (w *world) started(ctx context.Context, t *testing.T, opts site.ServiceOptions) *site.Service {
	t.Helper()

	service, err := w.StartService(ctx, program, opts)
	must(t, err)

	t.Cleanup(func() {
		err := service.Stop()
		if err != nil {
			t.Error(err)
		}
	})

	return service
}

// TestMetrics shows that the numbers which sites watch are where they were, under the same names and labels.
func TestMetrics(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		service := w.started(ctx, t, site.ServiceOptions{Name: "metrics", Authorizer: "actionlist"})

		client := w.loggedIn(ctx, t, "bob", site.ClientOptions{Service: service})
		done(ctx, t, client, ping)
		refused(ctx, t, client, stats)

		stranger := w.newClient(t, "stranger", site.ClientOptions{Service: service})
		if stranger.Login(ctx, "bob", "guess") == nil {
			t.Fatal("a guess logs in")
		}

		status, body, err := service.Admin(ctx, "/metrics")
		must(t, err)
		if status != http.StatusOK {
			t.Fatalf("metrics are %d: %s", status, body)
		}

		for _, want := range []struct {
			name   string
			labels []string
		}{
			{"choria_aaa_authenticator_errors", []string{`site="interop"`, `authenticator="userlist"`}},
			{"choria_aaa_authenticator_time_count", []string{`site="interop"`, `authenticator="userlist"`}},
			{"choria_aaa_signer_allowed", []string{`site="interop"`, `signer="basicjwt"`}},
			{"choria_aaa_signer_denied", []string{`site="interop"`, `signer="basicjwt"`}},
			{"choria_aaa_authorizer_allowed", []string{`site="interop"`, `authorizer="actionlist"`, `action="rpcutil.ping"`}},
			{"choria_aaa_authorizer_denied", []string{`site="interop"`, `authorizer="actionlist"`, `action="rpcutil.daemon_stats"`}},
			{"choria_aaa_build_info", []string{`site="interop"`, `version="`}},
		} {
			if !hasSample(body, want.name, want.labels) {
				t.Errorf("no %s with %q in\n%s", want.name, want.labels, ours(body))
			}
		}
	})
}

// hasSample looks for a metric that has all the labels and, build information apart, counts something.
func hasSample(body string, name string, labels []string) bool {
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, name+"{") {
			continue
		}

		all := name == "choria_aaa_build_info" || !strings.HasSuffix(line, " 0")
		for _, label := range labels {
			all = all && strings.Contains(line, label)
		}

		if all {
			return true
		}
	}

	return false
}

// ours leaves out the metrics of language runtimes.
func ours(body string) string {
	var out strings.Builder

	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "choria_aaa_") {
			out.WriteString(line)
		}
	}

	return out.String()
}

// TestForgedChain presents a token from a chain that the organization issuer never began: a stranger's, that names itself in iss.
func TestForgedChain(t *testing.T) {
	onlyOurs(t, "it skips the first link of a chain")

	inMode(t, site.V2, func(ctx context.Context, t *testing.T, w *world) {
		client := w.newClient(t, "forger", site.ClientOptions{Service: w.actionlist})
		must(t, client.GiveForgedToken(site.ClientSpec{
			Caller:      "up=alice",
			Agents:      []string{"*"},
			Permissions: &tokens.ClientPermissions{FleetManagement: true},
		}))

		document, err := client.RequestBytes(ping)
		must(t, err)

		_, err = client.SignOverHTTPS(ctx, document)
		if err == nil || err.Error() != untrusted {
			t.Errorf("the stock client shows %v", err)
		}
	})
}
