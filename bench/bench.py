"""make bench: what a request costs in nginx, beside plain proxy_pass and the hand-written recipe.

Instructions per request by callgrind, as the difference of two run lengths: they repeat whatever
else the machine does. Throughput by wrk and by nginx's processor time, as ratios within a round.
Prints tables and writes them to bench/RESULTS.md. Fails when an aim is missed.
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
# Sizes of a request's pool, nginx's own first. Whether a request just fits into a block is luck, for the
# floor too: it averages out.
POOLS = ["4k", "5k", "6k", "7k", "8k"]
# What glibc's malloc() costs depends on where the heap's pieces happen to lie, by up to 300 instructions
# a request. This one's cost does not.
JEMALLOC = next(Path("/usr/lib").glob("*/libjemalloc.so.2"), None)
ROUNDS = 9
SECONDS = 2
REQUESTS = 200_000
RESULTS = Path(__file__).with_name("RESULTS.md")

# At most so many instructions above the floor, on a miss (beside SHA-256 compression) and on a hit.
ABOVE = {
    "secret": (3000, 2420), "sigv4": (6000, 2460), "sigv4-renewed": (6400, 2470), "other-location": (20, 20),
}  # fmt: skip
# At most so many more where what S3 answers is counted, on a miss and on a hit.
COUNTING = (60, 20)
# By how many two measurements of the same differ.
REPEATS = 20
COMPRESSIONS = 9
THROUGHPUT = 0.97
MEMORY_ABOVE, MEMORY_GROWTH = 1024, 64

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
    # The same key in a file, which is renewed when that changes.
    "sigv4-renewed": (f"{OURS} s3_private_bucket_auth sigv4 file={{keys}};", True),
    # The same key, and what S3 answers is counted.
    "sigv4-counted": (f"{OURS} s3_private_bucket_auth sigv4 {KEYS};", True),
    "other-location": (f"proxy_pass http://s3/media/; {KEEPALIVE}", True),
}
KEYS_FILE = """[default]
aws_access_key_id = AKIDEXAMPLE
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY
"""
# A server that shows what is counted.
STATUS = "server {{ listen unix:{}/status; location / {{ s3_private_bucket_status; }} }}"
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

    def __init__(
        self, path, origin, setup, cached=False, wrapper=(), module=MODULE, pool=POOLS[0], http=""
    ):
        path.mkdir(parents=True)
        self.port = free_port()
        if setup == "sigv4-counted":
            http += STATUS.format(path)
        location, loaded = SETUPS[setup] if isinstance(setup, str) else setup
        (path / "keys").write_text(KEYS_FILE)
        (path / "keys").chmod(0o600)
        location = location.replace("{origin}", str(origin)).replace("{keys}", str(path / "keys"))
        http = f"""
            {http}
            request_pool_size {pool};
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
        """Requests of a client on the second core: per second, and per second of nginx's processor."""
        before = self.processor_time()
        out = subprocess.run(
            ["taskset", "-c", "1", "wrk", "-t1", "-c16", f"-d{seconds}",
             f"http://127.0.0.1:{self.port}/m/{KEY}"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "Non-2xx" not in out and "Socket errors" not in out, out
        count = int(re.search(r"(\d+) requests in", out).group(1))
        rate = float(re.search(r"Requests/sec: +([\d.]+)", out).group(1))
        return rate, count / (self.processor_time() - before)

    def processor_time(self):
        """In seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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


class Profile:
    """What a callgrind file counts."""

    def __init__(self, text):
        # All instructions but those of the clock, which nginx formats once a second; those of SHA-256
        # compression, and calls.
        self.total = int(re.search(r"^(?:summary|totals): (\d+)", text, re.M).group(1))
        self.compression = self.compressions = self.allocations = self.connects = 0
        names, function, called, after_calls = {}, "", "", False

        def name(line):
            number, _, text = re.search(r"\((\d+)\)( ?)(.*)", line).groups()
            return names.setdefault(number, text)

        for line in text.splitlines():
            if line.startswith("fn="):
                function = name(line)
            elif line.startswith("cfn="):
                called = name(line)
            elif line.startswith("calls="):
                self.count(function, called, int(line[6:].split()[0]))
                after_calls = True
            elif cost := re.fullmatch(r"[-+*\d]\S* (\d+)", line):
                if after_calls and called == "ngx_time_update":
                    self.total -= int(cost[1])
                elif not after_calls and self.is_compression(function):
                    self.compression += int(cost[1])
                after_calls = False

    @staticmethod
    def is_compression(function):
        return "sha256" in function and "compress" in function

    def count(self, function, called, calls):
        if self.is_compression(called) and not self.is_compression(function):
            self.compressions += calls
        if "s3_private_bucket_module::" in function and re.fullmatch("ngx_p(n|c|)alloc", called):
            self.allocations += calls
        if called == "ngx_event_connect_peer":
            self.connects += calls

    def per_request(self, shorter, requests):
        """What one request counts, by a run that was longer by so many."""
        for key, value in vars(shorter).items():
            setattr(self, key, (getattr(self, key) - value) / requests)
        return self


def instructions(work, port, setup, cached, pool):
    """What one request counts."""
    profiles = []
    short, long = 200, 700
    for count in (short, long):
        # All names are of one length: that of the cache's files counts.
        path = Path(tempfile.mkdtemp(dir=work))
        file = path / "callgrind"
        front = Front(path / "nginx", port, setup, cached,
                      ["env", f"LD_PRELOAD={JEMALLOC}", "valgrind", "-q", "--tool=callgrind",
                       f"--callgrind-out-file={file}"], SYMBOLS, pool)  # fmt: skip
        front.request(count)
        front.stop()
        profiles.append(Profile(file.read_text()))
    one = profiles[1].per_request(profiles[0], long - short)
    assert round(one.connects) == (0 if cached else 1), f"{one.connects} requests to the origin"
    return one


def throughput(work, port):
    """Requests per second, and per second of nginx's processor, as ratios to the floor of the round."""
    ratios = {}
    fronts = {}
    setups = list(SETUPS)
    for cached in (False, True):
        for setup in setups:
            fronts[setup, cached] = Front(work / f"{setup}-{cached}", port, setup, cached)
            fronts[setup, cached].load(1)
    for _ in range(ROUNDS):
        # Each is first in some round.
        setups.append(setups.pop(0))
        for cached in (False, True):
            measured = {setup: fronts[setup, cached].load(SECONDS) for setup in setups}
            for setup, rates in measured.items():
                pairs = zip(rates, measured["floor"], strict=True)
                ratios.setdefault((setup, cached), []).append([a / b for a, b in pairs])
    for front in fronts.values():
        front.stop()
    return {key: [statistics.median(column) for column in zip(*rows, strict=True)]
            for key, rows in ratios.items()}  # fmt: skip


def memory(work, port, setup, cached):
    """KiB of the worker after a tenth of the requests, and after all."""
    front = Front(work / f"memory-{setup}-{cached}", port, setup, cached)
    sizes = []
    for count in (REQUESTS // 10, REQUESTS - REQUESTS // 10):
        done = 0
        while done < count:
            done += int(front.load(SECONDS)[0] * SECONDS)
        sizes.append(front.memory())
    front.stop()
    return sizes


class Report:
    """Prints lines and aims, and keeps them."""

    def __init__(self):
        self.lines, self.missed = [], []

    def say(self, *lines):
        for line in lines or [""]:
            print(line, flush=True)
            self.lines.append(line)

    def aim(self, what, value, bound, shown):
        """A cell with a value that is to be at most, or as a negative one at least, its bound."""
        if value <= bound:
            return shown
        self.missed.append(what)
        return f"{shown} (missed)"


def report_instructions(report, work, port):
    report.say(
        f"Instructions in user space for a request of a 1 KiB object, means over request pools of "
        f"{POOLS[0]} to {POOLS[-1]};", "above: above the floor, where the aim is a maximum; with jemalloc, as the "
        "cost of glibc's malloc() varies. They", f"repeat within {REPEATS}. SHA-256 compression is counted "
        "apart, since valgrind hides the processor's instructions for it.", "",
        "| setup | miss | above | aim | hit | above | aim |", "| --- | --- | --- | --- | --- | --- | --- |",
    )  # fmt: skip
    counted = {
        (setup, cached): [instructions(work, port, setup, cached, pool) for pool in POOLS]
        for setup in SETUPS for cached in (False, True)
    }  # fmt: skip

    def mean(setup, cached):
        return statistics.mean(one.total - one.compression for one in counted[setup, cached])

    for setup in SETUPS:
        cells = [setup]
        for cached in (False, True):
            total = mean(setup, cached)
            over = total - mean("floor", cached)
            bound = ABOVE.get(setup, (None, None))[cached]
            shown = f"{over:+,.0f}"
            if bound is not None:
                what = f"{setup}: {'hit' if cached else 'miss'}"
                shown = report.aim(what, over, bound + REPEATS, shown)
            cells += [f"{total:,.0f}", shown, f"{bound:,}" if bound is not None else ""]
        report.say(f"| {' | '.join(cells)} |")

    one = {setup: counted[setup, False][0] for setup in SETUPS}
    signed = one["sigv4"]
    # None would mean that its name has changed.
    assert signed.compressions >= 1 and signed.compression > 0
    signs = [(setup, False) for setup in ("sigv4", "sigv4-renewed", "sigv4-counted")]
    assert all(p.compressions == 0 for key, all_ in counted.items() if key not in signs
               for p in all_), "something is signed on a cache hit, or without a signature"  # fmt: skip
    calls = report.aim("compressions", round(signed.compressions), COMPRESSIONS,
                       f"{signed.compressions:.0f}")  # fmt: skip
    assert one["secret"].allocations >= 1
    room = round(signed.allocations - one["secret"].allocations)
    allocations = report.aim("pool allocations", room, 1, str(room))
    report.say(
        "",
        f"A signature takes {calls} SHA-256 compressions (aim: {COMPRESSIONS}), {signed.compression:,.0f} "
        f"instructions without hardware for them, and", f"{allocations} pool allocations (aim: 1) more than a "
        f"secret, which takes {one['secret'].allocations:.0f}. Nothing is signed on a hit.",
    )  # fmt: skip
    cells = []
    for cached, bound in zip((False, True), COUNTING, strict=True):
        more = mean("sigv4-counted", cached) - mean("sigv4", cached)
        what = f"counting: {'hit' if cached else 'miss'}"
        cells.append(f"{report.aim(what, more, bound + REPEATS, f'{more:+,.0f}')} (aim: {bound})")
    report.say(
        "", "What `s3_private_bucket_status` shows costs a request that a location counts so many instructions: "
        f"{cells[0]} on a miss, {cells[1]} on", "a hit.",
    )  # fmt: skip


def report_throughput(report, work, port):
    report.say(
        "", f"Throughput beside the floor in the same round, median of {ROUNDS}: requests per second, and per "
        "second of nginx's", f"processor. The aim for a secret is {THROUGHPUT} of the latter.", "",
        "| setup | miss, per second | of the processor | hit, per second | of the processor |",
        "| --- | --- | --- | --- | --- |",
    )  # fmt: skip
    ratios = throughput(work, port)
    for setup in SETUPS:
        cells = [setup]
        for cached in (False, True):
            rate, efficiency = ratios[setup, cached]
            shown = f"{efficiency:.2f}"
            if setup == "secret":
                shown = report.aim(f"throughput, {cached=}", -round(efficiency, 2), -THROUGHPUT, shown)
            cells += [f"{rate:.2f}", shown]
        report.say(f"| {' | '.join(cells)} |")


def report_memory(report, work, port):
    report.say(
        "", f"Memory of the worker (anonymous, KiB), {REQUESTS:,} requests. The aim is {MEMORY_ABOVE:,} above the "
        f"floor, and {MEMORY_GROWTH} from", "a tenth of them to all.", "",
        "| setup | miss, a tenth | all | hit, a tenth | all |", "| --- | --- | --- | --- | --- |",
    )  # fmt: skip
    floors = {}
    for setup in ("floor", "secret", "sigv4"):
        cells = [setup]
        for cached in (False, True):
            first, last = memory(work, port, setup, cached)
            floor = floors.setdefault(cached, last)
            shown = report.aim(f"memory of {setup}", last - floor, MEMORY_ABOVE, f"{last:,}")
            shown = report.aim(f"growth of {setup}", last - first, MEMORY_GROWTH, shown)
            cells += [f"{first:,}", shown]
        report.say(f"| {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="instructions only; writes nothing")
    args = parser.parse_args()
    report = Report()
    if JEMALLOC is None:
        sys.exit("libjemalloc.so.2 is missing: run tests/setup.sh bench")
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        (work / "origin").mkdir()
        server, port = origin(work / "origin")
        try:
            version = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr
            cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()).group(1)
            valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True)
            report.say(
                "# Results of `make bench`", "",
                f"{datetime.date.today()}, {version.split()[-1]}, {cpu}, {os.cpu_count()} cores, "
                f"Linux {platform.release()}, {valgrind.stdout.strip()}", "",
            )  # fmt: skip
            report_instructions(report, work, port)
            # It counts with what is above.
            import kept
            import listing

            kept.report(report, work / "kept", args.quick)
            listing.report(report, work / "listing", args.quick)
            if not args.quick:
                report_throughput(report, work / "throughput", port)
                report_memory(report, work / "memory", port)
        finally:
            server.terminate()
            server.wait()
    if not args.quick:
        RESULTS.write_text("\n".join(report.lines) + "\n")
    if report.missed:
        sys.exit(f"missed: {', '.join(report.missed)}")


if __name__ == "__main__":
    main()
