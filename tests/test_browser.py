"""Folders as pages in a real browser: headless Chromium follows their links, at the width of a desk and of a telephone."""

import base64
import contextlib
import json
import subprocess
import urllib.parse
import urllib.request

import pytest
from harness import LISTED, READER, READER_SECRET, ROOT, TIMEOUT, Nginx, accepts, free_port, wait_until

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]  # fmt: skip
SCREENSHOTS = ROOT / "target/screenshots"
ODD = ["a&b", "a+b", "%41", '"><script>alert(1)<', "javascript:alert(1)", "a b", "?q", "#f", "日本語", "http:", "<img src=x onerror=alert(1)>"]
SIZES = {"report.pdf": 1_234_567, "a rather long name, with spaces, of a report about the year 2026 - final version (2).docx": 70_000,
         "x" * 120 + ".bin": 5}  # fmt: skip


class Browser:
    """Chromium, by what WebDriver (W3C) calls its endpoints."""

    def __init__(self, path):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(["chromedriver", f"--port={port}", f"--log-path={path}/chromedriver.log"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            wait_until(lambda: accepts(port), "chromedriver")
            options = {"binary": "/usr/bin/chromium", "args": [*FLAGS, f"--user-data-dir={path}/profile"]}
            asked = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
            self.url += "/session/" + self("POST", "/session", asked)["sessionId"]
        except BaseException:
            self.stop()
            raise

    def __call__(self, method, path, body=None):
        data = json.dumps(body or {}).encode() if method == "POST" else None
        r = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(r, timeout=2 * TIMEOUT) as answer:
            return json.loads(answer.read())["value"]

    def size(self, width, height, mobile):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})

    def run(self, script):
        return self("POST", "/execute/sync", {"script": script, "args": []})

    def open(self, url):
        self("POST", "/url", {"url": url})

    def click(self, text):
        """Clicks on the link with this text, and waits for where it leads."""
        xpath = "//a[.=" + 'concat("",' + ",".join(f"'{part}'" for part in text.replace("'", "','").split("','")) + ")]"
        element = self("POST", "/element", {"using": "xpath", "value": xpath})
        before = self.at()
        self("POST", f"/element/{next(iter(element.values()))}/click")
        return wait_until(lambda: (now := self.at()) != before and self.run("return document.readyState") == "complete" and now,
                          f"the page behind {text}")  # fmt: skip

    def at(self):
        return self("GET", "/url")

    def back(self):
        before = self.at()
        self("POST", "/back")
        wait_until(lambda: self.at() != before, "the page before")

    def links(self):
        return self.run("return [...document.links].map(a => a.textContent)")

    def text(self):
        return self.run("return document.body.textContent")

    def show(self, name):
        SCREENSHOTS.mkdir(exist_ok=True)
        (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(self("GET", "/screenshot")))

    def stop(self):
        with contextlib.suppress(OSError):
            self("DELETE", "")
        self.process.terminate()
        self.process.wait(TIMEOUT)


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path)
    yield browser
    browser.stop()


@pytest.fixture
def n(s3, tmp_path):
    s3.create_bucket(LISTED)
    for folder in [f"{i:02} folder" for i in range(15)] + ODD:
        s3.put(LISTED, f"browser/{folder}/of {folder}.txt", folder.encode(), "text/plain; charset=utf-8")
    for name, size in SIZES.items():
        s3.put(LISTED, f"browser/{name}", b"x" * size)
    http = f"s3_private_bucket_auth sigv4 access_key_id={READER} secret_access_key=data:{READER_SECRET}; s3_private_bucket_endpoint {s3.url};"
    server = f"location /files/ {{ s3_private_bucket {LISTED} prefix=browser/; s3_private_bucket_autoindex html page=20 exact_size=off; }}"
    with Nginx(tmp_path / "n", server, http) as n:
        yield n


@pytest.mark.parametrize("name, width, height, mobile", [("desk", 1280, 800, False), ("telephone", 390, 844, True)])
def test_from_the_root_to_an_object_and_back(browser, n, name, width, height, mobile):
    browser.size(width, height, mobile)
    root = f"http://127.0.0.1:{n.port}/files/"
    browser.open(root)
    seen = []
    while True:
        assert browser.run("return document.documentElement.scrollWidth") <= width
        browser.show(f"{name}-{len(seen)}")
        links = browser.links()
        seen += [link for link in links if link not in ("../", "Next page")]
        if "Next page" not in links:
            break
        browser.click("Next page")
    folders = [f"{i:02} folder" for i in range(15)] + ODD
    assert sorted(seen) == sorted([*(f"{folder}/" for folder in folders), *SIZES])

    for folder in ODD:
        browser.open(root)
        while f"{folder}/" not in browser.links():
            browser.click("Next page")
        page = browser.at()
        at = browser.click(f"{folder}/")
        assert urllib.parse.unquote(at) == f"{root}{folder}/"
        assert browser.run("return document.title") == f"Index of /files/{folder}/"
        assert browser.links() == ["../", f"of {folder}.txt"]
        browser.click(f"of {folder}.txt")
        assert browser.text() == folder
        browser.back()
        assert browser.at() == at
        browser.show(f"{name}-folder")
        assert browser.click("../") == root
        browser.back()
        browser.back()
        assert browser.at() == page
    # Nothing was run, and nothing but pages and objects was asked for.
    targets = [line.split("|")[0] for line in n.access_log().splitlines()]
    assert all(target.startswith(("GET /files/", "GET /favicon.ico ")) for target in targets)
