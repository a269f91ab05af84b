"""The server's own evidence: demanded, verified, and refused where anything of it is not as the trust file says."""
import copy
import hashlib
import json
import pathlib
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request

import harness
import tls_test


class Dev(harness.Case):
    """`cloister dev`, whose server runs in a TD of the lab's."""

    def setUp(self):
        super().setUp()
        self.dev = subprocess.Popen([harness.BIN / "cloister", "dev", "--data", self.home / "dev", "--port", "0"],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.home, text=True,
                                    env=harness.environment(self.home))
        self.children.append(self.dev)
        said = []
        for line in self.dev.stdout:
            said.append(line)
            if "Ctrl-C stops everything" in line:
                break
        else:
            self.fail("dev ended: " + "".join(said))
        self.trust_file = self.home / "dev" / "trust.json"
        self.trust = json.loads(self.trust_file.read_text())

    def verify(self, *options, code=0):
        got, out, err = self.cloister("server", "verify", "--json", *options)
        self.assertEqual(got, code, out + err)
        return json.loads(out) if out else err

    def rejected(self, *options):
        answer = self.verify(*options, code=2)
        self.assertEqual(answer["verdict"], "rejected")
        return answer["error"]["code"]

    def with_trust(self, change):
        trust = copy.deepcopy(self.trust)
        change(trust)
        return "--trust", self.write("changed.json", json.dumps(trust))

    def test_the_servers_evidence_verifies_and_each_thing_that_differs_is_refused(self):
        accepted = self.verify()
        self.assertEqual(accepted["verdict"], "accepted")
        self.assertTrue(accepted["lab"])
        self.assertFalse(accepted["connection_bound"])  # plain HTTP
        self.assertIsNone(accepted["tls_key"])
        self.assertEqual(accepted["server_keys"], self.trust["server_keys"])
        self.assertEqual(accepted["audit_key"], self.trust["audit_keys"][0])
        reference = self.trust["server_reference_values"][0]
        self.assertEqual((accepted["mrtd"], accepted["configuration_digest"]),
                         (reference["mrtd"], reference["configuration_digest"]))
        self.assertIn("accepted (LAB ONLY - NOT HARDWARE)", self.ok("server", "verify"))
        measured = json.loads(self.ok("measure", "tdx", "--program", harness.BIN / "cloisterd", "--json"))
        self.assertIn(reference["mrtd"], json.dumps(measured))

        def other(name):
            return lambda trust: trust["server_reference_values"][0].update({name: "11" * 48})
        for name in ("mrtd", "rtmr0", "rtmr1", "rtmr2"):
            self.assertEqual(self.rejected(*self.with_trust(other(name))), "measurement_mismatch")
        self.assertEqual(self.rejected(*self.with_trust(lambda t: t["server_reference_values"][0].update(
            configuration_digest="sha256:" + "00" * 32))), "measurement_mismatch")
        self.assertEqual(self.rejected(*self.with_trust(lambda t: t.pop("server_reference_values"))), "measurement_mismatch")
        self.assertEqual(self.rejected(*self.with_trust(lambda t: t.update(lab_roots=t["lab_roots"][:1]))),
                         "lab_root_not_trusted")
        self.assertEqual(self.rejected(*self.with_trust(lambda t: t.update(server_keys=["11" * 32]))), "binding_mismatch")
        self.assertEqual(self.rejected(*self.with_trust(lambda t: t.update(audit_keys=["11" * 32]))), "audit_key_not_trusted")
        code, out, _ = self.cloister("server", "verify", *self.with_trust(lambda t: t.update(lab_roots=[])))
        self.assertEqual(code, 2)
        self.assertIn("remedy:", out)

        # What was shown is verified again without the server, against the nonce that it answers and no other.
        nonce = "ab" * 32
        self.verify("--nonce", nonce, "--save", "proof.json")
        again = self.verify("--nonce", nonce, "--proof", "proof.json", "--trust", self.trust_file)
        self.assertIsNone(again["connection_bound"])
        self.assertEqual(self.rejected("--nonce", "cd" * 32, "--proof", "proof.json", "--trust", self.trust_file), "nonce_invalid")
        self.assertIn("--nonce", self.verify("--proof", "proof.json", code=1))
        self.assertIn("16 to 64", self.verify("--nonce", "00", code=1))
        proof = json.loads((self.home / "proof.json").read_text())
        self.write("proof.json", json.dumps({**proof, "collateral": None}))
        self.assertEqual(self.rejected("--nonce", nonce, "--proof", "proof.json", "--trust", self.trust_file), "collateral_missing")

        # A job goes to a server that proved itself, and to no other.
        self.write("payload", json.dumps({"keyword": "x", "documents": [{"name": "n", "text": "x y x"}]}))
        submit = ["job", "submit", "keyword-search", "--payload", "payload", "--attested-server"]
        code, out, err = self.cloister(*submit, "--receipt", "receipt.json")
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["total"], 2)
        self.assertIn("not bound to the connection", err)
        jobs = lambda: len(json.loads(self.ok("job", "list", "--json"))["jobs"])
        before = jobs()
        code, out, err = self.cloister(*submit, *self.with_trust(lambda t: t.pop("server_reference_values")))
        self.assertEqual((code, out), (1, ""), err)
        self.assertIn("measurement_mismatch", err)
        self.assertIn("--attested-server", err)
        self.assertEqual(jobs(), before)

    def test_a_server_is_started_again_in_the_same_td_with_the_same_configuration_alone(self):
        folder = self.home / "dev"
        keys = json.loads(subprocess.run([harness.BIN / "cloisterd", "--config", folder / "cloisterd.toml", "--show-keys"],
                                         capture_output=True, text=True, check=True).stdout)
        self.assertEqual(keys["configuration_digest"], self.trust["server_reference_values"][0]["configuration_digest"])
        text = (folder / "cloisterd.toml").read_text().replace('data = "server"', 'data = "other"')
        (folder / "other.toml").write_text(text)
        done = subprocess.run([harness.BIN / "cloisterd", "--config", folder / "other.toml"], capture_output=True, text=True,
                              timeout=harness.PATIENCE)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("conflict", done.stderr)
        self.assertIn("launch it anew", done.stderr)
        self.verify()  # the one that runs is not disturbed

    def push(self, *options):
        """A version of the example whose instances demand the server's evidence; what `challenge push` said."""
        if not (self.home / "layout").exists():
            self.ok("challenge", "build", harness.BIN / "keyword-search", "--out", self.home / "layout")
        code, out, err = self.cloister("challenge", "push", "layout", "--id", "demanding", "--secret",
                                       "index-salt=keyword-search/index-salt", "--json", "--demand-server-evidence", *options)
        self.assertEqual(code, 0, err)
        self.assertIn("not that its platform's TCB is good today", err)
        return json.loads(out)

    def instances(self, version):
        listed = json.loads(self.ok("instance", "list", "--json"))["instances"]
        return [instance for instance in listed if instance["version"] == version]

    def failure(self, version):
        """Why the first instance of that version ended."""
        return self.wait_for("an instance that refuses the server", lambda: next(
            (i["failure"] for i in self.instances(version) if i["state"] == "refused"), None))

    def test_a_challenge_that_demands_it_runs_with_this_server_and_with_no_other(self):
        version = self.push()
        self.assertEqual(self.push()["id"], version["id"], "the same push on the same day")
        demand = version["spec"]["server_evidence"]
        self.assertEqual(demand["reference_values"], self.trust["server_reference_values"])
        self.assertEqual(len(demand["roots"]), len(self.trust["lab_roots"]))
        self.assertTrue(demand["not_before"].endswith("T00:00:00Z"), demand)
        self.wait_for("an instance that accepts the server",
                      lambda: [i for i in self.instances(version["id"]) if i["state"] == "ready"])
        # A job of it runs, and its receipt verifies offline, with the demand in what is measured.
        self.trust["reference_values"] = [{"challenge": "demanding", "version": version["id"], **version["reference_value"]}]
        mine = self.write("mine.json", json.dumps(self.trust))
        self.write("payload", json.dumps({"keyword": "x", "documents": [{"name": "n", "text": "x y x"}]}))
        out = self.ok("job", "submit", "demanding", "--payload", "payload", "--receipt", "receipt.json", "--trust", mine)
        self.assertEqual(json.loads(out)["total"], 2)
        self.ok("receipt", "verify", "receipt.json", "--trust", mine)

        def other(name, value):
            return lambda trust: trust["server_reference_values"][0].update({name: value})
        for change, code in ((other("mrtd", "11" * 48), "measurement_mismatch"),
                             (other("configuration_digest", "sha256:" + "00" * 32), "measurement_mismatch"),
                             (lambda t: t.update(lab_roots=t["lab_roots"][:1]), "lab_root_not_trusted")):
            refusing = self.push(*self.with_trust(change))
            self.assertNotEqual(refusing["id"], version["id"])
            self.assertIn(f"{code}: the TD does not take this server's evidence", self.failure(refusing["id"]))
            # It sent no evidence, and got nothing.
            log = self.ok("audit", "list", "--json", "--count", "1000")
            for instance in self.instances(refusing["id"]):
                self.assertNotIn(instance["id"], log)
        self.assertIn(self.instances(version["id"])[0]["id"], log)

        code, out, err = self.cloister("challenge", "push", "layout", "--id", "demanding", "--demand-server-evidence",
                                       *self.with_trust(lambda t: t.pop("server_reference_values")))
        self.assertEqual((code, out), (1, ""))
        self.assertIn("server_reference_values", err)
        for options, said in ((("--not-before", "2999-01-01T00:00:00Z"), "lies in the future"), (("--not-before", "today"), "--not-before")):
            code, out, err = self.cloister("challenge", "push", "layout", "--id", "demanding", "--demand-server-evidence", *options)
            self.assertEqual((code, out), (1, ""))
            self.assertIn(said, err)


class Nowhere(harness.System):
    """A server that is in no TEE."""

    def test_a_challenge_that_demands_evidence_is_not_registered(self):
        self.start_platform()
        self.start_server()
        trust = json.loads((self.home / "server-trust.json").read_text())
        trust["server_reference_values"] = [{"mrtd": "11" * 48, "rtmr0": "00" * 48, "rtmr1": "00" * 48, "rtmr2": "00" * 48,
                                             "configuration_digest": "sha256:" + "00" * 32}]
        self.write("demand.json", json.dumps(trust))
        example = self.push_example()
        code, out, err = self.cloister("challenge", "push", self.home / "layout", "--id", "keyword-search", "--demand-server-evidence",
                                       "--trust", self.home / "demand.json", *self.connection)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("this server has no evidence of its own", err)
        self.assertIn("[tee]", err)
        self.assertEqual([v["id"] for v in self.listed("challenge", "--id", "keyword-search")["versions"]], [example["id"]])

    def test_nothing_is_shown_and_nothing_is_sent(self):
        self.start_platform()
        self.start_server()
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{self.server['url']}/api/v1/attestation/self?nonce={'00' * 16}")
        self.assertEqual(refused.exception.code, 404)
        problem = json.loads(refused.exception.read())
        self.assertEqual(problem["code"], "not_found")
        self.assertIn("does not run in a TEE", problem["detail"])
        self.write("payload", "{}")
        for command in (["server", "verify", "--server", self.server["url"]],
                        ["job", "submit", "keyword-search", "--payload", "payload", "--attested-server", *self.connection]):
            code, out, err = self.cloister(*command)
            self.assertEqual((code, out), (1, ""), err)
            self.assertIn("does not run in a TEE", err)

    def test_a_server_that_is_told_of_a_tee_does_not_start_without_it(self):
        self.start_platform()
        self.settings = '[tee]\ndevice = "lab-socket"\nsocket = "nobody.sock"\n'
        with self.assertRaises(AssertionError):
            self.start_server()
        self.assertIn("nobody.sock", self.log("server"))


class Updated(harness.System):
    """A server that is started anew, in a TD that was launched anew, with another configuration."""

    def configure(self, comment):
        self.settings = (f'[tee]\ndevice = "lab-socket"\nsocket = "tee.sock"\ncollateral = {json.dumps(self.tee["collateral"])}\n'
                         f"# {comment}\n")

    def launch(self):
        self.tee = self.start("tee", harness.BIN / "cloister", "lab", "device", "--state", self.home / "tee", "--socket",
                              self.home / "tee.sock", "--program", harness.BIN / "cloisterd")

    def reference(self):
        """Of the server with the configuration that was written last."""
        keys = json.loads(subprocess.run([harness.BIN / "cloisterd", "--config", self.home / "cloisterd.toml", "--show-keys"],
                                         capture_output=True, text=True, check=True).stdout)
        zero = "00" * 48
        return {"mrtd": self.tee["mrtd"], "rtmr0": zero, "rtmr1": zero, "rtmr2": zero,
                "configuration_digest": keys["configuration_digest"]}

    def demand(self, name, *references):
        root = pathlib.Path(self.tee["root"]).read_text()
        file = self.write(f"{name}.json", json.dumps({"version": 1, "lab_roots": [root], "server_reference_values": references}))
        return self.ok("challenge", "push", self.home / "layout", "--id", name, "--secret", "index-salt=example/salt",
                       "--demand-server-evidence", "--trust", file, *self.connection).strip()

    def instances(self, version):
        return {i["id"]: i for i in self.listed("instance")["instances"] if i["version"] == version}

    def ready(self, version):
        return self.wait_for(f"an instance of {version}", lambda: [
            id for id, i in self.instances(version).items() if i["state"] == "ready"])[0]

    def test_what_names_the_next_server_goes_on_and_what_does_not_ends(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"
        self.start_platform()
        self.launch()
        self.configure("the next")
        self.start_server()
        following = self.reference()
        self.kill("server")
        self.kill("tee")
        self.launch()
        self.configure("the first")
        self.start_server()
        first = self.reference()
        self.assertNotEqual(first, following)
        self.start_validator()
        self.ok("challenge", "build", harness.BIN / "keyword-search", "--out", self.home / "layout")
        self.ok("secret", "put", "example/salt", "--file", self.write("salt", "sesame"), *self.connection)
        narrow, wide = self.demand("narrow", first), self.demand("wide", first, following)
        ends, stays = self.ready(narrow), self.ready(wide)
        self.kill("server")
        self.kill("tee")
        self.launch()
        self.configure("the next")
        self.start_server()
        self.wait_for("the end of what does not know this server", lambda: self.instances(narrow)[ends]["state"] == "refused")
        failure = self.instances(narrow)[ends]["failure"]
        self.assertIn("measurement_mismatch: the TD does not take this server's evidence: configuration digest", failure)
        self.assertEqual(self.ready(wide), stays)
        self.assertEqual(list(self.instances(wide)), [stays])
        # A server that is told of no TEE any more is served by nobody who demands to see it.
        self.kill("server")
        self.settings = ""
        self.start_server()
        self.wait_for("the end of what demands evidence", lambda: self.instances(wide)[stays]["state"] == "refused")
        self.assertIn("unsupported: this server has no evidence of its own", self.instances(wide)[stays]["failure"])


class Relay:
    """A TLS server of its own that passes every byte on to the real one, and keeps what it saw."""

    def __init__(self, files, port, ca):
        self.seen = b""
        self.port, self.ca = port, ca
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*files)
        self.onward = ssl.create_default_context(cafile=str(ca))
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
                with self.context.wrap_socket(peer, server_side=True) as client:
                    raw = socket.create_connection(("127.0.0.1", self.port))
                    with self.onward.wrap_socket(raw, server_hostname="127.0.0.1") as server:
                        request = client.recv(65536)
                        self.seen += request
                        server.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                        while piece := server.recv(65536):
                            client.sendall(piece)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


class OverTls(tls_test.Tls):
    """Evidence that binds the key of the TLS connection, and every later one."""

    def start_in_a_td(self):
        self.start_platform()
        self.tee = self.start("tee", harness.BIN / "cloister", "lab", "device", "--state", self.home / "tee", "--socket",
                              self.home / "tee.sock", "--program", harness.BIN / "cloisterd")
        self.settings = (f'[tls]\ncertificate = "tls.pem"\nkey = "tls.key"\n[tee]\ndevice = "lab-socket"\nsocket = "tee.sock"\n'
                         f'collateral = {json.dumps(self.tee["collateral"])}\n')
        self.start_server()
        self.port = int(self.server["url"].rsplit(":", 1)[1])
        self.use(f"https://127.0.0.1:{self.port}", self.authority.certificate)
        keys = json.loads(subprocess.run([harness.BIN / "cloisterd", "--config", self.home / "cloisterd.toml", "--show-keys"],
                                         capture_output=True, text=True, check=True).stdout)
        zero = "00" * 48
        self.write("server.json", json.dumps({
            "version": 1, "lab_roots": [pathlib.Path(self.tee["root"]).read_text()], "server_keys": keys["server_keys"],
            "audit_keys": keys["audit_keys"], "server_reference_values": [
                {"mrtd": self.tee["mrtd"], "rtmr0": zero, "rtmr1": zero, "rtmr2": zero,
                 "configuration_digest": keys["configuration_digest"]}]}))

    def verify(self, url=None):
        return self.cloister("server", "verify", "--json", "--server", url or self.server["url"], *self.ca, "--trust",
                             self.home / "server.json")

    def spki(self):
        key = subprocess.run(["openssl", "x509", "-pubkey", "-noout", "-in", self.home / "tls.pem"], capture_output=True, check=True)
        der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "der"], input=key.stdout, capture_output=True, check=True)
        return hashlib.sha256(der.stdout).hexdigest()

    def test_the_evidence_is_bound_to_the_connection(self):
        self.start_in_a_td()
        code, out, err = self.verify()
        self.assertEqual(code, 0, out + err)
        answer = json.loads(out)
        self.assertTrue(answer["connection_bound"])
        self.assertEqual(answer["tls_key"], self.spki())

        # Whoever stands in between, with a certificate that the client accepts, passes on what the server shows in vain.
        files = self.authority.issue(into="between")
        relay = Relay(files, self.port, self.authority.certificate)
        self.addCleanup(relay.close)
        code, out, err = self.verify(relay.url)
        self.assertEqual(code, 2, out + err)
        self.assertEqual(json.loads(out)["error"]["code"], "binding_mismatch")
        self.write("payload", "{}")
        code, out, err = self.cloister("job", "submit", "keyword-search", "--payload", "payload", "--attested-server", "--trust",
                                       self.home / "server.json", "--server", relay.url, "--token-file",
                                       self.server["admin_token_file"], *self.ca)
        self.assertEqual(code, 1, out + err)
        self.assertIn("binding_mismatch", err)
        self.assertNotIn(b"Authorization", relay.seen)
        self.assertIn(b"/api/v1/attestation/self", relay.seen)

        # A renewed certificate is bound from then on.
        before = self.served()
        self.authority.issue()
        self.wait_for("the renewed certificate", lambda: self.served() != before)
        code, out, err = self.verify()
        self.assertEqual(code, 0, out + err)
        self.assertEqual(json.loads(out)["tls_key"], self.spki())


# The cases of tls_test itself run there.
for name in [name for name in dir(tls_test.Tls) if name.startswith("test_")]:
    setattr(OverTls, name, None)


if __name__ == "__main__":
    harness.main()
