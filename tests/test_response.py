"""What clients see of S3's answers."""

import pytest

S3_HEADERS = [
    ("x-amz-request-id", "REQUEST"), ("x-amz-id-2", "ID2"), ("x-amz-meta-author", "ann"),
    ("X-Amz-Version-Id", "v1"), ("x-amz-bucket-region", "eu-west-1"), ("x-rgw-object-type", "Normal"),
    ("X-Minio-Deployment-Id", "d"), ("Server", "AmazonS3"),
]  # fmt: skip
KEPT = [
    ("ETag", '"tag"'), ("Last-Modified", "Mon, 02 Nov 2026 10:00:00 GMT"), ("Accept-Ranges", "bytes"),
    ("Content-Type", "text/x"), ("Content-Encoding", "br"), ("Content-Language", "de"),
    ("Content-Disposition", "inline"), ("Cache-Control", "max-age=60"), ("Expires", "0"),
]  # fmt: skip


@pytest.fixture
def server(nginx, origin, tmp_path):
    origin.answer = lambda r: (200, KEPT + S3_HEADERS, b"0123456789")

    def start(location):
        return nginx(
            f"location /m/ {{ s3_private_bucket example-bucket; {location} }}",
            f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;",
        )

    return start


def names(response, prefixes=("x-amz", "x-rgw", "x-minio")):
    return sorted(k.lower() for k, _ in response.headers if k.lower().startswith(prefixes))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_header_tells_of_s3(server, method):
    n = server("add_header X-Amz-Own yes;")
    r = n.get("/m/a", method=method)
    assert r.status == 200
    assert {(k, v) for k, v in KEPT} <= set(r.headers)
    assert names(r) == ["x-amz-own"], "what nginx itself adds stays"
    assert "AmazonS3" not in str(r)


def test_headers_that_are_named_pass(server):
    n = server("s3_private_bucket_pass_headers X-Amz-Meta-* x-amz-version-id;")
    r = n.get("/m/a")
    assert names(r) == ["x-amz-meta-author", "x-amz-version-id"]
    assert r.get("x-amz-meta-author") == "ann"


def test_the_same_from_the_cache(server, origin):
    n = server("""proxy_cache z; proxy_cache_valid 200 1h; proxy_ignore_headers Expires Cache-Control;
        add_header X-Cache $upstream_cache_status;""")
    for status in ("MISS", "HIT"):
        r = n.get("/m/a")
        assert (r.get("X-Cache"), names(r)) == (status, [])
    assert len(origin.requests) == 1


def test_ranges_of_the_cache_and_other_locations(nginx, origin, tmp_path):
    origin.answer = lambda r: (200, KEPT + S3_HEADERS, b"0123456789")
    n = nginx(
        f"""location /m/ {{
            s3_private_bucket example-bucket; proxy_cache z; proxy_cache_valid 200 1h;
            proxy_ignore_headers Expires Cache-Control;
        }}
        location /other/ {{ proxy_pass {origin.url}; }}""",
        f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;",
    )
    for _ in range(2):
        r = n.get("/m/a", headers={"Range": "bytes=2-4"})
        assert (r.status, r.body, names(r)) == (206, b"234", [])
    assert len(names(n.get("/other/a"))) == 7


@pytest.mark.parametrize(
    "target, key",
    [
        ("/m/", "p/index.html"),
        ("/m/docs/", "p/docs/index.html"),
        ("/m/docs//", "p/docs//index.html"),
        ("/m/docs", "p/docs"),
        ("/m/a.html", "p/a.html"),
        ("/k/x", "p/x/index.html"),
        ("/", "p/index.html"),
        ("/e/", None),
    ],
)
def test_index_documents(nginx, origin, target, key):
    n = nginx("""
        merge_slashes off;
        s3_private_bucket_index index.html;
        location /m/ { s3_private_bucket abc prefix=p/; }
        location /k/ { s3_private_bucket abc prefix=p/; s3_private_bucket_key x/; }
        location = / { s3_private_bucket abc prefix=p/; }
        location /e/ { s3_private_bucket abc; s3_private_bucket_key $arg_none; }""")
    assert n.get(target).status == 200
    assert [r.target for r in origin.requests] == [f"/abc/{key or 'index.html'}"]
