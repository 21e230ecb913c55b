package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
)

// constants are of each kind, and of kinds within kinds.
var constants = []string{
	`null`, `true`, `1`, `-1.5`, `"a"`, `[]`, `[1]`, `["a"]`, `["a", 1]`, `[1, "UTC"]`, `[1, "UTC", "a"]`, `[[1]]`, `[{"a": "b"}]`, `set()`, `{1}`, `{"a"}`, `{"a", 1}`, `{{1}}`,
	`{}`, `{"a": "b"}`, `{"a": 1}`, `{1: "a"}`, `{"a": ["b"]}`, `[input.a]`, `{input.a}`, `{"a": input.a}`, `{input.a: 1}`, `["a", input.a]`,
	`count(input.a)`, `lower(input.a)`, `split(input.a, "b")`, `indexof_n(input.a, "b")`, `is_null(input.a)`, `union(input.a)`, `json.unmarshal(input.a)`, `input.a + 1`, `input.a == 1`, `input.a - {1}`,
	`[e | some e in input.a]`, `{e | e := 1}`, `[e | e := 1]`, `{e: 1 | some e in ["a"]}`, `own`, `text`, `several`, `f(1)`, `members`, `input.a`,
}

// named are the rules that constants name.
const named = "own := 1\n\ntext := \"a\" if input.a\n\nseveral := 1 if input.a\n\nseveral := \"a\" if input.b\n\nf(x) := [x]\n\nmembers contains \"a\" if input.a\n"

// typed are bodies of rules, and rules with them, that OPA's type checker takes or refuses.
var typed = []string{
	// operators
	`not 1 + K == 2`, `not K - 1 == 2`, `not K * K == 2`, `not 1 / K == 2`, `not K % 2 == 1`, `not (K | {1}) == {1}`, `not ({1} & K) == {1}`, `not K == "a"`, `not 1 == K`, `not K == {"a": 1}`, `not ["a"] == K`,
	`not K < 1`, `not K != 1`, `not K in [1]`, `not 1 in K`, `{ x := K; x = 1 }`, `{ x := K; not x == "a" }`,
	// variables, rules and functions
	`{ x := K; not startswith(x, "a") }`, `{ x := K; not concat("-", x) }`, `{ x := [K]; not concat("-", x) }`, `{ x := {"k": K}; not x.k == 1 }`, `{ x := K; y := [1 | x := "a"; lower(x)]; count(y) == x }`,
	"not sum(y)\n\ny := K", "not sum(y)\n\ny := K if input.b\n\ny := \"a\"", "not sum(y)\n\ndefault y := [1]\n\ny := K if input.b", "not g(1) == 1\n\ng(_) := K", "not g(K)\n\ng(1) := true\n\ng([x]) := x\n", "not g(1, K)\n\ng(_, \"a\") := true\n",
	"not y == 1\n\ny contains K", "not y[1]\n\ny contains K", "not y.a == \"a\"\n\ny[k] := K if some k in input.a", "not y == 1\n\ny.a := K", "not y.a == 1\n\ny := {k: K | some k in [1]} if input.a\n\ny := {k: \"b\" | some k in [\"a\"]} if input.b",
	"not y\n\ny if lower(K)", "not y\n\ny := lower(K)", "not y\n\ny := 1 if input.b\nelse := lower(K)", "count(y) == 1\n\ny contains lower(K)", "y\n\ny[lower(K)] := 1", "y\n\ny if true with input.a as lower(K)",
	// members
	`not K.a`, `not K["a"]`, `not K[0]`, `not K[1] == 1`, `not K["b"]`, `not K[input.x]`, `not K[count(input.x)]`, `not K[lower(input.x)]`, `{ x := K; not x.a.b }`, `{ x := K; not x[_] == 1 }`, "not y.b\n\ny := K", "not y[count(input.b)]\n\ny := K",
	// loops
	`{ some x in K; not x == 1 }`, `{ some i, x in K; not lower(i); x }`, `{ some x in [K]; not lower(x) }`, `every x in K { not lower(x) }`, `every x in [1] { not x == lower(K) }`, `{ xs := {x | some x in K}; not sum(xs) }`, `{ some [x, _] in [[K, 1]]; not lower(x) }`,
	`{ x := K[_]; not lower(x) }`, `{ walk(input.a, K) }`, `{ walk(K, [p, x]); p == x }`, `not startswith("a", "b", K)`,
	// how many
	`{ x := lower(x); x }`, "not y.b.c\n\ny.b := 1", `not lower()`, `not lower(K, K, K)`, `not g(K, 1)` + "\n\ng(x) := x", `not g()` + "\n\ng(x) := x",
}

// looser are what OPA refuses and the signer takes, as the manual says: the types of variables that get their values by `=` or in a function's
// arguments, and options of `json.marshal_with_options`.
var looser = []string{
	`{ x = 1; not lower(x) }`, `{ walk(input.a, [p, _]); not lower(p) }`, "not g(1)\n\ng(x) if lower(x)",
	`not json.marshal_with_options(1, {"pretty": 1})`,
}

// TestOPATakesTheSameTypes has both read a policy for each parameter of each function, and each kind of constant, and more that is about types.
func TestOPATakesTheSameTypes(t *testing.T) {
	onlyOurs(t, "it is OPA")

	capabilities := supported(t)
	bodies := slices.Clone(typed)

	var builtins []*ast.Builtin

	for _, builtin := range capabilities.Builtins {
		// the newer syntax has no deprecated ones
		if builtin.Infix != "" || builtin.IsDeprecated() || strings.HasPrefix(builtin.Name, "internal.") {
			continue
		}

		if !builtin.Relation {
			builtins = append(builtins, builtin)
		}

		arity := builtin.Decl.Arity()
		for place := range arity {
			if builtin.Name == "json.marshal_with_options" && place > 0 {
				continue // see looser
			}

			args := slices.Repeat([]string{"input.x"}, arity)
			args[place] = "K"
			if builtin.Name == "walk" {
				args = append(args, "[p, v]")
			}

			bodies = append(bodies, fmt.Sprintf("{ not %s(%s) }", builtin.Name, strings.Join(args, ", ")))
		}
	}

	var texts []string
	for _, body := range bodies {
		if !strings.Contains(body, "K") {
			texts = append(texts, body)
			continue
		}
		for _, constant := range constants {
			texts = append(texts, strings.ReplaceAll(body, "K", constant))
		}
	}
	texts = append(texts, looser...)
	random := rand.New(rand.NewPCG(seed, 1))
	for range 1500 {
		texts = append(texts, generatedTypes(random, builtins))
	}

	unusable := lint(t, texts)
	taken, refused, loose := 0, 0, 0

	for i, body := range texts {
		opa := compileTypes(capabilities, wholePolicy(body))
		ours := unusable[i]

		switch {
		case opa == nil && ours == "":
			taken++
		case opa != nil && ours != "":
			refused++
		case ours != "" && opa == nil && strings.Contains(ours, "ordered otherwise by OPA"):
		case ours != "" && opa == nil:
			t.Errorf("OPA compiles what is refused here: %s\n%s", ours, body)
		case ours == "" && slices.Contains(looser, body):
			loose++
		case ours == "":
			t.Errorf("OPA refuses what is taken here: %v\n%s", opa, body)
		}
	}

	t.Logf("%d policies taken by both, %d refused by both", taken, refused)

	if taken < 1000 || refused < 1000 || loose != len(looser) {
		t.Errorf("too little variety, or the manual needs a change: %d of %d that OPA alone refuses", loose, len(looser))
	}
}

// wholePolicy is a policy with that body, and rules that may follow it.
func wholePolicy(body string) string {
	return head + "allow if " + body + "\n\n" + named
}

// compileTypes is what OPA says to a policy.
func compileTypes(capabilities *ast.Capabilities, text string) error {
	module, err := ast.ParseModule("policy", text)
	if err != nil {
		return err
	}

	compiler := ast.NewCompiler().WithCapabilities(capabilities)
	compiler.Compile(map[string]*ast.Module{"policy": module})
	if compiler.Failed() {
		return compiler.Errors
	}

	return nil
}

// lint is what the program finds of each policy that makes it unusable.
func lint(t *testing.T, bodies []string) []string {
	t.Helper()

	const most = 1000 // that the program reads of one directory

	args, dirs := []string{"policy", "lint", "--json"}, map[string]bool{}
	path := func(i int) string {
		return filepath.Join(scratch, "lint", fmt.Sprint(i/most), fmt.Sprintf("%d.rego", i))
	}

	for i, body := range bodies {
		dir := filepath.Dir(path(i))
		if !dirs[dir] {
			dirs[dir] = true
			must(t, os.MkdirAll(dir, 0o700))
		}
		must(t, os.WriteFile(path(i), []byte(wholePolicy(body)), 0o600))
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		args = append(args, "--rego", dir)
	}

	printed, err := exec.Command(program.Path, args...).Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatal(err)
	}

	var findings []struct {
		File string `json:"file"`
		Kind string `json:"kind"`
		Text string `json:"text"`
	}
	must(t, json.Unmarshal(printed, &findings))

	found := map[string]string{}
	for _, finding := range findings {
		if finding.Kind == "unusable" {
			found[finding.File] = finding.Text
		}
	}

	said := make([]string, len(bodies))
	for i := range bodies {
		said[i] = found[path(i)]
	}

	return said
}

// generatedTypes is a body in which functions are given what others give.
func generatedTypes(random *rand.Rand, builtins []*ast.Builtin) string {
	var loops int
	variables := []string{"x", "x"}

	var expression func(depth int) string
	expression = func(depth int) string {
		if depth == 0 {
			return pick(random, slices.Concat(constants, variables, variables)...)
		}
		inner := func() string { return expression(random.IntN(depth)) }

		switch random.IntN(10) {
		case 0:
			return fmt.Sprintf("[%s, %s]", inner(), inner())
		case 1:
			return fmt.Sprintf("{%q: %s}", pick(random, "a", "b"), inner())
		case 2:
			return fmt.Sprintf("{%s}", inner())
		case 3:
			return pick(random, append(variables, "own", "text", "several", "members")...) + pick(random, `.a`, `["b"]`, `[0]`, `[x]`, `[count(x)]`)
		case 4:
			return fmt.Sprintf("(%s %s %s)", inner(), pick(random, "==", "<", "+", "-", "|", "in"), inner())
		case 5:
			loops++
			name := fmt.Sprintf("z%d", loops)

			return fmt.Sprintf("[%s | some %[1]s in %s]", name, inner())
		default:
			builtin := pick(random, builtins...)
			args := make([]string, builtin.Decl.Arity())
			for i := range args {
				args[i] = pick(random, "input.x", inner())
			}

			return fmt.Sprintf("%s(%s)", builtin.Name, strings.Join(args, ", "))
		}
	}

	first, second := pick(random, constants...), expression(2)
	variables = append(variables, "y", "y")

	return fmt.Sprintf("{ x := %s; y := %s; not %s }", first, second, expression(3))
}
