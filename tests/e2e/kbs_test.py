"""Guests of Confidential Containers against cloisterd from outside: the protocol's table, with cryptography that is not ours
(jwcrypto, hashlib) and with messages that are put together here."""
import base64
import concurrent.futures
import hashlib
import http.cookiejar
import json
import pathlib
import subprocess
import unittest
import urllib.error
import urllib.request

import harness

try:
    from jwcrypto import jwe, jwk, jws
except ImportError:
    jwe = None

KINDS = [("EC", "P-256"), ("EC", "P-384"), ("EC", "P-521"), ("RSA", None)]
ALLOW_ALL = "package policy\nallow = true\n"
# What Trustee's policy asks of sample evidence.
SAMPLE_POLICY = """package policy

import rego.v1

default hardware := 97

default executables := 33

default configuration := 36

hardware := 2 if {
	input.sample.svn in query_reference_value("svn")
	input.sample.platform_version.major == query_reference_value("major_version")
	input.sample.platform_version.minor >= query_reference_value("minimum_minor_version")
}

executables := 3 if input.sample.launch_digest in query_reference_value("launch_digest")

configuration := 2 if input.sample.debug == false

trust_claims := {"hardware": hardware, "executables": executables, "configuration": configuration}
"""


def unpadded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def b64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def canonical(value):
    """RFC 8785, for what has no numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def report_data(value):
    return hashlib.sha384(canonical(value)).digest()


class Guest:
    """Its key, its cookies, and how it speaks."""

    def __init__(self, url, kind=KINDS[0]):
        self.url = url + "/kbs/v0"
        if kind[0] == "EC":
            self.key = jwk.JWK.generate(kty="EC", crv=kind[1])
            public = json.loads(self.key.export_public())
            self.tee_pubkey = {"kty": "EC", "crv": kind[1], "alg": "ECDH-ES+A256KW", "x": public["x"], "y": public["y"]}
        else:
            self.key = jwk.JWK.generate(kty="RSA", size=2048)
            public = json.loads(self.key.export_public())
            self.tee_pubkey = {"kty": "RSA", "alg": "RSA-OAEP-256", "n": public["n"], "e": public["e"]}
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def send(self, method, path, body=None, headers=None):
        """(status, body, headers); a body that is no bytes goes as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers or {})
        if body is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with self.opener.open(request, timeout=harness.PATIENCE) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read(), refused.headers

    def open(self, version="0.4.0", tee="sample", extra=""):
        return self.send("POST", "/auth", {"version": version, "tee": tee, "extra-params": extra})

    def message(self, nonce, additional="", key=None, evidence=None, data=None, init_data=None):
        key = key or self.tee_pubkey
        data = data or report_data({"additional-evidence": additional, "nonce": nonce, "tee-pubkey": key})
        evidence = evidence or {"report_data": base64.b64encode(data).decode(), "svn": "1"}
        return {"init-data": init_data, "runtime-data": {"nonce": nonce, "tee-pubkey": key},
                "tee-evidence": {"primary_evidence": evidence, "additional_evidence": additional}}

    def attest(self, message):
        return self.send("POST", "/attest", message)

    def handshake(self, **options):
        status, body, _ = self.open()
        assert status == 200, body
        return self.attest(self.message(json.loads(body)["nonce"], **options))

    def opened(self, body):
        """What a reply holds."""
        reply = jwe.JWE()
        reply.deserialize(body.decode(), self.key)
        return reply.payload


def refusal(body):
    """(kind, detail): every refusal has to be one."""
    read = json.loads(body)
    return read["type"].rsplit("/", 1)[-1], read["detail"]


@unittest.skipIf(jwe is None, "needs jwcrypto: scripts/setup installs Debian's python3-jwcrypto")
class KeyBroker(harness.System):
    sample = True
    policy = ALLOW_ALL

    def setUp(self):
        super().setUp()
        self.write("resource.rego", self.policy)
        self.settings = f'[key_broker]\nsample_evidence = {str(self.sample).lower()}\nresource_policy = "resource.rego"\n'
        self.start_platform()
        self.start_server()
        self.url = self.server["url"]
        self.admin = {"Authorization": "Bearer " + pathlib.Path(self.server["admin_token_file"]).read_text().strip()}
        status, body, _ = self.guest().send("POST", "/resource/default/key/1", b"the disk's key", self.admin)
        self.assertEqual((status, body), (200, b""))

    def guest(self, kind=KINDS[0]):
        return Guest(self.url, kind)

    def refused(self, answer, kind, *words, status=401):
        self.assertEqual(answer[0], status, answer[1])
        found, detail = refusal(answer[1])
        self.assertEqual(found, kind, detail)
        for word in words:
            self.assertIn(word, detail)

    def test_guests_of_every_kind_of_key_get_what_they_ask_for(self):
        for kind in KINDS:
            with self.subTest(kind=kind):
                guest = self.guest(kind)
                self.refused(guest.send("GET", "/resource/default/key/1"), "TokenNotFound")
                status, body, _ = guest.handshake()
                self.assertEqual(status, 200, body)
                status, reply, _ = guest.send("GET", "/resource/default/key/1")  # by the cookie, as a jar keeps it
                self.assertEqual(status, 200, reply)
                self.assertEqual(guest.opened(reply), b"the disk's key")
                read = json.loads(reply)
                self.assertEqual(set(read), {"protected", "encrypted_key", "iv", "ciphertext", "tag"})
                # The public client writes the header anew before it authenticates it.
                header = json.loads(b64url(read["protected"]))
                anew = {"alg": header.pop("alg"), "enc": header.pop("enc")}
                anew.update({name: header[name] for name in sorted(header)})
                if "epk" in anew:
                    anew["epk"] = {name: anew["epk"][name] for name in sorted(anew["epk"])}
                    size = {"P-256": 32, "P-384": 48, "P-521": 66}[kind[1]]
                    self.assertEqual((len(b64url(anew["epk"]["x"])), len(b64url(anew["epk"]["y"]))), (size, size))
                self.assertEqual(json.dumps(anew, separators=(",", ":")).encode(), b64url(read["protected"]))
                # Passport: the token alone, without the cookie.
                other = self.guest()
                other.key = guest.key
                bearer = {"Authorization": "Bearer " + json.loads(body)["token"]}
                status, reply, _ = other.send("GET", "/resource/default/key/1", headers=bearer)
                self.assertEqual((status, other.opened(reply)), (200, b"the disk's key"))

    def test_tokens_are_verified_by_anybody(self):
        status, body, _ = self.guest().handshake()
        self.assertEqual(status, 200)
        token = json.loads(body)["token"]
        with urllib.request.urlopen(self.url + "/.well-known/jwks.json") as answer:
            keys = jwk.JWKSet.from_json(answer.read().decode())
        header = json.loads(b64url(token.split(".")[0]))
        self.assertEqual((header["alg"], header["typ"]), ("ES256", "JWT"))
        signed = jws.JWS()
        signed.deserialize(token, keys.get_key(header["kid"]))
        claims = json.loads(signed.payload)
        self.assertEqual(claims["eat_profile"], "tag:github.com,2024:confidential-containers/Trustee")
        self.assertEqual((claims["iss"], claims["aud"]), (self.server["server_id"], self.server["server_id"] + "/default"))
        self.assertEqual(claims["exp"] - claims["iat"], 300)
        self.assertNotIn("nbf", claims)
        self.assertTrue(claims["cloister.sample"] and claims["cloister.lab"])
        annotated = claims["submods"]["cpu0"]["ear.veraison.annotated-evidence"]
        self.assertEqual(annotated["sample"]["svn"], "1")
        self.assertEqual(set(annotated["runtime_data_claims"]), {"nonce", "tee-pubkey", "additional-evidence"})

    def test_requests(self):
        guest = self.guest()
        status, body, headers = guest.open(version="0.4.3", extra={"supported-hash-algorithms": ["sha384"]})
        self.assertEqual(status, 200)
        challenge = json.loads(body)
        self.assertEqual(list(challenge), ["nonce", "extra-params"])
        self.assertEqual((len(base64.b64decode(challenge["nonce"], validate=True)), challenge["extra-params"]), (32, ""))
        self.assertIn("HttpOnly", headers["Set-Cookie"])
        for version in ("0.1.0", "0.3.0", "0.4", "0.4.x", "0.5.0", "1.0.0"):
            answer = guest.open(version=version)
            self.assertEqual(answer[0], 401)
            self.assertIn("KBS Client Protocol Version Mismatch", refusal(answer[1])[1])
        self.refused(guest.open(tee="csv"), "AttestationError", "csv evidence is not verified here")
        self.refused(guest.open(tee="toaster"), "AttestationError", "toaster")
        for body in (b"", b"[]", b'{"version":"0.4.0","tee":"sample"}', b'{"tee":"sample","extra-params":""}', b"\xff"):
            self.refused(guest.send("POST", "/auth", body), "SerdeError")
        self.refused(guest.send("GET", "/auth"), "PluginNotFound", status=404)
        self.assertEqual(guest.send("PATCH", "/auth")[0], 405)
        self.refused(guest.send("GET", "/pkcs11/resource/x"), "PluginNotFound", status=404)

    def test_attestations(self):
        def refused(*words, **options):
            self.refused(self.guest().handshake(**options), "AttestationError", *words)

        guest = self.guest()
        self.refused(guest.attest(guest.message("x")), "AttestationError", "session")
        refused("report_data_mismatch", data=b"\0" * 48)
        refused("report_data_mismatch", data=report_data({"nonce": "x", "tee-pubkey": guest.tee_pubkey}))
        refused("kid: unknown member", key={**guest.tee_pubkey, "kid": "x"})
        refused("not on the curve", key={**guest.tee_pubkey, "y": guest.tee_pubkey["x"]})
        refused("P-256, P-384 or P-521", key={**guest.tee_pubkey, "crv": "secp256k1"})
        refused("ECDH-ES+A256KW expected", key={**guest.tee_pubkey, "alg": "ECDH-ES"})
        refused("EC or RSA expected", key={**guest.tee_pubkey, "kty": "AKP"})
        refused("not verified here", additional='{"nvidia":{}}')
        refused("additional_evidence", additional="[]")
        refused("svn", evidence={"report_data": ""})
        status, body, _ = guest.open()
        nonce = json.loads(body)["nonce"]
        for body in (b"", b"{}", b"[]"):
            self.refused(guest.attest(body), "AttestationError")
        self.assertEqual(guest.attest(guest.message(nonce))[0], 200, "what could not be read was no attempt")

    def test_a_device_is_bound_to_the_same_session(self):
        guest = self.guest()
        _, body, _ = guest.open()
        nonce = json.loads(body)["nonce"]
        data = report_data({"nonce": nonce, "tee-pubkey": guest.tee_pubkey})
        additional = json.dumps({"sampledevice": {"svn": "2", "report_data": base64.b64encode(data).decode()}})
        status, body, _ = guest.attest(guest.message(nonce, additional))
        self.assertEqual(status, 200, body)
        claims = json.loads(b64url(json.loads(body)["token"].split(".")[1]))
        self.assertEqual(list(claims["submods"]), ["cpu0", "gpu0"])

    def test_a_nonce_serves_once(self):
        guest = self.guest()
        _, body, _ = guest.open()
        nonce = json.loads(body)["nonce"]
        self.assertEqual(guest.attest(guest.message(nonce))[0], 200)
        self.refused(guest.attest(guest.message(nonce)), "AttestationError", "nonce_invalid")
        other = self.guest()
        other.cookies = guest.cookies
        self.refused(guest.attest(other.message(nonce)), "AttestationError", "nonce_invalid")
        self.assertEqual(guest.opened(guest.send("GET", "/resource/default/key/1")[1]), b"the disk's key")
        _, body, _ = guest.open()
        self.refused(guest.attest(guest.message("AAAA")), "AttestationError", "nonce_invalid")
        self.refused(guest.attest(guest.message(json.loads(body)["nonce"])), "AttestationError", "nonce_invalid")

    def test_of_many_attempts_at_once_one_wins(self):
        for _ in range(3):
            guest = self.guest()
            _, body, headers = guest.open()
            nonce = json.loads(body)["nonce"]
            rivals = [self.guest() for _ in range(6)]
            cookie = {"Cookie": headers["Set-Cookie"].split(";")[0]}
            with concurrent.futures.ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(lambda rival: rival.send("POST", "/attest", rival.message(nonce), cookie), rivals))
            self.assertEqual(sorted(answer[0] for answer in answers), [200] + [401] * 5)

    def test_sessions_outlive_the_server(self):
        waiting, attested = self.guest(), self.guest()
        _, body, _ = waiting.open()
        nonce = json.loads(body)["nonce"]
        token = json.loads(attested.handshake()[1])["token"]
        port = self.url.rsplit(":", 1)[1]
        self.kill("server")
        self.listen = f"127.0.0.1:{port}"
        self.start_server()
        self.assertEqual(attested.opened(attested.send("GET", "/resource/default/key/1")[1]), b"the disk's key")
        bearer = {"Authorization": "Bearer " + token}
        self.assertEqual(attested.send("GET", "/resource/default/key/1", headers=bearer)[0], 200)
        self.assertEqual(waiting.attest(waiting.message(nonce))[0], 200)

    def test_what_is_revoked_opens_nothing_even_after_a_restart_and_never_from_an_older_database(self):
        guest, other = self.guest(), self.guest()
        bearer = {"Authorization": "Bearer " + json.loads(guest.handshake()[1])["token"]}
        self.assertEqual(other.handshake()[0], 200)
        self.assertEqual(guest.send("GET", "/resource/default/key/1")[0], 200)
        listed = json.loads(self.ok("guest", "list", "--json", *self.connection))["guests"]
        self.assertEqual([one["state"] for one in listed], ["attested", "attested"])
        self.assertEqual(self.ok("guest", "list", *self.connection).count(" attested "), 2)
        cookie, = [cookie.value for cookie in guest.cookies]
        name = hashlib.sha256(bytes.fromhex(cookie)[:16]).hexdigest()  # of its id: nobody makes a cookie of it
        self.assertIn(name, [one["session"] for one in listed])
        self.assertNotIn(cookie, json.dumps(listed))
        self.stop_server()
        data = self.home / "server"
        backup = {file: file.read_bytes() for file in data.glob("cloister.db*")}
        self.restart()

        made = json.loads(self.ok("revocation", "add", "session", name, "--reason", "lost", "--json", *self.connection))
        self.refused(guest.send("GET", "/resource/default/key/1"), "TokenVerifierError", "was revoked")
        self.refused(self.guest().send("GET", "/resource/default/key/1", headers=bearer), "TokenVerifierError", "was revoked")
        self.assertEqual(other.send("GET", "/resource/default/key/1")[0], 200)
        self.kill("server")
        self.restart()
        self.refused(guest.send("GET", "/resource/default/key/1"), "TokenVerifierError", "was revoked")
        entry, = json.loads(self.ok("revocation", "list", "--json", *self.connection))["revocations"]
        self.assertEqual((entry["id"], entry["reason"], entry["by"]), (made["id"], "lost", "admin"))
        self.assertIn(made["id"], self.ok("revocation", "list", *self.connection))
        self.stop_server()
        newest = {file: file.read_bytes() for file in data.glob("cloister.db*")}

        # In the database of before, nothing is revoked: with it the server does not start, and says what to do.
        self.put_back(data, backup)
        for _ in range(2):
            done = subprocess.run([harness.BIN / "cloisterd", "--config", self.home / "cloisterd.toml"], capture_output=True, text=True,
                                  cwd=self.home, timeout=harness.PATIENCE)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            for word in ("database_behind_head", "restore the newest backup"):
                self.assertIn(word, done.stderr)
        self.put_back(data, newest)
        self.restart()
        self.refused(guest.send("GET", "/resource/default/key/1"), "TokenVerifierError", "was revoked")
        self.assertIn("lifted", self.ok("revocation", "lift", made["id"], *self.connection))
        self.assertEqual(guest.send("GET", "/resource/default/key/1")[0], 200)
        code, _, err = self.cloister("revocation", "lift", made["id"], *self.connection)
        self.assertEqual(code, 1)
        self.assertIn("no such revocation", err)
        code, _, err = self.cloister("revocation", "add", "chip", "00" * 64, "--reason", "x", *self.connection)
        self.assertEqual(code, 1)
        self.assertIn("not all of them 0", err)

    def restart(self):
        self.listen = "127.0.0.1:" + self.url.rsplit(":", 1)[1]
        self.start_server()

    def stop_server(self):
        child = self.processes["server"]
        self.children.remove(child)
        child.send_signal(harness.signal.SIGTERM)
        child.wait(harness.PATIENCE)
        child.stdout.close()

    def put_back(self, data, files):
        for file in data.glob("cloister.db*"):
            file.unlink()
        for file, content in files.items():
            file.write_bytes(content)

    def test_resources(self):
        guest = self.guest()
        guest.handshake()
        self.refused(guest.send("GET", "/resource/default/key/none"), "PluginInternalError", status=404)
        self.refused(self.guest().send("GET", "/resource/default/key/none"), "TokenNotFound")
        self.refused(guest.send("GET", "/resource/default/.key/1"), "InvalidRequestPath", status=404)
        for path in ("/resource/a/b", "/resource/a/b/c/d", "/resource/a/../b/c", "/resource/a/%2e%2e/c", "/resource/a/b%2fc/d"):
            self.assertIn(guest.send("GET", path)[0], (400, 404), path)
        admin = self.guest()
        self.assertEqual(admin.send("POST", "/resource/Some-Repo/type_1/tag.2", bytes(range(256)) * 8192, self.admin)[0], 200)
        self.assertEqual(json.loads(admin.send("GET", "/resource", headers=self.admin)[1]), ["Some-Repo/type_1/tag.2", "default/key/1"])
        self.assertEqual(guest.opened(guest.send("GET", "/resource/Some-Repo/type_1/tag.2")[1]), bytes(range(256)) * 8192)
        self.assertEqual(admin.send("DELETE", "/resource/Some-Repo/type_1/tag.2", headers=self.admin)[0], 200)
        self.assertEqual(admin.send("DELETE", "/resource/Some-Repo/type_1/tag.2", headers=self.admin)[0], 404)
        for method, path in (("POST", "/resource/a/b/c"), ("DELETE", "/resource/default/key/1"), ("GET", "/resource")):
            status, body, _ = guest.send(method, path, b"x" if method == "POST" else None)
            self.assertEqual(status, 401)
            refusal(body)

    def post(self, path, body):
        return self.guest().send("POST", path, body, self.admin)

    def set_resource_policy(self, rego):
        answer = self.post("/resource-policy", {"policy": unpadded(rego.encode())})
        self.assertEqual(answer[:2], (200, b""))

    def set_attestation_policy(self, rego, name="default_cpu"):
        answer = self.post("/attestation-policy", {"type": "rego", "policy_id": name, "policy": unpadded(rego.encode())})
        self.assertEqual(answer[:2], (200, b""))

    def set_reference_value(self, name, value):
        payload = base64.b64encode(json.dumps({name: value}).encode()).decode()
        answer = self.post("/reference-value", {"version": "0.1.0", "type": "sample", "payload": payload})
        self.assertEqual(answer[:2], (200, b""))

    def fetched(self, **options):
        """The secret, or the kind of the refusal, of a fresh guest."""
        guest = self.guest()
        answer = guest.handshake(**options)
        if answer[0] == 200:
            answer = guest.send("GET", "/resource/default/key/1")
        return guest.opened(answer[1]) if answer[0] == 200 else refusal(answer[1])[0]

    def test_policies_hold_at_once_and_after_a_restart(self):
        self.assertEqual(self.fetched(), b"the disk's key")
        self.set_resource_policy("package policy\ndefault allow = false\n")
        self.assertEqual(self.fetched(), "PolicyDeny")
        self.kill("server")
        self.start_server()
        self.url = self.server["url"]
        self.assertEqual(self.fetched(), "PolicyDeny")
        for allowing in (ALLOW_ALL, 'package policy\nimport rego.v1\ndefault allow := false\nallow if data.plugin == "resource"\n',
                         'package policy\nallow if data["resource-path"] == ["default", "key", "1"]\n'):
            self.set_resource_policy(allowing)
            self.assertEqual(self.fetched(), b"the disk's key")
        for denying in ("package other\nallow = true\n", 'package policy\nallow = "yes"\n', "package policy\nx = 1\n",
                        'package policy\nallow if data["resource-path"][0] == "other"\n'):
            self.set_resource_policy(denying)
            self.assertEqual(self.fetched(), "PolicyDeny")
        answer = self.post("/resource-policy", {"policy": unpadded(b"package policy\nallow if {\n")})
        self.refused(answer, "PolicyEngineError", "default:", status=400)
        self.refused(self.post("/resource-policy", {"policy": "YT8/fg=="}), "ParsePolicyError", status=400)
        self.assertEqual(self.fetched(), "PolicyDeny")

    def test_a_status_is_as_the_reference_values_say(self):
        self.set_resource_policy('package policy\nallow if input["submods"]["cpu0"]["ear.status"] == "affirming"\n')
        self.set_attestation_policy(SAMPLE_POLICY)
        for name, value in (("minimum_minor_version", 1), ("svn", ["1"]), ("launch_digest", ["abcde"]), ("major_version", 1)):
            self.assertEqual(self.fetched(), "PolicyDeny", name)
            self.set_reference_value(name, value)
        self.assertEqual(self.fetched(), b"the disk's key")
        status, body, _ = self.guest().send("GET", "/reference-value/svn", headers=self.admin)
        self.assertEqual((status, json.loads(body)), (200, ["1"]))
        self.set_reference_value("svn", ["2"])
        self.assertEqual(self.fetched(), "PolicyDeny")

    def test_tokens_say_what_further_policies_say(self):
        self.set_attestation_policy('package policy\ntrust_claims := {"hardware": 2}\n', "lax")
        self.set_attestation_policy('package policy\ntrust_claims := {"hardware": 97}\n', "strict")
        status, body, _ = self.guest().handshake()
        self.assertEqual(status, 200)
        cpu = json.loads(b64url(json.loads(body)["token"].split(".")[1]))["submods"]["cpu0"]
        self.assertEqual(cpu["ear.appraisal-policy-id"], "default")
        said = {name: (one["status"], one["trustworthiness-vector"]) for name, one in cpu["cloister.policies"].items()}
        self.assertEqual(said, {"lax": ("affirming", {"hardware": 2}), "strict": ("contraindicated", {"hardware": 97})})
        for name, expected in (("lax", b"the disk's key"), ("strict", "PolicyDeny"), ("none", "PolicyDeny")):
            self.set_resource_policy(f'package policy\nallow if input.submods.cpu0["cloister.policies"].{name}.status == "affirming"\n')
            self.assertEqual(self.fetched(), expected, name)

    def test_a_device_has_a_policy_of_its_own(self):
        self.set_attestation_policy('package policy\ntrust_claims := {"hardware": 2}\n')
        self.set_attestation_policy('package policy\ntrust_claims := {"hardware": 2} if input.sampledevice.svn == "2"\n', "default_gpu")
        self.set_resource_policy('package policy\nallow if input.submods.gpu0["ear.status"] == "affirming"\n')
        self.assertEqual(self.fetched(), "PolicyDeny")
        for svn, expected in (("2", b"the disk's key"), ("1", "AttestationError")):  # a policy that says nothing gives no token
            guest = self.guest()
            nonce = json.loads(guest.open()[1])["nonce"]
            data = report_data({"nonce": nonce, "tee-pubkey": guest.tee_pubkey})
            device = json.dumps({"sampledevice": {"svn": svn, "report_data": base64.b64encode(data).decode()}})
            answer = guest.attest(guest.message(nonce, device))
            if answer[0] == 200:
                answer = guest.send("GET", "/resource/default/key/1")
            self.assertEqual(guest.opened(answer[1]) if answer[0] == 200 else refusal(answer[1])[0], expected)

    def test_policies_see_init_data(self):
        self.set_resource_policy('package policy\nallow if input.submods.cpu0["ear.veraison.annotated-evidence"].init_data_claims'
                                 '.agent_policy_claims.containers[1].OCI.Process.Args[0] == "/run"\n')
        self.assertEqual(self.fetched(), "PolicyDeny")
        data = {"containers": [{}, {"OCI": {"Process": {"Args": ["/run"]}}}]}
        body = ('version = "0.1.0"\nalgorithm = "sha256"\n[data]\n"policy.rego" = \'\'\'\npackage agent_policy\n'
                f"policy_data := {json.dumps(data)}\n'''\n")
        self.assertEqual(self.fetched(init_data={"format": "toml", "body": body}), b"the disk's key")
        status, answer, _ = self.guest().handshake(init_data={"format": "toml", "body": body})
        self.assertEqual(status, 200)
        claims = json.loads(b64url(json.loads(answer)["token"].split(".")[1]))
        annotated = claims["submods"]["cpu0"]["ear.veraison.annotated-evidence"]
        self.assertEqual(annotated["init_data"], base64.b64encode(hashlib.sha256(body.encode()).digest()).decode())
        self.assertEqual(self.fetched(init_data={"format": "toml", "body": body.replace("/run", "/bin/sh")}), "PolicyDeny")
        self.assertEqual(self.fetched(init_data={"format": "json", "body": "{}"}), "AttestationError")

    def test_init_data_that_is_no_toml_ends_nothing(self):
        deep = 100_000
        for text in ("a." * deep + "a = 1", "[" + "a." * deep + "a]", "[[" + "a." * deep + "a]]", "x = " + "[" * deep + "]" * deep,
                     "x = " + "{a=" * deep + "1" + "}" * deep, "x = {" + "a." * deep + "a = 1}",
                     "[=1", "[[=", "x = [}"):
            for name in ("aa.toml", "cdh.toml"):
                body = f'version = "0.1.0"\nalgorithm = "sha256"\n[data]\n"{name}" = \'\'\'\n{text}\n\'\'\'\n'
                status, answer, _ = self.guest().handshake(init_data={"format": "toml", "body": body})
                self.assertEqual(status, 200, answer[:200])
        self.assertEqual(self.guest().open()[0], 200)

    def test_nobody_else_administers(self):
        for path in ("/resource-policy", "/attestation-policy", "/reference-value"):
            for headers in ({}, {"Authorization": "Bearer x"}):
                status, body, _ = self.guest().send("POST", path, {}, headers)
                self.assertEqual(status, 401)
                refusal(body)
        self.assertEqual(json.loads(self.guest().send("GET", "/resource-policy", headers=self.admin)[1]), ["default"])

    def test_foreign_tokens(self):
        guest = self.guest()
        token = json.loads(guest.handshake()[1])["token"]
        claims = json.loads(b64url(token.split(".")[1]))
        own = jwk.JWK.generate(kty="EC", crv="P-256")

        def signed(header):
            made = jws.JWS(json.dumps(claims))
            made.add_signature(own, None, json.dumps(header))
            return made.serialize(compact=True)

        fresh = self.guest()
        for name, header in (("its own key", {"alg": "ES256", "jwk": json.loads(own.export_public())}),
                             ("our key's name", {"alg": "ES256", "kid": json.loads(b64url(token.split(".")[0]))["kid"]}),
                             ("no name", {"alg": "ES256"})):
            answer = fresh.send("GET", "/resource/default/key/1", headers={"Authorization": "Bearer " + signed(header)})
            self.assertEqual(answer[0], 401, name)
            self.assertEqual(refusal(answer[1])[0], "TokenVerifierError", name)
        head, body, _ = token.split(".")
        none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        for text in (f"{none}.{body}.", f"{head}.{body}.", token[:-6] + "AAAAAA", "x"):
            self.refused(fresh.send("GET", "/resource/default/key/1", headers={"Authorization": "Bearer " + text}), "TokenVerifierError")

    def test_what_is_simulated_taints_the_server(self):
        request = urllib.request.Request(self.url + "/status", headers=self.admin)
        with urllib.request.urlopen(request) as answer:
            self.assertIn("sample evidence is accepted", answer.read().decode())


@unittest.skipIf(jwe is None, "needs jwcrypto: scripts/setup installs Debian's python3-jwcrypto")
class Defaults(harness.System):
    def test_sample_evidence_is_refused(self):
        self.settings = "[key_broker]\n"
        self.start_platform()
        self.start_server()
        status, body, _ = Guest(self.server["url"]).open()
        self.assertEqual(status, 401)
        self.assertIn("sample evidence is not verified here", refusal(body)[1])

    def test_without_a_key_broker_there_are_no_routes(self):
        self.start_platform()
        self.start_server()
        self.assertEqual(Guest(self.server["url"]).open()[0], 404)

    def test_a_policy_that_does_not_compile_stops_the_start(self):
        self.start_platform()
        self.write("bad.rego", "package policy\nallow if {\n")
        self.settings = '[key_broker]\nresource_policy = "bad.rego"\n'
        with self.assertRaises(AssertionError):
            self.start_server()
        self.assertIn("bad.rego:", self.log("server"))


@unittest.skipIf(jwe is None, "needs jwcrypto: scripts/setup installs Debian's python3-jwcrypto")
class Limits(harness.System):
    settings = "[key_broker]\n[limits]\nrequests_per_second_per_tenant = 1\n"

    def test_guests_of_a_tenant_are_told_when_to_come_back_and_its_operators_are_served(self):
        self.start_platform()
        self.start_server()
        guest = Guest(self.server["url"])
        answers = [guest.send("GET", "/resource/default/key/1") for _ in range(30)]
        self.assertEqual({answer[0] for answer in answers}, {401, 429})
        for _, body, headers in (answer for answer in answers if answer[0] == 429):
            self.assertEqual(headers["Retry-After"], "1")
            refusal(body)
        self.ok("guest", "list", *self.connection)


if __name__ == "__main__":
    harness.main()
