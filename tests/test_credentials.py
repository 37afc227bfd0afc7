"""Keys that renew themselves: where they are from, when they are renewed, and what requests see of it."""

import datetime
import json
import os
import re
import signal
import socket
import threading

import pytest
from harness import Authorization, Nginx, Recorder, wait_until

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
        self.keys, self.role, self.faults = Keys(life), role, []
        self.tokens = self.forgotten = 0
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
        # As at AWS, a token does not end when there is another: an old worker and a new one may ask at once.
        token = (r.get("X-aws-ec2-metadata-token") or "").removeprefix("imds-hush-")
        if not token.isdecimal() or not self.forgotten < int(token) <= self.tokens:
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
        self.keys, self.valid, self.code, self.wrong = keys, None, "ExpiredToken", []
        self.server = Recorder(self.answer)

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
            return 403, [], f"<Error><Code>{self.code}</Code></Error>".encode()
        return 200, [], b"keys %d" % number


def verifying(keys):
    """The body of a fixture: a server that verifies signatures, none of which is wrong."""
    server = S3(keys)
    yield server
    server.server.close()
    assert server.wrong == []


@pytest.fixture
def imds():
    service = Imds()
    yield service
    service.gate.set()
    service.server.close()


@pytest.fixture
def s3(imds):
    yield from verifying(imds.keys)


def instance(imds, s3, auth="instance", location="", http="", environment=None, **kw):
    """What an Nginx is made with that signs with the keys of an instance."""
    environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.server.url} | (environment or {})
    http += KEYS.format(auth, s3.server.url)
    return {"server": BUCKET.format(location), "http": http, "environment": environment, **kw}


def told(n, what):
    """Waits for a line about keys in the error log; returns it."""
    line = re.compile(rf"\[(\w+)\] [^\n]*s3_private_bucket: (credentials [^\n]*{what}[^\n]*)")
    found = wait_until(lambda: line.search(n.error_log()), what)
    return found[1], found[2]


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
        level, line = told(n, "refreshed")
        assert level == "notice"
        assert re.fullmatch(
            r'credentials "instance": refreshed from role "media", valid until 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ', line
        )
        log = n.error_log() + n.access_log()
        assert "hush" not in log and "ASIA" not in log


def test_a_fetch_for_all_workers_and_all_first_requests(tmp_path, imds, s3):
    imds.gate.clear()
    nginx = instance(imds, s3)
    n = Nginx(tmp_path / "n", **nginx)
    conf = n.dir / "nginx.conf"
    conf.write_text(conf.read_text().replace("worker_processes 1", "worker_processes 4"))
    with n:
        bodies = []
        ask = lambda: bodies.append(n.get("/a").body)  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(60)]
        for thread in threads:
            thread.start()
        wait_until(lambda: imds.server.connections >= 1, "a question")
        imds.gate.set()
        for thread in threads:
            thread.join()
        assert bodies == [b"keys 1"] * 60
        assert imds.fetched() == 1


def test_without_keys_a_miss_is_503_and_nothing_goes_to_s3(tmp_path, imds, s3):
    imds.faults = [(500, [], b"")] * 1000
    with Nginx(tmp_path / "n", **instance(imds, s3)) as n:
        level, line = told(n, "could not be refreshed")
        assert (level, line) == ("error", 'credentials "instance" could not be refreshed: the source of the keys '
                                 "is in trouble or asked too often (status 500); there are none")  # fmt: skip
        r = n.get("/a")
        assert (r.status, r.get("Retry-After")) == (503, "5")
        assert b"503 Service Temporarily Unavailable" in r.body
        assert n.get("/a", method="HEAD").status == 503
        assert n.get("/a", method="POST").status == 405
        lines = re.findall(r"\[(\w+)\] [^\n]*s3_private_bucket: (there are no keys[^,]*),", n.error_log())
        assert lines == [("error", 'there are no keys to sign the request with: credentials "instance"')] * 2
        assert s3.server.connections == 0
        # It is over as soon as the service answers.
        imds.faults.clear()
        wait_until(lambda: n.get("/a").body == b"keys 1", "keys")


def test_an_error_page_answers_for_missing_keys(tmp_path, imds, s3):
    imds.faults = [(500, [], b"")] * 1000
    location = "error_page 503 /sorry; } location = /sorry { return 200 sorry;"
    with Nginx(tmp_path / "n", **instance(imds, s3, location=location)) as n:
        told(n, "could not be refreshed")
        assert n.get("/a").body == b"sorry"
        assert s3.server.connections == 0


CACHE = "proxy_cache_path {}/cache keys_zone=c:1m; proxy_cache_use_stale {};"
CACHED = "proxy_cache c; proxy_cache_valid 200 {}; add_header X-Cache $upstream_cache_status;"


@pytest.mark.parametrize("stale", ["off", "error"])
def test_what_is_cached_outlives_the_keys(tmp_path, imds, s3, stale):
    """Hits need no keys, nor do stale objects; a miss has none."""
    path = tmp_path / "n"
    nginx = instance(imds, s3, location=CACHED.format("1h"), http=CACHE.format(path, stale))
    with Nginx(path, **nginx) as n:
        assert n.get("/a").body == b"keys 1"
        assert n.get("/old").body == b"keys 1"
    imds.faults = [(500, [], b"")] * 1000
    n = Nginx(path, **nginx)
    (n.dir / "error.log").write_text("")
    with n:
        told(n, "could not be refreshed")
        assert (n.get("/a").status, n.get("/a").get("X-Cache")) == (200, "HIT")
        assert n.get("/new").status == 503
    short = instance(imds, s3, location=CACHED.format("1s"), http=CACHE.format(path, stale))
    imds.faults.clear()
    with Nginx(path, **short) as n:
        assert n.get("/expires").body == b"keys 1"
        expired = lambda: n.get("/expires").get("X-Cache") in ("EXPIRED", "STALE", None)  # noqa: E731
        imds.faults = [(500, [], b"")] * 1000
    with Nginx(path, **short) as n:
        wait_until(expired, "an old object")
        r = n.get("/expires")
        assert (r.status, r.get("X-Cache")) == ((200, "STALE") if stale == "error" else (503, None))
        assert [r.target for r in s3.server.requests].count("/example-bucket/expires") == 1


def test_a_slice_and_a_subrequest_wait_too(tmp_path, imds, s3):
    imds.gate.clear()
    location = "add_before_body /head; } location = /head { s3_private_bucket example-bucket;"
    with Nginx(tmp_path / "n", **instance(imds, s3, location=location)) as n:
        body = []
        thread = threading.Thread(target=lambda: body.append(n.get("/a.html").body))
        thread.start()
        wait_until(lambda: imds.server.connections >= 1, "a question")
        imds.gate.set()
        thread.join()
        assert body in ([b"keys 1"], [b"keys 1keys 1"])


def test_a_client_that_leaves_while_it_waits(tmp_path, imds, s3):
    imds.gate.clear()
    with Nginx(tmp_path / "n", **instance(imds, s3)) as n:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", n.port)) as s:
                s.sendall(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
                wait_until(lambda: imds.server.connections >= 1, "a question")
        wait_until(lambda: n.access_log().count("|499|") == 3, "clients that left")
        imds.gate.set()
        assert n.get("/a").body == b"keys 1"
        assert len(s3.server.requests) == 1


def test_a_wait_has_an_end(tmp_path, imds, s3):
    imds.gate.clear()
    block = "s3_private_bucket_credentials ec2 { source instance; wait %s; }"
    for wait in ("0", "100ms"):
        nginx = instance(imds, s3, auth="credentials=ec2", http=block % wait)
        with Nginx(tmp_path / wait, **nginx) as n:
            assert n.get("/a").status == 503
    assert s3.server.connections == 0


def test_keys_are_renewed_before_they_end(tmp_path, imds, s3):
    imds.keys.life = 8
    with Nginx(tmp_path / "n", **instance(imds, s3)) as n:
        assert n.get("/a").body == b"keys 1"
        imds.keys.number = 2
        wait_until(lambda: n.get("/a").body == b"keys 2", "new keys")
        assert imds.tokens == 1, "a token is used as long as it is one"
        imds.forgotten = imds.tokens
        imds.keys.number = 3
        wait_until(lambda: n.get("/a").body == b"keys 3", "keys after a token that was refused")


def test_the_same_keys_again_are_no_loop(tmp_path, imds, s3):
    imds.keys.life = 2
    with Nginx(tmp_path / "n", **instance(imds, s3)) as n:
        assert n.get("/a").body == b"keys 1"
        # nginx's clock would have made it ask some ten times meanwhile.
        wait_until(lambda: imds.fetched() >= 2, "the first renewal")
        assert imds.fetched() == 2
        assert n.get("/a").body == b"keys 1"


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId"])
def test_what_s3_refuses_is_renewed_at_once(tmp_path, imds, s3, code):
    with Nginx(tmp_path / "n", **instance(imds, s3)) as n:
        assert n.get("/a").body == b"keys 1"
        s3.code = code
        s3.valid, imds.keys.number = {2}, 2
        assert n.get("/a").status == 502
        wait_until(lambda: n.get("/a").body == b"keys 2", "new keys")
        assert f"S3 answered 403 {code}" in n.error_log()
        assert "the keys are fetched anew" in n.error_log()


def test_a_key_of_a_file_that_s3_refuses_is_the_operators(tmp_path, origin):
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = AKIAX\naws_secret_access_key = hush\n")
    file.chmod(0o600)
    origin.answer = lambda r: (403, [], b"<Error><Code>InvalidAccessKeyId</Code></Error>")
    with Nginx(tmp_path / "n", BUCKET.format(""), KEYS.format(f"file={file}", origin.url)) as n:
        assert n.get("/a").status == 502
        assert "S3 does not know the access key ID; was the key deleted?" in n.error_log()


def test_an_old_set_is_used_to_its_end_and_beyond(tmp_path, imds, s3):
    imds.keys.life = 4
    http = "log_format k '$s3_private_bucket_credentials_state|$s3_private_bucket_credentials_expires';"
    nginx = instance(imds, s3, http=http, location=f"access_log {tmp_path}/k.log k;")
    with Nginx(tmp_path / "n", **nginx) as n:
        assert n.get("/a").body == b"keys 1"
        imds.faults = [(500, [], b"")] * 1000
        level, line = told(n, "could not be refreshed")
        assert level == "error", "less than five minutes are left"
        assert "the old ones are valid for" in line
        wait_until(lambda: "stale|0\n" in (tmp_path / "k.log").read_text() or n.get("/a") and False, "the end")
        assert n.get("/a").body == b"keys 1", "S3 judges"
        imds.faults.clear()
        imds.keys.number = 2
        wait_until(lambda: n.get("/a").body == b"keys 2", "new keys")
    states = [line.split("|")[0] for line in (tmp_path / "k.log").read_text().split()]
    assert states[0] == "ok" and states[-1] == "ok" and "stale" in states


@pytest.mark.parametrize("location", ["", "s3_private_bucket_autoindex json; s3_private_bucket_index index.html;"])
def test_what_is_denied_to_keys_that_have_ended_is_not_missing(tmp_path, imds, s3, location):
    """Ceph says AccessDenied of keys of its STS that have ended."""
    s3.code, imds.keys.life = "AccessDenied", 8
    cache = f"proxy_cache_path {tmp_path}/cache keys_zone=c:1m; proxy_cache_valid any 1h;"
    with Nginx(tmp_path / "n", **instance(imds, s3, location="proxy_cache c;" + location, http=cache)) as n:
        assert n.get("/a").body == b"keys 1"
        s3.valid = set()
        # No answer rather than errors, behind which it would be asked less and less often.
        imds.gate.clear()
        if not location:
            assert n.get("/denied").status == 404, "a missing object, as long as the keys are valid"
        wait_until(lambda: n.get(f"/{n.access_log().count(chr(10))}/").status == 502, "the end of the keys")
        for method in ("GET", "HEAD"):
            assert n.get("/b/", method=method).status == n.get("/c", method=method).status == 502
        assert "S3 answered 403 AccessDenied for the bucket" in n.error_log() and "the keys have ended; see" in n.error_log()
        imds.keys.number, s3.valid = 2, {2}
        imds.gate.set()
        wait_until(lambda: n.get("/c").body == b"keys 2", "new keys")
        assert n.get("/a").body == b"keys 1", "what was stored is"


def test_keys_that_had_ended_are_those_of_the_request(tmp_path, imds, s3):
    """Not those that came while S3 answered."""
    s3.code, imds.keys.life = "AccessDenied", 4
    cache = f"proxy_cache_path {tmp_path}/cache keys_zone=c:1m; proxy_cache_valid any 1h;"
    with Nginx(tmp_path / "n", **instance(imds, s3, location="proxy_cache c;", http=cache)) as n:
        assert n.get("/a").body == b"keys 1"
        s3.valid, asked, gate = set(), threading.Event(), threading.Event()
        imds.faults = [(500, [], b"")] * 1000
        wait_until(lambda: n.get(f"/{n.access_log().count(chr(10))}").status == 502, "the end of the keys")

        def late(r):
            answer = s3.answer(r)
            if r.target.endswith("/late"):
                asked.set()
                gate.wait()
            return answer

        s3.server.answer, statuses = late, []
        thread = threading.Thread(target=lambda: statuses.append(n.get("/late").status))
        thread.start()
        asked.wait()
        imds.faults.clear()
        imds.keys.number, imds.keys.life, s3.valid = 2, 3600, {2}
        wait_until(lambda: n.get("/b").body == b"keys 2", "new keys")
        gate.set()
        thread.join()
        assert statuses == [502] and n.get("/late").body == b"keys 2"


def test_presigned_urls_follow_the_keys(tmp_path, imds, s3):
    imds.keys.life = 100
    location = "return 302 $s3_private_bucket_presigned_url;"
    with Nginx(tmp_path / "n", **instance(imds, s3, location=location)) as n:
        told(n, "refreshed")
        url = n.get("/a").get("Location")
        assert "X-Amz-Credential=ASIA0000000000000001%2F" in url
        assert "X-Amz-Security-Token=hush-token-1&" in url
        expires = int(re.search(r"X-Amz-Expires=(\d+)&", url)[1])
        assert 60 < expires <= 100, "not longer than the keys"


def test_a_reload_keeps_the_keys_and_asks_nobody(tmp_path, imds, s3):
    with Nginx(tmp_path / "n", **instance(imds, s3)) as n:
        assert n.get("/a").body == b"keys 1"
        for _ in range(5):
            n.reload()
            assert n.get("/a").body == b"keys 1"
        assert imds.fetched() == 1


def test_a_reload_that_fails_keeps_the_keys(tmp_path, imds, s3):
    nginx = instance(imds, s3)
    with Nginx(tmp_path / "n", **nginx) as n:
        n.tolerated.add("[emerg]")
        assert n.get("/a").body == b"keys 1"
        conf = n.dir / "nginx.conf"
        conf.write_text(conf.read_text().replace("listen 127.0.0.1:", "listen 192.0.2.1:"))
        os.kill(n.process.pid, signal.SIGHUP)
        wait_until(lambda: "[emerg]" in n.error_log(), "a failure")
        assert n.get("/a").body == b"keys 1"
        assert imds.fetched() == 1


def test_a_worker_that_is_killed_is_no_loss(tmp_path, imds, s3):
    imds.keys.life = 6
    with Nginx(tmp_path / "n", **instance(imds, s3)) as n:
        assert n.get("/a").body == b"keys 1"
        (worker,) = n.workers()
        n.tolerated |= {"[alert]", "exited on signal"}
        os.kill(int(worker), signal.SIGKILL)
        wait_until(lambda: n.workers() - {worker}, "another worker")
        wait_until(lambda: n.get("/a").body == b"keys 1", "the same keys")
        imds.keys.number = 2
        wait_until(lambda: n.get("/a").body == b"keys 2", "new keys")


def test_nginx_leaves_while_it_asks(tmp_path, imds, s3):
    imds.gate.clear()
    for end in (signal.SIGQUIT, signal.SIGTERM):
        n = Nginx(tmp_path / end.name, **instance(imds, s3))
        n.start()
        wait_until(lambda: imds.server.connections >= 1, "a question")
        os.kill(n.process.pid, end)
        n.process.wait(30)
        assert "[alert]" not in n.error_log() and "open socket" not in n.error_log()


def test_a_configuration_without_it_notices_nothing(tmp_path, origin):
    server = BUCKET.format("") + " s3_private_bucket_auth none; s3_private_bucket_endpoint " + origin.url + ";"
    unused = "s3_private_bucket_credentials media { source instance; }"
    with Nginx(tmp_path / "n", server, unused) as n:
        assert n.get("/a").status == 200
        assert "credentials" not in n.error_log()


def test_nginx_t_asks_nobody(tmp_path, imds, s3):
    n = Nginx(tmp_path / "n", **instance(imds, s3))
    status, output = n.check()
    assert status == 0 and imds.server.connections == 0
    assert "credentials" not in output


# What a metadata service may do, and what is told of it.
FAULTS = {
    "no token": ([(404, [], b"")], "there is no metadata service with tokens \\(IMDSv2\\) at that address \\(status 404\\)"),
    "off": ([(403, [], b"")], "the metadata service refuses \\(status 403\\)"),
    "no profile": ([None, (404, [], b"")], "the instance has no role; attach an instance profile to it"),
    "empty list": ([None, (200, [], b"")], "the instance has no role"),
    "not a role": ([None, (200, [], b"a b")], "the answer is no list of roles"),
    "not JSON": ([None, None, (200, [], b"<html>")], "the answer is no JSON object"),
    "an error in a 200": (
        [None, None, (200, [], b'{"Code":"AssumeRoleUnauthorizedAccess"}')],
        "\\(AssumeRoleUnauthorizedAccess\\); does the role exist",
    ),
    "no key": ([None, None, (200, [], b'{"Code":"Success"}')], 'no valid "AccessKeyId"'),
    "redirect": ([None, (302, [("Location", "http://127.0.0.1/")], b"")], "the status 302"),
    "too large": ([None, None, (200, [], b"{" + b" " * 70_000)], "too l|larger|more than"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_metadata_service(tmp_path, imds, s3, fault):
    answers, message = FAULTS[fault]
    honest = imds.answer

    def answer(r):
        planned = answers[len(imds.server.requests)] if len(imds.server.requests) < len(answers) else None
        return planned or honest(r)

    imds.server.answer = answer
    with Nginx(tmp_path / "n", **instance(imds, s3)) as n:
        level, line = told(n, "could not be refreshed")
        assert level == "error" and re.search(message, line), line
        assert n.get("/a").status == 503
        assert "hush" not in n.error_log()
    assert s3.server.connections == 0
