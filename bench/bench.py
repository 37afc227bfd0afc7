"""make bench: what a request costs in nginx, beside plain proxy_pass and the hand-written recipe.

Instructions per request by callgrind, as the difference of two run lengths: they repeat whatever
else the machine does. Throughput by wrk, as ratios within a round. Prints tables and writes them
to bench/RESULTS.md.
"""

import argparse
import datetime
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from harness import MODULE, NGINX, accepts, free_port, wait_until  # noqa: E402

# The same library, with its symbols.
SYMBOLS = ROOT / "target/bench/release" / MODULE.name
# As long as keys are on average: 30 bytes behind the location's prefix.
KEY = "photos/2026/img-0001-large.jpg"
BODY = b"x" * 1024
ROUNDS = 7
SECONDS = 2
REQUESTS = 200_000
RESULTS = Path(__file__).with_name("RESULTS.md")

KEEPALIVE = 'proxy_http_version 1.1; proxy_set_header Connection "";'
RECIPE = f"""
    limit_except GET {{ deny all; }}
    set $secret "open-sesame";
    set $bucket_upstream s3;
    rewrite ^/m/(.*)$ /media/$1 break;
    proxy_set_header Host s3.example.com;
    proxy_set_header User-Agent $secret;
    {KEEPALIVE}
    proxy_pass http://$bucket_upstream;
"""
OURS = "s3_private_bucket media; s3_private_bucket_endpoint http://127.0.0.1:{origin} upstream=s3;"
KEYS = "access_key_id=AKIDEXAMPLE secret_access_key=data:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
# What stands in the location, and whether the module is loaded.
SETUPS = {
    "floor": (f"proxy_pass http://s3/media/; {KEEPALIVE}", False),
    "recipe": (RECIPE, False),
    "secret": (f"{OURS} s3_private_bucket_auth secret data:open-sesame;", True),
    "sigv4": (f"{OURS} s3_private_bucket_auth sigv4 {KEYS};", True),
    "other-location": (f"proxy_pass http://s3/media/; {KEEPALIVE}", True),
}
CACHED = "proxy_cache c; proxy_cache_valid 200 1d;"


def start(path, core, http, modules="", wrapper=()):
    """An nginx of one process on one core, with `http` in its http{}."""
    (path / "nginx.conf").write_text(f"""
        {modules}
        daemon off; master_process off; user root; pid {path}/pid;
        error_log {path}/error.log crit;
        events {{ worker_connections 512; }}
        http {{
            access_log off; keepalive_requests 10000000;
            client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
            fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi;
            scgi_temp_path {path}/scgi;
            {http}
        }}""")
    nginx = [NGINX, "-p", path, "-e", path / "error.log", "-c", path / "nginx.conf"]
    return subprocess.Popen(
        ["taskset", "-c", str(core), *wrapper, *nginx], stderr=open(path / "stderr", "wb")
    )


class Front:
    """The nginx that is measured, on the first core."""

    def __init__(self, path, origin, setup, cached, wrapper=(), module=MODULE):
        path.mkdir()
        self.port = free_port()
        location, loaded = SETUPS[setup]
        location = location.replace("{origin}", str(origin))
        http = f"""
            proxy_cache_path {path}/cache keys_zone=c:1m inactive=1d;
            upstream s3 {{
                server 127.0.0.1:{origin}; keepalive 32; keepalive_requests 10000000;
            }}
            server {{
                listen 127.0.0.1:{self.port};
                location /m/ {{ {CACHED if cached else ""} {location} }}
            }}"""
        modules = f"load_module {module};" if loaded else ""
        self.process = start(path, 0, http, modules, wrapper)
        wait_until(lambda: accepts(self.port), f"nginx of {path}", 120)

    def stop(self):
        self.process.terminate()
        # Under valgrind a signal does not end nginx's wait for events, a connection does.
        wait_until(lambda: self.process.poll() is not None or not accepts(self.port), "an end", 120)
        self.process.wait(120)

    def request(self, count):
        """Sends requests over one connection, and checks each answer."""
        ask = f"GET /m/{KEY} HTTP/1.1\r\nHost: media.example.com\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", self.port)) as s, s.makefile("rb") as f:
            for _ in range(count):
                s.sendall(ask)
                assert f.readline().split()[1] == b"200"
                while f.readline() != b"\r\n":
                    pass
                assert f.read(len(BODY)) == BODY

    def load(self, seconds):
        """Requests per second, of a client on the second core."""
        out = subprocess.run(
            ["taskset", "-c", "1", "wrk", "-t1", "-c16", f"-d{seconds}",
             f"http://127.0.0.1:{self.port}/m/{KEY}"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "Non-2xx" not in out and "Socket errors" not in out, out
        return float(re.search(r"Requests/sec: +([\d.]+)", out).group(1))

    def memory(self):
        """KiB of its own: what is resident and not of a file."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s+(\d+)", status).group(1))


def origin(path):
    """A plain nginx with the object, on the second core."""
    file = path / "root/media" / KEY
    file.parent.mkdir(parents=True)
    file.write_bytes(BODY)
    port = free_port()
    server = f"server {{ listen 127.0.0.1:{port}; root {path}/root; }}"
    process = start(path, 1, f"open_file_cache max=10; {server}")
    wait_until(lambda: accepts(port), "the origin")
    return process, port


def profile(text):
    """Of a callgrind file: all instructions, and calls and own instructions of SHA-256 compression."""
    names, calls, own, function, called = {}, 0, 0, "", None
    after_calls = False

    def name(line):
        number, _, text = re.search(r"\((\d+)\)( ?)(.*)", line).groups()
        return names.setdefault(number, text)

    for line in text.splitlines():
        if line.startswith("fn="):
            function = name(line)
        elif line.startswith("cfn="):
            called = name(line)
        elif line.startswith("calls="):
            if is_compression(called) and not is_compression(function):
                calls += int(line[6:].split()[0])
            after_calls = True
        elif cost := re.fullmatch(r"[-+*\d]\S* (\d+)", line):
            if not after_calls and is_compression(function):
                own += int(cost[1])
            after_calls = False
    total = int(re.search(r"^(?:summary|totals): (\d+)", text, re.M).group(1))
    return total, calls, own


def is_compression(function):
    return "sha256" in function and "compress" in function


def instructions(work, port, setup, cached):
    """Of one request: all instructions, SHA-256 compressions, and instructions in them."""
    runs = []
    short, long = 200, 700
    for count in (short, long):
        path = work / f"{setup}-{cached}-{count}"
        file = path.with_suffix(".callgrind")
        front = Front(path, port, setup, cached,
                      ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={file}"],
                      module=SYMBOLS)  # fmt: skip
        front.request(count)
        front.stop()
        runs.append(profile(file.read_text()))
    return [(b - a) / (long - short) for a, b in zip(*runs, strict=True)]


def throughput(work, port):
    """Requests per second as ratios to the floor of the same round."""
    ratios = {}
    fronts = {}
    for cached in (False, True):
        for setup in SETUPS:
            fronts[setup, cached] = Front(work / f"{setup}-{cached}", port, setup, cached)
            fronts[setup, cached].load(1)
    for _ in range(ROUNDS):
        for cached in (False, True):
            measured = {setup: fronts[setup, cached].load(SECONDS) for setup in SETUPS}
            for setup, rate in measured.items():
                ratios.setdefault((setup, cached), []).append(rate / measured["floor"])
    for front in fronts.values():
        front.stop()
    return {key: statistics.median(values) for key, values in ratios.items()}


def memory(work, port, setup):
    """KiB of the worker after a tenth of the requests, and after all."""
    front = Front(work / f"memory-{setup}", port, setup, False)
    sizes = []
    for count in (REQUESTS // 10, REQUESTS - REQUESTS // 10):
        done = 0
        while done < count:
            done += int(front.load(SECONDS) * SECONDS)
        sizes.append(front.memory())
    front.stop()
    return sizes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="instructions only; writes nothing")
    args = parser.parse_args()
    lines = []

    def say(line=""):
        print(line, flush=True)
        lines.append(line)

    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        (work / "origin").mkdir()
        server, port = origin(work / "origin")
        try:
            version = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr
            cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()).group(1)
            valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True)
            say("# Results of `make bench`")
            say()
            say(f"{datetime.date.today()}, {version.split()[-1]}, {cpu}, {os.cpu_count()} cores, "
                f"Linux {platform.release()}, {valgrind.stdout.strip()}")  # fmt: skip
            say()
            say("Instructions in user space for a request of a 1 KiB object, and above the floor; SHA-256")
            say("compression is separate, since valgrind hides the processor's instructions for it.")
            say()
            say("| setup | miss | above | hit | above | SHA-256 calls | instructions in them |")
            say("| --- | --- | --- | --- | --- | --- | --- |")
            floors = None
            for setup in SETUPS:
                miss, calls, own = instructions(work, port, setup, False)
                hit, hit_calls, _ = instructions(work, port, setup, True)
                assert hit_calls == 0, "something is signed on a cache hit"
                bare = miss - own
                floors = floors or (bare, hit)
                say(f"| {setup} | {bare:,.0f} | {bare - floors[0]:+,.0f} | {hit:,.0f} | "
                    f"{hit - floors[1]:+,.0f} | {calls:.0f} | {own:,.0f} |")  # fmt: skip
            if args.quick:
                return
            say()
            say(f"Throughput beside the floor in the same round, median of {ROUNDS}:")
            say()
            say("| setup | miss | hit |")
            say("| --- | --- | --- |")
            work = work / "throughput"
            work.mkdir()
            ratios = throughput(work, port)
            for setup in SETUPS:
                say(f"| {setup} | {ratios[setup, False]:.2f} | {ratios[setup, True]:.2f} |")
            say()
            say(f"Memory of the worker (anonymous, KiB), {REQUESTS:,} requests:")
            say()
            say("| setup | after a tenth | after all |")
            say("| --- | --- | --- |")
            for setup in ("floor", "secret", "sigv4"):
                first, last = memory(work, port, setup)
                say(f"| {setup} | {first:,} | {last:,} |")
        finally:
            server.terminate()
            server.wait()
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
