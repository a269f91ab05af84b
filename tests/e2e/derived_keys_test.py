"""Derived keys from outside: the same key after an upgrade and a restart, and nobody's after a revocation."""
import hashlib
import hmac
import json
import shutil

import harness

CHALLENGE = harness.BIN.parent / "tests" / "test-challenge"  # answers "keys" with its keys for "disk"


def cbor_head(major, number):
    size = next(size for size in (0, 1, 2, 4, 8) if number < (24 if size == 0 else 1 << 8 * size))
    if size == 0:
        return bytes([major << 5 | number])
    return bytes([major << 5 | 23 + size.bit_length()]) + number.to_bytes(size, "big")


def cbor(value):
    if isinstance(value, int):
        return cbor_head(0, value)
    if isinstance(value, list):
        return cbor_head(4, len(value)) + b"".join(map(cbor, value))
    data = value.encode() if isinstance(value, str) else value
    return cbor_head(3 if isinstance(value, str) else 2, len(data)) + data


def derived(master, tenant, challenge, purpose, version):
    """docs/derived-keys.md, "Derivation", of a root in a file."""
    info = cbor(["cloister/derived-key/1", tenant, challenge, purpose, version])
    return hmac.new(master, cbor(["cloister/kms/1", "derive", info]) + b"\x01", hashlib.sha256).hexdigest()


class DerivedKeys(harness.System):
    def push(self, *options):
        return json.loads(self.ok("challenge", "push", self.home / "layout", "--id", "vault", "--derived-key", "disk", "--json",
                                  *options, *self.connection))

    def derived_key(self, *arguments):
        return self.ok("derived-key", *arguments, *self.connection)

    def instances(self, version, state):
        return [i for i in self.listed("instance")["instances"] if i["version"] == version["id"] and i["state"] == state]

    def wait_ready(self, version):
        return self.wait_for("a ready instance", lambda: self.instances(version, "ready"))

    def keys_inside(self, version, attempt):
        """What an instance of that version has, by number of the version of the key."""
        trust = json.loads((self.home / "server-trust.json").read_text())
        shown = json.loads(harness.subprocess.run(
            [harness.BIN / "cloisterd", "--config", self.home / "cloisterd.toml", "--show-keys"], capture_output=True, text=True,
            check=True).stdout)
        trust.update(audit_keys=shown["audit_keys"], server_keys=shown["server_keys"], reference_values=[
            {"challenge": "vault", "version": version["id"], **version["reference_value"]}])
        self.write("trust.json", json.dumps(trust))
        self.write("payload", "keys")
        out = self.ok("job", "submit", "vault", "--payload", self.home / "payload", "--key", attempt,
                      "--trust", self.home / "trust.json", "--secret-file", self.home / "client.secret", *self.connection)
        return {int(number): key for number, key in (line.split() for line in out.splitlines() if line)}

    def kinds(self):
        leaves = json.loads(self.ok("audit", "tail", "--json", "-n", "1000", *self.connection))["leaves"]
        return [leaf["kind"] for leaf in leaves if leaf["kind"].startswith("derived_key.")]

    def test_the_life_of_a_key(self):
        self.start_platform()
        self.start_server()
        self.ok("challenge", "build", CHALLENGE, "--out", self.home / "layout")
        first = self.push("--instances", "1")

        # Nobody made the key: the instance is refused, and says why.
        self.start_validator()
        self.wait_verified()
        refused = self.wait_for("a refusal", lambda: self.instances(first, "refused"))
        self.assertIn("cloister derived-key create", refused[0]["failure"])

        # Made for this version and the one that an operator plans. The instance that comes has it, as documented.
        self.assertEqual(self.derived_key("create", "vault", "disk", "--any-version"), "vault/disk version 1\n")
        self.wait_ready(first)
        before = self.keys_inside(first, "before")
        master = (self.home / "server/master.key").read_bytes()
        self.assertEqual(before, {1: derived(master, "default", "vault", "disk", 1)})

        # This machine reaches its own floor.
        instance = self.wait_ready(first)[0]["id"]
        own = json.loads(self.derived_key("raise", "vault", "disk", "--floor-of", instance, "--json"))["conditions"]["tcb"]
        self.assertEqual(set(own), {"tdx_components", "sgx_components", "pce_svn"})
        self.assertEqual([len(own["tdx_components"]), own["tdx_components"].strip("0") != ""], [32, True])

        # An upgrade has the same key. The floor is raised above this machine: what comes later gets no more than before.
        raised = json.loads(self.derived_key("raise", "vault", "disk", "--sgx-components",
                                             own["sgx_components"][:-2] + "01", "--json"))
        self.assertEqual((raised["version"], raised["conditions"]["any_version"], raised["conditions"]["tcb"]["pce_svn"]),
                         (3, True, own["pce_svn"]))
        second = self.push("--instances", "2")
        self.wait_ready(second)
        self.assertEqual(self.keys_inside(second, "upgraded"),
                         {**before, 2: derived(master, "default", "vault", "disk", 2)})

        # A server that was restarted derives the same, and the list is what it was.
        listed = self.listed("derived-key")["derived-keys"]
        self.assertEqual([(key["challenge"], key["purpose"], key["version"], key["revoked"]) for key in listed],
                         [("vault", "disk", 3, 0)])
        self.kill("server")
        self.listen = self.server["url"].split("//")[1]  # where its validator comes back to
        self.start_server()
        self.assertEqual(self.listed("derived-key")["derived-keys"], listed)

        # Revoked: whoever comes anew gets nothing, and is told nothing but that.
        for number in ("1", "2"):
            self.assertEqual(self.derived_key("revoke", "vault", "disk", number), f"vault/disk version {number} revoked\n")
        shown = json.loads(self.derived_key("show", "vault", "disk", "--json"))
        self.assertEqual([("revoked" in version) for version in shown["versions"]], [True, True, False])
        third = self.push("--instances", "3")
        refused = self.wait_for("a refusal", lambda: self.instances(third, "refused"))
        self.assertRegex(refused[0]["failure"], "tcb_too_low: .*version 3: SGX TCB component 15 is 0, at least 1 demanded; revoked versions: 2")
        kinds = set(self.kinds())
        self.assertEqual(kinds, {"derived_key.created", "derived_key.raised", "derived_key.revoked", "derived_key.released",
                                 "derived_key.refused"})
        # Neither the database nor a log has the key.
        for path in self.home.rglob("*"):
            if path.is_file() and path.parent.name != "config" and path.name != "master.key":
                content = path.read_bytes()
                for form in (bytes.fromhex(before[1]), before[1].encode()):
                    self.assertNotIn(form, content, path)

    def stop(self, *names):
        for name in names:
            self.processes[name].terminate()
            self.processes[name].wait(harness.PATIENCE)

    def test_a_machine_that_was_set_back_gets_no_more_than_it_had(self):
        self.start_platform()
        self.ok("lab", "tcb", "withhold", "--state", self.home / "platform")  # collateral that calls every one up to date
        self.stop("platform")
        shutil.copytree(self.home / "platform", self.home / "before")
        self.start_platform()
        self.start_server()
        self.ok("challenge", "build", CHALLENGE, "--out", self.home / "layout")
        self.derived_key("create", "vault", "disk", "--any-version")
        version = self.push("--instances", "1")
        self.start_validator(name="host-1")
        self.wait_ready(version)
        old = self.keys_inside(version, "old")
        self.assertEqual(list(old), [1])

        # The machine is updated, and the floor raised to it: what comes now has both versions.
        self.stop("host-1", "platform")
        self.ok("lab", "tcb", "advise", "--state", self.home / "platform")
        self.ok("lab", "tcb", "update", "--state", self.home / "platform")
        self.start_platform()
        self.start_validator("--capacity", "8", name="host-2")
        version = self.push("--instances", "2")
        instance = self.wait_ready(version)[0]["id"]
        self.derived_key("raise", "vault", "disk", "--floor-of", instance)
        version = self.push("--instances", "3")
        self.wait_ready(version)
        new = self.keys_inside(version, "new")
        self.assertEqual((list(new), new[1] == old[1], new[2] == new[1]), ([1, 2], True, False))

        # The machine of before comes back, with the collateral of before.
        self.stop("host-2", "platform")
        self.start_platform("before")
        self.start_validator("--capacity", "8", name="host-3")
        version = self.push("--instances", "4")
        self.wait_ready(version)
        self.assertEqual(self.keys_inside(version, "set-back"), old)

    def test_mistakes_are_named(self):
        self.start_platform()
        self.start_server()
        self.derived_key("create", "vault", "disk", "--version", "ver-a", "--pce-svn", "5")
        for arguments, words in (
                (["create", "vault", "disk"], ["invalid_argument", "--any-version", "--version"]),
                (["create", "vault", "disk", "--any-version"], ["conflict", "never change", "raise"]),
                (["create", "vault", "Disk", "--any-version"], ["invalid_argument", "purpose"]),
                (["create", "Vault", "disk", "--any-version"], ["invalid_argument", "challenge"]),
                (["create", "vault", "swap", "--any-version", "--version", "ver-a"], ["invalid_argument", "either any_version"]),
                (["create", "vault", "swap", "--measurement", "mrtd"], ["--measurement", "MEMBER=VALUE"]),
                (["create", "vault", "swap", "--measurement", "rtmr0=00"], ["unknown_member", "rtmr0"]),
                (["create", "vault", "swap", "--measurement", "mrtd=00"], ["malformed", "mrtd"]),
                (["create", "vault", "swap", "--any-version", "--tdx-components", "05"], ["malformed", "tdx_components"]),
                (["create", "vault", "swap", "--any-version", "--tcb-date", "soon"], ["malformed", "tcb_date"]),
                (["create", "vault", "swap", "--any-version", "--pce-svn", "65536"], ["--pce-svn"]),
                (["create", "vault", "swap", "--conditions", "absent.json"], ["absent.json"]),
                (["create", "vault", "swap", "--conditions", "absent.json", "--any-version"], ["--conditions", "excludes"]),
                (["raise", "vault", "swap"], ["not_found", "derived-key create"]),
                (["raise", "vault", "disk", "--pce-svn", "4"], ["conflict", "tcb", "version 1"]),
                (["show", "vault", "swap"], ["not_found"]),
                (["revoke", "vault", "disk", "2"], ["not_found"]),
                (["revoke", "vault", "disk", "0"], ["VERSION"])):
            code, out, err = self.cloister("derived-key", *arguments, *self.connection)
            self.assertEqual((code, out), (1, ""), f"{arguments}: {err}")
            for word in words:
                self.assertIn(word, err, arguments)
        # What is not given stays; a file says all of it.
        raised = json.loads(self.derived_key("raise", "vault", "disk", "--tcb-date", "2024-03-13", "--json"))
        self.assertEqual(raised["conditions"], {"versions": ["ver-a"], "tcb": {"pce_svn": 5, "tcb_date": "2024-03-13T00:00:00Z"}})
        conditions = {"measurements": [{"mrtd": "11" * 48, "image_digest": "sha256:" + "22" * 32}], "tcb": {"pce_svn": 6,
                      "tcb_date": "2025-01-01T00:00:00Z", "tdx_components": "05" + "00" * 15}}
        self.write("conditions.json", json.dumps(conditions))
        raised = json.loads(self.derived_key("raise", "vault", "disk", "--conditions", self.home / "conditions.json", "--json"))
        self.assertEqual((raised["version"], raised["conditions"]), (3, conditions))
        self.assertEqual(len(self.derived_key("show", "vault", "disk").splitlines()), 4)
        again = json.loads(self.derived_key("create", "vault", "disk", "--version", "ver-a", "--pce-svn", "5", "--json"))
        self.assertEqual(again["version"], 1)
        revoked = json.loads(self.derived_key("revoke", "vault", "disk", "3", "--json"))
        self.assertEqual(revoked, {"challenge": "vault", "purpose": "disk", "version": 3, "revoked": True})


if __name__ == "__main__":
    harness.main()
