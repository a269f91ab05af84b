#!/usr/bin/env python3
"""`cloister measure snp` beside sev-snp-measure (PyPI), as processes on the same files, in turns. docs/benchmarks.md.

usage: bench/measure.py [--out FILE] [--rounds N]
Environment: CLOISTER_BIN (where `cloister` is); SEV_SNP_MEASURE (that program; else the one on the PATH).
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
import uuid

MIB = 1 << 20


def entry(guid, data):
    return data + struct.pack("<H", len(data) + 18) + uuid.UUID(guid).bytes_le


def firmware(size):
    """Noise with a table at its end that asks for the hashes of a kernel."""
    metadata = b"ASEV" + struct.pack("<6I", 28, 1, 1, 0x810000, 0x1000, 0x10)
    entries = (entry("00f771de-1a7e-4fcb-890e-68c77e2fb44e", struct.pack("<I", 0x80B004)) +
               entry("7255371f-3a3b-4b04-927b-1da6efa8d454", struct.pack("<II", 0x810C00, 0x400)))
    rest = len(metadata) + len(entries) + 22 + 18 + 32
    table = entries + entry("dc886566-984a-4798-a75e-5585a7bf67cc", struct.pack("<I", rest))
    table += struct.pack("<H", len(table) + 18) + uuid.UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le + bytes(32)
    end = metadata + table
    return os.urandom(size - len(end)) + end


def run(program, options):
    begin = time.monotonic()
    done = subprocess.run([*map(str, program), *map(str, options)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{program}: {done.stderr}")
    return time.monotonic() - begin, done.stdout.strip()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ours = [pathlib.Path(os.environ["CLOISTER_BIN"]) / "cloister", "measure", "snp"]
    theirs = os.environ.get("SEV_SNP_MEASURE") or shutil.which("sev-snp-measure")
    if not theirs:
        print("SKIPPED: sev-snp-measure is not installed (pip install sev-snp-measure): ours alone is timed")
    taken = {"cloister": [], "sev-snp-measure": []}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "ovmf").write_bytes(firmware(16 * MIB))
        (folder / "kernel").write_bytes(os.urandom(48 * MIB))
        common = ["--mode", "snp", "--ovmf", folder / "ovmf", "--kernel", folder / "kernel", "--append", "console=ttyS0", "--vcpus", 4,
                  "--vcpu-type", "EPYC-Milan", "--guest-features", "0x1"]
        for _ in range(options.rounds):
            seconds, digest = run(ours, common)
            taken["cloister"].append(seconds)
            if not theirs:
                continue
            seconds, other = run([theirs], common)
            taken["sev-snp-measure"].append(seconds)
            if digest != other:
                raise SystemExit(f"cloister computes {digest}, sev-snp-measure {other}")
    measured = {"firmware_mib": 16, "kernel_mib": 48, "load_before": os.getloadavg()[0],
                "median_s": {name: statistics.median(all_s) for name, all_s in taken.items() if all_s}, "all_s": taken}
    text = json.dumps(measured, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


main()
