"""Fuzzing: the pure code, led by its coverage (libFuzzer), and directives in nginx -t.

The corpus in tests/fuzz has what a fuzzer began with and what it stopped at.
"""

import os
import random
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import ROOT, Nginx

FUZZ = ROOT / "tests/fuzz"
TARGETS = {
    "key": "keys, their encoding, arguments, redirects to folders",
    "credentials": "credentials files and secrets",
    "scope": "signatures and presigned URLs of any scope, with what operators add, verified from their text",
    "listing": "listings in XML, whole and in pieces, and the pages that are written of them",
    "answer": "S3's error bodies, statuses and headers",
    "source": "sources of keys: their addresses and answers, what they are asked",
    "response": "answers of HTTP in pieces: their heads, and where their bodies end",
    "directive": "endpoints, bucket names, regions, resolv.conf",
}


def fuzz(target, *args):
    (binary,) = ROOT.glob(f"target/fuzz/*/release/{target}")
    p = subprocess.run([binary, *args], capture_output=True, cwd=FUZZ)
    output = p.stderr.decode(errors="replace")
    assert p.returncode == 0, f"{target}: keep the input in tests/fuzz/corpus\n{output[-3000:]}"
    return output


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus(target):
    files = [str(file) for file in (FUZZ / "corpus" / target).iterdir()]
    output = fuzz(target, *files)
    assert output.count("Executed") == len(files)


def test_new_inputs(tmp_path, quick, held):
    seconds = 2 if quick else 15

    def run(target):
        found = tmp_path / target
        found.mkdir()
        output = fuzz(target, f"-max_total_time={seconds}", "-print_final_stats=1", "-max_len=4096",
                      f"-dict={FUZZ}/dictionary", f"-artifact_prefix={found}/", str(found),
                      f"corpus/{target}")  # fmt: skip
        inputs = int(re.search(r"number_of_executed_units: (\d+)", output).group(1))
        # It was led somewhere.
        assert len(list(found.iterdir())) > 20, output[-3000:]
        return inputs

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (_, what), inputs in zip(TARGETS.items(), pool.map(run, TARGETS), strict=True):
            held(f"{inputs:,} inputs: {what}", "no panic, no overflow, every property")


NAMES = ["", "_region", "_endpoint", "_addressing", "_auth", "_expected_owner", "_presigned_expires",
         "_key", "_index", "_pass_args", "_set_arg", "_set_header", "_pass_headers", "_errors", "_append_slash",
         "_website_redirects"]  # fmt: skip
WORDS = [
    "off", "on", "example-bucket", "my.bucket", "$host", "${uri}", "$1", "$", "${", "$nothing",
    "prefix=a/", "prefix=/a", "prefix=$host/", "prefix=../", "prefix=", "eu-central-1", "a b", "",
    "https://s3.example.com", "http://127.0.0.1:9", "https://[::1]:443/", "http://h/p?q", "upstream=u",
    "upstream=", "auto", "virtual", "path", "secret", "sigv4", "sigv2", "none", "data:hush-hush", "data:",
    "data:hush\\thush", "file=/nonexistent/hush", "file=", "profile=p", "env", "service=s3", "header=Host",
    "header=X-Secret", "access_key_id=AKID", "secret_access_key=data:hush-hush", "secret_access_key=",
    "111122223333", "1s", "7d", "8d", "-1", "99999999999999999999", "$request_uri", "index.html", "/x",
    "versionId", "X-Amz-Date", "x-amz-meta-*", "mask", "pass", "\\xff\\xfe", "\\x01", "a" * 1100, "%00", "'",
]  # fmt: skip


def test_directive_arguments(tmp_path, quick, held):
    count, accepted = (150 if quick else 1000), 0
    choose = random.Random(20261124)
    n = Nginx(tmp_path / "nginx", environment={"AWS_ACCESS_KEY_ID": "AKID"})
    n.tolerated = {"[emerg]"}
    for _ in range(count):
        levels = {"http": "", "server": "", "location": ""}
        for level in levels:
            for _ in range(choose.choice([0, 1, 2])):
                words = choose.choices(WORDS, k=choose.choice([1, 1, 1, 2, 2, 3, 5]))
                words = " ".join('"' + w.replace('"', '\\\\"') + '"' for w in words)
                levels[level] += f"s3_private_bucket{choose.choice(NAMES)} {words}; "
        if choose.random() < 0.7:
            levels["location"] += "s3_private_bucket example-bucket;"
        if choose.random() < 0.7:
            levels["http"] += "s3_private_bucket_auth none;"
        location = choose.choice(["/", "= /a", "~ ^/(.*)$", "@named"])
        text = f"{levels['server']} location {location} {{ {levels['location']} }}"
        n.write(text, f"upstream u {{ server 127.0.0.1:9; }} {levels['http']}")
        status, output = n.check()
        assert status in (0, 1), (status, output, levels)
        assert "hush" not in output.replace("/nonexistent/hush", ""), (output, levels)
        if status == 1:
            last = [line for line in output.splitlines() if "[emerg]" in line][-1]
            assert "s3_private_bucket" in last or "variable" in last, (output, levels)
        accepted += status == 0
    assert 0 < accepted < count
    held(f"{count:,} configurations of random arguments, {accepted:,} of them taken",
         "nginx -t ends by itself, names the directive and shows no secret")  # fmt: skip
