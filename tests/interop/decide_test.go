package interop

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/choria-io/aaa/tests/interop/site"
)

// notAuthorized is what a node answers when its own authorizer refuses.
const notAuthorized = "You are not authorized to call this agent or action"

var (
	info    = site.Request{Agent: "choria_util", Action: "info"}
	getFact = site.Request{Agent: "rpcutil", Action: "get_fact", Data: map[string]any{"fact": "country"}}
)

// TestNodeDecidesAlikeOnActionLists asks the signer, and a node with rpcauthprovider aaasvc alone, about the same tokens and requests.
func TestNodeDecidesAlikeOnActionLists(t *testing.T) {
	inMode(t, site.V2, func(ctx context.Context, t *testing.T, w *world) {
		decisions := compare(ctx, t, w, w.actionlist, []site.ClientSpec{
			{Caller: "up=all", Agents: []string{"*"}},
			{Caller: "up=agent", Agents: []string{"rpcutil.*"}},
			{Caller: "up=action", Agents: []string{"rpcutil.ping"}},
			{Caller: "up=two", Agents: []string{"rpcutil.daemon_stats", "choria_util.info"}},
			{Caller: "up=other", Agents: []string{"puppet.*", "rpcutil2.ping"}},
			{Caller: "up=nothing"},
			{Caller: "up=nodot", Agents: []string{"rpcutil"}},
			{Caller: "up=nodotlate", Agents: []string{"rpcutil.ping", "rpcutil", "choria_util.*"}},
			{Caller: "up=dots", Agents: []string{"rpcutil.ping.now"}},
			{Caller: "up=staragent", Agents: []string{"*.ping"}},
			{Caller: "up=case", Agents: []string{"RPCUtil.Ping"}},
			{Caller: "up=alllate", Agents: []string{"puppet.status", "*"}},
		}, []site.Request{ping, stats, getFact, info})

		decisions.mustContainBoth(t)
	})
}

// policy wraps a rule into the module that Choria evaluates.
func policy(rule string) string {
	return "package io.choria.aaasvc\n\ndefault allow := false\n\n" + rule + "\n"
}

// TestNodeDecidesAlikeOnPolicies does the same for Rego policies, with and without filters.
//
// Not in it: requires_filter(), which ends the process of a real node, and input.site, which a node sets to "server".
func TestNodeDecidesAlikeOnPolicies(t *testing.T) {
	onlyOurs(t, "its policy functions end the request, and it leaves sender, collective and ttl empty")

	withFact, withOther, withClass, withIdentity := ping, stats, ping, ping
	withFact.Facts = []string{site.NodeFact}
	withOther.Facts = []string{"role=web"}
	withClass.Classes = []string{site.NodeClass}
	withIdentity.Identities = []string{site.NodeIdentity}

	inMode(t, site.V2, func(ctx context.Context, t *testing.T, w *world) {
		decisions := compare(ctx, t, w, w.opa, []site.ClientSpec{
			{Caller: "up=yes", Policy: policy("allow if { true }")},
			{Caller: "up=no", Policy: policy("allow if { false }")},
			{Caller: "up=action", Policy: policy(`allow if { input.agent == "rpcutil"; input.action == "ping" }`)},
			{Caller: "up=two", Policy: policy("allow if { input.action == \"ping\" }\n\nallow if { input.agent == \"choria_util\" }")},
			{Caller: "up=fact", Policy: policy(`allow if { requires_fact_filter("` + site.NodeFact + `") }`)},
			{Caller: "up=notfact", Policy: policy(`allow if { not requires_fact_filter("` + site.NodeFact + `") }`)},
			{Caller: "up=class", Policy: policy(`allow if { requires_class_filter("` + site.NodeClass + `") }`)},
			{Caller: "up=identity", Policy: policy(`allow if { requires_identity_filter("` + site.NodeIdentity + `") }`)},
			{Caller: "up=data", Policy: policy(`allow if { input.data.fact == "country" }`)},
			{Caller: "up=claims", Policy: policy(`allow if { input.claims.callerid == "up=claims"; input.claims.purpose == "choria_client_id" }`)},
			{Caller: "up=envelope", Policy: policy(`allow if { input.collective == "choria"; input.sender == "workstation.example.net"; input.ttl == 60 }`)},
			{Caller: "up=otherpackage", Policy: "package other\n\nallow if { true }\n"},
			{Caller: "up=string", Policy: "package io.choria.aaasvc\n\nallow := \"true\"\n"},
			{Caller: "up=broken", Policy: policy("allow if { input.agent = = }")},
			{Caller: "up=nothing"},
		}, []site.Request{ping, withFact, withClass, withIdentity, withOther, getFact, info})

		decisions.mustContainBoth(t)
	})
}

// tally counts the decisions on which signer and node agreed.
type tally struct{ allowed, denied int }

func (c *tally) add(allowed bool) {
	if allowed {
		c.allowed++
	} else {
		c.denied++
	}
}

// mustContainBoth guards against a comparison that agrees because one answer is always given.
func (c tally) mustContainBoth(t *testing.T) {
	t.Helper()

	if c.allowed == 0 || c.denied == 0 {
		t.Errorf("all decisions are alike: %+v", c)
	}
}

// compare asks signer and node about every caller and request, each without the other.
func compare(ctx context.Context, t *testing.T, w *world, signer *site.Service, callers []site.ClientSpec, requests []site.Request) tally {
	t.Helper()

	var count tally

	for _, spec := range callers {
		spec.Permissions = fleet

		// signs for itself on the network, so that the node's authorizer is the only one to decide
		client := w.newClient(t, strings.TrimPrefix(spec.Caller, "up="), site.ClientOptions{Service: signer, SelfSigned: true})
		must(t, client.GiveToken(spec))

		for _, request := range requests {
			bySigner, err := signerAllows(ctx, client, request)
			if err != nil {
				t.Fatalf("%s, %s: signer: %v", spec.Caller, request, err)
			}

			byNode, err := nodeAllows(ctx, client, request)
			if err != nil {
				t.Fatalf("%s, %s: node: %v", spec.Caller, request, err)
			}

			switch {
			case bySigner != byNode:
				t.Errorf("%s %q %q, %s: the signer allows: %v, the node allows: %v", spec.Caller, spec.Agents, spec.Policy, request, bySigner, byNode)
			case bySigner:
				count.allowed++
			default:
				count.denied++
			}
		}
	}

	return count
}

// signerAllows asks for a signature and publishes nothing.
func signerAllows(ctx context.Context, client *site.Client, request site.Request) (bool, error) {
	document, err := client.RequestBytes(request)
	if err != nil {
		return false, err
	}

	_, err = client.SignOverHTTPS(ctx, document)
	switch {
	case err == nil:
		return true, nil
	case strings.HasPrefix(err.Error(), "error from remote signer: Request denied"):
		return false, nil
	default:
		return false, err
	}
}

// nodeAllows publishes the request and reads the node's decision from its reply.
func nodeAllows(ctx context.Context, client *site.Client, request site.Request) (bool, error) {
	outcome, err := client.Do(ctx, request)
	if err != nil {
		return false, err
	}

	if len(outcome.Replies) != 1 {
		return false, fmt.Errorf("replies are %s", describe(outcome.Replies))
	}

	switch reply := outcome.Replies[0]; {
	case reply.Status == 0:
		return true, nil
	case reply.Status == 1 && reply.Message == notAuthorized:
		return false, nil
	default:
		return false, fmt.Errorf("reply is %s", describe(outcome.Replies))
	}
}
