"""Keys that renew themselves, at the edges: many of them, odd names, long files, clocks that are set."""

import os
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


def test_more_profiles_than_a_zone_has_room_for(tmp_path, s3):  # noqa: F811
    """Nothing that a configuration could have before is refused; the file is larger than 64 KiB."""
    many = range(1, 501)
    file = profiles(tmp_path / "keys", **{f"p{i}": i for i in many})
    server = "".join(FILE.format(i, file, f"p{i}") for i in many)
    with Nginx(tmp_path / "n", server, f"s3_private_bucket_endpoint {s3.server.url};") as n:
        assert [n.get(f"/{i}/a").body for i in (1, 500)] == [b"keys 1", b"keys 500"]
        profiles(file, **{f"p{i}": i + 500 for i in many})
        wait_until(lambda: n.get("/500/a").body == b"keys 1000", "new keys")
        assert "could not be refreshed" not in n.error_log()


def test_a_zone_that_fills_up_over_reloads(tmp_path, s3):  # noqa: F811
    """nginx says what to do, and goes on with what it has."""
    def server(first):
        file = profiles(tmp_path / f"keys{first}", **{f"p{i}": 1 for i in range(100)})
        return "".join(FILE.format(i, file, f"p{i}") for i in range(100))

    http = f"s3_private_bucket_endpoint {s3.server.url};"
    with Nginx(tmp_path / "n", server(1), http) as n:
        n.tolerated = {"[emerg]"}
        n.write(server(2), http)
        n.reload()
        n.write(server(3), http)
        n.process.send_signal(1)
        wait_until(lambda: "is full of what older configurations had; restart nginx" in n.error_log(), "a line")
        assert n.get("/99/a").body == b"keys 1"


def test_a_zone_of_the_modules_name(tmp_path, s3):  # noqa: F811
    """It is the user's."""
    nginx = of_files(s3, a=secret_file(tmp_path / "keys"))
    nginx["http"] += f"proxy_cache s3_private_bucket; proxy_cache_path {tmp_path}/c keys_zone=s3_private_bucket:1m;"
    with Nginx(tmp_path / "n", **nginx) as n:
        assert n.get("/a/a").body == b"keys 1"


def test_paths_and_profiles_with_spaces(tmp_path, s3):  # noqa: F811
    """No two of them are taken for the same keys."""
    one, two = profiles(tmp_path / "k", **{"b c": 1}), profiles(tmp_path / "k b", c=2)
    server = FILE.format(1, one, "b c") + FILE.format(2, two, "c")
    with Nginx(tmp_path / "n", server, f"s3_private_bucket_endpoint {s3.server.url};") as n:
        assert [n.get(f"/{i}/a").body for i in (1, 2)] == [b"keys 1", b"keys 2"]


def test_a_file_that_is_too_large(tmp_path, s3):  # noqa: F811
    """What is cut off of it is not the end of a secret."""
    file = secret_file(tmp_path / "keys")
    with Nginx(tmp_path / "n", **of_files(s3, a=file)) as n:
        assert n.get("/a/a").body == b"keys 1"
        head, secret = key_file(2).split("hush-secret")
        put(file, f"#{'x' * (2**20 - len(head) - 6)}\n{head}hush-secret{secret}")
        level, line = told(n, "could not be refreshed")
        assert level == "warn" and "the credentials file is larger than 1 MiB" in line
        assert n.get("/a/a").body == b"keys 1"


def test_keys_of_a_file_that_are_longer_than_aws_s(tmp_path, origin):
    lines = "[default]\naws_access_key_id = {}\naws_secret_access_key = hush\naws_session_token = {}\n"
    file = secret_file(tmp_path / "keys")
    file.write_text(lines.format("A" * 300, "hush"))
    server = FILE.format("a", file, "default")
    n = Nginx(tmp_path / "n", server, f"s3_private_bucket_endpoint {origin.url};")
    with n:
        assert n.get("/a/a").status == 200
        assert f"Credential={'A' * 300}/" in origin.last().get("Authorization")
    file.write_text(lines.format("A", "hush" * 2500))
    code, text = n.check()
    assert code == 1 and "the file: the keys are longer than 8 KiB" in text and "hush" not in text


@pytest.mark.parametrize("setting", ["proxy_ignore_client_abort on;", "proxy_store {0}/store; root {0}/store;"])
def test_a_client_that_leaves_behind_its_wait(tmp_path, imds, s3, setting):  # noqa: F811
    """What its location says of clients that leave holds for a request that had to wait too."""
    imds.gate.clear()
    asked, gate, answer = threading.Event(), threading.Event(), s3.answer

    def slow(r):
        asked.set()
        gate.wait()
        return answer(r)

    s3.server.answer = slow
    with Nginx(tmp_path / "n", **instance(imds, s3, location=setting.format(tmp_path))) as n:
        with socket.create_connection(("127.0.0.1", n.port)) as client:
            client.sendall(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            imds.gate.set()
            assert asked.wait(5)
            # Another one is served, so that nginx has read what the first one sends.
        wait_until(lambda: n.get("/", method="PUT").status == 405, "nginx")
        gate.set()
        wait_until(lambda: "GET /a HTTP/1.1|" in n.access_log(), "the end of the request")
        assert "GET /a HTTP/1.1|200|" in n.access_log()


def test_a_clock_that_is_set_back(tmp_path, imds, s3):  # noqa: F811
    """Keys are renewed when they were to be all the same, and not a day later."""
    imds.keys.life = 6
    with Nginx(tmp_path / "n", **instance(imds, s3), clock=0) as n:
        assert n.get("/a").body == b"keys 1"
        imds.keys.number = 2
        n.set_clock(-600)
        wait_until(lambda: imds.fetched() >= 2, "another question")
        wait_until(lambda: n.get("/a").body == b"keys 2", "new keys")


@pytest.mark.parametrize("variables, level", [({}, "warn"), ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/x"}, "notice")])
def test_default_after_an_upgrade_on_the_fly(tmp_path, variables, level):
    """nginx leaves most of the environment behind: that the instance is asked then does not pass unnoticed."""
    environment = variables | {"NGINX": ""}
    server = "location / { s3_private_bucket example-bucket; s3_private_bucket_auth sigv4 default; }"
    n = Nginx(tmp_path / "n", server, environment=environment)
    for name in [name for name in n.environment if name.startswith("AWS_") and name not in variables]:
        del n.environment[name]
    assert n.check()[0] == 0
    (line,) = [line for line in n.error_log().splitlines() if "chosen by the environment" in line]
    assert f"[{level}]" in line and ("hands on only" in line) == (level == "warn")


def test_a_file_that_is_a_pipe(tmp_path, s3):  # noqa: F811
    """A worker does not wait for who writes there."""
    file = secret_file(tmp_path / "keys")
    with Nginx(tmp_path / "n", **of_files(s3, a=file)) as n:
        assert n.get("/a/a").body == b"keys 1"
        file.unlink()
        os.mkfifo(file)
        level, line = told(n, "not a regular file")
        assert level == "warn" and line.endswith("the old ones stay in use")
        assert n.get("/a/a").body == b"keys 1"
