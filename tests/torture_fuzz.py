"""Fuzzing: the pure code, led by its coverage (libFuzzer), from the corpus in tests/fuzz."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import ROOT

FUZZ = ROOT / "tests/fuzz"
TARGETS = {
    "key": "keys, their encoding, arguments, redirects to folders",
    "credentials": "credentials files and secrets",
    "scope": "signatures and presigned URLs of any scope, verified from their text",
    "answer": "S3's error bodies, statuses and headers",
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
    seconds = 4 if quick else 15

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
