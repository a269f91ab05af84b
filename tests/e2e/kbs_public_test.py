"""The cases that the public broker's own integration tests state (Trustee: integration-tests, 22 of them), one test a case, by
the names that they have there. What a client sees is what they compare: a secret, or the words of a refusal."""
import base64
import hashlib
import json
import pathlib
import unittest

import harness
import kbs_test
from kbs_test import ALLOW_ALL, Guest, b64url, refusal, report_data, unpadded

SECRET = b"shhhhhhh"
PATH = "/resource/default/test/secret"
DENY_ALL = "package policy\ndefault allow = false\n"
# Every attester's status is to be better than contraindicated.
NOT_CONTRAINDICATED = """package policy
import rego.v1
default allow = false
allow if {
	count(input.submods) > 0
	not any_contraindicated
}
any_contraindicated if {
	some _, submod in input.submods
	submod["ear.status"] == "contraindicated"
}
"""
ALWAYS_CONTRAINDICATED = 'package policy\ntrust_claims := {"hardware": 97, "executables": 33, "configuration": 36}\n'
SAMPLE_VALUES = {"svn": ["1"], "launch_digest": ["abcde"], "major_version": 1, "minimum_minor_version": 1}
DEVICE_POLICY = """package policy
import rego.v1
default hardware := 97
hardware := 2 if input.sampledevice.svn in query_reference_value("device_svn")
trust_claims := {"hardware": hardware}
"""
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIFTDCCAvugAwIBAgIBADBG\n-----END CERTIFICATE-----\n"
SIMPLE_INIT_DATA = f'''version = "0.1.0"
algorithm = "sha256"
[data]
"policy.rego" = \'\'\'
package agent_policy

default CreateContainerRequest := true
default ExecProcessRequest := true
\'\'\'
"aa.toml" = \'\'\'
[token_configs]
[token_configs.kbs]
url = "http://1.2.3.4:8080"
\'\'\'

"cdh.toml" = \'\'\'
[kbc]
name = "cc_kbc"
url = "http://1.2.3.4:8080"

[image]
extra_root_certificates = ["""
{CERTIFICATE}"""]
\'\'\'
'''
AGENT_DATA = {"containers": [
    {"OCI": {"Annotations": {}, "Process": {"User": {"UID": 65535}, "Args": ["/pause"]}}},
    {"OCI": {"Annotations": {"io.kubernetes.cri.image-name": "bitnami/nginx:latest"},
             "Process": {"User": {"UID": 1001}, "Args": ["/opt/bitnami/scripts/nginx/entrypoint.sh"]}}}]}
POLICY_INIT_DATA = ('version = "0.1.0"\nalgorithm = "sha384"\n[data]\n"policy.rego" = \'\'\'\npackage agent_policy\n\n'
                    f"default CreateContainerRequest := false\n\npolicy_data := {json.dumps(AGENT_DATA, indent=2)}\n'''\n")


class Broker(harness.System):
    more = ""

    def setUp(self):
        super().setUp()
        self.settings = f"[key_broker]\nsample_evidence = true\n{self.more}"
        self.start_platform()
        self.start_server()
        self.token = pathlib.Path(self.server["admin_token_file"]).read_text().strip()

    def post(self, path, body, token=None):
        """As the client's `config` does it: nothing, or the words of the refusal."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        status, answer, _ = Guest(self.server["url"]).send("POST", path, body, headers)
        return None if status == 200 else refusal(answer)[1]

    def set_policy(self, text, token=None):
        return self.post("/resource-policy", {"policy": unpadded(text.encode())}, token)

    def set_attestation_policy(self, text, name="default_cpu", token=None):
        return self.post("/attestation-policy", {"type": "rego", "policy_id": name, "policy": unpadded(text.encode())}, token)

    def set_secret(self, token=None):
        return self.post(PATH, SECRET, token)

    def set_reference_values(self, values):
        for name, value in values.items():
            payload = base64.b64encode(json.dumps({name: value}).encode()).decode()
            self.assertIsNone(self.post("/reference-value", {"version": "0.1.0", "type": "sample", "payload": payload}))

    def attested(self, device=False, init_data=None):
        guest = Guest(self.server["url"])
        nonce = json.loads(guest.open()[1])["nonce"]
        additional = ""
        if device:
            data = report_data({"nonce": nonce, "tee-pubkey": guest.tee_pubkey})
            additional = json.dumps({"sampledevice": {"svn": "2", "report_data": base64.b64encode(data).decode()}})
        body = {"format": "toml", "body": init_data} if init_data else None
        status, answer, _ = guest.attest(guest.message(nonce, additional, init_data=body))
        self.assertEqual(status, 200, answer)
        return guest, json.loads(answer)["token"]

    def get_secret(self, **options):
        """The secret, or what the client says after its attempts."""
        guest, _ = self.attested(**options)
        status, answer, _ = guest.send("GET", PATH)
        if status == 200:
            return guest.opened(answer)
        self.assertEqual((status, refusal(answer)[0]), (401, "PolicyDeny"))
        return "request unauthorized"


@unittest.skipIf(kbs_test.jwe is None, "needs jwcrypto: scripts/setup installs Debian's python3-jwcrypto")
class Admin(Broker):
    """admin.rs: policies and secrets by the administrator, by a stranger, and by a role that may not."""
    STRANGER = "Cannot verify token with any of the issuers"

    def stranger(self):
        """A token of the same form, signed with another key."""
        head, body, _ = self.token.split(".")
        return f"{head}.{body}.{unpadded(bytes(64))}"

    def restricted(self):
        return json.loads(self.ok("token", "issue", "reader", "--role", "client", "--json", *self.connection))["token"]

    def test_set_policy_with_valid_key(self):
        self.assertIsNone(self.set_policy(ALLOW_ALL))

    def test_set_policy_with_invalid_key(self):
        self.assertIn(self.STRANGER, self.set_policy(ALLOW_ALL, self.stranger()))

    def test_set_policy_with_restricted_simple_backend(self):
        self.assertIn("Role client not allowed", self.set_policy(ALLOW_ALL, self.restricted()))

    def test_set_attestation_policy_with_valid_key(self):
        self.assertIsNone(self.set_attestation_policy(ALWAYS_CONTRAINDICATED))

    def test_set_attestation_policy_with_invalid_key(self):
        self.assertIn(self.STRANGER, self.set_attestation_policy(ALWAYS_CONTRAINDICATED, token=self.stranger()))

    def test_set_attestation_policy_with_restricted_simple_backend(self):
        self.assertIn("Role client not allowed", self.set_attestation_policy(ALWAYS_CONTRAINDICATED, token=self.restricted()))

    def test_set_secret_with_valid_key(self):
        self.assertIsNone(self.set_secret())

    def test_set_secret_with_invalid_key(self):
        self.assertIn(self.STRANGER, self.set_secret(self.stranger()))

    def test_set_secret_with_restricted_simple_backend(self):
        self.assertIn("Role client not allowed", self.set_secret(self.restricted()))


@unittest.skipIf(kbs_test.jwe is None, "needs jwcrypto: scripts/setup installs Debian's python3-jwcrypto")
class DenyAllAdmin(Broker):
    """admin.rs: administration by the protocol is switched off."""
    more = "protocol_administration = false\n"
    WORDS = "DenyAll authorization_mode is enabled"

    def test_set_policy_with_deny_admin_backend(self):
        self.assertIn(self.WORDS, self.set_policy(ALLOW_ALL))

    def test_set_attestation_policy_with_deny_admin_backend(self):
        self.assertIn(self.WORDS, self.set_attestation_policy(ALWAYS_CONTRAINDICATED))

    def test_set_secret_with_deny_admin_backend(self):
        self.assertIn(self.WORDS, self.set_secret())


@unittest.skipIf(kbs_test.jwe is None, "needs jwcrypto: scripts/setup installs Debian's python3-jwcrypto")
class GetResource(Broker):
    """get_resource.rs: policies on resources and on evidence, with reference values and with a device."""

    def run_case(self, policy, values, cpu, gpu=None, device=False):
        self.assertIsNone(self.set_secret())
        self.assertIsNone(self.set_policy(policy))
        self.assertIsNone(self.set_attestation_policy(cpu))
        if gpu:
            self.assertIsNone(self.set_attestation_policy(gpu, "default_gpu"))
        self.set_reference_values(values)
        return self.get_secret(device=device)

    def test_basic_ear_allow_all(self):
        self.assertEqual(self.run_case(ALLOW_ALL, {}, ALWAYS_CONTRAINDICATED), SECRET)

    def test_basic_ear_deny_all(self):
        self.assertEqual(self.run_case(DENY_ALL, {}, ALWAYS_CONTRAINDICATED), "request unauthorized")

    def test_policy_contraindicated(self):
        self.assertEqual(self.run_case(NOT_CONTRAINDICATED, {}, ALWAYS_CONTRAINDICATED), "request unauthorized")

    def test_policy_not_contraindicated(self):
        self.assertEqual(self.run_case(NOT_CONTRAINDICATED, SAMPLE_VALUES, kbs_test.SAMPLE_POLICY), SECRET)

    def test_device_contraindicated(self):
        got = self.run_case(NOT_CONTRAINDICATED, SAMPLE_VALUES, kbs_test.SAMPLE_POLICY, kbs_test.SAMPLE_POLICY, device=True)
        self.assertEqual(got, "request unauthorized")

    def test_device_not_contraindicated(self):
        got = self.run_case(NOT_CONTRAINDICATED, {**SAMPLE_VALUES, "device_svn": ["2"]}, kbs_test.SAMPLE_POLICY, DEVICE_POLICY,
                            device=True)
        self.assertEqual(got, SECRET)


@unittest.skipIf(kbs_test.jwe is None, "needs jwcrypto: scripts/setup installs Debian's python3-jwcrypto")
class LargeTokens(Broker):
    """No case of theirs: the policies that agents are given have tens of kilobytes, and stand in the token."""

    def test_a_passport_has_room_for_an_agents_policy(self):
        self.assertIsNone(self.set_secret())
        self.assertIsNone(self.set_policy(ALLOW_ALL))
        policy = "package agent_policy\n" + "default ExecProcessRequest := false\n" * 900
        guest, token = self.attested(init_data=f"version = \"0.1.0\"\nalgorithm = \"sha384\"\n[data]\n\"policy.rego\" = '''\n{policy}'''\n")
        self.assertGreater(len(token), 40 * 1024)
        other = Guest(self.server["url"])  # no session, the same key
        other.key, other.tee_pubkey = guest.key, guest.tee_pubkey
        status, answer, _ = other.send("GET", PATH, headers={"Authorization": f"Bearer {token}"})
        self.assertEqual((status, other.opened(answer) if status == 200 else answer), (200, SECRET))


@unittest.skipIf(kbs_test.jwe is None, "needs jwcrypto: scripts/setup installs Debian's python3-jwcrypto")
class InitData(Broker):
    """init_data.rs: policies on what the guest was configured with."""
    EVIDENCE = 'input["submods"]["cpu0"]["ear.veraison.annotated-evidence"]'

    def secret_under(self, condition, init_data):
        self.assertIsNone(self.set_secret())
        self.assertIsNone(self.set_policy(f"package policy\nimport rego.v1\ndefault allow = false\nallow if {{\n\t{condition}\n}}\n"))
        self.assertEqual(self.get_secret(), "request unauthorized", "without it there is nothing")
        return self.get_secret(init_data=init_data)

    def test_get_resource_with_init_data_hash(self):
        digest = base64.b64encode(hashlib.sha256(SIMPLE_INIT_DATA.encode()).digest()).decode()
        self.assertEqual(self.secret_under(f'{self.EVIDENCE}["init_data"] == "{digest}"', SIMPLE_INIT_DATA), SECRET)

    def test_get_resource_with_init_data_config(self):
        where = f'{self.EVIDENCE}["init_data_claims"]["cdh.toml"]["image"]["extra_root_certificates"][0]'
        self.assertEqual(self.secret_under(f"{where} == {json.dumps(CERTIFICATE)}", SIMPLE_INIT_DATA), SECRET)

    def test_get_resource_with_policy_init_data(self):
        where = f'{self.EVIDENCE}["init_data_claims"]["agent_policy_claims"]["containers"][1]["OCI"]["Process"]["Args"][0]'
        self.assertEqual(self.secret_under(f'{where} = "/opt/bitnami/scripts/nginx/entrypoint.sh"', POLICY_INIT_DATA), SECRET)

    def test_check_validated_identifiers(self):
        _, token = self.attested(init_data=POLICY_INIT_DATA)
        claims = json.loads(b64url(token.split(".")[1]))
        self.assertEqual(claims["submods"]["cpu0"]["ear.trustee.identifiers"]["validated"],
                         {"container_images": ["bitnami/nginx:latest"], "container_uids": [65535, 1001]})


if __name__ == "__main__":
    harness.main()
