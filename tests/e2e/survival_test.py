"""The whole system under faults: what is killed comes back, and what was acknowledged is not lost."""
import contextlib
import json
import pathlib
import signal

import harness


class Survival(harness.System):
    def whole(self):
        self.start_platform()
        self.start_server()
        self.listen = self.server["url"].split("//")[1]  # also when it is started again
        self.start_validator()
        self.wait_verified()
        self.version = self.push_example()
        return self.wait_for("a ready instance", self.ready)

    def ready(self):
        return [i["id"] for i in self.listed("instance")["instances"] if i["state"] == "ready"]

    def started_tds(self):
        return self.log("platform").count("td_started")

    def submit(self, key):
        self.write("payload", json.dumps({"keyword": "x", "documents": [{"name": "n", "text": "x y x"}]}))
        self.write_trust(self.version)
        out = self.ok("job", "submit", "keyword-search", "--payload", self.home / "payload", "--key", key, "--trust",
                      self.home / "trust.json", "--secret-file", self.home / "client.secret", *self.connection)
        self.assertEqual(json.loads(out)["total"], 2)

    def test_instances_outlive_a_killed_server(self):
        before = self.whole()
        self.submit("before")
        self.kill("server")
        self.start_server()
        self.assertEqual(self.wait_for("the instance again", self.ready), before)
        self.assertEqual(self.started_tds(), 2, "the TDs are those of before: the validator's, the instance's")
        self.submit("after")
        self.submit("before")
        jobs = self.listed("job")["jobs"]
        self.assertEqual(sorted(j["state"] for j in jobs), ["succeeded", "succeeded"])

    def test_instances_outlive_a_server_that_is_away_for_a_while(self):
        before = self.whole()
        self.kill("server")
        self.wait_for("several attempts to connect", lambda: self.log("validator").count("disconnected") >= 3)
        self.start_server()
        self.assertEqual(self.wait_for("the instance again", self.ready), before)

    def test_a_server_killed_while_an_instance_starts_comes_back_to_a_true_state(self):
        self.start_platform()
        self.start_server()
        self.listen = self.server["url"].split("//")[1]
        self.start_validator()
        self.wait_verified()
        self.version = self.push_example()
        self.wait_for("a start", lambda: "instance.starting" in self.log("server"))
        self.kill("server")
        self.start_server()
        self.wait_for("a ready instance", self.ready)
        states = [i["state"] for i in self.listed("instance")["instances"]]
        self.assertEqual(sorted(set(states) - {"lost"}), ["ready"], states)
        self.submit("after")

    def test_a_server_killed_while_a_challenge_is_pushed_has_it_whole_or_not(self):
        self.start_platform()
        self.start_server()
        self.listen = self.server["url"].split("//")[1]
        self.start_validator()
        self.wait_verified()
        self.ok("challenge", "build", harness.BIN / "keyword-search", "--out", self.home / "first")
        before = set((self.home / "server/blobs").rglob("*"))
        push = self.spawn("challenge", "push", self.home / "first", "--id", "keyword-search", *self.connection)
        self.wait_for("a blob", lambda: set((self.home / "server/blobs").rglob("*")) - before)
        self.kill("server")
        pushed = push.wait() == 0
        self.start_server()
        challenges = [c["id"] for c in self.listed("challenge")["challenges"]]
        if pushed:
            self.assertEqual(challenges, ["keyword-search"])
        if challenges:
            self.wait_for("a ready instance", self.ready)
        self.version = self.push_example()
        self.wait_for("a ready instance of it", lambda: [
            i for i in self.listed("instance")["instances"]
            if i["state"] == "ready" and i["version"] == self.version["id"]])
        self.submit("after")

    def test_a_killed_platform_takes_its_tds_with_it_and_others_are_started(self):
        before = self.whole()
        self.kill("platform")
        self.wait_for("the loss", lambda: not self.ready())
        self.start_platform()
        after = self.wait_for("another instance", self.ready)
        self.assertNotEqual(after, before)
        self.submit("after")

    def test_killed_tds_are_replaced(self):
        before = self.whole()
        for pid in self.guests():
            with contextlib.suppress(ProcessLookupError):  # its parent took it along
                harness.os.kill(pid, signal.SIGKILL)
        after = self.wait_for("another instance", lambda: [i for i in self.ready() if i not in before])
        self.assertNotEqual(after, before)

    def guests(self, pid=None):
        """Processes of TDs: descendants of the platform."""
        pid = pid or self.processes["platform"].pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [found for child in map(int, children) for found in [child, *self.guests(child)]]


if __name__ == "__main__":
    harness.main()
