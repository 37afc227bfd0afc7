"""Folders as pages in front of a server that errs, and what stays in the cache then."""

import pytest
from harness import wait_until
from test_autoindex import CACHE, STALE, listing, serve

LOCATION = ("s3_private_bucket_autoindex html valid=1s; s3_private_bucket_index index.html; "
            f"proxy_cache_valid 200 1s; {STALE}")  # fmt: skip


def error(status, code):
    return status, [], f"<Error><Code>{code}</Code></Error>".encode() if code else b""


CODES = [(403, code) for code in ("SignatureDoesNotMatch", "InvalidAccessKeyId", "RequestTimeTooSkewed", "ExpiredToken")]
CODES += [(404, "NoSuchBucket"), (500, "InternalError"), (503, "SlowDown")]


# What is passed as it is has no code for us.
@pytest.mark.parametrize(
    "answer, masks",
    [(error(*code), masks) for code in CODES for masks in ("mask", "pass") if (code[0], masks) != (404, "pass")]
    + [((200, [], b"<ListBucketResult/>x"), "mask")],
)
def test_what_is_stored_outlives_trouble(tmp_path, origin, answer, masks):
    """Wrong keys, a wrong clock, a bucket that is not found: an index page and a listing are not gone."""
    path = tmp_path / "n"
    folders = {name: listing(("x", 1), prefix=name) for name in ("a/", "b/")}
    location = f"{LOCATION} s3_private_bucket_errors {masks};"
    with serve(path, origin, folders, {"b/index.html": b"index"}, location=location, http=CACHE.format(path)) as n:
        for _ in range(2):
            assert b"Index of /files/a/" in n.get("/files/a/").body
            assert n.get("/files/b/").body == b"index"
        lists = origin.answer
        asked = {"/files/a/": "prefix=a%2F", "/files/b/": "b/index.html"}
        if answer[0] == 200:
            # An object, whatever is in it.
            del asked["/files/b/"]
        origin.answer = lambda r: answer if any(what in r.target for what in asked.values()) else lists(r)

        def is_asked_again(target, what):
            r = n.get(target)
            assert (r.status, b"index" in r.body or b">x<" in r.body) == (200, True), r
            return sum(what in request.target for request in origin.requests) >= 4

        for target, what in asked.items():
            wait_until(lambda: is_asked_again(target, what), "attempts to renew what is stored")  # noqa: B023
        assert sum(file.is_file() for file in (path / "cache").rglob("*")) >= len(folders)
