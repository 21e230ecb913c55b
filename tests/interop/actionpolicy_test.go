package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/choria-io/go-choria/config"
	"github.com/choria-io/go-choria/filter"
	"github.com/choria-io/go-choria/filter/classes"
	"github.com/choria-io/go-choria/filter/facts"
	"github.com/choria-io/go-choria/providers/agent/mcorpc"
	"github.com/choria-io/go-choria/server/agents"
	"github.com/sirupsen/logrus"
)

// TestNodeDecidesAlikeOnActionPolicies has Choria's own authorizer decide by generated rules on generated nodes, and asks aaa about the same:
// as one of the nodes, and as a signer who knows the filter of a request alone.
func TestNodeDecidesAlikeOnActionPolicies(t *testing.T) {
	onlyOurs(t, "it knows no Action Policy")

	var nodes, signer tally
	var selected int

	for round := range 60 {
		random := rand.New(rand.NewPCG(seed, uint64(round)))
		site := generatedRules(t, random)

		var asked []filterOrNode
		for range 12 {
			asked = append(asked, filterOrNode{node: generatedNode(random)})
		}
		for range 12 {
			asked = append(asked, filterOrNode{filter: generatedFilter(random)})
		}

		for i, allowed := range site.decidedByUs(t, asked) {
			if asked[i].filter == nil {
				byNode := site.decidedByNode(t, asked[i].node)
				nodes.add(byNode)
				if byNode != allowed {
					t.Errorf("a node allows: %v, aaa says: %v\n%s\n%+v", byNode, allowed, site.policy, asked[i].node)
				}

				continue
			}

			signer.add(allowed)
			if !allowed {
				continue
			}

			for range 40 {
				node := generatedNode(random)
				if !asked[i].filter.selects(t, node) {
					continue
				}

				selected++
				if !site.decidedByNode(t, node) {
					t.Errorf("the signer allows what a node refuses that the filter selects\n%s\n%+v\n%+v", site.policy, asked[i].filter, node)
				}
			}
		}
	}

	t.Logf("nodes: %+v, signer: %+v, %d nodes selected", nodes, signer, selected)
	nodes.mustContainBoth(t)
	signer.mustContainBoth(t)

	if selected < 100 {
		t.Errorf("only %d nodes were selected by filters of requests that the signer allows", selected)
	}
}

// ruledSite is a directory of rules, as nodes have it.
type ruledSite struct {
	dir, policy string
}

type ruledNode struct {
	Facts   map[string]any
	Classes []string
}

type nodeFilter struct {
	Facts, Classes []string
}

// filterOrNode is what a decision is about: a node, or the filter of a request.
type filterOrNode struct {
	node   ruledNode
	filter *nodeFilter
}

const ruledCaller = "up=bob"

// words are values of facts that differ in the case of letters, in the kind of value that they look like, and in order.
func words(random *rand.Rand) string {
	return pick(random, "mt", "MT", "Mt", "de", "true", "TRUE", "tRUE", "false", "1", "9", "10", "16", "1.5", "2.0", "1.e1", "k", "K", "\u212a", "ß", "ẞ", "İ", "i")
}

func generatedFact(random *rand.Rand) string {
	name := pick(random, "a", "b", "a", "b", "os.family", "list.1")
	if random.IntN(5) == 0 {
		return name + "=~" + pick(random, "^M", "/^m/", "t$", "1", `^\d.`, `\w`, "[^k]", "T|D")
	}

	return name + pick(random, "=", "==", "!=", "<", "<=", ">", ">=") + words(random)
}

func generatedClass(random *rand.Rand) string {
	return pick(random, "apache", "Apache", "role::web", "Role::Web", "/apa/", "/^APA/", "/::W/", `/^\w+$/`)
}

func generatedRules(t *testing.T, random *rand.Rand) *ruledSite {
	t.Helper()

	columns := func(item func(*rand.Rand) string) string {
		if random.IntN(3) == 0 {
			return "*"
		}

		items := []string{item(random)}
		if random.IntN(3) == 0 {
			items = append(items, item(random))
		}

		return strings.Join(items, " ")
	}

	var policy strings.Builder
	fmt.Fprintf(&policy, "policy default %s\n", pick(random, "allow", "deny"))
	for range 1 + random.IntN(4) {
		fmt.Fprintf(&policy, "%s\t%s\t%s\t%s\t%s\n",
			pick(random, "allow", "deny"),
			pick(random, "*", "*", ruledCaller, "UP=bob", "ops", "/^up=b/", "/^UP=/", `/=\w+$/`, "up=ann up=bob"),
			pick(random, "*", "*", "status", "STATUS", "status enable"),
			columns(generatedFact), columns(generatedClass))
	}

	site := &ruledSite{dir: t.TempDir(), policy: policy.String()}
	must(t, os.Mkdir(filepath.Join(site.dir, "policies"), 0o700))
	must(t, os.WriteFile(filepath.Join(site.dir, "policies", "puppet.policy"), []byte(site.policy), 0o600))
	must(t, os.WriteFile(filepath.Join(site.dir, "policies", "groups"), []byte("ops up=bob up=jill\n"), 0o600))

	return site
}

func generatedNode(random *rand.Rand) ruledNode {
	value := func() any {
		return pick[any](random, words(random), words(random), random.IntN(20), 1.5, 2.0, 9.5, -1, true, false, nil, []any{}, 1152921504606846976)
	}

	node := ruledNode{Classes: []string{}, Facts: map[string]any{"os": map[string]any{"family": words(random)}, "list": []any{value(), value()}}}
	for _, name := range []string{"a", "b"} {
		if random.IntN(5) > 0 {
			node.Facts[name] = value()
		}
	}

	for _, class := range []string{"apache", "Apache", "role::web", "Role::Web", "nginx"} {
		if random.IntN(3) == 0 {
			node.Classes = append(node.Classes, class)
		}
	}

	return node
}

func generatedFilter(random *rand.Rand) *nodeFilter {
	filter := &nodeFilter{Facts: []string{}, Classes: []string{}}
	for range random.IntN(4) {
		filter.Facts = append(filter.Facts, generatedFact(random))
	}
	for range random.IntN(2) {
		filter.Classes = append(filter.Classes, generatedClass(random))
	}

	return filter
}

// decidedByUs asks aaa about all of them at once.
func (s *ruledSite) decidedByUs(t *testing.T, asked []filterOrNode) []bool {
	t.Helper()

	var cases []map[string]any
	for i, one := range asked {
		c := map[string]any{"name": fmt.Sprint(i), "caller": ruledCaller, "agent": "puppet", "action": "status", "expect": "allow"}
		if one.filter == nil {
			c["node"] = map[string]any{"facts": one.node.Facts, "classes": one.node.Classes}
		} else {
			c["filter"] = map[string]any{"fact": one.filter.Facts, "class": one.filter.Classes}
		}
		cases = append(cases, c)
	}

	suite, err := json.Marshal(map[string]any{"policies": "policies", "groups": "policies/groups", "cases": cases})
	must(t, err)
	path := filepath.Join(s.dir, "all_test.yaml")
	must(t, os.WriteFile(path, suite, 0o600))

	var complaint bytes.Buffer
	command := exec.Command(program.Path, "policy", "test", "--json", path)
	command.Stderr = &complaint
	printed, err := command.Output()

	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("%v: %s\n%s", err, complaint.String(), s.policy)
	}

	var report struct {
		Cases []struct {
			Name    string `json:"name"`
			Decided struct {
				Decision string `json:"decision"`
			} `json:"decided"`
		} `json:"cases"`
	}
	must(t, json.Unmarshal(printed, &report))

	if len(report.Cases) != len(asked) {
		t.Fatalf("%d of %d cases in the report:\n%s", len(report.Cases), len(asked), printed)
	}

	var allowed []bool
	for _, c := range report.Cases {
		allowed = append(allowed, c.Decided.Decision == "allow")
	}

	return allowed
}

// anyServer is asked for nothing: the authorizer takes facts and classes from files.
type anyServer struct{ agents.ServerInfoSource }

// decidedByNode is what Choria's authorizer says.
func (s *ruledSite) decidedByNode(t *testing.T, node ruledNode) bool {
	t.Helper()

	facts, err := json.Marshal(node.Facts)
	must(t, err)

	cfg := config.NewConfigForTests()
	cfg.RPCAuthorization = true
	cfg.RPCAuthorizationProvider = "action_policy"
	cfg.ConfigFile = filepath.Join(s.dir, "server.conf")
	cfg.FactSourceFile = filepath.Join(s.dir, "facts.json")
	cfg.ClassesFile = filepath.Join(s.dir, "classes.txt")
	must(t, os.WriteFile(cfg.FactSourceFile, facts, 0o600))
	must(t, os.WriteFile(cfg.ClassesFile, []byte(strings.Join(node.Classes, "\n")), 0o600))

	request := &mcorpc.Request{Agent: "puppet", Action: "status", CallerID: ruledCaller}

	return mcorpc.AuthorizeRequest(nil, request, cfg, anyServer{}, quiet())
}

// selects is what Choria's discovery says.
func (f *nodeFilter) selects(t *testing.T, node ruledNode) bool {
	t.Helper()

	data, err := json.Marshal(node.Facts)
	must(t, err)

	var wanted [][3]string
	for _, text := range f.Facts {
		fact, err := filter.ParseFactFilterString(text)
		must(t, err)
		wanted = append(wanted, [3]string{fact.Fact, fact.Operator, fact.Value})
	}

	return (len(wanted) == 0 || facts.MatchFacts(wanted, data, quiet())) &&
		(len(f.Classes) == 0 || classes.Match(f.Classes, node.Classes))
}

func quiet() *logrus.Entry {
	logger := logrus.New()
	logger.SetOutput(io.Discard)

	return logrus.NewEntry(logger)
}
