#!/usr/bin/env python3
"""Runs the tests of the Rust client, as ctest does.

usage: run_tests.py crate|lab CARGO TARGET_DIR

`crate`: those that need nothing. `lab`: those against the `cloister lab serve` and `lab device` of CLOISTER_BIN; exit
code 77 (skipped) where one of them is not there, although the tests of the other ran.
"""
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77


def cargo(program, target, *what, **variables):
    environment = {key: value for key, value in os.environ.items() if key not in ("CARGO_TARGET_DIR", "CARGO_BUILD_TARGET")}
    return subprocess.run([program, "test", "--locked", "--offline", "--target-dir", os.path.abspath(target), *what], cwd=HERE,
                          env={**environment, **variables}).returncode


def main(part, program, target):
    if part == "crate":
        vectors = os.environ.get("CLOISTER_VECTORS", str(HERE.parent.parent.parent / "shared/vectors"))
        return (cargo(program, target, "--lib", "--", "--show-output", CLOISTER_VECTORS=vectors)
                or cargo(program, target, "--doc"))
    lab = pathlib.Path(os.environ["CLOISTER_BIN"]) / "cloister"
    if not lab.exists():
        print(f"SKIPPED: there is no {lab}")
        return SKIPPED
    missing = False
    for command in ("serve", "device"):
        if f"lab {command}" not in subprocess.run([lab, "lab", command, "--help"], capture_output=True, text=True).stdout:
            print(f"SKIPPED IN PART: there is no `{lab} lab {command}`", flush=True)
            missing = True
    return cargo(program, target, "--test", "lab", CLOISTER_LAB_BINARY=str(lab)) or (SKIPPED if missing else 0)


sys.exit(main(*sys.argv[1:]))
