"""Query arguments of the operator's own: what of them goes to S3, and what it shares."""

import pytest
from harness import Authorization, Nginx
from test_autoindex import Lists

ID, SECRET = "AKIDEXAMPLE", "wJalr/XUtn+FEMI"


@pytest.fixture
def serve(tmp_path, origin):
    """Starts nginx, whose signed locations ask the recording origin."""
    started = []

    def start(server, http="", **kw):
        http = f"""s3_private_bucket_endpoint {origin.url};
            s3_private_bucket_auth sigv4 access_key_id={ID} secret_access_key=data:{SECRET};
            s3_private_bucket_region eu-central-1;
            proxy_cache_path {tmp_path}/cache keys_zone=z:1m;
            {http}"""
        started.append(Nginx(tmp_path / f"nginx{len(started)}", server, http, **kw).start())
        return started[-1]

    yield start
    for n in started:
        n.stop()


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
