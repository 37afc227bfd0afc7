"""Faults: of S3, of the machine and of operators, while clients count every answer."""

import itertools
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import harness
import pytest
from harness import TIMEOUT, request, wait_until

SMALL, LARGE = 2000, 300_000


def body(target):
    """The object of a key, which no other has."""
    key = target.rpartition("/")[2]
    size = LARGE if "large" in key else SMALL
    return (f"{key}|" * size)[:size].encode()


class S3:
    """An origin that can be made to fail. How, is a method of this class."""

    def __init__(self):
        self.fault = None
        self.release = threading.Event()
        self.open(0)

    def open(self, port):
        self.socket = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.socket,), daemon=True).start()

    def accept(self, listening):
        while True:
            try:
                s, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def close(self):
        # A thread in accept() would keep the port.
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def serve(self, s):
        try:
            with s, s.makefile("rb") as f:
                while line := f.readline():
                    method, target, _ = line.decode().split(" ")
                    while f.readline() not in (b"\r\n", b""):
                        pass
                    content = body(target)
                    head = f'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: {len(content)}\r\n\r\n'
                    answer = head.encode() + (b"" if method == "HEAD" else content)
                    if self.fault is None:
                        s.sendall(answer)
                    elif not self.fault(self, s, answer, content):
                        return
        except OSError:
            pass

    def says_nothing(self, s, *_):
        self.release.wait()

    def closes(self, s, *_):
        pass

    def resets(self, s, *_):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def sends_half_a_header(self, s, answer, _):
        s.sendall(answer[:20])

    def stops_in_a_header(self, s, answer, _):
        s.sendall(answer[:20])
        self.release.wait()

    def sends_half_a_body(self, s, answer, content):
        s.sendall(answer[: -len(content) // 2])

    def stops_in_a_body(self, s, answer, content):
        s.sendall(answer[: -len(content) // 2])
        self.release.wait()

    def resets_in_a_body(self, s, answer, content):
        s.sendall(answer[: -len(content) // 2])
        self.resets(s)

    def sends_half_of_its_chunks(self, s, _, content):
        half = content[: len(content) // 2]
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(half), half))

    def promises_more(self, s, answer, content):
        s.sendall(answer.replace(b"Length: ", b"Length: 9"))

    def promises_less(self, s, answer, content):
        """Which no client can tell from the object; the connection goes on."""
        s.sendall(answer.replace(b"Length: %d" % len(content), b"Length: %d" % (len(content) // 2)))
        return True

    def sends_no_length(self, s, answer, content):
        s.sendall(re.sub(rb"Content-Length: \d+", b"Connection: close", answer[: -len(content) // 2]))

    def sends_a_wrong_length(self, s, answer, content):
        s.sendall(re.sub(rb"Length: \d+", b"Length: 12x", answer[: -len(content) // 2]))

    def sends_a_header_of_10_mb(self, s, *_):
        s.sendall(b"HTTP/1.1 200 OK\r\nETag: ")
        for _ in range(1000):
            s.sendall(b"x" * 10_000)

    def speaks_no_http(self, s, *_):
        s.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 100)

    def sends_half_an_error(self, s, *_):
        s.sendall(b"HTTP/1.1 403 X\r\nContent-Length: 500\r\n\r\n<Error><Code>Access")

    def stops_in_an_error(self, s, *_):
        self.sends_half_an_error(s)
        self.release.wait()

    def sends_an_endless_error(self, s, *_):
        s.sendall(b"HTTP/1.1 403 X\r\nContent-Length: 9000000\r\n\r\n<Error>")
        while not self.release.is_set():
            s.sendall(b" " * 10_000)


    def cuts_an_error_behind_its_code(self, s, *_):
        s.sendall(b"HTTP/1.1 403 X\r\nContent-Length: 500\r\n\r\n" + FAULT)

    def stops_behind_a_code(self, s, *_):
        self.cuts_an_error_behind_its_code(s)
        self.release.wait()

    def sends_a_code_in_pieces(self, s, *_):
        s.sendall(b"HTTP/1.1 403 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(FAULT), 3):
            piece = FAULT[at : at + 3]
            for part in (b"%x\r" % len(piece), b"\n" + piece[:1], piece[1:] + b"\r\n"):
                s.sendall(part)
        s.sendall(b"0\r\n\r\n")

    def sends_an_error_without_an_end(self, s, *_):
        s.sendall(b"HTTP/1.1 403 X\r\nConnection: close\r\n\r\n")
        s.sendall(FAULT)

    def steers_nginx(self, s, answer, _):
        s.sendall(answer.replace(b"ETag", STEERING + b"ETag"))
        return True

    def steers_nginx_in_an_error(self, s, *_):
        s.sendall(b"HTTP/1.1 403 X\r\n%sContent-Length: %d\r\n\r\n%s" % (STEERING, len(FAULT), FAULT))


FAULT = b"<Error><Code>InvalidAccessKeyId</Code><Message>hush</Message></Error>"
STEERING = (b"X-Accel-Redirect: /plain/steered-small\r\nX-Accel-Limit-Rate: 1\r\nX-Accel-Expires: 9999\r\n"
            b"X-Accel-Buffering: no\r\nSet-Cookie: hush\r\nRefresh: 0\r\nVary: *\r\n")  # fmt: skip

# What a client may get of each. A HEAD's error has no code that could come late.
DOWN = {502, "502 to HEAD"}
UNHEARD = {504, "504 to HEAD"}
TOLD = {502, "404 to HEAD", "502 to HEAD"}
CUT = DOWN | UNHEARD | {"cut", "header"}
FAULTS = {
    S3.says_nothing: UNHEARD, S3.closes: DOWN, S3.resets: DOWN, S3.sends_half_a_header: DOWN,
    S3.stops_in_a_header: UNHEARD, S3.sends_half_a_body: CUT, S3.stops_in_a_body: CUT,
    S3.resets_in_a_body: CUT, S3.sends_half_of_its_chunks: CUT, S3.promises_more: CUT,
    S3.sends_no_length: DOWN, S3.sends_a_wrong_length: DOWN, S3.sends_a_header_of_10_mb: DOWN,
    S3.speaks_no_http: DOWN, S3.sends_half_an_error: DOWN | {"404 to HEAD"},
    S3.stops_in_an_error: UNHEARD | {"404 to HEAD"}, S3.sends_an_endless_error: {404, "404 to HEAD"},
    S3.cuts_an_error_behind_its_code: TOLD, S3.stops_behind_a_code: TOLD,
    S3.sends_a_code_in_pieces: TOLD, S3.sends_an_error_without_an_end: TOLD,
    S3.steers_nginx: {"whole", "header"}, S3.steers_nginx_in_an_error: TOLD,
}  # fmt: skip


class Load:
    """Clients that ask without a pause, each time for another object, and count what they get."""

    def __init__(self, port, locations, name, clients=4):
        self.port, self.locations, self.name = port, locations, name
        self.numbers, self.answers, self.asked = itertools.count(), Counter(), []
        self.wrong, self.longest = [], 0.0
        self.done = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]

    def run(self):
        while not self.done.is_set():
            number = next(self.numbers)
            location = self.locations[number % len(self.locations)]
            size = "large" if number % 5 == 0 else "small"
            self.ask(f"{location}{self.name}-{size}-{number}", "HEAD" if number % 7 == 0 else "GET")

    def ask(self, target, method="GET"):
        """What became of one request: "whole" (of a HEAD, "header"), "cut", "refused" or a status."""
        start = time.monotonic()
        try:
            r = request(self.port, target, method)
            what = r.status if method == "GET" else f"{r.status} to HEAD"
            if r.status == 200:
                what = "header" if method == "HEAD" else "whole"
                if r.body != (b"" if method == "HEAD" else body(target)) or r.closed:
                    what = "wrong"
                    self.wrong.append((target, method, r.headers, len(r.body)))
        except IndexError:
            what = "no HTTP"
            self.wrong.append((target, method))
        except ConnectionRefusedError:
            what = "refused"
        except TimeoutError:
            what = "hangs"
        except (ConnectionError, AssertionError, ValueError):
            what = "cut"
        self.longest = max(self.longest, time.monotonic() - start)
        self.answers[what] += 1
        self.asked.append(target)
        return what

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        for t in self.threads:
            t.join()
        assert not self.wrong, self.wrong[:5]
        # nginx's own timeouts are a second each: this is no matter of the machine's speed.
        assert not self.answers["hangs"] and self.longest < TIMEOUT, self.longest

    def more(self, count):
        """Waits until so many more were answered."""
        end = len(self.asked) + count
        wait_until(lambda: len(self.asked) >= end, f"{count} answers", 120)

    def said(self):
        """The counts as text."""
        counts = ", ".join(f"{n:,} × {what}" for what, n in sorted(self.answers.items(), key=str))
        return f"{counts}; at most {self.longest:.1f} s"


SERVER = """
    proxy_read_timeout 1s; proxy_connect_timeout 1s; proxy_send_timeout 1s;
    location /plain/ { s3_private_bucket example-bucket; }
    location /signed/ {
        s3_private_bucket example-bucket;
        s3_private_bucket_auth sigv4 access_key_id=AKID secret_access_key=data:key;
    }
    location /cached/ {
        s3_private_bucket example-bucket; proxy_cache c; proxy_cache_valid 200 1d;
    }
    location /kept/ {
        s3_private_bucket example-bucket;
        s3_private_bucket_endpoint http://127.0.0.1 upstream=kept;
    }
"""
LOCATIONS = ["/plain/", "/signed/", "/cached/"]


@pytest.fixture
def origin():
    server = S3()
    yield server
    server.release.set()
    server.close()


@pytest.fixture
def served(tmp_path, origin, secret):
    http = f"""
        s3_private_bucket_endpoint http://127.0.0.1:{origin.port};
        s3_private_bucket_auth secret {secret};
        upstream kept {{ server 127.0.0.1:{origin.port}; keepalive 4; }}
        proxy_cache_path {tmp_path}/cache keys_zone=c:10m use_temp_path=off;"""
    (tmp_path / "cache").mkdir()
    n = harness.Nginx(tmp_path / "nginx", SERVER, http)
    yield n
    n.stop()
    # What ended a worker is told by the test.
    signals = set(re.findall(r"exited on signal (\d+)", n.error_log()))
    assert signals <= ({"9"} if "exited on signal" in n.tolerated else set()), signals


def resumes(load):
    """Waits until the objects that were asked for last come whole, from the cache too."""
    wait_until(lambda: load.ask("/plain/again") == "whole", "service")
    for target in load.asked[-60:]:
        cached = target.replace("/plain/", "/cached/").replace("/signed/", "/cached/")
        for _ in range(2):
            assert load.ask(cached) == "whole", cached


def test_faults_of_s3(served, origin, quick, held):
    n = served.start()
    with Load(n.port, LOCATIONS, "before") as load:
        load.more(60)
    assert set(load.answers) == {"whole", "header"}
    for fault, expected in FAULTS.items():
        name = fault.__name__
        origin.release.clear()
        origin.fault = fault
        with Load(n.port, LOCATIONS, name) as load:
            # Who is not heard of waits for a second.
            load.more(12 if quick else 30 if "stops" in name or "nothing" in name else 60)
        origin.release.set()
        assert set(load.answers) <= expected, (name, load.answers)
        said = load.said()
        origin.fault = None
        resumes(load)
        what = name.replace("_", " ").replace("http", "HTTP").replace("mb", "MB")
        held(f"S3 {what}", f"{said}; then all whole, from the cache too")


def test_the_check_sees(monkeypatch):
    """Half an object is not "whole", neither under load nor when service is to have resumed."""
    half = harness.Response(200, [], body("/plain/small-1")[:1000])
    monkeypatch.setattr(__name__ + ".request", lambda *_: half)
    load = Load(0, LOCATIONS, "check")
    assert load.ask("/plain/small-1") == "wrong"
    monkeypatch.setattr(__name__ + ".wait_until", lambda *_: None)
    with pytest.raises(AssertionError):
        resumes(load)
    with pytest.raises(AssertionError), load:
        pass


def test_the_rest_of_an_answer_is_no_answer(served, origin, quick, held):
    n = served.start()
    count = 20 if quick else 100
    load = Load(n.port, LOCATIONS, "kept", clients=0)
    for i in range(count):
        for size in ("small", "large"):
            origin.fault = S3.promises_less
            short = f"/kept/{size}-{i}"
            r = request(n.port, short)
            whole = body(short)
            assert (r.status, r.body) == (200, whole[: len(whole) // 2])
            origin.fault = None
            assert load.ask(f"/kept/{size}-next-{i}") == "whole"
    held("S3 promises less, and may keep the connection", f"the next {2 * count} answers are whole")


def test_s3_stops_and_starts(served, origin, quick, held):
    n = served.start()
    with Load(n.port, LOCATIONS, "stopped") as load:
        for _ in range(2 if quick else 10):
            load.more(20)
            origin.close()
            before = load.answers[502]
            wait_until(lambda before=before: load.answers[502] > before + 10, "502s")
            origin.open(origin.port)
            before = load.answers["whole"]
            wait_until(lambda before=before: load.answers["whole"] > before + 10, "service")
    assert set(load.answers) <= CUT | {"whole"}
    said = load.said()
    resumes(load)
    held("S3 is stopped and started", f"{said}; service resumes by itself")


def test_killed_workers(served, quick, held):
    n = served
    n.tolerated = {"[alert]", "exited on signal"}
    n.start()
    kills = 5 if quick else 50
    with Load(n.port, LOCATIONS, "killed") as load:
        for _ in range(kills):
            load.more(10)
            (worker,) = wait_until(n.workers, "a worker")
            os.kill(int(worker), signal.SIGKILL)
            wait_until(lambda old=worker: n.workers() - {old}, "another worker")
        load.more(20)
    assert set(load.answers) <= {"whole", "header", "cut"}, load.answers
    said = load.said()
    resumes(load)
    held(f"{kills} workers killed with SIGKILL", f"{said}; service resumes by itself")


def memory(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status).group(1))


def test_reloads(served, quick, held):
    n = served.start()
    count = 20 if quick else 200
    sizes = []
    with Load(n.port, LOCATIONS, "reloaded", clients=2) as load:
        for i in range(count):
            n.reload()
            if i + 1 in (count // 4, count):
                sizes.append(memory(n.process.pid))
    assert set(load.answers) == {"whole", "header"}, load.answers
    # The first reloads fill what malloc() keeps.
    assert sizes[1] < sizes[0] + 512, f"KiB of the master process: {sizes}"
    held(f"{count} reloads", f"{load.said()}; master process at {sizes[0]:,} KiB after a quarter, "
         f"{sizes[1]:,} KiB at the end")  # fmt: skip


def test_the_secret_is_gone(served, secret, held):
    n = served
    n.tolerated = {"[emerg]"}
    n.start()
    (worker,) = wait_until(n.workers, "a worker")
    text = secret.read_text()
    with Load(n.port, LOCATIONS, "secret") as load:
        secret.unlink()
        os.kill(n.process.pid, signal.SIGHUP)
        wait_until(lambda: "cannot read the secret file" in n.error_log(), "an error")
        load.more(30)
        assert n.workers() == {worker}
        secret.write_text("")
        os.kill(n.process.pid, signal.SIGHUP)
        wait_until(lambda: "the secret is empty" in n.error_log(), "an error")
        load.more(30)
        assert n.workers() == {worker}
        secret.write_text(text)
        n.reload()
        load.more(30)
    assert set(load.answers) == {"whole", "header"}, load.answers
    held("a reload with the secret file gone, then empty, then back",
         f"{load.said()}; the old configuration goes on until the file is back")  # fmt: skip


@pytest.fixture
def disk(served, tmp_path, monkeypatch):
    """nginx with its cache on a small disk of its own; mounts it anew with options."""
    script = f'mount -t tmpfs -o size=2m tmpfs {tmp_path}/cache && exec "$@"'
    monkeypatch.setattr(harness, "WRAPPER", ["unshare", "-m", "sh", "-c", script, "sh"])
    served.tolerated = {"[alert]"}
    served.start()

    def run(*command):
        subprocess.run(["nsenter", "-m", "-t", str(served.process.pid), *command], check=True)

    return run


def test_a_full_disk(served, disk, tmp_path, quick, held):
    n = served
    count = 60 if quick else 300
    with Load(n.port, ["/cached/"], "full") as load:
        wait_until(lambda: "No space left on device" in n.error_log(), "a full disk")
        load.more(count)
        # Who does not cache does not notice.
        assert load.ask("/plain/large-plain") == "whole"
    assert load.answers["whole"], load.answers
    assert set(load.answers) <= {"whole", "header", "cut"}, load.answers
    said = load.said()
    disk("mount", "-o", "remount,size=64m", str(tmp_path / "cache"))
    resumes(load)
    held("the cache's disk is full", f"{said}; service resumes when there is room")


def test_a_read_only_disk(served, disk, tmp_path, quick, held):
    n = served
    with Load(n.port, ["/cached/"], "read-only", clients=1) as load:
        load.more(5)
    kept = load.asked[:3]
    disk("mount", "-o", "remount,ro", str(tmp_path / "cache"))
    with Load(n.port, ["/cached/"], "read-only-2") as load:
        load.more(30 if quick else 200)
        for target in kept:
            assert load.ask(target) == "whole"
        assert load.ask("/plain/large-plain") == "whole"
    assert "Read-only file system" in n.error_log()
    assert set(load.answers) <= {"whole", "header", "cut"}, load.answers
    said = load.said()
    disk("mount", "-o", "remount,rw,size=64m", str(tmp_path / "cache"))
    resumes(load)
    held("the cache's disk is read-only", f"{said}; what was cached is served; service resumes")
