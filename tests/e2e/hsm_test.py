"""cloisterd with its keys in an HSM: SoftHSM, in a directory of the test's own."""
import contextlib
import json
import pathlib
import shutil
import sqlite3
import subprocess
import unittest
import urllib.error
import urllib.request

import harness

MODULE = next((path for path in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")
               if pathlib.Path(path).exists()), None)
PIN = "secret-pin-4711"


@unittest.skipUnless(MODULE and shutil.which("softhsm2-util"), "SoftHSM is not installed (Debian package softhsm2)")
class Hsm(harness.System):
    def setUp(self):
        super().setUp()
        self.conf = self.write("softhsm2.conf", f"directories.tokendir = {self.home / 'tokens'}\nlog.level = ERROR\n")
        self.new_token()
        self.write_pin(PIN)
        self.settings = f'kms = "pkcs11:token=cloister?module-path={MODULE}&pin-source=file:{self.home / "pin"}"\n'

    def new_token(self):
        (self.home / "tokens").mkdir()
        subprocess.run(self.around("softhsm2-util", "--module", MODULE, "--init-token", "--free", "--label", "cloister", "--pin",
                                   PIN, "--so-pin", "87654321"), check=True, capture_output=True)

    def write_pin(self, pin):
        self.write("pin", pin + "\n").chmod(0o600)

    def around(self, *command):
        return ["env", f"SOFTHSM2_CONF={self.conf}", *command]

    def stop_server(self):
        child = self.processes["server"]
        self.children.remove(child)
        child.send_signal(harness.signal.SIGTERM)
        child.wait(harness.PATIENCE)
        child.stdout.close()

    def complaint(self):
        """The one line of a server that does not start."""
        done = subprocess.run(self.around(harness.BIN / "cloisterd", "--config", self.home / "cloisterd.toml"),
                              capture_output=True, text=True, cwd=self.home, timeout=harness.PATIENCE)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        line, = [line for line in done.stderr.splitlines() if line.startswith("cloisterd: ")]
        return line

    def test_secrets_keys_and_receipts_outlive_a_restart(self):
        self.start_platform()
        self.start_server()
        self.assertFalse((self.home / "server/master.key").exists())
        version = self.push_example()  # with a secret, sealed under the HSM
        before = self.write_trust(version)
        self.stop_server()
        self.start_server()
        after = self.write_trust(version)
        self.assertEqual([after["audit_keys"], after["server_keys"]], [before["audit_keys"], before["server_keys"]])
        self.start_validator()
        self.wait_verified()
        self.wait_for("an instance that was given the secret",
                      lambda: [i for i in self.listed("instance")["instances"] if i["state"] == "ready"])
        self.write("payload", json.dumps({"keyword": "x", "documents": [{"name": "n", "text": "x y x"}]}))
        out = self.ok("job", "submit", "keyword-search", "--payload", self.home / "payload", "--receipt",
                      self.home / "receipt.json", "--trust", self.home / "trust.json", "--secret-file",
                      self.home / "client.secret", *self.connection)
        self.assertEqual(json.loads(out)["total"], 2)
        self.ok("receipt", "verify", self.home / "receipt.json", "--trust", self.home / "trust.json")
        for path in self.home.rglob("*"):
            if path.is_file() and path != self.home / "pin":
                self.assertNotIn(PIN.encode(), path.read_bytes(), path)

    def test_what_is_wrong_with_the_hsm_is_told_and_nothing_is_made(self):
        self.start_platform()
        self.start_server()
        self.push_example()
        self.stop_server()
        self.write_pin("wrong")
        self.assertIn("hsm_pin_refused", self.complaint())
        self.write_pin(PIN)
        (self.home / "pin").chmod(0o640)
        self.assertRegex(self.complaint(), "configuration_invalid: PIN .*mode 0600")
        (self.home / "pin").chmod(0o600)
        (self.home / "tokens").rename(self.home / "unplugged")
        (self.home / "tokens").mkdir()
        self.assertRegex(self.complaint(), "unavailable: HSM: no token .*connected")
        (self.home / "tokens").rmdir()
        self.new_token()  # another HSM, of the same name and PIN
        self.assertRegex(self.complaint(), "hsm_key_missing: .*backup")
        shutil.rmtree(self.home / "tokens")
        (self.home / "unplugged").rename(self.home / "tokens")
        self.start_server()
        self.assertEqual(self.listed("secret")["secrets"][0]["path"], "keyword-search/index-salt")
        self.stop_server()
        text = (self.home / "cloisterd.toml").read_text()
        self.write("cloisterd.toml", text.replace(self.settings, ""))
        self.assertRegex(self.complaint(), "master.key is gone.*set `kms`")
        self.assertFalse((self.home / "server/master.key").exists())

    def asked(self, path, token=None):
        """Status and body of a request."""
        request = urllib.request.Request(self.server["url"] + path)
        if token:
            request.add_header("Authorization", "Bearer " + pathlib.Path(token).read_text().strip())
        try:
            with urllib.request.urlopen(request, timeout=harness.PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    def data_keys(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.home / 'server/cloister.db'}?mode=ro", uri=True)) as database:
            return sorted(row[0] for row in database.execute("SELECT tenant FROM data_key"))

    def test_a_server_without_its_hsm_is_not_ready_and_leaves_nothing_half_done(self):
        self.start_platform()
        self.start_server()
        self.write("value", "hunter2")
        self.ok("secret", "put", "a/known", "--file", self.home / "value", *self.connection)
        self.ok("token", "issue", "other", "--tenant", "other", "--role", "admin", "--out", "other.token", *self.connection)
        of_other = ["--server", self.server["url"], "--token-file", self.home / "other.token"]
        self.assertEqual(self.asked("/ready"), (200, {"status": "ready"}))
        keys = self.data_keys()

        (self.home / "tokens").rename(self.home / "unplugged")
        status, problem = self.wait_for("unreadiness", lambda: (lambda said: said if said[0] != 200 else None)(self.asked("/ready")))
        self.assertEqual((status, problem["code"]), (503, "unavailable"))
        self.assertRegex(problem["detail"], r"^keys_unavailable: the HSM .*\(unavailable\).*connected")
        warning, = [one for one in self.asked("/status", self.server["admin_token_file"])[1]["warnings"] if one["code"] == "not_ready"]
        self.assertRegex(warning["detail"], "keys_unavailable: unavailable: HSM: .*docs/kms.md")
        self.assertEqual(self.asked("/health")[0], 200)

        # A tenant's first secret needs a data key, which only the HSM can wrap: 503, and there is nothing of it.
        code, out, err = self.cloister("secret", "put", "b/first", "--file", self.home / "value", *of_other)
        self.assertEqual((code, out), (1, ""), err)
        self.assertRegex(err, "unavailable: HSM: .*connected")
        self.assertEqual(self.asked("/api/v1/audit/head", self.server["admin_token_file"])[0], 503)
        self.assertEqual(self.data_keys(), keys)
        # What needs no HSM goes on: data keys that are in memory.
        self.ok("secret", "put", "a/meanwhile", "--file", self.home / "value", *self.connection)

        (self.home / "unplugged").rename(self.home / "tokens")
        self.wait_for("readiness", lambda: self.asked("/ready")[0] == 200)
        self.assertEqual(json.loads(self.ok("secret", "list", "--json", *of_other))["secrets"], [])
        self.assertIn("version 1", self.ok("secret", "put", "b/first", "--file", self.home / "value", *of_other))
        self.assertEqual(self.data_keys(), sorted([*keys, "other"]))
        self.assertEqual([one["path"] for one in self.listed("secret")["secrets"]], ["a/known", "a/meanwhile"])
        # The log has everything that was done, and nothing that was not.
        head = self.wait_for("a head", lambda: self.asked("/api/v1/audit/head", self.server["admin_token_file"])[0] == 200)
        self.assertTrue(head)
        told = self.ok("audit", "tail", *self.connection)
        self.assertIn("a/meanwhile", told)
        self.assertEqual(told.count("b/first"), 1)
        self.stop_server()
        self.start_server()
        self.assertEqual(self.asked("/ready")[0], 200)

    def move(self, source, code=0):
        """What `cloisterd --move-keys-from` prints; its one line of complaint where it is to fail."""
        # SoftHSM 2.6 does not free the curve that it reads for each Ed25519 signature: not what the leak sanitizer is for.
        leaks = self.write("leaks", "leak:libsofthsm2.so\n")
        done = subprocess.run(self.around("env", f"LSAN_OPTIONS=suppressions={leaks}:print_suppressions=0:fast_unwind_on_malloc=0",
                                          harness.BIN / "cloisterd", "--config", self.home / "cloisterd.toml", "--move-keys-from", source),
                              capture_output=True, text=True, cwd=self.home, timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def configure(self, settings):
        """The keeper of keys that the next start has."""
        self.settings = settings
        lines = [line for line in (self.home / "cloisterd.toml").read_text().splitlines() if not line.startswith("kms =")]
        self.write("cloisterd.toml", "\n".join([*lines, settings]))

    def change(self, *statements):
        with contextlib.closing(sqlite3.connect(self.home / "server/cloister.db")) as database:
            for statement in statements:
                database.execute(statement)
            database.commit()

    def leaves(self):
        query = "SELECT leaf FROM audit_row JOIN audit_log ON audit_log.seq = audit_row.log WHERE kind = ?"
        with contextlib.closing(sqlite3.connect(f"file:{self.home / 'server/cloister.db'}?mode=ro", uri=True)) as database:
            return [[bytes(row[0]) for row in database.execute(query, [kind])] for kind in ("log.handed_on", "log.taken_over")]

    def run_a_job(self, name, version):
        """A receipt under the keys of now."""
        trust = self.home / f"{name}.trust"
        self.write_trust(version)
        shutil.copy(self.home / "trust.json", trust)
        self.start_validator(name=name)
        self.wait_verified()
        self.wait_for("an instance that was given the secret",
                      lambda: [i for i in self.listed("instance")["instances"] if i["state"] == "ready"])
        self.write("payload", json.dumps({"keyword": "x", "documents": [{"name": "n", "text": "x y x"}]}))
        out = self.ok("job", "submit", "keyword-search", "--payload", self.home / "payload", "--receipt",
                      self.home / f"{name}.json", "--trust", trust, "--secret-file", self.home / f"{name}.secret", *self.connection)
        self.assertEqual(json.loads(out)["total"], 2)
        self.processes[name].terminate()
        self.processes[name].wait(harness.PATIENCE)
        self.ok("receipt", "verify", self.home / f"{name}.json", "--trust", trust)

    def test_data_moves_from_a_file_to_an_hsm_and_back(self):
        hsm, self.settings = self.settings, ""
        uri = hsm.split('"')[1]
        self.start_platform()
        self.start_server()
        server_id = self.server["server_id"]
        version = self.push_example()
        self.run_a_job("first", version)
        token = pathlib.Path(self.server["admin_token_file"]).read_text()
        keys = self.data_keys()
        self.configure(hsm)
        self.assertRegex(self.move("file", 1), "unavailable: .*one cloisterd for each data directory")
        self.stop_server()
        self.assertRegex(self.complaint(), "configuration_invalid: kms: .*--move-keys-from file")

        # Nothing is moved while the HSM is gone, nor from where nothing is.
        (self.home / "tokens").rename(self.home / "unplugged")
        self.assertRegex(self.move("file", 1), "unavailable: HSM")
        (self.home / "unplugged").rename(self.home / "tokens")
        self.assertRegex(self.move("nowhere", 1), "--move-keys-from: `file` or a PKCS#11 URI")
        self.configure("")
        self.assertRegex(self.move("file", 1), "configuration_invalid: .*set `kms`")
        self.start_server()
        self.stop_server()

        # Keys that the root derives for others would be other keys: it stays.
        self.configure(hsm)
        self.change("CREATE TABLE IF NOT EXISTS derived_key (tenant TEXT NOT NULL, challenge TEXT NOT NULL, purpose TEXT NOT NULL, "
                    "version INTEGER NOT NULL, state BLOB NOT NULL, PRIMARY KEY (tenant, challenge, purpose, version)) STRICT",
                    "INSERT INTO derived_key VALUES ('system', 'keyword-search', 'disk', 1, x'00')")
        self.assertRegex(self.move("file", 1), "conflict: 1 versions of derived keys")
        self.assertTrue((self.home / "server/master.key").exists())
        self.change("DELETE FROM derived_key")

        head = (self.home / "server/audit-head.cbor").read_bytes()
        moved = self.move("file")
        self.assertEqual((moved["moved"], moved["from"], moved["to"], moved["data_keys"], moved["server_id"]),
                         (True, "file", "hsm", len(keys), server_id))
        self.assertFalse((self.home / "server/master.key").exists())
        self.assertTrue((self.home / "server/master.key.moved").exists())
        handed_on, taken_over = self.leaves()
        self.assertEqual((len(handed_on), len(taken_over)), (1, 1))
        before, after = map(bytes.fromhex, moved["audit_keys"])
        for word in (server_id.encode(), b"hsm", after):
            self.assertIn(word, handed_on[0])
        self.assertIn(before, taken_over[0])

        # As if it had ended right after its commit: the server does not start, and the next call finishes.
        (self.home / "server/audit-head.cbor").write_bytes(head)
        (self.home / "server/identity.cbor").rename(self.home / "server/identity.cbor.new")
        self.assertRegex(self.complaint(), "configuration_invalid: .*identity.cbor.*--move-keys-from")
        (self.home / "server/master.key.moved").rename(self.home / "server/master.key")
        self.assertIn("--move-keys-from", self.complaint())
        again = self.move("file")
        self.assertEqual((again["moved"], again["server_id"], again["audit_keys"]), (False, server_id, moved["audit_keys"]))
        (self.home / "server/identity.cbor.new").write_text("of a move elsewhere that failed")
        self.assertEqual(self.move("file")["moved"], False)

        # It is the same server to everybody: tokens, versions and the keys that TDs pin hold on, and the secret opens.
        self.start_server()
        self.assertEqual(self.server["server_id"], server_id)
        self.assertEqual(pathlib.Path(self.server["admin_token_file"]).read_text(), token)
        self.run_a_job("second", version)
        trusts = [json.loads((self.home / f"{name}.trust").read_text()) for name in ("first", "second")]
        self.assertEqual(trusts[0]["server_keys"], trusts[1]["server_keys"])
        self.assertNotEqual(trusts[0]["audit_keys"], trusts[1]["audit_keys"])
        self.ok("receipt", "verify", self.home / "first.json", "--trust", self.home / "first.trust")  # proofs of before stand
        code, _, err = self.cloister("receipt", "verify", self.home / "second.json", "--trust", self.home / "first.trust")
        self.assertEqual(code, 2, err)  # a client is to trust the new audit key

        # Without its keys of before it is nobody else.
        self.stop_server()
        (self.home / "server/identity.cbor").rename(self.home / "identity")
        self.assertRegex(self.complaint(), "configuration_invalid: .*identity.cbor.*restore it")
        (self.home / "identity").rename(self.home / "server/identity.cbor")

        # And back.
        self.configure("")
        self.assertRegex(self.complaint(), "master.key is gone.*--move-keys-from URI")
        back = self.move(uri)
        self.assertEqual((back["moved"], back["from"], back["to"], back["server_id"]), (True, "hsm", "file", server_id))
        self.assertTrue((self.home / "server/master.key").exists())
        self.assertFalse((self.home / "server/master.key.new").exists())
        self.start_server()
        self.assertEqual(self.server["server_id"], server_id)
        self.run_a_job("third", version)

        # And once more: the key file of the first time is not written over.
        self.stop_server()
        self.configure(hsm)
        self.assertRegex(self.move("file", 1), "configuration_invalid: .*master.key.moved.*backups")
        (self.home / "server/master.key.moved").rename(self.home / "backup")
        self.assertEqual((self.move("file")["moved"], len(self.leaves()[0])), (True, 3))
        self.start_server()
        self.assertEqual(self.server["server_id"], server_id)
        self.assertIn("keyword-search/index-salt", [one["path"] for one in self.listed("secret")["secrets"]])

    def test_resources_outlive_a_restart_and_their_data_key_rotates(self):
        self.settings += '[key_broker]\n'
        self.start_platform()
        self.start_server()
        self.write("value", "the disk's key")
        self.ok("resource", "put", "a/b/c", "--file", self.home / "value", *self.connection)
        self.stop_server()
        self.start_server()
        # Every value is opened and sealed again, with keys that the HSM wraps.
        done = json.loads(self.ok("data-key", "rotate", "--json", *self.connection))
        self.assertGreaterEqual(done["resealed"], 1)
        self.assertEqual((done["retired"], done["remaining"]), (1, 0))
        self.assertFalse((self.home / "server/master.key").exists())

    def test_a_file_and_an_hsm_do_not_take_each_other_over(self):
        self.start_platform()
        settings, self.settings = self.settings, ""
        self.start_server()
        self.stop_server()
        text = (self.home / "cloisterd.toml").read_text()
        self.write("cloisterd.toml", text + settings)
        self.assertRegex(self.complaint(), "configuration_invalid: kms: .*master.key")


if __name__ == "__main__":
    harness.main()
