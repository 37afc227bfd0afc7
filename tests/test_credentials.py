"""Keys that renew themselves: where they are from, when they are renewed, and what requests see of it."""

import datetime
import json
import re
import threading
import time

import pytest
from harness import Authorization, Nginx, Recorder, request, wait_until

KEYS = "s3_private_bucket_auth sigv4 {}; s3_private_bucket_endpoint {};"
BUCKET = "location / {{ s3_private_bucket example-bucket; {} }}"


def zulu(seconds):
    """The time in so many seconds, as AWS writes it."""
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


class Keys:
    """Keys that are numbered: each set tells which one it is."""

    def __init__(self, life=3600):
        self.life, self.number = life, 1

    def id(self, number=None):
        return f"ASIA{number or self.number:016d}"

    def secret(self, number=None):
        return f"hush-secret-{number or self.number}"

    def token(self, number=None):
        return f"hush-token-{number or self.number}"

    def json(self, **more):
        return json.dumps({
            "AccessKeyId": self.id(), "SecretAccessKey": self.secret(), "Token": self.token(),
            "Expiration": zulu(self.life), **more,
        }).encode()  # fmt: skip


class Imds:
    """The metadata service of an EC2 instance, version 2."""

    def __init__(self, role="media", life=3600):
        self.keys, self.role, self.tokens, self.faults = Keys(life), role, 0, []
        self.gate = threading.Event()
        self.gate.set()
        self.server = Recorder(self.answer)

    def answer(self, r):
        self.gate.wait()
        if self.faults:
            return self.faults.pop(0)
        if r.method == "PUT" and r.target == "/latest/api/token":
            assert r.get("X-aws-ec2-metadata-token-ttl-seconds") == "21600"
            self.tokens += 1
            return 200, [("X-aws-ec2-metadata-token-ttl-seconds", "21600")], b"imds-hush-%d" % self.tokens
        if r.get("X-aws-ec2-metadata-token") != f"imds-hush-{self.tokens}":
            return 401, [], b""
        if r.target == "/latest/meta-data/iam/security-credentials/":
            return 200, [], self.role.encode()
        if r.target == f"/latest/meta-data/iam/security-credentials/{self.role}":
            return 200, [], self.keys.json(Code="Success", Type="AWS-HMAC")
        return 404, [], b""

    def fetched(self):
        """How often the keys themselves were asked for."""
        return sum(r.target.endswith(f"/{self.role}") for r in self.server.requests)


class S3:
    """A server that verifies signatures by the keys that are valid."""

    def __init__(self, keys):
        self.keys, self.valid, self.wrong, self.server = keys, None, [], Recorder(self.answer)

    def answer(self, r):
        if not (key := re.search(r"Credential=ASIA0*(\d+)/", r.get("Authorization") or "")):
            self.wrong.append(r.head)
            return 403, [], b"<Error><Code>AccessDenied</Code></Error>"
        number = int(key[1])
        try:
            Authorization(r, self.keys.secret(number), self.keys.id(number))
            assert r.get("X-Amz-Security-Token") == self.keys.token(number)
        except AssertionError as error:
            self.wrong.append(error)
            return 403, [], b"<Error><Code>SignatureDoesNotMatch</Code></Error>"
        if self.valid is not None and number not in self.valid:
            return 403, [], b"<Error><Code>ExpiredToken</Code></Error>"
        return 200, [], b"keys %d" % number


@pytest.fixture
def imds():
    service = Imds()
    yield service
    service.gate.set()
    service.server.close()


@pytest.fixture
def s3(imds):
    server = S3(imds.keys)
    yield server
    server.server.close()
    assert server.wrong == []


def instance(imds, s3, auth="instance", location="", **kw):
    environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.server.url}
    http = KEYS.format(auth, s3.server.url) + kw.pop("http", "")
    return {"server": BUCKET.format(location), "http": http, "environment": environment, **kw}


def test_an_instances_keys_are_fetched_and_sign(tmp_path, imds, s3):
    with Nginx(tmp_path / "n", **instance(imds, s3)) as n:
        assert n.get("/a").body == b"keys 1"
        asked = [(r.method, r.target) for r in imds.server.requests]
        assert asked == [
            ("PUT", "/latest/api/token"),
            ("GET", "/latest/meta-data/iam/security-credentials/"),
            ("GET", "/latest/meta-data/iam/security-credentials/media"),
        ]
        for r in imds.server.requests:
            assert (r.get("Host"), r.get("Connection")) == (f"127.0.0.1:{imds.server.port}", "close")
        log = n.error_log()
        assert re.search(
            r'\[notice\] .* s3_private_bucket: credentials "instance": refreshed from role "media", '
            r"valid until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", log)  # fmt: skip
        assert "hush" not in log and "ASIA" not in log
