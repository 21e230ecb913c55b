"""Tests of the container image: what is in it, and that it works as its own user with a read-only root and without capabilities.

Run by container.sh. The first stage of the Containerfile, which fetches a compiler, is taken by a directory made by the script that
it runs at its end; everything after it is built as it stands there.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ["AAA_BIN"]
# What a release may take, in bytes. A program with debug assertions and without optimization is larger.
LIMIT = 40_000_000


def run(*command, code=0, **options):
    done = subprocess.run([str(it) for it in command], capture_output=True, text=True, check=False, **options)
    if done.returncode != code:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        work = tempfile.TemporaryDirectory()
        cls.addClassCleanup(work.cleanup)
        os.chmod(work.name, 0o755)
        stage, cls.site = pathlib.Path(work.name, "stage"), pathlib.Path(work.name, "site")
        for directory in (stage, cls.site):
            directory.mkdir()
        cls.site.chmod(0o777)
        run(ROOT / "deploy/container/root.sh", os.path.relpath(PROGRAM), stage / "image")
        buildah = ["buildah", "--root", f"{work.name}/store", "--runroot", f"{work.name}/run", "--storage-driver", "vfs"]
        recipe = ["--build-context", f"build={stage}", "--file", ROOT / "deploy/Containerfile", "--tag", "aaa"]
        run(*buildah, "build", "--format", "docker", "--isolation", "chroot", *recipe, ROOT)
        about = json.loads(run(*buildah, "inspect", "--type", "image", "aaa"))
        cls.size = sum(layer["size"] for layer in json.loads(about["Manifest"])["layers"])
        cls.config = about["Docker"]["config"]
        mounted = run(*buildah, "mount", run(*buildah, "from", "aaa").strip()).strip()
        # Where the image's user, too, can reach it.
        cls.root = pathlib.Path(work.name, "root")
        run("cp", "--archive", mounted, cls.root)

    def command(self, *command, bind="--ro-bind"):
        """What runs a command in the image, as a runtime does: its user and its environment, a read-only root, the site's files."""
        user, group = self.config["User"].split(":")
        become = ["setpriv", "--reuid", user, "--regid", group, "--clear-groups"]
        environment = [word for pair in self.config["Env"] for word in ("--setenv", *pair.split("=", 1))]
        sandbox = ["bwrap", "--ro-bind", self.root, "/", "--dev", "/dev", "--proc", "/proc", bind, self.site, "/etc/aaa"]
        identity = ["--unshare-user", "--unshare-pid", "--uid", user, "--gid", group, "--die-with-parent"]
        return [str(word) for word in (*become, *sandbox, *identity, "--clearenv", *environment, *command)]

    @contextlib.contextmanager
    def service(self, until, *command, **options):
        """Runs a service in the image, from when it prints this until the end of the block: what it printed."""
        lines = []
        with subprocess.Popen(self.command(*command, **options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as service:
            try:
                for line in service.stdout:
                    lines.append(line)
                    if until in line:
                        break
                else:
                    raise AssertionError("".join(lines))
                yield lines
            finally:
                # As the end of its process ends all that is in the sandbox.
                service.terminate()
                lines += service.stdout

    def test_nothing_is_in_it_but_what_a_service_needs(self):
        files = sorted(str(file.relative_to(self.root)) for file in self.root.rglob("*") if not file.is_dir())
        names = ["aaa", "aaa-login", "aaa-signer", "choria-login"]
        there = ["etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", *(f"usr/bin/{name}" for name in names)]
        self.assertEqual([file for file in files if not file.startswith("lib")], there)
        self.assertLessEqual(len(files), len(there) + 6, files)
        for file in self.root.rglob("*"):
            about = file.lstat()
            its_own = file.is_relative_to(self.root / "var/lib/aaa")
            self.assertEqual((about.st_uid, about.st_gid), (65532, 65532) if its_own else (0, 0), file)
            self.assertFalse(not file.is_symlink() and about.st_mode & 0o7022, file)

    def test_it_is_small(self):
        print(f"image: {self.size / 1e6:.1f} MB")
        if "(development)" not in run(PROGRAM, "--version"):
            self.assertLess(self.size, LIMIT)

    def test_it_runs_under_all_its_names(self):
        for name in ("aaa", "aaa-login", "aaa-signer"):
            self.assertTrue(run(*self.command(name, "--version")).startswith(f"{name} "))
        self.assertIn("Usage: choria-login login", run(*self.command("choria-login", "--help")))

    def test_the_service_is_healthy_and_works(self):
        health = self.config["Healthcheck"]["Test"]
        self.assertEqual(health.pop(0), "CMD")
        run(*self.command(*health), code=1)
        with self.service("Rules are in", "aaa", "serve", "--dev", "--dir", "/etc/aaa", "--listen", "127.0.0.1:8443", bind="--bind"):
            pass
        file = self.site / "config.json"
        config = json.loads(file.read_text())
        config |= {"monitor_port": 8081, "logfile_auditor": {}}
        # A time zone, of which the image has no database.
        config["guards"] = {"business_hours": {"timezone": "Pacific/Auckland", "from": "09:00", "to": "17:00", "actions": ["none.*"]}}
        file.write_text(json.dumps(config))
        with self.service('"started"', *self.config["Cmd"]) as said:
            self.assertEqual(run(*self.command(*health)), "ready\n")
            client = ["--config", "/etc/aaa/client.conf"]
            run(*self.command("choria-login", *client, "--username", "alice", "--password-file", "/etc/aaa/alice.password", bind="--bind"))
            self.assertIn("secure", run(*self.command("aaa", "sign", *client, "--agent", "puppet", "--action", "status")))
        self.assertEqual(len([line for line in said if '"action":"allow"' in line]), 2, said)
        run(*self.command(*health), code=1)


if __name__ == "__main__":
    unittest.main(verbosity=1)
