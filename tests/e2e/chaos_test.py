"""The system under a stream of jobs while its processes are killed, one after another, at random.

CLOISTER_CHAOS_KILLS says how often (default 12; 200 is the full run), CLOISTER_CHAOS_SEED makes the choices repeat.
"""
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import threading
import time

import harness

KILLS = int(os.environ.get("CLOISTER_CHAOS_KILLS", "12"))
SEED = int(os.environ.get("CLOISTER_CHAOS_SEED", str(random.SystemRandom().randrange(1 << 32))))
CLIENTS = 3


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes_of(home):
    """Every living process that was started for this folder: its command line or its environment names it."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if str(home).encode() in text and state != "Z":
            found.append(int(entry.name))
    return found


def children_of(pid):
    try:
        return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Part:
    """One process of the system, that is started again whenever it ends."""

    def __init__(self, case, name, command):
        self.case, self.name, self.command = case, name, command
        self.process = None
        self.starts = 0

    def start(self):
        self.starts += 1
        with open(self.case.home / f"{self.name}.log", "a") as log:
            self.process = subprocess.Popen([*map(str, self.command)], stdout=subprocess.PIPE, stderr=log,
                                            cwd=self.case.home, env=harness.environment(self.case.home), text=True)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{self.name} did not start: {self.case.log(self.name)[-2000:]}")
        return json.loads(line)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Client(threading.Thread):
    """Submits one job after another; each until its result is there, with new processes where one gave up."""

    def __init__(self, case, number):
        super().__init__()
        self.case, self.number = case, number
        self.ending = threading.Event()
        self.done = 0
        self.retries = 0
        self.failure = None

    def run(self):
        try:
            while not self.ending.is_set():
                self.one(f"client-{self.number}-{self.done}")
                self.done += 1
        except Exception as failure:  # shown by the test
            self.failure = failure

    def one(self, key):
        home = self.case.home
        count = self.done % 5 + 1
        payload = home / f"{key}.payload"
        payload.write_text(json.dumps({"keyword": "x", "documents": [{"name": key, "text": "x y " * count}]}))
        end = time.monotonic() + 240
        while True:
            code, out, err = self.case.cloister(
                "job", "submit", "keyword-search", "--payload", payload, "--key", key, "--receipt",
                home / f"{key}.receipt", "--trust", home / "trust.json", "--secret-file",
                home / f"client-{self.number}.secret", *self.case.connection, timeout=300)
            if code == 0:
                break
            self.retries += 1
            if time.monotonic() > end:
                raise AssertionError(f"{key}: {err[-1500:]}")
            time.sleep(0.2)
        if json.loads(out)["total"] != count:
            raise AssertionError(f"{key}: {out}")


class Chaos(harness.System):
    def setUp(self):
        super().setUp()
        self.parts = {}
        self.addCleanup(lambda: [part.stop() for part in reversed(self.parts.values())])

    def part(self, name, *command):
        self.parts[name] = Part(self, name, command)
        return self.parts[name].start()

    def build(self):
        binary = harness.BIN / "cloister"
        platform = self.part("platform", binary, "lab", "platform", "--state", self.home / "platform")
        self.write("server-trust.json", json.dumps(
            {"version": 1, "lab_roots": [pathlib.Path(platform["root"]).read_text()]}))
        self.write("cloisterd.toml", f'data = "server"\nlisten = "127.0.0.1:{free_port()}"\n'
                   f'guest = {json.dumps(str(harness.BIN / "cloister-guest"))}\n'
                   f'collateral = {json.dumps(platform["collateral"])}\ntrust = "server-trust.json"\n')
        server = self.part("server", harness.BIN / "cloisterd", "--config", self.home / "cloisterd.toml")
        self.connection = ["--server", server["url"], "--token-file", server["admin_token_file"]]
        for name in ("validator-a", "validator-b"):
            hotkey = self.ok("validator", "hotkey", self.home / f"{name}.key").strip()
            self.ok("validator", "enrol", hotkey, *self.connection)
            self.part(name, binary, "validator", "run", "--server", server["url"], "--platform", platform["control"],
                      "--guest", harness.BIN / "cloister-guest", "--hotkey", self.home / f"{name}.key", "--data",
                      self.home / f"{name}-data", "--capacity", "3")
        return platform

    def victim(self, choices):
        """Something to kill: a part of the system by name, or one of the guests on the platform."""
        name = choices.choice([*self.parts, "guest", "guest"])
        if name != "guest":
            return name, None
        guests = children_of(self.parts["platform"].process.pid)
        return ("guest", choices.choice(guests)) if guests else ("server", None)

    def test_every_job_is_accounted_for(self):
        print(f"seed {SEED}, {KILLS} kills", flush=True)
        choices = random.Random(SEED)
        self.build()
        version = self.push_example()
        self.write_trust(version)
        clients = [Client(self, number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        killed = {}
        try:
            for _ in range(KILLS):
                time.sleep(choices.uniform(0.1, 1.5))
                name, guest = self.victim(choices)
                killed[name] = killed.get(name, 0) + 1
                if guest is not None:
                    try:
                        os.kill(guest, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                else:
                    self.parts[name].kill()
                    time.sleep(choices.uniform(0, 0.5))
                    self.parts[name].start()
                self.assertFalse([client.failure for client in clients if client.failure])
        finally:
            for client in clients:
                client.ending.set()
            for client in clients:
                client.join()
        self.assertFalse([client.failure for client in clients if client.failure])
        keys = [f"client-{client.number}-{number}" for client in clients for number in range(client.done)]
        print(f"killed {killed}; {len(keys)} jobs, {sum(client.retries for client in clients)} processes of clients "
              "gave up and were followed by others", flush=True)
        self.assertGreaterEqual(len(keys), CLIENTS)

        states = [job["state"] for job in self.listed("job")["jobs"]]
        self.assertEqual(states, ["succeeded"] * len(keys))
        for key in keys:
            self.ok("receipt", "verify", self.home / f"{key}.receipt", "--trust", self.home / "trust.json")
        for part in reversed(self.parts.values()):
            part.stop()
        self.wait_for("the end of every process", lambda: not processes_of(self.home))


if __name__ == "__main__":
    harness.main()
