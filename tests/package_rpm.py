"""The RPM in target/packages, with the nginx that it is for."""

import subprocess

import pytest
from examples import credentials
from harness import NGINX, ROOT, Nginx

NAME = "nginx-module-http-s3-private-bucket"
MODULES = "usr/lib64/nginx/modules"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    (package,) = (ROOT / "target/packages").glob(f"{NAME}-*.rpm")
    path = tmp_path_factory.mktemp("rpm")
    archive = path / "rpm.tgz"
    with package.open("rb") as rpm, archive.open("wb") as out:
        subprocess.run(["rpm2archive", "-"], stdin=rpm, stdout=out, check=True)
    subprocess.run(["tar", "-xzf", archive, "-C", path], check=True)
    return package, path


def test_it_needs_the_nginx_that_it_was_built_for(unpacked):
    query = ["rpm", "-qp", "--requires", "--provides", unpacked[0]]
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")
    version = subprocess.run([NGINX, "-v"], capture_output=True, text=True).stderr.split("/")[1]
    assert f"nginx-r{version.strip()}" in lines
    assert f"{NAME}-r{version.strip()}" in lines


def test_its_documents(unpacked):
    doc = unpacked[1] / "usr/share/doc" / NAME
    assert {f.name for f in doc.iterdir()} == {"CHANGELOG.md", "COPYRIGHT", "README.md", "doc", "examples"}
    assert {f.name for f in (doc / "doc").iterdir()} == {f.name for f in (ROOT / "doc").iterdir()}
    examples = {f.name for f in (doc / "examples").iterdir()}
    assert examples == {f.name for f in (ROOT / "nginx-conf").iterdir()}


@pytest.mark.parametrize("module", ["", "-debug"])
def test_it_serves(unpacked, tmp_path, s3, module):
    s3.create_bucket("media")
    s3.put("media", "docs/a+b.txt", b"from a private bucket")
    location = f"""location / {{
        s3_private_bucket media;
        s3_private_bucket_endpoint {s3.url};
        s3_private_bucket_auth sigv4 file={credentials(tmp_path)} profile=media;
    }}"""
    library = unpacked[1] / MODULES / f"ngx_http_s3_private_bucket_module{module}.so"
    with Nginx(tmp_path / "n", location, module=library) as n:
        r = n.get("/docs/a%2Bb.txt")
        assert (r.status, r.body) == (200, b"from a private bucket")
