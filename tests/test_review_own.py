"""A hostile look at what operators add to requests, at names that AWS has elsewhere, and at what Google's answers tell."""

import pytest
from harness import Authorization, Nginx, starter

ID, SECRET = "AKIDEXAMPLE", "wJalr/XUtn+FEMI"
KEYS = f"s3_private_bucket_auth sigv4 access_key_id={ID} secret_access_key=data:{SECRET};"
CUSTOMER = "x-amz-server-side-encryption-customer-"


@pytest.fixture
def serve(tmp_path, origin):
    """Starts nginx, whose signed locations ask the recording origin."""
    yield from starter(tmp_path, f"""s3_private_bucket_endpoint {origin.url}; {KEYS}
        proxy_cache_path {tmp_path}/cache keys_zone=z:1m;""")


@pytest.fixture
def check(tmp_path):
    """What nginx -t says of a server{} and of http{}, but that all is well."""

    def check(server, http=""):
        status, output = Nginx(tmp_path / "check", server, http).check()
        lines = [line for line in output.splitlines() if "[" in line]
        assert (status != 0) == any("[emerg]" in line for line in lines), output
        return lines

    return check


# --- names of headers ----------------------------------------------------------------------


@pytest.mark.parametrize("above", ["", "proxy_headers_hash_bucket_size 32;", "proxy_headers_hash_bucket_size 256;"])
def test_headers_can_have_long_names(serve, origin, above):
    """As those of SSE-C have, for which nginx's table of names is too narrow by itself."""
    long = "x-" + "a" * 180
    n = serve(
        f"""location /c/ {{
            s3_private_bucket abc;
            s3_private_bucket_set_header {CUSTOMER}algorithm AES256;
            s3_private_bucket_set_header {CUSTOMER}key a;
            s3_private_bucket_set_header {CUSTOMER}key-MD5 b;
            if ($arg_if) {{ set $x 1; }}
        }}
        location /l/ {{
            s3_private_bucket abc; s3_private_bucket_set_header {long} $uri; proxy_cache z; proxy_cache_valid 200 1h;
        }}
        location /s/ {{ s3_private_bucket abc; s3_private_bucket_auth secret data:hush header={long}; }}""",
        http=above,
    )
    for headers in ({}, {"If-None-Match": '"x"'}):
        for target in ("/c/k", "/c/k?if=1"):
            assert n.get(target, headers=headers).status == 200
            sent = [origin.last().get(CUSTOMER + name) for name in ("algorithm", "key", "key-MD5")]
            assert sent == ["AES256", "a", "b"]
            Authorization(origin.last(), SECRET, ID)
    assert n.get("/l/k").status == 200 and origin.last().get(long) == "/l/k"
    Authorization(origin.last(), SECRET, ID, own=(long,))
    assert n.get("/s/k").status == 200 and origin.last().get(long) == "hush"
