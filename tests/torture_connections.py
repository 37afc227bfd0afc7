"""Connections that are kept: an S3 that closes them, names that move, reloads under load."""

import random
import re
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness import TIMEOUT, Dns, Nginx, read_response, request, tiny_s3, wait_until
from test_connections import LOG, Origin, make, tls, trust  # noqa: F401 (fixtures)

CLIENTS = 4


class Clients:
    """Clients that ask until they are told to stop, over a connection each time."""

    def __init__(self, port, target):
        self.port, self.target = port, target
        self.answers, self.over = [], threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(CLIENTS)]

    def ask(self):
        while not self.over.is_set():
            try:
                self.answers.append(request(self.port, self.target).status)
            except OSError as error:
                self.answers.append(repr(error))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


CLOSES = {
    "after 7 requests": {"most": 7},
    "after 7 requests, and says so": {"most": 7, "says_so": True},
    "with the 7th request unanswered": {"most": 7, "swallows": True},
    "after 50 ms of idleness": {"idle": 0.05},
}


def statuses(port, target, count, clients, pause=None):
    """Counts what clients get that ask over a connection each; with a pause, all at once and behind it."""
    meet = threading.Barrier(clients, pause)

    def client():
        got = Counter()
        with socket.create_connection(("127.0.0.1", port)) as s, s.makefile("rb") as f:
            for _ in range(count // clients):
                if pause:
                    meet.wait(TIMEOUT)
                s.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                got[read_response(f).status] += 1
        return got

    with ThreadPoolExecutor(clients) as pool:
        return sum((done.result() for done in [pool.submit(client) for _ in range(clients)]), Counter())


@pytest.mark.parametrize("addresses", [1, 4])
@pytest.mark.parametrize("how", CLOSES)
def test_no_request_fails_when_s3_closes(make, how, addresses, quick, held):  # noqa: F811
    hosts = [f"127.0.0.{i}" for i in range(1, addresses + 1)]
    origin = make.origin(hosts=hosts)
    vars(origin).update(CLOSES[how])
    make.dns(hosts)
    n = make.nginx(
        origin.url, "keepalive_requests 10000; location /m/ { s3_private_bucket example-bucket; }"
    )
    clients, pause = CLIENTS, None
    if origin.idle:
        # Some connections are closed before they are used again, some just then.
        clients, pause = 50, lambda: time.sleep(random.uniform(0.4, 1.1) * origin.idle)
    count = 400 if quick else 10_000
    assert statuses(n.port, "/m/a", count, clients, pause) == {200: count}
    # Of more than one address.
    asked_again = sum(len(line) > 4 for line in make.log(count))
    held(f"S3 closes connections {how}, {addresses} address{'es' if addresses > 1 else ''}",
         f"{count:,} requests over {len(origin.connections):,} connections, none failed; "
         f"{asked_again:,} were asked again")  # fmt: skip


class Moving(Dns):
    """A name server that names other addresses each time."""

    def records(self, kind):
        self.address = [f"127.0.0.{i}" for i in random.sample(range(2, 200), 8)]
        return super().records(kind)


def anonymous(n):
    """KiB that the worker has for itself."""
    (worker,) = n.workers()
    return int(re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{worker}/status").read_text())[1])


def test_names_that_move(tmp_path, secret, quick, held):
    """Each location has a name of its own, so that each asks once a second."""
    # An address that left is known for 15 seconds more: until then there are ever more.
    count, parts, bound = (40, (40, 120), 2048) if quick else (40, (800, 2000), 256)
    origin = Origin(hosts=[f"127.0.0.{i}" for i in range(2, 200)], answer=tiny_s3)
    origin.most = 5
    dns = Moving("127.0.0.2", host="127.0.0.161", ttl=0)
    places = "".join(
        f"location /{i}/ {{ s3_private_bucket bucket-{i}; s3_private_bucket_addressing virtual; }}"
        for i in range(count)
    )
    n = Nginx(
        tmp_path / "n",
        places,
        f"{LOG} resolver 127.0.0.161 ipv6=off; s3_private_bucket_endpoint {origin.url};"
        f"s3_private_bucket_auth secret {secret}; s3_private_bucket_keepalive 4 timeout=1s;",
    )
    with n:
        sizes = []

        def round_of_all():
            for i in range(count):
                assert request(n.port, f"/{i}/a").status == 200
            return len(dns.asked)

        for part in parts:
            wait_until(lambda part=part: round_of_all() >= part, f"{part} questions", 120)
            sizes.append(anonymous(n))
    dns.close()
    origin.close()
    assert sizes[1] < sizes[0] + bound, sizes
    held(f"{len(dns.asked):,} answers of DNS, each with 8 other addresses, {count} locations",
         f"none of {len(origin.requests):,} requests failed; the worker has {sizes[0]:,} KiB after "
         f"{parts[0]:,} answers, {sizes[1]:,} KiB at the end")  # fmt: skip


def test_reloads_under_load(make, ca, tls, quick, held):  # noqa: F811
    origin = make.origin(tls)
    make.dns("127.0.0.1", ttl=1)
    n = make.nginx(
        origin.url, f"location /m/ {{ s3_private_bucket example-bucket; {trust(ca)} }}"
    )
    count = 3 if quick else 10
    with Clients(n.port, "/m/a") as clients:
        for i in range(count):
            asked = len(clients.answers)
            n.reload()
            wait_until(lambda asked=asked: len(clients.answers) > asked + 20, "requests")
    # A client that meets a listening socket as its worker ends is refused by the system.
    assert set(clients.answers) == {200}
    # Those of the last worker are left.
    wait_until(lambda: len(origin.open) <= CLIENTS, "old connections to close")
    held(f"{count} reloads", f"none of {len(clients.answers):,} requests failed; {len(origin.open)} of "
         f"{len(origin.connections)} connections to S3 are open")  # fmt: skip


def test_clients_that_leave_in_a_handshake(make, ca, tls, held):  # noqa: F811
    """S3 never answers the handshake; what is left of it must not be used again."""
    dead = socket.create_server(("127.0.0.1", 0), backlog=64)
    make.dns("127.0.0.1", ttl=60)
    url = f"https://s3.example.com:{dead.getsockname()[1]}"
    n = make.nginx(
        url,
        f"location /m/ {{ s3_private_bucket example-bucket; {trust(ca)} proxy_connect_timeout 1s; }}",
    )
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", n.port)) as s:
            s.sendall(b"GET /m/a HTTP/1.1\r\nHost: a\r\n\r\n")
    with socket.create_connection(("127.0.0.1", n.port)) as s, s.makefile("rb") as f:
        s.sendall(b"GET /m/a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_response(f).status == 504
    dead.close()
    held("20 clients that leave while S3 is silent in a handshake", "the next one gets 504")
