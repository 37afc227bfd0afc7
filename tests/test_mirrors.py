"""What reads pages of folders by itself: wget mirrors a tree, pip installs from an index, rclone lists."""

import io
import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from harness import LISTED, READER, READER_SECRET, ROOT, TIMEOUT, Nginx

TREE = {"a.txt": "a", "docs/b c.txt": "b", "docs/d/e&f+g.txt": "e", "docs/d/日本語.txt": "j", "many/x": "x",
        **{f"many/{i:03}.txt": str(i) for i in range(120)}}  # fmt: skip


def wheel(name):
    """A package without anything but a module."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        info = f"{name}-1.0.dist-info"
        z.writestr(f"{name}.py", "HELLO = 'hello'\n")
        z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return out.getvalue()


@pytest.fixture
def n(s3, tmp_path):
    s3.create_bucket(LISTED)
    for name, text in TREE.items():
        s3.put(LISTED, f"mirror/{name}", text.encode())
    s3.put(LISTED, "mirror-not/secret", b"secret")
    s3.put(LISTED, "simple/some-package/some_package-1.0-py3-none-any.whl", wheel("some_package"))
    http = f"s3_private_bucket_auth sigv4 access_key_id={READER} secret_access_key=data:{READER_SECRET}; s3_private_bucket_endpoint {s3.url};"
    server = f"""
        location /files/ {{ s3_private_bucket {LISTED} prefix=mirror/; s3_private_bucket_autoindex html page=50; }}
        location /whole/ {{ s3_private_bucket {LISTED} prefix=mirror/; s3_private_bucket_autoindex html; }}
        location /simple/ {{ s3_private_bucket {LISTED} prefix=simple/; s3_private_bucket_autoindex html; s3_private_bucket_append_slash on; }}"""
    with Nginx(tmp_path / "n", server, http) as n:
        n.url = f"http://127.0.0.1:{n.port}"
        yield n


def run(*command, **kw):
    p = subprocess.run(command, capture_output=True, text=True, timeout=2 * TIMEOUT, **kw)
    assert p.returncode == 0, p.stdout + p.stderr
    return p.stdout


def test_wget_mirrors_a_tree(n, tmp_path):
    mirror = tmp_path / "mirror"
    run("wget", "-q", "-r", "-l", "inf", "-np", "-nH", "--cut-dirs=1", "--no-config", "-e", "robots=off", "--restrict-file-names=nocontrol",
        "-P", mirror, f"{n.url}/files/", env=os.environ | {"LC_ALL": "C.UTF-8"})  # fmt: skip
    files = {str(f.relative_to(mirror)): f.read_text() for f in mirror.rglob("*") if f.is_file()}
    assert {name: text for name, text in files.items() if not name.rpartition("/")[2].startswith("index.html")} == TREE
    targets = [line.split("|")[0] for line in n.access_log().splitlines()]
    assert all(target.startswith("GET /files/") for target in targets)


def test_pip_installs_from_an_index(n, tmp_path):
    pip = [ROOT / "target/venv/bin/python", "-m", "pip", "--isolated", "--no-cache-dir", "--disable-pip-version-check"]
    for i, source in enumerate((["--index-url", f"{n.url}/simple/"], ["--no-index", "--find-links", f"{n.url}/simple/some-package/"])):
        target = tmp_path / f"installed{i}"
        run(*pip, "install", "-q", "--target", target, *source, "some-package==1.0")
        assert (target / "some_package.py").exists()


def test_rclone_lists_and_copies(n, tmp_path):
    rclone = ["rclone", "--config", tmp_path / "none", "--http-url", f"{n.url}/whole/"]
    listed = json.loads(run(*rclone, "lsjson", "-R", "--files-only", ":http:"))
    assert {entry["Path"]: entry["Size"] for entry in listed} == {name: len(text.encode()) for name, text in TREE.items()}
    run(*rclone, "copy", ":http:docs", tmp_path / "copy")
    assert (tmp_path / "copy/d/e&f+g.txt").read_text() == "e"
    assert len([f for f in Path(tmp_path / "copy").rglob("*") if f.is_file()]) == 3
