"""cloisterd with its keys in an HSM: SoftHSM, in a directory of the test's own."""
import json
import pathlib
import shutil
import subprocess
import unittest

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
