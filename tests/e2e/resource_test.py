"""Resources of the key broker by the command line, and what guests get of them: versions, deletion, first use, data keys."""
import json
import pathlib
import subprocess
import unittest

import harness
import kbs_test

jwe = kbs_test.jwe
PATH = "default/key/1"


@unittest.skipUnless(jwe, "jwcrypto is not installed (Debian package python3-jwcrypto)")
class Resources(harness.System):
    def setUp(self):
        super().setUp()
        self.write("resource.rego", kbs_test.ALLOW_ALL)
        self.settings = '[key_broker]\nsample_evidence = true\nresource_policy = "resource.rego"\nmax_resources = 4\n'
        self.start_platform()
        self.start_server()
        self.guest = kbs_test.Guest(self.server["url"])
        self.assertEqual(self.guest.handshake()[0], 200)

    def value(self, path=PATH, query=""):
        """What a guest gets, or the status of its refusal."""
        status, body, _ = self.guest.send("GET", f"/resource/{path}{query}")
        return self.guest.opened(body) if status == 200 else status

    def resource(self, *arguments):
        return self.ok("resource", *arguments, *self.connection)

    def refused(self, code, *arguments):
        status, out, err = self.cloister(*arguments, *self.connection)
        self.assertEqual(status, 1, out)
        self.assertIn(code, err)
        return err

    def put(self, value, *more):
        return self.resource("put", PATH, "--file", self.write("value", value), *more)

    def test_versions_and_deletion(self):
        self.assertEqual(self.put("one", "--label", "env=prod", "--label", "team=a"), f"{PATH} version 1\n")
        self.assertEqual(json.loads(self.put("two", "--json")), {"path": PATH, "version": 2})
        self.assertEqual([self.value(), self.value(query="?version=1"), self.value(query="?version=3")], [b"two", b"one", 404])
        self.resource("current", PATH, "1")
        self.assertEqual(self.value(), b"one")
        shown = json.loads(self.resource("show", PATH, "--json"))
        self.assertEqual((shown["current"], shown["last"], shown["labels"]), (1, 2, {"env": "prod", "team": "a"}))
        self.assertEqual([(v["version"], v["state"], v["size"]) for v in shown["versions"]], [(2, "available", 3), (1, "available", 3)])
        self.assertIn("available", self.resource("show", PATH))
        listed = json.loads(self.resource("list", "--label", "team=a", "--label", "env=prod", "--json"))
        self.assertEqual([one["path"] for one in listed["resources"]], [PATH])
        self.assertEqual(json.loads(self.resource("list", "--label", "env=dev", "--json")), {"resources": []})

        self.assertIn("conflict", self.refused("delete the resource first", "resource", "purge", PATH))
        self.resource("delete", PATH, "--version", "1")
        self.assertEqual(self.value(), 404)
        self.resource("undelete", PATH, "--version", "1")
        self.resource("delete", PATH)
        self.assertEqual([self.value(), self.value(query="?version=2")], [404, 404])
        self.assertEqual(json.loads(self.resource("list", "--json")), {"resources": []})
        self.assertIn(PATH, self.resource("list", "--deleted"))
        self.refused("undelete it first", "resource", "put", PATH, "--file", self.home / "value")
        purged = json.loads(self.resource("purge", PATH, "--json"))
        self.assertEqual(purged, {"path": PATH, "versions": [1, 2], "log_emptied": True})
        self.refused("not_found", "resource", "show", PATH)
        self.refused("not_found", "resource", "rotate", PATH, "--file", self.home / "value")
        self.assertEqual(self.put("three"), f"{PATH} version 3\n")

    def test_values_come_from_files_and_standard_input_alone(self):
        done = subprocess.run([harness.BIN / "cloister", "resource", "put", PATH, "--file", "-", *map(str, self.connection)],
                              input=b"piped\0value", capture_output=True, env=harness.environment(self.home), timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.value(), b"piped\0value")
        self.refused("--file", "resource", "put", PATH)
        self.refused("limit_exceeded", "resource", "put", PATH, "--file", self.write("large", "x" * ((2 << 20) + 1)))
        for path in ("a/b", "a/b/c/d", ".a/b/c", "a/b/c?x"):
            self.refused("invalid_argument", "resource", "show", path)
        self.refused("label", "resource", "label", PATH)
        self.refused("invalid_argument", "resource", "label", PATH, "env")
        self.refused("invalid_argument", "resource", "label", PATH, "env=a b")
        self.resource("label", PATH, "env=dev")
        self.assertEqual(json.loads(self.resource("label", PATH, "--clear", "--json"))["labels"], {})
        self.refused("invalid_argument", "resource", "keep", PATH, "some")
        self.assertEqual(json.loads(self.resource("keep", PATH, "1", "--json"))["keep"], 1)
        self.assertEqual(json.loads(self.resource("keep", PATH, "all", "--json"))["keep"], None)

    def test_a_value_that_only_guests_see(self):
        self.resource("generate", "a/disk/1", "--random", "48")
        self.assertTrue(json.loads(self.resource("show", "a/disk/1", "--json"))["pending"])
        value = self.value("a/disk/1")
        self.assertEqual((len(value), self.value("a/disk/1")), (48, value))
        self.refused("conflict", "resource", "put", "a/disk/1", "--file", self.write("mine", "known"))
        self.assertEqual(self.resource("rotate", "a/disk/1"), "a/disk/1 version 2\n")
        self.assertNotEqual(self.value("a/disk/1"), value)
        self.assertEqual(self.value("a/disk/1", "?version=1"), value)
        self.refused("conflict", "resource", "generate", "a/disk/1")
        for number in range(3):
            self.resource("generate", f"a/more/{number}")
        self.refused("limit_exceeded", "resource", "generate", "a/more/3")
        self.assertEqual(json.loads(self.resource("usage", "--json"))["count"], 4)
        leaves = json.loads(self.ok("audit", "tail", "--json", "--lines", "1000", *self.connection))["leaves"]
        kinds = [leaf["kind"] for leaf in leaves]
        self.assertEqual(kinds.count("resource.generated"), 2)
        for file in (self.home / "server").rglob("*"):
            if file.is_file():
                self.assertNotIn(value, file.read_bytes(), file)

    def test_data_keys_rotate_while_guests_are_served(self):
        for number in range(3):
            self.resource("put", f"a/b/{number}", "--file", self.write("value", "x" * (1 << 20)))
        before = json.loads(self.ok("data-key", "show", "--json", *self.connection))
        self.assertEqual((before["tenant"], before["older"], before["remaining"]), ("default", 0, 0))
        status, out, err = self.cloister("data-key", "rotate", "--json", *self.connection)
        self.assertEqual(status, 0, err)
        after = json.loads(out)
        self.assertNotEqual(after["key"], before["key"])
        self.assertEqual((after["older"], after["remaining"], after["retired"]), (0, 0, 1))
        self.assertGreaterEqual(after["resealed"], 3)
        self.assertRegex(err, r"\d+ of \d+ values are sealed again")
        self.assertEqual(self.value("a/b/2"), b"x" * (1 << 20))
        self.assertEqual(json.loads(self.ok("data-key", "rotate", "--resume", "--json", *self.connection))["key"], after["key"])
        self.ok("data-key", "rotate", "--tenant", "system", *self.connection)
        self.refused("not_found", "data-key", "rotate", "--tenant", "nobody")
        database = pathlib.Path(self.home / "server/cloister.db").read_bytes()
        # As sealed values begin (CBOR: the domain, the key's id of 35 bytes); the audit log has the id too.
        self.assertFalse(b"cloister/sealed/1\x78\x23" + before["key"].encode() in database)
        self.assertTrue(b"cloister/sealed/1\x78\x23" in database)


if __name__ == "__main__":
    harness.main()
