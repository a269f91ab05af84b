"""Runs every command of docs/tutorial-keybroker.md, in order, in one shell: with a client of ours in the place of the public
`kbs-client`, or with that one where CLOISTER_KBS_CLIENT says where it is."""
import os
import pathlib
import re
import socket
import subprocess
import sys
import unittest

import harness
import kbs_test

HERE = pathlib.Path(__file__).resolve().parent
TUTORIAL = HERE.parent.parent / "docs" / "tutorial-keybroker.md"
PORT = "127.0.0.1:8080"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@unittest.skipIf(kbs_test.jwe is None, "needs jwcrypto: scripts/setup installs Debian's python3-jwcrypto")
class Tutorial(harness.Case):
    def test_every_command_does_what_it_says(self):
        text = TUTORIAL.read_text()
        blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
        self.assertGreater(len(blocks), 8)
        self.assertEqual(text.count("```sh\n"), len(blocks))
        script = "set -euo pipefail\n" + "\n".join(blocks).replace(PORT, f"127.0.0.1:{free_port()}")
        tools = self.home / "tools"
        tools.mkdir()
        public = os.environ.get("CLOISTER_KBS_CLIENT")
        if public:
            (tools / "kbs-client").symlink_to(public)
        else:
            (tools / "kbs-client").write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "kbs_client.py"} "$@"\n')
            (tools / "kbs-client").chmod(0o700)
        folder = self.home / "empty"
        folder.mkdir()
        environment = {**harness.environment(self.home), "CLOISTER_BIN": str(harness.BIN), "PYTHONDONTWRITEBYTECODE": "1"}
        environment["PATH"] = f"{tools}:{harness.BIN}:{environment['PATH']}"
        # A group of its own: a server that the tutorial did not end is ended here.
        done = subprocess.Popen(["bash", "-c", script], cwd=folder, env=environment, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            out, _ = done.communicate(timeout=4 * harness.PATIENCE)
        finally:
            try:
                os.killpg(done.pid, 9)
            except ProcessLookupError:
                pass
        self.assertEqual(done.returncode, 0, out)
        self.assertEqual((folder / "disk.key").stat().st_size, 32)
        self.assertNotIn((folder / "disk.key").read_bytes(), (folder / "data" / "cloister.db").read_bytes())


if __name__ == "__main__":
    harness.main()
