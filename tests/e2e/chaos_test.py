"""The system under a stream of jobs while its processes and its clients are killed, one after another, at random.

CLOISTER_CHAOS_KILLS says how often (default 12; the test e2e.chaos_long takes 200), CLOISTER_CHAOS_SEED makes the
choices repeat.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

import harness

KILLS = int(os.environ.get("CLOISTER_CHAOS_KILLS", "12"))
SEED = int(os.environ.get("CLOISTER_CHAOS_SEED", str(random.SystemRandom().randrange(1 << 32))))
CLIENTS = 3
# A client says so once the server answered that it has the job.
ACKNOWLEDGED = re.compile(r"^(job-[a-z2-7]{26}): (?:queued|awaiting_rewrap|leased|succeeded|failed), ", re.M)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def become_the_parent_of_orphans():
    """Whatever loses its parent becomes a child of this process, instead of init's: no descendant can get away."""
    pr_set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def descendants_of(ancestor):
    """{(pid, when it started): its name} of what lives below a process; a pid that is used again started later."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name, rest = (entry / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        state, parent, *fields = rest.split()
        if state not in "ZX":
            children.setdefault(int(parent), []).append((int(entry.name), int(fields[17]), name))
    found, left = {}, [ancestor]
    while left:
        for pid, started, name in children.get(left.pop(), []):
            found[pid, started] = name
            left.append(pid)
    return found


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
    """Submits one job after another. A job that was acknowledged is never submitted again: whoever follows a client that
    gave up, or was killed, asks for its result, so that a server which forgot it is found out."""

    def __init__(self, case, number):
        super().__init__()
        self.case, self.number = case, number
        self.ending = threading.Event()
        self.jobs = {}  # by idempotency key, what the server acknowledged
        self.retries = 0
        self.failure = None
        self.process = None

    def run(self):
        try:
            while not self.ending.is_set():
                self.one(f"client-{self.number}-{len(self.jobs)}")
        except Exception as failure:  # shown by the test
            self.failure = failure

    def kill(self):
        process = self.process
        if process is not None:
            process.kill()

    def attempt(self, key, *command):
        """A process of this client: exit code, standard output, standard error. It notes what it saw acknowledged."""
        with tempfile.TemporaryFile("w+", dir=self.case.home) as err:  # what a killed process wrote is kept
            process = subprocess.Popen(
                [harness.BIN / "cloister", "job", *map(str, command), "--receipt", self.case.home / f"{key}.receipt",
                 "--trust", self.case.home / "trust.json", "--secret-file",
                 self.case.home / f"client-{self.number}.secret", *map(str, self.case.connection)],
                cwd=self.case.home, env=harness.environment(self.case.home), stdout=subprocess.PIPE, stderr=err, text=True)
            self.process = process
            try:
                out, _ = process.communicate(timeout=300)
            finally:
                process.kill()
                process.wait()
            err.seek(0)
            said = err.read()
        for job in ACKNOWLEDGED.findall(said):
            if self.jobs.setdefault(key, job) != job:
                raise AssertionError(f"{key} is {self.jobs[key]}, and then {job}")
        return process.returncode, out, said

    def one(self, key):
        count = len(self.jobs) % 5 + 1
        payload = self.case.home / f"{key}.payload"
        payload.write_text(json.dumps({"keyword": "x", "documents": [{"name": key, "text": "x y " * count}]}))
        end = time.monotonic() + 240
        while True:
            if key in self.jobs:
                code, out, err = self.attempt(key, "result", self.jobs[key])
                if "not_found" in err:
                    raise AssertionError(f"{key}: {self.jobs[key]} was acknowledged, and is not there: {err}")
            else:
                code, out, err = self.attempt(key, "submit", "keyword-search", "--payload", payload, "--key", key)
            if code == 0:
                break
            self.retries += 1
            if time.monotonic() > end or f"{self.jobs.get(key)}: failed, " in err:
                raise AssertionError(f"{key}: {err[-1500:]}")
            time.sleep(0.2)
        if json.loads(out)["total"] != count or key not in self.jobs:
            raise AssertionError(f"{key}: {out}{err}")


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
        """Something to kill: a part of the system by name, a client, or a process of a TD."""
        name = choices.choice([*self.parts, "client", "guest", "guest"])
        if name != "guest":
            return name, None
        guests = sorted(descendants_of(self.parts["platform"].process.pid))
        return ("guest", choices.choice(guests)[0]) if guests else ("server", None)

    def kill_one(self, choices, clients):
        name, guest = self.victim(choices)
        if name == "guest":
            with contextlib.suppress(ProcessLookupError):
                os.kill(guest, signal.SIGKILL)
        elif name == "client":
            choices.choice(clients).kill()
        else:
            self.parts[name].kill()
            time.sleep(choices.uniform(0, 0.5))
            self.parts[name].start()
        return name

    def submitted(self):
        """The jobs of which the server logged that it stored them; one that it lost would be there again."""
        lines = (json.loads(line) for line in self.log("server").splitlines() if '"job.submitted"' in line)
        return [line["job"] for line in lines]

    def test_every_job_is_accounted_for(self):
        print(f"seed {SEED}, {KILLS} kills", flush=True)
        choices = random.Random(SEED)
        begin = time.monotonic()
        become_the_parent_of_orphans()
        self.build()
        version = self.push_example()
        self.write_trust(version)
        clients = [Client(self, number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        killed, seen = {}, {}
        try:
            for _ in range(KILLS):
                time.sleep(choices.uniform(0.1, 1.5))
                seen.update(descendants_of(os.getpid()))
                name = self.kill_one(choices, clients)
                killed[name] = killed.get(name, 0) + 1
                self.assertFalse([client.failure for client in clients if client.failure])
        finally:
            for client in clients:
                client.ending.set()
            for client in clients:
                client.join()
        self.assertFalse([client.failure for client in clients if client.failure])

        acknowledged = {job: key for client in clients for key, job in client.jobs.items()}
        self.assertEqual(len(acknowledged), sum(len(client.jobs) for client in clients))
        self.assertGreaterEqual(len(acknowledged), CLIENTS)
        listed = [(job["id"], job["state"]) for job in self.listed("job")["jobs"]]
        self.assertEqual(sorted(listed), sorted((job, "succeeded") for job in acknowledged))
        submitted = self.submitted()
        self.assertEqual(len(submitted), len(set(submitted)), "stored twice: it was lost in between")
        self.assertLessEqual(set(submitted), set(acknowledged))
        for job, key in acknowledged.items():
            receipt = self.home / f"{key}.receipt"
            self.ok("receipt", "verify", receipt, "--trust", self.home / "trust.json")
            self.assertEqual(json.loads(receipt.read_text())["job"]["id"], job)

        seen.update(descendants_of(os.getpid()))
        guest = {"cloister-guest", "ld-linux-x86-64"}  # the second where the guest is not static, as under sanitizers
        for names in ({"cloister"}, {"cloisterd"}, guest, {"bwrap"}):
            self.assertTrue(names & set(seen.values()), f"{names} not seen, hence not looked for at the end")
        for part in reversed(self.parts.values()):
            part.stop()
        with contextlib.suppress(AssertionError):
            self.wait_for("the end of every process", lambda: not descendants_of(os.getpid()))
        left = {pid: name for (pid, started), name in {**seen, **descendants_of(os.getpid())}.items()
                if started == harness.started_at(pid)}
        self.assertFalse(left, "still there")
        print(f"killed {killed} in {time.monotonic() - begin:.0f} s; {len(acknowledged)} jobs, each acknowledged, "
              f"finished and receipted once; {sum(client.retries for client in clients)} processes of clients gave up or "
              f"were killed, and others followed; {len(seen)} processes seen, none left", flush=True)


if __name__ == "__main__":
    harness.main()
