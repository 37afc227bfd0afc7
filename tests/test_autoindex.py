"""Folders of a bucket as pages: what S3 is asked, and what clients get, byte for byte."""

import gzip
import json
import re
import socket
import threading
import urllib.parse
from pathlib import Path

import pytest
from harness import READER, READER_SECRET, Authorization, Nginx, wait_until

SIGNED = f"s3_private_bucket_auth sigv4 access_key_id={READER} secret_access_key=data:{READER_SECRET};"


def listing(*entries, prefix="", truncated=False):
    """A page as AWS sends it; a text is a folder, a pair a file of so many bytes."""
    body = ""
    for entry in entries:
        if isinstance(entry, str):
            body += f"<CommonPrefixes><Prefix>{prefix}{entry}</Prefix></CommonPrefixes>"
        else:
            name, size = entry
            name = name.replace("&", "&amp;")
            body += (f"<Contents><Key>{prefix}{name}</Key><LastModified>2026-11-02T10:00:00.000Z</LastModified>"
                     f"<ETag>&quot;e&quot;</ETag><Size>{size}</Size></Contents>")  # fmt: skip
    flag = "true" if truncated else "false"
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult><Name>b</Name>'
            f"<IsTruncated>{flag}</IsTruncated>{body}</ListBucketResult>").encode()  # fmt: skip


class Lists:
    """What a Recorder answers: listings of folders by their prefix, and objects."""

    def __init__(self, folders=(), objects=()):
        self.folders, self.objects = dict(folders), dict(objects)

    def __call__(self, r):
        path, _, query = r.target.partition("?")
        args = urllib.parse.parse_qs(query, keep_blank_values=True)
        if "list-type" in args:
            page = self.folders.get(args["prefix"][0], listing())
            if isinstance(page, tuple):
                return page
            return 200, [("Content-Type", "application/xml"), ("x-amz-request-id", "id"), ("Accept-Ranges", "bytes")], page
        key = urllib.parse.unquote(path.removeprefix("/example-bucket/"))
        if key in self.objects:
            return 200, [("Content-Type", "text/plain")], self.objects[key]
        return 404, [("X-Accel-Redirect", "/secret")], b"<Error><Code>NoSuchKey</Code></Error>"


def serve(path, origin, folders=(), objects=(), location="", http="", auth=SIGNED, **kw):
    origin.answer = Lists(folders, objects)
    server = f"location /files/ {{ s3_private_bucket example-bucket; {location} }}"
    http += f"{auth} s3_private_bucket_endpoint {origin.url}; s3_private_bucket_region eu-central-1;"
    return Nginx(path, server, http, **kw)


HTML = "s3_private_bucket_autoindex html;"


def test_a_folder_is_a_page(tmp_path, origin):
    page = listing(("b.txt", 5), "sub/", ("a&b", 1234567), (".hidden", 1))
    with serve(tmp_path / "n", origin, {"": page}, location=HTML) as n:
        r = n.get("/files/")
        assert (r.status, r.get("Content-Type")) == (200, "text/html; charset=utf-8")
        assert int(r.get("Content-Length")) == len(r.body)
        body = r.body.decode()
        assert "<h1>Index of /files/</h1><hr><pre>" in body and "../" not in body
        links = re.findall(r'<a href="([^"]*)">([^<]*)</a>', body)
        assert links == [("sub/", "sub/"), ("a%26b", "a&amp;b"), ("b.txt", "b.txt")]
        assert [k for k, _ in r.headers if k.lower() in ("etag", "last-modified", "accept-ranges", "x-amz-request-id", "link")] == []
        (asked,) = origin.requests
        assert asked.line == "GET /example-bucket/?delimiter=%2F&list-type=2&max-keys=1000&prefix= HTTP/1.1"
        Authorization(asked, READER_SECRET, READER)


def test_head_has_the_length_of_get_and_asks_with_get(tmp_path, origin):
    with serve(tmp_path / "n", origin, {"sub/": listing(("x", 1), prefix="sub/")}, location=HTML) as n:
        get, head = n.get("/files/sub/"), n.get("/files/sub/", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.get("Content-Length") == get.get("Content-Length") == str(len(get.body))
        assert [r.method for r in origin.requests] == ["GET", "GET"]
        assert b'<a href="../">../</a>' in get.body
        for r in origin.requests:
            Authorization(r, READER_SECRET, READER)
        # The connection is in order behind it.
        assert n.get("/files/sub/").body == get.body


def test_json_and_xml(tmp_path, origin):
    page = listing("sub/", ("b.txt", 5))
    location = "s3_private_bucket_autoindex $arg_f page=7;"
    with serve(tmp_path / "n", origin, {"": page}, location=location) as n:
        r = n.get("/files/?f=json")
        assert r.get("Content-Type") == "application/json"
        assert json.loads(r.body) == [
            {"name": "sub", "type": "directory"},
            {"name": "b.txt", "type": "file", "mtime": "Mon, 02 Nov 2026 10:00:00 GMT", "size": 5},
        ]
        r = n.get("/files/?f=xml")
        assert r.get("Content-Type") == "text/xml; charset=utf-8"
        assert b'<file mtime="2026-11-02T10:00:00Z" size="5">b.txt</file>' in r.body
        assert n.get("/files/?f=other").get("Content-Type") == "text/html; charset=utf-8"
        assert "max-keys=7&" in origin.last().target


def test_pages_lead_to_each_other(tmp_path, origin):
    with serve(tmp_path / "n", origin, {"": listing("a/", ("b c", 1), truncated=True)}, location=HTML) as n:
        r = n.get("/files/")
        assert r.get("Link") == '<?after=b%20c>; rel="next"'
        assert b'href="?after=b%20c"' in r.body
        assert n.get("/files/?after=a/&other=x").status == 200
        assert origin.last().target.endswith("prefix=&start-after=a%2F%F4%8F%BF%BF")
        origin.answer.folders[""] = listing(("z", 1))
        assert n.get("/files/?after=b%20c").get("Link") is None
        assert origin.last().target.endswith("prefix=&start-after=b%20c")


@pytest.mark.parametrize("after", ["..", ".", "a/b", "/", "a%00", "%ff", "x" * 1100, "../secret/", ""])
def test_an_after_that_is_none(tmp_path, origin, after):
    with serve(tmp_path / "n", origin, {"": listing()}, location=HTML) as n:
        assert n.get(f"/files/?after={after}").status == 400
        assert origin.requests == []


def test_what_is_not_there(tmp_path, origin):
    folders = {
        "": listing(), "denied/": (403, [], b"<Error><Code>AccessDenied</Code></Error>"),
        "nobucket/": (404, [], b"<Error><Code>NoSuchBucket</Code></Error>"),
        "placeholder/": listing(("", 0), prefix="placeholder/"),
        "slow/": (503, [], b"<Error><Code>SlowDown</Code></Error>"),
        "garbage/": b"<html>", "error/": b"<Error><Code>InternalError</Code></Error>",
    }  # fmt: skip
    with serve(tmp_path / "n", origin, folders, location=HTML + "error_page 404 /404.html; } location = /404.html { return 404 mine;") as n:
        for name, status in [("", 200), ("none/", 404), ("denied/", 404), ("nobucket/", 502), ("placeholder/", 200),
                             ("slow/", 503), ("garbage/", 502), ("error/", 502)]:  # fmt: skip
            r = n.get(f"/files/{name}")
            assert r.status == status, name
            assert (r.body == b"mine") == (status == 404), name
            assert n.get(f"/files/{name}", method="HEAD").status == status
        assert "has to allow s3:ListBucket for this prefix" in n.error_log()
        assert "S3 sent no listing: " in n.error_log()


def test_nothing_but_folders_is_listed(tmp_path, origin):
    with serve(tmp_path / "n", origin, {"": listing()}, {"a": b"object"}, location=HTML) as n:
        assert n.get("/files/a").body == b"object"
        assert n.get("/files/a?list-type=2&prefix=").body == b"object"
        assert n.get("/files/", method="POST").status == 405
        assert n.get("/files/%2e%2e/").status == 400 or n.get("/files/%2e%2e/").status == 404
        assert all("list-type" not in r.target for r in origin.requests)


def test_an_index_page_comes_first(tmp_path, origin):
    folders = {"a/": listing(("x", 1), prefix="a/"), "b/": listing(("x", 1), prefix="b/")}
    location = HTML + "s3_private_bucket_index index.html;"
    with serve(tmp_path / "n", origin, folders, {"a/index.html": b"index"}, location=location) as n:
        assert n.get("/files/a/").body == b"index"
        r = n.get("/files/b/")
        assert r.status == 200 and b"Index of /files/b/" in r.body
        assert [x.target.split("?")[0] for x in origin.requests] == [
            "/example-bucket/a/index.html", "/example-bucket/b/index.html", "/example-bucket/"]  # fmt: skip
        assert n.get("/files/c/").status == 404
        assert n.get("/files/b/x").status == 404
        head = n.get("/files/b/", method="HEAD")
        assert (head.status, head.get("Content-Length")) == (200, str(len(r.body)))


def test_what_is_rewritten_is_not_rewritten_again(tmp_path, origin):
    location = HTML + "s3_private_bucket_index index.html; rewrite ^/files/(.*)$ /files/p/$1 break;"
    with serve(tmp_path / "n", origin, {"p/b/": listing(("x", 1), prefix="p/b/")}, location=location) as n:
        assert n.get("/files/b/").status == 200
        assert [r.target for r in origin.requests] == [
            "/example-bucket/p/b/index.html",
            "/example-bucket/?delimiter=%2F&list-type=2&max-keys=1000&prefix=p%2Fb%2F"]  # fmt: skip


CACHE = "proxy_cache_path {}/cache keys_zone=c:1m;"


def test_a_listing_is_not_stored_unless_that_is_asked_for(tmp_path, origin):
    cached = "proxy_cache c; proxy_cache_valid any 1h; add_header X-Cache $upstream_cache_status; slice 1m;"
    for valid, count in [("", 3), ("valid=1h", 1)]:
        path = tmp_path / f"n{count}"
        location = f"s3_private_bucket_autoindex $arg_f {valid}; " + cached.replace("slice 1m;", "")
        with serve(path, origin, {"": listing(("x", 1))}, location=location, http=CACHE.format(path)) as n:
            origin.requests.clear()
            html, again = n.get("/files/?f=html"), n.get("/files/?f=json")
            assert json.loads(again.body)[0]["name"] == "x" and b"<h1>" in html.body
            head = n.get("/files/?f=html", method="HEAD")
            assert head.get("Content-Length") == str(len(html.body))
            assert len(origin.requests) == count
            assert html.get("Accept-Ranges") is again.get("Accept-Ranges") is None
            # What is missing is not stored either.
            for _ in range(2):
                assert n.get("/files/none/").status == 404
            assert len(origin.requests) == count + 2


def test_a_large_listing_in_pieces(tmp_path, origin):
    names = [(f"file-{i:05d}-{'x' * 80}", i) for i in range(1000)]
    with serve(tmp_path / "n", origin, {"": listing(*names)}, location=HTML + "gzip on; gzip_types *;") as n:
        plain = n.get("/files/").body
        assert plain.count(b"<a href=") == 1000
        zipped = n.get("/files/", headers=[("Accept-Encoding", "gzip")])
        assert zipped.get("Content-Encoding") == "gzip" and gzip.decompress(zipped.body) == plain


def test_the_memory_of_a_listing(tmp_path, origin):
    """At most 2 MB for 1,000 entries, in each format."""
    names = [(f"file-{i:05d}-{'x' * 80}", i) for i in range(1000)]
    folders = {"few/": listing(("x", 1), prefix="few/"), "many/": listing(*names, prefix="many/")}
    with serve(tmp_path / "n", origin, folders, location="s3_private_bucket_autoindex $arg_f;") as n:
        (worker,) = wait_until(n.workers, "a worker")

        def most():
            """KiB that the worker had at most."""
            status = Path(f"/proc/{worker}/status").read_text()
            return int(re.search(r"VmHWM:\s+(\d+)", status)[1])

        for folder, bound in ("few", None), ("many", 2048):
            before = most()
            for form in ("html", "json", "xml"):
                assert n.get(f"/files/{folder}/?f={form}").status == 200
            assert bound is None or 0 < most() - before <= bound


def test_a_listing_that_is_cut(tmp_path, origin):
    """Its connection ends in the middle, or it never ends."""
    whole = listing(*[(f"file-{i:05d}-{'x' * 80}", i) for i in range(1000)])
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(whole)
    with socket.create_server(("127.0.0.1", 0)) as cut:

        def answer():
            for part in (whole[:-30], whole[: len(whole) // 2], b"<?xml"):
                s, _ = cut.accept()
                with s:
                    s.recv(65536)
                    s.sendall(head + part)

        threading.Thread(target=answer, daemon=True).start()
        origin.url = f"http://127.0.0.1:{cut.getsockname()[1]}"
        with serve(tmp_path / "n", origin, location=HTML) as n:
            for _ in range(3):
                r = n.get("/files/")
                assert r.status == 502 and b"502 Bad Gateway" in r.body


def test_a_listing_behind_a_missing_index_page_is_stored_too(tmp_path, origin):
    location = "s3_private_bucket_autoindex html valid=1h; s3_private_bucket_index index.html; proxy_cache c; proxy_cache_valid any 1h;"
    path = tmp_path / "n"
    with serve(path, origin, {"": listing(("x", 1))}, location=location, http=CACHE.format(path)) as n:
        for _ in range(3):
            assert b"Index of" in n.get("/files/").body
        index, root = "/example-bucket/index.html", "/example-bucket/?delimiter=%2F&list-type=2&max-keys=1000&prefix="
        assert [r.target for r in origin.requests] == [index, root, index, index]
        # An index page that comes is seen at once.
        origin.answer.objects["index.html"] = b"index"
        assert n.get("/files/").body == b"index"


def test_a_stored_listing_that_came_in_chunks(tmp_path, origin):
    """It has none any more, whatever its header says. A thread reads it, so that it is judged as what S3 sends is; after
    a restart nginx does not know where in the file it begins."""

    def in_chunks(r):
        status, headers, body = lists(r)
        return status, [*headers, ("Transfer-Encoding", "chunked")], b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    path = tmp_path / "n"
    location = "s3_private_bucket_autoindex json valid=1h; proxy_cache c; aio threads;"
    many = [(f"{i:05}", i) for i in range(100)]
    folders = {"few/": listing(("x", 1), prefix="few/"), "many/": listing(*many, prefix="many/")}
    with serve(path, origin, folders, location=location, http=CACHE.format(path)) as n:
        lists, origin.answer = origin.answer, in_chunks
        for _ in range(2):
            for name, count in ("few", 1), ("many", 100):
                assert len(json.loads(n.get(f"/files/{name}/").body)) == count
            n.stop()
            n.start()
        assert len(origin.requests) == 2 and "[crit]" not in n.error_log()


STALE = "proxy_cache c; proxy_cache_use_stale updating error; proxy_cache_background_update on;"


@pytest.mark.parametrize("page", ["", "error_page 404 /gone; error_page 403 /gone;"])
def test_what_is_gone_is_not_served_as_stale(tmp_path, origin, page):
    """A folder that is emptied, and an index page that is deleted."""
    path = tmp_path / "n"
    folders = {name: listing(("x", 1), prefix=name) for name in ("a/", "b/")}
    location = f"s3_private_bucket_autoindex html valid=1s; s3_private_bucket_index index.html; proxy_cache_valid 200 1s; {STALE} {page}"
    with serve(path, origin, folders, {"b/index.html": b"index"}, location=location, http=CACHE.format(path)) as n:
        for _ in range(2):
            assert b"Index of /files/a/" in n.get("/files/a/").body
            assert n.get("/files/b/").body == b"index"
        del origin.answer.folders["a/"], origin.answer.objects["b/index.html"]

        def body(target):
            r = n.get(target)
            assert r.status in (200, 404), r
            return r.body

        wait_until(lambda: b"404" in body("/files/a/"), "the folder to be gone")
        wait_until(lambda: b"Index of /files/b/" in body("/files/b/"), "the index page to be gone")
        # Of all that was stored, the listing of b/ is left.
        (file,) = [file for file in (path / "cache").rglob("*") if file.is_file()]
        assert b"<Key>b/x</Key>" in file.read_bytes()
        # And what comes again is seen.
        origin.answer.folders["a/"], origin.answer.objects["b/index.html"] = folders["a/"], b"index"
        assert b"Index of /files/a/" in body("/files/a/") and body("/files/b/") == b"index"


def test_a_lost_permission_takes_nothing_from_the_cache(tmp_path, origin):
    """Where the configuration says that stale pages are for that case too."""
    path = tmp_path / "n"
    stale = STALE.replace("error", "error http_403")
    location = f"s3_private_bucket_autoindex html; s3_private_bucket_index index.html; proxy_cache_valid 200 1s; {stale}"
    folders = {"b/": listing(("x", 1), prefix="b/")}
    with serve(path, origin, folders, {"b/index.html": b"index"}, location=location, http=CACHE.format(path)) as n:
        assert n.get("/files/b/").body == b"index"
        allowed = origin.answer
        denied = (403, [], b"<Error><Code>AccessDenied</Code></Error>")
        origin.answer = lambda r: denied if "index.html" in r.target else allowed(r)
        seen = len(origin.requests)
        wait_until(lambda: n.get("/files/b/") and len(origin.requests) > seen + 1, "updates that are refused")
        origin.answer = allowed
        (file,) = [file for file in (path / "cache").rglob("*") if file.is_file()]
        assert b"index" in file.read_bytes() and n.get("/files/b/").body == b"index"


@pytest.mark.parametrize("words", ["$uri =404", "$uri $uri/ =404", "$uri /files/", "$uri /files/index.html", "$uri @named"])
def test_try_files_is_nginx_s_own(tmp_path, origin, words):
    """It looks at local files, before a bucket is asked: what it does is what it does in front of proxy_pass."""
    own = f"location /own/ {{ proxy_pass {origin.url}; try_files {words.replace('/files/', '/own/')}; }} location @named {{ return 200 named; }}"
    with serve(tmp_path / "n", origin, {"": listing(("x", 1))}, location=f"{HTML} try_files {words}; }} {own[:-2]}") as n:
        for name in ("", "x", "none/"):
            ours, nginx_s = n.get(f"/files/{name}"), n.get(f"/own/{name}")
            assert (ours.status, ours.body) == (nginx_s.status, nginx_s.body)
            # Of a fallback in the location itself, which is tried in its turn.
            assert ("redirection cycle" in n.error_log()) == (ours.status == 500)
        assert origin.requests == []


def test_what_was_tried_is_not_tried_again(tmp_path, origin):
    """Behind a missing index page, with the name that was found."""
    (tmp_path / "root/files/p/files/b").mkdir(parents=True)
    location = HTML + f"s3_private_bucket_index index.html; root {tmp_path}/root; try_files /files/p$uri/ =404;"
    with serve(tmp_path / "n", origin, {"p/files/b/": listing(("x", 1), prefix="p/files/b/")}, location=location) as n:
        assert n.get("/files/b/").status == 200
        assert [r.target.split("?")[0] for r in origin.requests] == [
            "/example-bucket/p/files/b/index.html", "/example-bucket/"]  # fmt: skip


def test_a_directory_bucket_is_not_listed(tmp_path, origin):
    with serve(tmp_path / "n", origin, {"": listing(("x", 1))}, location=f"}} location /v/ {{ s3_private_bucket $arg_b; {HTML}") as n:
        assert n.get("/v/?b=example-bucket").status == 200
        assert n.get("/v/?b=a--use1-az4--x-s3").status == 404
        assert len(origin.requests) == 1
        assert 'the folders of the directory bucket "a--use1-az4--x-s3" cannot be shown' in n.error_log()


def test_folders_without_their_slash(tmp_path, origin):
    with serve(tmp_path / "n", origin, {"a/": listing(("x", 1), prefix="a/")}, location=HTML + "s3_private_bucket_append_slash on;") as n:
        r = n.get("/files/a?x=1")
        assert (r.status, r.get("Location")) == (301, "./a/?x=1")
        assert n.get("/files/a/").status == 200
        assert n.get("/files/none.txt").status == 404


def bucket_of(*keys):
    """What a Recorder answers that lists keys as AWS does: in the order of bytes, folders where their first key is."""
    keys = sorted(key.encode() for key in keys)

    def answer(r):
        path, _, query = r.target.partition("?")
        args = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if "list-type" not in args:
            key = urllib.parse.unquote_to_bytes(path.removeprefix("/example-bucket/"))
            return (200, [], key) if key in keys else (404, [], b"<Error><Code>NoSuchKey</Code></Error>")
        prefix, after = args["prefix"].encode(), args.get("start-after", "").encode()
        names = []
        for key in keys:
            if key.startswith(prefix) and key > after:
                name, slash, _ = key.removeprefix(prefix).partition(b"/")
                if (name + slash) not in names:
                    names.append(name + slash)
        shown = names[: int(args["max-keys"])]
        body = ""
        for name in shown:
            text = "".join(f"&#x{ord(c):x};" for c in (prefix + name).decode())
            kind = ("CommonPrefixes", "Prefix") if name.endswith(b"/") else ("Contents", "Key")
            body += f"<{kind[0]}><{kind[1]}>{text}</{kind[1]}></{kind[0]}>"
        flag = "true" if shown != names else "false"
        page = f"<ListBucketResult><IsTruncated>{flag}</IsTruncated>{body}</ListBucketResult>"
        return 200, [], page.encode()

    return answer


NAMES = ["a", "a/x", "a-b", "a/y/z", "a.b/x", "a0", "b/x", "b", "\x01", "\x01/x", "\x7f", "n" * 300, "日本", "\U0010ffff", "\U0010fffe/x",
         "\t", "c/", "c/x", "z/1"]  # fmt: skip


@pytest.mark.parametrize("page", [1, 2, 3, 7, 1000])
def test_pages_have_each_name_once(tmp_path, origin, page):
    prefix = "p/"
    with serve(tmp_path / "n", origin, location=f"s3_private_bucket_autoindex $arg_f page={page};") as n:
        origin.answer = bucket_of(*(prefix + name for name in [*NAMES, ".hidden", ".h/x", ""]), "other", "p-/x", "p0")
        for form in ("html", "json"):
            seen, query, count = [], "", 0
            while query is not None:
                r = n.get(f"/files/p/?f={form}&" + query)
                assert r.status == 200
                link = r.get("Link")
                query = re.fullmatch(r'<\?(after=[^>]*)>; rel="next"', link)[1] if link else None
                if form == "json":
                    seen += [entry["name"] + "/" * (entry["type"] == "directory") for entry in json.loads(r.body)]
                else:
                    seen += re.findall(r'<a href="(?!\?|\.\./)([^"]*)"', r.body.decode())
                count += 1
                assert count < 100
            if form == "html":
                # Each link leads to its object, or its folder.
                for link in seen:
                    r = n.get(f"/files/p/{link}?f=html")
                    assert r.status == 200 and (link.endswith("/") or r.body == urllib.parse.unquote_to_bytes(f"p/{link}"))
                seen = [urllib.parse.unquote(link) for link in seen]
            expected = {name.partition("/")[0] + name.partition("/")[1] for name in NAMES}
            assert sorted(seen) == sorted(expected)
            assert page < 1000 or count == 1


def test_a_page_ends_with_a_name_that_has_a_backslash(tmp_path, origin):
    """Ceph keeps such names, whose objects are served of AWS only."""
    with serve(tmp_path / "n", origin, location="s3_private_bucket_autoindex json page=2;") as n:
        origin.answer = bucket_of("a", "a\\b", "z")
        link = n.get("/files/").get("Link")
        assert link == '<?after=a%5Cb>; rel="next"'
        r = n.get("/files/" + link[1:].partition(">")[0])
        assert [entry["name"] for entry in json.loads(r.body)] == ["z"]
        assert n.get("/files/?after=..%5Ca").status == 400


def test_access_rules_and_limits_hold_for_folders(tmp_path, origin):
    password = tmp_path / "htpasswd"
    password.write_text("ann:{PLAIN}tulip\n")
    password.chmod(0o644)
    rules = f"""auth_basic x; auth_basic_user_file {password}; limit_req zone=l; limit_except GET {{ deny all; }}
        s3_private_bucket_index index.html; error_page 404 /none.html; error_page 401 /who.html;"""
    http = "limit_req_zone $arg_zone zone=l:1m rate=1r/m;"
    around = " } location = /none.html { return 404 none; } location = /who.html { return 401 who;"
    ann = {"Authorization": "Basic YW5uOnR1bGlw"}
    with serve(tmp_path / "n", origin, {"": listing(("x", 1))}, location=HTML + rules + around, http=http) as n:
        r = n.get("/files/")
        assert (r.status, r.body) == (401, b"who") and origin.requests == []
        assert n.get("/files/?zone=a", headers=ann).status == 200
        assert n.get("/files/?zone=a", headers=ann).status == 503
        r = n.get("/files/none/", headers=ann)
        assert (r.status, r.body) == (404, b"none")
        # An index page, then a listing; both for the second folder too.
        assert len(origin.requests) == 4


def test_a_stale_listing_is_renewed_behind_its_answer(tmp_path, origin):
    path = tmp_path / "n"
    location = "s3_private_bucket_autoindex json valid=1s; proxy_cache c; proxy_cache_use_stale updating error; proxy_cache_background_update on;"
    with serve(path, origin, {"": listing(("old", 1))}, location=location, http=CACHE.format(path)) as n:
        assert json.loads(n.get("/files/").body)[0]["name"] == "old"
        origin.answer.folders[""] = listing(("new", 1))

        def name():
            r = n.get("/files/")
            assert r.status == 200
            return json.loads(r.body)[0]["name"]

        wait_until(lambda: name() == "new", "a new listing")
        for r in origin.requests:
            assert r.target == "/example-bucket/?delimiter=%2F&list-type=2&max-keys=1000&prefix="
