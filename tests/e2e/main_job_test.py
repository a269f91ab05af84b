"""The main job from outside: `cloister demo`, its receipt, and what must be refused."""
import json
import pathlib
import random
import re

import harness


class Demo(harness.Case):
    def demo(self, folder="run", keyword="cat"):
        here = self.home / folder
        here.mkdir()
        (here / "a.txt").write_text("the cat sat on the mat with the other cat\n")
        (here / "b.txt").write_text("no such animal here\n")
        out = self.ok("demo", "--input", "a.txt", "--input", "b.txt", "--keyword", keyword, cwd=here)
        return here, out

    def test_counts_and_leaves_a_receipt_that_holds(self):
        here, out = self.demo()
        self.assertRegex(out, r"a\.txt: 2\n")
        self.assertRegex(out, r"b\.txt: 0\n")
        verdict = json.loads(self.ok("receipt", "verify", "receipt.json", "--trust", "trust.json", "--json", cwd=here))
        self.assertEqual(verdict["verdict"], "accepted")
        self.assertTrue(verdict["lab"])
        self.assertRegex(verdict["policy_digest"], "^[0-9a-f]{64}$")
        # The receipt holds the key that opens the commitments: its owner's alone, whatever the umask.
        self.assertEqual((here / "receipt.json").stat().st_mode & 0o777, 0o600)
        self.assertFalse(list(self.home.glob("**/cloister-demo-*")))

    def test_receipt_is_refused_without_trust_and_with_anothers(self):
        here, _ = self.demo()
        code, out, _ = self.cloister("receipt", "verify", "receipt.json", cwd=here)
        self.assertEqual((code, "trust_not_given" in out, "--trust" in out), (2, True, True))
        other, _ = self.demo("other")
        code, out, _ = self.cloister("receipt", "verify", "receipt.json", "--trust", other / "trust.json", cwd=here)
        self.assertEqual(code, 2, out)

    def test_receipt_is_refused_when_anything_changes(self):
        here, _ = self.demo()
        text = (here / "receipt.json").read_text()
        places = random.Random(7)
        tried = 0
        while tried < 25:
            at = places.randrange(len(text))
            if not text[at].isalnum():
                continue
            tried += 1
            (here / "changed.json").write_text(text[:at] + ("b" if text[at] != "b" else "c") + text[at + 1:])
            code, out, _ = self.cloister("receipt", "verify", "changed.json", "--trust", "trust.json", cwd=here)
            self.assertEqual(code, 2, f"at {at}: {out}")

    def test_receipt_before_its_own_time_is_refused(self):
        here, _ = self.demo()
        code, out, _ = self.cloister("receipt", "verify", "receipt.json", "--trust", "trust.json", "--at",
                                     "2020-01-01T00:00:00Z", cwd=here)
        self.assertEqual((code, "future" in out), (2, True), out)

    def interrupt(self, signal):
        child = harness.subprocess.Popen([harness.BIN / "cloister", "demo", "--input", self.write("a.txt", "x" * 100)],
                                         cwd=self.home, env={**harness.environment(self.home), "TMPDIR": str(self.home)},
                                         stdout=harness.subprocess.PIPE, stderr=harness.subprocess.STDOUT)
        self.wait_for("the demo's folder", lambda: list(self.home.glob("cloister-demo-*")))
        child.send_signal(signal)
        child.communicate(timeout=harness.PATIENCE)
        self.assertIn(child.returncode, (0, 128 + signal))
        self.assertFalse(list(self.home.glob("cloister-demo-*")))

    def test_an_interrupted_demo_leaves_nothing(self):
        for signal in (harness.signal.SIGINT, harness.signal.SIGTERM, harness.signal.SIGHUP):
            with self.subTest(signal):
                self.interrupt(signal)

    def test_a_demo_that_nobody_reads_leaves_nothing(self):
        child = harness.subprocess.Popen([harness.BIN / "cloister", "demo", "--input", self.write("a.txt", "x")],
                                         cwd=self.home, env={**harness.environment(self.home), "TMPDIR": str(self.home)},
                                         stdout=harness.subprocess.PIPE, stderr=harness.subprocess.DEVNULL)
        self.assertTrue(child.stdout.readline())
        child.stdout.close()
        child.wait(harness.PATIENCE)
        self.assertFalse(list(self.home.glob("cloister-demo-*")))

    def test_a_failed_demo_leaves_its_logs_alone(self):
        """trust.json cannot be written here: the platform has run by then."""
        (self.home / "trust.json").mkdir()
        code, _, err = self.cloister("demo", "--input", self.write("a.txt", "x"), variables={"TMPDIR": str(self.home)})
        self.assertEqual((code, "logs:" in err), (1, True), err)
        folder, = self.home.glob("cloister-demo-*")
        self.assertEqual([entry.name for entry in folder.iterdir()], ["logs"])

    def test_a_temporary_folder_that_is_not_there_is_named(self):
        code, _, err = self.cloister("demo", "--input", self.write("a.txt", "x"), variables={"TMPDIR": "/nonexistent"})
        self.assertEqual((code, "TMPDIR" in err), (1, True), err)

    def test_files_that_no_job_takes_are_refused_before_anything_starts(self):
        """The limit is that of the payload, in which a line's end takes two bytes."""
        self.write("many-lines", "a\n" * 1_450_000)
        self.write("large", "a" * ((4 << 20) + 1))
        self.write("half", "a" * (2 << 20))
        self.write("half2", "b" * (2 << 20))
        for names, word in ((["many-lines"], "many-lines"), (["large"], "large"), (["half", "half2"], "together")):
            inputs = [word for name in names for word in ("--input", name)]
            code, out, err = self.cloister("demo", *inputs, "--keyword", "a")
            self.assertEqual((code, out), (1, ""), err)
            for expected in (word, "4 MiB", "fewer or smaller"):
                self.assertIn(expected, err)

    def test_equal_names_are_told_apart(self):
        for folder in ("one", "two"):
            (self.home / folder).mkdir()
            (self.home / folder / "x.txt").write_text("cat " * (1 if folder == "one" else 2))
        out = self.ok("demo", "--input", "one/x.txt", "--input", "two/x.txt", "--keyword", "cat")
        self.assertIn("one/x.txt: 1\n", out)
        self.assertIn("two/x.txt: 2\n", out)

    def test_unusable_inputs_are_named(self):
        (self.home / "binary").write_bytes(b"\xff\xfe\x00")
        for arguments, word in ((["--input", "absent.txt"], "absent.txt"), (["--input", "binary"], "not a UTF-8 text"),
                                (["--keyword", ""], "one word"), (["--keyword", "two words"], "one word")):
            code, _, err = self.cloister("demo", *arguments)
            self.assertEqual((code, word in err), (1, True), err)


class Dev(harness.Case):
    def start_dev(self, data="dev", port=0):
        """`cloister dev`, once it has said how to reach it; what it said."""
        child = harness.subprocess.Popen([harness.BIN / "cloister", "dev", "--data", self.home / data, "--port", str(port)],
                                         stdout=harness.subprocess.PIPE, stderr=harness.subprocess.PIPE, text=True,
                                         cwd=self.home, env=harness.environment(self.home))
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stderr.close)
        self.children.append(child)
        said = ""
        while line := child.stdout.readline():
            said += line
            if "Ctrl-C stops everything" in line:
                break
        return child, said

    def test_keeps_the_system_running_until_ctrl_c(self):
        child, said = self.start_dev()
        self.assertRegex(said, r"server +http://127\.0\.0\.1:\d+\n")
        for word in ("token", "trust file", "logs", "LAB ONLY", "cloister job submit"):
            self.assertIn(word, said)
        parts = pathlib.Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        self.assertEqual(len(parts), 4)
        # What it prints is enough to use it: the profile is in use, and names token and trust file.
        self.write("payload", json.dumps({"keyword": "x", "documents": [{"name": "n", "text": "x y x"}]}))
        out = self.ok("job", "submit", "keyword-search", "--payload", self.home / "payload", "--receipt", self.home / "r.json",
                      "--secret-file", self.home / "client.secret")
        self.assertEqual(json.loads(out)["total"], 2)
        self.ok("receipt", "verify", self.home / "r.json", "--trust", self.home / "dev/trust.json")
        child.send_signal(harness.signal.SIGINT)
        self.assertEqual(child.wait(harness.PATIENCE), 0)
        self.assertFalse([pid for pid in parts if pathlib.Path(f"/proc/{pid}").exists()])
        # The same folder again has what was done before.
        child, said = self.start_dev()
        self.assertEqual(len(json.loads(self.ok("job", "list", "--json"))["jobs"]), 1)

    def test_a_second_one_in_the_same_place_says_what_to_do(self):
        _, said = self.start_dev()
        port = re.search(r"http://127\.0\.0\.1:(\d+)", said)[1]
        for data, at in (("dev", "0"), ("other", port)):
            code, _, err = self.cloister("dev", "--data", self.home / data, "--port", at)
            self.assertEqual((code, "--data and --port" in err), (1, True), err)

    def test_takes_no_other_profile_out_of_use(self):
        folder = self.home / "config/cloister"
        folder.mkdir(parents=True)
        profiles = folder / "profiles.json"
        profiles.write_text(json.dumps({"version": 1, "current": "mine", "profiles": [
            {"name": "mine", "server": "http://127.0.0.1:9", "token": "t"}]}))
        profiles.chmod(0o600)
        _, said = self.start_dev()
        self.assertIn("--profile dev", said)
        self.assertEqual(json.loads(profiles.read_text())["current"], "mine")
        self.ok("instance", "list", "--profile", "dev")


class Path(harness.System):
    def test_by_hand_as_the_demo_does(self):
        self.start_platform()
        self.start_server()
        self.start_validator()
        self.wait_verified()
        version = self.push_example()
        self.wait_for("a ready instance",
                      lambda: [i for i in self.listed("instance")["instances"] if i["state"] == "ready"])
        self.write("payload", json.dumps({"keyword": "x", "documents": [{"name": "n", "text": "x y x"}]}))
        trust = self.write_trust(version)
        client = ["--trust", self.home / "trust.json", "--secret-file", self.home / "client.secret", *self.connection]
        submit = ["job", "submit", "keyword-search", "--payload", self.home / "payload", "--key", "once"]
        out = self.ok(*submit, "--receipt", self.home / "receipt.json", *client)
        self.assertEqual(json.loads(out)["total"], 2)
        self.assertEqual((self.home / "receipt.json").stat().st_mode & 0o777, 0o600)
        self.assertEqual((self.home / "client.secret").stat().st_mode & 0o777, 0o600)
        self.write("output", out.rstrip("\n"))
        verify = ["receipt", "verify", self.home / "receipt.json", "--trust", self.home / "trust.json"]
        self.ok(*verify, "--output", self.home / "output")
        self.write("other", "{}")
        self.assertEqual(self.cloister(*verify, "--output", self.home / "other")[0], 2)
        # The same key and payload are the same job; another process with the same secret reads its result.
        self.ok(*submit, *client)
        jobs = self.listed("job")["jobs"]
        self.assertEqual(len(jobs), 1)
        self.assertEqual(json.loads(self.ok("job", "result", jobs[0]["id"], *client))["total"], 2)
        # A client whose trust file describes another image seals nothing to this instance.
        trust["reference_values"][0]["image_digest"] = "sha256:" + "0" * 64
        self.write("wrong.json", json.dumps(trust))
        self.write("payload2", json.dumps({"keyword": "y", "documents": []}))
        with self.assertRaises(harness.subprocess.TimeoutExpired) as waited:
            self.cloister("job", "submit", "keyword-search", "--payload", self.home / "payload2", "--trust",
                          self.home / "wrong.json", "--secret-file", self.home / "client.secret", *self.connection,
                          timeout=3)
        self.assertIn(b"measurement_mismatch", waited.exception.stderr)
        states = [job["state"] for job in self.listed("job")["jobs"]]
        self.assertEqual(sorted(states), ["awaiting_rewrap", "succeeded"])

    def test_a_guest_that_differs_by_one_byte_is_refused_by_its_measurement(self):
        changed = self.home / "cloister-guest"
        changed.write_bytes((harness.BIN / "cloister-guest").read_bytes() + b"\0")
        changed.chmod(0o755)
        self.start_platform()
        self.start_server()
        self.start_validator(guest=changed)
        self.wait_for("the refusal", lambda: "measurement_mismatch" in self.log("server"))
        self.assertRegex(self.log("server"), r"MRTD: expected [0-9a-f]{96}, found [0-9a-f]{96}")
        self.assertFalse([v for v in self.listed("validator")["validators"] if v["state"] == "verified"])

    def test_a_platform_that_nobody_trusts_is_refused(self):
        self.start_platform("trusted")
        trusted = self.platform
        self.start_platform("other")
        self.start_server(trust_root=trusted["root"])
        self.start_validator()
        self.wait_for("the refusal", lambda: "lab_root_not_trusted" in self.log("server"))
        self.assertFalse([v for v in self.listed("validator")["validators"] if v["state"] == "verified"])

    def test_an_instance_that_dies_is_replaced(self):
        self.start_platform()
        self.start_server()
        self.start_validator()
        self.wait_verified()
        self.push_example()
        ready = lambda: [i["id"] for i in self.listed("instance")["instances"] if i["state"] == "ready"]
        first = self.wait_for("a ready instance", ready)
        self.children[-1].send_signal(harness.signal.SIGKILL)  # the host agent, and its TDs with it
        self.wait_for("its loss", lambda: not ready())
        self.start("again", harness.BIN / "cloister", "validator", "run", "--server", self.server["url"], "--platform",
                   self.platform["control"], "--guest", harness.BIN / "cloister-guest", "--hotkey",
                   self.home / "validator.key", "--data", self.home / "again-data")
        second = self.wait_for("another instance", ready)
        self.assertNotEqual(first, second)

    def test_a_server_that_was_killed_keeps_what_it_acknowledged(self):
        self.start_platform()
        self.start_server()
        version = self.push_example()
        self.children[-1].kill()
        self.start_server()
        self.assertEqual(self.listed("challenge")["challenges"][0]["id"], "keyword-search")
        self.assertEqual(self.listed("secret")["secrets"][0]["path"], "keyword-search/index-salt")
        versions = json.loads(self.ok("challenge", "list", "--id", "keyword-search", "--json", *self.connection))
        self.assertEqual([v["id"] for v in versions["versions"]], [version["id"]])

    def test_mistakes_of_the_configuration_are_reported_together(self):
        self.write("bad.toml", 'data = 3\nlease = "1y"\ncolour = "red"\n')
        done = harness.subprocess.run([harness.BIN / "cloisterd", "--config", self.home / "bad.toml"],
                                      capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        for word in ("data:", "guest: missing", "lease:", "colour: no such setting"):
            self.assertIn(word, done.stderr)


if __name__ == "__main__":
    harness.main()
