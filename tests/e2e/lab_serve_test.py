"""`cloister lab serve` from outside: its evidence before the command line's verifier, its seed, its log, its end."""
import base64
import json
import unittest
import urllib.request

import harness


class LabServe(harness.Case):
    def lab(self, *options, name="lab"):
        return self.start(name, harness.BIN / "cloister", "lab", "serve", "--port", "0", *options)["url"]

    def call(self, url, method, path, body=None):
        request = urllib.request.Request(url + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=harness.PATIENCE) as answer:
            return json.load(answer)

    def evidence(self, url):
        """A quote and a report, with what a verifier needs, as files."""
        quote = self.call(url, "POST", "/enclave/attest", {"enclave_name": "e", "nonce": "00" * 16})
        vm = self.call(url, "POST", "/vm/launch", {"owner": "bob"})
        report = self.call(url, "POST", f"/vm/attest?vm_id={vm['vm_id']}&nonce={'11' * 16}")
        trust = self.call(url, "GET", "/trust")
        (self.home / "quote").write_bytes(base64.b64decode(quote["quote"]))
        (self.home / "report").write_bytes(base64.b64decode(report["report"]))
        self.write("collateral.json", trust["sgx_collateral"])
        self.write("snp-chain.pem", trust["snp_chain"])
        return quote, report, trust

    def verify(self, *options):
        code, out, err = self.cloister("verify", "--json", *options)
        self.assertIn(code, (0, 2), err)
        return json.loads(out)

    def test_evidence_before_the_verifier(self):
        quote, report, trust = self.evidence(self.lab())
        for root in ("sgx_root", "snp_root"):
            self.write(f"{root}.pem", trust[root])
            self.write(f"{root}.json", json.dumps({"version": 1, "lab_roots": [trust[root]]}))
        of_quote = ["--evidence", "quote", "--collateral", "collateral.json", "--report-data", quote["report_data"]]
        of_report = ["--evidence", "report", "--cert", "snp-chain.pem", "--report-data", report["report_data"]]
        for options, root in ((of_quote, "sgx_root"), (of_report, "snp_root")):
            verdict = self.verify(*options, "--trust", f"{root}.json")
            self.assertEqual((verdict["verdict"], verdict["bound"], verdict["lab"]), ("accepted", True, True), verdict)
            refused = self.verify(*options)
            self.assertEqual((refused["verdict"], refused["error"]["code"]), ("rejected", "lab_root_not_trusted"))
        self.assertEqual(self.verify(*of_quote, "--trust", "sgx_root.json")["claims"]["mr_enclave"], quote["mrenclave"])
        self.assertEqual(self.verify(*of_report, "--trust", "snp_root.json")["claims"]["measurement"], report["launch_digest"])

    def test_launches_what_measure_measures(self):
        url = self.lab()
        for product in ("milan", "genoa", "turin"):
            source = self.call(url, "GET", f"/vm/firmware?product={product}")
            (self.home / "firmware").write_bytes(base64.b64decode(source["firmware"]))
            code, out, err = self.cloister("measure", "snp", "--json", "--ovmf", "firmware", "--vcpus", "1",
                                           "--vcpu-sig", str(source["vcpu_signature"]))
            self.assertEqual(code, 0, err)
            vm = self.call(url, "POST", "/vm/launch", {"owner": "bob", "product": product})
            self.assertIn(vm["launch_digest"], json.loads(out).values())
            report = self.call(url, "POST", f"/vm/attest?vm_id={vm['vm_id']}")
            trust = self.call(url, "GET", f"/trust?product={product}")
            (self.home / "report").write_bytes(base64.b64decode(report["report"]))
            self.write("snp-chain.pem", trust["snp_chain"])
            self.write("trust.json", json.dumps({"version": 1, "lab_roots": [trust["snp_root"]]}))
            verdict = self.verify("--evidence", "report", "--cert", "snp-chain.pem", "--trust", "trust.json", "--report-data", report["report_data"])
            self.assertEqual((verdict["verdict"], verdict["claims"]["measurement"]), ("accepted", vm["launch_digest"]), verdict)

    def test_a_seed_makes_the_same_lab(self):
        first = self.evidence(self.lab("--seed-file", "seed", name="first"))
        self.stop_all()
        second = self.evidence(self.lab("--seed-file", "seed", name="second"))
        self.assertEqual(oct((self.home / "seed").stat().st_mode & 0o777), "0o600")
        for name in ("mrenclave", "mrsigner", "report_data"):
            self.assertEqual(first[0][name], second[0][name])
        for name in ("vm_id", "measurement", "launch_digest", "report_data"):
            self.assertEqual(first[1][name], second[1][name])
        self.assertEqual(base64.b64decode(first[1]["report"])[:0x2A0], base64.b64decode(second[1]["report"])[:0x2A0])
        # Who trusted the first trusts the second: the keys are the same.
        self.write("trust.json", json.dumps({"version": 1, "lab_roots": [first[2]["sgx_root"], first[2]["snp_root"]]}))
        self.assertEqual(self.verify("--evidence", "quote", "--collateral", "collateral.json", "--trust", "trust.json")["verdict"], "accepted")
        self.assertEqual(self.verify("--evidence", "report", "--cert", "snp-chain.pem", "--trust", "trust.json")["verdict"], "accepted")
        self.stop_all()
        other = self.evidence(self.lab(name="other"))
        self.assertNotEqual(first[1]["vm_id"], other[1]["vm_id"])

    def test_the_log_is_json_and_has_no_plaintext(self):
        for name, options in (("plain", []), ("json", ["--json"])):
            url = self.lab(*options, name=name)
            self.call(url, "POST", "/enclave/compute", {"enclave_name": "e", "workload": "keyword_search",
                                                        "payload": {"documents": ["planted-a planted-b"], "keyword": "planted-b"}})
            self.call(url, "POST", "/enclave/seal", {"enclave_name": "e", "identity": "alice", "data": {"k": "planted-c"}})
            self.stop_all()
            log = self.log(name)
            self.assertNotIn("planted", log)
            lines = {line["event"]: line for line in map(json.loads, log.splitlines())}
            self.assertEqual((lines["ecall"]["enclave"], lines["ecall"]["workload"], lines["ecall"]["counts"]), ("e", "keyword_search", 1))
            self.assertEqual(len(lines["ecall"]["keyword"]), 16)
            self.assertEqual((lines["seal"]["identity"], lines["seal"]["len"]), ("alice", 17))

    def test_ends_when_told(self):
        self.lab()
        child = self.processes["lab"]
        child.terminate()
        self.assertEqual(child.wait(harness.PATIENCE), 0)

    def test_refuses_what_it_cannot_serve(self):
        port = self.lab().rsplit(":", 1)[1]
        code, _, err = self.cloister("lab", "serve", "--port", port)
        self.assertEqual(code, 1)
        self.assertIn("--port", err)
        for origin in ("*", "null", "example.org", "https://example.org/", "https://", "HTTPS://example.org"):
            code, _, err = self.cloister("lab", "serve", "--port", "0", "--allow-origin", origin)
            self.assertEqual(code, 1, origin)
            self.assertIn("--allow-origin", err)
        (self.home / "open").write_bytes(b"x" * 32)
        (self.home / "open").chmod(0o644)
        code, _, err = self.cloister("lab", "serve", "--port", "0", "--seed-file", "open")
        self.assertEqual(code, 1)
        self.assertIn("0600", err)


if __name__ == "__main__":
    unittest.main()
