"""make demo: a private bucket on a real S3 server, and nginx in front of it.

With --once it shows that, and exits: non-zero when anything was not as told. With --auth sigv4
the bucket has no policy, and nginx signs. With --auth assume_role it does so with keys of STS that live
for seconds, and renews them while it serves.
"""

import argparse
import base64
import contextlib
import re
import secrets
import signal
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path
from urllib.parse import quote

from examples import credentials, example, iam, policy
from harness import LISTED, SeaweedFS, request

BUCKET = "example-bucket"
# How long keys of STS live, and for how long they are used, in seconds.
LIFE, LOAD = 5, 20
ANN = {"Authorization": "Basic " + base64.b64encode(b"ann:tulip").decode()}


def png(size=96):
    """A small image: a colour gradient."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(
        b"\0" + b"".join(bytes((40, (90 + y) % 256, (90 + x) % 256)) for x in range(size)) for y in range(size)
    )
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))  # fmt: skip


def pdf(text="A private document"):
    """A PDF of one page."""
    stream = f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = "%PDF-1.4\n", []
    for i, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{i} 0 obj\n{body}\nendobj\n"
    xref = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n"
    out += "".join(f"{o:010} 00000 n \n" for o in offsets)
    out += f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{xref}\n%%EOF\n"
    return out.encode()


FILES = {
    "index.html": ("text/html; charset=utf-8", None),
    "images/gradient.png": ("image/png", png()),
    "document.pdf": ("application/pdf", pdf()),
    "video.bin": ("application/octet-stream", bytes(range(256)) * 4096 * 20),
    "names with spaces.txt": ("text/plain", b"spaces"),
    "c++ notes.txt": ("text/plain", b"a plus is a plus"),
    "日本語.txt": ("text/plain; charset=utf-8", "日本語".encode()),
}


def page():
    links = "".join(f'<li><a href="{quote(k)}">{k}</a></li>' for k in FILES if k != "index.html")
    return f'<h1>A private bucket</h1><img src="images/gradient.png"><ul>{links}</ul>'.encode()


class Demo:
    def __init__(self, tmp, once, iam=None):
        self.tmp, self.once, self.failed = tmp, once, False
        print("Starting an S3 server (SeaweedFS) with a private bucket ...", flush=True)
        self.s3 = SeaweedFS(tmp / "s3", iam=iam)

    def show(self, what, good, got):
        print(f"  {'ok  ' if good else 'FAIL'}  {what}: {got}", flush=True)
        self.failed |= not good

    def fill(self, prefix="", bucket=BUCKET):
        self.s3.create_bucket(bucket)
        for key, (kind, body) in FILES.items():
            self.s3.put(bucket, prefix + key, body or page(), kind)

    @contextlib.contextmanager
    def folders(self):
        """nginx with pages of the folders of a second bucket."""
        self.fill("public/", LISTED)
        files = {"/etc/nginx/s3-credentials": credentials(self.tmp), "/etc/nginx/htpasswd": self.password()}
        here = [(BUCKET, LISTED), ("    s3_private_bucket_index         index.html;\n", "")]
        with example(self.tmp / "listing", "listing.conf", self.s3.url, files, here) as n:
            print("nginx-conf/listing.conf, without its index page:")
            r = n.get("/")
            self.show("nginx, asked for a folder without a password", r.status == 401, r.status)
            r = n.get("/", headers=ANN)
            links = re.findall('<a href="([^"]*)">', r.body.decode())
            self.show("nginx, asked with it", r.status == 200 and len(links) == len(FILES),
                      f"{r.status}, {' '.join(links)}")  # fmt: skip
            good = [n.get("/" + link, headers=ANN).status for link in links]
            self.show("where these links lead", good == [200] * len(FILES), good)
            yield n

    def password(self):
        file = self.tmp / "htpasswd"
        file.write_text("ann:{PLAIN}tulip\n")
        return file

    def objects(self, n):
        """What nginx serves of the bucket."""
        r = request(self.s3.port, f"/{BUCKET}/index.html")
        self.show("S3, asked by anyone", r.status == 403, r.status)
        r = n.get("/index.html")
        self.show("nginx, asked for the same object", r.status == 200 and r.body == page(), r.status)
        r = n.get("/video.bin", headers={"Range": "bytes=1000000-1000009"})
        self.show("nginx, 10 bytes of a large file", r.status == 206 and len(r.body) == 10,
                  f"{r.status}, {r.get('Content-Range')}")  # fmt: skip
        for key in list(FILES)[1:]:
            r = n.get("/" + quote(key))
            good = r.status == 200 and r.body == FILES[key][1]
            self.show(key, good, f"{r.status}, {len(r.body)} bytes")
        r = n.get("/index.html", method="DELETE")
        self.show("nginx, asked to delete", r.status == 405, r.status)

    def wait(self, n, folders=None):
        if not self.once and not self.failed:
            print(f"\nOpen http://127.0.0.1:{n.port}/index.html - Ctrl-C ends it.", flush=True)
            if folders:
                print(f"Its folders: http://127.0.0.1:{folders.port}/ (ann, tulip)", flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})

    def secret(self):
        secret = secrets.token_urlsafe(32)
        file = self.tmp / "s3-media.secret"
        file.touch(0o600)
        file.write_text(secret)
        self.fill()
        self.s3.put_policy(BUCKET, policy("bucket-policy.json", BUCKET, secret))

        files = {"/etc/nginx/s3-media.secret": file}
        with example(self.tmp / "nginx", "cache.conf", self.s3.url, files) as n:
            print("nginx-conf/cache.conf, with bucket-policy.json:")
            self.objects(n)
            r = n.get("/index.html")
            cache = r.get("X-Cache-Status")
            self.show("nginx, asked once more", cache == "HIT", f"{r.status}, cache {cache}")
            with self.folders() as folders:
                self.wait(n, folders)

    def sigv4(self):
        files = {"/etc/nginx/s3-credentials": credentials(self.tmp),
                 "/etc/nginx/htpasswd": self.password()}  # fmt: skip
        self.fill()
        self.fill("downloads/")
        url = self.s3.url
        with example(self.tmp / "presigned", "presigned.conf", url, files) as n:
            print("nginx-conf/presigned.conf:")
            r = n.get("/video.bin")
            self.show("nginx, asked without a password", r.status == 401, r.status)
            r = n.get("/video.bin", headers=ANN)
            target = (r.get("Location") or "").removeprefix(url)
            self.show("nginx, asked with it", r.status == 302, f"{r.status} to S3{target[:60]}...")
            host = {"Host": url.removeprefix("http://")}
            r = request(self.s3.port, target, headers=host)
            good = r.status == 200 and r.body == FILES["video.bin"][1]
            self.show("S3, asked for that", good, f"{r.status}, {len(r.body)} bytes")
            altered = target.replace("video.bin", "document.pdf")
            r = request(self.s3.port, altered, headers=host)
            self.show("S3, asked for another object with it", r.status == 403, r.status)
        with example(self.tmp / "nginx", "sigv4.conf", url, files) as n:
            print("nginx-conf/sigv4.conf, with a bucket that has no policy:")
            self.objects(n)
            with self.folders() as folders:
                self.wait(n, folders)

    def assume_role(self):
        files = {"/etc/nginx/s3-credentials": credentials(self.tmp)}
        url = self.s3.url
        # The life is that of the server where none is asked for.
        here = [("https://minio.example.com:9000", url), ("    duration      1h;\n", "")]
        self.fill()
        with example(self.tmp / "nginx", "assume-role.conf", url, files, here) as n:
            print("nginx-conf/assume-role.conf, with the keys of a role:")
            self.objects(n)
            self.load(n)
            self.wait(n)

    def load(self, n):
        """Asks without a pause, for longer than keys live."""
        end, statuses = time.monotonic() + LOAD, []
        while time.monotonic() < end:
            statuses.append(n.get("/index.html").status)
        good = statuses.count(200)
        self.show(f"nginx, asked for {LOAD} seconds", good == len(statuses),
                  f"{good} of {len(statuses)} answers are 200")  # fmt: skip
        sets = [line for line in n.error_log().splitlines() if ": refreshed from role" in line]
        # They are renewed after three quarters of their life.
        self.show(f"STS, whose keys live for {LIFE} seconds", len(sets) >= LOAD // LIFE,
                  f"asked {len(sets)} times")  # fmt: skip
        what = sets[-1].partition("s3_private_bucket: ")[2] if sets else "nothing"
        good = "could not be refreshed" not in n.error_log()
        self.show("the error log of nginx", good and sets, what)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--auth", choices=["secret", "sigv4", "assume_role"], default="secret")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="s3-demo-") as tmp:
        demo = Demo(Path(tmp), args.once, iam(f"{LIFE}s") if args.auth == "assume_role" else None)
        try:
            {"secret": demo.secret, "sigv4": demo.sigv4, "assume_role": demo.assume_role}[args.auth]()
        finally:
            demo.s3.stop()
    return 1 if demo.failed else 0


if __name__ == "__main__":
    # Held back here, so that Ctrl-C ends the wait below and not the servers before it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.exit(main())
