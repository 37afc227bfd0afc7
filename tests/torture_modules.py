"""Other modules: Debian's, loaded together with this one, before it and behind it."""

import gzip
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
import pytest
from harness import ROOT, free_port
from test_autoindex import Lists, listing
from test_response import s3_error

DIRECTORY = Path("/usr/lib/nginx/modules")
# The first is what Lua needs.
MODULES = ["ndk_http", "ngx_http_lua", "ngx_http_js", "ngx_http_headers_more_filter",
           "ngx_http_cache_purge", "ngx_http_brotli_filter", "ngx_http_brotli_static"]  # fmt: skip
PATHS = [f"{DIRECTORY}/{module}_module.so" for module in MODULES]
ORDERS = {"before": 0, "behind": 1}

SCRIPT = """
function header(r) { r.headersOut['X-Js'] = r.uri; }
function body(r, data, flags) { r.sendBuffer(data.toUpperCase(), flags); }
function fetch(r) { r.subrequest('/m/from-js').then(reply => r.return(200, reply.responseText)); }
export default { header, body, fetch };
"""
SERVER = """
    js_path {path}; js_import main from script.js;
    location /m/ {{
        s3_private_bucket example-bucket;
        proxy_cache z; proxy_cache_valid 200 1d; proxy_cache_key $s3_private_bucket_uri;
        more_set_headers "X-More: $s3_private_bucket_key"; more_clear_headers ETag;
        header_filter_by_lua_block {{ ngx.header["X-Lua"] = ngx.var.s3_private_bucket_name }}
        js_header_filter main.header;
    }}
    location /purge/ {{ rewrite ^/purge/(.*)$ /example-bucket/$1 break; proxy_cache_purge z $uri; }}
    location /upper/ {{ s3_private_bucket example-bucket; js_body_filter main.body buffer_type=string; }}
    location /brotli/ {{
        s3_private_bucket example-bucket; brotli on; brotli_types *; brotli_min_length 1;
    }}
    location /gzip/ {{ s3_private_bucket example-bucket; gzip on; gzip_types *; gzip_min_length 1; }}
    location /lua/ {{
        set $tenant ""; access_by_lua_block {{
            if ngx.var.arg_tenant == "stop" then ngx.exit(403) end
            ngx.var.tenant = ngx.var.arg_tenant
            ngx.header["Set-Cookie"] = "session=renewed"
        }}
        s3_private_bucket example-bucket prefix=$tenant/;
    }}
    location /captured {{
        content_by_lua_block {{ ngx.print(ngx.location.capture("/m/from-lua").body) }}
    }}
    location /fetched {{ js_content main.fetch; }}
"""


def test_all_of_debians_modules_start_without_a_warning(tmp_path, held):
    """Each fills nginx's table of variables: this module is not to be the one too many."""
    needed = {"ndk_http", "ngx_stream", "ngx_mail"}
    modules = sorted(DIRECTORY.glob("*.so"), key=lambda path: (path.name[:-10] not in needed, path))
    names = {path.name.removesuffix("_module.so") for path in modules}
    missing = {*needed, *MODULES, "ngx_http_geoip", "ngx_http_geoip2", "ngx_nchan"} - names
    assert not missing, f"{missing} are missing: run tests/setup.sh torture"
    conf = tmp_path / "nginx.conf"
    for behind in (True, False):
        paths = [*modules, harness.MODULE] if behind else [harness.MODULE, *modules]
        load = "".join(f"load_module {path};\n" for path in paths)
        conf.write_text(f"{load} user root; pid {tmp_path}/pid; events {{}} http {{ server {{ listen 127.0.0.1:80; }} }}")
        p = subprocess.run([harness.NGINX, "-t", "-c", conf, "-e", tmp_path / "error.log"],
                           capture_output=True, text=True)  # fmt: skip
        assert p.returncode == 0 and not re.search(r"\[(warn|error|crit)\]", p.stderr), p.stderr
    held(f"`nginx -t` with all {len(modules)} modules of Debian, before and behind", "no warning")


@pytest.mark.parametrize("order", ORDERS)
def test_together(tmp_path, nginx, origin, monkeypatch, held, order):
    missing = [path for path in PATHS if not Path(path).exists()]
    assert not missing, f"run tests/setup.sh torture to install {missing}"
    loaded = [[], []]
    loaded[ORDERS[order]] = [f"load_module {path};" for path in PATHS]
    monkeypatch.setattr(harness, "MODULES", loaded)
    (tmp_path / "script.js").write_text(SCRIPT)
    n = nginx(SERVER.format(path=tmp_path), f"proxy_cache_path {tmp_path}/cache keys_zone=z:1m;")

    for _ in range(2):
        r = n.get("/m/a")
        assert (r.status, r.body) == (200, b"0123456789")
        found = [r.get(name) for name in ("X-More", "X-Lua", "X-Js", "ETag")]
        assert found == ["a", "example-bucket", "/m/a", None]
    assert len(origin.requests) == 1
    assert n.get("/purge/a").status == 200
    assert n.get("/purge/a").status == 404
    n.get("/m/a")
    assert len(origin.requests) == 2
    assert n.get("/m/a", method="PURGE").status == 405

    assert n.get("/lua/a?tenant=one").body == b"0123456789"
    assert origin.last().target == "/example-bucket/one/a"
    assert n.get("/lua/a?tenant=stop").status == 403
    assert n.get("/lua/a").status == 404
    assert n.get("/captured").body == n.get("/fetched").body == b"0123456789"
    assert [r.target for r in origin.requests[-2:]] == [
        "/example-bucket/from-lua", "/example-bucket/from-js"]  # fmt: skip

    origin.answer = lambda r: (200, [("Content-Type", "text/html"), ("x-amz-id-2", "hush")], b"abc " * 500)
    assert n.get("/upper/a").body == b"ABC " * 500
    for coding in ("br", "gzip"):
        r = n.get(f"/{'brotli' if coding == 'br' else coding}/a", headers={"Accept-Encoding": coding})
        assert (r.get("Content-Encoding"), r.get("x-amz-id-2")) == (coding, None)
        assert len(r.body) < 100 and (coding == "br" or gzip.decompress(r.body) == b"abc " * 500)
    origin.answer = s3_error(403, "AccessDenied")
    for target in ("/m/x", "/upper/x", "/brotli/x", "/gzip/x", "/lua/x?tenant=one"):
        for coding in ("br", "gzip", ""):
            r = n.get(target, headers={"Accept-Encoding": coding})
            body = gzip.decompress(r.body) if r.get("Content-Encoding") == "gzip" else r.body
            assert r.status == 404 and b"hush" not in body and r.get("x-amz-request-id") is None
            assert coding == "br" or b"404 not found" in body.lower(), target
        assert n.get(target, method="HEAD").status == 404
    held(f"{', '.join(MODULES)}: {order} this one", "filters, subrequests, variables, purging, compression")


# They wait for signatures to expire, which no module has a part in; nor has it in builds.
SLOW = "outlasts or urls_expire"
LEFT_OUT = ["tests/test_library.py"]
# Two at once would want the same address for their name servers.
ALONE = ["tests/test_dns.py"]


def test_the_suite(tmp_path, quick, held):
    """The configurations of the suite, in both orders."""
    files = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "tests").glob("test_*.py"))
    files = ["tests/test_examples.py"] if quick else [f for f in files if f not in LEFT_OUT + ALONE]

    def run(order, files):
        name = "TEST_MODULES_BEFORE" if order == "before" else "TEST_MODULES_AFTER"
        p = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
             f"--basetemp={tmp_path}/{order}", "-k", f"not ({SLOW})", *files],
            env=os.environ | {name: " ".join(PATHS)}, cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert p.returncode == 0, p.stdout + p.stderr
        return int(re.search(r"(\d+) passed", p.stdout).group(1))

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(lambda order: run(order, files), ORDERS))
    for order, count in zip(ORDERS, counts, strict=True):
        if not quick:
            count += run(order, ALONE)
        held(f"{count} tests of the suite, those modules {order} this one", "they pass")


STYLE = """<?xml version="1.0"?>
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:output method="html" encoding="utf-8"/>
<xsl:template match="/list"><ul><xsl:for-each select="*"><li class="{name()}"><xsl:value-of select="."/></li></xsl:for-each></ul></xsl:template>
</xsl:stylesheet>
"""


@pytest.mark.parametrize("order", ORDERS)
def test_a_page_with_a_look_of_its_own(tmp_path, nginx, origin, monkeypatch, held, order):
    """The XML of a folder through nginx's xslt filter, which holds the header back too."""
    path = DIRECTORY / "ngx_http_xslt_filter_module.so"
    assert path.exists(), "run tests/setup.sh torture"
    loaded = [[], []]
    loaded[ORDERS[order]] = [f"load_module {path};"]
    monkeypatch.setattr(harness, "MODULES", loaded)
    (tmp_path / "style.xslt").write_text(STYLE)
    names = [("a&b", 1), ("日本", 2), *((f"{i:05}-{'x' * 80}", i) for i in range(900))]
    origin.answer = Lists({"": listing("sub/", *names), "none/": listing()}, {"a": b"<list><file>a</file></list>"})
    port = free_port()
    n = nginx(f"""listen 127.0.0.1:{port} http2; location / {{
        s3_private_bucket example-bucket; s3_private_bucket_autoindex xml; xslt_stylesheet {tmp_path}/style.xslt; }}""")  # fmt: skip
    r = n.get("/")
    assert (r.status, r.get("Content-Type")) == (200, "text/html; charset=utf-8")
    body = r.body.decode()
    assert body.startswith('<ul>\n<li class="directory">sub</li>') and '<li class="file">日本</li>' in body
    assert '<li class="file">a&amp;b</li>' in body and body.count("<li ") == 903
    assert n.get("/", method="HEAD").status == 200
    head = subprocess.run(["curl", "-sSI", "-m", "30", "--http2-prior-knowledge", f"http://127.0.0.1:{port}/"],
                          capture_output=True, check=True).stdout  # fmt: skip
    assert head.startswith(b"HTTP/2 200") and b"text/html" in head
    assert n.get("/none/").status == 404
    held(f"`xslt_stylesheet` over a folder's XML: its module {order} this one", "a page of the site's own")
