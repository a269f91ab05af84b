"""A whole TCB story, played on a lab platform with the command line: every verdict by `cloister verify`."""
import json
import pathlib
import urllib.request

import harness


class TcbStory(harness.Case):
    def setUp(self):
        super().setUp()
        self.fetches = 0
        self.state = self.home / "platform"
        self.run_platform()
        root = pathlib.Path(self.platform["root"]).read_text()
        self.write("trust.json", json.dumps({"version": 1, "lab_roots": [root]}))
        self.service = self.start("collateral", harness.BIN / "cloister", "lab", "collateral", "--state", self.state)

    def run_platform(self):
        self.platform = self.start("platform", harness.BIN / "cloister", "lab", "platform", "--state", self.state)

    def stop_platform(self):
        self.processes["platform"].terminate()
        self.assertEqual(self.processes["platform"].wait(harness.PATIENCE), 0)

    def lab(self, *command):
        return json.loads(self.ok("lab", *command, "--state", self.state, "--json"))

    def quote(self, name, *more):
        self.ok("lab", "quote", "--state", self.state, "--program", harness.BIN / "cloister-guest", "--output",
                self.home / name, *more)
        return self.home / name

    def published(self):
        """The TCB info that the service has of this platform, by Intel's route."""
        fmspc = json.loads(json.loads((self.state / "collateral.json").read_text())["tcb_info"])["fmspc"]
        url = f"{self.service['url']}/tdx/certification/v4/tcb?fmspc={fmspc}"
        with urllib.request.urlopen(url, timeout=harness.PATIENCE) as answer:
            return json.load(answer)["tcbInfo"]

    def verify(self, quote, *more):
        """Exit code and verdict, by collateral that is fetched from the service for it."""
        self.fetches += 1
        cache, bundle = (self.home / f"{name}-{self.fetches}" for name in ("cache", "bundle"))
        self.ok("collateral", "fetch", "--evidence", quote, "--url", self.service["url"], "--cache", cache, "--wait", "0")
        self.ok("collateral", "export", "--cache", cache, bundle)
        code, out, err = self.cloister("verify", "--evidence", quote, "--collateral", bundle, "--trust", "trust.json",
                                       "--json", *more)
        self.assertIn(code, (0, 2), out + err)
        return code, json.loads(out)

    def status(self, quote, *more):
        code, verdict = self.verify(quote, *more)
        self.assertTrue(verdict["authentic"], verdict["error"])
        self.assertTrue(verdict["lab"])
        return verdict["tcb"]["status"]

    def test_a_recovery_from_its_advisory_to_a_revocation(self):
        old = self.quote("old")
        self.assertEqual(self.status(old), "UpToDate")
        self.assertEqual(self.published()["tcbEvaluationDataNumber"], 17)

        # An advisory is published: the very same quote is out of date, and says for what.
        advised = self.lab("tcb", "advise")
        self.assertFalse(advised["up_to_date"])
        self.assertEqual(self.published()["tcbEvaluationDataNumber"], 18)
        code, verdict = self.verify(old)
        self.assertEqual((verdict["tcb"]["status"], verdict["tcb"]["advisory_ids"]), ("OutOfDate", ["LAB-SA-00002"]))
        self.assertEqual(verdict["tcb"]["evaluation_data_numbers"]["tcb_info"], 18)
        self.assertEqual(self.status(self.quote("still-old")), "OutOfDate")

        # The machine is updated while it is down, and not before.
        code, _, err = self.cloister("lab", "tcb", "update", "--state", self.state)
        self.assertEqual((code, "conflict" in err, "stopped" in err), (1, True, True), err)
        self.stop_platform()
        updated = self.lab("tcb", "update")
        self.assertTrue(updated["up_to_date"])
        self.assertNotEqual(updated["pck_serial"], advised["pck_serial"])
        self.run_platform()
        new = self.quote("new", "--format", "v5")
        self.assertEqual(self.status(new), "UpToDate")
        self.assertEqual(self.status(old), "OutOfDate")

        # Its certificate is revoked: nothing that it signed counts any more.
        self.lab("tcb", "revoke")
        code, verdict = self.verify(new)
        self.assertEqual((code, verdict["verdict"], verdict["error"]["code"]), (2, "rejected", "pck_certificate_revoked"))
        self.assertEqual(self.status(old), "OutOfDate")  # it has another certificate

        # The next recovery gives the machine a new one.
        self.lab("tcb", "advise", "--part", "qe", "--advisory", "LAB-SA-QE")
        self.lab("tcb", "advise", "--part", "platform")
        self.stop_platform()
        self.lab("tcb", "update")
        self.run_platform()
        self.assertEqual(self.status(self.quote("newest")), "UpToDate")
        acts = [act["act"] for act in self.lab("tcb", "show")["acts"]]
        self.assertEqual(acts, ["advise", "update", "revoke-pck", "advise", "advise", "update"])

    def test_collateral_that_is_kept_back_grows_old(self):
        quote = self.quote("quote")
        self.lab("tcb", "withhold")
        self.lab("tcb", "advise", "--part", "module")
        self.assertEqual(self.published()["tcbEvaluationDataNumber"], 17)
        self.assertEqual(self.status(quote), "UpToDate")  # the flaw is known, and nobody is told
        self.lab("tcb", "release")
        self.assertEqual(self.published()["tcbEvaluationDataNumber"], 18)
        code, verdict = self.verify(quote)
        self.assertEqual((verdict["tcb"]["status"], verdict["tcb"]["module"]), ("OutOfDate", "OutOfDate"))
        self.assertTrue(self.lab("tcb", "update-module")["up_to_date"])  # while the platform runs
        quote = self.quote("quote")
        self.assertEqual(self.status(quote), "UpToDate")

        # The clock goes on and the service does not: what it has is over.
        withheld = self.lab("tcb", "withhold")["withheld_since"]
        set_to = f"{int(withheld[:4]) + 1}{withheld[4:19]}Z".replace("-02-29", "-02-28")
        clock = self.lab("clock", "--set", set_to)
        self.assertGreaterEqual(clock["now"], set_to[:10])
        code, verdict = self.verify(quote, "--at", set_to)
        self.assertEqual((code, verdict["verdict"]), (2, "rejected"))
        self.assertIn("expired", verdict["error"]["code"])
        self.lab("tcb", "release")
        self.assertGreaterEqual(self.published()["issueDate"], set_to[:10])
        code, verdict = self.verify(quote, "--at", self.lab("tcb", "show")["now"])
        self.assertTrue(verdict["authentic"], verdict["error"])

    def test_mistakes_are_named(self):
        for arguments, words in (
                (["lab", "tcb", "show", "--state", self.home / "absent"], ["not_found", "lab platform"]),
                (["lab", "tcb", "release", "--state", self.state], ["invalid_argument", "withheld"]),
                (["lab", "tcb", "advise", "--state", self.state, "--part", "bios"], ["--part"]),
                (["lab", "tcb", "advise", "--state", self.state, "--advisory", "a b"], ["advisory"]),
                (["lab", "clock", "--state", self.state, "--set", "soon"], ["soon"]),
                (["lab", "clock", "--state", self.state], ["--set", "--real"]),
                (["lab", "quote", "--state", self.state, "--program", "absent", "--output", "q"], ["absent"]),
                (["lab", "quote", "--state", self.state, "--program", harness.BIN / "cloister-guest", "--output", "q",
                  "--report-data", "00"], ["report-data"])):
            code, out, err = self.cloister(*arguments)
            self.assertEqual((code, out), (1, ""), f"{arguments}: {err}")
            for word in words:
                self.assertIn(word, err)
        shown = self.ok("lab", "tcb", "show", "--state", self.state)
        self.assertIn("up to date", shown)


if __name__ == "__main__":
    harness.main()
