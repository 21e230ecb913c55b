"""The metrics of a site to which everything happens that alerts and panels are about: with a stream, a broker, and faults of every kind.

They are read after each of several rounds of that, and get times as if a Prometheus had read them, half a minute apart. Run by monitoring.py.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

PROGRAM = os.environ.get("AAA_BIN")
ROUNDS, APART = 4, 30
FREE = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
# Two decisions at once are none.
UNDECIDED = "package io.choria.aaasvc\nallow := true\nallow := false\n"


@contextlib.contextmanager
def started(pattern, *command):
    """Runs a program until the end of the block; begins it when what the program has said matches: the match."""
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as program:
        try:
            said = ""
            while not (found := re.search(pattern, said, re.S)):
                line = program.stdout.readline()
                assert line, f"{command}\n{said}"
                said += line
            # It must not wait until somebody reads what more it has to say.
            threading.Thread(target=program.stdout.read, daemon=True).start()
            yield found
        finally:
            program.terminate()


class Site:
    """Both services in one process, on a network and with a stream, in a directory."""

    def __init__(self, directory):
        self.directory = directory
        with started("Rules are in", PROGRAM, "serve", "--dev", "--dir", directory, *FREE):
            pass
        self.aaa("keys", "generate", "--seed", "server.seed", "--public", "server.public")
        issuer = ["--issuer-seed", "issuer.seed"]
        self.aaa("token", "issue", "server", "signer.example", *issuer, "--public-key", "server.public", "--permission", "service_host", "--output", "server.jwt")
        self.write("undecided.rego", UNDECIDED)
        self.aaa("keys", "generate", "--seed", "eve.key", "--public", "eve.public")
        chain = ["--signing-key", "login.seed", "--chain-token", "login.jwt"]
        self.aaa("token", "issue", "client", "up=eve", *chain, "--public-key", "eve.public", "--opa-policy", "undecided.rego", "--output", "eve.jwt")
        self.write("wrong", "wrong\n")
        self.config = json.loads((directory / "config.json").read_text())

    def configure(self, broker, stream):
        self.write(
            "choria.conf",
            f"""
            identity = signer.example
            collectives = choria
            plugin.choria.middleware_hosts = localhost:{broker}
            plugin.security.provider = choria
            plugin.security.choria.token_file = {self.directory}/server.jwt
            plugin.security.choria.seed_file = {self.directory}/server.seed
            plugin.security.choria.ca = {self.directory}/ca.pem
            """,
        )
        self.config["choria_config"] = f"{self.directory}/choria.conf"
        self.config["basicjwt_signer"]["choria_service"] = True
        self.config["auditors"] = ["logfile", "jetstream"]
        self.config["logfile_auditor"] = {"logfile": "/dev/full", "delivery": "best_effort"}
        self.config["jetstream_auditor"] = {
            "servers": f"nats://127.0.0.1:{stream}",
            "topic": "audit.office",
            "stream": {"name": "AUDIT", "replicas": 1},
            "spool_dir": f"{self.directory}/spool",
        }
        self.write("config.json", json.dumps(self.config))

    def write(self, name, text):
        file = self.directory / name
        file.write_text("\n".join(line.strip() for line in text.splitlines()) + "\n")
        file.chmod(0o600)

    def aaa(self, *arguments, code=0):
        done = subprocess.run([PROGRAM, *arguments], cwd=self.directory, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"

    def happen(self, address):
        """One of everything."""
        me = ["--config", "client.conf"]
        self.aaa("login", *me, "--username", "alice", "--password-file", "wrong", code=1)
        self.aaa("login", *me, "--username", "alice", "--password-file", "alice.password")
        self.aaa("sign", *me, "--agent", "puppet", "--action", "status")
        self.aaa("sign", *me, "--agent", "puppet", "--action", "disable", code=1)
        self.aaa("sign", *me, "--agent", "puppet", "--action", "status", "--token", "eve.jwt", "--seed", "eve.key", code=1)
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"this is no TLS\r\n\r\n")
            connection.recv(64)


def nats(directory, name, text):
    """Runs a NATS server with this configuration, on a free port."""
    (directory / name).write_text(f'host: 127.0.0.1\nport: -1\n{text}')
    return started(r"Listening for client connections on 127\.0\.0\.1:(\d+)", os.environ["AAA_NATS_SERVER"], "--config", directory / name)


def metrics(address):
    with urllib.request.urlopen(f"http://{address}/metrics") as response:
        return response.read().decode()


def record(directory):
    """The metrics of each round, as samples with their times; the last one is of now."""
    site = Site(directory)
    tls = f'tls {{ cert_file: "{directory}/tls.pem", key_file: "{directory}/tls.key" }}\n'
    stream = f'jetstream {{ store_dir: "{directory}/jetstream" }}\n'
    with nats(directory, "broker.conf", tls) as broker, nats(directory, "stream.conf", stream) as streams:
        site.configure(broker[1], streams[1])
        log = directory / "serve.log"
        with log.open("w") as out:
            service = subprocess.Popen([PROGRAM, "serve", "--config", "config.json", *FREE], cwd=directory, stderr=out)
        try:

            def said(message):
                return [line for line in map(json.loads, log.read_text().splitlines()) if line["message"] == message]

            await_(lambda: said("started"), service, log)
            admin, address = said("listening for metrics and health (admin)")[0]["address"], said("listening")[0]["address"]
            client = directory / "client.conf"
            client.write_text(re.sub(r"https://[^/]*/", f"https://{address}/", client.read_text()))
            await_(lambda: "choria_aaa_network_connected" in metrics(admin), service, log)
            end, samples = int(time.time()), []
            for round_ in range(ROUNDS):
                site.happen(address)
                # A configuration that cannot be taken.
                site.write("config.json", json.dumps(site.config | {"loglevel": 1}))
                service.send_signal(signal.SIGHUP)
                await_(lambda: len(said("cannot be reloaded; the old one goes on")) > round_, service, log)
                at = end - (ROUNDS - 1 - round_) * APART
                samples += [f"{line} {at}" for line in metrics(admin).splitlines() if line and not line.startswith("#")]
        finally:
            service.terminate()
            service.wait()
    return samples, end


def await_(condition, service, log):
    """Waits until something is so, for half a minute at most."""
    until = time.monotonic() + 30
    while not condition():
        assert service.poll() is None and time.monotonic() < until, log.read_text()
        time.sleep(0.05)
