#!/usr/bin/env python3
"""Measures the key broker of Confidential Containers' guests as a process: handshakes with sample and with TDX evidence, and
releases by a token; the server's CPU time of each beside that of bare operations on P-256 in the same run, its memory. One JSON
object. docs/benchmarks.md says how to read it.

usage: bench/guests.py [--out FILE] [--seconds S] [--connections N,…] [--rounds N] [--sessions N] [--cores N]
       (CLOISTER_BIN: where the programs are; --cores: how many the server may use; figures are medians of the rounds)
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/e2e"))
import harness  # noqa: E402

BIN = harness.BIN
# What the public broker's own measurement has: a policy that allows everything.
ALLOW_ALL = "package policy\nallow = true\n"


class Rig(harness.System):
    """The system of the end-to-end tests, to be measured and not judged."""
    settings = ('[limits]\nrequests_per_second_per_token = 1000000\n'
                '[key_broker]\nsample_evidence = true\nresource_policy = "resource.rego"\n')
    cores = 0

    def runTest(self):
        raise NotImplementedError

    def around(self, *command):
        wanted = ["taskset", "-c", f"0-{self.cores - 1}"] if self.cores else []
        return [*wanted, *map(str, command)]

    def start_device(self):
        self.socket = self.home / "tee.sock"
        self.platform = self.start("device", BIN / "cloister", "lab", "device", "--state", self.home / "device", "--socket",
                                   self.socket, "--program", BIN / "cloister-guest")

    def port(self):
        return self.server["url"].rsplit(":", 1)[1]

    def pid(self):
        return self.processes["server"].pid

    def resident(self):
        for line in pathlib.Path(f"/proc/{self.pid()}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no resident size")

    def load(self, what, connections, seconds, *more):
        done = subprocess.run([str(BIN / "bench-guests"), self.port(), str(self.pid()), what, str(connections), str(seconds),
                               "/kbs/v0", *map(str, more)], stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def measure(self, *arguments):
        measured = json.loads(self.load(*arguments))
        measured["per_second"] = measured.pop("per_second_milli") / 1000
        return measured

    def post(self, path, body, headers):
        request = urllib.request.Request(self.server["url"] + "/kbs/v0" + path, data=body, method="POST", headers=headers)
        with urllib.request.urlopen(request) as answer:
            return answer.read()


def sessions(rig, count):
    """Resident bytes for each session between request and attestation."""
    before = rig.resident()
    rig.load("auth", 8, count)
    return {"sessions": count, "resident_bytes_each": (rig.resident() - before) / count}


def bare():
    """CPU time in microseconds of bare operations on P-256, and of a reply sealed: in one thread, with nothing beside it."""
    done = subprocess.run([str(BIN / "bench-broker"), "--benchmark_filter=^(bare_.*|seal_reply)$", "--benchmark_format=json",
                           "--benchmark_min_time=0.3"], stdout=subprocess.PIPE, text=True, check=True)
    return {one["name"]: one["cpu_time"] / 1000 for one in json.loads(done.stdout)["benchmarks"]}


def counts(text):
    """Numbers of connections, separated by commas."""
    return [int(one) for one in text.split(",")]


def medians(rounds):
    return {key: round(statistics.median(one[key] for one in rounds), 3) for key in rounds[0]}


def measure_all(rig, asked):
    """By number of connections, what was done, and its figures; the bare operations of the same minutes."""
    works = {"handshake_sample": ("handshake",), "handshake_tdx": ("handshake", rig.socket),
             "release": ("release", rig.home / "guest.token", "default/key/1")}
    rounds, operations = {}, []
    for turn in range(asked.rounds):
        operations.append(bare())
        for connections in asked.connections:
            for name, (what, *more) in works.items():
                print(f"round {turn + 1} of {asked.rounds}, {connections} connections: {name} …", file=sys.stderr, flush=True)
                rig.measure(what, connections, 1, *more)  # what is filled once
                rounds.setdefault(connections, {}).setdefault(name, []).append(rig.measure(what, connections, asked.seconds, *more))
    operations = medians(operations)
    runs = {connections: {name: medians(of) for name, of in named.items()} for connections, named in rounds.items()}
    for named in runs.values():
        release = named["release"]
        release["times_bare_ecdh"] = round(release["server_cpu_us"] / operations["bare_ecdh"], 2)
        release["share_of_sealing"] = round(operations["seal_reply"] / release["server_cpu_us"], 2)
    return runs, operations


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=counts, default=[8, 16, 32, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--cores", type=int, default=0)
    asked = parser.parse_args()
    rig = Rig()
    rig.cores = asked.cores
    rig.setUp()
    try:
        rig.write("resource.rego", ALLOW_ALL)
        rig.start_device()
        rig.start_server()
        token = pathlib.Path(rig.server["admin_token_file"]).read_text().strip()
        rig.post("/resource/default/key/1", os.urandom(32), {"Authorization": "Bearer " + token})
        rig.write("guest.token", rig.load("token", 1, 0))
        out = {"machine": {"cpus": os.cpu_count(), "server_cores": asked.cores or os.cpu_count(), "system": platform.platform()},
               "idle_resident_bytes": rig.resident()}
        out["by_connections"], out["bare_us"] = measure_all(rig, asked)
        out["resident_bytes"] = rig.resident()
        if asked.sessions:
            print(f"{asked.sessions} sessions …", file=sys.stderr, flush=True)
            out["held"] = sessions(rig, asked.sessions)
    finally:
        rig.doCleanups()
    text = json.dumps(out, indent=2)
    if asked.out:
        asked.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
