"""What must be refused although it comes from a real process: each test puts one liar between two honest parties."""
import base64
import contextlib
import fcntl
import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import urllib.parse

import harness


def in_thread(work, *arguments):
    threading.Thread(target=work, args=arguments, daemon=True).start()


class Proxy:
    """An HTTP server in front of another; `request` and `answer` change what passes: (method, path, JSON) -> JSON"""

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
        in_thread(self.server.serve_forever)
        case.addCleanup(self.server.server_close)
        case.addCleanup(self.server.shutdown)


class Valve:
    """A TCP relay in front of a server: what clients send waits in it while it is shut; `change` may rewrite what the
    server says, piece by piece as it comes."""

    def __init__(self, case, target, change=lambda data: data):
        server = urllib.parse.urlparse(target)
        self.beyond = (server.hostname, server.port)
        self.change = change
        self.open = threading.Event()
        self.open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        case.addCleanup(self.listener.close)
        case.addCleanup(self.open.set)
        in_thread(self.accept)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.beyond)
            in_thread(self.carry, client, server, self.pass_when_open)
            in_thread(self.carry, server, client, self.change)

    def pass_when_open(self, data):
        self.open.wait()
        return data

    @staticmethod
    def carry(source, target, change):
        with source:
            try:
                while data := source.recv(65536):
                    target.sendall(change(data))
            except OSError:
                pass
            with contextlib.suppress(OSError):  # it is closed already
                target.shutdown(socket.SHUT_RDWR)


class Key:
    """A P-256 key, for the openssl program."""
    ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

    def __init__(self, file, private):
        self.file = file
        file.write_bytes(bytes.fromhex("30310201010420") + private.to_bytes(32, "big") +
                         bytes.fromhex("a00a06082a8648ce3d030107"))

    @classmethod
    def of_the_lab(cls, state, use):
        """One of the lab authority's. They follow from the platform's seed, so old documents can really be issued."""
        extracted = hmac.digest(b"", (state / "seed").read_bytes(), "sha256")
        info = b"cloister/lab/1/" + use.encode()
        first = hmac.digest(extracted, info + b"\1", "sha256")
        wide = first + hmac.digest(extracted, first + info + b"\2", "sha256")[:16]
        return cls(state / f"{use}.der", int.from_bytes(wide, "big") % (cls.ORDER - 1) + 1)

    def public(self):
        """x || y"""
        return subprocess.run(["openssl", "pkey", "-in", self.file, "-inform", "DER", "-pubout", "-outform", "DER"],
                              check=True, capture_output=True).stdout[-64:]

    def sign(self, message):
        """The signature's DER: SEQUENCE {r, s}"""
        return subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.file, "-keyform", "DER"], input=message,
                              check=True, capture_output=True).stdout

    def sign_raw(self, message):
        """r || s"""
        der, numbers = self.sign(message), []
        at = 2
        while at < len(der):
            numbers.append(int.from_bytes(der[at + 2:at + 2 + der[at + 1]], "big"))
            at += 2 + der[at + 1]
        return b"".join(number.to_bytes(32, "big") for number in numbers)


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

    def events(self, name, program="server"):
        """The program's log lines of this event."""
        whole = self.log(program).rpartition("\n")[0]
        return [line for line in map(json.loads, whole.splitlines()) if line["event"] == name]

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

    def through(self, url, *command, **options):
        """A command that reaches the server under this address: (exit code, standard output, standard error)"""
        return self.cloister("job", *command, "--trust", self.home / "trust.json", "--secret-file",
                             self.home / "client.secret", "--server", url, *self.connection[2:], **options)

    def submit(self, key, word, url=None, **options):
        documents = [{"name": "n", "text": "x y x"}]
        payload = self.write(f"{key}.payload", json.dumps({"keyword": word, "documents": documents}))
        return self.through(url or self.server["url"], "submit", "keyword-search", "--payload", payload, "--key", key,
                            **options)

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
        self.keys = {use: Key.of_the_lab(self.home / "platform", use)
                     for use in ("TCB signer", "root CA", "PCK platform CA")}
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
        return {name: text, name + "_signature": self.keys["TCB signer"].sign_raw(text.encode()).hex()}

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


def cbor(value):
    """RFC 8949 section 4.2.1, as far as the lab's sockets need it."""
    major, size, content = {
        int: lambda: (0, value, b""),
        bytes: lambda: (2, len(value), value),
        str: lambda: (3, len(value.encode()), value.encode()),
        list: lambda: (4, len(value), b"".join(map(cbor, value))),
    }[type(value)]()
    if size < 24:
        return bytes([major << 5 | size]) + content
    width = next(width for width in (1, 2, 4, 8) if size < 1 << 8 * width)
    return bytes([major << 5 | 23 + width.bit_length()]) + size.to_bytes(width, "big") + content


def read_cbor(data):
    """(value, what follows it)"""
    major, size, data = data[0] >> 5, data[0] & 31, data[1:]
    if size >= 24:
        width = 1 << size - 24
        size, data = int.from_bytes(data[:width], "big"), data[width:]
    if major == 0:
        return size, data
    if major in (2, 3):
        return data[:size].decode() if major == 3 else data[:size], data[size:]
    values = []
    for _ in range(size):
        value, data = read_cbor(data)
        values.append(value)
    return values, data


def receive_frame(link):
    """(payload, descriptors) of `u32 length, payload`; None at the end."""
    data, descriptors = b"", []
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
        size = 4 + int.from_bytes(data[:4], "big") if len(data) >= 4 else 4
        more, came, _, _ = socket.recv_fds(link, size - len(data), 253)
        for descriptor in came:
            os.set_inheritable(descriptor, False)
        if not more:
            return None
        data, descriptors = data + more, descriptors + came
    return data[4:], descriptors


def send_frame(link, payload, descriptors=()):
    data = len(payload).to_bytes(4, "big") + payload
    sent = socket.send_fds(link, [data], descriptors)
    link.sendall(data[sent:])


class Between:
    """A lab platform's control socket (docs/protocol/lab-host.md) in front of the true one."""

    def __init__(self, case, true_control):
        self.case, self.true_control = case, true_control
        self.control = case.home / "between.sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.control))
        self.listener.listen()
        case.addCleanup(self.listener.close)
        in_thread(self.accept)

    def accept(self):
        with contextlib.suppress(OSError):  # it was closed
            while True:
                in_thread(self.serve, self.listener.accept()[0])

    def serve(self, link):
        with link:
            while frame := receive_frame(link):
                answer, ends = self.perform(read_cbor(frame[0])[0], *frame)
                send_frame(link, answer, ends)
                for descriptor in frame[1] + ends:
                    os.close(descriptor)

    def perform(self, request, payload, descriptors):
        """(answer, its descriptors)"""
        with socket.socket(socket.AF_UNIX) as true:
            true.connect(self.true_control)
            send_frame(true, payload, descriptors)
            return receive_frame(true)


class WithoutTd(Between):
    """Has the true platform run TDs without blobs, which are the validators' own. The guest of a version it runs by
    itself, in no TD: it answers what that asks of its TEE (docs/protocol/tee-socket.md), and `forge` makes the quotes,
    of 64 bytes of report data."""

    def __init__(self, case, true_control, forge):
        self.forge, self.guests = forge, []
        super().__init__(case, true_control)
        case.addCleanup(lambda: [os.kill(guest, signal.SIGKILL) for guest in tuple(self.guests)])

    def perform(self, request, payload, descriptors):
        if request[1] == "start-td" and request[5]:
            return self.run(request, descriptors)
        return super().perform(request, payload, descriptors)

    def run(self, request, descriptors):
        """The guest on the descriptors that a TD has; the answer, and the ends of its host."""
        _, _, files, configuration, _, digests = request
        blobs = sorted(zip(digests, descriptors[len(files):]))
        boot = os.memfd_create("boot", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.write(boot, cbor(["cloister/boot/1", configuration,
                             [[digest, 6 + at] for at, (digest, _) in enumerate(blobs)]]))
        fcntl.fcntl(boot, fcntl.F_ADD_SEALS,
                    fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
        tee, streams, life = (socket.socketpair() for _ in range(3))
        console = os.open(self.case.home / "hostile.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        wanted = [console, console, tee[1].fileno(), streams[1].fileno(), boot, *(file for _, file in blobs)]
        apart = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100) for descriptor in wanted]
        guest = os.posix_spawn(harness.BIN / "cloister-guest", ["cloister-guest"], {}, file_actions=[
            (os.POSIX_SPAWN_DUP2, descriptor, target) for target, descriptor in enumerate(apart, 1)])
        self.guests.append(guest)
        for descriptor in [*apart, console, boot]:
            os.close(descriptor)
        tee[1].close()
        streams[1].close()
        in_thread(self.be_the_tee, tee[0])
        in_thread(self.mind, life[0], guest)
        return (cbor(["cloister/lab-host/1", "ok", f"td-{guest}", bytes(48)]), [streams[0].detach(), life[1].detach()])

    def be_the_tee(self, link):
        with link:
            while frame := receive_frame(link):
                (_, operation, *arguments), _ = read_cbor(frame[0])
                if operation == "quote":
                    quote = self.forge(*arguments)
                    # Nothing came with it: null (RFC 8949 section 3.3), in place of the 0 that `cbor` knows.
                    send_frame(link, cbor(["cloister/tee/1", "ok", quote, 0])[:-1] + b"\xf6")
                else:
                    send_frame(link, cbor(["cloister/tee/1", "ok"]))

    def mind(self, life, guest):
        """Until its host lets go of it."""
        with life:
            life.recv(1)
            self.guests.remove(guest)
            os.kill(guest, signal.SIGKILL)
            os.waitpid(guest, 0)


class Impostor(Between):
    """Stands in the byte streams between TDs and whoever relays them, and answers handshakes in the server's place:
    `answer` makes that of the server's true one. Once it leaves that as it is, the stream is passed on."""
    MESSAGE = 2 + 48  # of a handshake (docs/protocol/channel.md)

    def __init__(self, case, true_control, answer):
        self.answer = answer
        super().__init__(case, true_control)

    def perform(self, request, payload, descriptors):
        answer, ends = super().perform(request, payload, descriptors)
        if request[1] == "start-td" and ends:
            ours, theirs = socket.socketpair()
            in_thread(self.take_streams, ours, socket.socket(fileno=ends[0]))
            ends[0] = theirs.detach()
        return answer, ends

    def take_streams(self, host, td):
        with host, td:
            while frame := receive_frame(host):
                ours, theirs = socket.socketpair()
                send_frame(td, b"", [theirs.fileno()])
                theirs.close()
                in_thread(self.stand_between, ours, socket.socket(fileno=frame[1][0]))

    def stand_between(self, guest, server):
        hello = guest.recv(self.MESSAGE, socket.MSG_WAITALL)
        server.sendall(hello)
        true = server.recv(self.MESSAGE, socket.MSG_WAITALL)
        answered = self.answer(hello, true)
        guest.sendall(answered)
        if answered == true:
            in_thread(Valve.carry, guest, server, lambda data: data)
            Valve.carry(server, guest, lambda data: data)
        else:
            with guest, server:
                self.case.said.append(guest.recv(1))  # nothing: the TD closes the stream


class Forged(System):
    # Of a quote of version 4: header and TD report are signed; behind a length, signature and attestation key.
    REPORT_DATA = slice(568, 632)
    SIGNATURE = slice(636, 700)
    ATTESTATION_KEY = slice(700, 764)

    def test_quotes_that_no_td_was_given_are_refused(self):
        """The host of a verified validator runs the true guest outside of a TD, and shows what it can get or make."""
        self.start_platform()
        self.start_server()
        self.start_validator("--capacity", 1)
        self.wait_verified()
        version = self.push_example("--instances", 2)["id"]
        honest = self.wait_for("a ready instance", self.ready)
        (instance,) = self.ask(f"/api/v1/versions/{version}/instances?state=ready")["instances"]
        self.genuine = base64.b64decode(instance["evidence"]["evidence"])
        self.key = Key(self.home / "host.der", 4711)
        forgeries = [("report_data_mismatch", self.replayed), ("quote_signature_invalid", self.rewritten),
                     ("qe_report_data_mismatch", self.signed_by_the_host)]
        turns = iter(forgeries + forgeries[-1:] * 100)
        hostile = WithoutTd(self, self.platform["control"], lambda report_data: next(turns)[1](report_data))
        self.start_validator(name="hostile", control=hostile.control)
        codes = self.wait_for("every refusal", lambda: (lambda seen: seen[2:] and seen)(
            [event["code"] for event in self.events("attestation.refused")]))
        self.assertEqual(codes[:3], [code for code, _ in forgeries])
        self.assertEqual(len([v for v in self.listed("validator")["validators"] if v["state"] == "verified"]), 2)
        self.assertEqual(self.ready(), honest)
        self.assertEqual([event["instance"] for event in self.events("instance.ready")], honest)
        ended = lambda: [i for i in self.listed("instance")["instances"] if i["state"] == "refused"][2:]
        self.wait_for("their end", ended)

    def replayed(self, _):
        return self.genuine

    def rewritten(self, report_data):
        forged = bytearray(self.genuine)
        forged[self.REPORT_DATA] = report_data
        return bytes(forged)

    def signed_by_the_host(self, report_data):
        forged = bytearray(self.rewritten(report_data))
        forged[self.SIGNATURE] = self.key.sign_raw(bytes(forged[:632]))
        forged[self.ATTESTATION_KEY] = self.key.public()
        return bytes(forged)


class FalseServer(System):
    """A real server with keys of its own, where another was meant."""

    def start_platform(self):
        """With what its guests write in its log."""
        self.platform = self.start("platform", harness.BIN / "cloister", "lab", "platform", "--state",
                                   self.home / "platform", "--log-level", "debug")

    def start_both(self):
        self.start_platform()
        self.start_server()
        self.true_keys = self.keys_of("cloisterd.toml")["server_keys"]
        (self.home / "cloisterd.toml").rename(self.home / "true.toml")
        text = (self.home / "true.toml").read_text()
        self.write("cloisterd.toml", text.replace('data = "server"', 'data = "false"'))
        self.server = self.start("false", harness.BIN / "cloisterd", "--config", self.home / "cloisterd.toml")
        self.connection = ["--server", self.server["url"], "--token-file", self.server["admin_token_file"]]
        self.false_keys = self.keys_of("cloisterd.toml")["server_keys"]
        self.assertEqual(len(self.true_keys), len(self.false_keys))
        self.assertFalse(set(self.true_keys) & set(self.false_keys))

    def keys_of(self, config):
        return json.loads(subprocess.run([harness.BIN / "cloisterd", "--config", self.home / config, "--show-keys"],
                                         capture_output=True, text=True, check=True).stdout)

    def test_a_td_that_was_measured_for_another_server_says_nothing_to_this_one(self):
        self.start_both()

        def for_the_true_one(data):
            for false, true in zip(self.false_keys, self.true_keys):
                data = data.replace(false.encode(), true.encode())
            return data

        url = self.server["url"]
        self.server["url"] = Valve(self, url, for_the_true_one).url  # for the validator alone
        self.start_validator()
        self.wait_for("the end", lambda: "validator.unverified" in self.log("false"))
        end = self.events("validator.unverified", "false")[0]
        self.assertRegex(end["detail"], "^handshake_failed: ")
        self.wait_for("the guest's view", lambda: "disconnected" in self.guest_events())
        self.assertNotIn("attested", self.guest_events())
        self.assertFalse([v for v in self.listed("validator")["validators"] if v["state"] == "verified"])

    def guest_events(self):
        """{event: its codes, in their order} of what guests logged"""
        seen = {}
        for line in self.events("td_console", "platform"):
            said = json.loads(line["text"])
            seen.setdefault(said["event"], []).append(said.get("code"))
        return seen

    def test_a_guest_refuses_whoever_answers_in_the_servers_place(self):
        self.start_platform()
        self.start_server()
        before, self.said = [], []

        def answer(hello, true):
            before.append(true)
            return {1: true[:2] + os.urandom(48),  # of somebody without the key
                    2: hello,                      # reflected
                    3: before[0]}.get(len(before), true)  # the true server's, to another TD's message

        impostor = Impostor(self, self.platform["control"], answer)
        self.start_validator(control=impostor.control)
        self.wait_verified()
        self.wait_for("the guest's view", lambda: "attested" in self.guest_events())
        self.assertEqual(self.guest_events()["disconnected"],
                         ["handshake_failed", "channel_reflected", "handshake_failed"])
        self.assertEqual((self.said, len(before)), ([b""] * 3, 4))

    def test_a_client_seals_nothing_to_the_instances_of_another_server(self):
        """The whole system is the false server's, and its image the true one; what differs are the server's keys."""
        self.start_both()
        self.start_validator()
        self.wait_verified()
        version = self.push_example()
        self.wait_for("a ready instance", self.ready)
        trust = self.write_trust(version)
        (instance,) = self.ask(f"/api/v1/versions/{version['id']}/instances?state=ready")["instances"]
        configuration = base64.b64decode(instance["evidence"]["configuration"])
        for false, true in zip(self.false_keys, self.true_keys):
            configuration = configuration.replace(bytes.fromhex(false), bytes.fromhex(true))
        (reference,) = trust["reference_values"]
        of_the_true_one = {**reference, "configuration_digest": "sha256:" + hashlib.sha256(configuration).hexdigest()}
        self.assertNotEqual(of_the_true_one, reference)
        for key, known, refusal in (
                ("the-configuration", {"reference_values": [of_the_true_one]}, "configuration digest: expected"),
                ("the-key", {"server_keys": self.true_keys}, "binding_mismatch: the instance speaks to a server")):
            with self.subTest(key):
                self.write("trust.json", json.dumps({**trust, **known}))
                with self.assertRaises(subprocess.TimeoutExpired) as waited:
                    self.submit(key, "x", timeout=3)
                self.assertIn(refusal, waited.exception.stderr.decode())
                self.assertEqual(self.job_of(key)["state"], "awaiting_rewrap")
        self.write("trust.json", json.dumps(trust))
        code, out, err = self.submit("its-own", "x")
        self.assertEqual((code, json.loads(out)["total"]), (0, 2), err)


if __name__ == "__main__":
    harness.main()
