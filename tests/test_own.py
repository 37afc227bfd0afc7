"""Query arguments and headers of the operator's own: what of them goes to S3, and what it shares."""

import pytest
from harness import Authorization, starter, wait_until
from test_autoindex import Lists

ID, SECRET = "AKIDEXAMPLE", "wJalr/XUtn+FEMI"


@pytest.fixture
def serve(tmp_path, origin):
    """Starts nginx, whose signed locations ask the recording origin."""
    yield from starter(tmp_path, f"""s3_private_bucket_endpoint {origin.url};
        s3_private_bucket_auth sigv4 access_key_id={ID} secret_access_key=data:{SECRET};
        s3_private_bucket_region eu-central-1;
        proxy_cache_path {tmp_path}/cache keys_zone=z:1m;""")


def proven(recorded):
    return Authorization(recorded, SECRET, ID)


# --- s3_private_bucket_set_arg -------------------------------------------------------------


def test_arguments_are_encoded_sorted_and_signed(serve, origin):
    n = serve("""location /m/ {
        s3_private_bucket abc;
        s3_private_bucket_pass_args versionId a;
        s3_private_bucket_set_arg versionId $arg_v;
        s3_private_bucket_set_arg response-content-disposition 'attachment; filename="$arg_n.txt"';
    }""")
    name = "response-content-disposition=attachment%3B%20filename%3D%22"
    for query, sent in (
        ("n=x&v=2&a=+&versionId=3&b=4", f"a=%20&{name}x.txt%22&versionId=2"),
        # An empty one is not sent, the client's of that name neither.
        ("n=%25+/&versionId=3", f"{name}%2525%2B%2F.txt%22"),
        ("n=\xfc".encode().decode("latin1"), f"{name}%C3%BC.txt%22"),
    ):
        for method in ("GET", "HEAD"):
            assert n.get(f"/m/k?{query}", method=method).status == 200
            assert (origin.last().method, origin.last().target) == (method, f"/abc/k?{sent}")
            proven(origin.last())


def test_arguments_are_inherited_as_a_list(serve, origin):
    n = serve(
        """location /m/ { s3_private_bucket abc; }
        location /own/ { s3_private_bucket abc; s3_private_bucket_set_arg c 3; }
        location /if/ { s3_private_bucket abc; if ($arg_x) { s3_private_bucket abd; } }""",
        http="s3_private_bucket_set_arg a 1; s3_private_bucket_set_arg b $request_method;",
    )
    for target, sent in (
        ("/m/k", "/abc/k?a=1&b=GET"), ("/own/k", "/abc/k?c=3"), ("/if/k?x=1", "/abd/k?a=1&b=GET"),
    ):  # fmt: skip
        n.get(target)
        assert origin.last().target == sent


def test_captures_are_those_of_the_location(serve, origin):
    n = serve(
        """location ~ ^/v/([0-9]+)/(.*)$ {
            s3_private_bucket abc; s3_private_bucket_key $2;
            s3_private_bucket_set_arg versionId $1; s3_private_bucket_set_arg x $mapped;
        }""",
        http="map $uri $mapped { ~^/v/./(.)(.) $2; }",
    )
    n.get("/v/7/key")
    assert origin.last().target == "/abc/key?versionId=7&x=e"


def test_each_value_is_an_object_of_its_own_in_the_cache(serve, origin):
    origin.answer = lambda r: (200, [], r.target.encode())
    n = serve("""location /m/ {
        s3_private_bucket abc; s3_private_bucket_set_arg versionId $arg_v;
        proxy_cache z; proxy_cache_valid 200 1h; add_header X-Cache $upstream_cache_status;
    }""")
    for version, status in (("1", "MISS"), ("2", "MISS"), ("1", "HIT"), ("2", "HIT")):
        r = n.get(f"/m/k?v={version}")
        assert (r.body.decode(), r.get("X-Cache")) == (f"/abc/k?versionId={version}", status)


def test_arguments_are_part_of_a_presigned_url_and_of_no_listing(serve, origin):
    n = serve("""s3_private_bucket_set_arg response-content-type text/plain;
        s3_private_bucket_set_arg A 1;
        location /u/ { s3_private_bucket abc; return 302 $s3_private_bucket_presigned_url; }
        location /f/ { s3_private_bucket example-bucket; s3_private_bucket_autoindex html; }""")
    url = n.get("/u/k").get("Location")
    assert url.startswith(f"{origin.url}/abc/k?A=1&X-Amz-Algorithm=")
    assert "&X-Amz-SignedHeaders=host&response-content-type=text%2Fplain&X-Amz-Signature=" in url
    origin.answer = Lists({"": b""})
    n.get("/f/")
    assert "list-type=2" in origin.last().target and "response" not in origin.last().target
    proven(origin.last())


# --- s3_private_bucket_set_header ----------------------------------------------------------

KEY = "c2VjcmV0LWtleS1vZi1zc2UtYy0zMi1ieXRlcy1sb25n"


def test_headers_are_sent_as_they_are_signed(serve, origin):
    n = serve("""location /m/ {
        s3_private_bucket abc;
        s3_private_bucket_set_header X-Amz-Request-Payer requester;
        s3_private_bucket_set_header x-amz-checksum-mode '  $arg_a   b ';
        s3_private_bucket_set_header A $http_x;
        s3_private_bucket_set_header x-amz-empty $arg_none;
    }""")
    for method in ("GET", "HEAD"):
        for headers, value in (({}, None), ({"X": "a  ="}, "a =")):
            assert n.get("/m/k?a=1", method=method, headers=headers).status == 200
            r = origin.last()
            assert r.get("X-Amz-Request-Payer") == "requester"
            assert r.get("X-Amz-Checksum-Mode") == "1 b"
            assert (r.get("A"), r.get("X-Amz-Empty")) == (value, None)
            Authorization(r, SECRET, ID, own=("a",) if value else ())


@pytest.mark.parametrize("byte", ["%0d%0aX:1", "%0a", "%00", "%09x", "%7f"])
@pytest.mark.parametrize("auth", ["", "s3_private_bucket_auth none;"])
def test_a_control_byte_is_refused(serve, origin, byte, auth):
    n = serve(f"""location ~ "(?s)^/m/(.)(.*)$" {{
        s3_private_bucket abc; s3_private_bucket_key k; {auth}
        s3_private_bucket_set_header x-amz-checksum-mode $1$2;
    }}""")
    assert n.get(f"/m/a{byte}b").status == 400
    assert not origin.requests
    assert n.get("/m/ENABLED").status == 200
    assert origin.last().get("x-amz-checksum-mode") == "ENABLED"


def test_headers_are_inherited_as_a_list_and_sent_without_a_signature_too(serve, origin):
    n = serve(
        """location /m/ { s3_private_bucket abc; }
        location /own/ { s3_private_bucket abc; s3_private_bucket_set_header x-amz-c 3; }
        location /none/ { s3_private_bucket abc; s3_private_bucket_auth none; }
        location /app/ { proxy_pass %s/; }""" % origin.url,
        http="s3_private_bucket_set_header x-amz-a 1; s3_private_bucket_set_header x-amz-b $uri;",
    )
    for target, sent in (
        ("/m/k", ("1", "/m/k", None)), ("/own/k", (None, None, "3")), ("/none/k", ("1", "/none/k", None)),
        ("/app/k", (None, None, None)),
    ):  # fmt: skip
        n.get(target)
        r = origin.last()
        assert tuple(r.get(f"x-amz-{name}") for name in "abc") == sent, target
        if r.get("Authorization"):
            proven(r)


def test_slices_updates_and_listings(serve, origin):
    n = serve(
        """s3_private_bucket_set_header x-amz-request-payer requester;
        s3_private_bucket_set_header x-amz-a $arg_a;
        location /s/ {
            s3_private_bucket abc; slice 4; proxy_cache z; proxy_cache_valid 200 206 1h;
        }
        location /u/ {
            s3_private_bucket abc; proxy_cache z; proxy_cache_valid 200 1s;
            proxy_cache_use_stale updating; proxy_cache_background_update on;
            add_header X-Cache $upstream_cache_status;
        }
        location /f/ { s3_private_bucket example-bucket; s3_private_bucket_autoindex html; }""",
    )

    def sent(first):
        for r in origin.requests[first:]:
            assert (r.get("x-amz-request-payer"), r.get("x-amz-a")) == ("requester", "1")
            proven(r)
        return len(origin.requests) - first

    assert n.get("/s/k?a=1").body == b"0123456789"
    assert sent(0) == 3
    n.get("/u/k?a=1")
    wait_until(lambda: n.get("/u/k?a=1").get("X-Cache") == "STALE", "the object to expire")
    origin.wait(5)
    assert sent(3) >= 2
    first = len(origin.requests)
    origin.answer = Lists({"": b""})
    n.get("/f/?a=1")
    assert "list-type=2" in origin.last().target and sent(first) == 1


def test_who_asks_with_other_headers_shares_no_cache_and_no_secret(serve, origin, tmp_path):
    origin.answer = lambda r: (200, [], (r.get("x-amz-a") or "none").encode())
    cached = "s3_private_bucket abc; proxy_cache z; proxy_cache_valid 200 1h;"
    n = serve(f"""
        location /1/ {{ {cached} s3_private_bucket_set_header x-amz-a 1; }}
        location /2/ {{ {cached} s3_private_bucket_set_header x-amz-a 2; }}
        location /3/ {{ {cached} s3_private_bucket_set_header x-amz-a $arg_a; }}
        location /4/ {{
            {cached} s3_private_bucket_set_header x-amz-server-side-encryption-customer-key {KEY};
            s3_private_bucket_set_header x-amz-a $http_a;
        }}
        location /5/ {{ {cached} }}""")
    for target, headers, body in (
        ("/1/k", {}, b"1"), ("/2/k", {}, b"2"), ("/3/k?a=3", {}, b"3"), ("/3/k?a=4", {}, b"4"), ("/3/k", {}, b"none"),
        ("/4/k", {"A": KEY}, KEY.encode()), ("/4/k", {"A": "x"}, b"x"), ("/5/k", {}, b"none"),
    ):  # fmt: skip
        for _ in range(2):
            assert n.get(target, headers=headers).body == body, target
    assert len(origin.requests) == 8
    files = [f.read_bytes() for f in (tmp_path / "cache").rglob("*") if f.is_file()]
    heads = [f.partition(b"\nHTTP/1.1 ")[0] for f in files]
    assert len(heads) == 8 and all(b"\nKEY: " in head and KEY.encode() not in head for head in heads)
    assert KEY not in n.error_log()


def test_presigned_urls_say_who_pays(serve, origin):
    url = "s3_private_bucket abc; return 302 $s3_private_bucket_presigned_url;"
    customer = "x-amz-server-side-encryption-customer-key"
    n = serve(f"""
        location /p/ {{
            s3_private_bucket_set_header x-amz-request-payer $arg_payer;
            s3_private_bucket_set_header x-amz-checksum-mode ENABLED; {url}
        }}
        location /c/ {{ s3_private_bucket_set_header {customer} $arg_key; {url} }}""")
    url = n.get("/p/k?payer=requester").get("Location")
    assert "&X-Amz-Expires=300&X-Amz-Request-Payer=requester&X-Amz-SignedHeaders=host&" in url
    assert "hecksum" not in url
    assert "Payer" not in n.get("/p/k").get("Location")
    assert n.get("/c/k").status == 302
    assert n.get(f"/c/k?key={KEY}").status == 500
    says = f'$s3_private_bucket_presigned_url cannot have the header "{customer}" that its location sets'
    assert says in n.error_log()


def test_the_variables_of_headers_cannot_be_read(serve, origin):
    # What looks for a name at run time finds none.
    n = serve(f"""location /m/ {{ s3_private_bucket abc; s3_private_bucket_set_header x-amz-a {KEY}; ssi on; }}""")
    names = ("header_0", "headers")
    page = "".join(f'[<!--# echo var="s3_private_bucket_{name}" default="-" -->]' for name in names)
    origin.answer = lambda r: (200, [("Content-Type", "text/html")], page.encode())
    assert n.get("/m/k").body == b"[-][-]"
