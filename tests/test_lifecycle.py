"""Keys that renew themselves while nginx's processes come and go, and what stays of old ones."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from harness import TIMEOUT, Nginx, read_head, tiny_s3, wait_until
from test_credentials import S3, Imds, instance, told, verifying, zulu

BODY = bytes(range(256)) * 8192


class Turning(Imds):
    """A metadata service with other keys each time, which takes a while to find them."""

    def __init__(self, life=2, pause=0.0):
        self.pause, self.most = pause, 0
        super().__init__(life=life)
        self.keys.number = 0
        # No secret is the beginning of another.
        self.keys.secret = lambda number=None: f"hush-secret-{number or self.keys.number:08d}"

        self.open, serve = {}, self.server.serve

        def remember(s, number):
            self.open[number] = s
            serve(s, number)
            del self.open[number]

        self.server.serve = remember

    def answer(self, r):
        self.most = max(self.most, sum(map(waits, list(self.open.values()))))
        threading.Event().wait(self.pause)
        if r.target.endswith(f"/{self.role}"):
            self.keys.number += 1
        return super().answer(r)


def waits(s):
    """Whether the other side of a connection waits for an answer."""
    try:
        s.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


class Objects(S3):
    """An S3 with a large object, which remembers the keys of each part."""

    def __init__(self, keys):
        self.signed = []
        super().__init__(keys)

    def answer(self, r):
        status, headers, body = super().answer(r)
        self.signed.append(body)
        return tiny_s3(r, BODY) if status == 200 else (status, headers, body)


@pytest.fixture
def imds():
    service = Turning()
    yield service
    service.server.close()


@pytest.fixture
def s3(imds):
    yield from verifying(imds.keys)


def changed(n, old, new):
    """Changes something in a configuration that is not read yet."""
    conf = n.dir / "nginx.conf"
    assert old in conf.read_text()
    conf.write_text(conf.read_text().replace(old, new))
    return n


@contextlib.contextmanager
def load(n, clients=3, tolerated=()):
    """Has clients ask all the time; their statuses are the value, in the end."""
    end, statuses = threading.Event(), []

    def client():
        while not end.is_set():
            with contextlib.suppress(*tolerated):
                statuses.append(n.get("/a").status)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        end.set()
        for thread in threads:
            thread.join()


def number(body):
    return int(body.removeprefix(b"keys "))


def renewed(n, imds, count=1):
    """Waits until that many other keys are in use."""
    newest = imds.keys.number + count
    wait_until(lambda: number(n.get("/a").body) >= newest, "new keys")


@pytest.mark.parametrize("workers", [1, 4])
def test_reloads_while_keys_are_fetched(tmp_path, imds, s3, workers):
    imds.pause = 0.1
    n = changed(Nginx(tmp_path / "n", **instance(imds, s3)), "worker_processes 1", f"worker_processes {workers}")
    with n:
        assert n.get("/a").status == 200
        with load(n) as statuses:
            for _ in range(10):
                n.reload()
        assert set(statuses) == {200}
        renewed(n, imds)
        assert imds.most <= 2, "one of an old worker that is told to end, and one of the new"


def test_a_request_that_waits_over_a_reload(tmp_path, imds, s3):
    """What the new worker is answered lets those of the old one go on."""
    imds.gate.clear()
    with Nginx(tmp_path / "n", **instance(imds, s3)) as n:
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(n.get("/a").status)) for _ in range(5)]
        for thread in threads:
            thread.start()
        (old,) = wait_until(n.workers, "a worker")
        wait_until(lambda: imds.server.connections >= 1 and len(connected(n)) >= 5, "requests that wait")
        os.kill(n.process.pid, signal.SIGHUP)
        wait_until(lambda: imds.server.connections >= 2, "a question of a new worker")
        imds.gate.set()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 5
        wait_until(lambda: old not in n.workers(), "the old worker to end")


def connected(n):
    """The connections that nginx has accepted."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return [line for line in lines if line[1].endswith(f":{n.port:04X}") and line[3] == "01"]


def test_an_old_worker_signs_with_new_keys(tmp_path, imds):
    """A long download: it asks for one part after another."""
    s3 = Objects(imds.keys)
    nginx = instance(imds, s3, location="slice 64k; proxy_max_temp_file_size 0;", listen="sndbuf=16k")
    with Nginx(tmp_path / "n", **nginx) as n, socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        s.settimeout(TIMEOUT)
        s.connect(("127.0.0.1", n.port))
        s.sendall(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        with s.makefile("rb") as f:
            assert b" 200 " in read_head(f).split(b"\n")[0]
            body = f.read(1000)
            (old,) = n.workers()
            os.kill(n.process.pid, signal.SIGHUP)
            wait_until(lambda: n.workers() - {old}, "a new worker")
            before = imds.keys.number
            wait_until(lambda: imds.keys.number >= before + 2, "new keys")
            parts = len(s3.signed)
            assert parts < 30, "it is on its way"
            body += f.read()
        assert body == BODY
        assert number(s3.signed[-1]) > before
    s3.server.close()
    assert s3.wrong == []


def test_an_upgrade_on_the_fly(tmp_path, imds, s3):
    """The new binary has a zone of its own, and asks anew."""
    # Else nginx leaves the environment behind.
    nginx = instance(imds, s3, top="env AWS_EC2_METADATA_SERVICE_ENDPOINT;")
    n = changed(Nginx(tmp_path / "n", **nginx), "daemon off", "daemon on")
    pid_file = n.dir / "nginx.pid"

    def pid(file=pid_file):
        with contextlib.suppress(FileNotFoundError):
            return int(file.read_text() or 0)
        return 0

    subprocess.run(n.command(), check=True, env=n.environment, timeout=TIMEOUT)
    new = 0
    old = wait_until(pid, "nginx")
    try:
        assert n.get("/a").status == 200
        with load(n) as statuses:
            os.kill(old, signal.SIGUSR2)
            wait_until(lambda: pid(n.dir / "nginx.pid.oldbin") == old and pid() not in (0, old), "another nginx")
            new = pid()
            wait_until(lambda: imds.tokens >= 2, "its worker to ask")
            os.kill(old, signal.SIGQUIT)
            wait_until(lambda: not Path(f"/proc/{old}").exists() or not pid(n.dir / "nginx.pid.oldbin"), "the end")
        assert set(statuses) == {200}
        renewed(n, imds, 2)
    finally:
        for process in filter(None, (old, new)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        wait_until(lambda: not pid_file.exists(), "nginx to end")
    assert "[alert]" not in n.error_log() and "[emerg]" not in n.error_log()


def test_a_process_without_a_master(tmp_path, imds, s3):
    n = changed(Nginx(tmp_path / "n", **instance(imds, s3)), "daemon off;", "daemon off; master_process off;")
    with n:
        assert n.get("/a").body == b"keys 1"
        renewed(n, imds, 2)
        # No hook would end what goes on by the old configuration.
        n.tolerated.add("[emerg]")
        os.kill(n.process.pid, signal.SIGHUP)
        wait_until(lambda: 'cannot be reloaded with "master_process off"' in n.error_log(), "a refusal")
        renewed(n, imds, 2)


def test_the_worker_that_asks_is_killed_again_and_again(tmp_path, imds, s3):
    n = changed(Nginx(tmp_path / "n", **instance(imds, s3)), "worker_processes 1", "worker_processes 4")
    n.tolerated |= {"[alert]", "exited on signal"}
    with n, load(n, tolerated=(ConnectionError, AssertionError)) as statuses:
        seen = set()
        for _ in range(5):
            asks = lambda: set(re.findall(r"(\d+)#\d+: s3_private_bucket: credentials", n.error_log()))  # noqa: E731
            (worker,) = wait_until(lambda: asks() - seen, "the worker that asks")
            wait_until(lambda: len(n.workers()) == 4, "four workers")
            seen.add(worker)
            # Whatever it is doing: it shows other keys every second.
            os.kill(int(worker), signal.SIGKILL)
            wait_until(lambda: len(n.workers()) == 4 and worker not in n.workers(), "another worker")
        renewed(n, imds, 2)
    assert set(statuses) == {200}


def test_two_blocks_of_the_same_keys(tmp_path, imds, s3):
    """They are one source, which is asked once."""
    imds.keys.life = 3600
    blocks = "".join(f"s3_private_bucket_credentials {name} {{ source instance; }}" for name in "ab")
    location = "} location /b/ { s3_private_bucket example-bucket; s3_private_bucket_auth sigv4 credentials=b;"
    nginx = instance(imds, s3, auth="credentials=a", http=blocks, location=location)
    with Nginx(tmp_path / "n", **nginx) as n:
        assert n.get("/a").body == n.get("/b/a").body == b"keys 1"
        assert imds.server.connections == 3
        n.reload()
        assert n.get("/a").body == n.get("/b/a").body == b"keys 1"
        assert imds.server.connections == 3
        assert told(n, "refreshed")[1].startswith('credentials "a": refreshed')


# --- what stays of old keys ----------------------------------------------------------------


def writable_memory(pid):
    """What a process has in memory that it may write to: the heap, stacks, what it shares."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            first, last = (int(at, 16) for at in place.split("-"))
            if rights.startswith("rw"):
                memory.seek(first)
                with contextlib.suppress(OSError):
                    yield memory.read(last - first)


def kept(pid, secrets):
    """Which secrets a process has, as they are or as HMAC begins with them."""
    forms = {}
    for secret in secrets:
        for pad in (0, 0x36, 0x5C):
            forms[bytes(byte ^ pad for byte in secret.encode())] = f"{secret} ^ {pad:#x}"
    return {name for piece in writable_memory(pid) for form, name in forms.items() if form in piece}


def test_superseded_secrets_are_in_no_memory(tmp_path, imds, s3):
    n = changed(Nginx(tmp_path / "n", **instance(imds, s3)), "worker_processes 1", "worker_processes 2")
    with n:
        assert n.get("/a").status == 200
        renewed(n, imds, 3)
        imds.keys.life = 3600
        ends = lambda: re.findall(r"valid until (\S+)", n.error_log())  # noqa: E731
        wait_until(lambda: max(ends()) > zulu(1800), "keys that stay")
        last = imds.keys.number
        workers = n.workers()

        def everyone_signs():
            """Workers take new keys when they sign."""
            assert number(n.get("/a").body) == last
            return all(f"hush-secret-{last:08d} ^ 0x0" in kept(pid, [imds.keys.secret(last)]) for pid in workers)

        wait_until(lambda: number(n.get("/a").body) == last, "the last keys")
        with load(n, 8):
            wait_until(everyone_signs, "each worker to sign with them")
        old = [imds.keys.secret(i) for i in range(1, last)]
        for pid in workers | {str(n.process.pid)}:
            assert kept(pid, old) == set(), pid
        assert "hush" not in n.error_log() + n.access_log()
        environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in [n.process.pid, *workers]]
        assert all(b"hush" not in environment for environment in environments)
        dump = subprocess.run(n.command("-T"), capture_output=True, env=n.environment, check=True)
        assert b"hush" not in dump.stdout + dump.stderr
