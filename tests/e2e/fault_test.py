"""What the system does when its disk is full."""
import json
import os
import subprocess
import urllib.error
import urllib.request

import harness

DISK = 32 << 20


class SmallDisk:
    """A file system of 32 MiB in a mount namespace of its own, kept by a process that waits."""

    def __init__(self, case, folder):
        folder.mkdir()
        self.folder = folder
        self.user = [] if os.getuid() == 0 else ["--map-root-user"]
        self.holder = subprocess.Popen(
            ["unshare", *self.user, "--mount", "sh", "-c",
             f"mount -t tmpfs -o size={DISK},mode=0700 small '{folder}' && echo ready && exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        case.addCleanup(self.end)
        if self.holder.stdout.readline() != "ready\n":
            case.skipTest(f"no file system of one's own here: {self.holder.stderr.read().strip()}")

    def inside(self, *command):
        user = ["--user", "--preserve-credentials"] if self.user else []
        return ["nsenter", "--target", str(self.holder.pid), *user, "--mount", "--wd=" + str(self.folder.parent),
                *map(str, command)]

    def fill(self):
        """Leaves not one page."""
        subprocess.run(self.inside("sh", "-c", f"cat /dev/zero > '{self.folder}/filler'"), stderr=subprocess.DEVNULL)

    def free(self):
        subprocess.run(self.inside("rm", self.folder / "filler"), check=True)

    def end(self):
        self.holder.kill()
        self.holder.communicate()


class Disk(harness.System):
    def submit(self, key):
        """What the job with this key counts; its receipt beside it."""
        self.write("payload", json.dumps({"keyword": "x", "documents": [{"name": "n", "text": "x y x"}]}))
        out = self.ok("job", "submit", "keyword-search", "--payload", self.home / "payload", "--key", key, "--receipt",
                      self.home / f"{key}.receipt", "--trust", self.home / "trust.json", "--secret-file",
                      self.home / "client.secret", *self.connection)
        return json.loads(out)["total"]

    def status_of(self, path):
        try:
            with urllib.request.urlopen(self.server["url"] + path, timeout=harness.PATIENCE) as answer:
                return answer.status
        except urllib.error.HTTPError as refused:
            return refused.code

    def test_a_full_disk_refuses_what_is_new_and_keeps_what_was_acknowledged(self):
        disk = SmallDisk(self, self.home / "server")
        self.start_platform()
        self.around = disk.inside
        self.start_server()
        token = subprocess.run(disk.inside("cat", self.server["admin_token_file"]), check=True, capture_output=True)
        self.connection[3] = self.write("admin.token", token.stdout.decode())
        self.start_validator()
        self.wait_verified()
        version = self.push_example()
        self.wait_for("a ready instance",
                      lambda: [i for i in self.listed("instance")["instances"] if i["state"] == "ready"])
        self.write_trust(version)
        self.assertEqual(self.submit("first"), 2)

        disk.fill()
        self.write("value", "v" * 100)
        code, out, err = self.cloister("secret", "put", "while/full", "--file", self.home / "value", *self.connection)
        self.assertEqual((code, out), (1, ""), err)
        self.assertIn("storage_failure", err)
        # It still says what it has, and that it is not ready.
        self.assertEqual([job["state"] for job in self.listed("job")["jobs"]], ["succeeded"])
        self.wait_for("not ready", lambda: self.status_of("/ready") == 503)
        self.assertEqual(self.status_of("/health"), 200)

        disk.free()
        self.wait_for("ready again", lambda: self.status_of("/ready") == 200)
        paths = [secret["path"] for secret in self.listed("secret")["secrets"]]
        self.assertNotIn("while/full", paths)
        self.ok("secret", "put", "while/full", "--file", self.home / "value", *self.connection)
        self.assertEqual(self.submit("second"), 2)
        self.ok("receipt", "verify", self.home / "second.receipt", "--trust", self.home / "trust.json")


if __name__ == "__main__":
    harness.main()
