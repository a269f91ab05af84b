"""The lab's page in Chromium: as `cloister lab serve` serves it, and from another server with ?api=URL."""
import base64
import functools
import http.server
import json
import os
import pathlib
import sys
import threading
import unittest
import urllib.request

import browser
import harness

PAGE = pathlib.Path(__file__).resolve().parents[2] / "src/lab_service/page"
SCREENSHOTS = os.environ.get("CLOISTER_SCREENSHOTS")  # a folder, to look at them

# What is left of a page that is seen: its texts against what is behind them, as WCAG 2.2 has contrast.
CONTRAST = """
    const channels = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => { const c = [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
                                   return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
    const behind = (one) => { for (; one; one = one.parentElement) { const c = channels(getComputedStyle(one).backgroundColor);
                                                                     if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
    const poor = [];
    for (const one of document.body.querySelectorAll('*')) {
      if (one.className === 'skip' || !one.checkVisibility() || one.disabled) continue;
      if (![...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
      const [a, b] = [light(channels(getComputedStyle(one).color)), light(behind(one))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < 4.5) poor.push(`${one.tagName}.${one.className} ${one.textContent.slice(0, 20)} ${ratio.toFixed(2)}`);
    }
    return poor;"""
# Controls without a name, boxes that scroll and cannot be reached, ids that occur twice.
NAMELESS = """
    const out = [];
    for (const one of document.querySelectorAll('button, input, select, a[href]'))
      if (!(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length)) out.push('nameless ' + one.outerHTML);
    for (const one of document.querySelectorAll('*'))
      if (one.scrollHeight > one.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(one).overflowY) && one.tabIndex < 0
          && !one.querySelector('[tabindex="0"]')) out.push('out of reach ' + one.id);
    const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
    for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) out.push('twice ' + id);
    for (const one of document.querySelectorAll('[aria-labelledby]'))
      if (!document.getElementById(one.getAttribute('aria-labelledby'))) out.push('label of nothing ' + one.outerHTML.slice(0, 80));
    if (!document.documentElement.lang) out.push('no language');
    return out;"""


class StaticServer:
    """Any server of files, on another port than the lab's."""

    def __init__(self):
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *arguments):
                pass
        handler = functools.partial(Quiet, directory=str(PAGE))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.origin = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class LabPage(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.browser = browser.Browser()
        cls.addClassCleanup(cls.browser.close)
        cls.files = StaticServer()
        cls.addClassCleanup(cls.files.close)

    def lab(self, *options):
        self.api = self.start("lab", harness.BIN / "cloister", "lab", "serve", "--port", "0", *options)["url"]
        return self.api

    def get(self, path):
        with urllib.request.urlopen(self.api + path, timeout=30) as answer:
            return json.load(answer)

    def shoot(self, name):
        if SCREENSHOTS:
            self.browser.screenshot(pathlib.Path(SCREENSHOTS) / f"{name}.png")

    def use(self, url, name):
        """Everything that the page is for, wherever it came from."""
        page = self.browser
        page.open("about:blank")
        page.log()
        page.open(url)
        page.until("document.querySelector('#link.live')")
        # The first button, and its result.
        page.click("#search")
        page.until("document.getElementById('search-mrenclave').textContent.length === 64")
        self.assertEqual(json.loads(page.text("#search-result")), {"0": 1, "1": 1})
        self.assertEqual(page.text("#search-mrenclave"), self.get("/enclaves/dashboard")["mrenclave"])
        # The second.
        page.click("#launch")
        page.until("document.getElementById('vm-report').textContent.startsWith('{')")
        report = json.loads(page.text("#vm-report"))
        vm = self.get("/vms")["vms"][0]
        self.assertEqual((vm["vm_id"], vm["owner"]), (report["vm_id"], "dashboard"))
        self.assertEqual(page.text("#vm-id"), vm["vm_id"])
        self.assertEqual(page.text("#vm-measurement"), vm["measurement"])
        # The lists, without a reload.
        page.until("document.querySelector('#enclaves tbody tr td')?.textContent === 'dashboard'")
        page.until("document.querySelector('#vms tbody tr td')?.textContent === arguments[0]", vm["vm_id"])
        # The events, live.
        page.until("[...document.querySelectorAll('#events tbody tr')].some((row) => row.cells[4].textContent === 'MSG_REPORT_REQ')")
        page.until("[...document.querySelectorAll('#events tbody tr')].some((row) => row.cells[4].textContent === 'EEXTEND ×16')")
        # The bytes of the last evidence, which is the report, beside its fields.
        page.until("document.getElementById('evidence-what').textContent.startsWith('snp-report-v5')")
        self.bytes_and_fields(base64.b64decode(report["report"]))
        # A quote by the enclave's button: the bytes follow.
        page.click("#enclaves button[aria-label='Quote dashboard']")
        page.until("document.getElementById('evidence-what').textContent.startsWith('quote-v3')")
        self.bytes_and_fields(base64.b64decode(self.get("/evidence/last")["evidence"]))
        page.click("#verify")
        page.until("document.getElementById('verdict').className === 'good'")
        self.linked()
        # Nothing came from elsewhere, and nothing was complained of.
        loaded = page.run("return performance.getEntriesByType('resource').map((one) => new URL(one.name).origin)")
        self.assertLessEqual(set(loaded), {self.api, self.files.origin, "null"})
        self.assertEqual([one for one in page.log() if one["level"] == "SEVERE"], [])
        self.assertTrue(page.run("return document.getElementById('problem').hidden"))
        self.assertEqual(page.run(NAMELESS), [])
        for scheme in ("light", "dark"):
            page.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            self.assertEqual(page.run(CONTRAST), [], scheme)
            self.shoot(f"{name}-{scheme}")
        page.devtools("Emulation.setEmulatedMedia", features=[])
        self.narrow(name)

    def bytes_and_fields(self, evidence):
        shown = self.browser.run("""
            return [...document.querySelectorAll('#hex > div')].map((line) => line.textContent.slice(6, 6 + 47)).join(' ')""")
        self.assertEqual(bytes.fromhex(shown), evidence)
        whole = self.browser.run("""
            return [...document.querySelectorAll('#fields tr[data-field]')].map((row) => [Number(row.cells[1].textContent), Number(row.cells[2].textContent)])""")
        at = 0
        for offset, size in whole:
            self.assertEqual(offset, at)
            at += size
        self.assertEqual(at, len(evidence))

    def linked(self):
        """Pointing at bytes marks their field, pointing at a field its bytes; keys do, too."""
        page = self.browser
        chosen = "return [...document.querySelectorAll('#fields tr.chosen td:first-child')].map((one) => one.textContent)"
        number = page.run("""
            return [...document.querySelectorAll('#fields tr[data-field]')].find((row) => row.cells[0].textContent === 'mr_enclave').dataset.field""")
        page.run("document.getElementById('evidence').scrollIntoView(); document.getElementById('hex').scrollTop = 0")
        page.point_at(f"#hex .run[data-field='{number}']")
        page.until("document.querySelector('#fields tr.chosen')")
        self.assertEqual(page.run(chosen), ["mr_enclave"])
        page.point_at("#fields tr[data-field='1']")
        page.until("document.querySelector('#fields tr.chosen').dataset.field === '1'")
        self.assertEqual(page.run("""
            return [...document.querySelectorAll('#hex .run.chosen')].map((one) => one.textContent)"""), ["02 00", "··"])
        page.run("document.querySelector('#fields tr[tabindex=\"0\"]').focus()")
        page.press("\ue015")  # down
        page.press("\ue015")
        self.assertEqual(page.run("return document.activeElement.cells[0].textContent"), "tee_type")
        self.assertEqual(page.run(chosen), ["tee_type"])
        self.assertEqual(page.run("return document.querySelectorAll('#fields tr[tabindex=\"0\"]').length"), 1)

    def narrow(self, name):
        page = self.browser
        page.devtools("Emulation.setDeviceMetricsOverride", width=400, height=1400, deviceScaleFactor=1, mobile=True)
        self.assertLessEqual(page.run("return document.documentElement.scrollWidth"), 400)
        self.shoot(f"{name}-narrow")
        page.devtools("Emulation.clearDeviceMetricsOverride")

    def test_served_by_the_lab(self):
        self.use(self.lab() + "/", "own")
        # The lab goes, and the page says so.
        self.stop_all()
        self.browser.until("document.getElementById('link').textContent === 'not connected'")

    def test_from_another_server(self):
        self.lab("--allow-origin", self.files.origin)
        self.use(f"{self.files.origin}/index.html?api={self.api}", "elsewhere")

    def test_from_another_server_that_is_not_allowed(self):
        self.lab("--allow-origin", "http://127.0.0.1:1")
        self.browser.open(f"{self.files.origin}/index.html?api={self.api}")
        self.browser.until("document.getElementById('problem').textContent.includes('--allow-origin')")
        self.browser.click("#search")
        self.browser.until("!document.getElementById('search').disabled")
        self.assertEqual(self.browser.text("#search-mrenclave"), "–")
        self.assertEqual(self.get("/enclaves")["enclaves"], [])
        self.assertEqual(self.browser.text("#link"), "not connected")

    def test_without_an_address(self):
        self.browser.open(f"{self.files.origin}/index.html?api=ftp://x")
        self.browser.until("document.getElementById('problem').textContent.includes('?api=')")


if __name__ == "__main__":
    if browser.programs() is None:
        print("SKIPPED: no chromium and chromedriver on the PATH (Debian: chromium, chromium-driver)")
        sys.exit(77)
    unittest.main()
