"""The part of make bench that is about connections over TLS, and about many locations."""

import os
import statistics
import subprocess
from collections import Counter

from bench import (
    BODY,
    JEMALLOC,
    KEY,
    KEEPALIVE,
    MEMORY_GROWTH,
    MODULE,
    NGINX,
    REQUESTS,
    SYMBOLS,
    Front,
    Profile,
    accepts,
    free_port,
    start,
    wait_until,
)
from harness import Dns, make_ca, make_cert

NAME = "s3.example.com"
# The three lines in relation to the group by hand, in instructions.
ABOVE_GROUP = 1.05
# `nginx -t` with 1,000 locations.
SECONDS, MEGABYTES = 1, 80
# Requests of two runs, the difference of which is counted, and of one whose connections are.
COUNTED, LOGGED = {"group by hand": (200, 700), "three lines": (200, 700), "recipe": (10, 30)}, 1000


class Origin:
    """A plain nginx with the object over TLS, whose log tells connections and handshakes."""

    def __init__(self, path):
        self.ca = make_ca(path / "ca")
        certificate, key = make_cert(path / "ca", "origin", [f"DNS:{NAME}"])
        self.port, self.log = free_port(), path / "log"
        file = path / "root/media" / KEY
        file.parent.mkdir(parents=True)
        file.write_bytes(BODY)
        self.process = start(path, 1, f"""
            open_file_cache max=10; ssl_session_cache shared:s:1m;
            log_format tls '$connection $ssl_session_reused';
            server {{
                listen 127.0.0.1:{self.port} ssl; root {path}/root; access_log {self.log} tls;
                ssl_certificate {certificate}; ssl_certificate_key {key};
            }}""")  # fmt: skip
        wait_until(lambda: accepts(self.port), "the origin over TLS")
        self.dns = Dns("127.0.0.1", host="127.0.0.162", ttl=3600)

    def setups(self):
        """What stands in the location, and whether the module is loaded."""
        verify = f"proxy_ssl_trusted_certificate {self.ca};"
        ours = (f"s3_private_bucket media; s3_private_bucket_auth secret data:open-sesame; {verify}"
                f"s3_private_bucket_endpoint https://{NAME}:{self.port}")  # fmt: skip
        names = f"proxy_ssl_server_name on; proxy_ssl_name {NAME};"
        secret = 'proxy_set_header User-Agent "open-sesame";'
        return {
            "group by hand": (f"{ours} upstream=tls;", True),
            "three lines": (f"{ours};", True),
            "recipe": (
                f"""set $s3 {NAME}:{self.port}; rewrite ^/m/(.*)$ /media/$1 break; {names}
                {KEEPALIVE} {secret} proxy_pass https://$s3;""", False),
        }  # fmt: skip

    def front(self, path, setup, wrapper=(), module=MODULE):
        http = f"""resolver 127.0.0.162; upstream tls {{
            server 127.0.0.1:{self.port}; keepalive 64; keepalive_requests 1000; }}"""
        return Front(path, self.port, self.setups()[setup], False, wrapper, module, http=http)

    def handshakes(self):
        """Full ones and resumed ones of the requests since the last time."""
        connections = dict(line.split() for line in self.log.read_text().splitlines())
        self.log.write_text("")
        count = Counter(connections.values())
        return count["."], count["r"]

    def close(self):
        self.dns.close()
        self.process.terminate()
        self.process.wait()


def instructions(origin, path, setup):
    """What one request counts."""
    profiles = []
    for count in COUNTED[setup]:
        file = path / f"callgrind-{len(profiles)}"
        wrapper = ["env", f"LD_PRELOAD={JEMALLOC}", "valgrind", "-q", "--tool=callgrind",
                   f"--callgrind-out-file={file}"]  # fmt: skip
        front = origin.front(path / f"nginx-{len(profiles)}", setup, wrapper, SYMBOLS)
        front.request(count)
        front.stop()
        profiles.append(Profile(file.read_text()))
    short, long = COUNTED[setup]
    return profiles[1].per_request(profiles[0], long - short).total


def report_connections(report, path, quick):
    report.say(
        "", f"Over TLS: instructions for a request, and the connections and handshakes of {LOGGED:,} requests "
        "one after another, counted", f"at the origin. The aim for three lines is {ABOVE_GROUP} of a group by "
        "hand, which keeps connections to one endpoint; the recipe", "(without verification) keeps none.", "",
        "| setup | instructions | of the group's | handshakes in full | resumed |",
        "| --- | --- | --- | --- | --- |",
    )  # fmt: skip
    (path / "origin").mkdir(parents=True)
    origin = Origin(path / "origin")
    try:
        group = None
        for number, setup in enumerate(COUNTED):
            if quick and setup == "recipe":
                continue
            (path / str(number)).mkdir()
            total = instructions(origin, path / str(number), setup)
            group = group or total
            origin.handshakes()
            front = origin.front(path / str(number) / "logged", setup)
            front.request(LOGGED)
            front.stop()
            full, resumed = origin.handshakes()
            ratio = f"{total / group:.3f}"
            if setup == "three lines":
                ratio = report.aim("three lines over TLS", total, group * ABOVE_GROUP, ratio)
                full = report.aim("connections", full + resumed, 3, str(full))
            report.say(f"| {setup} | {total:,.0f} | {ratio} | {full} | {resumed} |")
        if not quick:
            report_memory(report, path, origin)
    finally:
        origin.close()


def report_memory(report, path, origin):
    front = origin.front(path / "memory", "three lines")
    sizes = []
    for count in (REQUESTS // 10, REQUESTS - REQUESTS // 10):
        done = 0
        while done < count:
            done += int(front.load(2)[0] * 2)
        sizes.append(front.memory())
    front.stop()
    full, resumed = origin.handshakes()
    grown = report.aim("growth over TLS", sizes[1] - sizes[0], MEMORY_GROWTH, f"{sizes[1]:,}")
    report.say(
        "", f"Three lines under 16 clients: {sizes[0]:,} KiB of the worker's own after a tenth of {REQUESTS:,} "
        f"requests, {grown} after all,", f"with {full + resumed:,} connections.",
    )  # fmt: skip


def check(path, locations, module):
    """Seconds of the processor and MB that `nginx -t` takes."""
    path.mkdir(parents=True)
    (path / "nginx.conf").write_text(f"""
        {f"load_module {MODULE};" if module else ""} user root;
        pid {path}/pid; error_log {path}/error.log crit; events {{ }}
        http {{
            client_body_temp_path {path}/body; proxy_temp_path {path}/proxy; fastcgi_temp_path
            {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
            resolver 127.0.0.1; server {{ listen 127.0.0.1:1; {locations} }}
        }}""")
    nginx = [NGINX, "-p", path, "-e", path / "error.log", "-c", path / "nginx.conf", "-t", "-q"]
    process = subprocess.Popen(nginx)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, (path / "error.log").read_text()
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def report_start(report, path, quick):
    report.say(
        "", "`nginx -t` with as many locations over https, that trust the system's certificates: processor seconds "
        f"and MB, median of 3. The", f"aims with 1,000 are {SECONDS} s and {MEGABYTES} MB.", "",
        "| locations | with a bucket | plain proxy_pass |", "| --- | --- | --- |",
    )  # fmt: skip
    plain = "proxy_pass https://$host; proxy_ssl_verify on; proxy_ssl_trusted_certificate {};"
    plain = plain.format("/etc/ssl/certs/ca-certificates.crt")
    ours = "s3_private_bucket bucket-{}; s3_private_bucket_auth secret data:open-sesame;"
    for count in (1, 100, 1000):
        cells = []
        for name, text in [("ours", ours), ("plain", plain)]:
            if quick and name == "plain":
                cells.append("")
                continue
            places = "".join(f"location /{i}/ {{ {text.format(i)} }}" for i in range(count))
            rounds = 1 if name == "plain" and count == 1000 else 3
            measured = [
                check(path / f"{name}-{count}-{i}", places, name == "ours") for i in range(rounds)
            ]
            seconds, memory = (statistics.median(column) for column in zip(*measured, strict=True))
            shown = [f"{seconds:.2f} s", f"{memory:.0f} MB"]
            if name == "ours" and count == 1000:
                shown[0] = report.aim("seconds of nginx -t", seconds, SECONDS, shown[0])
                shown[1] = report.aim("memory of nginx -t", memory, MEGABYTES, shown[1])
            cells.append(", ".join(shown))
        report.say(f"| {count:,} | {cells[0]} | {cells[1]} |")


def report(report, path, quick):
    """Adds the tables to a report."""
    report_connections(report, path / "tls", quick)
    report_start(report, path / "start", quick)
