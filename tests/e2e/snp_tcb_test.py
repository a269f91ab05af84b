"""A whole TCB story of SEV-SNP, played on a lab machine with the command line: every verdict by `cloister verify`."""
import json
import urllib.error
import urllib.request

import harness

DATA = "d0" * 64


class SnpTcbStory(harness.Case):
    """The RSA keys of the lab's AMD take seconds to make: one state for all."""

    def setUp(self):
        super().setUp()
        self.fetches = 0
        self.state = self.home / "state"
        self.trust = self.state / "snp/trust.json"
        self.policy = None

    def lab(self, *command):
        return json.loads(self.ok("lab", "tcb", "snp", *command, "--state", self.state, "--json"))

    def refused_command(self, *command, words=()):
        code, out, err = self.cloister("lab", "tcb", "snp", *command, "--state", self.state)
        self.assertEqual((code, out), (1, ""), err)
        for word in words:
            self.assertIn(word, err)

    def report(self, name, *more):
        self.ok("lab", "snp-report", "--state", self.state, "--report-data", DATA, "--output", self.home / name, *more)
        return self.home / name

    def verify(self, report, collateral, *more):
        if self.policy:
            more = (*more, "--policy", self.policy)
        code, out, err = self.cloister("verify", "--evidence", report, "--collateral", collateral, "--trust", self.trust,
                                       "--report-data", DATA, "--json", *more)
        self.assertIn(code, (0, 2), out + err)
        verdict = json.loads(out)
        self.assertTrue(verdict["lab"])
        self.assertEqual(code, 0 if verdict["verdict"] == "accepted" else 2)
        return verdict

    def fetched(self, report):
        """What a verifier gets from the service for it, now."""
        self.fetches += 1
        cache, bundle = (self.home / f"{name}-{self.fetches}" for name in ("cache", "bundle"))
        self.ok("collateral", "fetch", "--evidence", report, "--kds-url", self.service["url"], "--cache", cache, "--wait", "0")
        self.ok("collateral", "export", "--cache", cache, bundle)
        return bundle

    def accepted(self, report, *more):
        verdict = self.verify(report, self.fetched(report), *more)
        self.assertEqual(verdict["verdict"], "accepted", verdict["error"])
        return verdict

    def rejected(self, code, report, *more):
        verdict = self.verify(report, self.fetched(report), *more)
        self.assertEqual((verdict["verdict"], verdict["error"]["code"]), ("rejected", code), verdict["error"])
        return verdict

    def demand(self, **tcb):
        self.policy = self.write("policy.json", json.dumps(
            {"version": 1, "snp": {"min_tcb": {"Milan": tcb}, "require_crl": True}}))

    def test_from_a_report_to_a_revocation(self):
        self.refused_command("show", words=["not_found", "snp-report"])
        old = self.report("old")
        self.service = self.start("collateral", harness.BIN / "cloister", "lab", "collateral", "--state", self.state)
        before = self.lab("show")
        first = before["reported"]
        self.assertEqual((before["product"], before["current"], before["acts"]), ("Milan", first, []))
        self.demand(**first)
        self.assertEqual(self.accepted(old)["claims"]["reported_tcb_microcode"], first["microcode"])

        # New firmware runs, and is not committed: nobody is shown it yet.
        loaded = self.lab("load")
        newer = loaded["current"]
        self.assertEqual((newer["snp"], newer["microcode"]), (first["snp"] + 1, first["microcode"] + 1))
        self.assertEqual((loaded["committed"], loaded["reported"]), (first, first))
        self.assertEqual(self.accepted(self.report("provisional"))["claims"]["reported_tcb_snp"], first["snp"])
        self.refused_command("report", "--snp", newer["snp"], words=["invalid_argument", "committed", "INVALID_PARAM"])

        # It is committed: another VCEK signs, and a policy can demand it. The old report is authentic as ever, and refused.
        committed = self.lab("commit")
        self.assertEqual((committed["committed"], committed["reported"]), (newer, newer))
        new = self.report("new")
        self.demand(**newer)
        self.accepted(new)
        verdict = self.rejected("tcb_too_low", old)
        self.assertTrue(verdict["authentic"])
        self.refused_command("load", "--snp", first["snp"], words=["invalid_argument", "below what is committed"])

        # A host can hide that it is newer. Reported is what counts.
        self.lab("report", "--snp", first["snp"], "--microcode", first["microcode"])
        hidden = self.report("hidden")
        self.assertTrue(self.rejected("tcb_too_low", hidden)["authentic"])
        self.assertEqual(self.lab("report")["reported"], newer)

        # The authority over the chip's keys is revoked, and the list is kept back: nobody knows. Then everybody does.
        self.lab("withhold")
        self.assertIsNone(self.lab("show")["ask_revoked"])
        self.assertIsNotNone(self.lab("revoke")["ask_revoked"])
        self.accepted(new)
        self.assertIsNone(self.lab("release")["list_withheld_since"])
        for report in (new, old):
            verdict = self.rejected("ca_certificate_revoked", report)
            self.assertFalse(verdict["authentic"])
        self.refused_command("revoke", words=["invalid_argument", "revoked already"])

        # The provider's key has another authority; what comes beside a report says the same.
        folder = self.home / "beside"
        loaded_key = self.report("vlek", "--vlek", "--collateral", folder)
        self.assertEqual(self.verify(loaded_key, folder)["verdict"], "accepted")
        self.lab("revoke", "--issuer", "asvk")
        self.report("vlek", "--vlek", "--collateral", folder)
        self.assertEqual(self.verify(loaded_key, folder)["error"]["code"], "ca_certificate_revoked")

        # Other products go on.
        self.policy = None
        self.accepted(self.report("turin", "--product", "turin"))
        self.assertEqual([act["act"] for act in self.lab("show")["acts"]],
                         ["load", "commit", "set-reported", "set-reported", "withhold", "revoke", "release", "revoke"])
        self.assertEqual(self.lab("show", "--product", "turin")["acts"], [])
        shown = self.ok("lab", "tcb", "snp", "show", "--state", self.state)
        self.assertIn("ASK:        revoked", shown)
        self.check_mistakes()
        self.check_clock()

    def check_mistakes(self):
        for command, words in ((["load", "--fmc", "2"], ["Milan has no FMC"]),
                               (["load", "--snp", "256"], ["--snp"]),
                               (["load", "--product", "rome"], ["--product"]),
                               (["revoke", "--issuer", "ark"], ["--issuer"]),
                               (["release"], ["no list is withheld"])):
            self.refused_command(*command, words=words)
        story = self.state / "snp/tcb.json"
        whole = story.read_text()
        story.write_text("{}")
        self.refused_command("show", words=["configuration_invalid", "tcb.json"])
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(self.service["url"] + "/vcek/v1/Milan/crl", timeout=harness.PATIENCE)
        self.assertEqual(refused.exception.code, 404)
        refused.exception.close()
        self.assertIn("lab_collateral_story_broken", self.log("collateral"))
        story.write_text(whole)

    def check_clock(self):
        """The clock of a platform in the same state is AMD's too: a list that is kept back grows old."""
        self.start("platform", harness.BIN / "cloister", "lab", "platform", "--state", self.state)
        turin = self.report("turin", "--product", "turin")
        self.lab("withhold", "--product", "turin")
        now = self.lab("show")["now"]
        later = f"{int(now[:4]) + 2}{now[4:19]}Z".replace("-02-29", "-02-28")
        self.ok("lab", "clock", "--state", self.state, "--set", later)
        self.assertGreaterEqual(self.lab("show")["now"], later[:10])
        verdict = self.verify(turin, self.fetched(turin), "--at", later)
        self.assertEqual((verdict["verdict"], verdict["error"]["code"]), ("rejected", "vek_crl_expired"))
        self.lab("release", "--product", "turin")
        verdict = self.verify(turin, self.fetched(turin), "--at", self.lab("show")["now"])
        self.assertEqual(verdict["verdict"], "accepted", verdict["error"])


if __name__ == "__main__":
    harness.main()
