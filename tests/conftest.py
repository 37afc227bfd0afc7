import datetime
import os
import platform
import subprocess
import time
from pathlib import Path

import pytest
from harness import MODULE, NGINX, Recorder, SeaweedFS, make_ca, starter


def pytest_sessionstart(session):
    session.config.stash[STARTED] = time.monotonic()
    if not MODULE.exists():
        pytest.exit(f"{MODULE} is missing: run make", 2)
    version = subprocess.run([NGINX, "-V"], capture_output=True, text=True, check=True).stderr
    if "--with-debug" not in version:
        pytest.exit(f"{NGINX} is built without --with-debug: tests read its debug log", 2)


def pytest_addoption(parser):
    group = parser.getgroup("torture")
    group.addoption("--quick", action="store_true", help="the short form, for the gate")
    group.addoption("--report", type=Path, help="where the table goes when everything held")


HELD = pytest.StashKey[list]()
STARTED = pytest.StashKey[float]()


@pytest.fixture
def quick(request):
    """Whether torture is to be short."""
    return request.config.getoption("--quick")


@pytest.fixture
def held(request):
    """Adds a row to the table of torture: what was tried, and what was seen to hold."""
    rows = request.config.stash.setdefault(HELD, [])
    part = request.module.__doc__.splitlines()[0].partition(":")[0].rstrip(".")
    return lambda tried, saw: rows.append(f"| {part} | {tried} | {saw} |")


def pytest_sessionfinish(session, exitstatus):
    report = session.config.getoption("--report")
    if report is None or exitstatus != 0:
        return
    version = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
    rows = session.config.stash[HELD]
    report.write_text("\n".join([
        "# Results of `make torture`", "",
        f"{datetime.date.today()}, {version.split()[-1]}, {os.cpu_count()} cores, "
        f"Linux {platform.release()}, {time.monotonic() - session.config.stash[STARTED]:,.0f} seconds", "",
        "| | tried | what held |", "| --- | --- | --- |", *rows, ""]))  # fmt: skip


@pytest.fixture
def origin():
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "s3.secret"
    file.write_text("open-sesame\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def nginx(tmp_path, origin, secret):
    """Starts nginx with a server{}, the recording origin and the secret set in http{}."""
    yield from starter(tmp_path, f"""
        s3_private_bucket_endpoint {origin.url};
        s3_private_bucket_auth secret {secret};""")


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    return make_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def s3(tmp_path_factory, ca):
    server = SeaweedFS(tmp_path_factory.mktemp("s3") / "seaweedfs", ca)
    yield server
    server.stop()
