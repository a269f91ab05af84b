"""Which TEE a guest is in, and the lab on a machine that seems to have one of its own."""
import json
import shutil
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
        done = self.beside("demo")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("lab_beside_tee", done.stdout + done.stderr)

    def test_told_to_its_guests_are_in_the_lab_all_the_same(self):
        self.write("a.txt", "a cat and a cat\n")
        done = self.beside("demo", "--beside-tee", "--input", "a.txt", "--keyword", "cat")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("a.txt: 2\n", done.stdout)


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
