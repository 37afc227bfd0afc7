"""What goes on the wire to S3, byte for byte."""

import subprocess

import pytest
from harness import (
    MODIFIED, Nginx, Recorder, free_port, make_cert, request, tiny_s3, wait_until,
)  # fmt: skip

AGENT = ("User-Agent", "open-sesame")


def host(origin):
    return ("Host", f"127.0.0.1:{origin.port}")


def only(origin, *more):
    """The headers of a request to S3, all of them."""
    return sorted([host(origin), AGENT, *more])


HOSTILE = {
    "User-Agent": "browser",
    "Authorization": "Basic Zm9vOmJhcg==",
    "Cookie": "session=1",
    "X-Amz-Date": "20261124T000000Z",
    "x-amz-security-token": "t",
    "X-Forwarded-For": "192.0.2.1",
    "X-Forwarded-Host": "example.com",
    "Referer": "https://example.com/",
    "Accept": "*/*",
    "Accept-Encoding": "gzip",
    "Expect": "200-ok",
    "TE": "trailers",
    "X-Other": "1",
}


def test_plain_key_and_no_header_more(nginx, origin):
    n = nginx("location /m/ { s3_private_bucket example-bucket; }")
    r = n.get("/m/dir/a.txt", headers=HOSTILE)
    assert (r.status, r.body) == (200, b"0123456789")
    assert origin.last().line == "GET /example-bucket/dir/a.txt HTTP/1.1"
    assert origin.last().headers == only(origin)


def test_a_body_of_the_client_stays_here(nginx, origin):
    n = nginx("location /m/ { s3_private_bucket example-bucket; }")
    assert n.get("/m/a", body=b"x" * 1000).status == 200
    chunked = {"Transfer-Encoding": "chunked"}
    assert n.get("/m/b", headers=chunked, body=b"3\r\nabc\r\n0\r\n\r\n").status == 200
    assert [r.headers for r in origin.requests] == [only(origin)] * 2


def test_every_byte_of_a_key(nginx, origin):
    n = nginx("location /m/ { s3_private_bucket example-bucket; }")
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~"
    for b in range(1, 256):
        r = n.get(b"/m/x%%%02xy" % b)
        if b > 127 or b == ord("\\"):
            # See test_hostile.py.
            assert r.status == 400, b
            continue
        assert r.status == 200, b
        expected = chr(b) if b in plain or b in b"./" else f"%{b:02X}"
        assert origin.last().target == f"/example-bucket/x{expected}y", b
    assert n.get("/m/a%00b").status == 400


@pytest.mark.parametrize(
    "target, key",
    [
        ("/m/a+b", "a%2Bb"),
        ("/m/a%2Bb", "a%2Bb"),
        ("/m/a%20b", "a%20b"),
        ("/m/a%252Fb", "a%252Fb"),
        ("/m/sp'ec&i@l=,;:!$()*", "sp%27ec%26i%40l%3D%2C%3B%3A%21%24%28%29%2A"),
        ("/m/%C3%BC.txt", "%C3%BC.txt"),
        ("/m/q%3Fx%23y", "q%3Fx%23y"),
        ("/m/a?acl", "a"),
        ("/m/a?policy", "a"),
        ("/m/a?list-type=2&prefix=x", "a"),
        ("/m/a?uploads", "a"),
        ("/m/a?versionId=2", "a"),
        ("/m/x/../y/./z", "y/z"),
        ("/m/dir/", "dir/"),
    ],
)
def test_encoding_and_queries(nginx, origin, target, key):
    n = nginx("location /m/ { s3_private_bucket example-bucket; }")
    assert n.get(target).status == 200
    assert origin.last().target == f"/example-bucket/{key}"


def test_runs_of_slashes_are_a_part_of_a_key(nginx, origin):
    n = nginx("merge_slashes off; location /m/ { s3_private_bucket example-bucket; }")
    n.get("/m/a//b///c")
    assert origin.last().target == "/example-bucket/a//b///c"
    n.get("/m//a")
    assert origin.last().target == "/example-bucket//a"


def test_keys_of_1024_bytes_and_one_more(nginx, origin):
    n = nginx("location /m/ { s3_private_bucket example-bucket prefix=p/; }")
    assert n.get("/m/" + "k" * 1022).status == 200
    assert origin.last().target == "/example-bucket/p/" + "k" * 1022
    assert n.get("/m/" + "k" * 1023).status == 404
    assert len(origin.requests) == 1


def test_pass_args(nginx, origin):
    n = nginx("""location /m/ {
        s3_private_bucket example-bucket;
        s3_private_bucket_pass_args versionId partNumber;
    }""")
    n.get("/m/a?x=1&versionId=a+b/c&acl&partNumber=1")
    assert origin.last().target == "/example-bucket/a?partNumber=1&versionId=a%20b%2Fc"


LOCATIONS = """
    location /p/ { s3_private_bucket example-bucket prefix=dir/; }
    location /q/ { s3_private_bucket example-bucket prefix=dir; }
    location /noslash { s3_private_bucket example-bucket; }
    location = /exact.txt { s3_private_bucket example-bucket prefix=e/; }
    location ~ ^/img/([a-z]+)/(.*)$ { s3_private_bucket example-bucket; s3_private_bucket_key $2/$1.png; }
    location ~ ^/re/ { s3_private_bucket example-bucket; }
    location /uri/ { s3_private_bucket example-bucket; s3_private_bucket_key $uri; }
    location @named { s3_private_bucket example-bucket prefix=n/; }
    location /try/ { try_files /none @named; }
    location /err/ { error_page 404 = @named; return 404; }
    location /last/ { rewrite ^/last/(.*)$ /p/$1 last; }
    location /break/ { rewrite ^/break/(.*)$ /other/$1 break; s3_private_bucket example-bucket; }
    location /outer/ {
        s3_private_bucket example-bucket prefix=o/;
        location /outer/inner/ { s3_private_bucket second-bucket; }
        location /outer/off/ { s3_private_bucket off; return 204; }
        location /outer/none/ { return 202; }
    }
    location /if/ {
        s3_private_bucket example-bucket;
        if ($arg_set) { set $x 1; }
        if ($arg_other) { s3_private_bucket other-bucket prefix=if/; }
        if ($arg_off) { s3_private_bucket off; }
        if ($arg_return) { return 202; }
    }
    location /limit/ { s3_private_bucket example-bucket; limit_except GET { allow all; } }
    location /vars/ { s3_private_bucket $arg_bucket prefix=$arg_prefix/; }
    location /auth/ { auth_request /check; s3_private_bucket example-bucket; }
    location /deny/ { auth_request /check-no; s3_private_bucket example-bucket; }
    location = /check { internal; return 204; }
    location = /check-no { internal; return 403; }
    location /mirror/ { mirror /copy; s3_private_bucket example-bucket; }
    location /copy { internal; s3_private_bucket mirror-bucket; s3_private_bucket_key $request_uri; }
    location /satisfy/ { satisfy any; deny all; auth_request /check; s3_private_bucket example-bucket; }
    location /satisfy-no/ { satisfy any; deny all; s3_private_bucket example-bucket; }
"""


@pytest.mark.parametrize(
    "target, expected",
    [
        ("/p/a", "/example-bucket/dir/a"),
        ("/q/a", "/example-bucket/dira"),
        ("/noslash/a", "/example-bucket/a"),
        ("/exact.txt", "/example-bucket/e/exact.txt"),
        ("/img/big/a%20b", "/example-bucket/a%20b/big.png"),
        ("/re/a", "/example-bucket/re/a"),
        ("/uri/a", "/example-bucket/uri/a"),
        ("/try/a", "/example-bucket/n/try/a"),
        ("/err/a", "/example-bucket/n/err/a"),
        ("/last/a", "/example-bucket/dir/a"),
        ("/break/a", "/example-bucket/other/a"),
        ("/outer/a", "/example-bucket/o/a"),
        ("/outer/inner/a", "/second-bucket/a"),
        ("/if/a", "/example-bucket/a"),
        ("/if/a?set=1", "/example-bucket/a"),
        ("/if/a?other=1", "/other-bucket/if/a"),
        ("/limit/a", "/example-bucket/a"),
        ("/vars/a?bucket=from-variable&prefix=v", "/from-variable/v/a"),
        ("/auth/a", "/example-bucket/a"),
        ("/satisfy/a", "/example-bucket/a"),
    ],
)
def test_locations(nginx, origin, target, expected):
    n = nginx(LOCATIONS)
    assert n.get(target, headers=HOSTILE).status == 200
    assert origin.last().target == expected
    assert origin.last().headers == only(origin)


def test_a_bad_bucket_name_is_one_line_in_the_log(nginx, origin):
    n = nginx('location ~ "(?s)^/(.*)/x$" { s3_private_bucket $1; }')
    assert n.get("/a%0Ab/x").status == 404
    assert 's3_private_bucket: the bucket name "a\\nb" is not valid, client' in n.error_log()


@pytest.mark.parametrize(
    "target, status",
    [
        ("/outer/off/a", 204),
        ("/outer/none/a", 202),
        ("/if/a?off=1", 404),
        ("/if/a?return=1", 202),
        ("/deny/a", 403),
        ("/satisfy-no/a", 403),
        ("/p/", 404),
        ("/noslash", 404),
        # It would be a second URI of an object.
        ("/noslasha", 404),
        ("/noslash-/a", 404),
        ("/vars/a?bucket=Not_A_Bucket", 404),
        ("/vars/a?bucket=evil.example.com%2Fx", 404),
        ("/vars/a", 404),
        ("/vars/a?bucket=good-bucket", 404),
        ("/vars/a?bucket=good-bucket&prefix=", 404),
        ("/vars/a?bucket=good-bucket&prefix=/", 404),
        ("/vars/a?bucket=good-bucket&prefix=..", 400),
        ("/vars/a?bucket=good-bucket&prefix=.", 400),
    ],
)
def test_requests_that_never_reach_s3(nginx, origin, target, status):
    n = nginx(LOCATIONS)
    assert n.get(target).status == status
    assert origin.requests == []


def test_limit_except_keeps_other_methods_from_s3(nginx, origin):
    n = nginx(LOCATIONS)
    assert n.get("/limit/a", method="DELETE").status == 405
    assert n.get("/limit/a", method="HEAD").status == 200
    assert [r.method for r in origin.requests] == ["HEAD"]


def test_mirror(nginx, origin):
    n = nginx(LOCATIONS)
    assert n.get("/mirror/a").status == 200
    targets = {r.target for r in origin.wait(2)}
    assert targets == {"/example-bucket/a", "/mirror-bucket/mirror/a"}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_other_methods(nginx, origin, method):
    n = nginx("location /m/ { s3_private_bucket example-bucket; }")
    r = n.get("/m/a", method=method, body=b"x" if method != "OPTIONS" else b"")
    assert (r.status, r.get("Allow")) == (405, "GET, HEAD")
    assert origin.requests == []


CONDITIONS = [
    ("If-Match", '"x"'),
    ("If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 GMT"),
    ("If-None-Match", '"y"'),
    ("If-Range", '"tag"'),
    ("If-Unmodified-Since", "Mon, 02 Jan 2040 00:00:00 GMT"),
    ("Range", "bytes=2-4"),
]
CACHE = "proxy_cache_path {0} keys_zone=z:1m;"


def test_ranges_and_conditions_pass(nginx, origin):
    n = nginx("location /m/ { s3_private_bucket example-bucket; }")
    r = n.get("/m/a", headers=dict(CONDITIONS))
    assert (r.status, r.body) == (206, b"234")
    assert origin.last().headers == only(origin, *CONDITIONS)
    assert n.get("/m/a", headers={"If-None-Match": '"tag"'}).status == 304


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_methods(nginx, origin, method):
    n = nginx("location /m/ { s3_private_bucket example-bucket; }")
    r = n.get("/m/a", method=method)
    assert r.status == 200 and r.get("Content-Length") == "10"
    assert origin.last().line == f"{method} /example-bucket/a HTTP/1.1"


def cached(nginx, tmp_path, more=""):
    return nginx(
        f"""location /m/ {{
            s3_private_bucket example-bucket;
            proxy_cache z; proxy_cache_valid 200 206 1h; {more}
            add_header X-Cache $upstream_cache_status;
        }}
        location /n/ {{ s3_private_bucket second-bucket; proxy_cache z; proxy_cache_valid 1h; }}
        """,
        CACHE.format(tmp_path / "cache"),
    )


def test_a_cache_stores_whole_objects(nginx, origin, tmp_path):
    n = cached(nginx, tmp_path)
    r = n.get("/m/a", headers=dict(CONDITIONS) | {"If-None-Match": '"tag"', "If-Match": '"tag"'})
    assert origin.last().headers == only(origin)
    r = n.get("/m/a", headers={"Range": "bytes=2-4"})
    assert (r.status, r.body, r.get("X-Cache")) == (206, b"234", "HIT")
    assert len(origin.requests) == 1


def test_head_under_a_cache_asks_for_the_object(nginx, origin, tmp_path):
    n = cached(nginx, tmp_path)
    assert n.get("/m/a", method="HEAD").status == 200
    assert origin.last().line == "GET /example-bucket/a HTTP/1.1"
    r = n.get("/m/a")
    assert (r.body, r.get("X-Cache"), len(origin.requests)) == (b"0123456789", "HIT", 1)


def test_buckets_do_not_share_cache_entries(nginx, origin, tmp_path):
    n = cached(nginx, tmp_path)
    for target in ("/m/a", "/n/a", "/m/a?x=1", "/n/a?acl"):
        assert n.get(target).status == 200
    assert [r.target for r in origin.requests] == ["/example-bucket/a", "/second-bucket/a"]


def test_a_server_wide_cache_key_does_not_mix_buckets(nginx, origin, tmp_path):
    n = nginx(
        """proxy_cache z; proxy_cache_valid 1h; proxy_cache_key $host;
        location /m/ { s3_private_bucket example-bucket; }""",
        CACHE.format(tmp_path / "cache"),
    )
    n.get("/m/a")
    n.get("/m/b")
    assert [r.target for r in origin.requests] == ["/example-bucket/a", "/example-bucket/b"]


def test_cache_revalidation(nginx, origin, tmp_path):
    n = nginx(
        """location /m/ {
            s3_private_bucket example-bucket;
            proxy_cache z; proxy_cache_revalidate on; proxy_cache_valid 1s;
            add_header X-Cache $upstream_cache_status;
        }""",
        CACHE.format(tmp_path / "cache"),
    )
    n.get("/m/a")
    r = wait_until(
        lambda: (r := n.get("/m/a", headers={"If-None-Match": '"mine"'})).get("X-Cache")
        == "REVALIDATED"
        and r,
        "a revalidation",
    )
    assert (r.status, r.body) == (200, b"0123456789")
    expected = [("If-Modified-Since", MODIFIED), ("If-None-Match", '"tag"')]
    assert origin.last().headers == only(origin, *expected)


def test_background_update(nginx, origin, tmp_path):
    n = nginx(
        """location /m/ {
            s3_private_bucket example-bucket prefix=p/;
            proxy_cache z; proxy_cache_valid 1s;
            proxy_cache_use_stale updating; proxy_cache_background_update on;
            add_header X-Cache $upstream_cache_status;
        }""",
        CACHE.format(tmp_path / "cache"),
    )
    n.get("/m/a+b")
    stale = lambda: n.get("/m/a+b", headers={"Range": "bytes=0-1"}).get("X-Cache") == "STALE"
    wait_until(stale, "a stale answer")
    first, second = origin.wait(2)[:2]
    assert first.line == second.line == "GET /example-bucket/p/a%2Bb HTTP/1.1"
    assert second.headers == only(origin)


@pytest.mark.parametrize("block", ["", "if ($request_method = GET) { add_header X-Cache $upstream_cache_status; }"])
def test_slices_are_not_updated_in_the_background(nginx, origin, tmp_path, block):
    """nginx would ask for the whole object, store it under another key, and send the old slices for ever."""
    n = nginx(
        f"""location /m/ {{
            s3_private_bucket example-bucket; slice 16; {block} s3_private_bucket_autoindex json valid=1s;
            proxy_cache z; proxy_cache_valid 200 206 1s;
            proxy_cache_use_stale updating; proxy_cache_background_update on;
            add_header X-Cache $upstream_cache_status;
        }}""",
        CACHE.format(tmp_path / "cache"),
    )
    bodies = [b"old and longer than a slice", b"new, and longer than a slice"]
    for body in bodies:
        origin.answer = lambda r, body=body: tiny_s3(r, body)
        wait_until(lambda body=body: n.get("/m/a").body == body, body)
    assert all(r.get("Range") for r in origin.requests)
    # Folders are.
    origin.answer = lambda r: (200, [], b"<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>")
    wait_until(lambda: n.get("/m/").get("X-Cache") == "STALE", "a folder that is updated")


def test_slices_need_two_lines(nginx, origin, tmp_path):
    body = bytes(range(256)) * 4096 * 3 + b"tail"
    origin.answer = lambda r: tiny_s3(r, body)
    n = nginx(
        """location /m/ {
            s3_private_bucket example-bucket; slice 1m;
            proxy_cache z; proxy_cache_valid 200 206 1h;
        }""",
        CACHE.format(tmp_path / "cache"),
    )
    assert n.get("/m/v").body == body
    mib = 1 << 20
    ranges = [("Range", f"bytes={i * mib}-{(i + 1) * mib - 1}") for i in range(4)]
    assert [r.headers for r in origin.requests] == [only(origin, r) for r in ranges]
    r = n.get("/m/v", headers={"Range": f"bytes={mib}-{2 * mib}"})
    assert (r.status, r.body) == (206, body[mib : 2 * mib + 1])
    assert len(origin.requests) == 4


def test_slices_without_a_cache(nginx, origin):
    body = b"x" * (1 << 20) + b"end"
    origin.answer = lambda r: tiny_s3(r, body)
    n = nginx("location /m/ { s3_private_bucket example-bucket; slice 1m; }")
    r = n.get("/m/v", headers={"If-Match": '"tag"', "Range": "bytes=1048574-1048577"})
    assert (r.status, r.body) == (206, body[1048574:1048578])
    assert origin.requests[0].headers == only(origin, ("Range", "bytes=0-1048575"))


def test_http2_clients(nginx, origin):
    n = nginx("location /m/ { s3_private_bucket example-bucket; }", listen="http2")
    url = f"http://127.0.0.1:{n.port}/m/a+b"
    args = ["curl", "-sS", "--http2-prior-knowledge", "-H", "Cookie: a=b", "-H", "x-amz-acl: x"]
    p = subprocess.run([*args, "-w", " %{http_version}", url], capture_output=True, check=True)
    assert p.stdout == b"0123456789 2"
    assert origin.last().target == "/example-bucket/a%2Bb"
    assert origin.last().headers == only(origin)


def test_keepalive_through_an_upstream(nginx, origin):
    n = nginx(
        "location /m/ { s3_private_bucket example-bucket; }",
        f"""upstream pool {{ server {origin.url.removeprefix("http://")}; keepalive 4; }}
        server {{
            s3_private_bucket_endpoint http://s3.example.com:8080 upstream=pool;
            listen 127.0.0.1:{(port := free_port())};
            location /m/ {{ s3_private_bucket example-bucket; }}
        }}""",
    )
    for i in range(20):
        assert request(port, f"/m/{i}").status == 200
    assert {r.connection for r in origin.requests} == {1}
    assert origin.last().get("Host") == "s3.example.com:8080"


def test_virtual_hosted_style(nginx, origin):
    n = nginx(
        f"""s3_private_bucket_addressing virtual;
        s3_private_bucket_endpoint http://s3.example.com upstream=pool;
        location /m/ {{ s3_private_bucket example-bucket; }}
        location /v/ {{ s3_private_bucket $arg_b; }}
        location /p/ {{ s3_private_bucket example-bucket; s3_private_bucket_addressing path; }}""",
        f'upstream pool {{ server {origin.url.removeprefix("http://")}; }}',
    )
    for target, name, path in [
        ("/m/a", "example-bucket.s3.example.com", "/a"),
        ("/v/a?b=my-bucket", "my-bucket.s3.example.com", "/a"),
        ("/p/a", "s3.example.com", "/example-bucket/a"),
    ]:
        n.get(target)
        assert (origin.last().get("Host"), origin.last().target) == (name, path)


def test_an_upstream_with_the_name_of_the_endpoint(nginx, origin):
    n = nginx(
        """s3_private_bucket_endpoint http://s3.example.com;
        location /m/ { s3_private_bucket example-bucket; }""",
        f'upstream s3.example.com {{ server {origin.url.removeprefix("http://")}; }}',
    )
    assert n.get("/m/a").status == 200
    assert origin.last().get("Host") == "s3.example.com"


def test_nested_locations_have_the_endpoint_of_their_own_region(tmp_path, secret, ca):
    regions = {"us-east-1": "/a/", "eu-central-1": "/a/eu/", "cn-north-1": "/a/eu/cn/"}
    hosts = {
        region: f"s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
        for region in regions
    }
    certificate = make_cert(ca.parent, "aws", [f"DNS:example-bucket.{host}" for host in hosts.values()])
    origin = Recorder(tls=certificate)
    nested = ""
    for region, location in reversed(regions.items()):
        setting = "" if region == "us-east-1" else f"s3_private_bucket_region {region};"
        nested = f"""location {location} {{
            s3_private_bucket example-bucket; {setting} proxy_ssl_trusted_certificate {ca}; {nested}
        }}"""
    groups = "".join(f"upstream {host} {{ server 127.0.0.1:{origin.port}; }}" for host in hosts.values())
    with Nginx(tmp_path / "n", nested, f"s3_private_bucket_auth secret {secret}; {groups}") as n:
        for region, location in regions.items():
            assert n.get(f"{location}k").status == 200
            assert origin.last().get("Host") == origin.names[-1] == f"example-bucket.{hosts[region]}"
    origin.close()


def test_a_bucket_in_an_if_of_another_location(nginx, origin):
    app = Recorder()
    n = nginx(f"""location / {{
            proxy_pass {app.url}; proxy_set_header X-App 1;
            if ($arg_s3) {{ s3_private_bucket example-bucket; }}
        }}""")
    n.get("/a?s3=1", headers=HOSTILE)
    assert origin.last().target == "/example-bucket/a"
    assert origin.last().headers == only(origin)
    n.get("/a", headers=HOSTILE)
    assert app.last().get("User-Agent") == "browser" and len(origin.requests) == 1
    app.close()


def test_settings_around_the_location_do_not_reach_s3(nginx, origin):
    n = nginx("""
        proxy_set_header Host $host; proxy_set_header X-Leak 1; proxy_method DELETE;
        proxy_set_body leak; proxy_http_version 1.0; proxy_pass_request_headers on;
        location /m/ { s3_private_bucket example-bucket; }""")
    n.get("/m/a", headers=HOSTILE)
    assert origin.last().line == "GET /example-bucket/a HTTP/1.1"
    assert origin.last().headers == only(origin)


def test_settings_in_the_location_win(nginx, origin):
    n = nginx("""location /m/ {
            s3_private_bucket example-bucket;
            proxy_set_header user-agent mine; proxy_set_header X-More $request_method;
            proxy_http_version 1.0;
        }""")
    n.get("/m/a")
    assert origin.last().line == "GET /example-bucket/a HTTP/1.0"
    expected = sorted([host(origin), ("X-More", "GET"), ("user-agent", "mine")])
    assert origin.last().headers == expected


def test_a_proxy_pass_in_the_location_is_kept(nginx, origin):
    other = Recorder()
    n = nginx(f"""location /m/ {{
            s3_private_bucket example-bucket;
            proxy_pass {other.url}$s3_private_bucket_uri;
        }}""")
    n.get("/m/a+b", headers=HOSTILE)
    assert other.last().target == "/example-bucket/a%2Bb"
    assert other.last().headers == only(origin)
    assert origin.requests == []
    other.close()


@pytest.mark.parametrize("off", ["", "s3_private_bucket off;"])
def test_nested_locations_get_nothing_of_it(nginx, origin, off, tmp_path):
    """Neither the secret nor a setting that was meant for S3."""
    app = Recorder()
    nested = f"location /m/app/ {{ {off} proxy_pass {app.url}; }}"
    n = nginx(
        f"""location /m/ {{
            s3_private_bucket example-bucket; proxy_cache z; proxy_cache_valid 1h;
            proxy_read_timeout 7s; {nested}
            if ($arg_app) {{ proxy_pass {app.url}; }}
        }}
        location /plain/ {{ proxy_cache z; proxy_pass {app.url}; }}""",
        CACHE.format(tmp_path / "cache"),
    )
    headers = {"Cookie": "a=b", "User-Agent": "browser"}
    n.get("/m/app/x?q=1", headers=headers)
    n.get("/m/other?app=1", headers=headers)
    n.get("/plain/x", headers=headers)
    nested, block, plain = app.requests
    version = plain.line.split()[-1]
    assert nested.line == f"GET /m/app/x?q=1 {version}"
    assert nested.headers == block.headers == plain.headers
    assert ("User-Agent", "browser") in nested.headers
    assert "open-sesame" not in str(app.requests)
    n.get("/m/app/x?q=2", headers=headers)
    assert app.last().target == "/m/app/x?q=2", "its cache key is its own"
    assert origin.requests == []
    app.close()


def test_an_accel_redirect_into_the_bucket(nginx, origin):
    app = Recorder(lambda r: (200, [("X-Accel-Redirect", "/s3/a%20b")], b""))
    n = nginx(f"""
        location / {{ proxy_pass {app.url}; }}
        location /s3/ {{ internal; s3_private_bucket example-bucket; }}""")
    assert n.get("/download").body == b"0123456789"
    assert origin.last().target == "/example-bucket/a%20b"
    assert origin.last().headers == only(origin)
    assert n.get("/s3/a").status == 404
    app.close()


def test_error_page_and_interception(nginx, origin):
    origin.answer = lambda r: (404, [], b"<Error>S3</Error>")
    n = nginx("""
        location /m/ {
            s3_private_bucket example-bucket;
            proxy_intercept_errors on; error_page 404 /sorry;
        }
        location = /sorry { return 404 "sorry $request_uri"; }""")
    r = n.get("/m/gone")
    assert (r.status, r.body) == (404, b"sorry /m/gone")


def test_variables_before_the_content_phase(nginx, origin):
    """Also where working one out runs a regular expression between nginx's two passes."""
    n = nginx(
        """location ~ ^/m/(.*)$ {
            s3_private_bucket example-bucket; s3_private_bucket_key $mapped;
            set $seen "$1|$s3_private_bucket_key|$s3_private_bucket_uri|$1";
            add_header X-Seen $seen;
        }""",
        'map $uri $mapped { "~^/m/(.)" "first-$1-of-it-and-much-longer"; }',
    )
    r = n.get("/m/abc")
    key = "first-a-of-it-and-much-longer"
    assert r.get("X-Seen") == f"abc|{key}|/example-bucket/{key}|abc"
    assert origin.last().target == f"/example-bucket/{key}"


def test_variables_that_are_named_at_run_time(nginx, origin):
    names = ("name", "key", "host", "uri", "error", "authorization", "date", "capture_1", "")
    page = "".join(f'<!--# echo var="s3_private_bucket_{name}" default="-" -->|' for name in names)
    origin.answer = lambda r: (200, [("Content-Type", "text/html")], page.encode())
    n = nginx("""location ~ ^/m/(.*)$ {
            ssi on; s3_private_bucket example-bucket; s3_private_bucket_key $1;
            s3_private_bucket_auth sigv4 access_key_id=a secret_access_key=data:hush;
        }""")  # fmt: skip
    host = f"127.0.0.1:{origin.port}"
    assert n.get("/m/a.html").body.decode() == f"example-bucket|a.html|{host}|/example-bucket/a.html|-|-|-|-|-|"


def test_auth_none_and_another_header(nginx, origin, secret):
    n = nginx(f"""
        location /none/ {{ s3_private_bucket example-bucket; s3_private_bucket_auth none; }}
        location /ref/ {{
            s3_private_bucket example-bucket;
            s3_private_bucket_auth secret {secret} header=Referer;
        }}
        location /data/ {{
            s3_private_bucket example-bucket;
            s3_private_bucket_auth secret 'data:a$uri b' header=X-Secret;
        }}""")
    for target, more in [
        ("/none/a", []),
        ("/ref/a", [("Referer", "open-sesame")]),
        ("/data/a", [("X-Secret", "a$uri b")]),
    ]:
        n.get(target, headers=HOSTILE)
        assert origin.last().headers == sorted([host(origin), *more]), target
