package interop

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/choria-io/aaa/tests/interop/site"
)

var (
	ping  = site.Request{Agent: "rpcutil", Action: "ping"}
	stats = site.Request{Agent: "rpcutil", Action: "daemon_stats"}
)

// TestPingThroughNode logs in, discovers and pings: each request is signed by the service and executed by a node that trusts it alone.
func TestPingThroughNode(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		for _, user := range []string{"alice", "bob"} {
			t.Run(user, func(t *testing.T) {
				client := w.loggedIn(ctx, t, user, site.ClientOptions{Service: w.actionlist})

				answered, err := client.Ping(ctx)
				must(t, err)

				if !slices.Equal(answered, []string{site.NodeIdentity}) {
					t.Errorf("%q answered", answered)
				}
			})
		}
	})
}

// TestDiscovery broadcasts with and without a fact that the node has.
func TestDiscovery(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		for user, service := range map[string]*site.Service{"bob": w.actionlist, "carol": w.opa} {
			client := w.loggedIn(ctx, t, user, site.ClientOptions{Service: service})

			for _, facts := range [][]string{nil, {site.NodeFact}} {
				nodes, err := client.Discover(ctx, facts...)
				must(t, err)

				if !slices.Equal(nodes, []string{site.NodeIdentity}) {
					t.Errorf("%s discovered %q with facts %q", user, nodes, facts)
				}
			}
		}
	})
}

// TestBothAuditTrails shows that the node's own log and the service's name the same verified caller for one request.
func TestBothAuditTrails(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		client := w.loggedIn(ctx, t, "alice", site.ClientOptions{Service: w.actionlist})

		outcome := done(ctx, t, client, stats)

		onNode, err := w.NodeRecords(outcome.RequestID)
		must(t, err)
		if len(onNode) != 1 || onNode[0].Caller != "up=alice" || onNode[0].Agent != "rpcutil" || onNode[0].Action != "daemon_stats" {
			t.Errorf("the node has on record %+v", onNode)
		}

		ours, err := w.actionlist.Audit(outcome.RequestID)
		must(t, err)
		if len(ours) != 1 {
			t.Fatalf("the service has on record %+v", ours)
		}

		want := site.AuditRecord{Action: "allow", Auditor: "logfile", Caller: "up=alice", Level: "info", Site: site.SiteName}
		got := ours[0]
		got.Message, got.Time = "", ""
		if got != want {
			t.Errorf("the service has on record %+v, want %+v", got, want)
		}
	})
}

// TestDeniedByActionList shows what a person sees of a refusal, that the node never hears of the request, and that it is on record.
func TestDeniedByActionList(t *testing.T) {
	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		client := w.loggedIn(ctx, t, "bob", site.ClientOptions{Service: w.actionlist})

		message := refused(ctx, t, client, stats)
		if !strings.Contains(message, "error from remote signer: Request denied") {
			t.Errorf("the stock client shows %q", message)
		}
		if !program.Reference && !(strings.Contains(message, "Request denied: up=bob ") && strings.Contains(message, "rpcutil.daemon_stats")) {
			t.Errorf("the stock client shows %q, which does not say who may not do what", message)
		}

		// the library keeps the id of what it could not publish to itself, so the record is looked for with a request made here
		document, err := client.RequestBytes(stats)
		must(t, err)
		_, err = client.SignOverHTTPS(ctx, document)
		if err == nil {
			t.Fatal("signed")
		}

		id := requestID(t, document)
		records, err := w.actionlist.Audit(id)
		must(t, err)
		if len(records) != 1 || records[0].Action != "deny" || records[0].Caller != "up=bob" {
			t.Errorf("the service has on record %+v", records)
		}

		onNode, err := w.NodeRecords(id)
		must(t, err)
		if len(onNode) != 0 {
			t.Errorf("the node has on record %+v", onNode)
		}
	})
}

// TestPolicyWithFactFilter has a user whose policy wants a fact filter ask with and without one.
func TestPolicyWithFactFilter(t *testing.T) {
	onlyOurs(t, "its policy functions end the request")

	inBothModes(t, func(ctx context.Context, t *testing.T, w *world) {
		client := w.loggedIn(ctx, t, "carol", site.ClientOptions{Service: w.opa})

		with := ping
		with.Facts = []string{site.NodeFact}
		outcome := done(ctx, t, client, with)

		onNode, err := w.NodeRecords(outcome.RequestID)
		must(t, err)
		if len(onNode) != 1 || onNode[0].Caller != "up=carol" {
			t.Errorf("the node has on record %+v", onNode)
		}

		other := ping
		other.Facts = []string{"country=de"}
		for _, request := range []site.Request{ping, other} {
			message := refused(ctx, t, client, request)
			if !strings.Contains(message, "error from remote signer: Request denied: up=carol ") {
				t.Errorf("%s: the stock client shows %q", request, message)
			}
		}
	})
}

// done executes a request that must be allowed by signer and node and done by the node.
func done(ctx context.Context, t *testing.T, client *site.Client, request site.Request) *site.Outcome {
	t.Helper()

	outcome, err := client.Do(ctx, request)
	must(t, err)

	if len(outcome.Replies) != 1 || outcome.Replies[0].Sender != site.NodeIdentity || outcome.Replies[0].Status != 0 {
		t.Fatalf("%s: replies are %s", request, describe(outcome.Replies))
	}

	return outcome
}

// refused asks for what the signer must refuse and returns what the stock client shows.
func refused(ctx context.Context, t *testing.T, client *site.Client, request site.Request) string {
	t.Helper()

	outcome, err := client.Do(ctx, request)
	if err == nil {
		t.Fatalf("%s: signed, and answered %s", request, describe(outcome.Replies))
	}

	return err.Error()
}

func describe(replies []site.Reply) string {
	var out []string
	for _, reply := range replies {
		out = append(out, fmt.Sprintf("%s: %d %q %s", reply.Sender, reply.Status, reply.Message, reply.Data))
	}

	return "[" + strings.Join(out, ", ") + "]"
}

// readFile is a file of the site.
func readFile(t *testing.T, path string) string {
	t.Helper()

	content, err := os.ReadFile(path)
	must(t, err)

	return string(content)
}
