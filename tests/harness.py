"""What the tests stand on: nginx, a recording origin, a real S3 server, a DNS server.

Everything listens on loopback. Nothing waits for a fixed time: wait_until() polls a condition.
"""

import contextlib
import datetime
import hashlib
import hmac
import json
import os
import random
import shlex
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The nginx that is tested, and the module built for it.
NGINX = os.environ.get("TEST_NGINX", "/usr/sbin/nginx")
MODULE = Path(
    os.environ.get(
        "TEST_MODULE", ROOT / "target/release/libngx_http_s3_private_bucket_module.so"
    )
)
# What nginx is run by (valgrind), and other modules that are loaded: before this one and behind it.
WRAPPER = shlex.split(os.environ.get("TEST_WRAPPER", ""))
MODULES = [
    [f"load_module {module};" for module in os.environ.get(name, "").split()]
    for name in ("TEST_MODULES_BEFORE", "TEST_MODULES_AFTER")
]


def module(name):
    """The file of a module of nginx's own: of the nginx that is tested, built in target/ or Debian's."""
    files = [folder / name for folder in (Path(NGINX).parent, Path("/usr/lib/nginx/modules"))]
    if not (found := [file for file in files if file.exists()]):
        raise RuntimeError(f"{name} is missing: run tests/setup.sh, or build nginx with it")
    return found[0]


# The only bucket that the reader may list.
LISTED = "listed-example"
WEED = ROOT / "target/venv/bin/weed"
TIMEOUT = 30


def wait_until(condition, what, timeout=TIMEOUT):
    """Returns the first true value of condition()."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise TimeoutError(f"waited in vain for {what}")


def free_port():
    # Below the ports that the kernel gives to outgoing connections.
    while True:
        port = random.randrange(15000, 32000)
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            return port


def accepts(port, host="127.0.0.1"):
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


# --- clients -------------------------------------------------------------------------------


@dataclass
class Response:
    status: int
    headers: list
    body: bytes
    closed: bool = False

    def get(self, name, default=None):
        return next((v for k, v in self.headers if k.lower() == name.lower()), default)


def read_response(f, method="GET"):
    """Reads one HTTP/1.1 response from a binary file."""
    line = f.readline()
    if not line:
        raise ConnectionError("no response")
    status = int(line.split()[1])
    headers = []
    while (line := f.readline().rstrip(b"\r\n")) != b"":
        name, _, value = line.decode("latin1").partition(":")
        headers.append((name, value.strip()))
    r = Response(status, headers, b"")
    if method == "HEAD" or status in (204, 304):
        return r
    if (r.get("Transfer-Encoding") or "").lower() == "chunked":
        while size := int(f.readline(), 16):
            r.body += f.read(size)
            f.readline()
        f.readline()
    elif (length := r.get("Content-Length")) is not None:
        r.body = f.read(int(length))
        assert len(r.body) == int(length), "the response is cut"
    else:
        r.body, r.closed = f.read(), True
    return r


def read_head(f):
    """Reads a request's line and headers from a binary file; b"" at its end."""
    head = b""
    while (line := f.readline()) not in (b"\r\n", b""):
        head += line
    return head


def request(port, target, method="GET", headers=(), body=b""):
    """Sends a request whose target goes on the wire as it is (str in latin1, or bytes)."""
    if isinstance(target, str):
        target = target.encode("latin1")
    headers = dict(headers)
    lines = [f"{k}: {v}" for k, v in ({"Host": "media.example.com"} | headers).items()]
    if body and "Transfer-Encoding" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    head = method.encode() + b" " + target + b" HTTP/1.1\r\n"
    head += "\r\n".join(lines).encode("latin1") + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as s, s.makefile("rb") as f:
        s.sendall(head + body)
        return read_response(f, method)


# What a client of HTTP/2 says first (RFC 9113, 3.4).
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload):
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(text):
    """A string of HPACK (RFC 7541, 5.2), not compressed."""
    data = text.encode("latin1")
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, out = len(data) - 127, [127]
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes([*out, rest]) + data


def header_field(name, value):
    """A header field of HPACK (RFC 7541, 6.2.2), not indexed."""
    return b"\0" + literal(name) + literal(value)


# --- nginx ---------------------------------------------------------------------------------


class Nginx:
    """nginx with the module. `http` goes into http{}, `server` into a server{} of it."""

    def __init__(
        self, path, server="", http="", resolv_conf=None, listen="", top="", environment=None,
        clock=None, module=MODULE, binary=None,
    ):  # fmt: skip
        self.dir = Path(path)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.resolv_conf = resolv_conf
        self.process = None
        self.tolerated = set()
        # What no response may have in it: what tells of S3.
        self.hidden = ()
        self.module, self.binary = module, binary or NGINX
        self.listen = listen
        self.top = top
        self.environment = dict(os.environ) | (environment or {})
        if clock is not None:
            # A wall clock of its own, which set_clock() moves; nginx's timers keep their pace.
            (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
            faked = {"LD_PRELOAD": str(library), "FAKETIME_NO_CACHE": "1",
                     "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                     "FAKETIME_TIMESTAMP_FILE": str(self.dir / "clock")}  # fmt: skip
            self.environment |= faked
            self.top += "".join(f"env {name};" for name in faked)
            self.set_clock(clock)
        self.write(server, http)

    def write(self, server="", http=""):
        d = self.dir
        if server:
            server = f"server {{ listen 127.0.0.1:{self.port} {self.listen}; {server} }}"
        (d / "nginx.conf").write_text(f"""
{"".join(MODULES[0])}
load_module {self.module};
{"".join(MODULES[1])}
user root;
worker_processes 1;
daemon off;
pid {d}/nginx.pid;
error_log {d}/error.log info;
{self.top}
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {d}/body;
    proxy_temp_path {d}/proxy;
    fastcgi_temp_path {d}/fastcgi;
    uwsgi_temp_path {d}/uwsgi;
    scgi_temp_path {d}/scgi;
    log_format all '$request|$status|$uri|$http_user_agent|$http_referer|$upstream_status|'
        '$upstream_cache_status|$s3_private_bucket_name|$s3_private_bucket_key|'
        '$s3_private_bucket_host|$s3_private_bucket_uri';
    access_log {d}/access.log all;
    {http}
    {server}
}}
""")

    def set_clock(self, offset):
        """Puts nginx's wall clock `offset` seconds before or behind the real one."""
        new = self.dir / "clock.new"
        new.write_text(f"{offset:+}\n")
        new.rename(self.dir / "clock")

    def command(self, *args):
        nginx = [*WRAPPER, self.binary, "-p", str(self.dir), "-e", str(self.dir / "error.log")]
        nginx += ["-c", str(self.dir / "nginx.conf"), *args]
        if self.resolv_conf is None:
            return nginx
        # A mount namespace of its own gives nginx another /etc/resolv.conf.
        file = self.dir / "resolv.conf"
        file.write_text(self.resolv_conf)
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ["unshare", "-m", "sh", "-c", script, str(file), *nginx]

    def check(self):
        """nginx -t: its exit status and what it prints."""
        p = subprocess.run(self.command("-t"), capture_output=True, text=True, timeout=TIMEOUT,
                           env=self.environment)  # fmt: skip
        return p.returncode, p.stdout + p.stderr

    def start(self):
        out = open(self.dir / "stderr", "wb")
        self.process = subprocess.Popen(
            self.command(), stdout=out, stderr=out, env=self.environment
        )

        def ready():
            if self.process.poll() is not None:
                raise RuntimeError((self.dir / "stderr").read_text() + self.error_log())
            return accepts(self.port)

        wait_until(ready, "nginx to accept connections")
        return self

    def workers(self):
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

        # By the log, as valgrind hides the titles that nginx gives its processes.
        log = self.error_log()
        return {child for child in children if f"start worker process {child}\n" in log}

    def reload(self):
        """Reloads, and waits until only new workers are left."""
        old = wait_until(self.workers, "workers")
        os.kill(self.process.pid, signal.SIGHUP)
        wait_until(lambda: (now := self.workers()) and not now & old, "new workers")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(TIMEOUT)
        log = self.error_log()
        for bad in {"[alert]", "exited on signal", "[emerg]"} - self.tolerated:
            assert bad not in log, log

    def error_log(self):
        log = self.dir / "error.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def access_log(self):
        return (self.dir / "access.log").read_text(errors="replace")

    def get(self, target, **kw):
        r = request(self.port, target, **kw)
        # A redirect to S3 has to name it.
        text = "\n".join(f"{k}: {v}" for k, v in r.headers if k != "Location").lower()
        text += r.body.decode("latin1") if r.status >= 400 else ""
        for tell in self.hidden:
            assert tell not in text, (tell, text)
        return r

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def starter(path, common):
    """The body of a fixture that starts nginx, with a server{} of the test's and `common` in http{}."""
    started = []

    def start(server, http="", **kw):
        started.append(Nginx(path / f"nginx{len(started)}", server, f"{common}\n{http}", **kw).start())
        return started[-1]

    yield start
    for n in started:
        n.stop()


# --- a server that records bytes -----------------------------------------------------------


@dataclass
class Recorded:
    head: bytes
    connection: int
    body: bytes = b""

    @property
    def line(self):
        return self.head.split(b"\r\n")[0].decode("latin1")

    @property
    def method(self):
        return self.line.split(" ")[0]

    @property
    def target(self):
        return self.line.split(" ")[1]

    @property
    def headers(self):
        pairs = (h.decode("latin1").partition(": ") for h in self.head.split(b"\r\n")[1:])
        return sorted((k, v) for k, _, v in pairs)

    def get(self, name):
        return next((v for k, v in self.headers if k.lower() == name.lower()), None)


MODIFIED = "Mon, 02 Nov 2026 10:00:00 GMT"


def tiny_s3(r, body=b"0123456789"):
    """Answers like S3: ranges, conditions, validators."""
    common = [("ETag", '"tag"'), ("Last-Modified", MODIFIED), ("Accept-Ranges", "bytes")]
    if r.get("If-None-Match") == '"tag"' or r.get("If-Modified-Since") == MODIFIED:
        return 304, common, b""
    if rng := r.get("Range"):
        first, _, last = rng.removeprefix("bytes=").partition("-")
        first = int(first)
        last = min(int(last or len(body)), len(body) - 1)
        if first >= len(body):
            return 416, [("Content-Range", f"bytes */{len(body)}")], b""
        cr = ("Content-Range", f"bytes {first}-{last}/{len(body)}")
        return 206, [*common, cr], body[first : last + 1]
    return 200, common, body


class Recorder:
    """An HTTP/1.1 origin that records requests and answers by `answer(recorded)`."""

    def __init__(self, answer=tiny_s3, tls=None, host="127.0.0.1"):
        self.requests, self.answer, self.connections = [], answer, 0
        self.lock = threading.Lock()
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
            self.names = []
            self.context.sni_callback = lambda s, name, c: self.names.append(name)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.create_server((host, 0), family=family, backlog=128)
        self.port = self.socket.getsockname()[1]
        host = f"[{host}]" if ":" in host else host
        self.url = f"http{'s' if tls else ''}://{host}:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.socket.accept()
                with self.lock:
                    self.connections += 1
                    number = self.connections
                threading.Thread(target=self.serve, args=(s, number), daemon=True).start()

    def serve(self, s, number):
        with contextlib.suppress(OSError):
            if self.context:
                s = self.context.wrap_socket(s, server_side=True)
            data = b""
            with s:
                while True:
                    while b"\r\n\r\n" not in data:
                        if not (more := s.recv(65536)):
                            return
                        data += more
                    head, data = data.split(b"\r\n\r\n", 1)
                    r = Recorded(head, number)
                    if length := r.get("Content-Length"):
                        while len(data) < int(length):
                            data += s.recv(65536)
                        r.body, data = data[: int(length)], data[int(length) :]
                    status, headers, body = self.answer(r)
                    with self.lock:
                        self.requests.append(r)
                    out = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in headers)]
                    if status not in (204, 304) and ("Transfer-Encoding", "chunked") not in headers:
                        out.append(f"Content-Length: {len(body)}")
                    out = "\r\n".join(out).encode("latin1") + b"\r\n\r\n"
                    s.sendall(out + (b"" if r.method == "HEAD" else body))

    def last(self):
        return self.requests[-1]

    def wait(self, count):
        wait_until(lambda: len(self.requests) >= count, f"{count} requests")
        return self.requests

    def close(self):
        self.socket.close()


# --- certificates --------------------------------------------------------------------------


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True)


def make_ca(path):
    """A CA of the tests; returns its certificate."""
    path.mkdir(parents=True, exist_ok=True)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Test CA",
            "-addext", "basicConstraints=critical,CA:TRUE",
            "-keyout", str(path / "ca.key"), "-out", str(path / "ca.pem"))  # fmt: skip
    return path / "ca.pem"


def make_cert(path, name, names):
    """A certificate of that CA for `names` (DNS:..., IP:...); returns (certificate, key)."""
    cert, key, csr, ext = (str(path / f"{name}.{e}") for e in ("pem", "key", "csr", "ext"))
    Path(ext).write_text(f"subjectAltName={','.join(names)}\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", csr)  # fmt: skip
    openssl("x509", "-req", "-in", csr, "-CA", str(path / "ca.pem"), "-CAkey",
            str(path / "ca.key"), "-CAcreateserial", "-days", "2", "-extfile", ext,
            "-out", cert)  # fmt: skip
    return cert, key


# --- a real S3 server ----------------------------------------------------------------------

ACCESS_KEY, SECRET_KEY = "AKIATESTWRITER00001", "testwritersecret0000000000000000000000001"


# May read, as nginx does.
READER, READER_SECRET = "AKIATESTREADER00001", "test/reader+secret0000000000000000000000001"


def signature(secret, method, path, query, headers, date, scope):
    """A Signature Version 4, worked out apart from the module; all as on the wire."""
    names = ";".join(headers)
    canonical = "\n".join([method, path, query, *(f"{k}:{v}" for k, v in headers.items()), "",
                           names, "UNSIGNED-PAYLOAD"])  # fmt: skip
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = b"AWS4" + secret.encode()
    for part in [*scope.split("/"), f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}"]:
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key.hex()


@dataclass
class Authorization:
    """The signature of a recorded request, proven to be right."""

    date: str
    scope: str
    names: list

    def __init__(self, recorded, secret, access_key_id, own=()):
        method, fields = recorded.get("Authorization").split(" ", 1)
        fields = dict(f.split("=", 1) for f in fields.split(", "))
        assert method == "AWS4-HMAC-SHA256"
        identity, self.scope = fields["Credential"].split("/", 1)
        assert identity == access_key_id
        self.date = recorded.get("X-Amz-Date")
        assert self.date[:8] == self.scope[:8]
        self.names = fields["SignedHeaders"].split(";")
        amz = {k.lower() for k, _ in recorded.headers if k.lower().startswith("x-amz-")}
        assert self.names == sorted({"host", *own} | amz), "every x-amz-* header is signed"
        path, _, query = recorded.target.partition("?")
        headers = {name: recorded.get(name) for name in self.names}
        expected = signature(
            secret, recorded.method, path, query, headers, self.date, self.scope
        )
        assert fields["Signature"] == expected


def relay(port):
    """What a Recorder answers that passes requests on to a server, byte for byte."""

    def answer(recorded):
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as s, s.makefile("rb") as f:
            s.sendall(recorded.head + b"\r\n\r\n")
            r = read_response(f, recorded.method)
        framing = {"content-length", "transfer-encoding", "connection"}
        return r.status, [(k, v) for k, v in r.headers if k.lower() not in framing], r.body

    return answer


def tells(server, *buckets):
    """What tells clients of a real S3 server and its buckets."""
    ids = ("amz", "request-id", READER.lower(), ACCESS_KEY.lower(), "<error>", "seaweed")
    return (*ids, *buckets, f":{server.port}", f":{server.tls_port}")


def encode(key):
    return urllib.parse.quote(key, safe="-_.~/")


class SeaweedFS:
    """SeaweedFS's S3 gateway on loopback, http and https; with `iam` it is an STS too, whose roles the reader
    may assume."""

    def __init__(self, path, ca=None, domain="s3.localhost", iam=None):
        if not WEED.exists():
            raise RuntimeError(f"{WEED} is missing: run tests/setup.sh")
        self.dir = Path(path)
        (self.dir / "data").mkdir(parents=True)
        self.ports = [free_port() for _ in range(9)]
        self.port, self.tls_port = self.ports[0], self.ports[8]
        self.url = f"http://127.0.0.1:{self.port}"
        identities = [
            {"name": "writer", "actions": ["Admin", "Read", "List", "Tagging", "Write"],
             "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]},
            {"name": "reader", "actions": ["Read", f"List:{LISTED}", *(["sts:AssumeRole"] if iam else [])],
             "credentials": [{"accessKey": READER, "secretKey": READER_SECRET}]},
        ]  # fmt: skip
        (self.dir / "s3.json").write_text(json.dumps({"identities": identities}))
        p = self.ports
        tls = []
        if ca:
            names = [f"DNS:{domain}", f"DNS:*.{domain}"]
            cert, key = make_cert(ca.parent, "seaweedfs", names)
            tls = [f"-s3.port.https={p[8]}", f"-s3.cert.file={cert}", f"-s3.key.file={key}"]
        if iam:
            (self.dir / "iam.json").write_text(json.dumps(iam))
            tls.append(f"-s3.iam.config={self.dir}/iam.json")
        self.log = open(self.dir / "log", "wb")
        # Every port and socket is named, since the defaults collide; telemetry would call out.
        self.process = subprocess.Popen(
            [WEED, "-logtostderr=true", "server", f"-dir={self.dir}/data", "-ip=127.0.0.1",
             "-ip.bind=127.0.0.1", "-master.telemetry=false", f"-master.port={p[1]}",
             f"-master.port.grpc={p[2]}", "-master.volumeSizeLimitMB=64", f"-volume.port={p[3]}",
             f"-volume.port.grpc={p[4]}", "-volume.max=64", "-filer", f"-filer.port={p[5]}",
             f"-filer.port.grpc={p[6]}", f"-filer.localSocket={self.dir}/filer.sock", "-s3",
             f"-s3.port={p[0]}", f"-s3.port.grpc={p[7]}", f"-s3.localSocket={self.dir}/s3.sock",
             "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.domainName={domain}",
             f"-s3.config={self.dir}/s3.json", *tls],
            cwd=self.dir, stdout=self.log, stderr=self.log)  # fmt: skip

        def ready():
            if self.process.poll() is not None:
                raise RuntimeError((self.dir / "log").read_text()[-3000:])
            with contextlib.suppress(OSError, ConnectionError):
                return self.signed("GET", "/").status == 200

        # The port opens seconds before the filer serves.
        try:
            wait_until(ready, "SeaweedFS")
        except BaseException:
            self.stop()
            raise

    def signed(self, method, path, query="", body=b"", headers=None):
        """A request signed with Signature Version 4; `path` and `query` are encoded."""
        date = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        target = path + (f"?{query}" if query else "")
        h = {"host": f"127.0.0.1:{self.port}", "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
             "x-amz-date": date}  # fmt: skip
        scope = f"{date[:8]}/us-east-1/s3/aws4_request"
        signed = signature(SECRET_KEY, method, path, query, h, date, scope)
        h["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, "
                              f"SignedHeaders={';'.join(h)}, Signature={signed}")  # fmt: skip
        h["Host"] = h.pop("host")
        return request(self.port, target, method, h | (headers or {}), body)

    def expect(self, response, *statuses):
        assert response.status in statuses, response
        return response

    def create_bucket(self, name):
        self.expect(self.signed("PUT", f"/{name}"), 200, 409)

    def put(self, bucket, key, body, content_type="text/plain"):
        headers = {"Content-Type": content_type}
        path = f"/{bucket}/{encode(key)}"
        self.expect(self.signed("PUT", path, body=body, headers=headers), 200)

    def put_policy(self, bucket, policy):
        body = json.dumps(policy).encode()
        r = self.signed("PUT", f"/{bucket}", "policy=", body, {"Content-Type": "application/json"})
        self.expect(r, 200, 204)

    def stop(self):
        # A graceful stop takes 17 s, and the data is thrown away.
        self.process.kill()
        self.process.wait()
        for name, i in (("master", 2), ("volume", 4), ("filer", 6), ("s3", 7)):
            Path(f"/tmp/seaweedfs-{name}-grpc-{self.ports[i]}.sock").unlink(missing_ok=True)
        shutil.rmtree(self.dir / "data", ignore_errors=True)


def allow(bucket, key="aws:UserAgent", values=()):
    """A policy that lets in who sends one of `values`, from this machine."""
    condition = {"StringEquals": {key: list(values)}, "IpAddress": {"aws:SourceIp": ["127.0.0.1/32"]}}
    return {"Version": "2012-10-17", "Statement": [
        {"Sid": "nginx", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
         "Resource": f"arn:aws:s3:::{bucket}/*", "Condition": condition}]}  # fmt: skip


# --- DNS -----------------------------------------------------------------------------------


# An address of this process alone, so that two of them can test at once.
DNS = "127.{}.{}.153".format(*divmod(os.getpid() % 65_000, 255))


@dataclass
class Dns:
    """Answers every question with those of its addresses that are of its kind, for `ttl` seconds; or
    with an error (2: the server failed, 3: no such name); or not at all. Needs root for port 53."""

    address: str | list
    host: str = DNS
    family: int = socket.AF_INET
    asked: list = field(default_factory=list)
    ttl: int = 1
    error: int = 0
    silent: bool = False

    def __post_init__(self):
        self.socket = socket.socket(self.family, socket.SOCK_DGRAM)
        try:
            self.socket.bind((self.host, 53))
        except PermissionError as e:
            raise RuntimeError("the DNS tests bind port 53: run them as root") from e
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def records(self, kind):
        """The data of the answers to a question of that kind (1: A, 28: AAAA)."""
        addresses = [self.address] if isinstance(self.address, str) else self.address
        families = {1: socket.AF_INET, 28: socket.AF_INET6}
        if self.error or kind not in families:
            return []
        wanted = (a for a in addresses if (":" in a) == (kind == 28))
        return [socket.inet_pton(families[kind], a) for a in wanted]

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.socket.recvfrom(2048)
                if not data:
                    return
                end = data.index(b"\0", 12) + 5
                kind = struct.unpack(">H", data[end - 4 : end - 2])[0]
                self.asked.append(data[12 : end - 5])
                if self.silent:
                    continue
                records = self.records(kind)
                head = data[:2] + struct.pack(">HHHHH", 0x8180 | self.error, 1, len(records), 0, 0)
                answer = b"".join(
                    b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, self.ttl, len(r)) + r
                    for r in records
                )
                self.socket.sendto(head + data[12:end] + answer, peer)

    def close(self):
        # Wakes the thread up, without which the address stays bound.
        with socket.socket(self.family, socket.SOCK_DGRAM) as s:
            s.sendto(b"", (self.host, 53))
        self.thread.join(TIMEOUT)
        self.socket.close()
