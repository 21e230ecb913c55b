"""What is looked at in alerts and dashboards beside what promtool sees. Run by monitoring.sh; with `--show` it prints what panels show."""

import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.parse
import urllib.request

import recorded

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = (ROOT / "deploy/prometheus/choria-aaa.rules.yml").read_text()
SITUATIONS = (ROOT / "deploy/prometheus/choria-aaa.test.yml").read_text()
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
DASHBOARD = json.loads((ROOT / "deploy/grafana/choria-aaa.json").read_text())
# How often it happens in a round, by panel and legend.
EXPECTED = {
    ("Logins", "granted"): 1,
    ("Logins refused, throttled or failed", "refused: wrong_password"): 1,
    ("Requests", "signed"): 1,
    ("Requests", "refused"): 2,
    ("Requests", "failed"): 0,
    ("Refusals", "not_authorized"): 1,
    ("Actions refused most", "puppet.disable"): 1,
    ("Policies that came to no decision", "opa"): 1,
    ("Connections that ended badly", "handshake"): 1,
}
ALERTS = re.findall(r"- alert: (\w+)", RULES)


def queries():
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


class Alerts(unittest.TestCase):
    def test_each_has_a_runbook_and_both_situations(self):
        self.assertEqual(re.findall(r"^## (\w+)", RUNBOOKS, re.M), ALERTS)
        self.assertEqual(re.findall(r"runbook_url: \S+/docs/runbooks\.md#(\w+)", RULES), [alert.lower() for alert in ALERTS])
        for alert in ALERTS:
            self.assertIn(f"name: {alert}, raised\n", SITUATIONS)
            self.assertIn(f"name: {alert}, not raised\n", SITUATIONS)


class Dashboard(unittest.TestCase):
    def test_its_queries_are_promql(self):
        rules = []
        for number, query in enumerate(queries()):
            query = query.replace("$__rate_interval", "5m").replace("$site", ".*")
            rules.append({"record": f"panel:{number}", "expr": query})
        with tempfile.TemporaryDirectory() as directory:
            file = pathlib.Path(directory) / "queries.yml"
            # JSON is YAML.
            file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
            done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_its_panels_have_ids_and_places_of_their_own(self):
        ids, taken = set(), set()
        for panel in DASHBOARD["panels"]:
            self.assertNotIn(panel["id"], ids)
            ids.add(panel["id"])
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
            letters = [target["refId"] for target in panel.get("targets", [])]
            self.assertEqual(len(set(letters)), len(letters), panel["title"])

    def test_every_query_is_about_the_sites_chosen(self):
        for query in queries():
            self.assertEqual(query.count("choria_aaa_"), query.count('site=~"$site"'), query)


class Metrics(unittest.TestCase):
    def test_every_metric_that_is_named_exists(self):
        code = "\n".join(file.read_text() for file in ROOT.glob("crates/*/src/**/*.rs") if "test" not in file.name)
        # What a file's own tests say is no metric.
        code = re.sub(r"#\[cfg\(test\)\]\nmod tests \{.*?\n\}\n", "", code, flags=re.S)
        there = set(re.findall(r'"(choria_aaa_\w+)"', code))
        named = set(re.findall(r"choria_aaa_\w+", RULES + "\n".join(queries()) + RUNBOOKS + SITUATIONS))
        named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
        self.assertEqual(named - there, set())


@unittest.skipUnless(os.environ.get("CI") or recorded.PROGRAM, "AAA_BIN is not set")
class Recorded(unittest.TestCase):
    """What a site really has, and what of it a Prometheus answers."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.directory = pathlib.Path(directory.name)
        cls.samples, cls.end = recorded.record(cls.directory)

    def test_metrics_have_the_labels_that_queries_ask_for(self):
        lines = re.findall(r"^(choria_aaa_\w+)\{(.*)\} ", "\n".join(self.samples), re.M)
        there = {name: set(re.findall(r'(\w+)="', labels)) for name, labels in lines}
        expressions = queries() + re.findall(r"expr: '(.*)'", RULES)
        self.assertEqual(set(re.findall(r"choria_aaa_\w+", "\n".join(expressions))) - there.keys(), set())
        for query in expressions:
            for labels, name in re.findall(r"by \(([\w, ]+)\) \((?:rate\(|increase\()?(choria_aaa_\w+)", query):
                # What Prometheus itself adds is not the service's.
                self.assertLessEqual(set(labels.split(", ")) - {"instance"}, there[name], f"{name}: {query}")

    def test_each_panel_has_something_to_show(self):
        shown = {}
        for panel, target, series in self.asked():
            with self.subTest(panel["title"], query=target["expr"]):
                self.assertTrue(series)
                for it in series:
                    self.assertLessEqual(set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) - {"instance"}, set(it["metric"]))
            for it in series:
                legend = re.sub(r"\{\{(\w+)\}\}", lambda label, it=it: it["metric"].get(label[1], "–"), target["legendFormat"])
                shown[panel["title"], legend] = float(it["value"][1])
        if "--show" in sys.argv:
            for (title, legend), value in shown.items():
                print(f"{title:34} {legend:46} {value:.4g}")
        # In each round that often.
        for (title, legend), times in EXPECTED.items():
            self.assertAlmostEqual(shown[title, f"development {legend}"] * recorded.APART, times, 3, f"{title}: {legend}")

    def asked(self):
        """What a Prometheus with these samples answers each query: panel, query and series."""
        file, data, config = (self.directory / name for name in ("samples", "prometheus", "prometheus.yml"))
        # Samples of one metric stand together.
        file.write_text("\n".join(sorted(self.samples, key=lambda line: re.split(r"[{ ]", line)[0])) + "\n# EOF\n")
        subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", file, data], check=True, capture_output=True)
        config.write_text("")
        options = [f"--config.file={config}", f"--storage.tsdb.path={data}", "--web.listen-address=127.0.0.1:0"]
        with recorded.started(r'Listening on" address=(127\.0\.0\.1:\d+).*ready to receive', "prometheus", *options) as found:
            for panel in DASHBOARD["panels"]:
                for target in panel.get("targets", []):
                    query = target["expr"].replace("$__rate_interval", f"{recorded.ROUNDS * recorded.APART}s").replace("$site", ".*")
                    url = f"http://{found[1]}/api/v1/query?" + urllib.parse.urlencode({"query": query, "time": self.end})
                    with urllib.request.urlopen(url) as response:
                        series = json.load(response)["data"]["result"]
                    yield panel, target, [it for it in series if not math.isnan(float(it["value"][1]))]


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
