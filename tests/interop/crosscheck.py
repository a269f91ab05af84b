#!/usr/bin/env python3
"""Compares `cloister verify` with independent verifiers, case by case.

The verifiers are small programs around published libraries: `rust` (dcap-qvl, sev) and `go` (go-tdx-guest,
go-sev-guest), built here when their toolchain is present. A disagreement that docs/verdicts.md does not explain fails,
and so does a line there that no disagreement bears out. Exit code 77: nothing could be compared.

Environment: CLOISTER_BIN (folder of the programs), CLOISTER_VECTORS, CLOISTER_INTEROP_BUILD (where to build),
CLOISTER_INTEROP_LAB_CASES (the program that writes the lab's cases).
"""
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

SKIPPED = 77
HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent.parent
ROOT = SOURCE / "src/attestation/anchors/intel_sgx_root_ca.der"
# The SNP reports among the vectors whose whole chain is public: file, chain, endorsement key, product, time.
SNP = [
    ("snp/tav/milan_attestation_report.bin", "milan", "snp/tav/milan_vcek.pem", "2026-03-01T00:00:00Z"),
    ("snp/tav/genoa_attestation_report.bin", "genoa", "snp/tav/genoa_vcek.pem", "2026-03-01T00:00:00Z"),
    ("snp/trustee/test-report.bin", "milan", "snp/trustee/test-vcek.der", "2025-06-01T00:00:00Z"),
    ("snp/trustee/test-vlek-report.bin", "milan", "snp/trustee/test-vlek.der", "2025-06-01T00:00:00Z"),
    ("snp/go-sev-guest/attestation.bin", "milan", "snp/go-sev-guest/vcek.testcer", "2025-06-01T00:00:00Z"),
]
# How verifiers say that no TCB level matches, for which Intel has a status.
NO_LEVEL = re.compile(r"no matching tcb level", re.IGNORECASE)


def unix(time):
    return int(datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp())


def vectors():
    folder = Path(os.environ.get("CLOISTER_VECTORS", SOURCE.parent / "shared/vectors"))
    return folder if folder.is_dir() else None


def pem_blocks(text):
    return [base64.b64decode(body) for body in
            re.findall(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", text, re.DOTALL)]


def quote_cases(folder):
    base = folder / "attestation/dcap-cases"
    for case in json.loads((base / "cases.json").read_text()):
        yield {"id": case["id"], "kind": "quote", "evidence": str(base / case["quote"]),
               "collateral": str(base / case["bundle"]), "root": str(ROOT), "time": case["time"]}


def lab_cases(work):
    """The lab's evidence, under a vendor's names for the others and under its own for us."""
    done = subprocess.run([os.environ["CLOISTER_INTEROP_LAB_CASES"], str(work)], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def snp_cases(folder, work):
    base = folder / "attestation"
    for report, product, key, time in SNP:
        name = report.replace("/", "__")
        vlek = "vlek" in key
        ask, ark, asvk = pem_blocks((base / f"snp/roots/{product}_ask_ark_asvk.pem").read_text())
        raw = (base / key).read_bytes()
        parts = {"vek": pem_blocks(raw.decode())[0] if raw.startswith(b"-----") else raw,
                 "ask": asvk if vlek else ask, "ark": ark}
        case = {"id": name, "kind": "snp", "evidence": str(base / report), "product": product.capitalize(), "vlek": vlek,
                "time": unix(time)}
        for part, der in parts.items():
            path = work / f"{name}.{part}.der"
            path.write_bytes(der)
            case[part] = str(path)
        yield case


def build(tool, folder, fetch, compile, environment, program):
    """The program, or nothing and why: no toolchain, or none that can get the libraries. A broken build raises."""
    if not shutil.which(tool):
        return None, f"{tool} is not installed"
    fetched = subprocess.run(fetch, cwd=folder, env=environment, capture_output=True, text=True)
    if fetched.returncode != 0:
        return None, f"{' '.join(fetch)}: {fetched.stderr.strip().splitlines()[-1:]}"
    subprocess.run(compile, cwd=folder, env=environment, check=True)
    return program, None


def build_rust(folder):
    environment = dict(os.environ, CARGO_TARGET_DIR=str(folder / "rust"))
    return build("cargo", HERE / "rust", ["cargo", "fetch", "--locked", "--quiet"],
                 ["cargo", "build", "--release", "--locked", "--quiet"], environment,
                 folder / "rust/release/cloister-interop")


def build_go(folder):
    program = folder / "go/cloister-interop"
    return build("go", HERE / "go", ["go", "mod", "download"],
                 ["go", "build", "-mod=readonly", "-o", str(program), "."], dict(os.environ), program)


def ask(program, cases):
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([str(program)], input=lines, capture_output=True, text=True, check=True, timeout=300)
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        if answer["verdict"] == "reject" and NO_LEVEL.search(answer["detail"]):
            answer["verdict"] = "NotSupported"
        yield answer


def ours(case):
    """The TCB status of an authentic quote, "authentic" for an SNP report, else "reject"; and why."""
    at = datetime.fromtimestamp(case["time"], timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    command = [str(Path(os.environ["CLOISTER_BIN"]) / "cloister"), "verify", "--json", "--at", at,
               "--evidence", case.get("ours", case)["evidence"]]
    if "ours" in case:
        command += ["--collateral", case["ours"]["collateral"], "--trust", case["ours"]["trust"]]
    elif case["kind"] == "quote":
        command += ["--collateral", case["collateral"]]
    else:
        command += ["--cert", case["vek"], "--cert", case["ask"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ, HOME="/nonexistent"))
    if done.returncode not in (0, 2):
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    verdict = json.loads(done.stdout)
    error = verdict["error"] or {"code": "", "detail": ""}
    if not verdict["authentic"]:
        return "reject", f"{error['code']}: {error['detail']}"
    return (verdict["tcb"]["status"] if case["kind"] == "quote" else "authentic"), ""


def explained():
    """The table of docs/verdicts.md: (verifier, case) to (theirs, ours)."""
    out = {}
    for line in (SOURCE / "docs/verdicts.md").read_text().splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if len(cells) == 5 and cells[0] in ("dcap-qvl", "go-tdx-guest", "sev", "go-sev-guest"):
            out[cells[0], cells[1]] = (cells[2], cells[3])
    return out


def main():
    folder = vectors()
    if folder is None:
        print("SKIPPED: public vectors not found: set CLOISTER_VECTORS to their folder")
        return SKIPPED
    work = Path(os.environ.get("CLOISTER_INTEROP_BUILD", SOURCE / "build/interop"))
    (work / "cases").mkdir(parents=True, exist_ok=True)
    cases = [*quote_cases(folder), *lab_cases(work / "cases"), *snp_cases(folder, work / "cases")]
    verdicts = {case["id"]: ours(case) for case in cases}
    to_refuse = {case["id"] for case in cases if case.get("refuse")}
    known = explained()
    used, failures, compared = set(), [], 0
    for build_one in (build_rust, build_go):
        program, missing = build_one(work)
        if program is None:
            print(f"SKIPPED: {build_one.__name__[6:]}: {missing}")
            continue
        answers = list(ask(program, cases))
        for answer in answers:
            name, verifier, theirs = answer["id"], answer["verifier"], answer["verdict"]
            compared += 1
            mine, why = verdicts[name]
            line = f"{verifier:13} {name}: theirs {theirs}, ours {mine}"
            if name in to_refuse and "reject" not in (theirs, mine):
                failures.append(f"{line}: both accept what was changed")
            elif theirs == mine:
                print(f"agree     {line}")
            elif known.get((verifier, name)) == (theirs, mine):
                used.add((verifier, name))
                print(f"explained {line}")
            else:
                failures.append(f"{line} ({answer['detail'] or why})")
        stale = sorted(key for key in known if key not in used and key[0] in {answer["verifier"] for answer in answers})
        failures += [f"{key[0]} {key[1]}: docs/verdicts.md explains a disagreement that there is not" for key in stale]
    for failure in failures:
        print(f"DISAGREE  {failure}")
    print(f"{compared} verdicts compared, {len(used)} disagreements explained, {len(failures)} not")
    if failures:
        return 1
    return 0 if compared else SKIPPED


if __name__ == "__main__":
    sys.exit(main())
