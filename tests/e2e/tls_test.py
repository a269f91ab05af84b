"""TLS from outside: https and wss to everything that is served beyond loopback, and what must be refused."""
import json
import socket
import ssl
import subprocess
import threading

import harness


class Authority:
    """Certificates made by the openssl program."""

    def __init__(self, folder, name="authority"):
        self.folder, self.name = folder, name
        self.key, self.certificate = folder / f"{name}.key", folder / f"{name}.pem"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                     "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.certificate)

    @staticmethod
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def issue(self, names="IP:127.0.0.1,DNS:localhost", days=2, into="tls"):
        """Replaces into.pem and into.key."""
        request = self.folder / "request"
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=server",
                     "-addext", f"subjectAltName={names}", "-keyout", self.folder / "new.key", "-out", request)
        self.openssl("x509", "-req", "-copy_extensions", "copy", "-days", days, "-in", request, "-CA", self.certificate,
                     "-CAkey", self.key, "-out", self.folder / "new.pem")
        (self.folder / "new.key").rename(self.folder / f"{into}.key")
        (self.folder / "new.pem").rename(self.folder / f"{into}.pem")
        return self.folder / f"{into}.pem", self.folder / f"{into}.key"


class Foreign:
    """Somebody else's TLS server on loopback, which answers nothing."""

    def __init__(self, certificate, key, version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = version
        context.load_cert_chain(certificate, key)
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            try:
                self.context.wrap_socket(peer, server_side=True).close()
            except OSError:
                peer.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


class Tls(harness.System):
    listen = "0.0.0.0:0"
    settings = '[tls]\ncertificate = "tls.pem"\nkey = "tls.key"\n'

    def setUp(self):
        super().setUp()
        self.authority = Authority(self.home)
        self.authority.issue()

    def start_beyond_loopback(self):
        self.start_platform()
        self.start_server()
        self.assertTrue(self.server["url"].startswith("https://0.0.0.0:"), self.server)
        self.port = int(self.server["url"].rsplit(":", 1)[1])
        self.use(f"https://127.0.0.1:{self.port}", self.authority.certificate)

    def use(self, url, ca=None):
        self.server["url"] = url
        self.ca = ["--ca", ca] if ca else []
        self.connection = ["--server", url, "--token-file", self.server["admin_token_file"], *self.ca]

    def served(self):
        return ssl.get_server_certificate(("127.0.0.1", self.port))

    def test_the_main_job_runs_over_tls(self):
        self.start_beyond_loopback()
        self.start_validator()
        self.wait_verified()
        self.write_trust(self.push_example())
        self.write("payload", json.dumps({"keyword": "x", "documents": [{"name": "n", "text": "x y x"}]}))
        out = self.ok("job", "submit", "keyword-search", "--payload", self.home / "payload", "--trust",
                      self.home / "trust.json", "--secret-file", self.home / "client.secret", *self.connection)
        self.assertEqual(json.loads(out)["total"], 2)

    def test_a_server_that_is_not_known_is_refused_with_the_remedy(self):
        self.start_beyond_loopback()
        url = self.server["url"]
        other = Authority(self.home, "other")
        for ca in (None, other.certificate):
            self.use(url, ca)
            code, _, err = self.cloister("validator", "list", *self.connection)
            self.assertEqual((code, "certificate_refused" in err, "--ca" in err), (1, True, True), err)
        self.use(url.replace("127.0.0.1", "127.0.0.2"), self.authority.certificate)
        code, _, err = self.cloister("validator", "list", *self.connection)
        self.assertEqual((code, "mismatch" in err), (1, True), err)

    def test_expired_certificates_and_older_protocols_are_refused(self):
        self.write("token", "x")
        good = self.authority.issue(into="good")
        expired = self.authority.issue(days=-1, into="expired")
        for files, version, word in ((expired, ssl.TLSVersion.TLSv1_3, "expired"),
                                     (good, ssl.TLSVersion.TLSv1_2, "protocol")):
            foreign = Foreign(*files, version)
            code, _, err = self.cloister("validator", "list", "--server", foreign.url, "--token-file", "token", "--ca",
                                         self.authority.certificate)
            foreign.close()
            self.assertEqual((code, word in err), (1, True), err)

    def test_the_server_speaks_nothing_older(self):
        self.start_beyond_loopback()
        context = ssl.create_default_context(cafile=self.authority.certificate)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", self.port)) as raw:
            with self.assertRaises(ssl.SSLError):
                context.wrap_socket(raw, server_hostname="127.0.0.1")

    def test_a_renewed_certificate_is_served_without_a_restart(self):
        self.start_beyond_loopback()
        before = self.served()
        self.authority.issue()
        self.wait_for("the renewed certificate", lambda: self.served() != before)
        renewed = self.served()
        self.assertEqual(renewed.strip(), (self.home / "tls.pem").read_text().strip())
        self.write("tls.key", "no key")
        self.children[-1].send_signal(harness.signal.SIGHUP)
        self.wait_for("the refusal", lambda: "certificate.kept" in self.log("server"))
        self.assertEqual(self.served(), renewed)
        self.ok("validator", "list", *self.connection)
        self.authority.issue()
        self.children[-1].send_signal(harness.signal.SIGHUP)
        self.wait_for("the next certificate", lambda: self.served() != renewed)

    def test_a_validator_connects_to_no_stranger(self):
        self.start_beyond_loopback()
        log = open(self.home / "stranger.log", "w")
        child = subprocess.Popen([harness.BIN / "cloister", "validator", "run", "--server", self.server["url"], "--platform",
                                  self.platform["control"], "--guest", harness.BIN / "cloister-guest", "--hotkey",
                                  self.home / "stranger.key", "--data", self.home / "stranger-data"],
                                 stdout=subprocess.PIPE, stderr=log, cwd=self.home, text=True,
                                 env=harness.environment(self.home))
        log.close()
        self.children.append(child)
        self.wait_for("the refusal", lambda: "certificate_refused" in self.log("stranger"))


if __name__ == "__main__":
    harness.main()
