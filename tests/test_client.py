"""The client of HTTP, at servers that do what none should: bounded, told, and over."""

import contextlib
import re
import socket
import ssl
import struct
import threading

import pytest
from harness import Nginx, free_port, make_cert, read_head
from test_credentials import Keys, told
from test_sources import ROLE, made, s3, signing  # noqa: F401 (fixtures)


class Raw:
    """A server of bytes: `behave` is handed each connection, and what was asked on it."""

    def __init__(self, behave, tls=None):
        self.behave, self.connections, self.tls = behave, 0, None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.socket.getsockname()[1]}"
        self.server, self.open = self, threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.socket.accept()
                self.connections += 1
                threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        with contextlib.suppress(OSError):
            if self.tls:
                s = self.tls.wrap_socket(s, server_side=True)
            with s, s.makefile("rb") as f:
                asked = read_head(f)
                length = re.search(rb"(?i)\nContent-Length: (\d+)", asked)
                asked += b"\r\n" + f.read(int(length[1]) if length else 0)
                self.behave(self, s, asked)

    def close(self):
        self.open.set()
        self.socket.close()


def silent(server, s, asked):
    server.open.wait()


def slow(server, s, asked):
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhush":
        s.sendall(bytes([byte]))
        if server.open.wait(0.2):
            return


def answers(answer, resets=False):
    def behave(server, s, asked):
        s.sendall(answer)
        if resets:
            # No time to linger is a reset instead of an end.
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return behave


def endless(head, piece):
    def behave(server, s, asked):
        s.sendall(head)
        while not server.open.is_set():
            s.sendall(piece * 100)

    return behave


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HOSTILE = {
    "silent": (silent, "timed out while waiting for the answer; from inside a container"),
    "slow": (slow, "timed out while waiting for the answer"),
    "nothing": (answers(b""), "closed without an answer"),
    "a reset": (answers(b"", True), "the connection broke while waiting for the answer|without an answer"),
    "a reset in the middle": (
        answers(OK + b"Content-Length: 9\r\n\r\nhush", True), "the connection broke|in the middle"
    ),
    "an end in the middle": (answers(OK + b"Content-Length: 9\r\n\r\nhush"), "closed in the middle of the answer"),
    "endless headers": (endless(OK, b"X-A: hush\r\n"), "the answer's head is too large"),
    "an endless header": (endless(OK + b"X-A: ", b"hush"), "the answer's head is too large"),
    "an endless body": (endless(OK + b"\r\n", b"hush"), "the answer's body is larger than 64 KiB"),
    "endless chunks": (endless(CHUNKED, b"1000\r\n" + b"hush" * 1024 + b"\r\n"), "body is larger than 64 KiB"),
    "endless small chunks": (endless(CHUNKED, b"4;hush=hush\r\nhush\r\n"), "larger than 64 KiB|does not say where"),
    "wrong chunks": (answers(CHUNKED + b"hush\r\nhush\r\n0\r\n\r\n"), "does not say where its body ends"),
    "a huge chunk": (answers(CHUNKED + b"ffffffffffffffff\r\nhush"), "larger than 64 KiB|does not say where"),
    "a huge length": (answers(OK + b"Content-Length: 99999999999999999999\r\n\r\n"), "larger than 64 KiB"),
    "two lengths": (answers(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nhu"), "does not say where"),
    "interim answers": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "the answer's head is too large"),
    "another protocol": (answers(b"HTTP/1.1 101 Switching Protocols\r\n\r\nhush"), "the answer is not HTTP/1.1"),
    "not HTTP": (answers(b"SSH-2.0-hush\r\n\r\n\0\xff"), "the answer is not HTTP/1.1"),
    "TLS": (answers(b"\x15\x03\x03\0\x02\x02\x28\r\n\r\n"), "the answer is not HTTP/1.1"),
    "a redirect": (
        answers(b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/hush\r\nContent-Length: 0\r\n\r\n"),
        "the answer has the status 307|no metadata service with tokens \\(IMDSv2\\) at that address \\(status 307\\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", HOSTILE)
def test_hostile_servers(tmp_path, s3, made, which):  # noqa: F811
    behave, message = HOSTILE[which]
    raw = made(Raw(behave))
    with Nginx(tmp_path / "n", **signing(s3, "credentials=media", f"source instance; endpoint {raw.url};")) as n:
        level, line = told(n, "could not be refreshed")
        assert level == "error" and re.search(message, line), line
        r = n.get("/a")
        assert (r.status, r.get("Retry-After")) == (503, "5")
        assert "hush" not in n.error_log() + str(r)
    assert s3.server.connections == 0


def test_servers_that_are_not_there(tmp_path, s3, made):  # noqa: F811
    """One refuses; the queue of the other is full, so that nobody answers."""
    block = "source instance; endpoint http://127.0.0.1:{};"
    with Nginx(tmp_path / "refuses", **signing(s3, "credentials=media", block.format(free_port()))) as n:
        _, line = told(n, "could not be refreshed")
        assert "could not connect (Connection refused" in line and "is this an EC2 instance?" in line
        assert n.get("/a").status == 503
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(3):
            s = stack.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(full.getsockname())
        port = full.getsockname()[1]
        with Nginx(tmp_path / "full", **signing(s3, "credentials=media", block.format(port))) as n:
            _, line = told(n, "could not be refreshed")
            assert "timed out while connecting; is this an EC2 instance?" in line
            assert n.get("/a").status == 503


def test_a_body_of_chunks(tmp_path, s3, made):  # noqa: F811
    """Cut wherever one can, behind an interim answer."""
    body = Keys().json(RoleArn=ROLE)
    whole = b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED
    whole += b"".join(b"%x;x=y\r\n%c\r\n" % (1, byte) for byte in body[:50])
    whole += b"%X\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(body) - 50, body[50:])

    def behave(server, s, asked):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in whole:
            s.sendall(bytes([byte]))
        server.open.wait()

    raw = made(Raw(behave))
    environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": raw.url}
    with Nginx(tmp_path / "n", **signing(s3, "container", environment=environment)) as n:
        assert n.get("/a").body == b"keys 1"
        told(n, "refreshed")


class Eager(Raw):
    """One that does not wait until it is asked."""

    def serve(self, s):
        with contextlib.suppress(OSError), s:
            self.behave(self, s, b"")


JSON = Keys().json()
TLS = {
    "no TLS": (Eager, answers(b"HTTP/1.1 400 Bad Request\r\n\r\nhush"), "the TLS handshake failed"),
    "an end": (Eager, answers(b""), "the TLS handshake failed"),
    "a reset": (Eager, answers(b"", True), "the TLS handshake failed|could not connect"),
    "an alert": (Eager, answers(b"\x15\x03\x03\0\x02\x02\x28"), "the TLS handshake failed"),
    "silent": (Eager, silent, "timed out in the TLS handshake"),
    # Python ends TLS without close_notify: whoever cuts the connection could do so.
    "cut": (Raw, answers(OK + b"\r\n" + JSON), "the connection broke while waiting for the answer"),
    "endless": (Raw, endless(OK + b"\r\n", b"hush"), "the answer's body is larger than 64 KiB"),
    "whole": (Raw, answers(OK + b"Content-Length: %d\r\n\r\n%b" % (len(JSON), JSON)), None),
}


@pytest.mark.parametrize("which", TLS)
def test_hostile_tls(tmp_path, s3, made, ca, which):  # noqa: F811
    kind, behave, message = TLS[which]
    raw = made(kind(behave, make_cert(ca.parent, "hostile", ["IP:127.0.0.1"])))
    environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": raw.url, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "hush"}
    block = f"source container; trusted_certificate {ca};"
    with Nginx(tmp_path / "n", **signing(s3, "credentials=media", block, environment=environment)) as n:
        if message is None:
            assert n.get("/a").body == b"keys 1"
        else:
            level, line = told(n, "could not be refreshed")
            assert level == "error" and re.search(message, line), line
            assert n.get("/a").status == 503
        assert "hush" not in n.error_log()


def test_a_certificate_that_has_expired(tmp_path, s3, made, ca):  # noqa: F811
    raw = made(Raw(answers(b""), make_cert(ca.parent, "expired", ["IP:127.0.0.1"])))
    environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": raw.url}
    nginx = signing(s3, "credentials=media", f"source container; trusted_certificate {ca};", environment=environment)
    with Nginx(tmp_path / "n", clock=3 * 86400, **nginx) as n:
        _, line = told(n, "could not be refreshed")
        assert "its certificate is not accepted (certificate has expired)" in line
