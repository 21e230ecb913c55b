package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/choria-io/aaa/tests/interop/site"
)

// bundled is what a bundle is built of.
type bundled struct {
	version ast.RegoVersion
	files   map[string]string
}

var bundles = map[string]bundled{
	"v1": {ast.RegoV1, map[string]string{
		"rules/site.rego": `package io.choria.aaasvc

default allow := false

allow if {
	input.action in data.agents[input.agent].actions
	input.data.count <= data.agents[input.agent].most
}

allow if {
	some tag in input.data.tags
	tag in data.tags
	requires_fact_filter(data.fact)
}
`,
		"data.yaml":                `{tags: [a, c], fact: country=mt}`,
		"agents/data.json":         `{"rpcutil": {"actions": ["ping", "status"], "most": 3}}`,
		"agents/package/data.json": `{"actions": ["install", "disable"], "most": 12}`,
		".manifest":                `{"roots": ["io/choria", "agents", "tags", "fact"], "metadata": {"by": "interop"}}`,
	}},
	"v0": {ast.RegoV0, map[string]string{
		"site.rego": `package io.choria.aaasvc

default allow = false

allow { names[_] == input.data.package; input.action == data.action }

allow { requires_filter(); not names[input.data.package] }

names[name] { name := data.packages[_] }
`,
		"data.json": `{"packages": ["zsh", "vim"], "action": "install"}`,
	}},
}

// TestOPADecidesAlikeOnBundles has OPA build bundles, and both decide by them.
func TestOPADecidesAlikeOnBundles(t *testing.T) {
	onlyOurs(t, "it takes no bundles")

	inMode(t, site.V2, func(ctx context.Context, t *testing.T, w *world) {
		for name, parts := range bundles {
			revision := "state of " + name
			built := parts.build(ctx, t, revision)

			file := filepath.Join(t.TempDir(), "site.tar.gz")
			must(t, os.WriteFile(file, built, 0o600))

			service, err := w.StartService(ctx, program, site.ServiceOptions{Name: "bundle-" + name, Authorizer: "opa", SitePolicies: file})
			must(t, err)
			t.Cleanup(func() { must(t, service.Stop()) })

			opa := newOracle(t, w, service, "")
			opa.prepare(ctx, allowQuery, rego.ParsedBundle(name, readBundle(t, built)))
			must(t, opa.err)

			var count tally
			random := rand.New(rand.NewPCG(seed, 1))

			for range 200 {
				asked := generatedQuestion(random)

				byOPA, err := opa.allows(ctx, asked)
				must(t, err)

				bySigner, why := opa.signerAllows(ctx, t, asked)

				switch {
				case byOPA && namesLimit.MatchString(why):
				case byOPA != bySigner:
					t.Errorf("%s: OPA allows: %v, the signer allows: %v (%s)\n%+v", name, byOPA, bySigner, why, asked)
				case byOPA:
					count.allowed++
				default:
					count.denied++
				}
			}

			count.mustContainBoth(t)

			log, err := os.ReadFile(filepath.Join(w.Dir, "logs", "service-bundle-"+name+".log"))
			must(t, err)
			if !strings.Contains(string(log), revision) {
				t.Errorf("the log does not name the revision %q", revision)
			}
		}
	})
}

// build is what `opa build` does.
func (b bundled) build(ctx context.Context, t *testing.T, revision string) []byte {
	t.Helper()

	dir := t.TempDir()
	for path, content := range b.files {
		path = filepath.Join(dir, path)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(content), 0o600))
	}

	var built bytes.Buffer
	capabilities := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(b.version))
	capabilities.Builtins = append(capabilities.Builtins, filterBuiltins(t)...)
	must(t, compile.New().WithPaths(dir).WithAsBundle(true).WithRegoVersion(b.version).WithRevision(revision).
		WithCapabilities(capabilities).WithOutput(&built).Build(ctx))

	return built.Bytes()
}

// filterBuiltins are the functions that the manual tells people to tell OPA of.
func filterBuiltins(t *testing.T) []*ast.Builtin {
	t.Helper()

	encoded, err := os.ReadFile("../../docs/examples/policy/opa/functions.json")
	must(t, err)

	var functions []*ast.Builtin
	must(t, json.Unmarshal(encoded, &functions))

	return functions
}

func readBundle(t *testing.T, built []byte) *bundle.Bundle {
	t.Helper()

	read, err := bundle.NewReader(bytes.NewReader(built)).Read()
	must(t, err)

	return &read
}
