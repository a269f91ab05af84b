#!/usr/bin/env python3
"""The command line of the public client, `kbs-client`, as far as docs/tutorial-keybroker.md uses it: with sample evidence, and
cryptography that is not ours."""
import argparse
import base64
import json
import pathlib
import sys

from jwcrypto import jwe, jwk

import kbs_test

ATTEMPTS = 3


class Refused(Exception):
    pass


def guest_of(options):
    guest = kbs_test.Guest(options.url)
    if options.tee_key_file:
        guest.key = jwk.JWK.from_pem(pathlib.Path(options.tee_key_file).read_bytes())
        public = json.loads(guest.key.export_public())
        guest.tee_pubkey = {"kty": "EC", "crv": public["crv"], "alg": "ECDH-ES+A256KW", "x": public["x"], "y": public["y"]}
    return guest


def handshake(guest):
    status, body, _ = guest.open()
    if status != 200:
        raise Refused(body.decode())
    status, body, _ = guest.attest(guest.message(json.loads(body)["nonce"]))
    if status != 200:
        raise Refused(body.decode())
    return json.loads(body)["token"]


def get_resource(options):
    guest = guest_of(options)
    headers = None
    if options.attestation_token:
        headers = {"Authorization": "Bearer " + pathlib.Path(options.attestation_token).read_text().strip()}
    for _ in range(ATTEMPTS):
        status, body, _ = guest.send("GET", "/resource/" + options.path, headers=headers)
        if status == 200:
            reply = jwe.JWE()
            reply.deserialize(body.decode(), guest.key)
            print(base64.b64encode(reply.payload).decode())
            return
        kbs_test.refusal(body)  # has to be one, else the public client gives up
        if status != 401 or headers:
            raise Refused(body.decode())
        handshake(guest)
    raise Refused("request unauthorized")


def attest(options):
    print(handshake(guest_of(options)))


def configure(options):
    headers = {"Authorization": "Bearer " + pathlib.Path(options.admin_token_file).read_text().strip()}
    guest = kbs_test.Guest(options.url)

    def post(path, body):
        status, answer, _ = guest.send("POST", path, body, headers)
        if status != 200:
            raise Refused(answer.decode())

    def policy():
        return kbs_test.unpadded(pathlib.Path(options.policy_file).read_bytes())

    if options.what == "set-resource":
        post("/resource/" + options.path, pathlib.Path(options.resource_file).read_bytes())
    elif options.what == "set-resource-policy":
        post("/resource-policy", {"policy": policy()})
    elif options.what == "set-attestation-policy":
        post("/attestation-policy", {"type": "rego", "policy_id": options.id, "policy": policy()})
    else:
        payload = base64.b64encode(json.dumps({options.name: [options.value]}).encode()).decode()
        post("/reference-value", {"version": "0.1.0", "type": "sample", "payload": payload})


def main():
    parser = argparse.ArgumentParser(prog="kbs-client", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    commands = parser.add_subparsers(dest="command", required=True)
    get = commands.add_parser("get-resource")
    get.add_argument("--path", required=True)
    get.add_argument("--attestation-token")
    get.add_argument("--tee-key-file")
    get.set_defaults(run=get_resource)
    token = commands.add_parser("attest")
    token.add_argument("--tee-key-file")
    token.set_defaults(run=attest)
    config = commands.add_parser("config")
    config.add_argument("--admin-token-file", required=True)
    config.set_defaults(run=configure)
    what = config.add_subparsers(dest="what", required=True)
    resource = what.add_parser("set-resource")
    resource.add_argument("--path", required=True)
    resource.add_argument("--resource-file", required=True)
    what.add_parser("set-resource-policy").add_argument("--policy-file", required=True)
    attestation = what.add_parser("set-attestation-policy")
    attestation.add_argument("--id", default="default_cpu")
    attestation.add_argument("--policy-file", required=True)
    value = what.add_parser("set-sample-reference-value")
    value.add_argument("name")
    value.add_argument("value")
    options = parser.parse_args()
    try:
        options.run(options)
    except Refused as refused:
        sys.exit(f"Error: {refused}")


if __name__ == "__main__":
    main()
