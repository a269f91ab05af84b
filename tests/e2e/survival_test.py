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
        self.ok("secret", "put", "keyword-search/index-salt", "--file", self.write("salt", "sesame"), *self.connection)
        before = set((self.home / "server/blobs").rglob("*"))
        push = self.spawn("challenge", "push", self.home / "first", "--id", "keyword-search", "--secret",
                          "index-salt=keyword-search/index-salt", *self.connection)
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
        guests = {pid: harness.started_at(pid) for pid in self.guests()}
        self.assertGreaterEqual(len(guests), 2, "the validator's and the instance's")
        self.kill("platform")
        self.wait_for("the end of its TDs", lambda: not [pid for pid, start in guests.items()
                                                          if start and harness.started_at(pid) == start])
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

    def two_validators(self):
        """A version of which two validators run one instance each; {instance: (its validator, a process of its TD)}."""
        self.start_platform()
        self.start_server()
        self.ok("challenge", "build", harness.BIN.parent / "tests" / "test-challenge", "--out", self.home / "layout")
        owners, version = {}, None
        for count, name in enumerate(["validator-a", "validator-b"], 1):
            self.start_validator("--capacity", "1", name=name)
            self.wait_for("a verified validator", lambda: [v["state"] for v in self.listed("validator")["validators"]] ==
                          ["verified"] * count)
            if version is None:
                version = json.loads(self.ok("challenge", "push", self.home / "layout", "--id", "keyword-search",
                                             "--instances", "2", "--json", *self.connection))
            ready = self.wait_for("its instance", lambda: len(self.ready()) == count and self.ready())
            newest = max(self.children_of(self.processes["platform"].pid), key=harness.started_at)
            (instance,) = set(ready) - set(owners)
            owners[instance] = (name, newest)
        self.write_trust(version)
        return owners

    def begun(self):
        """A job that never ends, sealed to both instances and executed by one of them; and that one."""
        self.write("payload", "forever")
        self.spawn("job", "submit", "keyword-search", "--payload", self.home / "payload", "--trust",
                   self.home / "trust.json", "--secret-file", self.home / "client.secret", *self.connection)
        self.wait_for("a lease", self.leases)
        (lease,) = self.leases()
        self.assertEqual(lease["fence"], 1)
        return lease["job"], lease["instance"]

    def leases(self):
        return [json.loads(line) for line in self.log("server").splitlines() if '"job.leased"' in line]

    def moved(self, job, instance, recipients):
        """The job has gone from this instance to the other one that it was sealed to, with the next fence."""
        self.wait_for("another lease", lambda: len(self.leases()) > 1)
        self.assertEqual([(lease["job"], lease["fence"]) for lease in self.leases()], [(job, 1), (job, 2)])
        self.assertEqual({instance, self.leases()[1]["instance"]}, set(recipients))
        now = json.loads(self.ok("job", "get", job, *self.connection))
        self.assertEqual((now["state"], now["attempts"]), ("leased", 2))
        self.ok("job", "cancel", job, *self.connection)

    def test_a_guest_killed_in_mid_job_gives_the_job_to_another_recipient(self):
        owners = self.two_validators()
        job, instance = self.begun()
        harness.os.kill(owners[instance][1], signal.SIGKILL)
        self.moved(job, instance, owners)

    def test_a_validator_killed_in_mid_job_gives_the_job_to_another_recipient(self):
        owners = self.two_validators()
        job, instance = self.begun()
        self.kill(owners[instance][0])
        self.moved(job, instance, owners)

    @staticmethod
    def children_of(pid):
        return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def guests(self, pid=None):
        """Processes of TDs: descendants of the platform."""
        children = self.children_of(pid or self.processes["platform"].pid)
        return [found for child in children for found in [child, *self.guests(child)]]


if __name__ == "__main__":
    harness.main()
