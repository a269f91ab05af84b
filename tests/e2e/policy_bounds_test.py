"""Policies that would take hours or gigabytes in one step, against cloisterd from outside: who sets them is refused, and nobody
else waits."""
import concurrent.futures
import json
import pathlib
import signal
import threading
import time
import unittest
import urllib.request

import harness
import kbs_test

HEAD = "package policy\nimport rego.v1\n"


def chain(first, step, count):
    rules = [f"a0 := {first}\n"]
    rules += [f"a{i} := {step.replace('$', f'a{i - 1}')}\n" for i in range(1, count)]
    return HEAD + "".join(rules)


BOMBS = [
    chain("[1]", "[$, $]", 60) + "allow if count({a50, a51[0]}) == 1\n",
    chain("123456789012345678901234567890", "$ * $", 40) + "allow if a28 != 3\n",
    chain("numbers.range(1, 1000)", "array.concat($, $)", 40) + "allow if count(a39) > 1\n",
    HEAD + "allow if product(numbers.range(1, 99999)) > 1\n",
    HEAD + "allow if count([1 | some a in numbers.range(1, 9999); some b in numbers.range(1, 9999); a + b < 0]) == 1\n",
    HEAD + "allow if every x in input.submods { some y in input.submods; some z in input.submods; x == y; z == 1 }\n",  # no bomb
]
PLAIN = HEAD + "allow if input.submods.cpu0\n"
NOT_PLAIN = HEAD + 'allow if regex.match("^default/key/", concat("/", data["resource-path"]))\n'


@unittest.skipIf(kbs_test.jwe is None, "needs jwcrypto: scripts/setup installs Debian's python3-jwcrypto")
class PolicyBounds(harness.System):
    settings = "[key_broker]\nsample_evidence = true\n"

    def setUp(self):
        super().setUp()
        self.start_platform()
        self.start_server()
        self.url = self.server["url"]
        self.admin = {"Authorization": "Bearer " + pathlib.Path(self.server["admin_token_file"]).read_text().strip()}
        self.ok("token", "issue", "other", "--tenant", "other", "--role", "admin", "--out", "other.token", *self.connection)
        self.other_admin = {"Authorization": "Bearer " + (self.home / "other.token").read_text().strip()}

    def attested(self, url, admin):
        guest = kbs_test.Guest(url)
        self.assertEqual(guest.send("POST", "/resource/default/key/1", b"a key", admin)[0], 200)
        status, body, _ = guest.handshake()
        self.assertEqual(status, 200, body)
        return guest, {"Authorization": "Bearer " + json.loads(body)["token"]}

    def set_policy(self, guest, text, admin):
        return guest.send("POST", "/resource-policy", {"policy": kbs_test.unpadded(text.encode())}, admin)

    def evaluators(self):
        children = pathlib.Path(f"/proc/{self.processes['server'].pid}/task").glob("*/children")
        return {int(pid) for file in children for pid in file.read_text().split()}

    def test_what_does_not_compile_is_refused_with_its_place(self):
        guest, _ = self.attested(self.url, self.admin)
        for text, says in {
            "allow if http.send({})": "default:3:10: there is no function http.send",
            "allow if coutn([])": "default:3:10: there is no function coutn",
            "allow if count(1, 2, 3)": "default:3:10: count takes 1 argument, not 3",
            "f(x) := g(x)\ng(x) := f(x)\nallow if f(1)": "default:4:9: recursion: data.policy.f needs itself, by data.policy.g",
            "allow if a\na if not allow": "recursion: data.policy.allow needs itself, by data.policy.a",
        }.items():
            status, body, _ = self.set_policy(guest, HEAD + text, self.admin)
            self.assertEqual(status, 400, body)
            self.assertIn(says, kbs_test.refusal(body)[1])

    def test_nobody_waits_for_policies_that_do_not_end(self):
        attacker, token = self.attested(self.url, self.admin)
        other, other_token = self.attested(self.url + "/t/other", self.other_admin)
        for number, text in enumerate(BOMBS):
            file = self.write("bomb.rego", text)
            self.ok("policy", "set", f"resource/b{number}", "--scope", f"b{number}", "--file", file, *self.connection)
        answers = [attacker.send("GET", f"/resource/b{number}/key/1", headers=token) for number in range(len(BOMBS))]
        kinds = [kbs_test.refusal(body)[0] for _, body, _ in answers]
        self.assertEqual(kinds, ["PolicyEngineError"] * 5 + ["PolicyDeny"], answers)
        self.assertLessEqual(len(self.evaluators()), 2)
        # Administrators are told which limit it was.
        self.write("guest.token", token["Authorization"].split()[1])
        _, out, err = self.cloister("policy", "explain", "--path", "b0/key/1", "--guest-token", "guest.token", *self.connection)
        self.assertIn("one step of the policy did not end: it was stopped after 600 ms", out + err)
        self.assertIn("deadline_exceeded", self.ok("audit", "list", "--json", *self.connection))

        done = threading.Event()
        asked = [0]

        def hammer(number):
            guest = kbs_test.Guest(self.url)
            while not done.is_set():
                try:
                    status, body, _ = guest.send("GET", f"/resource/b{number % 5}/key/1", headers=token)
                except OSError:
                    return  # the server has stopped
                asked[0] += 1
                if status == 200:
                    raise AssertionError(body)

        def get(path):
            with urllib.request.urlopen(self.url + path, timeout=harness.PATIENCE) as answer:
                return answer.status

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            hammering = [pool.submit(hammer, number) for number in range(16)]
            self.wait_for("the flood", lambda: asked[0] > 50)
            slowest = 0
            for text in (PLAIN, NOT_PLAIN):
                self.assertEqual(self.set_policy(other, text, self.other_admin)[0], 200)
                for _ in range(20):
                    begin = time.monotonic()
                    self.assertEqual((get("/health"), get("/ready")), (200, 200))
                    status, body, _ = other.send("GET", "/resource/default/key/1", headers=other_token)
                    self.assertEqual(status, 200, body)
                    slowest = max(slowest, time.monotonic() - begin)
            evaluators = self.evaluators()
            self.assertLessEqual(len(evaluators), 2)
            # It stops as fast as ever; what evaluates for it with it.
            server = self.processes["server"]
            begin = time.monotonic()
            server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(harness.PATIENCE), 0)
            stopping = time.monotonic() - begin
            done.set()
            for one in hammering:
                one.result()
        self.assertEqual([pid for pid in evaluators if harness.started_at(pid)], [])
        print(f"{asked[0]} questions; slowest round {slowest:.2f} s; stopped in {stopping:.2f} s")
        self.assertLess(slowest, 5)
        self.assertLess(stopping, 5)


if __name__ == "__main__":
    harness.main()
