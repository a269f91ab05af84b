"""cloisterd from outside: what it needs to start, what it says when it cannot, and its administrator's token."""
import json
import os
import pathlib
import socket
import sqlite3
import stat
import subprocess
import urllib.error
import urllib.request

import harness


class Server(harness.System):
    def run_server(self, config="cloisterd.toml"):
        """Of a server that does not start: its one line."""
        done = subprocess.run([harness.BIN / "cloisterd", "--config", self.home / config], capture_output=True,
                              text=True, cwd=self.home, timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stdout, "")
        return done.stderr

    def complaint(self, **options):
        """The lines that are not the log's."""
        return [line for line in self.run_server(**options).splitlines() if line.startswith("cloisterd: ")]

    def stop_server(self):
        child = self.children.pop()
        child.send_signal(harness.signal.SIGTERM)
        child.wait(harness.PATIENCE)
        child.stdout.close()

    def test_the_administrators_token_is_made_once_for_its_owner_alone(self):
        self.start_platform()
        self.start_server()
        file = self.home / "server" / "admin.token"
        self.assertEqual(str(file), self.server["admin_token_file"])
        self.assertEqual(stat.S_IMODE(os.stat(file).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(file.parent).st_mode), 0o700)
        token = file.read_text().strip()
        self.ok("validator", "list", *self.connection)
        self.assertNotIn(token, json.dumps(self.server) + self.log("server"))
        self.stop_server()
        self.start_server()
        self.assertEqual(file.read_text().strip(), token)
        self.assertNotIn(token, self.log("server"))
        self.ok("validator", "list", *self.connection)
        self.stop_server()
        self.write("server/admin.token", "one of another server\n")
        self.start_server()
        self.assertNotEqual(file.read_text().strip(), token)
        self.assertEqual(stat.S_IMODE(os.stat(file).st_mode), 0o600)
        self.ok("validator", "list", *self.connection)
        for path in (self.home / "server").rglob("*"):
            if path.is_file() and path != file:
                self.assertNotIn(token.encode(), path.read_bytes(), path)

    def test_an_administrators_token_that_others_may_read_is_closed_and_told(self):
        self.start_platform()
        self.start_server()
        file = self.home / "server" / "admin.token"
        token = file.read_text()
        self.stop_server()
        self.assertNotIn("admin_token.was_open", self.log("server"))
        file.chmod(0o644)
        self.start_server()
        self.assertEqual((stat.S_IMODE(os.stat(file).st_mode), file.read_text()), (0o600, token))
        self.assertIn("admin_token.was_open", self.log("server"))

    def test_without_its_master_key_nothing_is_opened_and_none_is_made(self):
        self.start_platform()
        self.start_server()
        self.stop_server()
        key = self.home / "server/master.key"
        kept = key.read_bytes()
        key.unlink()
        line, = self.complaint()
        for word in ("master.key", "is gone", "backup"):
            self.assertIn(word, line)
        self.assertFalse(key.exists())
        key.write_bytes(kept)
        key.chmod(0o600)
        self.start_server()

    def test_tokens_are_issued_listed_and_revoked(self):
        self.start_platform()
        self.start_server()
        issued = json.loads(self.ok("token", "issue", "ci", "--role", "client", "--json", *self.connection))
        self.write("ci.token", issued["token"])
        mine = ["--server", self.server["url"], "--token-file", self.home / "ci.token"]
        self.ok("job", "list", *mine)
        code, _, err = self.cloister("token", "list", *mine)
        self.assertEqual((code, "permission_denied" in err), (1, True), err)
        listed = self.listed("token")["tokens"]
        self.assertIn(issued["id"], [token["id"] for token in listed])
        self.assertNotIn(issued["token"], json.dumps(listed) + self.log("server"))
        self.ok("token", "revoke", issued["id"], *self.connection)
        code, _, err = self.cloister("job", "list", *mine)
        self.assertEqual((code, "revoked" in err), (1, True), err)
        self.stop_server()
        self.start_server()
        self.assertEqual(self.cloister("job", "list", *mine[2:], "--server", self.server["url"])[0], 1)
        out = self.ok("token", "issue", "cd", *self.connection)
        self.assertEqual(out.count("."), 2, "the token alone")

    def ask(self, path):
        """(status, header fields) of a request with the administrator's token"""
        request = urllib.request.Request(self.server["url"] + path)
        request.add_header("Authorization", "Bearer " + pathlib.Path(self.server["admin_token_file"]).read_text().strip())
        try:
            with urllib.request.urlopen(request, timeout=harness.PATIENCE) as answer:
                return answer.status, answer.headers
        except urllib.error.HTTPError as refused:
            return refused.code, refused.headers

    def test_beyond_its_limits_it_says_when_to_come_back(self):
        self.settings = "[limits]\nrequests_per_second_per_token = 1\nconnections = 2\n"
        self.start_platform()
        self.start_server()
        answers = [self.ask("/api/v1/challenges") for _ in range(10)]
        self.assertEqual({status for status, _ in answers}, {200, 429})
        self.assertEqual({fields["Retry-After"] for status, fields in answers if status == 429}, {"1"})
        self.assertEqual(self.ask("/ready")[0], 200)
        address = ("127.0.0.1", int(self.server["url"].rsplit(":", 1)[1]))
        with socket.create_connection(address), socket.create_connection(address):
            status, fields = self.wait_for("a refusal", lambda: (lambda got: got if got[0] == 503 else None)(self.ask("/ready")))
            self.assertEqual((status, fields["Retry-After"]), (503, "1"))
        self.wait_for("room", lambda: self.ask("/ready")[0] == 200)

    def test_a_drained_validator_runs_nothing_more(self):
        self.start_platform()
        self.start_server()
        self.start_validator()
        self.wait_verified()
        (validator,) = self.listed("validator")["validators"]
        self.ok("validator", "drain", validator["id"], *self.connection)
        self.push_example()
        self.assertEqual([v["state"] for v in self.listed("validator")["validators"]], ["draining"])
        self.assertEqual(self.listed("instance")["instances"], [])
        self.ok("validator", "enrol", validator["hotkey"], *self.connection)
        self.assertEqual([v["state"] for v in self.listed("validator")["validators"]], ["verified"])
        self.wait_for("an instance", lambda: self.listed("instance")["instances"])

    def test_a_port_in_use_is_named_with_the_remedy(self):
        self.start_platform()
        self.start_server()
        port = self.server["url"].rsplit(":", 1)[1]
        text = (self.home / "cloisterd.toml").read_text()
        self.write("other.toml", text.replace('data = "server"', 'data = "other"').replace(":0", f":{port}"))
        lines = self.complaint(config="other.toml")
        self.assertEqual(len(lines), 1, lines)
        for word in (f"127.0.0.1:{port}", "in use", "listen"):
            self.assertIn(word, lines[0])

    def test_a_data_folder_has_one_server(self):
        self.start_platform()
        self.start_server()
        lines = self.complaint()
        self.assertEqual((len(lines), "another process" in lines[0], "cloister.db" in lines[0]), (1, True, True), lines)
        self.ok("validator", "list", *self.connection)

    def test_a_database_of_a_newer_version_is_left_alone(self):
        self.start_platform()
        self.start_server()
        self.stop_server()
        database = self.home / "server" / "cloister.db"
        with sqlite3.connect(database) as connection:
            (newest,) = connection.execute("SELECT max(number) FROM schema_migration").fetchone()
            connection.execute("INSERT INTO schema_migration (number, name, digest) VALUES (?, 'of tomorrow', ?)",
                               (newest + 1, b"\0" * 32))
        connection.close()
        lines = self.complaint()
        self.assertEqual(len(lines), 1, lines)
        for word in ("database_newer", "newer cloisterd"):
            self.assertIn(word, lines[0])
        with sqlite3.connect(database) as connection:
            connection.execute("DELETE FROM schema_migration WHERE number = ?", (newest + 1,))
        connection.close()
        self.start_server()
        self.ok("validator", "list", *self.connection)

    def test_a_database_that_is_older_than_the_head_that_was_kept_is_refused(self):
        self.start_platform()
        self.start_server()
        self.stop_server()
        data = self.home / "server"
        backup = {file: file.read_bytes() for file in data.glob("cloister.db*")}
        self.assertIn(data / "cloister.db", backup)
        self.start_server()
        self.write("value", "v")
        self.ok("secret", "put", "after/backup", "--file", self.home / "value", *self.connection)  # a leaf of the log
        self.stop_server()
        newest = {file: file.read_bytes() for file in data.glob("cloister.db*")}

        self.put_back(data, backup)
        lines = self.complaint()
        self.assertEqual(len(lines), 1, lines)
        for word in ("database_behind_head", "the head file covers", "restore the newest backup"):
            self.assertIn(word, lines[0])
        self.assertEqual(self.complaint(), lines, "it has not made its peace with it")

        self.put_back(data, newest)
        self.start_server()
        self.assertEqual([secret["path"] for secret in self.listed("secret")["secrets"]], ["after/backup"])

    def put_back(self, data, files):
        for file in data.glob("cloister.db*"):
            file.unlink()
        for file, content in files.items():
            file.write_bytes(content)

    def test_an_unreadable_configuration_is_named(self):
        self.assertEqual(self.complaint(config="absent.toml"),
                         [f"cloisterd: cannot read {self.home}/absent.toml: No such file or directory"])
        self.write("broken.toml", "data = ")
        lines = self.complaint(config="broken.toml")
        self.assertEqual((len(lines), "line 1" in lines[0]), (1, True), lines)

    def test_every_mistake_of_the_configuration_has_its_line(self):
        self.write("bad.toml", 'data = "d"\nguest = "/absent"\ncollateral = "/absent"\nlisten = "0.0.0.0:0"\n'
                               'lease = "1y"\ncolour = "red"\n[limits]\nconnections = 0\n')
        lines = self.complaint(config="bad.toml")
        self.assertEqual(len(lines), 6, lines)
        for word in ("guest: cannot read /absent", "collateral: cannot read /absent", "listen: ", "lease: ",
                     "colour: no such setting", "limits.connections: "):
            self.assertEqual(sum(word in line for line in lines), 1, (word, lines))
        self.assertIn("[tls]", next(line for line in lines if "listen: " in line))
        self.assertFalse((self.home / "d").exists())

    def test_a_certificate_that_cannot_serve_is_named(self):
        self.start_platform()
        self.write("tls.pem", "no certificate")
        self.write("tls.key", "no key")
        self.settings = '[tls]\ncertificate = "tls.pem"\nkey = "tls.key"\n'
        with self.assertRaises(AssertionError):
            self.start_server()
        lines = self.complaint()
        self.assertEqual((len(lines), "TLS certificate" in lines[0], "tls.pem" in lines[0]), (1, True, True), lines)

    def test_words_that_it_does_not_know_are_a_usage_error(self):
        done = subprocess.run([harness.BIN / "cloisterd", "--colour"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("--config", done.stderr)


if __name__ == "__main__":
    harness.main()
