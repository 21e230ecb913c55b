"""Tests of the Helm chart: what it renders, what it refuses, and whether the services take the configurations that it makes.

Run by helm.sh, which sees to HELM, to KUBECONFORM and to the libraries.
"""

import base64
import copy
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "choria-aaa"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
README = CHART / "README.md"
BEGIN, END = "<!-- values: made by `tests/install/helm.sh DIRECTORY --write` -->\n", "<!-- end of values -->\n"
# What the schemas of Kubernetes do not know.
FOREIGN = "ServiceMonitor"
KUBERNETES = ["1.30.0", "1.34.0"]


def helm(*args, values=None):
    """Runs helm with values on its standard input."""
    command = [os.environ["HELM"], *args] + (["--values", "-"] if values is not None else [])
    text = yaml.safe_dump(values) if values is not None else None
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def render(values, version="1.34"):
    """The objects that these values make."""
    done = helm("template", "site", str(CHART), "--namespace", "choria", "--kube-version", version, values=values)
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def local_schemas(version, directory):
    """Writes the schemas that kubernetes-validate comes with as kubeconform reads them: beside one another, and fetched from nowhere."""
    packaged = importlib.util.find_spec("kubernetes_validate").submodule_search_locations[0]
    directory.mkdir()
    for file in pathlib.Path(packaged, "kubernetes-json-schema", f"v{version}-local-strict").glob("*.json"):
        schema = json.loads(file.read_text())
        schema.pop("$id", None)
        (directory / file.name).write_text(json.dumps(schema).replace("/api/_definitions.json", "_definitions.json"))


def example(name):
    return yaml.safe_load((CHART / "examples" / f"{name}.yaml").read_text())


def changed(values, **paths):
    """A copy of the values with some set: a__b=1 sets a.b."""
    values = copy.deepcopy(values)
    for path, value in paths.items():
        *way, last = path.split("__")
        at = values
        for step in way:
            at = at.setdefault(step, {})
        at[last] = value
    return values


def find(objects, kind, name):
    found = [it for it in objects if it["kind"] == kind and it["metadata"]["name"] == f"site-choria-aaa-{name}"]
    assert len(found) == 1, f"{kind} {name}: {len(found)}"
    return found[0]


def config(objects, service):
    return json.loads(find(objects, "Secret", f"{service}-config")["stringData"]["config.json"])


def pods(objects):
    """The pod of each workload and test, with a name for messages."""
    for it in objects:
        if it["kind"] == "Pod":
            yield it["metadata"]["name"], it["spec"]
        elif it["kind"] in ("Deployment", "StatefulSet"):
            yield it["metadata"]["name"], it["spec"]["template"]["spec"]


# Everything that can be switched on at once.
EVERYTHING = changed(
    example("centre"),
    signer=example("region-london")["signer"],
    imagePullSecrets=[{"name": "registry"}],
    image__digest="sha256:" + "0" * 64,
    signer__service__type="LoadBalancer",
    signer__tls__clientCA=True,
    signer__networkPolicy__clients=[{"ipBlock": {"cidr": "10.0.0.0/8"}}],
    signer__networkPolicy__egress=[{"ports": [{"port": 4222, "protocol": "TCP"}]}],
    signer__spool__storageClass="fast",
    signer__tolerations=[{"key": "a", "operator": "Exists"}],
    signer__nodeSelector={"disk": "ssd"},
    signer__priorityClassName="high",
    signer__podLabels={"team": "orchestration"},
    signer__podAnnotations={"note": "a: b"},
    login__spool={"enabled": True},
    login__autoscaling={"enabled": True},
)
ALL = {path.stem: example(path.stem) for path in EXAMPLES} | {"everything": EVERYTHING}


class Rendered(unittest.TestCase):
    def test_examples_pass_lint(self):
        for path in EXAMPLES:
            with self.subTest(path.stem):
                done = helm("lint", str(CHART), "--strict", "--quiet", "--values", str(path))
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_objects_are_what_kubernetes_takes(self):
        for version in KUBERNETES:
            with self.subTest(version), tempfile.TemporaryDirectory() as directory:
                schemas, rendered = pathlib.Path(directory, "schemas"), pathlib.Path(directory, "rendered")
                local_schemas(version, schemas)
                rendered.mkdir()
                count = 0
                for name, values in ALL.items():
                    objects = render(values, version)
                    (rendered / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
                    count += len([it for it in objects if it["kind"] != FOREIGN])
                place = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
                command = [os.environ["KUBECONFORM"], "-strict", "-skip", FOREIGN, "-schema-location", place, "-summary", "-output", "json", str(rendered)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertEqual(json.loads(done.stdout)["summary"]["valid"], count)

    def test_containers_may_do_nothing_beyond_their_work(self):
        for name, values in ALL.items():
            for pod, spec in pods(render(values)):
                with self.subTest(f"{name}: {pod}"):
                    self.assertIs(spec["automountServiceAccountToken"], False)
                    security = spec["securityContext"]
                    self.assertIs(security["runAsNonRoot"], True)
                    self.assertGreater(security["runAsUser"], 0)
                    self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
                    for container in spec["containers"] + spec.get("initContainers", []):
                        security = container["securityContext"]
                        self.assertIs(security["allowPrivilegeEscalation"], False)
                        self.assertIs(security["readOnlyRootFilesystem"], True)
                        self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
                    for volume in spec["volumes"]:
                        if "secret" in volume:
                            self.assertEqual(volume["secret"]["defaultMode"] & 0o007, 0, volume)

    def test_every_mount_has_its_volume(self):
        for name, values in ALL.items():
            for it in render(values):
                template = {t["metadata"]["name"] for t in it.get("spec", {}).get("volumeClaimTemplates", [])}
                for pod, spec in pods([it]):
                    volumes = {volume["name"] for volume in spec["volumes"]} | template
                    for container in spec["containers"] + spec.get("initContainers", []):
                        mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
                        self.assertLessEqual(mounts, volumes, f"{name}: {pod}")

    def test_selectors_and_services_meet_their_pods_alone(self):
        objects = render(EVERYTHING)
        labels = {s: find(objects, k, s)["spec"]["template"]["metadata"]["labels"] for s, k in (("login", "Deployment"), ("signer", "StatefulSet"))}
        for service, other in (("login", "signer"), ("signer", "login")):
            selectors = [find(objects, "Service", name)["spec"]["selector"] for name in (service, f"{service}-admin")]
            selectors.append(find(objects, "NetworkPolicy", service)["spec"]["podSelector"]["matchLabels"])
            selectors.append(find(objects, "PodDisruptionBudget", service)["spec"]["selector"]["matchLabels"])
            for selector in selectors:
                self.assertLessEqual(selector.items(), labels[service].items())
                self.assertFalse(selector.items() <= labels[other].items())
            monitor = find(objects, "ServiceMonitor", service)["spec"]["selector"]["matchLabels"]
            self.assertLessEqual(monitor.items(), find(objects, "Service", f"{service}-admin")["metadata"]["labels"].items())
            self.assertFalse(monitor.items() <= find(objects, "Service", service)["metadata"]["labels"].items())

    def test_metrics_are_not_for_clients(self):
        objects = render(EVERYTHING)
        for service in ("login", "signer"):
            self.assertEqual([port["name"] for port in find(objects, "Service", service)["spec"]["ports"]], ["api"])
            self.assertEqual(find(objects, "Service", f"{service}-admin")["spec"]["clusterIP"], "None")
            for rule in find(objects, "NetworkPolicy", service)["spec"]["ingress"]:
                if rule["ports"][0]["port"] == "admin":
                    self.assertTrue(rule["from"])
        backend = find(objects, "Ingress", "login")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        self.assertEqual(backend, {"name": "site-choria-aaa-login", "port": {"name": "api"}})

    def test_a_pod_is_probed_and_drained(self):
        objects = render(changed(EVERYTHING, signer__preStopSeconds=7, signer__drainSeconds=20))
        spec = find(objects, "StatefulSet", "signer")["spec"]["template"]["spec"]
        container = spec["containers"][0]
        for probe, path in (("startupProbe", "live"), ("livenessProbe", "live"), ("readinessProbe", "ready")):
            self.assertEqual(container[probe]["httpGet"], {"path": f"/healthz/{path}", "port": "admin"})
        self.assertEqual(container["lifecycle"], {"preStop": {"sleep": {"seconds": 7}}})
        self.assertEqual(config(objects, "signer")["drain_timeout"], "20s")
        self.assertGreater(spec["terminationGracePeriodSeconds"], 27)

    def test_centre_and_region_have_only_their_own(self):
        for name, there, not_there in (("centre", "login", "signer"), ("region-malta", "signer", "login")):
            names = [it["metadata"]["name"] for it in render(example(name))]
            self.assertTrue(any(there in it for it in names))
            self.assertFalse(any(not_there in it for it in names), names)

    def test_a_spool_that_outlives_its_pod_is_one_for_each(self):
        objects = render(example("region-london"))
        spec = find(objects, "StatefulSet", "signer")["spec"]
        self.assertEqual(spec["serviceName"], "site-choria-aaa-signer-admin")
        self.assertEqual(spec["persistentVolumeClaimRetentionPolicy"], {"whenDeleted": "Retain", "whenScaled": "Retain"})
        self.assertEqual(config(objects, "signer")["jetstream_auditor"]["spool_dir"], "/var/lib/aaa/spool")
        objects = render(changed(example("region-london"), signer__spool__persistent=False))
        volumes = find(objects, "Deployment", "signer")["spec"]["template"]["spec"]["volumes"]
        self.assertIn({"name": "spool", "emptyDir": {"sizeLimit": "2Gi"}}, volumes)

    def test_autoscaling_takes_the_place_of_replicas(self):
        objects = render(example("organization-issuer"))
        self.assertNotIn("replicas", find(objects, "Deployment", "signer")["spec"])
        self.assertEqual(find(objects, "Deployment", "login")["spec"]["replicas"], 2)
        scaler = find(objects, "HorizontalPodAutoscaler", "signer")["spec"]
        self.assertEqual((scaler["scaleTargetRef"]["kind"], scaler["maxReplicas"]), ("Deployment", 8))

    def test_what_a_pod_reads_at_its_start_is_in_its_checksum(self):
        def checksum(values):
            template = find(render(values), "Deployment", "login")["spec"]["template"]
            return template["metadata"]["annotations"]["checksum/config"]

        values = example("organization-issuer")
        self.assertEqual(checksum(values), checksum(values))
        others = [
            changed(values, site="elsewhere"),
            changed(values, login__config__loglevel="debug"),
            changed(values, login__files__more="text"),
        ]
        self.assertEqual(len({checksum(it) for it in [values, *others]}), 4)

    def test_the_signer_has_the_certificate_of_the_login_key_and_not_the_key(self):
        objects = render(example("one-box"))
        volumes = find(objects, "Deployment", "signer")["spec"]["template"]["spec"]["volumes"]
        of_login = [volume["secret"] for volume in volumes if volume.get("secret", {}).get("secretName") == "site-choria-aaa-login-keys"]
        self.assertEqual([secret["items"] for secret in of_login], [[{"key": "signing.crt", "path": "signing.crt"}]])
        self.assertEqual(find(objects, "Secret", "login-keys")["metadata"]["annotations"], {"helm.sh/resource-policy": "keep"})

    def test_the_network_alone_needs_no_listener(self):
        values = changed(example("organization-issuer"), signer__service__enabled=False, signer__tls={})
        objects = render(values)
        made = config(objects, "signer")
        self.assertFalse({"port", "tls_certificate"} & made.keys(), made)
        services = [it["metadata"]["name"] for it in objects if it["kind"] == "Service"]
        self.assertNotIn("site-choria-aaa-signer", services)

    def test_without_tls_the_service_is_told_so(self):
        objects = render(changed(example("organization-issuer"), signer__tls={"enabled": False}))
        args = find(objects, "Deployment", "signer")["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertIn("--disable-tls", args)
        self.assertNotIn("tls_certificate", config(objects, "signer"))

    def test_text_of_the_site_stays_text(self):
        evil = 'a"\n  x: {{ .Values.site }}\n--- \nkind: Pod'
        values = changed(example("organization-issuer"), site=evil, login__files={"a.txt": evil}, login__podAnnotations={"a": evil})
        objects = render(values)
        self.assertEqual(config(objects, "login")["site"], evil)
        self.assertEqual(find(objects, "Secret", "login-config")["stringData"]["a.txt"], evil)
        self.assertEqual(len(objects), len(render(example("organization-issuer"))))


class Refused(unittest.TestCase):
    def refused(self, values, *words):
        done = helm("template", "site", str(CHART), "--kube-version", "1.34", values=values)
        self.assertNotEqual(done.returncode, 0, "rendered")
        for word in words:
            self.assertIn(word, done.stderr)

    def test_values_that_nobody_knows_or_of_the_wrong_type(self):
        values = example("one-box")
        for path, value in (
            ("signr", {}),
            ("image__repo", "a"),
            ("login__replica", 2),
            ("login__tls__secret", "a"),
            ("signer__networkPolicy__from", []),
            ("login__replicas", "two"),
            ("login__replicas", 0),
            ("login__enabled", "yes"),
            ("login__files", {"a": 1}),
            ("login__keys__existingSecret", "No Name\n"),
            ("login__service__type", "External"),
            ("login__spool__size", "lots"),
            ("image__digest", "sha256:1"),
            ("runAsUser", 0),
        ):
            with self.subTest(path):
                self.refused(changed(values, **{path: value}), path.split("__")[-1])

    def test_what_is_missing_or_contradicts_itself(self):
        box, region = example("one-box"), example("region-london")
        for values, *words in (
            ({}, "login.enabled in the centre"),
            (changed(box, image={}), "image.repository: required"),
            (changed(box, signer__keys={}), "signer.keys.existingSecret: required", "kubectl create secret"),
            (changed(box, login__keys={}), "login.keys.existingSecret: required"),
            (changed(box, login__keys__existingSecret="a"), "login.keys: both"),
            (changed(box, signer__keys={"generate": True}), "signer.keys.generate: not possible"),
            (changed(box, login__tls={}), "login.tls.existingSecret: required", "login.tls.generate"),
            (changed(box, login__tls__existingSecret="a"), "login.tls: both"),
            (changed(box, login__tls__clientCA=True), "login.tls.clientCA"),
            (changed(box, login__config__authenticator=None), "login.config.authenticator: required"),
            (changed(box, login__service={"enabled": False}), "login.service.enabled"),
            (changed(box, login__ingress={"enabled": True}), "login.ingress.hosts"),
            (changed(box, login__spool={"persistent": True}), "login.spool.enabled"),
            (changed(box, login__autoscaling={"enabled": True, "minReplicas": 9}), "minReplicas is above"),
            (changed(region, signer__autoscaling={"enabled": True}), "signer.autoscaling: not with"),
            (changed(box, login__files={"config.json": ""}), "config.json is taken"),
            (changed(box, login__files={"../a": ""}), "cannot be the name of a file"),
            (changed(box, signer__config__port=1), "signer.config.port: the chart sees to it"),
            (changed(box, signer__config__listen=":1"), "signer.config.listen: the chart sees to it"),
        ):
            with self.subTest(words[0]):
                self.refused(values, *words)


@unittest.skipUnless(os.environ.get("CI") or (os.environ.get("AAA_BIN") and shutil.which("openssl")), "AAA_BIN is not set, or there is no openssl")
class Taken(unittest.TestCase):
    """The service itself checks the configurations of the examples, with keys as the examples describe them."""

    def run_in(self, directory, *command):
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}{done.stderr}")

    def keys(self, directory):
        """What the secrets of the examples hold, all in one directory."""
        self.run_in(directory, os.environ["AAA_BIN"], "demo", "--dir", "demo")
        for name in ("login.seed", "login.jwt", "signer.seed", "signer.jwt", "issuer.public", "users.json", "policy.rego"):
            shutil.copy(directory / "demo" / name, directory / name)
        new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        self.run_in(directory, *new, "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt")
        self.run_in(directory, *new, "-subj", "/CN=login", "-keyout", "login.key", "-out", "login.crt")
        of_ca = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
        san = ["-addext", "subjectAltName=DNS:signer.privileged.mcollective"]
        self.run_in(directory, *new, *of_ca, *san, "-subj", "/CN=signer.privileged.mcollective", "-keyout", "signer.key", "-out", "signer.crt")
        shutil.copy(directory / "login.crt", directory / "tls.crt")
        shutil.copy(directory / "login.key", directory / "tls.key")
        (directory / "choria.conf").write_text(
            "identity = signer.privileged.mcollective\nplugin.security.provider = file\n"
            + "".join(f"plugin.security.file.{key} = {directory}/{file}\n" for key, file in (("certificate", "signer.crt"), ("key", "signer.key"), ("ca", "ca.crt")))
        )
        (directory / "aaa.creds").write_text("")

    def test_configurations_of_the_examples(self):
        with tempfile.TemporaryDirectory() as temporary:
            directory = pathlib.Path(temporary)
            self.keys(directory)
            for name, values in ALL.items():
                objects = render(values)
                secrets = {it["metadata"]["name"]: it for it in objects if it["kind"] == "Secret"}
                for service in ("login", "signer"):
                    if not values.get(service, {}).get("enabled"):
                        continue
                    with self.subTest(f"{name}: {service}"):
                        for secret in secrets.values():
                            for file, content in secret.get("data", {}).items():
                                (directory / file).write_bytes(base64.b64decode(content))
                        for file, content in find(objects, "Secret", f"{service}-config")["stringData"].items():
                            for place in ("config", "keys", "tls", "login", "nats"):
                                content = content.replace(f"/etc/aaa/{place}/", f"{directory}/")
                            (directory / file).write_text(content.replace("/var/lib/aaa/spool", f"{directory}/spool"))
                        for file in directory.iterdir():
                            if file.is_file():
                                file.chmod(0o600)
                        self.run_in(directory, os.environ["AAA_BIN"], "serve", "--config", "config.json", "--check-config")


def table():
    """The values as Markdown, from the schema and the defaults."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def rows(properties, defaults, path):
        for name, it in properties.items():
            if it.get("properties") and name != "resources":
                yield from rows(it["properties"], defaults[name], f"{path}{name}.")
            elif "$ref" not in it and name in defaults:
                kind = " or ".join(f"`{value}`" for value in it["enum"]) if "enum" in it else it["type"]
                said = it.get("description") or "What a pod is given, and what it may use at most."
                yield f"| `{path}{name}` | {kind} | `{json.dumps(defaults[name])}` | {said} |"

    head = "| value | type | default | what it is |\n|---|---|---|---|\n"
    own = rows({k: v for k, v in schema["properties"].items() if k != "global"}, values, "")
    service = rows(schema["definitions"]["component"]["properties"], values["login"], "*.")
    return f"{head}{chr(10).join(own)}\n\n`login` and `signer` have the same values, here with `*` for either:\n\n{head}{chr(10).join(service)}\n"


class Described(unittest.TestCase):
    def test_the_readme_has_the_values_as_they_are(self):
        self.assertIn(BEGIN + "\n" + table() + "\n" + END, README.read_text(), "run tests/install/helm.sh DIRECTORY --write")

    def test_every_value_has_a_default_and_a_schema(self):
        schema = json.loads((CHART / "values.schema.json").read_text())
        values = yaml.safe_load((CHART / "values.yaml").read_text())

        def same(it, defaults, path):
            properties = it.get("properties")
            if properties is None:
                return
            self.assertIs(it.get("additionalProperties"), False, path)
            self.assertEqual(set(properties) - {"global"}, set(defaults), path)
            for name, inner in properties.items():
                if name != "global":
                    same(schema["definitions"]["component"] if "$ref" in inner else inner, defaults[name], f"{path}.{name}")

        same(schema, values, "values")
        self.assertEqual(values["login"], values["signer"])


def write():
    text = README.read_text()
    before, rest = text.split(BEGIN)
    README.write_text(before + BEGIN + "\n" + table() + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        unittest.main(verbosity=1)
