"""A headless Chromium, driven through chromedriver (W3C WebDriver) by the standard library alone."""
import base64
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

PATIENCE = 60
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--window-size=1400,1900"]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def programs():
    """Paths of Chromium and chromedriver, or None."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    return found if all(found) else None


class Browser:
    """One window. Close it at the end."""

    def __init__(self):
        chromium, driver = programs()
        self.profile = tempfile.mkdtemp(prefix="cloister-browser-")
        self.driver = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.session = None
        try:
            for line in self.driver.stdout:
                if port := re.search(r"started successfully on port (\d+)", line):
                    break
            else:
                raise RuntimeError("chromedriver did not start")
            self.url = f"http://127.0.0.1:{port[1]}/session"
            options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={self.profile}"]}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            self.session = self._send("POST", self.url, {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            self.call("POST", "/timeouts", {"script": PATIENCE * 1000, "pageLoad": PATIENCE * 1000})
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _send(method, url, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, method=method, data=data, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=2 * PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def call(self, method, path, body=None):
        return self._send(method, f"{self.url}/{self.session}{path}", body)

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """The value of a function's body."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, condition, *arguments):
        """Waits until an expression is true, and gives its value. It is asked at every frame and every change of the page."""
        script = """
            const [done, args] = [arguments[arguments.length - 1], [...arguments].slice(0, -1)];
            const ask = () => { const value = (function () { return %s; }).apply(null, args); if (value) { watch.disconnect(); clearInterval(timer); done(value); } };
            const watch = new MutationObserver(ask);
            watch.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
            const timer = setInterval(ask, 100);
            ask();""" % condition
        return self.call("POST", "/execute/async", {"script": script, "args": list(arguments)})

    def element(self, selector):
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        return found[ELEMENT]

    def click(self, selector):
        self.call("POST", f"/element/{self.element(selector)}/click", {})

    def point_at(self, selector):
        """Moves the mouse there."""
        move = {"type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": {ELEMENT: self.element(selector)}}
        self.call("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [move]}]})

    def press(self, key):
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": [
            {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]}]})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def devtools(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self):
        """What the page's console has had since the last time."""
        return self.call("POST", "/se/log", {"type": "browser"})

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def close(self):
        try:
            if self.session:
                self.call("DELETE", "")
        finally:
            self.driver.kill()
            self.driver.wait()
            self.driver.stdout.close()
            shutil.rmtree(self.profile, ignore_errors=True)
