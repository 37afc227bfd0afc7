"""The part of make bench that is about folders as pages."""

import socket

from bench import (
    JEMALLOC, KEEPALIVE, KEYS, MEMORY_GROWTH, OURS, SYMBOLS, Front, Profile, accepts, free_port, start, wait_until,
)  # fmt: skip

ENTRIES = 1000
# Instructions for a page of so many entries, above passing S3's XML through.
ABOVE = 1_500_000
# Requests of two runs, the difference of which is counted.
COUNTED = (20, 70)
# Of one worker, and how many KiB it may have above one that passes XML through.
LISTINGS, MEMORY = 10_000, 2048


def xml():
    """A listing as AWS sends it: 50 folders, and files whose keys have 30 bytes."""
    files = "".join(
        f"<Contents><Key>photos-of-2026/img-{i:07}.jpg</Key><LastModified>2026-11-02T10:{i % 60:02}:00.000Z</LastModified>"
        f"<ETag>&quot;d41d8cd98f00b204e98009{i:010}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
        f"<ChecksumType>FULL_OBJECT</ChecksumType><Size>{i * 1000}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for i in range(ENTRIES - 50)
    )
    folders = "".join(f"<CommonPrefixes><Prefix>photos-of-2026/day-{i:03}/</Prefix></CommonPrefixes>" for i in range(50))
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>media</Name><Prefix>photos-of-2026/</Prefix><KeyCount>{ENTRIES}</KeyCount><MaxKeys>1000</MaxKeys>"
            f"<Delimiter>/</Delimiter><IsTruncated>false</IsTruncated>{files}{folders}</ListBucketResult>").encode()  # fmt: skip


def setups():
    """What stands in the location, and whether the module is loaded."""
    ours = f"{OURS} s3_private_bucket_auth sigv4 {KEYS}; s3_private_bucket_autoindex"
    return {
        "XML passed through": (f"proxy_pass http://s3/media/; {KEEPALIVE}", False),
        "HTML": (f"{ours} html;", True),
        "JSON": (f"{ours} json;", True),
    }


def origin(path):
    """A plain nginx with the listing, on the second core."""
    path.mkdir(parents=True)
    (path / "list").write_bytes(xml())
    port = free_port()
    server = f"server {{ listen 127.0.0.1:{port}; root {path}; default_type application/xml; location / {{ try_files /list =404; }} }}"
    process = start(path, 1, f"open_file_cache max=10; {server}")
    wait_until(lambda: accepts(port), "the origin of listings")
    return process, port


def request(front, count):
    """Asks for the folder over one connection; returns the last answer."""
    ask = b"GET /m/photos-of-2026/ HTTP/1.1\r\nHost: media.example.com\r\n\r\n"
    with socket.create_connection(("127.0.0.1", front.port)) as s, s.makefile("rb") as f:
        for _ in range(count):
            s.sendall(ask)
            assert f.readline().split()[1] == b"200"
            while (line := f.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split()[1])
            body = f.read(length)
    return body


def instructions(path, port, setup):
    """What one request counts, but for SHA-256."""
    profiles = []
    for count in COUNTED:
        file = path / f"callgrind-{len(profiles)}"
        wrapper = ["env", f"LD_PRELOAD={JEMALLOC}", "valgrind", "-q", "--tool=callgrind",
                   f"--callgrind-out-file={file}"]  # fmt: skip
        front = Front(path / f"nginx-{len(profiles)}", port, setup, False, wrapper, SYMBOLS)
        body = request(front, count)
        assert body.count(b"day-0") >= 50 and body.count(b"img-0") >= ENTRIES - 50
        front.stop()
        profiles.append(Profile(file.read_text()))
    one = profiles[1].per_request(profiles[0], COUNTED[1] - COUNTED[0])
    return one.total - one.compression


def memory(path, port, setup):
    """KiB of the worker after a tenth of the listings, and after all."""
    front = Front(path / "memory", port, setup)
    sizes = []
    for count in (LISTINGS // 10, LISTINGS - LISTINGS // 10):
        request(front, count)
        sizes.append(front.memory())
    front.stop()
    return sizes


def report(report, path, quick):
    """Adds the table to a report."""
    report.say(
        "", f"A folder of {ENTRIES:,} entries as a page: instructions, counted as above, and KiB of the worker's own after "
        f"a tenth of {LISTINGS:,}", f"pages and after all. The aims are {ABOVE:,} instructions and {MEMORY:,} KiB above passing S3's XML "
        f"through, and {MEMORY_GROWTH} KiB", "from a tenth to all.", "",
        "| setup | instructions | above | memory, a tenth | all |", "| --- | --- | --- | --- | --- |",
    )  # fmt: skip
    server, port = origin(path / "origin")
    floor = None
    try:
        for name, setup in setups().items():
            work = path / name.replace(" ", "-")
            work.mkdir()
            total = instructions(work, port, setup)
            sizes = ("", "") if quick else memory(work, port, setup)
            floor = floor or (total, sizes[1])
            above = report.aim(f"{name} of a folder", total - floor[0], ABOVE, f"{total - floor[0]:+,.0f}")
            if not quick:
                shown = report.aim(f"memory of {name}", sizes[1] - floor[1], MEMORY, f"{sizes[1]:,}")
                shown = report.aim(f"growth of {name}", sizes[1] - sizes[0], MEMORY_GROWTH, shown)
                sizes = (f"{sizes[0]:,}", shown)
            report.say(f"| {name} | {total:,.0f} | {above} | {sizes[0]} | {sizes[1]} |")
    finally:
        server.terminate()
        server.wait()
