"""What a reader of the whole source found, and fits nowhere else."""

import pytest
from harness import MODIFIED, tiny_s3
from test_autoindex import Lists, listing, serve

CONDITIONS = [("If-None-Match", '"tag"'), ("If-Modified-Since", MODIFIED), ("Range", "bytes=0-3"), ("If-Match", '"other"'),
              ("If-Range", '"tag"'), ("If-Unmodified-Since", "Mon, 02 Nov 2015 10:00:00 GMT")]  # fmt: skip


def found(*names):
    """Answers as S3 does for these objects, which have what is asked for in conditions."""
    missing = Lists()

    def answer(r):
        is_there = any(r.target.endswith(name) for name in names)
        return (tiny_s3 if is_there else missing)(r)

    return answer


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("block", ["", "if ($request_method = GET) { add_header X-If 1; }"])
def test_the_page_of_an_error_is_a_whole_one(nginx, origin, condition, block):
    """A route of a single-page application, which a browser looks at again, is not empty."""
    origin.answer = found("/page.html")
    n = nginx(f"""location / {{ s3_private_bucket example-bucket; error_page 404 /page.html; {block} }}
        location /app/ {{ s3_private_bucket example-bucket; error_page 404 =200 /app/page.html; proxy_pass_request_headers on; }}
        location /own/ {{ s3_private_bucket example-bucket; error_page 404 = /page.html; }}""")
    for target, status in (("/none", 404), ("/app/route", 200)):
        r = n.get(target, headers=[condition])
        assert (r.status, r.body, r.get("Content-Range")) == (status, b"0123456789", None)
        # What is missing was asked for as the client does.
        assert origin.requests[-2].get(condition[0]) == condition[1]
        assert origin.last().get(condition[0]) is None
    # The page's own status counts: it is the client's answer.
    n.get("/own/route", headers=[condition])
    assert origin.last().get(condition[0]) == condition[1]


@pytest.mark.parametrize("cache", ["", "proxy_cache z; proxy_cache_valid any 1h;"])
@pytest.mark.parametrize("wanted", [None, "bytes=5-", "bytes=99-"])
def test_the_page_of_an_error_has_no_slices(nginx, origin, tmp_path, cache, wanted):
    """nginx would send the first, or that which the client wants of what is missing, and no other."""
    origin.answer = found("/page.html")
    n = nginx(f"""location / {{ s3_private_bucket example-bucket; slice 4; {cache} error_page 404 /page.html; }}
        location /app/ {{ s3_private_bucket example-bucket; slice 4; {cache} error_page 404 =200 /app/page.html; }}
        location /own/ {{ s3_private_bucket example-bucket; slice 4; {cache} error_page 404 = /page.html; }}""",
        f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;")  # fmt: skip
    headers = [("Range", wanted)] if wanted else []
    targets = [("/none", 404), ("/app/route", 200)]
    if cache and wanted:
        # nginx answers ranges of a 200 that it stores.
        targets.pop()
    for _ in range(2):
        for target, status in targets:
            r = n.get(target, headers=headers)
            assert (r.status, r.body, r.get("Content-Range")) == (status, b"0123456789", None)
        # As an object it is in slices, whatever was stored of it.
        assert n.get("/page.html").body == n.get("/own/route").body == b"0123456789"
    assert "[error]" not in n.error_log()


@pytest.mark.parametrize("condition", CONDITIONS[:3])
def test_what_a_page_includes_is_whole(nginx, origin, tmp_path, condition):
    (tmp_path / "page.shtml").write_text('[<!--# include virtual="/m/part" -->]')
    n = nginx(f"""location / {{ root {tmp_path}; ssi on; ssi_types *; auth_request /m/rule; }}
        location /m/ {{ s3_private_bucket example-bucket; }}""")
    r = n.get("/page.shtml", headers=[condition])
    assert (r.status, r.body) == (200, b"[0123456789]")
    assert {r.target for r in origin.requests} == {"/example-bucket/part", "/example-bucket/rule"}
    assert all(r.get(condition[0]) is None for r in origin.requests)


def test_nothing_of_a_missing_index_page_goes_with_its_folder(tmp_path, origin):
    """Not with the page of an error either, where the folder is missing too."""
    own = "location = /own { internal; return 404 own; }"
    location = f"s3_private_bucket_index index.html; s3_private_bucket_autoindex html; error_page 404 /own; }} {own} location /x {{"
    with serve(tmp_path / "n", origin, {"": listing(("a", 1))}, location=location) as n:
        lists, steering = origin.answer, [("Set-Cookie", "LB=1"), ("Content-Disposition", "attachment"), ("Expires", MODIFIED)]

        def answer(r):
            status, headers, body = lists(r)
            return status, headers + steering if status == 404 else headers, body

        origin.answer = answer
        for target, status in (("/files/", 200), ("/files/none/", 404)):
            r = n.get(target)
            assert (r.status, r.body == b"own") == (status, status == 404)
            assert not {"Set-Cookie", "Content-Disposition", "Expires"} & {name for name, _ in r.headers}
