"""What must be refused although it comes from a real process: each test puts one liar between two honest parties."""
import contextlib
import hmac
import http.client
import http.server
import json
import pathlib
import socket
import subprocess
import threading
import urllib.parse

import harness


class Proxy:
    """An HTTP server in front of another. `request` and `answer` may change what passes: (method, path, JSON) -> JSON."""

    def __init__(self, case, target, request=None, answer=None):
        server = urllib.parse.urlparse(target)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if request and body:
                    body = json.dumps(request(self.command, self.path, json.loads(body))).encode()
                fields = {name: value for name, value in self.headers.items() if name not in ("Host", "Content-Length")}
                beyond = http.client.HTTPConnection(server.hostname, server.port, timeout=harness.PATIENCE)
                beyond.request(self.command, self.path, body, fields)
                got = beyond.getresponse()
                content = got.read()
                beyond.close()
                if answer and content and got.status == 200:
                    content = json.dumps(answer(self.command, self.path, json.loads(content))).encode()
                self.send_response(got.status)
                self.send_header("Content-Type", got.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = pass_on

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        case.addCleanup(self.server.server_close)
        case.addCleanup(self.server.shutdown)


class Valve:
    """A TCP relay in front of a server: what clients send waits in it while it is shut."""

    def __init__(self, case, target):
        server = urllib.parse.urlparse(target)
        self.beyond = (server.hostname, server.port)
        self.open = threading.Event()
        self.open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        case.addCleanup(self.listener.close)
        case.addCleanup(self.open.set)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.beyond)
            threading.Thread(target=self.carry, args=(client, server, self.open.wait), daemon=True).start()
            threading.Thread(target=self.carry, args=(server, client, lambda: None), daemon=True).start()

    @staticmethod
    def carry(source, target, wait):
        with source:
            try:
                while data := source.recv(65536):
                    wait()
                    target.sendall(data)
            except OSError:
                pass
            with contextlib.suppress(OSError):  # it is closed already
                target.shutdown(socket.SHUT_RDWR)


class LabKey:
    """A key of the lab's authority: it follows from the platform's seed, so that old documents can really be issued."""

    ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256

    def __init__(self, state, use):
        extracted = hmac.digest(b"", (state / "seed").read_bytes(), "sha256")
        info = b"cloister/lab/1/" + use.encode()
        first = hmac.digest(extracted, info + b"\1", "sha256")
        wide = first + hmac.digest(extracted, first + info + b"\2", "sha256")[:16]
        private = int.from_bytes(wide, "big") % (self.ORDER - 1) + 1
        self.file = state / f"{use}.der"
        self.file.write_bytes(bytes.fromhex("3031020101" + "0420") + private.to_bytes(32, "big") +
                              bytes.fromhex("a00a06082a8648ce3d030107"))

    def sign(self, message):
        """The signature's DER: SEQUENCE {r, s}"""
        return subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.file, "-keyform", "DER"], input=message,
                              check=True, capture_output=True).stdout

    def sign_document(self, text):
        """r || s, in hex"""
        der, numbers = self.sign(text.encode()), []
        at = 2
        while at < len(der):
            numbers.append(int.from_bytes(der[at + 2:at + 2 + der[at + 1]], "big"))
            at += 2 + der[at + 1]
        return "".join(f"{number:064x}" for number in numbers)


def der_sequence(content):
    size = len(content)
    return b"\x30" + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + content


class System(harness.System):
    def ready(self):
        return [i["id"] for i in self.listed("instance")["instances"] if i["state"] == "ready"]

    def whole(self):
        """Everything runs, and an instance is ready."""
        self.start_platform()
        self.start_server()
        self.start_validator()
        self.wait_verified()
        self.write_trust(self.push_example())
        self.wait_for("a ready instance", self.ready)

    def events(self, name):
        """The server's log lines of this event."""
        return [line for line in map(json.loads, self.log("server").splitlines()) if line["event"] == name]

    def through(self, url, *command):
        """A command that reaches the server under this address: (exit code, standard output, standard error)"""
        return self.cloister("job", *command, "--trust", self.home / "trust.json", "--secret-file",
                             self.home / "client.secret", "--server", url, *self.connection[2:])

    def submit(self, key, word, url=None):
        payload = self.write(f"{key}.payload", json.dumps({"keyword": word, "documents": [{"name": "n", "text": "x y x"}]}))
        return self.through(url or self.server["url"], "submit", "keyword-search", "--payload", payload, "--key", key)

    def job_of(self, key):
        (job,) = [job for job in self.listed("job")["jobs"] if job["idempotency_key"] == key]
        return job


class Swapped(System):
    """Somebody on the way gives one job's ciphertext for another's; every one of them is genuine."""

    def test_a_swapped_payload_is_refused_before_it_is_executed(self):
        self.whole()
        seen = []

        def record(method, path, body):
            if (method, path) == ("POST", "/api/v1/jobs"):
                seen.append(body)
            return body

        code, out, err = self.submit("true", "x", Proxy(self, self.server["url"], record).url)
        self.assertEqual((code, json.loads(out)["total"], len(seen)), (0, 2, 1), err)
        for taken in (["ciphertext"], ["ciphertext", "recipients"],
                      ["ciphertext", "recipients", "input_commitment", "commitment_key_digest"]):
            with self.subTest(taken):
                def swap(method, path, body):
                    if (method, path) == ("POST", "/api/v1/jobs"):
                        body.update({name: seen[0][name] for name in taken})
                    return body

                key = f"swapped-{len(taken)}"
                code, out, err = self.submit(key, "y", Proxy(self, self.server["url"], swap).url)
                self.assertEqual((code, out, "decryption_failed" in err), (1, "", True), err)
                job = self.job_of(key)
                self.assertEqual((job["state"], job["failure"]), ("failed", "decryption_failed"))
        code, out, err = self.submit("after", "y")
        self.assertEqual((code, json.loads(out)["total"]), (0, 1), err)

    def test_a_swapped_result_is_refused_and_the_true_one_stays_readable(self):
        self.whole()
        for key, word in (("mine", "x"), ("other", "y")):
            self.assertEqual(self.submit(key, word)[0], 0)
        mine, other = self.job_of("mine")["id"], self.job_of("other")["id"]
        path = f"/api/v1/jobs/{mine}"
        theirs = {what: self.ask(f"/api/v1/jobs/{other}/{what}") for what in ("result", "receipt")}
        for taken, receipt_too, expected in ((["sealed_output"], False, "output_commitment_mismatch"),
                                             (["sealed_output", "enc"], False, "output_commitment_mismatch"),
                                             (list(theirs["result"]), False, "receipt_invalid"),
                                             (list(theirs["result"]), True, "receipt_invalid")):
            with self.subTest(taken, receipt_too=receipt_too):
                def swap(method, at, answer):
                    if at == path + "/result":
                        answer.update({name: theirs["result"][name] for name in taken})
                    if at == path + "/receipt" and receipt_too:
                        answer = theirs["receipt"]
                    return answer

                code, out, err = self.through(Proxy(self, self.server["url"], answer=swap).url, "result", mine)
                self.assertEqual((code, out, expected in err), (1, "", True), err)
        code, out, err = self.through(self.server["url"], "result", mine)
        self.assertEqual((code, json.loads(out)["total"]), (0, 2), err)

    def ask(self, path):
        """What the server answers the administrator."""
        url = urllib.parse.urlparse(self.server["url"])
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=harness.PATIENCE)
        self.addCleanup(connection.close)
        with open(self.server["admin_token_file"]) as token:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token.read().strip()}"})
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        return json.loads(answer.read())


class Late(System):
    settings = 'lease = "5s"\n'

    def test_a_result_that_comes_after_its_lease_is_refused_and_the_job_is_done_once(self):
        self.start_platform()
        self.start_server()
        true_url = self.server["url"]
        valve = Valve(self, true_url)
        self.server["url"] = valve.url  # for the validator alone
        self.start_validator()
        self.server["url"] = true_url
        self.wait_verified()
        self.write_trust(self.push_example())
        self.wait_for("a ready instance", self.ready)

        valve.open.clear()
        done = []
        client = threading.Thread(target=lambda: done.append(self.submit("late", "x")))
        client.start()
        leases = lambda: self.events("job.leased")
        self.wait_for("another lease, the first being over", lambda: len(leases()) == 2)
        valve.open.set()
        client.join(harness.PATIENCE)
        ((code, out, err),) = done
        self.assertEqual((code, json.loads(out)["total"]), (0, 2), err)
        first, second = (lease["attempt"] for lease in leases())
        refused = self.wait_for("the refusal", lambda: self.events("result.refused"))
        self.assertEqual([(event["attempt"], event["code"]) for event in refused], [(first, "stale_fence")])
        self.assertEqual([event["attempt"] for event in self.events("result.accepted")], [second])
        job = self.job_of("late")
        self.assertEqual((job["state"], job["attempts"]), ("succeeded", 2))


class Expired(System):
    """Collateral that the platform's maker issued, and that is no longer good."""

    def test_each_document_is_refused_once_its_time_is_over(self):
        self.start_platform()
        true = json.loads(pathlib.Path(self.platform["collateral"]).read_text())
        self.keys = {use: LabKey(self.home / "platform", use) for use in ("TCB signer", "root CA", "PCK platform CA")}
        served = self.home / "collateral.json"
        late = {"tcb_info": self.document, "qe_identity": self.document, "root_ca_crl": self.crl, "pck_crl": self.crl}
        for name, reissue in late.items():
            self.replace(served, {**true, **reissue(true, name, old=True)})
            if name == "tcb_info":
                self.start_server(collateral=served)
                self.start_validator()
            code = f"{name.replace('_ca', '')}_expired"
            with self.subTest(name):
                self.wait_for(code, lambda: self.refusals()[-1:] == [code])
                self.assertFalse([v for v in self.listed("validator")["validators"] if v["state"] == "verified"])
        # What was issued in the same way, and is of today, is accepted: it was the date.
        fresh = dict(true)
        for name, reissue in late.items():
            fresh.update(reissue(true, name, old=False))
        self.assertNotEqual(fresh, true)
        self.replace(served, fresh)
        self.wait_verified()

    def refusals(self):
        return [event["code"] for event in self.events("attestation.refused")]

    def replace(self, path, value):
        self.write("new", json.dumps(value)).rename(path)

    def document(self, true, name, old):
        """TCB info, or QE identity, issued again: with its own dates, or for a month of last year."""
        body = json.loads(true[name])
        if old:
            body.update(issueDate="2025-01-01T00:00:00Z", nextUpdate="2025-01-31T00:00:00Z")
        text = json.dumps(body, separators=(",", ":"))
        return {name: text, name + "_signature": self.keys["TCB signer"].sign_document(text)}

    def crl(self, true, name, old):
        """A CRL issued again; RFC 5280 section 5.1: SEQUENCE {tbsCertList, algorithm, signature}"""
        der = bytes.fromhex(true[name])
        self.assertEqual((der[:2], der[4:6]), (b"\x30\x82", b"\x30\x81"))
        body, rest = der[4:7 + der[6]], der[7 + der[6]:]
        algorithm = rest[:2 + rest[1]]
        if old:
            at = body.index(b"\x17\x0d")  # UTCTime: thisUpdate, and nextUpdate behind it
            body = body[:at] + b"\x17\x0d250101000000Z\x17\x0d250131000000Z" + body[at + 30:]
        key = self.keys["root CA" if name == "root_ca_crl" else "PCK platform CA"]
        signature = b"\0" + key.sign(body)
        return {name: der_sequence(body + algorithm + b"\x03" + bytes([len(signature)]) + signature).hex()}


if __name__ == "__main__":
    harness.main()
