package interop

// values are expressions, and rules that define one, whose value OPA and the signer must agree on. IN stands for the arguments of the request.
var values = []string{
	// numbers
	`IN.a + IN.b`, `IN.a - IN.b`, `IN.a * IN.b`, `IN.a / 4`, `IN.a % IN.b`, `IN.n % 3`, `(IN.a + 1) * 2 - IN.b / 4`,
	`abs(IN.a)`, `round(IN.a)`, `ceil(IN.a)`, `floor(IN.a)`, `max(IN.xs)`, `min(IN.xs)`, `sum(IN.xs)`, `product(IN.xs)`, `count(IN.xs)`,
	`max([IN.a, IN.b])`, `numbers.range(IN.n, 3)`, `numbers.range_step(0, 10, IN.n)`, `to_number(IN.s)`, `to_number(IN.flag)`,
	`format_int(IN.n, 2)`, `bits.and(IN.n, 6)`, `bits.or(IN.n, 9)`, `bits.xor(IN.n, 5)`, `bits.lsh(IN.n, 2)`, `bits.rsh(IN.n, 1)`, `bits.negate(IN.n)`,
	`[IN.a < IN.b, IN.a <= IN.b, IN.a > IN.b, IN.a >= IN.b, IN.a == IN.b, IN.a != IN.b]`, `1e3 == 1000`, `[1.0 == 1, 0.5 + 0.25, 1 / 4, 7 / 7]`,
	// texts
	`concat("-", IN.ws)`, `contains(IN.s, IN.t)`, `startswith(IN.s, IN.t)`, `endswith(IN.s, IN.t)`, `indexof(IN.s, IN.t)`, `indexof_n(IN.s, "b")`,
	`lower(IN.s)`, `upper(IN.s)`, `replace(IN.s, "b", IN.t)`, `strings.replace_n({"a": "1", "b": "2"}, IN.s)`, `strings.reverse(IN.s)`,
	`split(IN.s, ".")`, `split(IN.s, IN.t)`, `substring(IN.s, IN.n, 2)`, `substring(IN.s, 1, -1)`, `trim(IN.s, " a")`, `trim_space(IN.s)`,
	`trim_left(IN.s, "a ")`, `trim_right(IN.s, "c ")`, `trim_prefix(IN.s, "a")`, `trim_suffix(IN.s, "c")`, `strings.any_prefix_match(IN.s, ["a", "we"])`,
	`strings.any_suffix_match(IN.ws, "c")`, `strings.count(IN.s, "b")`, `count(IN.s)`, `[IN.s < IN.t, IN.s == IN.t, IN.s != IN.t]`,
	`sprintf("%s|%d|%v", [IN.s, IN.n, IN.flag])`, `sprintf("%v %v", [IN.xs, IN.o])`, `sprintf("100%% of %s", [IN.s])`,
	`regex.match("^[a-c]+$", IN.s)`, `regex.match("(?i)^a.*c$", IN.s)`, `regex.is_valid(IN.s)`, `regex.split("[.]", IN.s)`, `regex.replace(IN.s, "[bB]", "<$0>")`,
	`regex.find_n("[a-z]", IN.s, 2)`, `regex.find_all_string_submatch_n("([a-z])([.])", IN.s, -1)`, `glob.match("*.example.net", ["."], IN.s)`, `glob.match("a*", null, IN.s)`, `glob.match("[a-c]?c", [], IN.s)`,
	`glob.match("{a,b}*", ["."], IN.s)`, `glob.quote_meta("*.x")`,
	`base64.encode(IN.s)`, `base64.decode(base64.encode(IN.s))`, `base64.is_valid(IN.s)`, `base64url.encode(IN.s)`, `hex.encode(IN.s)`, `hex.decode(hex.encode(IN.s))`,
	`urlquery.encode(IN.s)`, `urlquery.decode(IN.s)`, `json.unmarshal(json.marshal(IN.o))`, `json.is_valid(IN.s)`, `json.marshal(IN.xs)`,
	`net.cidr_contains("10.0.0.0/8", IN.s)`, `semver.is_valid(IN.s)`, `semver.compare("1.2.3", "1.10.0")`, `units.parse_bytes("10Ki")`,
	// addresses
	`[[x, y, net.cidr_contains(x, y)] | some x in {"10.0.0.0/8", "010.0.0.0/8", "::ffff:10.0.0.0/104", "::/0", "0.0.0.0/0", "fd00::/16", "10.0.0.0/+8", "::fffe:0:0/95"}; some y in ` + blocks + `]`,
	`[[x, y, net.cidr_contains(x, y)] | some x in ` + blocks + `; some y in {"10.1.2.3", "010.1.2.3", "::ffff:10.1.2.3", "fd00::1", "fe80::1%eth0", "::10.1.2.3", "1:2:3:4:5:6:7::", ""}]`,
	`[[x, net.cidr_is_valid(x)] | some x in ` + blocks + `]`, `[[x, sort(net.cidr_expand(x))] | some x in {"10.0.0.4/30", "::ffff:10.0.0.0/126", "fd00::/120", "::10.1.2.0/120", "255.255.255.255/32", "010.0.0.0/32"}]`, `is_set(net.cidr_expand("10.0.0.0/30"))`, `net.cidr_expand("10.0.0.0/30") == {"10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"}`,
	// kinds
	`type_name(IN.a)`, `[type_name(x) | some x in IN.deep]`, `is_number(IN.a)`, `is_string(IN.s)`, `is_boolean(IN.flag)`, `is_array(IN.xs)`, `is_object(IN.o)`, `is_null(IN.o.a)`, `is_set(IN.xs)`,
	// lists
	`array.concat(IN.xs, IN.ys)`, `array.slice(IN.xs, 1, IN.n)`, `array.reverse(IN.xs)`, `sort(IN.xs)`, `sort(IN.ws)`, `IN.xs[0]`, `IN.xs[IN.n]`, `IN.xs[count(IN.xs) - 1]`, `IN.xs == IN.ys`,
	`[x | some x in IN.xs; x > 1]`, `[i | some i, x in IN.xs; x > 1]`, `[x * y | some x in IN.xs; some y in IN.ys; x < y]`, `[[i, x] | some i; x := IN.xs[i]]`,
	"IN.s in IN.absent", "(IN.absent in IN.xs)", `[IN.a in IN.xs, IN.s in IN.ws]`, "value if (IN.a in IN.absent) == false", "value if { there := IN.a in IN.absent; not there }", "there := IN.a in IN.absent\nvalue if there == false", `[(x in IN.absent) | some x in IN.xs]`,
	"value := IN.a in IN.xs if IN.flag\nelse := IN.a in IN.absent if not IN.flag\nelse := 3", "found contains (x in IN.ys) if some x in IN.xs\nvalue := sort(found)", `count([b | b := IN.xs[_] in IN.ys])`, `{"x": IN.a in IN.xs, "y": 1 in IN.o}`, "f(x) := x in IN.absent\nvalue if not f(1)", "value if { some i; b := IN.xs[i] in IN.ys; b == true }",
	"value if 1 in IN.xs", "value if IN.a in IN.xs", "value if { x := IN.a; 0, x in IN.xs }", "value if not IN.s in IN.ws", `count([x | x := IN.xs[_]; x == IN.a])`,
	// sets, in order where they are shown
	`sort({x | some x in IN.xs})`, `sort({x | some x in IN.ws} & {x | some x in IN.vs})`, `sort({x | some x in IN.ws} | {x | some x in IN.vs})`,
	`sort({x | some x in IN.ws} - {x | some x in IN.vs})`, `sort(union({{1, 2}, {x | some x in IN.xs}}))`, `sort(intersection({{1, 2, 3}, {x | some x in IN.xs}}))`,
	`count({1, 1.0, "1", IN.a})`, `{"a", "b"} == {x | some x in IN.ws}`, "value if IN.s in {\"a\", \"b\", \"abc\"}", `[{1, 2} == {2, 1}, set() == {x | some x in IN.xs}, {1, 2} - {2} == {1}]`,
	// objects
	`object.get(IN.o, "a", "none")`, `object.get(IN.deep, ["a", "b"], "none")`, `object.keys(IN.o) == {"a", "b"}`, `sort(object.keys(IN.o))`, `object.union(IN.o, IN.p)`, `object.union_n([IN.o, {"z": 1}, IN.p])`,
	`object.remove(IN.o, ["a"])`, `object.filter(IN.o, {"a", "c"})`, `object.subset(IN.o, {"a": IN.p.a})`,
	`{k: v | some k, v in IN.o; v != null}`, `{k: count(v) | some k, v in IN.deep; is_array(v)}`, `{r.name: r.size | some r in IN.rows}`, `[k | some k, _ in IN.o]`, `IN.o.a`, `IN.o[IN.s]`, `IN.deep.a.b[0]`,
	`IN.o == IN.p`, `count(IN.o)`, "value if \"x\" in IN.o", "value if { x := IN.o.a; \"a\", x in IN.o }",
	// order
	`[IN.o < IN.p, IN.o <= IN.p, IN.o > IN.deep, IN.deep >= IN.p, [IN.o] < [IN.p], IN.xs < IN.ys, IN.xs > IN.o]`, `[{x | some x in IN.xs} < {x | some x in IN.ys}, {1} < {1, 2}, [{x | some x in IN.ws}] >= [{x | some x in IN.vs}]]`,
	`sort([IN.o, IN.p, IN.deep, IN.rows])`, `max([IN.o, IN.p, IN.s])`, `min([{x | some x in IN.ws}, {x | some x in IN.vs}, IN.n]) == {x | some x in IN.ws}`, `sort(IN.deep)`, `sort([x | some x in IN.deep])`, `max(IN.rows)`,
	// walk
	`sort([p | walk(IN.deep, [p, v]); is_number(v)])`, `count([v | walk(IN.deep, [_, v])])`, `sort([v | walk(IN.o, [["a"], v])])`,
	// every, some, not
	"value if every x in IN.xs { x > 0 }", "value if every i, x in IN.xs { i < 2; x != 3 }", "value if { some x in IN.xs; x > 2 }", "value if { some x in IN.xs; not x in IN.ys }", "value if not IN.flag",
	"value if not IN.o.a", "value if { not every_small }\nevery_small if every x in IN.xs { x < 3 }", "value if { some i; IN.xs[i] == IN.ys[i] }", "value if { x := IN.a; y := IN.b; x + y > 0 }",
	"value if { some r in IN.rows; r.name == IN.s; r.size > 0 }", `value if { {"name": name, "size": size} = IN.rows[_]; name == IN.s; size != 1 }`, "value if { [first, second] = IN.xs; first < second }",
	// not, of what may have no value
	`value if not startswith(IN.s, "a")`, `value if not IN.a == 1`, `value if not IN.a > 1`, `value if not IN.a != IN.b`, `value if not IN.a == IN.b`, "value if not f(IN.n)\nf(x) if x > 2", `value if not IN.o[IN.s]`, `value if not lower(IN.s) == "b"`,
	`value if not count(IN.xs) > 2`, `value if not IN.a + IN.b > 1`, `value if not {"a", "b"}[IN.s]`, `value if not sprintf("%v", [IN.a]) == "1"`, `value if not [IN.a] == [1]`, `value if not {"x": IN.a} == {"x": 1}`, `value if not to_number(IN.s) == 1`, `value if not (IN.a > 1)`, "value if not f(IN.s == \"a\")\nf(x) if x",
	"value if not IN.s in kinds\nkinds := IN.ws if count(IN.ws) > 1", "value if not contains(lower(IN.s), IN.t)", "value := [x | some x in IN.ws; not startswith(x, IN.t)]", "value if every x in IN.ws { not x == IN.s }", "value if { some x in IN.ws; not x in IN.vs }",
	"value if not q[IN.s]\nq contains x if some x in IN.ws", "value if not count([x | some x in IN.xs; x > 1]) > 1", "value := 1 if IN.flag\nelse := 2 if not IN.a > 1", "value if not is_number(IN.a)", "value if not glob.match(\"a*\", [], IN.s)", "value if not IN.flag == false", "value if not object.get(IN.o, IN.s, false)",
	// one argument more, for the result
	`value if startswith(IN.s, "a", false)`, `value if not startswith(IN.s, "a", false)`, `value if { startswith(IN.s, "a", x); x == false }`, "value if f(IN.a, 1)\nf(x) := x", "value if not f(IN.a, 1)\nf(x) := x", "value := y if f(IN.a, y)\nf(x) := x",
	// else, default, several definitions
	"default value := \"none\"\nvalue := \"big\" if IN.a > 2\nelse := \"small\" if IN.a < 0\nelse := \"middle\" if IN.a == 1", "value := 1 if IN.flag\nelse := 2", "default value := false\nvalue if IN.flag", "default value := [1, 2]\nvalue := IN.xs if count(IN.xs) > 1",
	"value := \"a\" if IN.a > 0\nvalue := \"b\" if IN.b > 0", "value := IN.a if IN.flag\nvalue := IN.b if IN.n > 2", "value := x if some x in IN.xs", "value := v if { v := IN.o.a; v != null } else := \"null\" if IN.o.a == null",
	// functions
	"double(x) := x * 2\nvalue := double(IN.a)", "value := f(IN.a, IN.b)\nf(x, y) := x if x > y\nf(x, y) := y if x <= y", "kind(x) := \"n\" if is_number(x)\nkind(x) := \"s\" if is_string(x)\nelse := \"?\"\nvalue := [kind(x) | some x in IN.deep]",
	"f(\"a\") := 1\nf(\"b\") := 2\nvalue := f(IN.s)", "default f(_) := 0\nf(x) := x if x > 1\nvalue := f(IN.n)", "f([x, y]) := x + y\nvalue := f(IN.xs)", "f(x) if x > 1\nvalue := [f(IN.n), 1]", "f(x) := y if { y := x[_]; y > 2 }\nvalue := f(IN.xs)",
	// partial rules
	"big contains x if { some x in IN.xs; x > 1 }\nvalue := sort(big)", "names[r.name] := r.size if some r in IN.rows\nvalue := names", "words contains x if { some x in IN.ws; x != \"\" }\nvalue := sort(words)", "tags contains \"flag\" if IN.flag\ntags contains IN.s if IN.s != \"\"\nvalue := sort(tags)",
	"by[k] contains v if { some k, v in IN.o }\nvalue := {k: sort(vs) | some k, vs in by}", "conf.a := IN.a\nconf.b := 1\nvalue := conf", "conf.a := IN.a\nconf.b := 1\nvalue if not conf", "default conf.b.c := 1\nconf.b.c := IN.a\nvalue := conf.b", "conf.b[x] := 1 if some x in IN.ws\nvalue := conf", "conf.b[x] := 1 if some x in IN.absent\nvalue := conf", "conf.b contains x if some x in IN.absent\nvalue if not conf", "conf.b.c := IN.a\nvalue if not conf.b.c", "names[x] := 1 if some x in IN.ws\nvalue if not names", "q[x] if { some x in IN.ws; startswith(x, \"a\") }\nvalue := q", "value[x] := y if { some x, y in IN.o; y != null }",
	// with
	"value := data.io.choria.aaasvc.inner with input as {\"data\": {\"in\": {\"a\": 7}}}\ninner := IN.a", "value := inner with input.data.in.a as 3\ninner := IN.a + IN.n", "value := inner with input.data.in as IN.o\ninner := object.get(IN, \"a\", \"none\")",
	// undefined and false
	"value := [x | x := IN.o[\"absent\"]]", "value := IN.absent.more", "value := [IN.a, IN.absent]", "value := {\"a\": IN.absent}", "value := count(IN.absent)", "value := true if IN.flag == false", "value if IN.flag", "value := not_there if { not_there := IN.absent }\n",
	"value := IN.flag", "value := x if { x := IN.flag; x }", "value if { IN.s; IN.o }", "value if { IN.a == null }", "value := [1 | IN.flag]", "value := count(y) if { y := {x | some x in IN.xs; x > 100}; count(y) == 0 }\n",
	// time
	`time.parse_rfc3339_ns("2026-11-22T11:22:17Z")`, `time.date([1795346537000000000, "UTC"])`, `time.clock([1795346537000000000, "Europe/Malta"])`, `time.weekday(1795346537000000000)`, `time.add_date(1795346537000000000, 0, IN.n, 1)`, `time.parse_duration_ns("1h30m")`,
	`time.diff(1795346537000000000, 1700000000000000000)`, `time.format(1795346537000000000)`,
	// what Go makes of texts and numbers
	`upper("ßﬁᾳäǆ")`, `lower("ΑΣİÄ")`, `[upper(x) | some x in ["ß", "ŉ", IN.s]]`, `strings.replace_n({"a": "b", "b": "c"}, IN.s)`, `urlquery.encode("~*'() é/&")`, `json.marshal(["<", ">&", IN.s])`,
	`[to_number(x) | some x in ["-1.5", " 1", "1 ", "x", "inf", "", "-"]]`, `[semver.is_valid(x) | some x in ["1.2.3", "1.2", "1.2.3-rc.1+b", "x", "1.2.3-_"]]`,
	`[base64.decode(x) | some x in ["YQ==", "YQ", "?", "YWJj"]]`, `glob.match("?", ["."], IN.s)`,
	"value if not json.unmarshal(IN.s).a", "value if not json.unmarshal(\"{\").a", "value if not [lower(IN.s)][0] == \"a\"", "value if not regex.match(IN.s, \"a\")", "value if not regex.match(\"a++\", IN.s)",
}

// blocks are of all forms.
const blocks = `{"10.0.0.0/8", "10.9.9.9/8", "10.1.2.0/24", "010.0.0.0/8", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/4294967304", "::ffff:10.0.0.0/104",
	"::ffff:10.1.2.0/120", "::fffe:0:0/95", "::/0", "fd00::/16", "fe80::1%eth0/64", "::10.1.2.0/120"}`

// differences are values on which the two differ, as the manual says. Where one of these comes out alike, the manual needs a change.
var differences = []string{
	`0.1 + 0.2`, `1 / 3`, "conf.a := IN.s\nconf.b.c := IN.absent\nvalue := conf", "conf.b.c := IN.absent\nvalue if not conf.b", "conf.a := IN.absent\nvalue if not conf", "conf.a := IN.absent\nvalue := conf", "conf.b.c := IN.absent\nvalue if count(conf) == 0",
	`semver.is_valid("v1.0.0")`, `base64.decode("YQ=\n=")`, `sprintf("%v", [1e21])`, `max([{"a": 1}, {2}])`, `sort([[{1, 3}], {"a": 2}])`, `glob.match("[^a-c]", [], IN.s)`, "value if not glob.match(\"{a,b\", [], IN.s)",
}

// head begins a policy in the newer syntax.
const head = "package io.choria.aaasvc\n\nimport rego.v1\n\n"

// policies are whole policies.
var policies = []string{
	// v1, as callers write them
	policy(`allow if input.agent == "rpcutil"`), policy("allow if { input.agent in {\"rpcutil\", \"puppet\"}; input.action != \"disable\" }"), policy("allow if not blocked\n\nblocked if input.action == \"disable\"\nblocked if input.agent == \"x\""),
	policy("allow if requires_filter()"), policy(`allow if requires_fact_filter("country=mt")`), policy(`allow if { input.action == "ping"; not requires_filter() }`), policy("allow if { some t in input.data.tags; t == \"a\" }"),
	policy("allow if every t in input.data.tags { t in [\"a\", \"b\"] }"), policy("allow if input.data.count > 2"), policy("allow if input.data.count == 3"), policy("limits := {\"ping\": 1, \"install\": 5}\n\nallow if input.data.count <= limits[input.action]"),
	policy("rights := {\"rpcutil\": [\"ping\"], \"package\": [\"install\", \"status\"]}\n\nallow if input.action in rights[input.agent]"), policy("allow if regex.match(`^(zsh|vim)$`, input.data.package)"), policy("allow if glob.match(\"p*\", [], input.agent)"),
	policy("allow if sprintf(\"%s.%s\", [input.agent, input.action]) in {\"rpcutil.ping\", \"package.install\"}"), policy("allow if { input.claims.callerid == \"up=opa\"; startswith(input.sender, \"workstation.\"); input.ttl <= 60; input.site == \"interop\" }"),
	policy("allow if input.claims.permissions.fleet_management"), policy("allow if not input.claims.permissions.org_admin"), policy("allow if count(deny) == 0\n\ndeny contains \"agent\" if input.agent == \"x\"\ndeny contains \"tags\" if count(input.data.tags) == 0"),
	policy("allow if level(input.action) < 3\n\nlevel(\"ping\") := 1\nlevel(\"status\") := 2\nlevel(a) := 5 if a in [\"disable\", \"install\"]"), policy("allow if { walk(input.data, [path, value]); value == \"zsh\"; path[0] == \"package\" }"), policy("allow if input.collective == \"choria\""),
	head + "allow if input.action == \"ping\"\n", head + "allow := input.action == \"ping\"\n", head + "allow := \"true\"\n", head + "allow := 1\n", head + "default allow := true\n\nallow := false if input.action == \"disable\"\n", head + "allow := true if input.agent == \"rpcutil\"\n\nallow := false if input.action == \"ping\"\n",
	head + "default allow := false\n\nallow if input.agent == \"x\"\nelse := input.action == \"ping\"\n", head + "allow contains \"x\"\n",
	// what could make much of a request, and what stands in defaults
	policy("allow if count({[a, b] | some a in input.data.tags; some b in input.data.tags; a != b}) > 0"), policy("pairs contains [a, b] if { some a in input.data.tags; some b in input.data.tags }\n\nallow if [\"a\", \"b\"] in pairs"),
	policy("both[a] := [t | some t in input.data.tags; t != a] if some a in input.data.tags\n\nwide := {\"x\": both, \"y\": [both, both]}\n\nallow if { count(wide.y[0]) == 2; wide.x == wide.y[1] }"), policy("allow if { x := [input.data.tags, [input.data.tags * 1]]; count(x) == 2 }"),
	policy("allow if { n := input.data.count * input.data.count * 2; some x in [[n, n], [1, n]]; x[0] < 10 }"), policy("default safe := [1 | not startswith(input.data.package, \"z\")]\n\nallow if count(safe) == 1"),
	// what neither can use
	head + "default allow := false\n\nallow if undefined_function(input.agent)\n", head + "default allow := false\n\nallow if x == 1\n", head + "default allow := false\n\nallow if { not input.data.tags[y] == y }\n", head + "allow if allow\n", head + "a if b\n\nb if a\n\nallow if a\n",
	head + "default allow := false\n\nallow if http.send({\"method\": \"get\", \"url\": \"http://localhost\"})\n", "package other\n\nallow if true\n", head + "allow if {\n", "not rego\n", head + "default allow := input.agent\n", head + "f(x) := x\n\nallow if f(1, 2, 3)\n",
	policy("allow if { not input.data.tags[_] == \"a\" }"), policy("allow if { some y; not input.data.tags[y] == \"a\" }"), policy("allow if { some y in input.data.tags; not y == \"a\" }"),
	head + "allow if { x := 1; x := 2 }\n", head + "import data.other\n\ndefault allow := false\n\nallow if other.rule\n", head + "default allow := false\n\nallow if data.absent.flag\n", head + "default allow := true\n\ndefault allow := false\n",
	// v0, as published ones are written
	"package io.choria.aaasvc\ndefault allow = false\nallow { input.agent == \"rpcutil\"; input.action == \"ping\" }\n", "package io.choria.aaasvc\ndefault allow = false\nallow { input.data.tags[_] == \"a\" }\n", "package io.choria.aaasvc\ndefault allow = false\nallow { not deny }\ndeny { input.action == \"disable\" }\n",
	"package io.choria.aaasvc\ndefault allow = false\nallow { agents[input.agent] }\nagents = {\"rpcutil\", \"puppet\"}\n", "package io.choria.aaasvc\ndefault allow = false\nallow { xs := [x | x := input.data.tags[_]; x != \"b\"]; count(xs) == 1 }\n", "package io.choria.aaasvc\ndefault allow = false\nallow { re_match(\"^(zsh|vim)$\", input.data.package) }\n",
	"package io.choria.aaasvc\nimport future.keywords.in\ndefault allow = false\nallow { input.action in [\"ping\", \"status\"] }\n", "package io.choria.aaasvc\ndefault allow = false\nnames[n] { n := input.data.tags[_] }\nallow { names.a }\n", "package io.choria.aaasvc\ndefault allow = false\nallow { requires_fact_filter(\"country=mt\") }\nallow { input.agent == \"x\" }\n",
	"package io.choria.aaasvc\ndefault allow = false\nallow { any([input.agent == \"x\", input.action == \"ping\"]) }\n", "package io.choria.aaasvc\ndefault allow = false\nallow { all([true, input.action == \"ping\"]) }\n", "package io.choria.aaasvc\ndefault allow = false\nallow = x { x := input.action == \"ping\" }\n",
}
