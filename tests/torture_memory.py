"""Memory: nginx under valgrind's memcheck, with every piece of a pool from malloc().

Errors are counted wherever they are. Leaks are ours when the module is in their stack; nginx's
own at exit must not grow with the number of requests.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

import harness
import pytest
from harness import MODULE, ROOT, Dns, Recorder, request, tiny_s3, wait_until
from test_autoindex import listing
from test_connections import Origin, tls, trust  # noqa: F401 (a fixture)
from torture_modules import SLOW

# Built from nginx's source with NGX_DEBUG_PALLOC, and the module for that version.
NGINX = ROOT / "target/nginx-1.28-malloc/objs/nginx"
LIBRARY = ROOT / "target/nginx-1.28/cargo/release" / MODULE.name
# Without the library's name a stack cannot be told to be ours after dlclose().
MEMCHECK = "valgrind --leak-check=full --show-leak-kinds=all --keep-debuginfo=yes"
LEAK = re.compile(r"are (definitely|indirectly|possibly) lost|are still reachable")
BIG = b"x" * 300_000


def reports(path):
    """What memcheck said of each process, without the process IDs."""
    for file in sorted(path.iterdir()):
        yield file.name, re.sub(r"^==\d+== ?", "", file.read_text(errors="replace"), flags=re.M)


def check(path, frees=()):
    """Asserts that no process did wrong, and that those that free their configuration at the end
    left nothing of ours; returns how many processes there were."""
    count = 0
    for name, text in reports(path):
        count += 1
        for record in re.split(r"\n\n+", text):
            if LEAK.search(record.partition("\n")[0]):
                leaks = name in frees and "s3_private_bucket" in record
                assert not leaks, f"{name} leaks:\n{record}"
            else:
                wrong = re.match(
                    r"(?:Process terminating|Invalid|Use of|Conditional|Syscall|Mismatched|"
                    r"Source and destination|Argument)", record)  # fmt: skip
                assert not wrong, f"{name}:\n{record}"
        ended = "LEAK SUMMARY" in text or "All heap blocks were freed" in text
        assert ended or name not in frees, f"{name} did not end by itself:\n{text}"
    assert count > 0
    return count


def lost(text):
    """Bytes that a process left behind when it ended, by kind."""
    kinds = ("definitely lost", "indirectly lost", "possibly lost", "still reachable")
    found = [re.search(rf"{kind}: ([\d,]+) bytes", text) for kind in kinds]
    return {kind: int(m.group(1).replace(",", "")) if m else 0
            for kind, m in zip(kinds, found, strict=True)}  # fmt: skip


NAMES = [*(f"folder{i}/" for i in range(50)), *(f"name & {i}" if i % 7 else f"{i:04}" for i in range(950))]
ENTRIES = [name if name.endswith("/") else (name, 10**9) for name in NAMES]
# Listings by their prefix: pages, and what is none.
LISTINGS = {
    "many/": listing(*ENTRIES, prefix="many/", truncated=True),
    "empty/": listing(),
    "cut/": listing(*ENTRIES[:200], prefix="cut/")[:-30],
    "deep/": b"<ListBucketResult>" + b"<a>" * 40,
    "long/": b"<ListBucketResult><Contents a='" + b"x" * 20_000,
    "other/": b"<ListBucketResult><Contents><Key>other/a</Key></Content></ListBucketResult>",
    "reference/": b"<ListBucketResult><Contents><Key>reference/&#xD800;</Key></Contents></ListBucketResult>",
    "type/": b'<!DOCTYPE a [<!ENTITY b "c">]><ListBucketResult/>',
    "elsewhere/": b"<ListBucketResult>" + b"<Contents><Key>x</Key></Contents>" * 500 + b"</ListBucketResult>",
}


def s3(recorded):
    """Like S3, with objects of all fates."""
    if "list-type" in recorded.target:
        prefix = urllib.parse.parse_qs(recorded.target.partition("?")[2])["prefix"][0]
        return 200, [("Content-Type", "application/xml")], LISTINGS[prefix]
    key = recorded.target.partition("?")[0].rsplit("/", 1)[-1]

    def error(status, code):
        text = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Key>{key}</Key></Error>'
        return status, [("Content-Type", "application/xml"), ("x-amz-request-id", "1")], text.encode()

    match key:
        case "missing" | "missing.html" | "folder":
            return error(404, "NoSuchKey")
        case "denied":
            return error(403, "AccessDenied")
        case "slow":
            return error(503, "SlowDown")
        case "wrong":
            return error(403, "SignatureDoesNotMatch")
        case "page":
            return 200, [("Content-Type", "text/html")], b'<!--#include virtual="/secret/a" -->'
        case "big":
            return tiny_s3(recorded, BIG)
    return tiny_s3(recorded)


CREDENTIALS = "access_key_id=AKID secret_access_key=data:key"
SERVER = f"""
    log_subrequest on;
    s3_private_bucket_pass_args versionId;
    location /secret/ {{ s3_private_bucket example-bucket; }}
    location /signed/ {{
        s3_private_bucket example-bucket prefix=$arg_tenant/;
        s3_private_bucket_auth sigv4 {CREDENTIALS};
        s3_private_bucket_expected_owner 111122223333;
    }}
    location /presigned/ {{
        s3_private_bucket example-bucket;
        s3_private_bucket_auth sigv4 {CREDENTIALS};
        return 302 $s3_private_bucket_presigned_url;
    }}
    location /cached/ {{
        s3_private_bucket $arg_bucket; s3_private_bucket_auth sigv4 {CREDENTIALS};
        proxy_cache c; proxy_cache_valid 200 206 404 1s; proxy_cache_lock on;
        proxy_cache_background_update on; proxy_cache_revalidate on;
        proxy_cache_use_stale updating error timeout http_503;
    }}
    location /sliced/ {{
        slice 64k; s3_private_bucket example-bucket; proxy_cache c; proxy_cache_valid 200 206 1s;
    }}
    location /site/ {{
        s3_private_bucket example-bucket; s3_private_bucket_index index.html;
        s3_private_bucket_append_slash on; error_page 404 /secret/404.html;
    }}
    location /ssi/ {{ s3_private_bucket example-bucket; ssi on; }}
    location /guarded/ {{ auth_request /check/a; s3_private_bucket example-bucket; }}
    location /check/ {{
        s3_private_bucket example-bucket;
        proxy_set_header If-None-Match ""; proxy_set_header Range "";
    }}
    location /list/ {{
        s3_private_bucket example-bucket; s3_private_bucket_auth sigv4 {CREDENTIALS};
        s3_private_bucket_autoindex $arg_f;
    }}
    location /stored/ {{
        s3_private_bucket example-bucket; s3_private_bucket_index missing.html;
        s3_private_bucket_autoindex html valid=1s exact_size=off localtime=on;
        proxy_cache c; proxy_cache_valid 200 1s;
        proxy_cache_use_stale updating; proxy_cache_background_update on;
    }}
    location ~ ^/re/(\\w+)/(.*)$ {{
        s3_private_bucket example-bucket; s3_private_bucket_key $1-$2;
        if ($arg_big) {{ limit_rate 1m; }}
    }}
"""
# What is asked for, and what a GET gets.
TARGETS = {
    "/secret/a": 200, "/secret/b%20c+d/%C3%BC?versionId=1&acl": 200, "/secret/": 404,
    "/secret/x/%2e%2e/a": 200, "/secret/a%00": 400, "/secret/missing": 404, "/secret/denied": 404,
    "/secret/slow": 503, "/secret/wrong": 502, "/secret/big": 200, "/signed/a?tenant=t": 200,
    "/signed/big?tenant=t": 200, "/signed/a": 404, "/presigned/a": 302, "/presigned/": 404,
    "/cached/a?bucket=one-bucket": 200, "/cached/missing?bucket=one-bucket": 404,
    "/cached/slow?bucket=one-bucket": 503, "/cached/wrong?bucket=one-bucket": 502,
    "/cached/a?bucket=../x": 404, "/sliced/big": 200, "/site/": 200, "/site/folder": 301,
    "/site/missing.html": 404, "/ssi/page": 200, "/guarded/a": 200, "/re/x/y": 200,
    "/re/x/big?big=1": 200, "/list/many/?f=html": 200, "/list/many/?f=json": 200, "/list/many/?f=xml": 200,
    "/list/many/?after=a%20b": 200, "/list/many/?after=a/b": 400, "/list/empty/": 404, "/list/cut/": 502,
    "/list/deep/": 502, "/list/long/": 502, "/list/other/": 502, "/list/reference/": 502, "/list/type/": 502,
    "/list/elsewhere/": 200, "/stored/many/": 200, "/stored/empty/": 404,
}  # fmt: skip
BODIES = {"/ssi/page": b"0123456789", "/sliced/big": BIG, "/re/x/y": b"0123456789"}


def visit(port):
    """Every target in every way; returns the number of requests."""
    count = 0
    for target, expected in TARGETS.items():
        for method, headers in [
            ("GET", {}), ("HEAD", {}), ("POST", {}), ("GET", {"Range": "bytes=2-70000"}),
            ("GET", {"If-None-Match": '"tag"'}), ("GET", {"Range": "bytes=900000-"}),
        ]:  # fmt: skip
            r = request(port, target, method, headers)
            if method == "GET" and not headers:
                assert r.status == expected, (target, r)
                assert r.body == BODIES.get(target, r.body), (target, r)
            elif method == "POST":
                # nginx itself refuses a NUL.
                assert r.status == 405 or r.status == expected == 400, (target, r)
            else:
                assert r.status in (expected, 206, 304, 404, 416), (target, method, headers, r)
            count += 1
        # A client that goes away: at once, and with the answer on its way.
        for wait in (0, 1):
            with socket.create_connection(("127.0.0.1", port)) as s:
                s.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                s.recv(wait)
            count += 1
    return count


@pytest.fixture
def checked(tmp_path, secret, monkeypatch):
    logs = tmp_path / "memcheck"
    logs.mkdir()
    monkeypatch.setattr(harness, "WRAPPER", [*MEMCHECK.split(), f"--log-file={logs}/%p"])
    monkeypatch.setattr(harness, "NGINX", str(NGINX))
    origin = Recorder(s3)
    http = f"""
        s3_private_bucket_endpoint {origin.url}; s3_private_bucket_auth secret {secret};
        proxy_cache_path {tmp_path}/cache keys_zone=c:1m;"""
    n = harness.Nginx(tmp_path / "nginx", SERVER, http, module=LIBRARY, top="worker_shutdown_timeout 5s;")
    yield n, logs
    n.stop()
    origin.close()


def test_requests_aborts_and_reloads(checked, quick, held):
    n, logs = checked
    n.start()
    rounds, count, workers = ((1, 2) if quick else (1, 2, 4)), 0, []
    for visits in rounds:
        (worker,) = wait_until(n.workers, "a worker")
        for i in range(visits):
            count += visit(n.port)
            if i == 0:
                # What is cached becomes stale, so that later requests update it.
                stale = time.time() + 1.1
                wait_until(lambda: time.time() > stale, "the cache to be stale")
        workers.append((visits, worker))
        n.reload()
    n.stop()
    seen = {line.split("|")[6] for line in n.access_log().splitlines()}
    assert {"MISS", "HIT", "REVALIDATED"} <= seen and {"STALE", "UPDATING"} & seen, seen
    text = dict(reports(logs))
    # nginx's cache manager and loader exit without freeing anything.
    processes = check(logs, {str(n.process.pid), *(worker for _, worker in workers)})

    # What nginx itself leaves at exit is the same for few requests and for many.
    few, *more = [lost(text[worker]) for _, worker in workers]
    for many in more:
        assert many["definitely lost"] == few["definitely lost"], (few, many)
        assert many["indirectly lost"] == few["indirectly lost"], (few, many)
    held(f"{count:,} requests (subrequests, slices, cache updates, signatures, error pages, listings, "
         f"aborted ones), {len(rounds)} reloads, {processes} processes",
         "no error, no leak of the module, none that grows")  # fmt: skip


def test_kept_connections(checked, ca, tls, quick, held):  # noqa: F811
    """Over TLS, with sessions and names, in workers that end by themselves."""
    n, logs = checked
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    origin = Origin(tls, hosts=hosts)
    origin.most = 3
    dns = Dns(hosts, host="127.0.0.161", ttl=0)
    place = f"s3_private_bucket example-bucket; {trust(ca)}"
    n.write(
        f"location /a/ {{ {place} }} location /b/ {{ {place} if ($arg_x) {{ set $y 1; }} }}",
        f"resolver 127.0.0.161; s3_private_bucket_endpoint {origin.url};"
        "s3_private_bucket_auth secret data:open-sesame;",
    )
    n.start()
    workers = []
    for _ in range(2):
        (worker,) = wait_until(n.workers, "a worker")
        workers.append(worker)
        for i in range(20 if quick else 100):
            if i % 10 == 9:
                origin.hang_up()
                dns.address = hosts[i % 3 :]
                asked = len(dns.asked)
                wait_until(lambda: request(n.port, "/a/a").status and len(dns.asked) > asked, "dns")
            assert request(n.port, "/b/a?x=1" if i % 2 else "/a/a").status == 200
        dns.silent = True
        request(n.port, "/a/a")
        n.reload()
        dns.silent = False
    n.stop()
    processes = check(logs, {str(n.process.pid), *workers})
    count = len(origin.requests)
    origin.close()
    dns.close()
    assert any(origin.resumed)
    held(f"{count:,} requests over kept connections, {len(origin.connections)} connections over TLS, "
         f"{origin.resumed.count(True)} sessions resumed, {len(dns.asked)} questions to DNS, {processes} processes",
         "no error, no leak of the module")  # fmt: skip


def test_wrong_configurations(checked, held):
    n, logs = checked
    n.tolerated = {"[emerg]"}
    wrong = ["s3_private_bucket x;", "s3_private_bucket_region '';", "s3_private_bucket abc prefix=/;",
             "s3_private_bucket abc; s3_private_bucket_auth sigv4 file=/nonexistent;",
             "s3_private_bucket abc; proxy_pass http://127.0.0.1;",
             "s3_private_bucket abc; s3_private_bucket_endpoint http://x upstream=none;"]  # fmt: skip
    for directives in wrong:
        n.write(f"location /a/ {{ s3_private_bucket ok-bucket; }} location / {{ {directives} }}",
                "s3_private_bucket_auth none;")  # fmt: skip
        status, output = n.check()
        assert status == 1 and "[emerg]" in output
    # nginx frees nothing of a configuration that it does not take.
    check(logs)
    held(f"{len(wrong)} configurations that are refused", "no error")


def test_the_suite(tmp_path, quick, held):
    if quick:
        files = ["tests/test_examples.py"]
    else:
        # The other files ask for little.
        files = ["tests/test_wire.py", "tests/test_response.py", "tests/test_sigv4.py",
                 "tests/test_connections.py"]  # fmt: skip
    running = []
    for file in files:
        logs = tmp_path / file.replace("/", "-")
        logs.mkdir()
        environment = os.environ | {
            "TEST_NGINX": str(NGINX), "TEST_MODULE": str(LIBRARY),
            "TEST_WRAPPER": f"{MEMCHECK} --log-file={logs}/%p",
        }  # fmt: skip
        out = open(tmp_path / f"{logs.name}.out", "w+")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", f"not ({SLOW})",
                   f"--basetemp={tmp_path}/{logs.name}-tmp", str(ROOT / file)]  # fmt: skip
        p = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=ROOT)
        running.append((file, p, out, logs))
    for file, p, out, logs in running:
        p.wait()
        out.seek(0)
        output = out.read()
        assert p.returncode == 0, output
        tests = re.search(r"(\d+) passed", output).group(1)
        processes = check(logs)
        held(f"{tests} tests of {file.removeprefix('tests/')}, {processes} processes", "they pass; no error")


def test_a_leak_is_seen(tmp_path):
    """The check above can fail: this process leaves memory behind, and reads what it freed."""
    source, program = tmp_path / "s3_private_bucket.c", tmp_path / "leak"
    source.write_text("""
        #include <stdlib.h>
        int main(int n, char **v) {
            char *p = malloc(100);
            if (n == 1) { free(p); return p[n]; }
            p = 0; return 0;
        }""")
    subprocess.run(["cc", "-O0", "-g", "-w", "-o", program, source], check=True)
    for args in ([], ["leak"]):
        logs = tmp_path / f"logs{len(args)}"
        logs.mkdir()
        p = subprocess.Popen([*MEMCHECK.split(), f"--log-file={logs}/%p", program, *args])
        p.wait()
        with pytest.raises(AssertionError):
            check(logs, {str(p.pid)})
