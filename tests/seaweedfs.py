"""A real S3 server on loopback: SeaweedFS, from its PyPI wheel."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from harness import WEED, Certificate, Headers, Reply, TestCA, free_port, request, wait_until

ACCESS_KEY, SECRET_KEY = "AKIATESTWRITER00001", "testwritersecret0000000000000000000000001"
REGION = "us-east-1"
DOMAIN = "s3.localhost"


def encode_key(key: str | bytes) -> str:
    """S3's UriEncode of a key: all but unreserved characters and slashes."""
    return quote(key, safe="-_.~/")


def sign(method: str, host: str, path: str, query: str) -> Headers:
    """The headers of a Signature Version 4 request; path and query are encoded and sorted."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    headers = {"host": host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": now}
    names = ";".join(headers)
    canonical = "\n".join([method, path, query, *(f"{n}:{v}" for n, v in headers.items()), "",
                           names, "UNSIGNED-PAYLOAD"])
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope,
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + SECRET_KEY.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    del headers["host"]
    return [*headers.items(),
            ("Authorization", f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope},"
                              f"SignedHeaders={names},Signature={signature}")]


class SeaweedFS:
    """weed server with S3 on http (port) and, with a CA, on https (tls_port)."""

    def __init__(self, dir: Path, ca: TestCA | None = None, domain: str = DOMAIN) -> None:
        self.dir, self.domain = dir, domain
        self.port, self.tls_port = free_port(), free_port()
        self.certificate: Certificate | None = None
        if ca:
            self.certificate = ca.issue(domain, f"*.{domain}", "localhost", "127.0.0.1")
        self.process: subprocess.Popen[bytes] | None = None
        self._grpc: dict[str, int] = {n: free_port() for n in ("master", "volume", "filer", "s3")}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"https://{self.domain}:{self.tls_port}"

    def start(self) -> SeaweedFS:
        self.dir.mkdir(parents=True)
        (self.dir / "data").mkdir()
        (self.dir / "s3.json").write_text(json.dumps({"identities": [
            {"name": "writer", "actions": ["Admin", "Read", "List", "Tagging", "Write"],
             "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]}]}))
        # Every port and socket is named: the defaults are fixed ones, on all addresses.
        options = {
            "dir": self.dir / "data", "ip": "127.0.0.1", "ip.bind": "127.0.0.1",
            "master.telemetry": "false", "master.volumeSizeLimitMB": 64, "volume.max": 64,
            "master.port": free_port(), "volume.port": free_port(), "filer.port": free_port(),
            "filer.localSocket": self.dir / "filer.sock", "s3.localSocket": self.dir / "s3.sock",
            "s3.port": self.port, "s3.port.iceberg": 0, "s3.port.lance": 0,
            "s3.domainName": self.domain, "s3.config": self.dir / "s3.json",
            **{f"{name}.port.grpc": port for name, port in self._grpc.items()},
        }
        if self.certificate:
            options |= {"s3.port.https": self.tls_port, "s3.cert.file": self.certificate.cert,
                        "s3.key.file": self.certificate.key}
        command = [str(WEED), "-logtostderr=true", "server", "-filer", "-s3",
                   *(f"-{name}={value}" for name, value in options.items())]
        with open(self.dir / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command], cwd=self.dir,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def ready() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"weed ended: {self.log[-2000:]}")
            try:
                # The port opens seconds before the filer serves.
                return self.request("GET", "/").status == 200
            except (OSError, EOFError, ValueError):
                return False

        try:
            wait_until(ready, 60, "an answer of SeaweedFS")
        except Exception:
            self.stop()
            raise
        return self

    @property
    def log(self) -> str:
        return (self.dir / "log").read_text(errors="replace")

    def stop(self) -> None:
        # A graceful stop takes 17 s, and the data is thrown away.
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        # weed makes these under fixed names, with no option for them.
        for name, port in self._grpc.items():
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)
        shutil.rmtree(self.dir / "data", ignore_errors=True)

    def request(self, method: str, path: str, query: str = "", body: bytes = b"",
                headers: Iterable[tuple[str, str]] = ()) -> Reply:
        """Signed as the owner. path: /bucket/key, encoded; query: encoded and sorted."""
        host = f"127.0.0.1:{self.port}"
        target = f"{path}?{query}" if query else path
        signed = [*sign(method, host, path, query), *headers]
        if not body and method in ("PUT", "POST"):
            signed.append(("Content-Length", "0"))
        return request(self.port, target, method=method, headers=signed, body=body,
                       host_header=host)

    def _must(self, *args, **kw) -> Reply:
        reply = self.request(*args, **kw)
        if reply.status not in (200, 204):
            raise RuntimeError(f"{args[:2]}: {reply.status} {reply.body.decode(errors='replace')}")
        return reply

    def anonymous(self, bucket: str, key: str | bytes, *, method: str = "GET",
                  headers: Iterable[tuple[str, str]] = ()) -> Reply:
        """As somebody without credentials asks, path-style."""
        return request(self.port, f"/{bucket}/{encode_key(key)}", method=method, headers=headers,
                       host_header=f"127.0.0.1:{self.port}")

    def create_bucket(self, bucket: str) -> Bucket:
        self._must("PUT", f"/{bucket}")
        return Bucket(self, bucket)


class Bucket:
    def __init__(self, s3: SeaweedFS, name: str) -> None:
        self.s3, self.name = s3, name

    def put_object(self, key: str | bytes, body: bytes,
                   content_type: str = "application/octet-stream") -> None:
        self.s3._must("PUT", f"/{self.name}/{encode_key(key)}", body=body,
                      headers=[("Content-Type", content_type)])

    def delete_object(self, key: str | bytes) -> None:
        self.s3._must("DELETE", f"/{self.name}/{encode_key(key)}")

    def put_policy(self, policy: dict | str) -> None:
        text = policy if isinstance(policy, str) else json.dumps(policy)
        self.s3._must("PUT", f"/{self.name}", query="policy=", body=text.encode())

    def allow(self, *secrets: str, key: str = "aws:UserAgent",
              address: str | None = "127.0.0.1/32") -> None:
        """The README's policy: these values of a header, from this address."""
        condition: dict = {"StringEquals": {key: list(secrets)}}
        if address:
            condition["IpAddress"] = {"aws:SourceIp": [address]}
        self.put_policy({"Version": "2012-10-17", "Statement": [
            {"Sid": "nginx", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
             "Resource": f"arn:aws:s3:::{self.name}/*", "Condition": condition}]})

    def anonymous(self, key: str | bytes, **kw) -> Reply:
        return self.s3.anonymous(self.name, key, **kw)


def policy_file(path: Path, bucket: str, secret: str, address: str = "127.0.0.1/32") -> str:
    """A policy of nginx-conf/ with its placeholders filled in."""
    text = path.read_text()
    text = text.replace("REPLACE-WITH-A-LONG-RANDOM-SECRET", secret)
    text = text.replace("example-bucket", bucket)
    return re.sub(r"203\.0\.113\.10/32", address, text)
