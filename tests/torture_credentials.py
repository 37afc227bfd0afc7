"""Keys that renew themselves: short lives, reloads, servers that answer anything, memory.

What each of these answers is in test_client.py; here they come one after another, for long.
"""

import itertools
import os
import re
import signal
import socket
import threading
from pathlib import Path

import harness
import pytest
from harness import Nginx, make_cert, request, wait_until
from test_client import HOSTILE, Raw
from test_credentials import S3, Keys, instance, verifying, zulu
from test_lifecycle import Turning, changed, load, renewed
from test_sources import ROLE, XML, assumed, load_for, seaweedfs_sts  # noqa: F401 (a fixture)
from torture_memory import LIBRARY, MEMCHECK, NGINX, check

# What is over at once, and tried again soon.
KINDS = [behave for kind, (behave, _) in HOSTILE.items() if kind not in ("silent", "slow", "a redirect")]


class Moody:
    """An STS that every other time does something that none should. The gate lets it answer."""

    def __init__(self, tls=None):
        self.keys, self.count, self.lock = Keys(1), itertools.count(), threading.Lock()
        self.answered, self.gate = 0, threading.Event()
        self.gate.set()
        self.server = Raw(self.behave, tls)

    def behave(self, server, s, asked):
        self.gate.wait()
        with self.lock:
            turn = next(self.count)
            self.keys.number = turn + 1
            parts = self.keys.id(), self.keys.secret(), self.keys.token()
            body = XML.format("AssumeRoleWithWebIdentity", *parts, zulu(self.keys.life)).encode()
            self.answered += 1
        if turn % 2:
            KINDS[turn // 2 % len(KINDS)](server, s, asked)
        else:
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.fixture
def moody(ca):
    """One without TLS, and one with."""
    servers = [Moody(), Moody(make_cert(ca.parent, "moody", ["IP:127.0.0.1"]))]
    yield servers
    for server in servers:
        server.gate.set()
        server.server.close()


@pytest.fixture
def s3():
    yield from verifying(Keys())


def sources(tmp_path, moody, s3, ca, count):
    """A server{} and an http{} with locations that sign with keys of as many sources of each."""
    token = tmp_path / "token"
    token.write_text("hush")
    http, server = f"s3_private_bucket_endpoint {s3.server.url};", ""
    for i, sts in enumerate(moody * count):
        http += f"""
            s3_private_bucket_credentials c{i} {{
                source web_identity; token_file {token}; role_arn {ROLE}; region eu-central-1;
                session_name s{i}; endpoint {sts.server.url}; trusted_certificate {ca}; wait 60s; }}"""
        server += f"""
            location /{i}/ {{ s3_private_bucket example-bucket;
                s3_private_bucket_auth sigv4 credentials=c{i}; }}"""
    return server, http


def answered(moody):
    return sum(sts.answered for sts in moody)


def resident(pid):
    """A process's memory in KiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def test_keys_of_five_seconds(tmp_path, seaweedfs_sts, quick, held):  # noqa: F811
    seconds = 15 if quick else 60
    n = changed(Nginx(tmp_path / "n", **assumed(seaweedfs_sts)), "worker_processes 1", "worker_processes 4")
    with n:
        statuses = load_for(n, "/a", seconds, clients=8)
        assert set(statuses) == {200}
        sets = n.error_log().count('credentials "base": refreshed')
        assert sets >= seconds / 5
    held(f"{len(statuses):,} requests in {seconds} s with {sets} sets of keys of 5 s, of SeaweedFS's own STS",
         "each is answered")  # fmt: skip


def test_reloads(tmp_path, quick, held):
    imds, count = Turning(pause=0.1), 10 if quick else 50
    s3 = S3(imds.keys)
    n = changed(Nginx(tmp_path / "n", **instance(imds, s3)), "worker_processes 1", "worker_processes 4")
    with n:
        assert n.get("/a").status == 200
        with load(n) as statuses:
            for i in range(count):
                n.reload()
                if i == 4:
                    early = resident(n.process.pid)
        assert set(statuses) == {200}
        renewed(n, imds)
        grown = resident(n.process.pid) - early
        assert grown < 1024, "the master process"
        assert imds.most <= 2
        sets = imds.keys.number
    for stub in (imds, s3):
        stub.server.close()
    assert s3.wrong == []
    held(f"{len(statuses):,} requests during {count} reloads, most while keys were fetched ({sets} sets)",
         f"each is answered; no line above error; the master process grew by {max(grown, 0)} KiB")  # fmt: skip


def test_faults(tmp_path, moody, s3, ca, quick, held):
    count = 200 if quick else 1000
    server, http = sources(tmp_path, moody, s3, ca, 10)
    with Nginx(tmp_path / "n", server, http) as n:
        (worker,) = wait_until(n.workers, "a worker")

        def ask(fetches):
            """Requests go on while keys are fetched; they may be refused by whoever had none yet."""
            for i in itertools.cycle(range(20)):
                if answered(moody) >= fetches:
                    break
                assert n.get(f"/{i}/a").status in (200, 503)

        ask(count // 2)
        early, files = resident(worker), len(os.listdir(f"/proc/{worker}/fd"))
        ask(count)
        grown = resident(worker) - early
        assert grown < 512
        assert len(os.listdir(f"/proc/{worker}/fd")) <= files + 20, "no more than one for each source"
        assert n.workers() == {worker}
        assert "hush" not in n.error_log()
        fetches = answered(moody)
    held(f"{fetches:,} answers of an STS, over http and https, half of them of {len(KINDS)} kinds that are none",
         f"each has its end; the worker grew by {max(grown, 0)} KiB")  # fmt: skip


def test_memory(tmp_path, moody, s3, ca, monkeypatch, quick, held):
    """Fetches of all kinds, requests that wait and leave, reloads and ends in the middle."""
    logs = tmp_path / "memcheck"
    logs.mkdir()
    monkeypatch.setattr(harness, "WRAPPER", [*MEMCHECK.split(), f"--log-file={logs}/%p"])
    monkeypatch.setattr(harness, "NGINX", str(NGINX))
    server, http = sources(tmp_path, moody, s3, ca, 3)
    n = harness.Nginx(tmp_path / "n", server, http, module=LIBRARY, top="worker_shutdown_timeout 5s;")
    count, frees, left = 100 if quick else 400, set(), 0
    for end in (signal.SIGQUIT, signal.SIGTERM):
        for sts in moody:
            sts.gate.clear()
        n.start()
        threads = [threading.Thread(target=request, args=(n.port, f"/{i}/a")) for i in range(6)]
        for thread in threads:
            thread.start()
        for i in range(24):
            # Some are gone before anything else happens.
            with socket.create_connection(("127.0.0.1", n.port)) as s:
                s.sendall(b"GET /%d/a HTTP/1.1\r\nHost: h\r\n\r\n" % (i % 6))
            left += 1
        wait_until(lambda: n.access_log().count("|499|") == left, "clients that left")
        for sts in moody:
            sts.gate.set()
        for thread in threads:
            thread.join()
        aim = answered(moody) + count
        for i in itertools.cycle(range(6)):
            if answered(moody) >= aim:
                break
            assert n.get(f"/{i}/a").status in (200, 503)
        frees |= n.workers()
        n.reload()
        frees |= n.workers() | {str(n.process.pid)}
        # The end comes while all ask.
        for sts in moody:
            sts.gate.clear()
        aim = sum(sts.server.connections for sts in moody) + 6
        wait_until(lambda: sum(sts.server.connections for sts in moody) >= aim, "questions")
        os.kill(n.process.pid, end)
        n.process.wait(harness.TIMEOUT)
    n.stop()
    processes = check(logs, frees)
    held(f"{answered(moody):,} answers, half of them none; {left} requests that left while they waited for keys; "
         f"{processes} processes, two ends while keys were asked for", "no error, no leak of the module")  # fmt: skip
