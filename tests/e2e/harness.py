"""What the end-to-end tests share: the programs, run as a person would run them."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = pathlib.Path(os.environ["CLOISTER_BIN"])
PATIENCE = float(os.environ.get("CLOISTER_E2E_PATIENCE", "60"))


def environment(home):
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config")}


def started_at(pid):
    """When a living process started; None where there is none."""
    try:
        state, _, *fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if state in "ZX" else int(fields[17])


class Case(unittest.TestCase):
    """A folder of its own, and no process left at the end."""

    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="cloister-e2e-"))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.children = []
        self.processes = {}  # the newest of each name
        self.addCleanup(self.stop_all)

    def cloister(self, *arguments, timeout=PATIENCE, cwd=None, variables=None):
        """(exit code, standard output, standard error)"""
        done = subprocess.run([BIN / "cloister", *map(str, arguments)], cwd=cwd or self.home,
                              env={**environment(self.home), **(variables or {})}, capture_output=True, text=True,
                              timeout=timeout)
        return done.returncode, done.stdout, done.stderr

    def ok(self, *arguments, **options):
        code, out, err = self.cloister(*arguments, **options)
        self.assertEqual(code, 0, f"{arguments}: {out}{err}")
        return out

    def start(self, name, *command):
        """A process that prints one JSON line when it is ready; that line."""
        log = open(self.home / f"{name}.log", "a")
        child = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=log, cwd=self.home,
                                 env=environment(self.home), text=True)
        log.close()
        self.children.append(child)
        self.processes[name] = child
        line = child.stdout.readline()
        self.assertTrue(line, f"{name} ended: {self.log(name)[-2000:]}")
        return json.loads(line)

    def spawn(self, *arguments):
        """The command line in the background; ended with the test."""
        child = subprocess.Popen([BIN / "cloister", *map(str, arguments)], stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, cwd=self.home, env=environment(self.home), text=True)
        self.children.append(child)
        return child

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def log(self, name):
        return (self.home / f"{name}.log").read_text(errors="replace")

    def stop_all(self):
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            child.stdout.close()
        self.children.clear()

    def wait_for(self, what, condition):
        """Asks again until the condition holds; its value."""
        end = time.monotonic() + PATIENCE
        while True:
            value = condition()
            if value:
                return value
            self.assertLess(time.monotonic(), end, f"waited for {what}")
            time.sleep(0.05)

    def write(self, name, text):
        path = self.home / name
        path.write_text(text)
        return path


class System(Case):
    """Platform, server and validator, each started by the test."""
    listen = "127.0.0.1:0"
    settings = ""  # further lines of the server's configuration
    ca = ()        # options with which the server's certificate is known

    @staticmethod
    def around(*command):
        """The server's command, in whatever it is to run inside of."""
        return list(command)

    def start_platform(self, state="platform"):
        self.platform = self.start("platform", BIN / "cloister", "lab", "platform", "--state", self.home / state)
        return self.platform

    def start_server(self, guest=BIN / "cloister-guest", trust_root=None, collateral=None):
        root = pathlib.Path(trust_root or self.platform["root"]).read_text()
        self.write("server-trust.json", json.dumps({"version": 1, "lab_roots": [root]}))
        self.write("cloisterd.toml", f'data = "server"\nlisten = "{self.listen}"\nguest = {json.dumps(str(guest))}\n'
                   f'collateral = {json.dumps(str(collateral or self.platform["collateral"]))}\ntrust = "server-trust.json"\n{self.settings}')
        self.server = self.start("server", *self.around(BIN / "cloisterd", "--config", self.home / "cloisterd.toml"))
        self.connection = ["--server", self.server["url"], "--token-file", self.server["admin_token_file"], *self.ca]
        return self.server

    def start_validator(self, *options, guest=BIN / "cloister-guest", name="validator", control=None):
        key = self.home / f"{name}.key"
        self.ok("validator", "enrol", self.ok("validator", "hotkey", key).strip(), *self.connection)
        return self.start(name, BIN / "cloister", "validator", "run", "--server", self.server["url"], "--platform",
                          control or self.platform["control"], "--guest", guest, "--hotkey", key, "--data",
                          self.home / f"{name}-data", *options, *self.ca)

    def listed(self, what, *more):
        return json.loads(self.ok(what, "list", "--json", *more, *self.connection))

    def wait_verified(self):
        self.wait_for("a verified validator",
                      lambda: [v for v in self.listed("validator")["validators"] if v["state"] == "verified"])

    def push_example(self, *options):
        self.ok("challenge", "build", BIN / "keyword-search", "--out", self.home / "layout")
        self.write("salt", "sesame")
        self.ok("secret", "put", "keyword-search/index-salt", "--file", self.home / "salt", *self.connection)
        return json.loads(self.ok("challenge", "push", self.home / "layout", "--id", "keyword-search", "--secret",
                                  "index-salt=keyword-search/index-salt", "--json", *options, *self.connection))

    def write_trust(self, version):
        """What a client of this version trusts, in trust.json."""
        trust = json.loads((self.home / "server-trust.json").read_text())
        keys = json.loads(subprocess.run(self.around(BIN / "cloisterd", "--config", self.home / "cloisterd.toml",
                                                     "--show-keys"), capture_output=True, text=True, check=True).stdout)
        trust.update(audit_keys=keys["audit_keys"], server_keys=keys["server_keys"], reference_values=[
            {"challenge": "keyword-search", "version": version["id"], **version["reference_value"]}])
        self.write("trust.json", json.dumps(trust))
        return trust


def main():
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[1:]])
