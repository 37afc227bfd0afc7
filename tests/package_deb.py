"""The Debian packages in target/packages, each in a clean root of its Debian."""

import os
import subprocess
from pathlib import Path

import pytest
from examples import credentials
from harness import ROOT, accepts, free_port, request, wait_until

PACKAGES = ROOT / "target/packages"
NAME = "libnginx-mod-http-s3-private-bucket"
ENABLED = Path("etc/nginx/modules-enabled/50-mod-http-s3-private-bucket.conf")


class Root:
    def __init__(self, suite):
        self.suite = suite
        self.path = ROOT / f"target/roots/{suite}-clean"
        self.run()
        self.run("apt-get", "update", "-qq")

    def run(self, *command):
        """Runs a command in the root; none makes the root."""
        p = subprocess.run(
            [ROOT / "tests/debian-root.sh", self.suite, self.path, *command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert p.returncode == 0, p.stdout
        return p.stdout

    def install(self, *packages):
        self.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)

    def tree(self):
        """What nginx has on the disk: links with their targets, files with their contents."""
        found = {}
        for top in ("etc/nginx", "usr/share/nginx", "usr/lib/nginx", "usr/share/doc"):
            for path in (self.path / top).rglob("*"):
                if path.is_symlink():
                    found[path] = os.readlink(path)
                elif path.is_file():
                    found[path] = path.read_bytes()
        return found


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_package(suite, s3):
    (package,) = PACKAGES.glob(f"{NAME}_*~{suite}_*.deb")
    root = Root(suite)
    root.install("nginx")
    # The package needs it, and it stays.
    root.install("ca-certificates")
    before = root.tree()

    (root.path / package.name).write_bytes(package.read_bytes())
    root.install(f"/{package.name}")
    assert "successful" in root.run("nginx", "-t")
    module = "/usr/share/nginx/modules-available/mod-http-s3-private-bucket.conf"
    assert os.readlink(root.path / ENABLED) == module
    doc = root.path / "usr/share/doc" / NAME
    for file in ("README.md.gz", "changelog.gz", "changelog.Debian.gz", "copyright"):
        assert (doc / file).is_file()
    chapters = {f.name.removesuffix(".gz") for f in (doc / "doc").iterdir()}
    assert chapters == {f.name for f in (ROOT / "doc").iterdir()}
    examples = {f.name for f in (doc / "examples").iterdir()}
    assert examples == {f.name for f in (ROOT / "nginx-conf").iterdir()}

    # Debian's own configuration, with the one site replaced by ours.
    site = root.path / "etc/nginx/sites-enabled/default"
    default = os.readlink(site)
    site.unlink()
    port = free_port()
    s3.create_bucket("media")
    s3.put("media", "docs/a+b.txt", b"from a private bucket")
    key = credentials(root.path / "root")
    site.write_text(f"""server {{
        listen 127.0.0.1:{port};
        location / {{
            s3_private_bucket media;
            s3_private_bucket_endpoint {s3.url};
            s3_private_bucket_auth sigv4 file=/root/{key.name} profile=media;
        }}
    }}""")
    nginx = subprocess.Popen(
        [ROOT / "tests/debian-root.sh", suite, root.path, "nginx", "-g", "daemon off;"]
    )
    try:
        wait_until(lambda: accepts(port), "nginx of the clean root")
        r = request(port, "/docs/a%2Bb.txt")
        assert (r.status, r.body) == (200, b"from a private bucket")
        assert request(port, "/docs/none.txt").status == 404
    finally:
        nginx.terminate()
        nginx.wait(30)
    site.unlink()
    site.symlink_to(default)

    root.run("apt-get", "purge", "-y", "-qq", NAME)
    assert root.tree() == before
    assert "successful" in root.run("nginx", "-t")
