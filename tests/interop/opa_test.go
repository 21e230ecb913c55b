package interop

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/types"
	"github.com/open-policy-agent/opa/v1/util"
	"github.com/segmentio/ksuid"

	"github.com/choria-io/aaa/tests/interop/site"
)

// seed makes the inputs; another one makes others.
const seed = 20261127

// TestOPADecidesAlikeOnValues computes each value of the corpus with OPA, and asks the signer whether it comes to the same.
func TestOPADecidesAlikeOnValues(t *testing.T) {
	onlyOurs(t, "it is OPA")

	inMode(t, site.V2, func(ctx context.Context, t *testing.T, w *world) {
		var defined, undefined, failed, limited int

		for i, entry := range values {
			opa := compileForOPA(ctx, t, w, valuePolicy(entry))
			random := rand.New(rand.NewPCG(seed, uint64(i)))

			for range 12 {
				args := generated(random)

				value, err := opa.value(ctx, args)
				switch {
				case err != nil:
					// rules in conflict: neither of the two says anything then
					failed++
					opa.mustDecide(ctx, t, entry, args, map[string]any{"undefined": true}, false)
				case value == nil:
					undefined++
					opa.mustDecide(ctx, t, entry, args, map[string]any{"undefined": true}, true)
					opa.mustDecide(ctx, t, entry, args, map[string]any{"want": nil}, false)
				default:
					defined++
					opa.mustDecide(ctx, t, entry, args, map[string]any{"want": *value}, true)
					opa.mustDecide(ctx, t, entry, args, map[string]any{"want": []any{*value}}, false)
				}
			}

			limited += opa.limited
		}

		t.Logf("%d values, %d without one, %d in conflict; %d requests refused for what the signer does not do", defined, undefined, failed, limited)

		if defined < 500 || limited > defined/10 || undefined < 100 || failed < 5 {
			t.Errorf("too little variety: %d defined, %d undefined, %d failed", defined, undefined, failed)
		}
	})
}

// TestOPADiffersWhereTheManualSays has the signer refuse what OPA says that these values are.
func TestOPADiffersWhereTheManualSays(t *testing.T) {
	onlyOurs(t, "it is OPA")

	inMode(t, site.V2, func(ctx context.Context, t *testing.T, w *world) {
		for _, entry := range differences {
			opa := compileForOPA(ctx, t, w, valuePolicy(entry))
			args := map[string]any{"s": "a"}

			value, err := opa.value(ctx, args)
			must(t, err)

			claim := map[string]any{"undefined": true}
			if value != nil {
				claim = map[string]any{"want": *value}
			}

			opa.mustDecide(ctx, t, entry, args, claim, false)
		}
	})
}

// TestOPADecidesAlikeOnPolicies decides by whole policies, those of the project's vectors among them.
func TestOPADecidesAlikeOnPolicies(t *testing.T) {
	onlyOurs(t, "it is OPA")

	corpus := append(vectorPolicies(t), policies...)

	inMode(t, site.V2, func(ctx context.Context, t *testing.T, w *world) {
		var count tally

		for i, text := range corpus {
			opa := compileForOPA(ctx, t, w, text)
			random := rand.New(rand.NewPCG(seed, uint64(i)))

			for range 16 {
				asked := generatedQuestion(random)

				byOPA, err := opa.allows(ctx, asked)
				if err != nil {
					byOPA = false
				}

				bySigner, why := opa.signerAllows(ctx, t, asked)

				switch {
				case byOPA && namesLimit.MatchString(why):
				case byOPA != bySigner:
					t.Errorf("OPA allows: %v (%v), the signer allows: %v (%s)\n%s\n%+v", byOPA, err, bySigner, why, text, asked)
				case byOPA:
					count.allowed++
				default:
					count.denied++
				}
			}
		}

		count.mustContainBoth(t)
	})
}

// question is what differs from request to request.
type question struct {
	Agent, Action string
	Data          map[string]any
	Fact          string
}

// oracle is a policy that OPA compiled, unless it could not, and the token that gives the same to the signer.
type oracle struct {
	prepared map[string]rego.PreparedEvalQuery
	err      error

	service *site.Service
	token   string
	key     ed25519.PrivateKey
	claims  any

	// asked is what the functions about filters go by.
	asked question
	// limited counts requests that the signer refused with the name of something that the manual says it does not do.
	limited int
}

// namesLimit is how the signer says that it does not do something that OPA does.
var namesLimit = regexp.MustCompile("cannot be applied: (line \\d+: (`(add|sub|mul|div|mod)` expects|modulo on floating|`some .. in collection` expects)|`[a-z0-9_.]+` (takes|knows|gives|orders|names|is|has) )")

const (
	valueQuery = "data.io.choria.aaasvc.value"
	allowQuery = "data.io.choria.aaasvc.allow"
)

// definesValue is a rule of an entry that is more than an expression.
var definesValue = regexp.MustCompile(`(?m)^(default )?value\b`)

// valuePolicy allows a request that knows the value, or knows that it has none.
func valuePolicy(entry string) string {
	if !definesValue.MatchString(entry) {
		entry = "value := " + entry
	}

	return `package io.choria.aaasvc

import rego.v1

default allow := false

allow if value == input.data.want

allow if {
	input.data.undefined
	not defined
}

defined if value == value

` + strings.ReplaceAll(entry, "IN", "input.data.in") + "\n"
}

func compileForOPA(ctx context.Context, t *testing.T, w *world, text string) *oracle {
	t.Helper()

	o := newOracle(t, w, w.opa, text)

	// as the signer does: what is no v1 is v0
	module, version := text, ast.RegoV1
	if _, err := ast.ParseModuleWithOpts("policy", module, ast.ParserOptions{RegoVersion: version}); err != nil {
		version = ast.RegoV0
	}

	for _, query := range []string{valueQuery, allowQuery} {
		o.prepare(ctx, query, rego.Module("policy", module), rego.SetRegoVersion(version), rego.Capabilities(supported(t)))
	}

	return o
}

// newOracle knows no rules yet; its token for the signer has that policy.
func newOracle(t *testing.T, w *world, service *site.Service, policy string) *oracle {
	t.Helper()

	public, private, err := ed25519.GenerateKey(nil)
	must(t, err)

	o := &oracle{service: service, key: private, prepared: map[string]rego.PreparedEvalQuery{}}

	o.token, err = w.Mint(site.ClientSpec{Caller: "up=opa", Policy: policy, Permissions: fleet}, public)
	must(t, err)

	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(o.token, ".")[1])
	must(t, err)
	must(t, util.UnmarshalJSON(payload, &o.claims))

	return o
}

// prepare has OPA compile the rules that a query is about.
func (o *oracle) prepare(ctx context.Context, query string, rules ...func(*rego.Rego)) {
	var err error

	o.prepared[query], err = rego.New(append(append(o.filterFunctions(), rego.Query(query)), rules...)...).PrepareForEval(ctx)
	if err != nil {
		o.err = err
	}
}

// supported is what OPA can do, without the functions that the manual says are not there.
func supported(t *testing.T) *ast.Capabilities {
	t.Helper()

	manual, err := os.ReadFile("../../docs/policy.md")
	must(t, err)

	_, section, found := strings.Cut(string(manual), "### Functions of OPA that are not there")
	if !found {
		t.Fatal("the manual has no list of functions that are not there")
	}
	section, _, _ = strings.Cut(section, "\n#")

	missing := map[string]bool{}
	for _, name := range regexp.MustCompile("`([a-z0-9_.]+)`").FindAllStringSubmatch(section, -1) {
		missing[name[1]] = true
	}

	capabilities := ast.CapabilitiesForThisVersion()
	capabilities.Builtins = slices.DeleteFunc(capabilities.Builtins, func(b *ast.Builtin) bool { return missing[b.Name] })

	return capabilities
}

// filterFunctions are the four functions that are Choria's own; a generated request has one fact in its filter, or nothing.
func (o *oracle) filterFunctions() []func(*rego.Rego) {
	has := func(answer func(wanted string) bool) rego.BuiltinDyn {
		return func(_ rego.BuiltinContext, terms []*ast.Term) (*ast.Term, error) {
			var wanted string
			if len(terms) > 0 {
				if err := ast.As(terms[0].Value, &wanted); err != nil {
					return nil, err
				}
			}

			return ast.BooleanTerm(answer(wanted)), nil
		}
	}

	one := types.NewFunction(types.Args(types.S), types.B)
	never := func(string) bool { return false }

	return []func(*rego.Rego){
		rego.FunctionDyn(&rego.Function{Name: "requires_filter", Decl: types.NewFunction(types.Args(), types.B), Nondeterministic: true},
			has(func(string) bool { return o.asked.Fact != "" })),
		rego.FunctionDyn(&rego.Function{Name: "requires_fact_filter", Decl: one, Nondeterministic: true},
			has(func(wanted string) bool {
				return o.asked.Fact != "" && strings.ReplaceAll(wanted, "==", "=") == strings.ReplaceAll(o.asked.Fact, "==", "=")
			})),
		rego.FunctionDyn(&rego.Function{Name: "requires_class_filter", Decl: one, Nondeterministic: true}, has(never)),
		rego.FunctionDyn(&rego.Function{Name: "requires_identity_filter", Decl: one, Nondeterministic: true}, has(never)),
	}
}

// value is what the policy's rule of that name comes to, without one where it is undefined.
func (o *oracle) value(ctx context.Context, args map[string]any) (*any, error) {
	return o.eval(ctx, valueQuery, question{Agent: "rpcutil", Action: "ping", Data: map[string]any{"in": args}})
}

func (o *oracle) allows(ctx context.Context, asked question) (bool, error) {
	value, err := o.eval(ctx, allowQuery, asked)
	if err != nil || value == nil {
		return false, err
	}

	return *value == true, nil
}

func (o *oracle) eval(ctx context.Context, query string, asked question) (*any, error) {
	if o.err != nil {
		return nil, o.err
	}

	o.asked = asked

	// through JSON, so that numbers are what they are on the wire
	encoded, err := json.Marshal(map[string]any{
		"agent": asked.Agent, "action": asked.Action, "data": asked.Data, "collective": "choria", "ttl": 60, "site": site.SiteName,
		"sender": "workstation.example.net", "claims": o.claims,
	})
	if err != nil {
		return nil, err
	}

	var input any
	if err = util.UnmarshalJSON(encoded, &input); err != nil {
		return nil, err
	}

	results, err := o.prepared[query].Eval(ctx, rego.EvalInput(input))
	if err != nil || len(results) == 0 {
		return nil, err
	}

	return &results[0].Expressions[0].Value, nil
}

// mustDecide has the signer compare the value with what the request says that it is.
func (o *oracle) mustDecide(ctx context.Context, t *testing.T, entry string, args, claim map[string]any, wanted bool) {
	t.Helper()

	data := map[string]any{"in": args}
	for name, value := range claim {
		data[name] = value
	}

	allowed, why := o.signerAllows(ctx, t, question{Agent: "rpcutil", Action: "ping", Data: data})

	switch {
	case !allowed && namesLimit.MatchString(why):
		// never a leave that OPA would not give
		o.limited++
	case allowed != wanted:
		in, _ := json.Marshal(args)
		says, _ := json.Marshal(claim)
		t.Errorf("%s\n with %s\n OPA (%v) says that %s is %v; the signer does not: %s", entry, in, o.err, says, wanted, why)
	}
}

// document is the request as it is signed and sent.
func (q question) document() ([]byte, error) {
	data, err := json.Marshal(q.Data)
	if err != nil {
		return nil, err
	}

	message, err := json.Marshal(map[string]any{"agent": q.Agent, "action": q.Action, "data": json.RawMessage(data)})
	if err != nil {
		return nil, err
	}

	facts := []map[string]string{}
	if name, value, found := strings.Cut(q.Fact, "=="); found {
		facts = append(facts, map[string]string{"fact": name, "operator": "==", "value": value})
	}

	return json.Marshal(map[string]any{
		"protocol": "io.choria.protocol.v2.request", "message": message, "id": ksuid.New().String(), "sender": "workstation.example.net",
		"caller": "up=opa", "collective": "choria", "agent": q.Agent, "ttl": 60, "time": time.Now().UnixNano(),
		"filter": map[string]any{"fact": facts, "cf_class": []string{}, "agent": []string{q.Agent}, "identity": []string{}, "compound": []any{}},
	})
}

// signerClient keeps its connection: there are thousands of requests.
var signerClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// signerAllows asks for a signature, and says why there is none.
func (o *oracle) signerAllows(ctx context.Context, t *testing.T, asked question) (bool, string) {
	t.Helper()

	document, err := asked.document()
	must(t, err)

	body, err := json.Marshal(map[string]any{
		"token": o.token, "request": document, "signature": hex.EncodeToString(ed25519.Sign(o.key, document)),
	})
	must(t, err)

	request, err := http.NewRequestWithContext(ctx, http.MethodPost, o.service.SignURL(), bytes.NewReader(body))
	must(t, err)
	request.Header.Set("Content-Type", "application/json")

	response, err := signerClient.Do(request)
	must(t, err)
	defer response.Body.Close()

	answered, err := io.ReadAll(response.Body)
	must(t, err)

	var answer struct {
		SecureRequest string `json:"secure_request"`
		Error         string `json:"error"`
		Detail        string `json:"detail"`
	}
	must(t, json.Unmarshal(answered, &answer))

	switch {
	case response.StatusCode != http.StatusOK:
		t.Fatalf("%s: %s", response.Status, answered)
	case answer.SecureRequest != "":
		return true, ""
	case !strings.HasPrefix(answer.Error, "Request denied"):
		t.Fatal(errors.New(answer.Error))
	}

	return false, fmt.Sprintf("%s: %s", answer.Error, answer.Detail)
}

// vectorPolicies are the policies of the project's vectors, each once.
func vectorPolicies(t *testing.T) []string {
	t.Helper()

	encoded, err := os.ReadFile("../vectors/rego.json")
	must(t, err)

	var cases []struct {
		Policy string `json:"policy"`
	}
	must(t, json.Unmarshal(encoded, &cases))

	var texts []string
	seen := map[string]bool{"": true}

	for _, c := range cases {
		// the time of a request is not the same for both
		if !seen[c.Policy] && !strings.Contains(c.Policy, "input.time") {
			texts = append(texts, c.Policy)
		}
		seen[c.Policy] = true
	}

	if len(texts) < 40 {
		t.Fatalf("only %d policies in the vectors", len(texts))
	}

	return texts
}

func pick[T any](random *rand.Rand, items ...T) T { return items[random.IntN(len(items))] }

func generatedQuestion(random *rand.Rand) question {
	data := generated(random)
	data["package"] = pick(random, "zsh", "vim", "nginx")
	data["count"] = pick[any](random, 1, 3, 12, "3")
	data["tags"] = pick[any](random, []any{"a", "b"}, []any{}, []any{"c"}, "a")

	return question{
		Agent:  pick(random, "rpcutil", "package", "puppet", "x"),
		Action: pick(random, "ping", "install", "status", "disable"),
		Data:   data,
		Fact:   pick(random, "", "country==mt", "country==de"),
	}
}

// generated are arguments: mostly all of them, of the kinds that the corpus wants, and at times not.
func generated(random *rand.Rand) map[string]any {
	word := func() any {
		return pick[any](random, "", "a", "b", "abc", "a.b.c", "A-B", "web1.example.net", " x ", "äöü", "10.1.2.3", "aXbXc")
	}
	number := func() any { return pick[any](random, 0, 1, 2, 3, -1, -7, 10, 255, 1.5, -2.25, 0.5, 1e3) }
	scalar := func() any { return pick(random, word(), number(), true, false, nil) }
	list := func(item func() any) any {
		items := []any{}
		for range random.IntN(5) {
			items = append(items, item())
		}

		return items
	}
	object := func(item func() any) any {
		members := map[string]any{}
		for _, name := range []string{"a", "b", "c"} {
			if random.IntN(3) > 0 {
				members[name] = item()
			}
		}

		return members
	}

	args := map[string]any{
		"a": number(), "b": number(), "n": random.IntN(6), "s": word(), "t": word(), "flag": random.IntN(2) == 0,
		"xs": list(number), "ys": list(number), "ws": list(word), "vs": list(word), "o": object(scalar), "p": object(scalar),
		"deep": object(func() any { return pick(random, scalar(), list(scalar), object(func() any { return list(number) })) }),
		"rows": list(func() any { return map[string]any{"name": word(), "size": number()} }),
	}

	for _, name := range slices.Sorted(maps.Keys(args)) {
		switch random.IntN(14) {
		case 0:
			delete(args, name)
		case 1:
			args[name] = scalar()
		}
	}

	return args
}
