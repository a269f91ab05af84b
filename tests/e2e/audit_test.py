"""The audit log from outside: what a real server exports, changed in every way; heads that were kept; a database that was set
back."""
import base64
import contextlib
import hashlib
import json
import pathlib
import shutil
import sqlite3
import subprocess
import urllib.error
import urllib.request

import fault_test
import harness

try:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    Ed25519PublicKey = None

# A key that nothing needs to be opened with: the generator of P-256 (FIPS 186-4, D.1.2.3).
TEE_KEY = {"kty": "EC", "crv": "P-256", "alg": "ECDH-ES+A256KW",
           "x": base64.urlsafe_b64encode(bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")).decode().rstrip("="),
           "y": base64.urlsafe_b64encode(bytes.fromhex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")).decode().rstrip("=")}
DENY_ALL = "package policy\ndefault allow = false\n"


def tree_hash(leaves):
    """RFC 6962 section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


class Audit(harness.System):
    def setUp(self):
        super().setUp()
        self.write("resource.rego", "package policy\nallow = true\n")
        self.settings = '[key_broker]\nsample_evidence = true\nresource_policy = "resource.rego"\n'
        self.start_platform()
        self.start_server()
        keys = subprocess.run([harness.BIN / "cloisterd", "--config", self.home / "cloisterd.toml", "--show-keys"],
                              capture_output=True, text=True, check=True).stdout
        self.key = json.loads(keys)["audit_keys"][0]
        self.trusted = ["--key", self.key]

    # --- what there is to record

    def kbs(self, method, path, body=b"", status=200):
        token = pathlib.Path(self.server["admin_token_file"]).read_text().strip()
        request = urllib.request.Request(self.server["url"] + "/kbs/v0" + path, data=body, method=method,
                                         headers={"Authorization": "Bearer " + token, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=harness.PATIENCE) as answer:
                self.assertEqual(answer.status, status)
        except urllib.error.HTTPError as refused:
            with refused:
                self.assertEqual(refused.code, status, refused.read())

    def act(self, name):
        """Some administrative acts, in several seconds' heads."""
        self.kbs("POST", f"/resource/default/{name}/1", b"a key")
        self.head()
        self.write("value", "v")
        self.ok("secret", "put", f"{name}/secret", "--file", self.home / "value", *self.connection)
        token = json.loads(self.ok("token", "issue", name, "--json", *self.connection))["id"]
        self.head()
        self.ok("token", "revoke", token, *self.connection)
        self.kbs("DELETE", f"/resource/default/{name}/1")
        self.head()

    def head(self):
        return json.loads(self.ok("audit", "head", "--json", *self.trusted, *self.connection))

    def keep_head(self, name):
        return self.write(name, json.dumps(self.head()))

    def export(self, name, *options):
        self.ok("audit", "export", "--out", self.home / name, *options, *self.trusted, *self.connection)
        return self.home / name

    # --- what is said of exports

    def verified(self, path, *options):
        answer = json.loads(self.ok("audit", "verify", path, "--json", *self.trusted, *options))
        self.assertEqual(answer["verdict"], "accepted")
        return answer

    def rejected(self, code, path, *options, trusted=None, between=None):
        got, out, err = self.cloister("audit", "verify", path, "--json", *(trusted or self.trusted), *options)
        self.assertEqual(got, 2, out + err)
        answer = json.loads(out)
        self.assertEqual((answer["verdict"], answer["error"]["code"]), ("rejected", code), answer)
        if between:
            self.assertTrue(between[0] <= answer["error"]["first"] <= answer["error"]["last"] <= between[1], answer)
        got, out, _ = self.cloister("audit", "verify", path, *(trusted or self.trusted), *options)
        self.assertEqual((got, out.startswith(f"rejected: {code}: ")), (2, True), out)
        return answer["error"]

    def changed(self, lines):
        return self.write("changed.jsonl", "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))

    @staticmethod
    def renumbered(lines):
        count = 0
        out = []
        for line in lines:
            line = dict(line)
            if "leaf" in line:
                line["index"] = count
                count += 1
            out.append(line)
        return out

    def test_every_change_of_an_export_is_found(self):
        self.act("first")
        early = self.keep_head("early.json")
        self.act("second")
        path = self.export("log.jsonl")
        late = self.keep_head("late.json")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        leaves = [base64.b64decode(line["leaf"]) for line in lines if "leaf" in line]
        total = len(leaves)
        self.assertEqual([line["index"] for line in lines if "leaf" in line], list(range(total)))

        # Whole, by our verifier and by cryptography that is not ours.
        answer = self.verified(path)
        self.assertEqual((answer["from"], answer["size"], answer["completeness"]), (0, total, "not checked"))
        self.assertEqual(answer["head"]["root"], tree_hash(leaves).hex())
        if Ed25519PublicKey:
            for line in lines:
                if "head" in line:
                    head = base64.b64decode(line["head"])
                    at = head.index(b"\x75cloister/audit-head/1") - 1  # the array that is signed
                    Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.key)).verify(head[-64:], head[at:-66])
        self.assertIn("completeness not checked", self.ok("audit", "verify", path, *self.trusted))
        self.assertEqual(self.verified(path, "--head", early, "--head", late)["completeness"], "checked")
        self.assertIn("continues", self.ok("audit", "verify", path, "--head", late, *self.trusted))
        shutil.copy(self.home / "server/audit-head.cbor", self.home / "copy.cbor")
        self.assertEqual(self.verified(path, "--head", self.home / "copy.cbor")["completeness"], "checked")

        entries = [number for number, line in enumerate(lines) if "leaf" in line]
        heads = [number for number, line in enumerate(lines) if "head" in line]
        self.assertGreater(len(heads), 4)
        for number in entries:  # every entry, changed in every way
            index = lines[number]["index"]
            covered = max([lines[h]["size"] for h in heads if lines[h]["size"] <= index], default=0)
            until = min(lines[h]["size"] for h in heads if lines[h]["size"] > index)
            with self.subTest(entry=index):
                leaf = bytearray(leaves[index])
                leaf[-1] ^= 1  # the end of its last detail
                other = [dict(line) for line in lines]
                other[number]["leaf"] = base64.b64encode(leaf).decode()
                error = self.rejected("entries_changed", self.changed(other), between=(covered, until - 1))
                self.assertTrue(error["first"] <= index <= error["last"])
                self.rejected("entry_out_of_place", self.changed(lines[:number] + lines[number + 1:]), between=(index, index)
                              ) if index + 1 < until else self.rejected("head_out_of_place", self.changed(
                                  lines[:number] + lines[number + 1:]))
                self.rejected("head_out_of_place", self.changed(self.renumbered(lines[:number] + lines[number + 1:])))
                self.rejected("entry_out_of_place", self.changed(lines[:number] + [lines[number]] + lines[number:]),
                              between=(index, index))
                self.rejected("head_out_of_place", self.changed(self.renumbered(lines[:number] + [lines[number]] + lines[number:])))
        for first, second in zip(entries, entries[1:]):
            swapped = list(lines)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            self.rejected("entry_out_of_place", self.changed(swapped))
            self.rejected("entries_changed", self.changed(self.renumbered(swapped)),
                          between=(0, max(lines[first]["index"], lines[second]["index"], total - 1)))
        for number in heads:
            with self.subTest(head=lines[number]["size"]):
                head = bytearray(base64.b64decode(lines[number]["head"]))
                head[-1] ^= 1
                other = [dict(line) for line in lines]
                other[number]["head"] = base64.b64encode(head).decode()
                self.rejected("head_signature_invalid", self.changed(other))
                if number + 1 < len(lines):
                    # One head fewer says less, and nothing false.
                    self.verified(self.changed(lines[:number] + lines[number + 1:]), "--head", late)
                    # A removed tail is another log that was true once: only a later head tells.
                    cut = self.changed(lines[:number + 1])
                    self.assertEqual(self.verified(cut)["completeness"], "not checked")
                    self.rejected("tail_removed", cut, "--head", late, between=(lines[number]["size"], total - 1))
        self.rejected("cut_off", self.changed(lines[:-1]))
        self.rejected("cut_off", self.write("changed.jsonl", path.read_text()[:-1]))
        self.rejected("line_malformed", self.write("changed.jsonl", path.read_text().replace("audit-export/1", "audit-export/2")))
        self.rejected("line_malformed", self.write("changed.jsonl", path.read_text() + "more\n"))

    def test_nothing_in_an_export_is_an_anchor(self):
        path = self.export("log.jsonl")
        self.rejected("key_not_trusted", path, trusted=["--key", "11" * 32])
        code, out, _ = self.cloister("audit", "verify", path, "--json")
        self.assertEqual((code, json.loads(out)["error"]["code"]), (2, "trust_not_given"))
        trust = self.write("trust.json", json.dumps({"version": 1, "audit_keys": [self.key]}))
        self.ok("audit", "verify", path, "--trust", trust)
        empty = self.write("empty.json", json.dumps({"version": 1}))
        code, out, _ = self.cloister("audit", "verify", path, "--trust", empty)
        self.assertEqual((code, "trust_not_given" in out), (2, True))
        # What is no answer at all.
        for arguments in ([path, "--key", "zz"], [self.home / "absent", *self.trusted], [self.home, *self.trusted],
                          [path, "--head", self.home / "absent", *self.trusted], [path, "--head", trust, *self.trusted],
                          [path, "--trust", trust, *self.trusted], [path, "--trust", path]):
            code, out, err = self.cloister("audit", "verify", *arguments)
            self.assertEqual((code, out), (1, ""), err)
            self.assertTrue(err)

    def test_earlier_heads_that_do_not_fit(self):
        head = self.keep_head("head.json")
        path = self.export("log.jsonl")
        kept = json.loads(head.read_text())
        forged = self.write("forged.json", json.dumps({**kept, "signature": "00" * 64}))
        self.rejected("earlier_head_signature_invalid", path, "--head", forged)
        other = self.write("other.json", json.dumps({**kept, "log": "log-other"}))
        self.rejected("earlier_head_of_another_log", path, "--head", other)
        self.rejected("earlier_head_signature_invalid", path, "--head", self.write(
            "root.json", json.dumps({**kept, "root": "00" * 32})))

    def test_the_log_is_exported_in_parts(self):
        self.act("first")
        first = self.export("first.jsonl")
        link = self.write("first.head", self.ok("audit", "verify", first, "--json", *self.trusted))
        size = json.loads(link.read_text())["size"]
        self.act("second")
        second = self.export("second.jsonl", "--from", size)
        answer = self.verified(second, "--head", link)
        self.assertEqual((answer["from"], answer["completeness"]), (size, "checked"))
        nothing = self.export("nothing.jsonl", "--from", answer["size"])
        self.assertEqual(self.verified(nothing)["size"], answer["size"])
        # Of what is before it, it cannot say.
        third = self.export("third.jsonl", "--from", size + 1)
        code, out, err = self.cloister("audit", "verify", third, "--head", link, *self.trusted)
        self.assertEqual((code, out, "begins at" in err), (1, "", True), err)
        code, _, err = self.cloister("audit", "export", "--from", 10_000, *self.connection)
        self.assertEqual((code, "invalid_argument" in err), (1, True), err)
        # On standard output it is the same file; a part that is not whole has no name.
        whole = self.ok("audit", "export", *self.trusted, *self.connection)
        self.assertEqual(whole, self.export("whole.jsonl").read_text())
        self.assertEqual([p.name for p in self.home.glob("*.part")], [])
        code, out, _ = self.cloister("audit", "export", "--out", self.home / "stranger.jsonl", "--key", "11" * 32, "--json",
                                     *self.connection)
        self.assertEqual((code, json.loads(out)["error"]["code"]), (2, "key_not_trusted"))
        self.assertFalse((self.home / "stranger.jsonl").exists())

    def test_entries_are_shown_with_what_they_mean(self):
        self.act("first")
        path = self.export("log.jsonl")
        listed = json.loads(self.ok("audit", "list", "--json", "--count", "1000", *self.connection))["leaves"]
        self.assertEqual([leaf["index"] for leaf in listed], list(range(len(listed))))
        self.assertEqual([leaf for leaf in listed if not leaf["meaning"]], [])
        self.assertTrue({"server.started", "token_key.made", "data_key.made", "token.issued", "token.revoked", "secret.stored",
                         "resource.stored", "resource.removed"} <= {leaf["kind"] for leaf in listed})
        offline = json.loads(self.ok("audit", "list", "--json", "--count", "1000", "--export", path, *self.trusted))["leaves"]
        self.assertEqual(offline, listed)
        tokens = [leaf for leaf in listed if leaf["kind"].startswith("token.")]
        for place in (self.connection, ["--export", path, *self.trusted]):
            filtered = json.loads(self.ok("audit", "list", "--json", "--kind", "token", *place))["leaves"]
            self.assertEqual(filtered, tokens)
            subject = json.loads(self.ok("audit", "list", "--json", "--subject", tokens[-1]["subject"], "--kind", "token.issued",
                                         *place))["leaves"]
            self.assertEqual([leaf["kind"] for leaf in subject], ["token.issued"])
            self.assertEqual(json.loads(self.ok("audit", "list", "--json", "--first", 3, "--count", 2, *place))["leaves"], listed[3:5])
            self.assertEqual(json.loads(self.ok("audit", "list", "--json", "--first", 9999, *place)), {"leaves": []})
            self.assertEqual(json.loads(self.ok("audit", "show", 4, "--json", *place)), listed[4])
            self.assertIn(listed[4]["subject"], self.ok("audit", "show", 4, *place))
            code, _, err = self.cloister("audit", "show", 9999, *place)
            self.assertEqual((code, "not_found" in err), (1, True), err)
            self.assertEqual(len(self.ok("audit", "list", "--count", 3, *place).splitlines()), 3)
        # Of an export that is not verified nothing is shown.
        code, out, _ = self.cloister("audit", "list", "--export", path, "--key", "11" * 32)
        self.assertEqual((code, out.count("\n"), out.startswith("rejected")), (2, 1, True))

    def test_proofs_are_checked_here(self):
        early = self.keep_head("early.json")
        copy = self.write("copy.json", early.read_text())
        self.act("first")
        answer = json.loads(self.ok("audit", "consistency", "--head", early, "--json", *self.trusted, *self.connection))
        self.assertEqual((answer["verdict"], answer["first"]), ("accepted", json.loads(early.read_text())["size"]))
        self.ok("audit", "consistency", "--head", copy, "--update", *self.trusted, *self.connection)
        self.assertGreater(json.loads(copy.read_text())["size"], answer["first"])
        self.ok("audit", "consistency", "--head", copy, *self.trusted, *self.connection)
        shown = json.loads(self.ok("audit", "inclusion", 1, "--json", *self.trusted, *self.connection))
        self.assertEqual((shown["verdict"], shown["leaf"]["index"]), ("accepted", 1))
        self.ok("audit", "inclusion", 1, "--head", early, *self.trusted, *self.connection)

        def refused(code, *arguments, trusted=self.trusted):
            for command in (["inclusion", 1], ["consistency"]):
                got, out, err = self.cloister("audit", *command, "--json", *arguments, *trusted, *self.connection)
                self.assertEqual(got, 2, out + err)
                self.assertEqual(json.loads(out)["error"]["code"], code)

        kept = json.loads(early.read_text())
        changed = lambda **what: self.write("changed.json", json.dumps({**kept, **what}))
        refused("earlier_head_signature_invalid", "--head", changed(root="00" * 32))
        refused("earlier_head_of_another_log", "--head", changed(log="log-other"))
        refused("key_not_trusted", "--head", early, trusted=["--key", "11" * 32])
        refused("trust_not_given", "--head", early, trusted=[])
        code, _, err = self.cloister("audit", "inclusion", 9999, *self.trusted, *self.connection)
        self.assertEqual((code, "not_found" in err), (1, True), err)

    # --- starts and restores

    def stop_server(self):
        child = self.processes["server"]
        self.children.remove(child)
        child.send_signal(harness.signal.SIGTERM)
        child.wait(harness.PATIENCE)
        child.stdout.close()

    def copy_database(self, there, back=False):
        """The database alone: the head file stays as it is."""
        here = self.home / "server"
        source, target = (there, here) if back else (here, there)
        target.mkdir(exist_ok=True)
        for file in target.glob("cloister.db*"):
            file.unlink()
        for name in ("cloister.db", "cloister.db-wal"):
            if (source / name).exists():
                shutil.copy(source / name, target)

    def complaint(self):
        done = subprocess.run([harness.BIN / "cloisterd", "--config", self.home / "cloisterd.toml"], capture_output=True,
                              text=True, cwd=self.home, timeout=harness.PATIENCE)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        return done.stderr

    def kinds(self):
        return [leaf["kind"] for leaf in json.loads(self.ok("audit", "list", "--json", "--count", "1000", *self.connection))["leaves"]]

    def test_a_policy_that_was_changed_in_its_file_is_in_the_log(self):
        starts = lambda: [leaf for leaf in json.loads(self.ok("audit", "list", "--json", "--kind", "server.started",
                                                              *self.connection))["leaves"]]
        first, = starts()
        digest = lambda name: hashlib.sha256((self.home / name).read_bytes()).hexdigest()
        self.assertEqual(first["subject"], self.server["server_id"])
        details = first["details"]
        self.assertEqual((details["resource_policy"], details["configuration"], details["trust"]),
                         (digest("resource.rego"), digest("cloisterd.toml"), digest("server-trust.json")))
        self.assertEqual((details["sample"], details["lab"], details["keys"]), (1, 1, "file"))
        self.stop_server()
        self.write("resource.rego", DENY_ALL)
        self.settings = self.settings.replace("sample_evidence = true", "sample_evidence = false")
        self.start_server()
        second = starts()[-1]["details"]
        self.assertEqual((second["resource_policy"], second["sample"]), (digest("resource.rego"), 0))
        self.assertNotEqual(second["resource_policy"], details["resource_policy"])
        self.assertNotEqual(second["configuration"], details["configuration"])

    def refused_request(self, method, path, token, status, body=None):
        request = urllib.request.Request(self.server["url"] + path, data=body, method=method,
                                         headers={"Authorization": "Bearer " + token} if token else {})
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=harness.PATIENCE)
        self.assertEqual(refused.exception.code, status, path)
        refused.exception.close()

    def counted_refusals(self):
        self.stop_server()
        self.start_server()
        refusals = json.loads(self.ok("audit", "list", "--json", "--kind", "refused", *self.connection))["leaves"]
        counts = {}
        for leaf in refusals:  # of two minutes, perhaps
            counts[leaf["subject"]] = counts.get(leaf["subject"], 0) + leaf["details"]["count"]
        return counts

    def test_refused_requests_are_counted_although_the_minute_is_not_over(self):
        for token, status in ((None, 401), ("nonsense", 401), (self.issued("small", "client"), 403)):
            self.refused_request("GET", "/api/v1/tokens", token, status)
        counts = self.counted_refusals()
        self.assertEqual((counts["unauthenticated"], counts["permission_denied"]), (2, 1))

    def test_the_key_brokers_refusals_are_counted_once_under_both_prefixes(self):
        stranger = json.loads(self.ok("token", "issue", "theirs", "--role", "admin", "--tenant", "acme", "--json", *self.connection))["token"]
        small = self.issued("small", "client")
        for prefix in ("/kbs/v0", "/t/other/kbs/v0"):
            # Administrators who are none, and those of another tenant.
            for method, path in (("POST", "/resource/default/key/1"), ("DELETE", "/resource/default/key/1"), ("GET", "/resource"),
                                 ("POST", "/resource-policy")):
                self.refused_request(method, prefix + path, None, 401, b"{}" if method == "POST" else None)
                self.refused_request(method, prefix + path, small, 403, b"{}" if method == "POST" else None)
                self.refused_request(method, prefix + path, stranger, 403, b"{}" if method == "POST" else None)
            # Guests.
            self.refused_request("POST", prefix + "/auth", None, 401, b"junk")
            self.refused_request("POST", prefix + "/auth", None, 401, b'{"version":"0.1.0","tee":"sample","extra-params":""}')
            self.refused_request("POST", prefix + "/auth", None, 401, b'{"version":"0.4.0","tee":"csv","extra-params":""}')
            self.refused_request("POST", prefix + "/attest", None, 401, b"{}")
            self.refused_request("GET", prefix + "/resource/default/key/1", "nonsense", 401)
        counts = self.counted_refusals()
        self.assertEqual(counts["permission_denied"], 16, counts)
        self.assertEqual(counts["unauthenticated"], 8 + 2, counts)  # of attestations without a session too
        self.assertEqual((counts["malformed"], counts["unsupported"], counts["evidence_unsupported"]), (4, 2, 2), counts)  # of requests, and of tokens
        self.assertEqual(sum(counts.values()), 16 + 10 + 8, counts)

    def edit(self, sql):
        with contextlib.closing(sqlite3.connect(self.home / "server/cloister.db")) as database:
            self.assertGreater(database.execute(sql).rowcount, 0, sql)
            database.commit()

    def test_rows_that_the_log_does_not_know_are_refused(self):
        body = json.dumps({"policy": base64.urlsafe_b64encode(DENY_ALL.encode()).decode().rstrip("=")}).encode()
        self.kbs("POST", "/resource-policy", body)
        self.kbs("POST", "/reference-value", self.reference_value())
        self.ok("revocation", "add", "chip", "a" * 32, "--reason", "stolen", *self.connection)
        self.stop_server()
        self.start_server()
        edits = {"DELETE FROM revocation": "revocation rev-",
                 "UPDATE broker_policy SET text = 'package policy\nallow = true'": "policy resource/default of the tenant default",
                 "UPDATE reference_values SET text = '{\"svn\":[\"2\"]}'": "reference values of the tenant default"}
        for sql, what in edits.items():
            with self.subTest(what):
                self.stop_server()
                self.edit(sql)
                said = self.complaint()
                for words in ("database_behind_head", what, "of the audit log", "restore the newest backup, the whole of it", "--accept-rollback"):
                    self.assertIn(words, said)
                self.around = lambda *command: [*command, "--accept-rollback"]
                self.start_server()
                del self.around
                last = json.loads(self.ok("audit", "list", "--json", "--count", "1000", *self.connection))["leaves"]
                self.assertIn("accept-rollback", [leaf["details"].get("by") for leaf in last])
                self.stop_server()
                self.start_server()

    def issued(self, name, role):
        return json.loads(self.ok("token", "issue", name, "--role", role, "--json", *self.connection))["token"]

    def test_a_database_from_before_an_act_is_refused(self):
        body = json.dumps({"policy": base64.urlsafe_b64encode(DENY_ALL.encode()).decode().rstrip("=")}).encode()
        acts = {  # after each of them, an older database would give what was taken away
            "a resource that was removed": lambda: self.kbs("DELETE", "/resource/default/key/1"),
            "a policy that was set": lambda: self.kbs("POST", "/resource-policy", body),
            "a reference value that was set": lambda: self.kbs("POST", "/reference-value", self.reference_value()),
            "a chip that was revoked": lambda: self.ok("revocation", "add", "chip", "b" * 32, "--reason", "stolen", *self.connection),
            "a token that was revoked": lambda: self.ok("token", "revoke", self.token, *self.connection),
        }
        for number, (what, act) in enumerate(acts.items()):
            with self.subTest(what):
                self.kbs("POST", "/resource/default/key/1", b"a key")
                self.token = json.loads(self.ok("token", "issue", "somebody", "--json", *self.connection))["id"]
                self.head()
                # Everything up to here, from under the running server: the act alone is missing.
                backup, newest, head = self.home / f"backup-{number}", self.home / f"newest-{number}", self.home / "server/audit-head.cbor"
                self.copy_database(backup)
                shutil.copy(head, backup)
                act()
                if number == 0:
                    self.stop_server()
                else:  # answered under a signed head, which is kept by then
                    self.kill("server")
                self.copy_database(newest)
                shutil.copy(head, newest)
                self.copy_database(backup, back=True)
                said = self.complaint()
                self.assertIn("database_behind_head", said)
                self.assertIn("restore the newest backup", said)
                self.assertIn("--accept-rollback", said)
                # It is the head that refuses it: with the one of then, it is a good database.
                shutil.copy(backup / "audit-head.cbor", head)
                self.start_server()
                self.stop_server()
                self.copy_database(newest, back=True)
                shutil.copy(newest / "audit-head.cbor", head)
                self.start_server()

    @staticmethod
    def reference_value():
        payload = base64.b64encode(json.dumps({"svn": ["1"]}).encode()).decode()
        return json.dumps({"version": "0.1.0", "type": "sample", "payload": payload}).encode()

    def test_a_rollback_that_was_accepted_is_the_first_entry_of_a_new_log(self):
        self.act("first")
        self.stop_server()
        self.copy_database(self.home / "backup")
        before = shutil.copy(self.home / "server/audit-head.cbor", self.home / "before.cbor")
        self.start_server()
        self.act("second")
        lost = self.keep_head("lost.json")
        self.stop_server()
        self.copy_database(self.home / "backup", back=True)
        self.assertIn("database_behind_head", self.complaint())
        self.around = lambda *command: [*command, "--accept-rollback"]
        self.start_server()
        del self.around
        path = self.export("new.jsonl")
        answer = self.verified(path)
        first = answer["rollback"]
        was = json.loads(lost.read_text())
        self.assertEqual((first["kind"], first["subject"]), ("log.rollback", answer["log"]))
        self.assertEqual((first["details"]["file_log"], first["details"]["database_log"]), (was["log"], was["log"]))
        self.assertGreater(first["details"]["file_size"], first["details"]["database_size"])
        self.assertIn("began because a rollback was accepted", self.ok("audit", "verify", path, *self.trusted))
        self.rejected("earlier_head_of_another_log", path, "--head", lost)
        # The log before is still there, as far as the database had it.
        logs = json.loads(self.ok("audit", "logs", "--json", *self.connection))["logs"]
        self.assertEqual([(log["id"], log["current"]) for log in logs], [(was["log"], False), (answer["log"], True)])
        old = self.export("old.jsonl", "--log", was["log"])
        kept = self.verified(old, "--head", before)
        self.assertEqual((kept["log"], kept["head"]["root"]), (was["log"], first["details"]["database_root"]))
        self.rejected("tail_removed", old, "--head", lost)
        # From now on it starts as ever.
        self.stop_server()
        self.start_server()
        self.assertEqual(self.kinds()[0], "log.rollback")


class StorageGone(harness.System):
    """No record, no release: guests of the key broker and operators alike."""

    def send(self, method, path, body=None, **headers):
        """(status, text, cookie)"""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.server["url"] + path, data=data, method=method,
                                         headers={"Content-Type": "application/json", **headers})
        try:
            with urllib.request.urlopen(request, timeout=harness.PATIENCE) as answer:
                return answer.status, answer.read().decode(), (answer.headers["Set-Cookie"] or "").split(";")[0]
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode(), ""

    def open(self):
        status, challenge, cookie = self.send("POST", "/kbs/v0/auth", {"version": "0.4.0", "tee": "sample", "extra-params": ""})
        self.assertEqual(status, 200, challenge)
        return json.loads(challenge)["nonce"], cookie

    def attest(self, nonce, cookie):
        runtime = {"nonce": nonce, "tee-pubkey": TEE_KEY}
        bound = json.dumps({"additional-evidence": "", **runtime}, sort_keys=True, separators=(",", ":")).encode()
        evidence = {"report_data": base64.b64encode(hashlib.sha384(bound).digest()).decode(), "svn": "1"}
        return self.send("POST", "/kbs/v0/attest", {"init-data": None, "runtime-data": runtime, "tee-evidence": {
            "primary_evidence": evidence, "additional_evidence": ""}}, Cookie=cookie)

    def test_a_full_disk_releases_nothing_and_gives_no_token(self):
        disk = fault_test.SmallDisk(self, self.home / "server")
        self.write("resource.rego", "package policy\nallow = true\n")
        self.settings = '[key_broker]\nsample_evidence = true\nresource_policy = "resource.rego"\n'
        self.start_platform()
        self.around = disk.inside
        self.start_server()
        token = subprocess.run(disk.inside("cat", self.server["admin_token_file"]), check=True, capture_output=True,
                               text=True).stdout.strip()
        self.connection[3] = self.write("admin.token", token + "\n")
        admin = {"Authorization": "Bearer " + token}
        self.assertEqual(self.send("POST", "/kbs/v0/resource/default/key/1", b"a key", **admin)[0], 200)
        nonce, cookie = self.open()
        status, answer, _ = self.attest(nonce, cookie)
        self.assertEqual(status, 200, answer)
        self.assertEqual(self.send("GET", "/kbs/v0/resource/default/key/1", Cookie=cookie)[0], 200)
        pending = self.open()

        disk.fill()
        tried = {"a resource": lambda: self.send("GET", "/kbs/v0/resource/default/key/1", Cookie=cookie),
                 "a missing one": lambda: self.send("GET", "/kbs/v0/resource/default/key/2", Cookie=cookie),
                 "an attestation": lambda: self.attest(*pending),
                 "an operator's token": lambda: self.send("POST", "/api/v1/tokens", {"name": "x", "role": "admin"}, **admin),
                 "a new resource": lambda: self.send("POST", "/kbs/v0/resource/default/key/3", b"x", **admin),
                 "a removal": lambda: self.send("DELETE", "/kbs/v0/resource/default/key/1", **admin)}
        for what, act in tried.items():
            with self.subTest(what):
                status, answer, _ = act()
                self.assertEqual(status, 503, answer)
                for given in ("ciphertext", "token\":"):
                    self.assertNotIn(given, answer)

        disk.free()
        self.wait_for("the storage", lambda: self.send("GET", "/ready")[0] == 200)
        self.assertEqual(self.attest(*pending)[0], 200, "its nonce was not used up")
        kinds = [leaf["kind"] for leaf in json.loads(self.ok("audit", "list", "--json", "--count", 1000, *self.connection))["leaves"]]
        self.assertEqual([kinds.count(kind) for kind in ("resource.released", "resource.refused", "resource.stored",
                                                         "resource.removed", "guest.attested", "token.issued")],
                         [1, 0, 1, 0, 2, 1])


if __name__ == "__main__":
    harness.main()
