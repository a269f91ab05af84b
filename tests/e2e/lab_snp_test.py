"""The lab's SEV-SNP by the command line alone: reports, their verification, and the key distribution service."""
import json
import pathlib
import urllib.error
import urllib.request

import harness

DATA = "d0" * 64
OVMF = pathlib.Path("/usr/share/ovmf/OVMF.fd")


class LabSnp(harness.Case):
    """The RSA keys of the lab's AMD take seconds to make: one state for all."""

    def setUp(self):
        super().setUp()
        self.state = self.home / "state"
        self.report = self.home / "report.bin"
        self.collateral = self.home / "collateral"
        self.trust = self.state / "snp/trust.json"

    def make(self, *more):
        return self.ok("lab", "snp-report", "--state", self.state, "--report-data", DATA, "--output", self.report,
                       "--collateral", self.collateral, *more)

    def verify(self, *more):
        code, out, err = self.cloister("verify", "--evidence", self.report, "--json", *more)
        self.assertIn(code, (0, 2), err)
        return json.loads(out)

    def accepted(self, *more):
        verdict = self.verify("--collateral", self.collateral, "--trust", self.trust, "--report-data", DATA, *more)
        self.assertEqual(verdict["verdict"], "accepted", verdict["error"])
        self.assertTrue(verdict["authentic"] and verdict["bound"] and verdict["lab"])
        return verdict

    def refused(self, code, *more):
        verdict = self.verify(*more)
        self.assertEqual((verdict["verdict"], verdict["authentic"]), ("rejected", False))
        self.assertEqual(verdict["error"]["code"], code, verdict["error"])

    def test_reports_hold_under_the_labs_root_alone(self):
        for product, version, key in (("milan", 2, []), ("Milan", 3, []), ("genoa", 5, []), ("turin", 5, []),
                                      ("genoa", 3, ["--vlek"]), ("turin", 3, ["--vlek"])):
            with self.subTest(product=product, version=version, key=key):
                for old in self.collateral.glob("*"):
                    old.unlink()
                said = self.make("--product", product, "--report-version", version, *key)
                self.assertIn("LAB ONLY - NOT HARDWARE", said)
                self.assertEqual(self.report.stat().st_size, 1184)
                verdict = self.accepted()
                self.assertEqual(verdict["tee"], "snp")
                self.assertEqual(verdict["claims"]["report_data"], DATA)
                self.refused("lab_root_not_trusted", "--collateral", self.collateral)
                self.refused("lab_root_not_trusted", "--collateral", self.collateral, "--trust-root",
                             self.state / f"snp/ark-{product.lower()}.pem")
        changed = bytearray(self.report.read_bytes())
        changed[0x90] ^= 1
        self.report.write_bytes(changed)
        self.refused("report_signature_invalid", "--collateral", self.collateral, "--trust", self.trust)
        self.check_other_state()
        self.check_service()
        self.check_firmware()

    def check_other_state(self):
        """Another lab of the same names vouches for nothing here."""
        own_trust = self.trust
        self.make()
        self.state = self.home / "other"
        self.make("--json")
        self.refused("lab_root_not_trusted", "--collateral", self.collateral, "--trust", own_trust)
        self.state = self.home / "state"

    def check_service(self):
        """What a verifier fetches by AMD's own routes is enough."""
        self.make("--product", "genoa")
        service = self.start("collateral", harness.BIN / "cloister", "lab", "collateral", "--state", self.state)
        self.assertTrue(service["lab"])
        cache, bundle = self.home / "cache", self.home / "bundle"
        self.ok("collateral", "fetch", "--evidence", self.report, "--kds-url", service["url"], "--cache", cache, "--wait", 0)
        self.ok("collateral", "export", bundle, "--cache", cache)
        self.collateral = bundle
        self.accepted()
        hwid = self.report.read_bytes()[0x1A0:0x1E0].hex()
        at = lambda path: urllib.request.urlopen(service["url"] + path).status
        self.assertEqual(at("/vlek/v1/Milan/cert_chain"), 200)
        self.assertEqual(at("/vlek/v1/Turin/crl"), 200)
        for path in (f"/vcek/v1/Genoa/{hwid}?blSPL=99&teeSPL=0&snpSPL=23&ucodeSPL=84", "/sgx/certification/v4/rootcacrl"):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                at(path)
            self.assertEqual(refused.exception.code, 404)
            refused.exception.close()

    def check_firmware(self):
        """A guest of Debian's own firmware is measured as `cloister measure` says."""
        self.collateral = self.home / "collateral"
        for wrong in (["--report-data", "00"], ["--product", "rome"], ["--report-version", "4"], ["--vcpus", "0"],
                      ["--ovmf", self.report]):
            code, out, err = self.cloister("lab", "snp-report", "--state", self.state, "--report-data", DATA, "--output",
                                           self.report, *wrong)
            self.assertEqual((code, out), (1, ""), err)
        if not OVMF.exists():
            self.skipTest("Debian's package ovmf is not installed")
        for old in self.collateral.glob("*"):
            old.unlink()
        self.make("--ovmf", OVMF, "--vcpus", 2)
        digest = self.ok("measure", "snp", "--ovmf", OVMF, "--vcpus", 2, "--vcpu-type", "EPYC-Milan").strip()
        self.assertEqual(self.accepted()["claims"]["measurement"], digest)


if __name__ == "__main__":
    harness.main()
