"""Tests of the packages: what is in them, and what becomes of a machine on which they are installed, upgraded and removed.

Run by packages.sh. The machine is a copy of this one with its own systemd, so units, users, sandboxes and scripts are the real ones.
"""

import os
import pathlib
import re
import socket
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ["AAA_BIN"]
SERVICES = {"login": 8081, "signer": 8082}
# Of systemd-analyze, in tenths.
EXPOSURE = 24


def run(*command, code=0, **options):
    done = subprocess.run([str(it) for it in command], capture_output=True, text=True, check=False, timeout=120, **options)
    if done.returncode != code:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


class Machine:
    """A copy of this machine that is booted. `host` is a directory that it sees as /run/host."""

    def __init__(self, host):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(f"{host}/notify")
            told.settimeout(60)
            own = ["--mount", "--pid", "--net", "--cgroup", "--fork", "--kill-child"]
            self.process = subprocess.Popen(["unshare", *own, ROOT / "tests/install/machine.sh", host], stdin=subprocess.DEVNULL)
            while "READY=1" not in told.recv(4096).decode():
                pass
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        enter = ["nsenter", "--target", children.read_text().strip(), "--mount", "--pid", "--net", "--cgroup"]
        self.enter = [*enter, "env", "-i", "-C", "/root", "HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]

    def run(self, *command, **options):
        return run(*self.enter, *command, **options)

    def sh(self, script, **options):
        """Runs lines of shell, and stops at the first that fails."""
        return self.run("sh", "-euc", script, **options)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        host = tempfile.TemporaryDirectory()
        cls.addClassCleanup(host.cleanup)
        os.chmod(host.name, 0o755)
        cls.host = pathlib.Path(host.name)
        # The version of now, and the next.
        for version in ("1.0.0", "1.0.1"):
            made = run(ROOT / "deploy/packages/build.sh", PROGRAM, cls.host / version, version)
            assert len(made.splitlines()) == 2, made
        cls.stage = cls.host / "stage"
        run(ROOT / "deploy/packages/stage.sh", PROGRAM, cls.stage, "1.0.0")

    def test_lintian_has_nothing_to_say(self):
        said = run("lintian", "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0", *self.host.glob("1.0.0/*.deb"))
        self.assertEqual(re.findall(r"^[EWI]: .*", said, re.M), [])

    def test_both_packages_hold_the_same(self):
        deb = run("dpkg-deb", "--contents", *self.host.glob("1.0.0/*.deb"))
        deb = {line.split(" -> ")[0].split(" .")[-1] for line in deb.splitlines() if not line.startswith("d")}
        rpm = run("rpm", "--query", "--queryformat", "[%{FILEMODES:perms} %{FILENAMES}\n]", "--package", *self.host.glob("1.0.0/*.rpm"))
        rpm = {line.split(" ")[1] for line in rpm.splitlines() if not line.startswith("d")}
        rpm = {path.replace("/usr/lib/systemd/system/", "/lib/systemd/system/").replace("/zsh/site-functions", "/zsh/vendor-completions") for path in rpm}
        self.assertEqual(deb ^ rpm, {"/usr/share/lintian/overrides/choria-aaa"})
        for path in ("/usr/bin/choria-login", "/usr/share/man/man8/aaa-signer.8.gz", "/usr/share/bash-completion/completions/aaa"):
            self.assertIn(path, deb)

    def test_units_expose_little(self):
        for unit in self.stage.glob("lib/systemd/system/*.service"):
            run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", unit)

    def test_bash_reads_the_completions(self):
        script = self.stage / "usr/share/bash-completion/completions/aaa"
        self.assertIn(" aaa", run("bash", "-euc", f"source {script}; complete -p aaa"))

    def test_a_life_with_dpkg(self):
        install = ["dpkg", "--install"]
        self.life(
            install=lambda version: [*install, f"/run/host/{version}/choria-aaa_{version}_amd64.deb"],
            remove=["dpkg", "--remove", "choria-aaa"],
            left="config.json",
        )

    def test_a_life_with_rpm(self):
        # The machine's other packages are dpkg's.
        self.life(
            install=lambda version: ["rpm", "--upgrade", "--nodeps", f"/run/host/{version}/choria-aaa-{version}-1.x86_64.rpm"],
            remove=["rpm", "--erase", "--nodeps", "choria-aaa"],
            left="config.json.rpmsave",
        )

    def life(self, install, remove, left):
        machine = Machine(self.host)
        try:
            machine.run(*install("1.0.0"))
            self.installed(machine)
            self.configured(machine)
            self.works(machine)
            self.rotated(machine)
            self.upgraded(machine, install("1.0.1"))
            self.removed(machine, remove, left)
        finally:
            machine.stop()
            (self.host / "notify").unlink()

    def installed(self, machine):
        """Nothing runs yet, and what is missing is named."""
        for name in SERVICES:
            self.assertEqual(machine.run("systemctl", "is-enabled", f"aaa-{name}", code=1), "disabled\n")
            self.assertEqual(machine.run("systemctl", "is-active", f"aaa-{name}", code=3), "inactive\n")
            modes = machine.run("stat", "--format=%a %U %G", f"/etc/aaa/{name}", f"/etc/aaa/{name}/config.json")
            self.assertEqual(modes, f"2750 root aaa-{name}\n640 root aaa-{name}\n")
            said = machine.run("aaa", "config", "check", f"/etc/aaa/{name}/config.json", code=64)
            problems = [line for line in said.splitlines() if line.startswith("  ")]
            self.assertTrue(problems)
            for problem in problems:
                self.assertIn("no such file", problem.lower())
            machine.run("systemctl", "start", f"aaa-{name}", code=1)
            # It is not tried again and again.
            self.assertEqual(machine.run("systemctl", "is-failed", f"aaa-{name}"), "failed\n")
            machine.run("systemctl", "reset-failed", f"aaa-{name}")

    def configured(self, machine):
        """A site as the comments of the configuration describe it."""
        machine.sh(
            """
            aaa keys generate --seed issuer.seed --public issuer.public
            for name in login signer; do
                cd /etc/aaa/$name
                openssl req -x509 -newkey ed25519 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE -keyout tls.key -out tls.crt
                aaa keys generate --seed $name.seed --public $name.public
            done
            aaa token issue delegator --issuer-seed /root/issuer.seed --public-key signer.public --output signer.jwt
            cp /root/issuer.public .
            cd ../login
            aaa token issue chain-issuer --issuer-seed /root/issuer.seed --public-key login.public --output login.jwt
            echo '[{"username": "alice", "password": "'$(echo secret | aaa crypt --argon2id)'", "acls": ["puppet.status"]}]' >users.json
            chmod 640 /etc/aaa/*/*
            echo '// ours' >>/etc/aaa/login/config.json
            echo '// ours' >>/etc/aaa/signer/config.json
            cd
            echo secret >password
            cat /etc/aaa/*/tls.crt >ca.pem
            cat >client.conf <<TEXT
plugin.security.provider = choria
collectives = choria
plugin.login.aaasvc.login.url = https://127.0.0.1:8443/choria/v1/login
plugin.choria.security.request_signer.url = https://127.0.0.1:8444/choria/v1/sign
plugin.security.choria.token_file = /root/alice.jwt
plugin.security.choria.seed_file = /root/alice.key
plugin.security.choria.ca = /root/ca.pem
plugin.security.issuer.names = choria
plugin.security.issuer.choria.public = $(cat issuer.public)
TEXT
            """
        )
        for name in SERVICES:
            machine.run("aaa", "config", "check", f"/etc/aaa/{name}/config.json")
            said = machine.run("aaa", "doctor", "--offline", f"/etc/aaa/{name}/config.json")
            self.assertNotIn("everybody", said)
            group = machine.run("stat", "--format=%G", f"/etc/aaa/{name}/{name}.seed")
            self.assertEqual(group, f"aaa-{name}\n")

    def works(self, machine):
        machine.run("systemctl", "enable", "--now", *[f"aaa-{name}" for name in SERVICES])
        for name, port in SERVICES.items():
            self.assertEqual(machine.run("aaa", "health", f"127.0.0.1:{port}"), "ready\n")
        self.request(machine)
        for name in SERVICES:
            owner = machine.run("stat", "--format=%a %U", f"/var/log/aaa/{name}", f"/var/log/aaa/{name}/audit.log")
            self.assertEqual(owner, f"750 aaa-{name}\n600 aaa-{name}\n")
            self.assertEqual(self.records(machine, name), [1])
            # One service cannot read what is the other's.
            other = next(other for other in SERVICES if other != name)
            machine.run("setpriv", f"--reuid=aaa-{name}", f"--regid=aaa-{name}", "--clear-groups", "cat", f"/etc/aaa/{other}/{other}.seed", code=1)

    def request(self, machine):
        """A login and a signature, over the services' own ports."""
        client = ["--config", "client.conf"]
        machine.run("choria-login", *client, "--username", "alice", "--password-file", "password")
        self.assertIn("secure", machine.run("aaa", "sign", *client, "--agent", "puppet", "--action", "status"))

    def records(self, machine, name):
        """How many records are in each of its files, the newest first."""
        counts = machine.sh(f"cd /var/log/aaa/{name}; for file in $(ls -t); do wc -l <$file; done")
        return [int(count) for count in counts.split()]

    def rotated(self, machine):
        journal = ["journalctl", "--output=cat"]
        for name in SERVICES:
            cursor = machine.run(*journal, "--lines=0", "--show-cursor").strip().removeprefix("-- cursor: ")
            machine.run("logrotate", "--force", f"/etc/logrotate.d/aaa-{name}")
            follow = [*machine.enter, "timeout", "30", *journal, "--unit", f"aaa-{name}", f"--after-cursor={cursor}", "--follow"]
            with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as said:
                self.assertTrue(any("reloaded" in line for line in said.stdout))
                said.terminate()
        self.request(machine)
        for name in SERVICES:
            self.assertEqual(self.records(machine, name), [1, 1])

    def upgraded(self, machine, install):
        before = {name: machine.run("systemctl", "show", "--property=MainPID", f"aaa-{name}") for name in SERVICES}
        machine.run(*install)
        for name, port in SERVICES.items():
            self.assertNotEqual(machine.run("systemctl", "show", "--property=MainPID", f"aaa-{name}"), before[name])
            self.assertEqual(machine.run("aaa", "health", f"127.0.0.1:{port}"), "ready\n")
            machine.run("grep", "--quiet", "ours", f"/etc/aaa/{name}/config.json")
            modes = machine.run("stat", "--format=%a %G", f"/etc/aaa/{name}", f"/etc/aaa/{name}/config.json")
            self.assertEqual(modes, f"2750 aaa-{name}\n640 aaa-{name}\n")
        self.request(machine)

    def removed(self, machine, remove, left):
        machine.run(*remove)
        for name in SERVICES:
            self.assertEqual(machine.run("systemctl", "is-active", f"aaa-{name}", code=3), "inactive\n")
            machine.run("grep", "--quiet", "ours", f"/etc/aaa/{name}/{left}")
        machine.sh("! ls /usr/bin/aaa* /usr/bin/choria-login /lib/systemd/system/aaa-*")
        if remove[0] == "dpkg":
            self.assertIn("/etc/aaa is kept", machine.run("dpkg", "--purge", "choria-aaa"))
            machine.sh("! ls /etc/aaa/*/config.json /etc/logrotate.d/aaa-* /etc/systemd/system/*/aaa-*")
        for name in SERVICES:
            machine.run("test", "-s", f"/etc/aaa/{name}/{name}.seed")
            self.assertEqual(self.records(machine, name), [2, 1])


if __name__ == "__main__":
    unittest.main(verbosity=1)
