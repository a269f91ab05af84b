"""The command line against a real server: logging in, tokens, lists, following jobs and the audit log."""
import json
import select
import stat
import subprocess
import urllib.request

import harness


class Cli(harness.System):
    def setUp(self):
        super().setUp()
        self.start_platform()
        self.start_server()
        self.admin = self.server["admin_token_file"]
        self.profiles = self.home / "config" / "cloister" / "profiles.json"

    def log_in(self, token_file=None, *more):
        return self.ok("login", "--server", self.server["url"], "--token-file", token_file or self.admin, *more)

    def refused(self, *arguments, words=(), code=1):
        """Fails with one line that has the words."""
        got, out, err = self.cloister(*arguments)
        self.assertEqual(got, code, out + err)
        for word in words:
            self.assertIn(word, err)
        self.assertEqual(err.count("\n"), 1, err)

    def mode(self, path):
        return stat.S_IMODE(path.stat().st_mode)

    def test_a_profile_takes_the_place_of_server_and_token(self):
        self.refused("instance", "list", words=["no server is named", "cloister login"])
        self.log_in()
        self.assertEqual(self.mode(self.profiles), 0o600)
        self.assertEqual(json.loads(self.ok("instance", "list", "--json")), {"instances": []})
        listed = self.ok("profile", "list", "--json")
        self.assertNotIn(harness.pathlib.Path(self.admin).read_text().strip(), listed)
        profiles = json.loads(listed)["profiles"]
        self.assertEqual([(p["name"], p["in_use"], p["server"]) for p in profiles], [("default", True, self.server["url"])])

    def test_profiles_are_used_named_and_removed(self):
        self.log_in(None, "--profile", "one")
        self.log_in(None, "--profile", "two")
        in_use = lambda: [p["name"] for p in json.loads(self.ok("profile", "list", "--json"))["profiles"] if p["in_use"]]
        self.assertEqual(in_use(), ["two"])
        self.ok("profile", "use", "one")
        self.assertEqual(in_use(), ["one"])
        self.ok("challenge", "list", "--profile", "two")
        self.ok("challenge", "list", variables={"CLOISTER_PROFILE": "two"})
        self.refused("challenge", "list", "--profile", "three", words=["no profile 'three'", "one, two"])
        self.ok("profile", "remove", "one")
        self.assertEqual(in_use(), [])
        self.refused("challenge", "list", words=["no server is named"])
        self.refused("profile", "use", "one", words=["there are: two"])

    def test_options_win_over_the_environment_and_that_over_the_profile(self):
        self.log_in()
        nobody = "http://127.0.0.1:9"
        away = {"CLOISTER_SERVER": nobody, "CLOISTER_TOKEN_FILE": self.admin}
        self.assertIn("unavailable", self.cloister("challenge", "list", variables=away)[2])
        self.ok("challenge", "list", *self.connection, variables=away)

    def test_a_token_goes_to_its_own_server_alone(self):
        self.log_in()
        self.refused("challenge", "list", "--server", "http://127.0.0.1:9", words=["stays there", "--token-file"])
        code, _, err = self.cloister("challenge", "list", variables={"CLOISTER_SERVER": "http://127.0.0.1:9"})
        self.assertEqual((code, "stays there" in err), (1, True), err)
        self.ok("challenge", "list", "--server", self.server["url"])

    def test_what_does_not_work_is_not_kept(self):
        wrong = self.write("wrong", "nonsense\n")
        self.refused("login", "--server", self.server["url"], "--token-file", wrong,
                     words=["unauthenticated", "valid token"])
        self.refused("login", "--server", "http://127.0.0.1:9", "--token-file", self.admin, words=["unavailable", "running"])
        self.refused("login", "--server", self.server["url"], "--token-file", self.home / "absent", words=["absent"])
        self.refused("login", "--server", self.server["url"], "--token-file", self.admin, "--trust", wrong,
                     words=["trust_file_invalid"])
        self.assertFalse(self.profiles.exists())

    def test_a_profile_file_that_others_may_read_is_refused(self):
        self.log_in()
        self.profiles.chmod(0o644)
        self.refused("challenge", "list", words=["others may read it", "chmod 600"])
        self.ok("challenge", "list", *self.connection)
        self.profiles.chmod(0o600)
        self.profiles.write_text("{}")
        self.refused("challenge", "list", words=["profiles.json", "log in again"])

    def test_tokens_have_a_role_and_end_at_once(self):
        self.log_in()
        out = json.loads(self.ok("token", "issue", "alice", "--lifetime", "1h", "--out", "alice.token", "--json"))
        self.assertEqual(self.mode(self.home / "alice.token"), 0o600)
        self.assertIsNone(out["token"])
        self.log_in(self.home / "alice.token", "--profile", "alice")
        self.ok("job", "list")
        self.refused("token", "list", words=["permission_denied", "another role"])
        admin = ["--profile", "default"]
        listed = json.loads(self.ok("token", "list", "--json", *admin))["tokens"]
        self.assertEqual([(t["name"], t["role"], t["revoked"]) for t in listed if t["id"] == out["id"]],
                         [("alice", "client", False)])
        self.ok("token", "revoke", out["id"], *admin)
        self.refused("job", "list", words=["unauthenticated", "revoked", "cloister login"])
        self.assertIn(out["id"], self.ok("token", "list", *admin))
        self.refused("token", "revoke", "tok-none", *admin, words=["not_found"])
        self.refused("token", "issue", "bob", "--lifetime", "soon", *admin, words=["--lifetime", "24h"])
        self.refused("token", "issue", "bob", "--role", "king", *admin, words=["role"])
        # Whoever may do little is let in as well.
        self.ok("token", "issue", "eyes", "--role", "monitor", "--out", "eyes.token", *admin)
        self.log_in(self.home / "eyes.token", "--profile", "eyes")
        self.refused("job", "list", words=["permission_denied"])
        # On the terminal the token stands alone, so that it can be piped.
        code, token, note = self.cloister("token", "issue", "bob", *admin)
        self.assertEqual((code, len(token.split()), "bob" in note), (0, 1, True))

    def published_keys(self):
        with urllib.request.urlopen(self.server["url"] + "/.well-known/jwks.json", timeout=harness.PATIENCE) as answer:
            return [key["kid"] for key in json.load(answer)["keys"]]

    def test_the_keys_of_results_rotate_and_outlive_the_server(self):
        before = self.published_keys()
        self.assertEqual(len(before), 2)
        rotated = json.loads(self.ok("token", "rotate-keys", "--json", *self.connection))
        self.assertEqual(rotated["key_id"], before[1])
        after = self.published_keys()
        self.assertEqual((after[0], after[2]), (before[1], before[0]))
        self.kill("server")
        self.start_server()
        self.assertEqual(self.published_keys(), after)
        self.assertIn(after[1], self.ok("token", "rotate-keys", *self.connection))
        # Whoever may not change the configuration may not do this either.
        self.ok("token", "issue", "alice", "--out", "alice.token", *self.connection)
        self.refused("token", "rotate-keys", "--server", self.server["url"], "--token-file", self.home / "alice.token",
                     words=["permission_denied"])

    def test_every_list_is_a_table_and_json(self):
        self.log_in()
        self.push_example()
        for what, name in (("challenge", "challenges"), ("job", "jobs"), ("validator", "validators"),
                           ("instance", "instances"), ("secret", "secrets"), ("derived-key", "derived-keys"), ("token", "tokens"),
                           ("profile", "profiles")):
            as_json = json.loads(self.ok(what, "list", "--json"))
            self.assertIsInstance(as_json[name], list, what)
            lines = self.ok(what, "list").splitlines()
            self.assertEqual(len(lines), len(as_json[name]) + 1, what)

    def test_the_audit_log_is_shown_and_its_key_compared(self):
        self.log_in()
        version = self.push_example()
        self.write_trust(version)
        trusted = ["--trust", self.home / "trust.json"]
        head = json.loads(self.ok("audit", "head", "--json", *trusted))
        self.assertTrue(head["trusted"])
        other = json.loads((self.home / "trust.json").read_text())
        other["audit_keys"] = ["11" * 32]
        self.write("other.json", json.dumps(other))
        code, out, err = self.cloister("audit", "head", "--trust", self.home / "other.json")
        self.assertEqual((code, "does not name" in err), (2, True), out + err)

        leaves = json.loads(self.ok("audit", "tail", "--json", "-n", "1000"))["leaves"]
        self.assertEqual([leaf["index"] for leaf in leaves], list(range(len(leaves))))
        kinds = [leaf["kind"] for leaf in leaves]
        self.assertIn("token.issued", kinds)
        lines = self.ok("audit", "tail", "-n", "2").splitlines()
        self.assertEqual([line.split()[1] for line in lines], kinds[-2:])

        follower = self.spawn("audit", "tail", "--follow", "--json", "-n", "1")
        json.loads(follower.stdout.readline())
        issued = json.loads(self.ok("token", "issue", "carol", "--json"))
        self.assertEqual(json.loads(follower.stdout.readline())["subject"], issued["id"])

    def test_a_job_is_watched_to_its_end(self):
        self.log_in()
        version = self.push_example()
        self.write_trust(version)
        self.write("payload", json.dumps({"keyword": "x", "documents": [{"name": "n", "text": "x y x"}]}))
        client = self.spawn("job", "submit", "keyword-search", "--payload", "payload", "--trust", "trust.json")
        job = self.wait_for("the job", lambda: self.listed("job")["jobs"])[0]
        self.assertEqual(job["state"], "awaiting_rewrap")

        watcher = self.spawn("job", "watch", job["id"])
        self.assertIn("awaiting_rewrap", watcher.stdout.readline())
        # The client is killed. Another process with the same secret seals the job to the instance that comes, and reads
        # the result.
        client.kill()
        client.wait()
        self.start_validator()
        result = self.ok("job", "result", job["id"], "--trust", "trust.json")
        self.assertEqual(json.loads(result)["total"], 2)
        seen = watcher.communicate(timeout=harness.PATIENCE)[0]
        self.assertEqual((watcher.returncode, "succeeded" in seen), (0, True), seen)
        self.assertIn("ready", self.ok("instance", "list"))
        last = json.loads(self.ok("job", "watch", job["id"], "--json").splitlines()[-1])
        self.assertEqual(last["state"], "succeeded")

        # Another secret reads nothing.
        code, _, err = self.cloister("job", "result", job["id"], "--trust", "trust.json", "--secret-file", "other.secret")
        self.assertEqual((code, "key_invalid" in err, "--secret-file" in err), (1, True, True), err)

    def test_watching_a_job_that_does_not_succeed_says_so(self):
        self.log_in()
        self.write_trust(self.push_example())
        self.write("payload", json.dumps({"keyword": "x", "documents": []}))
        client = self.spawn("job", "submit", "keyword-search", "--payload", "payload", "--trust", "trust.json")
        job = self.wait_for("the job", lambda: self.listed("job")["jobs"])[0]
        self.ok("job", "cancel", job["id"])
        code, out, _ = self.cloister("job", "watch", job["id"])
        self.assertEqual((code, "cancelled" in out), (2, True), out)
        client.communicate(timeout=harness.PATIENCE)
        self.assertEqual(client.returncode, 1)
        self.refused("job", "watch", "job-none", words=["not_found"])

    def test_a_validator_is_ready_once_the_server_let_it_in(self):
        key = self.home / "host.key"
        hotkey = self.ok("validator", "hotkey", key).strip()
        self.assertEqual(self.mode(key), 0o600)
        log = open(self.home / "host.log", "w")
        host = subprocess.Popen([harness.BIN / "cloister", "validator", "run", "--server", self.server["url"],
                                 "--platform", self.platform["control"], "--guest", harness.BIN / "cloister-guest",
                                 "--hotkey", key, "--data", self.home / "host-data"], stdout=subprocess.PIPE, stderr=log,
                                cwd=self.home, env=harness.environment(self.home), text=True)
        log.close()
        self.children.append(host)
        self.wait_for("the refusal", lambda: "unauthenticated" in self.log("host"))
        self.assertIn("cloister validator enrol", self.log("host"))
        self.assertEqual(select.select([host.stdout], [], [], 0)[0], [])  # not a word
        self.ok("validator", "enrol", hotkey, *self.connection)
        line = json.loads(host.stdout.readline())
        self.assertEqual((line["event"], line["hotkey"]), ("ready", hotkey))

    def test_help_names_the_exit_codes(self):
        out = self.ok("--help")
        self.assertIn("Exit codes: 0", out)
        self.assertEqual(self.cloister("nonsense")[0], 1)


if __name__ == "__main__":
    harness.main()
