package interop

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/choria-io/aaa/tests/interop/site"
)

// pieces make patterns: some that both engines read alike, some that only Go reads, some that only others do.
var pieces = []string{
	"a", "b", "K", "ü", "ß", "rm", ".", "^", "$", "|", "-", "]", "}", ",", "&&", "~~", `\.`, `\_`, `\-`,
	`\w`, `\W`, `\d`, `\D`, `\s`, `\S`, `\b`, `\B`, `\A`, `\z`, `\Z`, `\C`, `\<`, `\>`, `\1`, `\101`, `\0`, `\x41`, `\x{fc}`, `\u0041`, `\n`, `\Qa.b\E`, `\Q*`, `\E`,
	"[a-c]", "[^k]", `[\w-.]`, "[a&&b]", "[a~~b]", `[\d--5]`, "[[a]", "[]a]", "[^]a]", "[a-]", `[^\W]`, "[[:alpha:]]", "[^[:word:]]", "[[:^space:]x]", "[[:foo:]]", "[b-a]", "[",
	"*", "+", "?", "*?", "+?", "{2}", "{1,2}", "{2,}?", "{,3}", "{01}", "{rm}", "{", "{1001}", "++",
	"(", "(", ")", ")", ")", "(?:", "(?i:", "(?P<n>", "(?<m>", "(?i)", "(?-i)", "(?s)", "(?m)", "(?U)", "(?x)", "(?u)", "(?=", "(?i-s:", "()",
}

// unicodeClasses are those of Unicode, small ones, and one at most in a pattern: they take long to make.
var unicodeClasses = []string{`\p{Greek}`, `[\p{Thai}a]`, `\p{Zs}`, `\p{Alphabetic}`, `\p{IsGreek}`}

// patternEntry is what is made of a pattern and texts.
const patternEntry = `[regex.is_valid(IN.p), [[regex.match(IN.p, x), regex.find_n(IN.p, x, -1), regex.find_all_string_submatch_n(IN.p, x, 2),
	regex.split(IN.p, x), regex.replace(x, IN.p, "<$0>")] | some x in IN.texts]]`

var patternTexts = []any{"", "a", "ab", "K\u212ak", "ünï", "a.b*", "١٢٣", "a\u00a0b c", "x{,3}", "{rm}", "a&&b~", "AAü\nb", "αΒ ß"}

// TestOPADecidesAlikeOnPatterns has both match, find, split and replace by generated patterns.
func TestOPADecidesAlikeOnPatterns(t *testing.T) {
	onlyOurs(t, "it is OPA")

	inMode(t, site.V2, func(ctx context.Context, t *testing.T, w *world) {
		opa := compileForOPA(ctx, t, w, valuePolicy(patternEntry))
		random := rand.New(rand.NewPCG(seed, 0))

		patterns, matched := 1500, 0

		for range patterns {
			var pattern strings.Builder
			for range 1 + random.IntN(4) {
				pattern.WriteString(pick(random, pieces...))
			}
			if random.IntN(6) == 0 {
				pattern.WriteString(pick(random, unicodeClasses...))
			}

			args := map[string]any{"p": pattern.String(), "texts": patternTexts}

			value, err := opa.value(ctx, args)
			must(t, err)

			if len((*value).([]any)[1].([]any)) > 0 {
				matched++
			}

			opa.mustDecide(ctx, t, patternEntry, args, map[string]any{"want": *value}, true)
		}

		t.Logf("%d patterns, %d good, %d not here", patterns, matched, opa.limited)

		if matched < patterns/3 || matched > patterns*9/10 || opa.limited > patterns/10 {
			t.Error("too little variety")
		}
	})
}
