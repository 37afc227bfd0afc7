"""Locations share TLS contexts."""

import os
import subprocess

from harness import Nginx


def test_many_locations_share_a_tls_context(tmp_path, secret):
    """Each would read all certificates of the system: a tenth of a second and a megabyte."""

    def memory(count):
        places = "".join(f"location /{i}/ {{ s3_private_bucket bucket-{i}; }}" for i in range(count))
        n = Nginx(
            tmp_path / str(count),
            f"s3_private_bucket_auth secret {secret}; resolver 127.0.0.1; {places}",
        )
        p = subprocess.Popen(n.command("-t"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output = p.stdout.read()
        _, status, usage = os.wait4(p.pid, 0)
        assert status == 0, output
        assert output.count("\n") == 2, output
        return usage.ru_maxrss

    assert memory(200) - memory(1) < 10_000
