"""The library as a file, and the ways to build it for an nginx."""

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest
from harness import MODULE, NGINX, ROOT, Nginx

SOURCE = Path(os.environ.get("NGINX_SOURCE_DIR", ROOT / "target/nginx/src"))


def output(*command, **kw):
    return subprocess.run(command, capture_output=True, text=True, check=True, **kw).stdout


def test_it_is_small_and_loads_nothing_that_nginx_does_not():
    assert MODULE.stat().st_size <= 1_500_000
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "-d", MODULE)))
    loaded = {Path(line.split()[0]).name for line in output("ldd", NGINX).splitlines()}
    assert needed and needed <= loaded


def test_it_exports_what_nginx_looks_for_and_nothing_else():
    symbols = {line.split()[-1] for line in output("nm", "-D", "--defined-only", MODULE).splitlines()}
    assert symbols == {
        "ngx_modules", "ngx_module_names", "ngx_module_order", "ngx_http_s3_private_bucket_module",
    }


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, "/usr/sbin/nginx"),
        ({"TEST_NGINX": "/opt/nginx"}, "/opt/nginx"),
        ({"NGINX_SOURCE_DIR": "/src", "NGINX_BUILD_DIR": "{}"}, "{}/nginx"),
        ({"NGINX_SOURCE_DIR": "/src", "NGINX_BUILD_DIR": "/none"}, "/usr/sbin/nginx"),
        ({"NGINX_SOURCE_DIR": "/src", "NGINX_BUILD_DIR": "{}", "TEST_NGINX": "/opt/nginx"}, "/opt/nginx"),
        ({"TEST_NGINX": "/opt/nginx", "arguments": "NGINX=1.28"}, "/opt/nginx"),
    ],
)
def test_the_nginx_that_the_environment_names_is_tested(tmp_path, environment, expected):
    (tmp_path / "nginx").touch()
    told = {name: value.format(tmp_path) for name, value in environment.items()}
    arguments = told.pop("arguments", "").split()
    ours = ("TEST_NGINX", "NGINX_SOURCE_DIR", "NGINX_BUILD_DIR", "MAKEFLAGS", "MAKELEVEL")
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    show = "--eval=show: ; @echo $(TEST_NGINX)"
    shown = output("make", "-s", show, "show", *arguments, cwd=ROOT, env=clean | told)
    assert shown.strip() == expected.format(tmp_path)


def refusal(path, module):
    status, message = Nginx(path, module=module).check()
    assert status == 1
    return message


def test_another_version_of_nginx_refuses_it(tmp_path):
    text = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
    a, b, c = map(int, re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", text).groups())
    version = a * 1_000_000 + b * 1000 + c
    library = MODULE.read_bytes()
    here = struct.pack("=Q", version)
    assert here in library
    other = tmp_path / "other-version.so"
    other.write_bytes(library.replace(here, struct.pack("=Q", version - 1)))
    assert f"version {version - 1} instead of {version}" in refusal(tmp_path / "n", other)


def test_an_nginx_with_other_flags_refuses_it(tmp_path):
    library = MODULE.read_bytes()
    (signature,) = re.findall(rb"\d,\d,\d,[01]{30,}", library)
    flags = signature[:-1] + (b"0" if signature.endswith(b"1") else b"1")
    other = tmp_path / "other-flags.so"
    other.write_bytes(library.replace(signature, flags))
    assert "is not binary compatible" in refusal(tmp_path / "n", other)


@pytest.fixture
def configure(tmp_path):
    """Runs nginx's own configure, in a copy of its source."""
    tree = tmp_path / "nginx-source"
    subprocess.run(["cp", "-r", SOURCE, tree], check=True)
    script = next(p for p in (tree / "configure", tree / "auto/configure") if p.exists())

    def run(*args):
        return subprocess.run([script, *args], cwd=tree, capture_output=True, text=True)

    return run


def test_configure_builds_it_for_any_compatible_nginx(tmp_path, configure, origin):
    # Of all flags, --with-compat alone makes nginx take it.
    p = configure("--with-compat", "--with-http_ssl_module", "--prefix=/opt/nginx",
                  f"--add-dynamic-module={ROOT}")  # fmt: skip
    assert p.returncode == 0, p.stdout + p.stderr
    tree = tmp_path / "nginx-source"
    installed = tmp_path / "installed"

    def make(*args):
        # Debian's source has no Makefile at the top.
        p = subprocess.run(["make", "-f", "objs/Makefile", *args], cwd=tree, capture_output=True,
                           text=True)  # fmt: skip
        assert p.returncode == 0, p.stdout + p.stderr
        return p.stdout

    make("modules")
    built = tree / "objs/ngx_http_s3_private_bucket_module.so"
    location = f"""location / {{
        s3_private_bucket media;
        s3_private_bucket_endpoint {origin.url};
        s3_private_bucket_auth none;
    }}"""
    with Nginx(tmp_path / "n", location, module=built) as n:
        assert n.get("/a/b%2Bc.txt").status == 200
    assert origin.requests[0].target == "/media/a/b%2Bc.txt"

    # Not the whole nginx, which would have to be built.
    make("install_ngx_http_s3_private_bucket_module", f"DESTDIR={installed}")
    assert (installed / "opt/nginx/modules" / built.name).read_bytes() == built.read_bytes()


def test_configure_refuses_to_link_it_statically(configure):
    p = configure("--with-http_ssl_module", f"--add-module={ROOT}")
    assert p.returncode == 1
    assert "Use --add-dynamic-module=" in p.stdout


def test_the_version_is_in_one_place():
    version = output(ROOT / "packaging/version.sh").strip()
    assert f'version = "{version}"' in (ROOT / "Cargo.toml").read_text()
    assert f"\n## {version} - " in (ROOT / "CHANGELOG.md").read_text()
