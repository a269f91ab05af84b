"""Which TEE a guest is in, and the lab on a machine that seems to have one of its own."""
import json
import shutil
import signal
import socket
import struct
import subprocess
import unittest

import harness

BUBBLEWRAP = ["bwrap", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]


def bubblewrap_works():
    return shutil.which("bwrap") and subprocess.run([*BUBBLEWRAP, "true"], capture_output=True).returncode == 0


@unittest.skipUnless(bubblewrap_works(), "bubblewrap cannot make a /dev here")
class BesideATee(harness.Case):
    """A /dev/tdx_guest that is /dev/null: there, and of no use."""

    def beside(self, *arguments):
        return subprocess.run([*BUBBLEWRAP, "--bind", "/dev/null", "/dev/tdx_guest", harness.BIN / "cloister", *arguments],
                              cwd=self.home, env=harness.environment(self.home), capture_output=True, text=True,
                              timeout=harness.PATIENCE)

    def test_the_lab_does_not_start_unless_told(self):
        done = self.beside("lab", "platform", "--state", self.home / "platform")
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        for words in ("lab_beside_tee", "/dev/tdx_guest", "--beside-tee"):
            self.assertIn(words, done.stderr)
        self.assertFalse((self.home / "platform").exists())
        for command in (("lab", "serve", "--port", 0),
                        ("lab", "device", "--state", self.home / "device", "--socket", self.home / "socket", "--program",
                         harness.BIN / "cloister-guest")):
            done = self.beside(*map(str, command))
            self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
            self.assertIn("lab_beside_tee", done.stderr)
            self.assertIn("--beside-tee", done.stderr)
        done = self.beside("demo")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("lab_beside_tee", done.stdout + done.stderr)

    def test_told_to_its_guests_are_in_the_lab_all_the_same(self):
        self.write("a.txt", "a cat and a cat\n")
        done = self.beside("demo", "--beside-tee", "--input", "a.txt", "--keyword", "cat")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("a.txt: 2\n", done.stdout)


class SoftwareUnderTest(harness.Case):
    """A program in another language that speaks docs/protocol/tee-socket.md by hand."""

    def ask(self, connection, *members):
        def cbor(value):
            if isinstance(value, int):
                return bytes([value])
            head = 0x40 if isinstance(value, bytes) else 0x60
            data = value if isinstance(value, bytes) else value.encode()
            size = bytes([head | len(data)]) if len(data) < 24 else bytes([head | 24, len(data)])
            return size + data
        request = bytes([0x80 | (len(members) + 1)]) + b"".join(map(cbor, ("cloister/tee/1", *members)))
        connection.sendall(struct.pack(">I", len(request)) + request)
        length, = struct.unpack(">I", self.exactly(connection, 4))
        return self.exactly(connection, length)

    def exactly(self, connection, size):
        out = b""
        while len(out) < size:
            piece = connection.recv(size - len(out))
            self.assertTrue(piece, "the socket was closed")
            out += piece
        return out

    def test_gets_quotes_that_verify_under_the_labs_root_alone(self):
        ready = self.start("device", harness.BIN / "cloister", "lab", "device", "--state", self.home / "machine", "--socket",
                           self.home / "tee.sock", "--program", harness.BIN / "cloister-guest")
        self.assertTrue(ready["lab"])
        self.assertEqual((self.home / "tee.sock").stat().st_mode & 0o777, 0o600)
        measured = json.loads(self.ok("measure", "tdx", "--program", harness.BIN / "cloister-guest", "--json"))
        self.assertEqual(ready["mrtd"], measured["mrtd"])
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.home / "tee.sock"))
            connection.settimeout(harness.PATIENCE)
            data = bytes(range(64))
            ok = b"\x6ecloister/tee/1\x62ok"
            self.assertTrue(self.ask(connection, "extend", 3, b"\x11" * 48).endswith(ok))
            self.assertIn(b"permission_denied", self.ask(connection, "extend", 0, b"\x11" * 48))
            self.assertIn(data, self.ask(connection, "report", data))
            answer = self.ask(connection, "quote", data)
        at = answer.index(ok) + len(ok)
        self.assertEqual(answer[at], 0x59)  # bytes, with a length of 16 bits
        size, = struct.unpack(">H", answer[at + 1:at + 3])
        (self.home / "quote").write_bytes(answer[at + 3:at + 3 + size])
        verify = ["verify", "--evidence", self.home / "quote", "--collateral", ready["collateral"], "--report-data", data.hex(),
                  "--json"]
        self.write("trust.json", json.dumps({"version": 1, "lab_roots": [(self.home / "machine/root.pem").read_text()]}))
        verdict = json.loads(self.ok(*verify, "--trust", self.home / "trust.json"))
        self.assertEqual((verdict["verdict"], verdict["bound"], verdict["lab"]), ("accepted", True, True))
        self.assertIn(ready["mrtd"], json.dumps(verdict["claims"]))
        code, out, _ = self.cloister(*verify)
        self.assertEqual((code, json.loads(out)["verdict"]), (2, "rejected"))
        self.processes["device"].send_signal(signal.SIGTERM)
        self.assertEqual(self.processes["device"].wait(harness.PATIENCE), 0)
        self.assertFalse((self.home / "tee.sock").exists())


class Guest(harness.Case):
    def test_arguments_that_name_no_device_are_refused(self):
        for arguments in (["--device=tdx"], ["--device="], ["lab-socket"], ["--device=lab-socket", "more"]):
            done = subprocess.run([harness.BIN / "cloister-guest", *arguments], capture_output=True, text=True,
                                  timeout=harness.PATIENCE)
            self.assertEqual(done.returncode, 2, arguments)
            event = json.loads(done.stderr.splitlines()[0])
            self.assertEqual(event["event"], "arguments.refused", arguments)


if __name__ == "__main__":
    harness.main()
