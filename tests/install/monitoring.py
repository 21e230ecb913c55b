"""What is looked at in alerts and dashboards beside what promtool sees. Names of directories and promtool come from monitoring.sh."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULES = (ROOT / "deploy/prometheus/choria-aaa.rules.yml").read_text()
SITUATIONS = (ROOT / "deploy/prometheus/choria-aaa.test.yml").read_text()
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
DASHBOARD = json.loads((ROOT / "deploy/grafana/choria-aaa.json").read_text())
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
            done = subprocess.run([os.environ["PROMTOOL"], "check", "rules", str(file)], capture_output=True, text=True, check=False)
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

    @unittest.skipUnless(os.environ.get("CI") or os.environ.get("AAA_BIN"), "AAA_BIN is not set")
    def test_a_service_has_them_with_the_labels_that_queries_ask_for(self):
        there = scraped()
        asked = 0
        for query in queries() + re.findall(r"expr: '(.*)'", RULES):
            for labels, name in re.findall(r"by \(([\w, ]+)\) \((?:rate\(|increase\()?(choria_aaa_\w+)", query):
                if name in there:
                    # What Prometheus itself adds is not the service's.
                    self.assertLessEqual(set(labels.split(", ")) - {"instance"}, there[name], f"{name}: {query}")
                    asked += 1
        self.assertGreater(asked, 20)
        elsewhere = "_(stream|spool|network|audit_alarm|connection_errors|reload_errors|authorizer_errors)"
        named = set(re.findall(r"choria_aaa_\w+", RULES + "\n".join(queries())))
        # What only a stream, the Choria network or a fault has.
        self.assertEqual({name for name in named - there.keys() if not re.search(elsewhere, name)}, set())


def scraped():
    """The metrics of a service after a login, a signature and their refusals: names, with the labels of each."""
    program = os.environ["AAA_BIN"]
    with tempfile.TemporaryDirectory() as directory:
        everywhere = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        command = [program, "serve", "--dev", "--dir", "demo", *everywhere]
        with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as service:
            try:
                address = None
                for line in service.stdout:
                    if "metrics and health" in line:
                        address = json.loads(line)["address"]
                    if line.startswith("Type in another terminal"):
                        break
                (pathlib.Path(directory) / "wrong").write_text("wrong\n")
                for arguments, exit_code in (
                    (["login", "--username", "alice", "--password-file", "wrong"], 1),
                    (["login", "--username", "alice", "--password-file", "demo/alice.password"], 0),
                    (["sign", "--agent", "puppet", "--action", "status"], 0),
                    (["sign", "--agent", "puppet", "--action", "disable"], 1),
                ):
                    done = subprocess.run([program, *arguments, "--config", "demo/client.conf"], cwd=directory, capture_output=True, text=True, check=False)
                    assert done.returncode == exit_code, f"{arguments}: {done.returncode}\n{done.stderr}"
                with urllib.request.urlopen(f"http://{address}/metrics") as response:
                    text = response.read().decode()
            finally:
                service.terminate()
                service.stdout.read()
    lines = re.findall(r"^(choria_aaa_\w+)\{(.*)\} ", text, re.M)
    return {name: set(re.findall(r'(\w+)="', labels)) for name, labels in lines}


if __name__ == "__main__":
    unittest.main()
