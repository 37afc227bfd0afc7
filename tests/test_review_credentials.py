"""Keys that renew themselves, at the edges: many of them, odd names, long files, clocks that are set."""

import socket
import threading

import pytest
from harness import Nginx, wait_until
from test_credentials import imds, instance, s3, told  # noqa: F401
from test_sources import key_file, of_files, put, secret_file

FILE = '''location /{}/ {{ s3_private_bucket example-bucket;
    s3_private_bucket_auth sigv4 "file={}" "profile={}"; }}'''


def profiles(path, **numbers):
    """A file with a profile of each name, which has the keys of that number."""
    path.write_text("".join(key_file(i).replace("[default]", f"[{name}]") for name, i in numbers.items()))
    path.chmod(0o600)
    return path


def test_paths_and_profiles_with_spaces(tmp_path, s3):  # noqa: F811
    """No two of them are taken for the same keys."""
    one, two = profiles(tmp_path / "k", **{"b c": 1}), profiles(tmp_path / "k b", c=2)
    server = FILE.format(1, one, "b c") + FILE.format(2, two, "c")
    with Nginx(tmp_path / "n", server, f"s3_private_bucket_endpoint {s3.server.url};") as n:
        assert [n.get(f"/{i}/a").body for i in (1, 2)] == [b"keys 1", b"keys 2"]
