"""What hostile requests, variables and neighbours are not to reach."""

import socket
import threading
import time

import pytest
from harness import Nginx, Recorder, free_port, make_cert, read_response, request, wait_until

# --- keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["/m/private%5Cx", "/m/%5Cprivate/x", "/m/private%5C/x", "/m/private\\x", "/m/a%5C..%5Cprivate/x",
     "/m/%5C", "/t/a?t=private%5C", "/t/a?t=%5Cprivate", "/k/a?k=private%5Cx"],
)  # fmt: skip
def test_a_backslash_opens_no_other_folder(nginx, origin, target):
    n = nginx("""
        location /m/ { s3_private_bucket example-bucket; }
        location /m/private/ { deny all; }
        location /t/ { s3_private_bucket example-bucket prefix=$arg_t/; }
        location /k/ { s3_private_bucket example-bucket; s3_private_bucket_key $decoded; }
        """, r"map $arg_k $decoded { ~^(.*)%5C(.*)$ $1\$2; }")  # fmt: skip
    # The argument of a prefix is not decoded, so that only a map makes a backslash of it.
    expected = 200 if target.startswith("/t/") else 400
    assert n.get(target).status == expected
    assert len(origin.requests) == (expected == 200)
    assert not any("\\" in r.target or "%5C/" in r.target for r in origin.requests)


def test_at_aws_a_backslash_is_a_byte_of_a_key(nginx, origin):
    n = nginx(
        """location /m/ {
            s3_private_bucket_endpoint http://s3.us-east-1.amazonaws.com upstream=s3;
            s3_private_bucket example-bucket;
        }""",
        f"upstream s3 {{ server 127.0.0.1:{origin.port}; }}",
    )
    assert n.get("/m/a%5Cb").status == 200
    assert origin.last().target == "/a%5Cb"
    for target in ("/m/a%5C..%5Cb", "/m/a%5C../b", "/m/..%5Cb", "/m/a/.%5Cb", "/m/a%5C."):
        assert n.get(target).status == 400, target
    assert len(origin.requests) == 1


@pytest.mark.parametrize("bytes_", [b"%ff", b"%c3", b"%c3%28", b"%ed%a0%80", b"%f4%90%80%80", b"\xff"])
def test_a_key_that_is_not_utf_8_does_not_reach_s3(nginx, origin, bytes_):
    n = nginx("location /m/ { s3_private_bucket example-bucket; }")
    assert n.get(b"/m/a" + bytes_).status == 400
    assert "s3_private_bucket: the object key is not UTF-8 text" in n.error_log()
    assert n.get(b"/m/%c3%bc%f0%9f%98%80").status == 200
    assert [r.target for r in origin.requests] == ["/example-bucket/%C3%BC%F0%9F%98%80"]


# --- prefixes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target, segment",
    [
        ("/p/other/x", "tenants//"),
        ("/p/x?t=", "tenants//"),
        ("/p/x?t=/other", "tenants//other/"),
        ("/p/x?t=other/", "tenants/other//"),
        ("/p/x?t=a//b", "tenants/a//b/"),
        ("/q/other/x", "/"),
        ("/q/x?t=/", "//"),
        ("/two/x?t=a", "a//"),
        ("/two/x?u=a", "/a/"),
    ],
)
def test_a_variable_without_a_value_opens_no_other_prefix(nginx, origin, target, segment):
    n = nginx("""
        location /p/ { s3_private_bucket example-bucket prefix=tenants/$arg_t/; }
        location /q/ { s3_private_bucket example-bucket prefix=$arg_t/; }
        location /two/ { s3_private_bucket example-bucket prefix=$arg_t/$arg_u/; }
    """)
    assert n.get(target).status == 404
    lines = [line for line in n.error_log().splitlines() if "s3_private_bucket" in line]
    assert len(lines) == 1 and "[error]" in lines[0]
    assert f's3_private_bucket: the prefix "{segment}" has an empty segment' in lines[0]
    assert n.get("/p/x?t=a/b").status == n.get("/q/x?t=a").status == n.get("/two/x?t=a&u=b").status == 200
    keys = [r.target.removeprefix("/example-bucket/") for r in origin.requests]
    assert keys == ["tenants/a/b/x", "a/x", "a/b/x"]


# --- captures ------------------------------------------------------------------------------

MAPS = """
    map $arg_t $tenant { ~^(?<all>(\\w+).*)$ $2; }
    map $arg_b $named { ~^(.)(.)(.)$ $1$2$3; default abc; }
    map $arg_t $fresh { volatile; ~^(.*)$ tenant-$1; }
    limit_req_zone $tenant zone=l:1m rate=1000r/s;
"""


@pytest.mark.parametrize(
    "location, expected",
    [
        ("s3_private_bucket example-bucket prefix=$tenant/; s3_private_bucket_key pub-$1.jpg;",
         "/example-bucket/evil/pub-x.jpg"),
        ("s3_private_bucket $named; s3_private_bucket_key pub-$1.jpg;", "/abc/pub-x.jpg"),
        ("s3_private_bucket $named prefix=$1/; s3_private_bucket_key $1/$1;", "/abc/x/x/x"),
        # In one value, before and behind it; where a map is evaluated each time too.
        ("s3_private_bucket example-bucket; s3_private_bucket_key $1/$tenant/$1;",
         "/example-bucket/x/evil/x"),
        ("s3_private_bucket example-bucket; s3_private_bucket_key $1/$fresh/$1/$fresh/$1;",
         "/example-bucket/x/tenant-evil/secret/x/tenant-evil/secret/x"),
        ("s3_private_bucket example-bucket prefix=$1/$tenant/; s3_private_bucket_key $1;",
         "/example-bucket/x/evil/x"),
        # What ran before the content phase.
        ("limit_req zone=l; s3_private_bucket example-bucket; s3_private_bucket_key pub-$1.jpg;",
         "/example-bucket/pub-x.jpg"),
        ("if ($tenant = other) { return 403; } set $seen $tenant;"
         "s3_private_bucket example-bucket; s3_private_bucket_key pub-$1.jpg;",
         "/example-bucket/pub-x.jpg"),
        ("s3_private_bucket example-bucket; s3_private_bucket_key $2$1$9;", "/example-bucket/x"),
        ("set $early $s3_private_bucket_key; s3_private_bucket example-bucket prefix=$tenant/;"
         "s3_private_bucket_key $1;", "/example-bucket/evil/x"),
    ],
    ids=range(10),
)  # fmt: skip
def test_captures_are_those_of_the_location(nginx, origin, location, expected):
    n = nginx(f"location ~ ^/pub/(\\w)$ {{ {location} }}", MAPS)
    assert n.get("/pub/x?t=evil/secret").status == 200
    assert origin.last().target == expected
    assert len(origin.requests) == 1


def test_a_regular_expression_with_more_captures_than_digits(nginx, origin):
    n = nginx("""location ~ ^/(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)?$ {
            s3_private_bucket example-bucket; s3_private_bucket_key $tenant/$9$1$2;
        }""", MAPS)  # fmt: skip
    assert n.get("/abcdefghijk?t=evil").status == 200
    assert origin.last().target == "/example-bucket/evil/iab"


def test_captures_of_other_expressions(nginx, origin):
    """Where the location has none of its own, those that ran last, as everywhere in nginx."""
    n = nginx("""
        location /r/ {
            rewrite ^/r/(\\w+)-(\\w+)$ /r/moved break;
            s3_private_bucket example-bucket prefix=$tenant/; s3_private_bucket_key $2/$1;
        }
        location ~ ^/i/(\\w+)$ {
            s3_private_bucket example-bucket; s3_private_bucket_key $1;
            if ($arg_v ~ ^(\\d+)$) { set $v $1; s3_private_bucket versions-$v prefix=$tenant-$1/; }
        }
        location /plain/ {
            if ($arg_v ~ ^(\\d+)$) { s3_private_bucket versions-$1; }
            s3_private_bucket example-bucket;
        }""", MAPS)  # fmt: skip
    assert n.get("/r/a-b?t=evil").status == n.get("/i/a").status == 200
    # In an "if" too, where "set" keeps those of its condition.
    assert n.get("/i/a?v=7&t=evil").status == n.get("/plain/x?v=8").status == 200
    assert [r.target for r in origin.requests] == [
        "/example-bucket/evil/b/a", "/example-bucket/a", "/versions-7/evil-a/a", "/versions-8/x"]  # fmt: skip


@pytest.mark.parametrize(
    "location, status",
    [
        ("location ~ ^/m/ { set $k $s3_private_bucket_key; s3_private_bucket example-bucket; }", 200),
        ("location /m/ { if ($uri ~ ^/m/) { set $k 1; } set $k $s3_private_bucket_uri; s3_private_bucket example-bucket; }", 200),
        ("location ~ ^/m/ { s3_private_bucket example-bucket prefix=$tenant/; s3_private_bucket_key $1; }", 404),
        ("""location ~ ^/m/ { s3_private_bucket example-bucket; return 302 $s3_private_bucket_presigned_url;
            s3_private_bucket_auth sigv4 access_key_id=a secret_access_key=data:b; }""", 302),
    ],
    ids=range(4),
)  # fmt: skip
def test_an_expression_without_captures(nginx, location, status):
    """It leaves nginx with a count of captures, and no room for any."""
    n = nginx(location, MAPS)
    assert n.get("/m/a?t=evil").status == status
    for target, method in (("/m/%ff", "GET"), ("/m/a", "POST"), ("/m/%5C", "HEAD")):
        assert n.get(target, method=method).status in (302, 400, 404, 405)
    # The access log names the key.
    assert n.access_log()

def test_slices_have_the_captures_of_their_request(nginx, origin, tmp_path):
    n = nginx(
        """location ~ ^/v/(\\w+)$ {
            s3_private_bucket example-bucket prefix=$tenant/; s3_private_bucket_key $1.mp4;
            slice 4; proxy_cache z; proxy_cache_valid 200 206 1h;
        }""",
        MAPS + f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;",
    )
    assert n.get("/v/film?t=a").body == b"0123456789"
    assert {r.target for r in origin.requests} == {"/example-bucket/a/film.mp4"}
    assert len(origin.requests) == 3


# --- caches --------------------------------------------------------------------------------

IDENTITIES = [
    "s3_private_bucket_auth none;",
    "s3_private_bucket_auth secret {0}/one;",
    "s3_private_bucket_auth secret {0}/two;",
    "s3_private_bucket_auth secret {0}/one header=X-Secret;",
    "s3_private_bucket_auth secret data:one;",
    "s3_private_bucket_auth secret data:two;",
    "s3_private_bucket_auth sigv4 access_key_id=AKIDONE secret_access_key={0}/one;",
    "s3_private_bucket_auth sigv4 access_key_id=AKIDTWO secret_access_key={0}/one;",
    "s3_private_bucket_auth sigv4 file={0}/credentials;",
    "s3_private_bucket_auth sigv4 file={0}/credentials profile=other;",
    "s3_private_bucket_auth none; s3_private_bucket_expected_owner 111122223333;",
    "s3_private_bucket_auth none; s3_private_bucket_expected_owner 444455556666;",
    "s3_private_bucket_auth none; s3_private_bucket_endpoint {1} upstream=one;",
    "s3_private_bucket_auth none; s3_private_bucket_endpoint {1} upstream=two;",
    "s3_private_bucket_auth none; s3_private_bucket_errors pass;",
]


def identities(tmp_path, origin, wrong=""):
    """nginx with a location for each identity, all in front of one cache."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"secret-{name}{wrong}")
        (tmp_path / name).chmod(0o600)
    profile = "[{}]\naws_access_key_id = AKID{}\naws_secret_access_key = k\n"
    (tmp_path / "credentials").write_text(profile.format("default", wrong) + profile.format("other", wrong))
    (tmp_path / "credentials").chmod(0o600)
    server = "".join(
        f"location /{i}/ {{ s3_private_bucket example-bucket; {what.format(tmp_path, origin.url)} }}"
        for i, what in enumerate(IDENTITIES)
    )
    groups = "".join(f"upstream {name} {{ server 127.0.0.1:{origin.port}; }}" for name in ("one", "two"))
    return Nginx(tmp_path / "n", server, f"""{groups}
        proxy_cache_path {tmp_path}/cache keys_zone=z:1m; proxy_cache z; proxy_cache_valid any 1h;
        s3_private_bucket_endpoint {origin.url}; add_header X-Cache $upstream_cache_status always;
        """)  # fmt: skip


def test_identities_do_not_share_cached_answers(tmp_path, origin):
    with identities(tmp_path, origin) as n:
        for i in range(len(IDENTITIES)):
            r = n.get(f"/{i}/a")
            assert (r.status, r.get("X-Cache")) == (200, "MISS"), IDENTITIES[i]
            assert n.get(f"/{i}/a").get("X-Cache") == "HIT"
    files = [file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    assert len(files) == len(IDENTITIES) == len(origin.requests)
    for text in (b"one", b"two", b"AKID", str(tmp_path).encode()):
        assert not any(text in file for file in files)
    # Neither a restart nor new keys in the same places make it forget.
    with identities(tmp_path, origin, "-new") as n:
        assert {n.get(f"/{i}/a").get("X-Cache") for i in range(len(IDENTITIES))} == {"HIT"}


def test_secrets_in_places_of_the_same_names_are_not_the_same(tmp_path, origin):
    port = free_port()
    location = "location {} {{ s3_private_bucket example-bucket; s3_private_bucket_auth secret data:{}; }}"
    n = Nginx(
        tmp_path / "n",
        f"""{location.format("/m/", "one")} {location.format("= /m/a", "two")}
        location /n/ {{ {location.format("~ a", "three")} }} location /o/ {{ {location.format("~ a", "four")} }}""",
        f"""proxy_cache_path {tmp_path}/cache keys_zone=z:1m; proxy_cache z; proxy_cache_valid any 1h;
        s3_private_bucket_endpoint {origin.url}; merge_slashes off; s3_private_bucket_key same;
        server {{ listen 127.0.0.1:{port}; {location.format("/m/", "five")} {location.format("/p/", "one")} }}""",
    )
    origin.answer = lambda r: (200, [], (r.get("User-Agent") or "").encode())
    with n:
        asked = [(n.port, "/m/x"), (n.port, "/m/a"), (n.port, "/n/a"), (n.port, "/o/a"), (port, "/m/x"), (port, "/p/x")]
        for _ in range(2):
            assert [request(p, target).body for p, target in asked] == [b"one", b"two", b"three", b"four", b"five", b"one"]
    assert len(origin.requests) == 6


def test_the_method_in_a_key_is_no_part_of_a_name(nginx, origin, tmp_path):
    n = nginx(
        """proxy_cache z; proxy_cache_valid 1h;
        location /a/ { s3_private_bucket example-bucket; proxy_cache_convert_head off; }
        location /b/ { s3_private_bucket example-bucket; }
        location ~ \\.pdf$ { deny all; }""".replace("location /a/", "location ^~ /a/"),
        f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;",
    )
    assert n.get("/a/x.pdf").status == n.get("/b/x.pdfGET").status == 200 and n.get("/b/x.pdf").status == 403
    assert [r.target for r in origin.requests] == ["/example-bucket/x.pdf", "/example-bucket/x.pdfGET"]


def test_locations_with_one_identity_share_cached_answers(tmp_path, origin):
    n = Nginx(tmp_path / "n", """
        location /a/ { s3_private_bucket example-bucket; proxy_cache z; proxy_cache_valid 1h; }
        location /b/ { s3_private_bucket example-bucket; proxy_cache z; proxy_cache_valid 1h; }
        """, f"""proxy_cache_path {tmp_path}/cache keys_zone=z:1m;
        s3_private_bucket_endpoint {origin.url}; s3_private_bucket_auth none;""")  # fmt: skip
    with n:
        assert n.get("/a/x").status == n.get("/b/x").status == 200
    assert len(origin.requests) == 1


def test_head_then_get_where_head_is_not_converted(nginx, origin, tmp_path):
    n = nginx(
        """location /m/ {
            s3_private_bucket example-bucket;
            proxy_cache z; proxy_cache_valid 1h; proxy_cache_convert_head off;
        }""",
        f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;",
    )
    for _ in range(2):
        r = n.get("/m/a", method="HEAD")
        assert (r.status, r.get("Content-Length"), r.body) == (200, "10", b"")
        assert n.get("/m/a").body == b"0123456789"
    assert [r.method for r in origin.requests] == ["HEAD", "GET"]


# --- the request ---------------------------------------------------------------------------


@pytest.mark.parametrize("line", [b"HEAD /\x01 HTTP/1.1", b"HEAD /%zz HTTP/1.1", b"HEAD /../.. HTTP/1.1"])
@pytest.mark.parametrize("auth", ["", "s3_private_bucket_auth sigv4 access_key_id=a secret_access_key=data:k;"])
def test_a_request_without_a_method_does_not_reach_s3(nginx, origin, line, auth):
    n = nginx(f"""error_page 400 /errors/400.html;
        location /errors/ {{ s3_private_bucket example-bucket; {auth} }}""")
    with socket.create_connection(("127.0.0.1", n.port)) as s, s.makefile("rb") as f:
        s.sendall(line + b"\r\nHost: a\r\n\r\n")
        assert read_response(f, "HEAD").status == 400
    assert all(r.method in ("GET", "HEAD") for r in origin.requests)
    # What has a method gets the page.
    with socket.create_connection(("127.0.0.1", n.port)) as s, s.makefile("rb") as f:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert read_response(f).body == b"0123456789"
    assert origin.last().line == "GET /example-bucket/400.html HTTP/1.1"


def test_a_bucket_in_an_if_keeps_what_cannot_stand_there(tmp_path, ca):
    origin = Recorder(tls=make_cert(ca.parent, "if", ["DNS:s3.internal"]))
    n = Nginx(tmp_path / "n", f"""location /m/ {{
            s3_private_bucket example-bucket;
            proxy_ssl_trusted_certificate {ca}; proxy_ssl_name s3.internal; proxy_set_header X-Site 7;
            if ($arg_old) {{ s3_private_bucket old-bucket; }}
        }}""", f"""s3_private_bucket_endpoint {origin.url}; s3_private_bucket_auth none;""")  # fmt: skip
    with n:
        for target, wire in (("/m/a", "/example-bucket/a"), ("/m/a?old=1", "/old-bucket/a")):
            assert n.get(target).status == 200, n.error_log()
            assert (origin.last().target, origin.last().get("X-Site")) == (wire, "7")
            assert origin.names[-1] == "s3.internal"
    origin.close()


# --- clients that leave --------------------------------------------------------------------

SIZE = 60 << 20


class Fountain:
    """An origin with an object of 60 MB, that counts what nginx takes of it."""

    def __init__(self):
        self.port, self.sent, self.ended = free_port(), 0, False
        self.url = f"http://127.0.0.1:{self.port}"
        self.socket = socket.create_server(("127.0.0.1", self.port))
        # Small buffers of the system: what is sent was taken.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        s, _ = self.socket.accept()
        try:
            s.recv(65536)
            s.sendall(f"HTTP/1.1 200 OK\r\nETag: \"t\"\r\nContent-Length: {SIZE}\r\n\r\n".encode())
            while self.sent < SIZE:
                self.sent += s.send(b"x" * 65536)
        except OSError:
            pass
        finally:
            s.close()
            self.ended = True


@pytest.mark.parametrize(
    "setting, around, buffered",
    [
        ("", "", False),
        ("proxy_max_temp_file_size 8m;", "", True),
        ("", "proxy_max_temp_file_size 8m;", True),
        ("proxy_cache z;", "", True),
        ("proxy_store on;", "", True),
    ],
)
def test_a_client_that_leaves_costs_what_the_buffers_hold(tmp_path, setting, around, buffered):
    fountain = Fountain()
    n = Nginx(tmp_path / "n", f"location /m/ {{ s3_private_bucket example-bucket; {setting} }}",
              f"""s3_private_bucket_endpoint {fountain.url}; s3_private_bucket_auth none; {around}
              proxy_cache_path {tmp_path}/cache keys_zone=z:1m;""")  # fmt: skip
    with n, socket.create_connection(("127.0.0.1", n.port)) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.sendall(b"GET /m/a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert len(s.recv(65536, socket.MSG_WAITALL)) == 65536
        warned = "buffered to a temporary file"
        if buffered:
            taken = lambda: warned in n.error_log() or fountain.sent >= SIZE  # noqa: E731
            wait_until(taken, "a temporary file")
            return

        def stalls():
            before = fountain.sent
            time.sleep(0.3)
            return fountain.sent == before

        wait_until(stalls, "nginx to stop reading")
        assert warned not in n.error_log() and fountain.sent < SIZE // 2
    wait_until(lambda: fountain.ended, "nginx to leave the origin")
    assert fountain.sent < SIZE // 2
