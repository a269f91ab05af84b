"""What an operator sees: health, readiness, state, metrics and logs, each seen to change with what it tells of."""
import json
import re
import resource
import urllib.error
import urllib.request

import harness


class Sight(harness.System):
    settings = 'log_level = "debug"\n'

    def start_platform(self):
        self.platform = self.start("platform", harness.BIN / "cloister", "lab", "platform", "--state",
                                   self.home / "platform", "--log-level", "debug")

    def ask(self, path, token=None, **headers):
        """(status, headers, text)"""
        request = urllib.request.Request(self.server["url"] + path, headers=headers)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=harness.PATIENCE) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.headers, refused.read().decode()

    def admin(self):
        return (self.home / "server/admin.token").read_text().strip()

    def status(self):
        code, _, text = self.ask("/status", self.admin())
        self.assertEqual(code, 200, text)
        return json.loads(text)

    def warnings(self):
        return {warning["code"] for warning in self.status()["warnings"]}

    def metrics(self):
        """{series as written: value}"""
        code, headers, text = self.ask("/metrics", self.admin())
        self.assertEqual((code, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.check_exposition(text)
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines)}

    def check_exposition(self, text):
        """The text format: every sample under a HELP and a TYPE line of its family, each family once."""
        self.assertTrue(text.endswith("\n"))
        families, family = {}, None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ")[2]
                self.assertNotIn(family, families)
                self.assertGreater(len(line.split(" ", 3)[3]), 0)
                families[family] = None
            elif line.startswith("# TYPE "):
                self.assertEqual(line.split(" ")[2], family)
                families[family] = line.split(" ")[3]
            else:
                name = re.match(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? \S+$', line)
                self.assertTrue(name, line)
                suffix = "(_bucket|_sum|_count)?" if families[family] == "histogram" else ""
                self.assertRegex(name[1], f"^{family}{suffix}$")
                self.assertRegex(name[1], r"(_seconds|_bytes|_total|_info|_size|_length|_fds|_threads|_ready|_jobs|"
                                 r"_instances|_validators|_channels|_connections|_sessions|_revocations|_bucket|_sum|_count)$")

    def lines(self, name):
        """Every line of a program's log, as the object that it must be."""
        return [json.loads(line) for line in self.log(name).splitlines()]

    def test_state_and_metrics_follow_a_job_from_nothing_to_its_result(self):
        self.start_platform()
        self.start_server()
        self.assertIn("no_verified_validator", self.warnings())
        before = self.metrics()
        self.assertEqual(before['cloister_validators{state="verified"}'], 0)
        self.assertNotIn('cloister_attestation_duration_seconds_count{role="validator",outcome="accepted"}', before)

        self.start_validator()
        self.wait_verified()
        self.assertNotIn("no_verified_validator", self.warnings())
        self.write_trust(self.push_example())
        ready = lambda: self.metrics()['cloister_instances{state="ready"}'] == 1
        self.wait_for("a ready instance", ready)
        between = self.metrics()
        self.assertEqual(between['cloister_channels{role="instance"}'], 1)
        self.assertEqual(between["cloister_host_connections"], 1)
        self.assertEqual(between['cloister_secret_release_duration_seconds_count{outcome="released"}'], 1)
        for role in ("validator", "instance"):
            self.assertEqual(between[f'cloister_attestation_duration_seconds_count{{role="{role}",outcome="accepted"}}'], 1)

        self.write("payload", json.dumps({"keyword": "cat", "documents": [{"name": "n", "text": "the cat and the cat"}]}))
        self.ok("job", "submit", "keyword-search", "--payload", self.home / "payload", "--trust", self.home / "trust.json",
                "--secret-file", self.home / "client.secret", *self.connection)
        after = self.metrics()
        self.assertEqual(after['cloister_job_duration_seconds_count{state="succeeded"}'], 1)
        self.assertEqual(after['cloister_job_lease_duration_seconds_count{outcome="succeeded"}'], 1)
        self.assertEqual(after["cloister_job_wait_duration_seconds_count"], 1)
        self.assertGreater(after["cloister_audit_log_size"], before["cloister_audit_log_size"])
        self.assertEqual(after['http_request_duration_seconds_count{route="/api/v1/jobs",method="POST",status="201"}'], 1)
        self.assertGreater(after["process_resident_memory_bytes"], 1 << 20)
        self.assertGreater(after["process_cpu_seconds_total"], before["process_cpu_seconds_total"])
        self.one_id_follows_the_job()

        # The host agent goes, and with it what it carried.
        self.children[-1].send_signal(harness.signal.SIGTERM)
        self.wait_for("its absence", lambda: "no_verified_validator" in self.warnings())
        self.wait_for("the end of its channels", lambda: self.metrics()['cloister_channels{role="instance"}'] == 0)
        self.assertEqual(self.metrics()["cloister_host_connections"], 0)

    def one_id_follows_the_job(self):
        job = self.listed("job")["jobs"][0]["id"]
        submitted = [line for line in self.lines("server") if line["event"] == "job.submitted"]
        self.assertEqual([line["job"] for line in submitted], [job])
        # The request that brought it, and everything else that was said of that request.
        request = [line["event"] for line in self.lines("server") if line.get("request_id") == submitted[0]["request_id"]]
        self.assertEqual(sorted(request), ["job.submitted", "request"])
        for name, events in (("server", {"job.submitted", "job.leased", "result.accepted"}),
                             ("validator", {"attempt.leased", "attempt.ended"})):
            self.wait_for(f"the job in the log of {name}", lambda: events <= {
                line["event"] for line in self.lines(name) if line.get("job") == job})
        guest = self.wait_for("the job in the guest's log", lambda: {
            line["event"] for line in self.console() if line.get("job") == job} >= {"job.started", "job.finished"})
        self.assertTrue(guest)
        leased = next(line for line in self.lines("server") if line["event"] == "job.leased")
        self.assertEqual({line["attempt"] for line in self.lines("validator") + self.console() if line.get("job") == job},
                         {leased["attempt"]})

    def console(self):
        """What the guests wrote, as the platform's log has it."""
        out = []
        for line in self.lines("platform"):
            if line["event"] == "td_console":
                for text in line["text"].splitlines():
                    try:
                        out.append(json.loads(text))
                    except ValueError:
                        pass  # of the challenge itself
        return out

    def test_a_storage_that_takes_no_writes_is_told(self):
        self.start_platform()
        self.start_server()
        server = self.children[-1].pid
        self.assertEqual(self.ask("/ready")[0], 200)
        self.assertEqual(self.metrics()["cloister_ready"], 1)
        unlimited = resource.prlimit(server, resource.RLIMIT_FSIZE)
        resource.prlimit(server, resource.RLIMIT_FSIZE, (0, unlimited[1]))
        self.wait_for("unreadiness", lambda: self.ask("/ready")[0] == 503)
        code, headers, text = self.ask("/ready")
        problem = json.loads(text)
        self.assertEqual((problem["code"], problem["detail"]), ("unavailable", "storage_unwritable"))
        self.assertEqual(problem["request_id"], headers["X-Request-Id"])
        self.assertIn("not_ready", self.warnings())
        self.assertEqual(self.metrics()["cloister_ready"], 0)
        self.assertEqual(self.ask("/health")[0], 200)  # it lives, and serves what needs no storage
        resource.prlimit(server, resource.RLIMIT_FSIZE, unlimited)
        self.wait_for("readiness", lambda: self.ask("/ready")[0] == 200)
        self.assertNotIn("not_ready", self.warnings())

    def test_strangers_learn_nothing(self):
        self.start_platform()
        self.start_server()
        for path in ("/status", "/metrics"):
            self.assertEqual(self.ask(path)[0], 401)
        for path in ("/health", "/ready", "/version"):
            code, _, text = self.ask(path)
            self.assertEqual(code, 200)
            for word in (str(self.home), "lab", "job", "validator"):
                self.assertNotIn(word, text)
        client = self.token("client")
        self.assertEqual((self.ask("/status", client)[0], self.ask("/metrics", client)[0]), (403, 403))
        scraper = self.token("monitor")
        self.assertEqual((self.ask("/status", scraper)[0], self.ask("/metrics", scraper)[0]), (200, 200))
        self.assertEqual(self.ask("/api/v1/jobs", scraper)[0], 403)

    def token(self, role):
        """One that the administrator issues."""
        request = urllib.request.Request(self.server["url"] + "/api/v1/tokens", method="POST",
                                         data=json.dumps({"name": "tester", "role": role}).encode())
        request.add_header("Authorization", f"Bearer {self.admin()}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())["token"]

    def test_requests_have_an_id_and_logs_hold_no_forged_line(self):
        self.start_platform()
        self.start_server()
        code, headers, text = self.ask("/api/v1/jobs", **{"X-Request-Id": "my-trace.1"})
        self.assertEqual((code, headers["X-Request-Id"], json.loads(text)["request_id"]), (401, "my-trace.1", "my-trace.1"))
        made = self.ask("/health")[1]["X-Request-Id"]
        self.assertRegex(made, r"^req-[a-z0-9]+$")
        for bad in ('x"y', "a b", "x" * 65, "\x1b[2J", 'a\\n{"event":"forged"}'):
            self.assertRegex(self.ask("/health", **{"X-Request-Id": bad})[1]["X-Request-Id"], r"^req-[a-z0-9]+$")
        # Where a peer's words get into a log line, they stay inside their value.
        forged = "forged%0A%7B%22event%22:%22forged%22%7D%1B%5B2J"
        self.ask("/api/v1/instances?state=" + forged, self.admin())
        self.ask("/api/v1/jobs/" + forged, self.admin())
        raw = (self.home / "server.log").read_bytes()
        self.assertNotIn(b"\x1b", raw)
        events = [line["event"] for line in self.lines("server")]
        self.assertNotIn("forged", events)
        ids = {line.get("request_id") for line in self.lines("server")}
        self.assertTrue({"my-trace.1", made} <= ids)


if __name__ == "__main__":
    harness.main()
