#!/usr/bin/env python3
"""Measures the whole system as processes; one JSON object. docs/benchmarks.md says how to read it.

usage: bench/run.py [--out FILE] [--channels N] [--seconds S] [--jobs N]      (CLOISTER_BIN: where the programs are)
"""
import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/e2e"))
import harness  # noqa: E402

BIN = harness.BIN
MOST_INSTANCES = 64  # of one version


class Rig(harness.System):
    """The system of the end-to-end tests, to be measured and not judged."""
    settings = "[limits]\nrequests_per_second_per_token = 1000000\n"  # what is measured is the server, not its limit

    def runTest(self):
        raise NotImplementedError

    def start_platform(self):
        self.platform = self.start("platform", BIN / "cloister", "lab", "platform", "--state", self.home / "platform",
                                   "--max-tds", 1024)

    def start_large_validator(self):
        key = self.home / "validator.key"
        self.ok("validator", "enrol", self.ok("validator", "hotkey", key).strip(), *self.connection)
        self.start("validator", BIN / "cloister", "validator", "run", "--server", self.server["url"], "--platform",
                   self.platform["control"], "--guest", BIN / "cloister-guest", "--hotkey", key, "--data",
                   self.home / "validator-data", "--capacity", 1024)

    def metric(self, series):
        request = urllib.request.Request(self.server["url"] + "/metrics")
        request.add_header("Authorization", "Bearer " + pathlib.Path(self.server["admin_token_file"]).read_text().strip())
        with urllib.request.urlopen(request) as answer:
            found = re.search(rf"^{re.escape(series)} (\S+)$", answer.read().decode(), re.M)
        return float(found[1]) if found else 0.0

    def resident(self):
        return int(self.metric("process_resident_memory_bytes"))

    def port(self):
        return int(self.server["url"].rsplit(":", 1)[1])


def run(*command):
    done = subprocess.run([*map(str, command)], stdout=subprocess.PIPE, text=True, check=True)
    measured = json.loads(done.stdout)
    measured["per_second"] = measured.pop("per_second_milli") / 1000
    return measured


def time_to_ready(rig):
    """Seconds from the start of the program to its first line, and a served /ready: a new data directory, then an old."""
    taken = []
    for _ in range(5):
        begin = time.monotonic()
        rig.start_server()
        urllib.request.urlopen(rig.server["url"] + "/ready").read()
        taken.append(time.monotonic() - begin)
        end(rig)
    return {"first_s": taken[0], "again_median_s": statistics.median(taken[1:])}


def end(rig):
    child = rig.children.pop()
    child.terminate()
    child.wait()
    child.stdout.close()


def requests(rig, options):
    """The same load, in turns, on a bare Beast server and on routes of cloisterd."""
    bare = rig.start("beast", BIN / "bench-beast")
    rounds = {"bare_beast": [], "public_version": [], "authorised_challenges": []}
    for _ in range(3):
        for name, port, path, token in (("bare_beast", bare["port"], "/", []),
                                        ("public_version", rig.port(), "/version", []),
                                        ("authorised_challenges", rig.port(), "/api/v1/challenges",
                                         [rig.server["admin_token_file"]])):
            rounds[name].append(run(BIN / "bench-http", port, path, 16, options.seconds, *token))
    end(rig)
    return {name: sorted(some, key=lambda one: one["per_second"])[1] for name, some in rounds.items()}


def jobs(rig, version, options):
    rig.write("payload", json.dumps({"keyword": "cat", "documents": [{"name": "n", "text": "the cat and the cat"}]}))
    out = {}
    for at_a_time in (1, 8):
        out[f"at_a_time_{at_a_time}"] = run(BIN / "bench-jobs", rig.server["url"], rig.server["admin_token_file"],
                                            rig.home / "trust.json", "keyword-search", version["id"],
                                            rig.home / "payload", options.jobs, at_a_time)
    return out


def demo(rig):
    """Seconds from the start of `cloister demo` to its end, each in an empty folder: the main job, start to finish."""
    taken = []
    for number in range(5):
        folder = rig.home / f"demo-{number}"
        folder.mkdir()
        rig.write("input.txt", "the cat and the cat\n")
        begin = time.monotonic()
        rig.ok("demo", "--input", rig.home / "input.txt", "--keyword", "cat", cwd=folder, timeout=300)
        taken.append(time.monotonic() - begin)
        if not (folder / "receipt.json").exists():
            raise AssertionError("the demo left no receipt")
    return {"median_s": statistics.median(taken), "all_s": taken}


def channels(rig, options):
    """What the server needs for each further channel that is attested, relayed and idle."""
    series = 'cloister_channels{role="instance"}'
    before, some = rig.resident(), rig.metric(series)
    for number, left in enumerate(range(options.channels, 0, -MOST_INSTANCES)):
        rig.ok("challenge", "push", rig.home / "layout", "--id", f"idle-{number}", "--secret",
               "index-salt=keyword-search/index-salt", "--instances", min(left, MOST_INSTANCES), *rig.connection)
    begin = time.monotonic()
    while rig.metric(series) - some < options.channels and time.monotonic() - begin < 3600:
        time.sleep(1)
    took = time.monotonic() - begin
    time.sleep(5)
    count = rig.metric(series) - some
    return {"channels": count, "started_in_s": took, "server_bytes_each": (rig.resident() - before) / max(count, 1)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--channels", type=int, default=0, help="how many idle channels to hold (0: leave this out)")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--jobs", type=int, default=300)
    options = parser.parse_args()
    rig = Rig()
    rig.setUp()
    try:
        measured = {"machine": {"cores": os.cpu_count(), "kernel": platform.release(), "load_before": os.getloadavg()[0]},
                    "demo": demo(rig)}
        rig.start_platform()
        measured["time_to_ready"] = time_to_ready(rig)
        rig.start_server()
        time.sleep(2)
        measured["idle_resident_bytes"] = rig.resident()
        measured["requests"] = requests(rig, options)
        rig.start_large_validator()
        rig.wait_verified()
        version = rig.push_example()
        rig.write_trust(version)
        rig.wait_for("a ready instance", lambda: rig.metric('cloister_instances{state="ready"}') == 1)
        measured["jobs"] = jobs(rig, version, options)
        if options.channels:
            measured["channels"] = channels(rig, options)
        measured["machine"]["load_after"] = os.getloadavg()[0]
    finally:
        rig.doCleanups()
    text = json.dumps(measured, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


main()
