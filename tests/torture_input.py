"""Bad input: whatever a client sends, S3 is asked for an object below the prefix or not at all."""

import contextlib
import random
import re
import socket
import urllib.parse
from collections import Counter

import pytest
from harness import HTTP2, Authorization, Recorder, frame, free_port, header_field, read_response

CREDENTIALS = "access_key_id=AKID secret_access_key=data:key"
# What begins a key: a location, the prefix that it adds, and how it proves who it is.
PREFIXES = {
    "/media/": "/example-bucket/tenants/one/",
    "/signed/": "/example-bucket/tenants/two/",
    "/re/": "/example-bucket/tenants/three/x-",
    # The tenant is the client's to name, but never to leave out.
    "/tenant/": "/example-bucket/tenants/of/",
    "/map/": "/example-bucket/tenants/map/",
    "/folders/": "/example-bucket/tenants/four/",
}
LISTING = re.compile(r"delimiter=%2F&list-type=2&max-keys=1000&prefix=([A-Za-z0-9._~%-]*)(?:&start-after=([A-Za-z0-9._~%-]*))?")
# As the client's argument is spelt, and as a regular expression of a map leaves it.
MAPS = "map $arg_t $mapped { ~^(.)(.*)$ map/$2$1; }"
SERVER = f"""
    s3_private_bucket_pass_args versionId;
    # The client closes its half when all is sent, so that no request is waited for in vain.
    proxy_ignore_client_abort on;
    location /media/ {{ s3_private_bucket example-bucket prefix=tenants/one/; }}
    location /media/private/ {{ deny all; }}
    location /tenant/ {{ s3_private_bucket example-bucket prefix=tenants/of/$arg_t/; }}
    location ~ ^/map/(.*)$ {{
        s3_private_bucket example-bucket prefix=tenants/$mapped/;
        s3_private_bucket_key x-$1;
    }}
    location /signed/ {{
        s3_private_bucket example-bucket prefix=tenants/two/;
        s3_private_bucket_auth sigv4 {CREDENTIALS};
    }}
    location /folders/ {{
        s3_private_bucket example-bucket prefix=tenants/four/;
        s3_private_bucket_autoindex html;
    }}
    location ~ ^/re/(.*)$ {{
        s3_private_bucket example-bucket prefix=tenants/three/;
        s3_private_bucket_key x-$1;
    }}
"""

PIECES = [
    *PREFIXES, "private", "private/", "private%5c", "%5cprivate/x", "\\private", "%c3%bc", "media", "..", ".", "/..", "/../", "/./", "../", "/", "//", "///", "\\", "..\\",
    "%2e%2e", "%2E.", ".%2e", "%2e", "%2f", "%2F..%2f", "%5c", "%00", "%", "%z", "%4", "%%", "%25",
    "%252e%252e", "%c0%ae", "%c0%af", "%e0%80%af", "%ff", "\xff", "\xfc", "%0d%0aX-Amz-Acl:%20x",
    "%0a", "%20", "+", "a", "b.jpg", "index.html", "?", "&", "=", "#", "%3f", "%23", ";", ":", "@",
    "'", '"', "<", "$host", "${uri}", "$1", "\t", "versionId=1", "versionId=%00%0a&acl", "acl",
    "uploads&", "list-type=2", "X-Amz-Signature=x", "example-bucket", "tenants/other/",
    "http://evil.example/", "\u00e9",
]  # fmt: skip
CLEAN = ["a", "b.jpg", "index.html", "%c3%bc", "a%20b/"]
TENANTS = ["?t=a", "?t=ab/c", "?t=abc", "?t=", "", "?t=/", "?t=a/", "?t=..", "?t=%5c", "?t=a\\..", "?t=a&t=", "?T=a"]
AFTERS = ["", "/", "/", "/?after=a", "/?after=a%20b/", "/?after=..", "/?after=../private/", "/?after=x%26prefix=y", "/?after=%00",
          "/?after=%ff", "/?after=%5c..", "/?after=a%2fb", "/?prefix=private/", "/?start-after=z&list-type=1", "/?x&after=", "?after=a"]  # fmt: skip
METHODS = ["GET"] * 120 + ["HEAD"] * 40 + [
    "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PROPFIND", "get", "GETX", "",
    "G\0T", "GET GET", "GET\t", "\r\nGET", " GET", "_",
]  # fmt: skip
VERSIONS = ["HTTP/1.1"] * 60 + ["HTTP/1.0", "HTTP/2.0", "HTTP/1.1 x", "HTTP/9", "http/1.1", ""]
CONDITIONS = ["Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since",
              "If-Unmodified-Since"]  # fmt: skip
NAMES = CONDITIONS * 8 + [
    "Host", "User-Agent", "Referer", "Authorization", "Cookie", "X-Amz-Acl", "x-amz-date",
    "x-amz-security-token", "X-Amz-Copy-Source", "X-Forwarded-For", "X-Forwarded-Host", "Connection",
    "Upgrade", "Expect", "TE", "Trailer", "Transfer-Encoding", "Content-Length", "Content-Type",
    "Accept-Encoding", "Proxy", "X_Amz_Acl", "X-HTTP-Method-Override", "X-Original-URL", "Via", "",
    "a b", "X\0", "\x0bHost", "Hos", "X-" + "n" * 300,
]  # fmt: skip
VALUES = [
    "bytes=0-3", "bytes=0-0,5-9", "bytes=-1", '"tag"', "*", "Mon, 02 Nov 2026 10:00:00 GMT", "", "x",
    "close", "keep-alive, Host, User-Agent", "100-continue", "chunked", "gzip, chunked", "5", "-1",
    "99999999999999999999", "evil.example", "evil.example:80, x", "PUT", "\x01", "a\0b", "\xff\xfe",
    "a\r b", "x\r\n folded", "v" * 9000, "AWS4-HMAC-SHA256 Credential=x",
]  # fmt: skip
# What HTTP may trim or join: these are compared with what was sent.
SENT = {v.strip() for v in VALUES}


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, choices):
        return self.random.choice(choices)

    def path(self):
        path = self.pick([*PREFIXES, "/folders/"] * 4 + ["/", "", "//"])
        for _ in range(self.pick([0, 1, 1, 2, 3, 6])):
            if self.random.random() < 0.1:
                path += chr(self.random.randrange(256))
            elif self.random.random() < 0.4:
                path += self.pick(CLEAN)
            else:
                path += self.pick(PIECES)
        if path.startswith(("/tenant/", "/map/")):
            path += self.pick(TENANTS[:3] * 6 + TENANTS)
        if path.startswith("/folders/"):
            # Half of them are objects.
            path += self.pick([""] * len(AFTERS) + AFTERS) + self.pick(["", "", "", self.pick(PIECES)])
        if self.random.random() < 0.03:
            path += self.pick("a%/.+ ") * self.random.choice([1000, 1025, 8000, 8200, 33_000])
        return path

    def target(self):
        form = self.random.random()
        if form < 0.85:
            return self.path()
        return self.pick(["http://evil.example", "https://x:y@media.example.com", "HTTP://[::1]:9",
                          "//evil.example", "http:/", "ftp://x", "*", "evil.example:80", "?", "#",
                          "http://"]) + self.path()  # fmt: skip

    def headers(self):
        headers = [("Host", "media.example.com")] if self.random.random() < 0.9 else []
        for _ in range(self.pick([0, 0, 1, 1, 2, 5])):
            header = self.pick(NAMES), self.pick(VALUES)
            headers += [header] * self.pick([1, 1, 1, 2, 3])
        if self.random.random() < 0.01:
            headers += [("X-Many", "x" * 900)] * 40
        return headers

    def http1(self):
        """A request as bytes."""
        end = self.pick(["\r\n"] * 40 + ["\n", "\r"])
        line = " ".join([self.pick(METHODS), self.target(), self.pick(VERSIONS)])
        colon = self.pick([": "] * 60 + [":", " : ", "\t:", ""])
        lines = [line, *(name + colon + value for name, value in self.headers()), "", ""]
        body = self.pick(["", "", "hello", "0\r\n\r\n", "GET /media/smuggled HTTP/1.1\r\n\r\n"])
        return (end.join(lines) + body).encode("latin1")

    def http2(self):
        """Header fields of a request, and its body, or None."""
        pseudo = [(":method", self.pick(METHODS)), (":path", self.target()),
                  (":scheme", self.pick(["http"] * 9 + ["https", "", "x:"])),
                  (":authority", self.pick(["media.example.com"] * 9 + ["evil.example/x", "", "a b"]))]
        exact = self.random.random() < 0.1
        # Half of the time without what HTTP/2 forbids: nginx refuses most of it.
        mild = self.random.random() < 0.5
        forbidden = ("Host", "Connection", "Upgrade", "Transfer-Encoding", "TE", "Proxy", "")
        headers = [(name if exact else name.lower(), value) for name, value in self.headers()
                   if not mild or name not in forbidden]  # fmt: skip
        trick = self.random.random()
        if trick < 0.1:
            pseudo.append(self.pick(pseudo))
        elif trick < 0.2:
            pseudo.append((self.pick([":path", ":method", ":status", ":x", ":"]), self.target()))
        elif trick < 0.3:
            pseudo.remove(self.pick(pseudo))
        elif trick < 0.4:
            headers, pseudo = pseudo, headers
        elif trick < 0.5:
            self.random.shuffle(pseudo)
        body = self.pick([None, None, None, b"", b"hello", b"GET /media/smuggled HTTP/1.1\r\n\r\n"])
        return pseudo + headers, body


def send_http1(port, data):
    """The first status of the answer, or None when nginx only closed the connection."""
    with socket.create_connection(("127.0.0.1", port), 30) as s, s.makefile("rb") as f:
        with contextlib.suppress(ConnectionError):
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
        try:
            line = f.readline()
        except ConnectionError:
            return None
        # HTTP/0.9 has no status.
        match = re.match(rb"HTTP/1\.\d (\d+) ", line)
        with contextlib.suppress(ConnectionError):
            assert b"hush" not in f.read()
        return int(match.group(1)) if match else None


def send_http2(port, headers, body):
    """Sends one request and waits until nginx has answered or refused it."""
    fields = b"".join(header_field(name, value) for name, value in headers)
    # As much as one frame holds, the rest in continuations.
    parts = [fields[i : i + 16_384] for i in range(0, max(len(fields), 1), 16_384)]
    data = HTTP2 + frame(4, 0, 0, b"")
    for i, part in enumerate(parts):
        flags = (1 if i == 0 and body is None else 0) | (4 if i == len(parts) - 1 else 0)
        data += frame(1 if i == 0 else 9, flags, 1, part)
    if body is not None:
        data += frame(0, 1, 1, body)
    with socket.create_connection(("127.0.0.1", port), 30) as s, s.makefile("rb") as f:
        with contextlib.suppress(ConnectionError):
            s.sendall(data)
            while head := f.read(9):
                size = int.from_bytes(head[:3], "big")
                kind, flags = head[3], head[4]
                assert b"hush" not in f.read(size)
                if kind in (3, 7) or (kind in (0, 1) and flags & 1):
                    return


def listed(recorded):
    """What S3 answers: an object, or a listing that has keys of others in it."""
    _, _, query = recorded.target.partition("?")
    if match := LISTING.fullmatch(query):
        prefix = "".join(f"&#{byte};" for byte in urllib.parse.unquote(match[1]).encode()).replace("&#0;", "")
        keys = [f"{prefix}name", "tenants/hush", f"{prefix}/hush", f"x{prefix}hush", f"{prefix}.hush", f"{prefix}a/hush", ""]
        body = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
        body += "<CommonPrefixes><Prefix>hush/</Prefix></CommonPrefixes>"
        return 200, [], f"<ListBucketResult>{body}</ListBucketResult>".encode()
    return 200, [("Content-Type", "text/plain")], b"object"


def check_listing(head, prefix, after):
    """Asserts that a listing is of one folder below the prefix, and begins behind a name in it."""
    prefix, after = (urllib.parse.unquote_to_bytes(text) for text in (prefix, after or prefix))
    assert prefix.startswith(b"tenants/four/") and prefix.endswith(b"/") and len(prefix) <= 1024, head
    assert not {b".", b".."} & set(prefix.split(b"/")) and b"\0" not in prefix + after, head
    assert b"\\" not in prefix and b"//" not in prefix, head
    assert after.startswith(prefix), head
    name = after.removeprefix(prefix).removesuffix("/\U0010ffff".encode())
    # Behind a name with a backslash a page may begin, wherever that leads who reads it as a slash.
    assert b"/" not in name and not {b".", b".."} & set(name.split(b"\\")), head
    after.decode()


def check(recorded):
    """Asserts that what reached S3 is what the module may ask for."""
    head = recorded.head.decode("latin1")
    line, *fields = head.split("\r\n")
    match = re.fullmatch(r"(GET|HEAD) (/[!-~]*) HTTP/1\.1", line)
    assert match, head
    path, _, query = match.group(2).partition("?")
    names = [field.partition(": ")[0] for field in fields]
    if listing := LISTING.fullmatch(query):
        assert (match.group(1), path) == ("GET", "/example-bucket/"), head
        assert sorted(names) == ["Host", "User-Agent"] and recorded.get("User-Agent") == "open-sesame", head
        check_listing(head, *listing.groups())
        return
    assert not query or re.fullmatch(r"versionId=[A-Za-z0-9._~%-]*", query), head
    (prefix,) = [p for p in PREFIXES.values() if path.startswith(p)]
    key = urllib.parse.unquote_to_bytes(path).removeprefix(b"/example-bucket/")
    assert not {b".", b".."} & set(key.split(b"/")) and b"\0" not in key and len(key) <= 1024, head
    key.decode()
    # What servers read as a slash, and what they leave out: nginx merged those of the client's path.
    assert b"\\" not in key and b"//" not in key, head
    assert not key.startswith(b"tenants/one/private/"), head
    if prefix == "/example-bucket/tenants/map/":
        assert b"/x-" in key, head
    # Encoded once, and as AWS does.
    assert re.fullmatch(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})*", path), head

    assert len(set(names)) == len(names), head
    proof = {"/example-bucket/tenants/two/": {"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256"}}
    needed = {"Host"} | proof.get(prefix, {"User-Agent"})
    assert needed <= set(names) <= needed | set(CONDITIONS), head
    for name in CONDITIONS:
        assert recorded.get(name) is None or recorded.get(name).strip() in SENT, head
    if "Authorization" in needed:
        Authorization(recorded, "key", "AKID")
    else:
        assert recorded.get("User-Agent") == "open-sesame", head


@pytest.fixture
def served(tmp_path, nginx, origin):
    origin.answer = listed
    port = free_port()
    n = nginx(f"listen 127.0.0.1:{port} http2; access_log {tmp_path}/status statuses; {SERVER}",
              http=f"{MAPS} client_header_timeout 10s; log_format statuses '$status';",
              top="worker_rlimit_core 0;")  # fmt: skip
    return n, port


@pytest.mark.parametrize("http2", [False, True])
def test_generated_requests(served, origin, tmp_path, quick, held, http2):
    n, port = served
    generator, count = Generator(20261124 + http2), 10_000 if quick else 20_000
    for _ in range(count):
        if http2:
            send_http2(port, *generator.http2())
        else:
            send_http1(n.port, generator.http1())
    assert read_response_of(n).status == 200
    for recorded in origin.requests:
        assert recorded.get("Host") == f"127.0.0.1:{origin.port}"
        check(recorded)
    statuses = Counter(map(int, (tmp_path / "status").read_text().split()))
    # An encoding or a version that nginx does not know; a client that went away.
    assert all(status < 499 for status in set(statuses) - {499, 501, 505}), statuses
    assert statuses[200] > count / 50 and statuses[404] and statuses[405], statuses
    # Every location was asked, and passed some on.
    reached = {prefix: sum(r.target.startswith(prefix) for r in origin.requests)
               for prefix in PREFIXES.values()}  # fmt: skip
    reached["listings"] = sum(bool(LISTING.search(r.target)) for r in origin.requests)
    assert all(number > count / 250 for number in reached.values()), reached
    passed = " + ".join(f"{number:,}" for number in reached.values())
    held(f"{count:,} generated requests of HTTP/{1 + http2}, {passed} of them passed on",
         "each asks for an object or a folder below the prefix, with the allowed headers only; no page shows another's names")  # fmt: skip


def test_every_byte(served, origin, held):
    n, _ = served
    places = ["GET /media/{}a HTTP/1.1\r\nHost: x\r\n\r\n", "GET /re/a{} HTTP/1.1\r\nHost: x\r\n\r\n",
              "GET /media/a?versionId={} HTTP/1.1\r\nHost: x\r\n\r\n",
              "GET /media/a HTTP/1.1\r\nHost: x\r\nIf-Match: {}\r\n\r\n",
              "GET /media/a HTTP/1.1\r\nHost: x{}\r\n\r\n", "{}GET /media/a HTTP/1.1\r\nHost: x\r\n\r\n",
              "GET /media/a HTTP/1.1{}\r\nHost: x\r\n\r\n", "GET /folders/a{}b/ HTTP/1.1\r\nHost: x\r\n\r\n",
              "GET /folders/?after=a{}b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /folders/?after={} HTTP/1.1\r\nHost: x\r\n\r\n"]  # fmt: skip
    values = [chr(b) for b in range(256)]
    for place in places:
        for text in [*values, *(f"%{b:02x}" for b in range(256))]:
            send_http1(n.port, place.format(text).encode("latin1"))
    SENT.update(v.strip() for v in [*values, *(f"%{b:02x}" for b in range(256))])
    for recorded in origin.requests:
        check(recorded)
    # All but NUL are bytes of a key; no other byte than one of ASCII is text alone.
    keys = {urllib.parse.unquote_to_bytes(r.target.partition("?")[0]) for r in origin.requests}
    missing = [b for b in range(1, 256) if b"/example-bucket/tenants/one/" + bytes([b, 97]) not in keys]
    # nginx merges slashes.
    assert missing == [ord("/"), ord("\\"), *range(128, 256)]
    held(f"{len(places) * 512:,} requests with each byte in {len(places)} places",
         "as above; every byte of ASCII but NUL and the backslash is sent in a key")  # fmt: skip


# Who asks: what S3 gets to see of it, and so what it answers.
IDENTITIES = {
    "none": ("s3_private_bucket_auth none;", None),
    "secret": ("s3_private_bucket_auth secret data:one;", "one"),
    "other-secret": ("s3_private_bucket_auth secret data:two;", "two"),
    "signed": (f"s3_private_bucket_auth sigv4 {CREDENTIALS};", "AKID"),
    "other-signed": (f"s3_private_bucket_auth sigv4 {CREDENTIALS.replace('AKID', 'AKOTHER')};", "AKOTHER"),
    "owner": ("s3_private_bucket_auth none; s3_private_bucket_expected_owner 111122223333;", "111122223333"),
}


def test_identities_over_one_cache(tmp_path, nginx, origin, quick, held):
    def answer(r):
        signer = re.search(r"Credential=(\w+)/", r.get("Authorization") or "")
        who = r.get("User-Agent") or r.get("X-Amz-Expected-Bucket-Owner") or (signer and signer[1])
        key = r.target.rpartition("/")[2]
        return (403 if key == "c" else 200), [("ETag", '"t"')], f"{who} {r.method} {key}".encode()

    origin.answer = answer
    server = "".join(f"""location /{name}/ {{ s3_private_bucket example-bucket; {auth} }}
        location /{name}/pass/ {{ s3_private_bucket example-bucket; {auth} s3_private_bucket_errors pass; }}
        location /{name}/head/ {{ s3_private_bucket example-bucket; {auth} proxy_cache_convert_head off; }}
        """ for name, (auth, _) in IDENTITIES.items())  # fmt: skip
    n = nginx(f"proxy_cache z; proxy_cache_valid any 1h; {server}",
              f"proxy_cache_path {tmp_path}/cache keys_zone=z:10m;")  # fmt: skip
    choose, count = random.Random(20261125), 2_000 if quick else 20_000
    for _ in range(count):
        name = choose.choice([*IDENTITIES])
        kind, key = choose.choice(["", "pass/", "head/"]), choose.choice("abc")
        method = choose.choice(["GET", "GET", "HEAD"])
        r = n.get(f"/{name}/{kind}{key}", method=method)
        # An AccessDenied without a code, as the owner of this cache entry or nobody saw it.
        assert r.status == (200 if key != "c" else 403 if kind == "pass/" else 404)
        if method == "GET" and (key != "c" or kind == "pass/"):
            assert r.body == f"{IDENTITIES[name][1]} GET {key}".encode(), (name, kind, key)
    held(f"{count:,} requests as {len(IDENTITIES)} identities over one cache", "none sees another's answer")


def read_response_of(n):
    with socket.create_connection(("127.0.0.1", n.port), 30) as s, s.makefile("rb") as f:
        s.sendall(b"GET /media/last HTTP/1.1\r\nHost: x\r\n\r\n")
        return read_response(f)


def test_the_check_sees(origin):
    good = f"GET /example-bucket/tenants/one/a HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: open-sesame"
    recorder = Recorder()
    recorder.close()
    from harness import Recorded

    check(Recorded(good.encode(), 1))
    for old, new in [
        ("GET", "PUT"), ("one/a", "one/../x"), ("one/a", "other"), ("/a ", "/a?acl "), ("/a ", "/+ "),
        ("Host", "X-Amz-Acl: x\r\nHost"), ("Host", "Host: x\r\nHost"), ("open-sesame", "x"),
        ("/a ", "/%2e "), ("/a ", "/%00 "),
    ]:  # fmt: skip
        with pytest.raises((AssertionError, ValueError)):
            check(Recorded(good.replace(old, new).encode(), 1))

    good = "GET /example-bucket/?delimiter=%2F&list-type=2&max-keys=1000&prefix=tenants%2Ffour%2Fa%2F&start-after=tenants%2Ffour%2Fa%2Fb HTTP/1.1\r\nHost: x\r\nUser-Agent: open-sesame"
    check(Recorded(good.encode(), 1))
    for old, new in [
        ("GET", "HEAD"), ("prefix=tenants%2Ffour%2F", "prefix=tenants%2Ffive%2F"), ("prefix=tenants%2Ffour%2F", "prefix="), ("a%2F&", "a&"),
        ("after=tenants%2Ffour", "after=tenants%2Ffive"), ("a%2Fb", "a%2F.."), ("a%2Fb", "a%2Fb%2Fc"), ("a%2F", "..%2F"), ("a%2F", "a%00%2F"),
        ("Host: x", "Host: x\r\nRange: bytes=0-3"), ("delimiter=%2F&", ""), ("open-sesame", "x"),
    ]:  # fmt: skip
        with pytest.raises((AssertionError, ValueError)):
            check(Recorded(good.replace(old, new).encode(), 1))
