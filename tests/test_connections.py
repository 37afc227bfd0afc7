"""Connections to S3 are kept, for each location apart, and survive what S3 and DNS do to them."""

import contextlib
import itertools
import socket
import ssl
import struct
import threading
from collections import Counter
from pathlib import Path

import pytest
from harness import (
    DNS,
    NGINX,
    TIMEOUT,
    Dns,
    Nginx,
    Recorded,
    make_ca,
    make_cert,
    read_response,
    request,
    tiny_s3,
    wait_until,
)

from test_response import Bytes

# What a location says of itself in the log: "status connection address".
LOG = "log_format connections '$uri $status $s3_private_bucket_connection $upstream_addr';"


class Origin:
    """An S3 that closes connections as it likes, on some addresses of loopback with one port."""

    def __init__(self, tls=None, hosts=("127.0.0.1",), answer=tiny_s3, version=None):
        self.answer, self.context = answer, None
        # Each connection's address and whether it resumed a TLS session; each request's connection.
        self.connections, self.peers, self.resumed, self.requests = [], [], [], []
        self.names, self.certificates = [], {}
        # Whether a connection that resumed a session is closed at once.
        self.rejects_resumed = False
        self.open, self.lock = set(), threading.Lock()
        # After how many requests a connection is closed, and whether the last answer says so; or
        # whether the request after them gets no answer; after how many idle seconds.
        self.most, self.says_so, self.swallows, self.idle = None, False, False, None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*tls)
            self.context.sni_callback = lambda s, name, c: self.names.append(name)
            if version:
                self.context.minimum_version = self.context.maximum_version = version
        self.port, self.sockets = 0, {}
        for host in hosts:
            self.listen(host)
        self.url = f"http{'s' if tls else ''}://s3.example.com:{self.port}"

    def listen(self, host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, self.port), family=family, backlog=512)
        self.port = listening.getsockname()[1]
        self.sockets[host] = listening
        threading.Thread(target=self.accept, args=(host, listening), daemon=True).start()

    def refuse(self, host):
        """Stops listening on an address; connections to it end."""
        listening = self.sockets.pop(host)
        # Wakes accept() up, which close() would not.
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        self.hang_up(host)

    def hang_up(self, host=None):
        for s, at in list(self.open):
            if host in (None, at):
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)

    def accept(self, host, listening):
        with contextlib.suppress(OSError):
            while True:
                s, _ = listening.accept()
                threading.Thread(target=self.serve, args=(s, host), daemon=True).start()

    def serve(self, s, host):
        with self.lock:
            number = len(self.connections)
            self.connections.append(host)
            self.peers.append(s.getpeername()[0])
        try:
            with contextlib.suppress(OSError):
                if self.context:
                    s = self.context.wrap_socket(s, server_side=True)
                    self.resumed.append(s.session_reused)
                    self.certificates[number] = s.getpeercert()
                    if s.session_reused and self.rejects_resumed:
                        return
                self.open.add((s, host))
                with s.makefile("rb") as f:
                    for count in itertools.count(1):
                        if not self.one(s, f, number, count):
                            break
                        # Not before: nginx may be slow with its first request.
                        s.settimeout(self.idle)
        finally:
            s.close()
            self.open.discard((s, host))

    def one(self, s, f, number, count):
        """Serves a request; returns whether the connection lives on."""
        head = b""
        while (line := f.readline()) not in (b"\r\n", b""):
            head += line
        is_last = self.most and count % self.most == 0
        if not head or (is_last and self.swallows and count > 1):
            return False
        recorded = Recorded(head.removesuffix(b"\r\n"), number)
        status, headers, body = self.answer(recorded)
        with self.lock:
            self.requests.append(recorded)
        out = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in headers)]
        if status != 304:
            out.append(f"Content-Length: {len(body)}")
        if is_last and self.says_so:
            out.append("Connection: close")
        s.sendall("\r\n".join(out).encode("latin1") + b"\r\n\r\n" + body)
        return not is_last or self.swallows

    def close(self):
        for host in list(self.sockets):
            self.refuse(host)


@pytest.fixture
def make(tmp_path, secret):
    """Makes origins, name servers and nginx in front of them, and ends them."""
    with contextlib.ExitStack() as stack:

        def made(thing):
            stack.callback(thing.close)
            return thing

        class Make:
            path = tmp_path

            def origin(self, *args, **kw):
                return made(Origin(*args, **kw))

            def dns(self, *args, **kw):
                return made(Dns(*args, host=DNS, **kw))

            def nginx(self, url, server, http="", resolver=f"resolver {DNS};", **kw):
                http = f"""{LOG} {resolver} proxy_ssl_protocols TLSv1.2 TLSv1.3;
                    s3_private_bucket_endpoint {url};
                    s3_private_bucket_auth secret {secret}; {http}"""
                server = f"access_log {tmp_path}/connections.log connections; {server}"
                n = Nginx(tmp_path / f"nginx{len(list(tmp_path.iterdir()))}", server, http, **kw)
                return stack.enter_context(n)

            def log(self, count):
                """What the first `count` requests say."""
                file = tmp_path / "connections.log"
                wait_until(lambda: file.read_text().count("\n") >= count, f"{count} lines")
                return [line.split(" ") for line in file.read_text().splitlines()]

        yield Make()


@pytest.fixture(scope="session")
def tls(ca):
    """A certificate of the test's CA for the endpoint."""
    return make_cert(ca.parent, "kept", ["DNS:s3.example.com", "DNS:*.s3.example.com"])


def trust(ca):
    return f"proxy_ssl_trusted_certificate {ca};"


# --- sharing -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("style", ["path", "virtual"])
def test_requests_share_a_connection(make, ca, tls, scheme, style):
    origin = make.origin(tls if scheme == "https" else None)
    make.dns("127.0.0.1", ttl=60)
    n = make.nginx(
        origin.url,
        f"""location /m/ {{ s3_private_bucket example-bucket; {trust(ca)}
            s3_private_bucket_addressing {style}; if ($arg_x) {{ set $y 1; }} }}""",
    )
    for target in ["/m/a", "/m/b", "/m/c?x=1"] * 10:
        assert n.get(target).status == 200
    # The first request waits for DNS, on nginx's own way.
    assert len(origin.connections) == 2
    assert Counter(r.connection for r in origin.requests) == {0: 1, 1: 29}
    host = "example-bucket.s3.example.com" if style == "virtual" else "s3.example.com"
    assert {r.get("Host") for r in origin.requests} == {f"{host}:{origin.port}"}
    assert not any(r.get("X-S3-Private-Bucket-Choice") for r in origin.requests)
    if scheme == "https":
        assert set(origin.names) == {host}
    # The location is the module's, not the proxy module's alone.
    assert n.get("/m/a", method="DELETE").status == 405
    told = [connection for _, _, connection, _ in make.log(30)][:30]
    assert told == ["new", "new", *["kept"] * 28]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_endpoint_that_is_an_address_needs_no_dns(make, address):
    origin = make.origin(hosts=[address])
    url = f"http://[{address}]:{origin.port}" if ":" in address else f"http://{address}:{origin.port}"
    n = make.nginx(url, "location /m/ { s3_private_bucket example-bucket; }", resolver="")
    for _ in range(10):
        assert n.get("/m/a").status == 200
    assert len(origin.connections) == 1


def test_the_pool_is_limited_as_it_is_told(make):
    origin = make.origin()
    make.dns("127.0.0.1", ttl=60)
    n = make.nginx(
        origin.url,
        """location /off/ { s3_private_bucket example-bucket; s3_private_bucket_keepalive off; }
        location /requests/ { s3_private_bucket example-bucket;
            s3_private_bucket_keepalive 4 requests=5; }
        location /timeout/ { s3_private_bucket example-bucket;
            s3_private_bucket_keepalive 4 timeout=1ms time=1h; }
        location /one/ { s3_private_bucket example-bucket; s3_private_bucket_keepalive 1; }
        """,
    )
    for place, expected in [("off", 10), ("requests", 2), ("one", 1)]:
        before = len(origin.connections)
        for _ in range(10):
            assert n.get(f"/{place}/a").status == 200
        assert len(origin.connections) - before == expected
    assert n.get("/timeout/a").status == n.get("/timeout/a").status == 200
    # That of "one" stays.
    wait_until(lambda: len(origin.open) == 1, "a connection to time out")


def test_64_clients_at_once_keep_their_connections(make):
    origin = make.origin()
    make.dns("127.0.0.1", ttl=60)
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")
    assert n.get("/m/a").status == 200
    failed = []

    def client():
        with socket.create_connection(("127.0.0.1", n.port), TIMEOUT) as s, s.makefile("rb") as f:
            for _ in range(20):
                s.sendall(b"GET /m/a HTTP/1.1\r\nHost: a\r\n\r\n")
                if read_response(f).status != 200:
                    failed.append(1)

    threads = [threading.Thread(target=client) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(origin.requests) == 1 + 64 * 20
    assert len(origin.connections) <= 1 + 64


# --- S3 closes connections -----------------------------------------------------------------


@pytest.mark.parametrize("addresses", [1, 4])
@pytest.mark.parametrize("how", ["silently", "says so", "swallows"])
def test_no_request_fails_when_s3_closes_connections(make, how, addresses):
    hosts = [f"127.0.0.{i}" for i in range(1, addresses + 1)]
    origin = make.origin(hosts=hosts)
    origin.most, origin.says_so, origin.swallows = 7, how == "says so", how == "swallows"
    make.dns(hosts)
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")
    for _ in range(100):
        assert n.get("/m/a").status == 200
    assert len(origin.connections) <= 20


def test_connections_are_closed_when_they_idle(make):
    origin = make.origin()
    origin.idle = 0.02
    make.dns("127.0.0.1", ttl=60)
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")
    for _ in range(10):
        assert n.get("/m/a").status == 200
        wait_until(lambda: not origin.open, "the origin to close")
        assert n.get("/m/a").status == 200


def test_all_kept_connections_are_gone_at_once(make, ca, tls):
    origin = make.origin(tls)
    make.dns("127.0.0.1", ttl=60)
    n = make.nginx(
        origin.url, f"location /m/ {{ s3_private_bucket example-bucket; {trust(ca)} }}"
    )
    for _ in range(5):
        assert n.get("/m/a").status == 200
    for _ in range(5):
        origin.hang_up()
        assert n.get("/m/a").status == 200
    # A connection of its own for each, but hardly a full handshake.
    assert len(origin.connections) == 7
    assert origin.resumed.count(False) == 1


def test_one_stale_connection_of_many_is_enough(make):
    meet = threading.Barrier(9)

    def answer(r):
        if r.target.endswith("/all"):
            meet.wait(TIMEOUT)
        return tiny_s3(r)

    origin = make.origin(answer=answer)
    make.dns("127.0.0.1", ttl=60)
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")
    assert n.get("/m/a").status == 200
    clients = [threading.Thread(target=n.get, args=("/m/all",)) for _ in range(8)]
    for client in clients:
        client.start()
    meet.wait(TIMEOUT)
    for client in clients:
        client.join()
    before = len(origin.connections)
    # None of the eight answers its next request.
    origin.most, origin.swallows = 1, True
    assert n.get("/m/b").status == 200
    assert len(origin.connections) == before + 1
    assert make.log(10)[-1][3:] == [f"127.0.0.1:{origin.port},", f"127.0.0.1:{origin.port}"]


# --- DNS -----------------------------------------------------------------------------------


def test_dns_may_fail_once_addresses_are_known(make):
    origin = make.origin()
    origin.most = 1
    dns = make.dns("127.0.0.1", ttl=0)
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")
    assert n.get("/m/a").status == 200
    dns.error = 2
    asked = len(dns.asked)
    wait_until(lambda: n.get("/m/a").status == 200 and len(dns.asked) > asked + 4, "questions")
    n.get("/m/a")
    log = n.error_log()
    told = "s3_private_bucket: s3.example.com could not be resolved (2: Server failure); what is known"
    assert log.count(told) == 1
    dns.error, dns.silent, asked = 0, True, len(dns.asked)
    wait_until(lambda: n.get("/m/a").status == 200 and len(dns.asked) > asked, "a question")
    dns.silent = False
    # nginx's own line, of a request that waited for DNS.
    assert "could not be resolved (" not in n.error_log().replace(told, "")


def test_a_name_that_is_gone_is_gone(make):
    origin = make.origin()
    dns = make.dns("127.0.0.1", ttl=0)
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")
    assert n.get("/m/a").status == n.get("/m/a").status == 200
    dns.error = 3
    wait_until(lambda: n.get("/m/a").status == 502, "the name to be gone")
    assert "s3.example.com could not be resolved (3: Host not found)" in n.error_log()
    dns.error = 0
    wait_until(lambda: n.get("/m/a").status == 200, "the name to be back")


def test_new_connections_follow_dns(make):
    origin = make.origin(hosts=["127.0.0.1", "127.0.0.2"])
    origin.most = 1
    dns = make.dns("127.0.0.1", ttl=0)
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")
    assert n.get("/m/a").status == 200
    dns.address = "127.0.0.2"

    def followed():
        assert n.get("/m/a").status == 200
        return origin.connections[-1] == "127.0.0.2"

    wait_until(followed, "nginx to follow the new address")


@pytest.mark.parametrize("refusing", [1, 2])
def test_addresses_that_refuse_are_passed_over(make, refusing):
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    origin = make.origin(hosts=hosts)
    origin.most = 2
    make.dns(hosts, ttl=60)
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")
    assert n.get("/m/a").status == 200
    for host in hosts[:refusing]:
        origin.refuse(host)
    for _ in range(40):
        assert n.get("/m/a").status == 200
    # Each was tried, and then left alone.
    for host in hosts[:refusing]:
        tried = n.error_log().count(f"connect() failed (111: Connection refused) while connecting")
        assert 1 <= tried <= 4
    for host in hosts[refusing:]:
        origin.refuse(host)
    assert n.get("/m/a").status == 502
    for host in hosts:
        origin.listen(host)
    assert n.get("/m/a").status == 200, "better an address that failed than none"


def test_ipv4_ipv6_and_many_addresses(make):
    hosts = [f"127.0.0.{i}" for i in range(1, 80)]
    origin = make.origin(hosts=[*hosts, "::1"])
    origin.most = 1
    make.dns([*hosts, "::1"], ttl=60)
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")

    def all_have_had_one():
        assert n.get("/m/a").status == 200
        return set(origin.connections) == {*hosts, "::1"}

    wait_until(all_have_had_one, "each of 80 addresses to get its share")
    # Where nginx did not see in time that a connection was closed, a turn is lost.
    assert len(origin.requests) < 250
    wait_until(lambda: f" [::1]:{origin.port}" in (make.path / "connections.log").read_text(), "it")


def test_the_cache_needs_no_dns(make):
    origin = make.origin()
    dns = make.dns("127.0.0.1", ttl=0)
    cache = f"proxy_cache_path {make.path}/cache keys_zone=c:1m; resolver_timeout 1s;"
    server = """location /m/ { s3_private_bucket example-bucket; proxy_cache c;
        proxy_cache_valid 1h; }"""
    n = make.nginx(origin.url, server, cache)
    assert n.get("/m/a").body == b"0123456789"
    n.stop()
    dns.silent = True
    n = make.nginx(origin.url, server, cache)
    asked = len(dns.asked)
    assert n.get("/m/a").body == b"0123456789"
    assert len(dns.asked) == asked, "a hit asks nothing"
    assert make.log(2)[-1][2:] == ["-", "-"]
    assert n.get("/m/b").status == 502


def test_a_worker_ends_with_a_question_open(make):
    origin = make.origin()
    dns = make.dns("127.0.0.1", ttl=0)
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")
    assert n.get("/m/a").status == 200
    dns.silent, asked = True, len(dns.asked)
    wait_until(lambda: n.get("/m/a").status == 200 and len(dns.asked) > asked, "a question")
    n.reload()
    dns.silent = False
    assert n.get("/m/a").status == 200


# --- nobody uses a connection that is not theirs -------------------------------------------

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
def test_a_wrong_ca_stays_wrong_whatever_came_before(make, ca, tls, version):
    other = make_ca(make.path / "other")
    origin = make.origin(tls, version=version)
    make.dns("127.0.0.1", ttl=60)
    place = "s3_private_bucket example-bucket; proxy_ssl_verify_depth 2;"
    n = make.nginx(
        origin.url,
        f"""location /right/ {{ {place} {trust(ca)} }}
        location /wrong/ {{ {place} {trust(other)} }}
        location /unverified/ {{ {place} {trust(other)} proxy_ssl_verify off; }}
        location /name/ {{ {place} {trust(ca)} proxy_ssl_name other.example.com; }}
        """,
    )
    for _ in range(4):
        for where, status in [("right", 200), ("unverified", 200), ("wrong", 502), ("name", 502)]:
            assert n.get(f"/{where}/a").status == status
    log = n.error_log()
    assert log.count("upstream SSL certificate verify error") == 4
    assert log.count('upstream SSL certificate does not match "other.example.com"') == 4


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("reuse", ["on", "off"])
def test_who_waits_for_dns_resumes_a_session(make, ca, tls, version, reuse):
    """The first request, and those after the name was gone, take nginx's own way past the group."""
    origin = make.origin(tls, version=version)
    dns = make.dns("127.0.0.1", ttl=0)
    n = make.nginx(
        origin.url,
        f"location /m/ {{ s3_private_bucket example-bucket; {trust(ca)} proxy_ssl_session_reuse {reuse}; }}",
    )
    assert n.get("/m/a").status == 200
    for _ in range(2):
        dns.error = 3
        wait_until(lambda: n.get("/m/a").status == 502, "the name to be gone")
        dns.error, before = 0, len(origin.connections)
        wait_until(lambda: n.get("/m/a").status == 200, "the name to be back")
        assert len(origin.connections) == before + 1
    first, *others = origin.resumed
    assert not first and set(others) == {reuse == "on"}


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
def test_a_session_that_fails_past_the_group_is_dropped(make, ca, tls, version):
    origin = make.origin(tls, version=version)
    dns = make.dns("127.0.0.1", ttl=0)
    n = make.nginx(
        origin.url, f"location /m/ {{ s3_private_bucket example-bucket; {trust(ca)} }}"
    )
    assert n.get("/m/a").status == 200
    dns.error = 3
    wait_until(lambda: n.get("/m/a").status == 502, "the name to be gone")
    dns.error, origin.rejects_resumed, before = 0, True, len(origin.resumed)
    wait_until(lambda: n.get("/m/a").status == 200, "a full handshake")
    assert origin.resumed[before:] == [True, False]


@pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
def test_a_certificate_that_was_mended_is_taken(make, ca, tls, version):
    other = make_ca(make.path / "other")
    bad = make_cert(other.parent, "kept", ["DNS:s3.example.com"])
    origin = make.origin(bad, version=version)
    make.dns("127.0.0.1", ttl=60)
    n = make.nginx(
        origin.url, f"location /m/ {{ s3_private_bucket example-bucket; {trust(ca)} }}"
    )
    for _ in range(3):
        assert n.get("/m/a").status == 502
    origin.context.load_cert_chain(*tls)
    for _ in range(3):
        assert n.get("/m/a").status == 200
    # And lost again: what is open was verified, what is new is not taken.
    origin.context.load_cert_chain(*bad)
    origin.context.options |= ssl.OP_NO_TICKET
    assert n.get("/m/a").status == 200


def test_client_certificates_and_bound_addresses_stay_apart(make, ca, tls):
    origin = make.origin(tls)
    origin.context.load_verify_locations(ca)
    origin.context.verify_mode = ssl.CERT_OPTIONAL
    make.dns("127.0.0.1", ttl=60)
    place = f"s3_private_bucket example-bucket; {trust(ca)}"
    certificates = [make_cert(ca.parent, name, ["DNS:client"]) for name in ("one", "two")]
    lines = [
        *(f"proxy_ssl_certificate {c}; proxy_ssl_certificate_key {k};" for c, k in certificates),
        "",
        "proxy_bind 127.0.0.7;",
    ]
    places = "".join(f"location /{i}/ {{ {place} {line} }}" for i, line in enumerate(lines))
    n = make.nginx(origin.url, places)
    for _ in range(3):
        for i in range(len(lines)):
            assert n.get(f"/{i}/a").status == 200
    shown = [origin.certificates[r.connection] for r in origin.requests]
    names = [certificate["subject"][0][0][1] if certificate else None for certificate in shown]
    assert names == ["one", "two", None, None] * 3
    peers = [origin.peers[r.connection] for r in origin.requests]
    assert peers == [*["127.0.0.1"] * 3, "127.0.0.7"] * 3


# --- what nginx does with requests ---------------------------------------------------------


def test_slices_background_updates_and_aborted_clients(make):
    body = bytes(range(256)) * 1024
    go_on = threading.Event()

    def answer(r):
        if "slow" in r.target:
            go_on.wait(TIMEOUT)
        return tiny_s3(r, body)

    origin = make.origin(answer=answer)
    make.dns("127.0.0.1", ttl=60)
    n = make.nginx(
        origin.url,
        """location /slice/ { s3_private_bucket example-bucket; slice 16k; }
        location /cache/ { s3_private_bucket example-bucket; proxy_cache c;
            proxy_cache_valid 1s; proxy_cache_use_stale updating;
            proxy_cache_background_update on; }
        location /m/ { s3_private_bucket example-bucket; }
        location /limited/ { s3_private_bucket example-bucket;
            limit_except GET { allow 127.0.0.1; deny all; } }
        """,
        f"proxy_cache_path {make.path}/cache keys_zone=c:1m;",
        clock=0,
    )
    assert n.get("/slice/a").body == body
    assert n.get("/slice/a").body == body
    # 16 slices each, of which the first waited for DNS.
    assert len(origin.connections) == 2
    for i in range(5):
        n.set_clock(10 * i)
        asked = len(origin.requests)
        # While the last update is not over, nginx begins no other.
        wait_until(lambda: n.get("/cache/a").body == body and len(origin.requests) > asked, "one")
    # That of this location, and the first of DNS.
    assert len(origin.connections) <= 4
    for method in ("GET", "HEAD"):
        assert n.get("/limited/a", method=method).status == 200

    before = len(origin.connections)
    for i in range(20):
        with socket.create_connection(("127.0.0.1", n.port), TIMEOUT) as s:
            s.sendall(f"GET /m/slow{i} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            wait_until(lambda: len(origin.connections) > before + i, "the request")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: n.error_log().count("client prematurely closed") >= 20, "nginx to see it")
    go_on.set()
    assert n.get("/m/a").body == body


def test_connections_do_not_outlive_their_worker(make):
    origin = make.origin()
    make.dns("127.0.0.1", ttl=60)
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")
    for _ in range(3):
        assert n.get("/m/a").status == n.get("/m/a").status == 200
        # That of the first request, which nginx resolved by itself, is closed.
        wait_until(lambda: len(origin.open) == 1, "one kept connection")
        n.reload()
        wait_until(lambda: not origin.open, "the old worker to close its connection")


def test_kept_connections_leave_room_for_clients(make):
    """nginx closes none of them when it runs out of worker_connections (512 in these tests)."""
    locations, each = 16, 60
    arrived, wave = threading.Semaphore(0), threading.Event()

    def answer(r):
        # All of a wave are under way before the first is answered.
        arrived.release()
        wave.wait(TIMEOUT)
        return tiny_s3(r)

    origin = make.origin(answer=answer)
    origin.url = f"http://127.0.0.1:{origin.port}"
    n = make.nginx(
        origin.url,
        "".join(f"location /m{i}/ {{ s3_private_bucket example-bucket; }}" for i in range(locations))
        + "location /static { return 200; }",
        "keepalive_timeout 0;",
    )
    for i in range(locations):
        statuses = []
        clients = [threading.Thread(target=lambda: statuses.append(n.get(f"/m{i}/a").status)) for _ in range(each)]
        wave.clear()
        for client in clients:
            client.start()
        for _ in range(each):
            assert arrived.acquire(timeout=TIMEOUT)
        wave.set()
        for client in clients:
            client.join()
        assert statuses == [200] * each
        assert n.get("/static").status == 200
    assert len(origin.open) <= 512 / 2
    assert "not enough" not in n.error_log()


@pytest.mark.parametrize("status, method", [(403, "HEAD"), (200, "HEAD"), (304, "GET")])
def test_what_stands_behind_an_answer_is_not_the_next(make, status, method):
    """A body where none may be: a connection with one is not kept."""
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhush"
    origin = Bytes()
    origin.said = b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nETag: \"a\"\r\n\r\n%s" % (status, len(smuggled), smuggled)
    origin.closes = False
    n = make.nginx(origin.url, "location /m/ { s3_private_bucket example-bucket; }")
    for i in range(1, 4):
        r = n.get("/m/a", method=method, headers={"If-None-Match": '"a"'})
        assert r.status == (404 if status == 403 else status) and b"hush" not in r.body
        assert origin.connections == len(origin.requests) == i
    origin.close()


# --- who has none --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "http"),
    [
        ("proxy_bind $arg_from;", ""),
        ("proxy_next_upstream timeout;", ""),
        ("proxy_next_upstream off;", ""),
        ("proxy_pass http://s3.example.com:{port}$s3_private_bucket_uri;", ""),
        ("s3_private_bucket_endpoint http://s3.example.com:{port} upstream=own;",
         "upstream own {{ server 127.0.0.1:{port}; }}"),
        ("s3_private_bucket_endpoint http://own;", "upstream own {{ server 127.0.0.1:{port}; }}"),
        ("s3_private_bucket_addressing virtual;", ""),
    ],
)  # fmt: skip
def test_connections_that_must_not_be_shared_are_not_kept(make, line, http):
    origin = make.origin()
    make.dns("127.0.0.1", ttl=60)
    bucket = "$bucket" if "virtual" in line else "example-bucket"
    http += "map $arg_x $bucket {{ default example-bucket; }}"
    n = make.nginx(
        origin.url,
        f"location /m/ {{ s3_private_bucket {bucket}; {line.format(port=origin.port)} }}",
        # On the level above, it is a wish.
        http.format(port=origin.port) + "s3_private_bucket_keepalive 8;",
    )
    for _ in range(4):
        assert n.get("/m/a?from=127.0.0.1").status == 200
    # From 1.29.7 nginx keeps connections of groups by itself.
    assert len(origin.connections) == 4 or "own" in line


@pytest.fixture
def without_keepalive(tmp_path):
    """An nginx with no module of that name, as one built --without-http_upstream_keepalive_module: its
    name is all that is looked for."""
    name, code = b"\0ngx_http_upstream_keepalive_module\0", Path(NGINX).read_bytes()
    assert name in code
    binary = tmp_path / "nginx-without-keepalive"
    binary.write_bytes(code.replace(name, name.replace(b"keepalive", b"elsewhere")))
    binary.chmod(0o755)
    return str(binary)


@pytest.mark.parametrize("line", ["", "s3_private_bucket_keepalive off;"])
def test_nothing_is_kept_without_nginxs_keepalive_module(make, without_keepalive, line):
    origin = make.origin()
    n = make.nginx(
        f"http://127.0.0.1:{origin.port}",
        f"location /m/ {{ s3_private_bucket example-bucket; {line} }}",
        binary=without_keepalive,
    )
    _, output = n.check()
    assert output.count("\n") == 2, output
    for _ in range(4):
        assert n.get("/m/a").body == b"0123456789"
    assert len(origin.connections) == 4
    assert {connection for _, _, connection, _ in make.log(4)} == {"new"}


@pytest.mark.parametrize("level", ["http", "location"])
def test_who_asks_for_kept_connections_is_told_what_nginx_lacks(tmp_path, secret, without_keepalive, level):
    line = {level: "s3_private_bucket_keepalive 8;"}
    n = Nginx(
        tmp_path / "n",
        f"location /m/ {{ s3_private_bucket example-bucket; {line.get('location', '')} }}",
        f"""s3_private_bucket_auth secret {secret}; s3_private_bucket_endpoint http://127.0.0.1:1;
        {line.get("http", "")}""",
        binary=without_keepalive,
    )
    status, output = n.check()
    assert status == 1
    told = 'it needs the directive "keepalive", which this nginx does not have; or set "s3_private_bucket_k'
    assert f'"s3_private_bucket" cannot keep connections open: {told}' in output


def test_a_group_of_ones_own_has_its_own_keepalive(tmp_path, secret):
    n = Nginx(
        tmp_path / "n",
        f"""location /m/ {{ s3_private_bucket example-bucket; s3_private_bucket_keepalive 8;
            s3_private_bucket_auth secret {secret};
            s3_private_bucket_endpoint http://own; }}""",
        "upstream own { server 127.0.0.1:1; }",
    )
    status, output = n.check()
    assert status == 1
    told = 'cannot keep connections open: connections go through an "upstream" of your own'
    assert f'"s3_private_bucket" {told}; use its "keepalive"; or set "s3_private_bucket_k' in output


def test_a_group_of_ones_own_is_beside_ours(make):
    origin = make.origin()
    make.dns("127.0.0.1", ttl=60)
    n = make.nginx(
        origin.url,
        f"""location /own/ {{ s3_private_bucket example-bucket;
            s3_private_bucket_endpoint http://s3.example.com:{origin.port} upstream=own; }}
        location /m/ {{ s3_private_bucket example-bucket; }}
        location /plain/ {{ proxy_pass http://own; proxy_http_version 1.1;
            proxy_set_header Connection ""; }}
        """,
        f"upstream own {{ server 127.0.0.1:{origin.port}; keepalive 8; }}",
    )
    for _ in range(10):
        for target in ("/own/a", "/m/a", "/plain/a"):
            assert n.get(target).status == 200
    # Own and plain share one; the other location has its own, behind the first of DNS.
    assert len(origin.connections) == 3
