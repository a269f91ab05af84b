"""Plaintext is planted in payload, result and secret, and searched for wherever it must not be."""
import http.client
import json
import os
import pathlib
import random
import resource
import signal
import ssl
import string
import subprocess
import urllib.parse

import harness
import memory

TEXT = string.ascii_letters + string.digits


def text_marker():
    """Letters, so that it survives JSON; no word of it stands anywhere else."""
    return "".join(random.SystemRandom().choices(TEXT, k=192))


class Secrecy(harness.System):
    maxDiff = None

    def in_memory(self, pid, needles):
        try:
            return memory.found_in_memory(pid, needles)
        except memory.NotSearchable as why:
            self.skipTest(str(why))

    def test_the_search_finds_what_is_there(self):
        marker = os.urandom(192)
        holder = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(holder.communicate)
        holder.stdin.write(marker)
        holder.stdin.flush()
        holder.stdout.read(len(marker))
        self.assertTrue(self.in_memory(holder.pid, memory.forms(marker)))
        self.write("in-a-file", marker.hex())
        self.assertTrue(memory.found_in_files(self.home, memory.forms(marker)))
        for shift in range(3):
            text = memory.base64.b64encode(b"x" * shift + marker)
            self.assertTrue(any(form in text for form in memory.forms(marker)))

    def test_nothing_that_was_planted_is_left(self):
        self.start_platform()
        self.start_server()
        server = self.children[-1].pid
        self.start_validator()
        validator = self.children[-1].pid
        self.wait_verified()
        secret, payload = os.urandom(192), text_marker()
        (self.home / "salt-file").write_bytes(secret)
        self.ok("challenge", "build", harness.BIN / "keyword-search", "--out", self.home / "layout")
        self.assertEqual(self.put(secret).status, 201)
        version = json.loads(self.ok("challenge", "push", self.home / "layout", "--id", "keyword-search", "--secret",
                                     "index-salt=keyword-search/index-salt", "--json", *self.connection))
        self.wait_for("a ready instance",
                      lambda: [i for i in self.listed("instance")["instances"] if i["state"] == "ready"])
        self.write_trust(version)
        # The names of the documents are in the result, too.
        self.write("payload", json.dumps({"keyword": "x", "documents": [{"name": payload, "text": "x " + payload}]}))
        out = self.ok("job", "submit", "keyword-search", "--payload", self.home / "payload", "--trust",
                      self.home / "trust.json", "--secret-file", self.home / "client.secret", *self.connection)
        self.assertIn(payload, out)
        planted = {"secret": memory.forms(secret), "payload": memory.forms(payload.encode())}
        self.assertTrue(self.in_memory(server, {self.server["server_id"].encode()}), "the search sees the server's memory")
        for what, needles in planted.items():
            for who, pid in (("server", server), ("validator", validator)):
                self.assertEqual(self.in_memory(pid, needles), [], f"{what} in the memory of the {who}")
            # The database, its write-ahead log, blobs, caches, every program's log: all but the client's own files.
            self.assertEqual(memory.found_in_files(self.home, needles, ("payload", "salt-file")), [], f"{what} in a file")

    def put(self, secret, path="keyword-search/index-salt", token=None, context=None):
        """Stores the secret over a connection that is kept open, whose buffers are therefore not freed."""
        url = urllib.parse.urlparse(self.server["url"])
        if context:
            connection = http.client.HTTPSConnection(url.hostname, url.port, context=context)
        else:
            connection = http.client.HTTPConnection(url.hostname, url.port)
        self.addCleanup(connection.close)
        token = token or pathlib.Path(self.server["admin_token_file"]).read_text().strip()
        connection.request("PUT", f"/api/v1/secrets/{path}", secret, {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        return answer

    def test_a_secret_is_gone_once_it_is_stored_or_refused(self):
        self.start_platform()
        self.start_server()
        self.search_after_puts(None)

    def search_after_puts(self, context):
        server = self.children[-1].pid
        stored, large, refused = os.urandom(192), os.urandom(60 * 1024), os.urandom(192)
        self.assertEqual(self.put(stored, context=context).status, 201)
        self.assertEqual(self.put(large, context=context).status, 201)
        self.assertEqual(self.put(iter([large[:20000], large[20000:]]), context=context).status, 201)  # in chunks
        self.assertEqual(self.put(refused, path="UPPER", context=context).status, 400)
        self.assertEqual(self.put(refused, path="no/right", token="none", context=context).status, 401)
        self.assertEqual(self.put(refused * 400, path="too/large", context=context).status, 413)
        for marker in (stored, large[:960], large[19500:20460], large[-960:], refused):
            self.assertEqual(self.in_memory(server, memory.forms(marker)), [])

    def test_no_program_leaves_a_core(self):
        """Each is killed by a signal that would dump it, with the limit lifted."""
        before = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_CORE, before)
        control = subprocess.Popen(["/bin/sleep", "60"], cwd=self.home)
        if self.end_by_fault(control) != os.CLD_DUMPED:
            self.skipTest("this system keeps no cores of anything")
        for core in self.home.glob("core*"):
            core.unlink()
        self.start_platform()
        self.start_server()
        self.start_validator()
        self.wait_verified()
        guests = self.descendants(self.children[0].pid)
        self.assertTrue(guests)
        for pid in [child.pid for child in self.children] + guests:
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
            self.assertRegex(limits, r"Max core file size +0 +0 ", f"process {pid}")
        for child in reversed(self.children):
            self.assertEqual(self.end_by_fault(child), os.CLD_KILLED)
        self.assertEqual(list(self.home.glob("**/core*")), [])

    def end_by_fault(self, child):
        """How it ended: killed, or killed and dumped. The sanitizers catch SIGSEGV, and leave this one alone."""
        child.send_signal(signal.SIGABRT)
        status = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        self.assertEqual(status.si_status, signal.SIGABRT)
        child.wait()
        return status.si_code

    def descendants(self, pid):
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [found for child in map(int, children) for found in [child, *self.descendants(child)]]


class SecrecyOverTls(Secrecy):
    """The same of buffers that hold what TLS has opened."""

    def setUp(self):
        super().setUp()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                        self.home / "tls.key", "-out", self.home / "tls.pem"], check=True, capture_output=True)
        self.settings = '[tls]\ncertificate = "tls.pem"\nkey = "tls.key"\n'

    def test_a_secret_is_gone_once_it_is_stored_or_refused(self):
        self.start_platform()
        self.start_server()
        self.search_after_puts(ssl.create_default_context(cafile=self.home / "tls.pem"))

    # What the class above shows without TLS is not different with it.
    test_the_search_finds_what_is_there = None
    test_nothing_that_was_planted_is_left = None
    test_no_program_leaves_a_core = None


if __name__ == "__main__":
    harness.main()
