"""Sources of keys beside an instance: what they are asked, by which way, and what comes of it."""

import hashlib
import hmac
import re
import threading
import time
import urllib.parse

import pytest
from harness import (
    READER,
    READER_SECRET,
    Dns,
    Nginx,
    Recorder,
    SeaweedFS,
    make_ca,
    make_cert,
    wait_until,
)
from test_credentials import BUCKET, KEYS, Imds, Keys, told, verifying, zulu

ROLE = "arn:aws:iam::123456789012:role/web/media"
BLOCK = "s3_private_bucket_credentials media {{ {} }}"
XML = """<{0}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{0}Result>
<AssumedRoleUser><Arn>hush</Arn></AssumedRoleUser><Credentials><AccessKeyId>{1}</AccessKeyId>
<SecretAccessKey>{2}</SecretAccessKey><SessionToken>{3}</SessionToken><Expiration>{4}</Expiration>
</Credentials></{0}Result></{0}Response>"""


class Container:
    """The endpoint for a container's keys, which answers whoever knows the token."""

    def __init__(self, life=3600, token=None, **kw):
        self.keys, self.token, self.faults = Keys(life), token, []
        self.server = Recorder(self.answer, **kw)
        self.uri = self.server.url + "/v1/credentials?id=a%20b"

    def answer(self, r):
        if self.faults:
            return self.faults.pop(0)
        if r.get("Authorization") != self.token:
            return 403, [], b'{"code":"AccessDenied","message":"hush"}'
        return 200, [], self.keys.json(RoleArn=ROLE)


class Sts:
    """STS: it gives the keys of roles, and remembers who asked for them, and how."""

    def __init__(self, life=3600, tls=None, number=100, step=0):
        self.keys, self.faults, self.forms, self.callers = Keys(life), [], [], []
        # What the next keys are, and what comes after them.
        self.keys.number, self.step = number, step
        self.server = Recorder(self.answer, tls)

    def answer(self, r):
        if self.faults:
            return self.faults.pop(0)
        form = dict(urllib.parse.parse_qsl(r.body.decode(), strict_parsing=True))
        if form["Action"] == "AssumeRole":
            self.callers.append(caller(r, self.keys))
        self.forms.append(form)
        number = self.keys.number
        self.keys.number += self.step
        parts = self.keys.id(number), self.keys.secret(number), self.keys.token(number)
        xml = XML.format(form["Action"], *parts, zulu(self.keys.life))
        return 200, [("Content-Type", "text/xml")], xml.encode()

    def error(self, code, status=403):
        xml = f"<ErrorResponse><Error><Code>{code}</Code><Message>hush</Message></Error></ErrorResponse>"
        return status, [("Content-Type", "text/xml")], xml.encode()


def caller(r, keys, region="eu-central-1"):
    """The number of the keys that a form is signed with, after its signature was worked out anew."""
    fields = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=(ASIA0*(\d+))/(\d{8})/([^/]+)/sts/aws4_request, "
        r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
        r.get("Authorization"),
    )
    _, number, day, of, names, found = fields.groups()
    date = r.get("X-Amz-Date")
    assert of == region and date.startswith(day)
    digest = hashlib.sha256(r.body).hexdigest()
    assert r.get("X-Amz-Content-Sha256") == digest
    assert r.get("X-Amz-Security-Token") == keys.token(int(number))
    assert names == "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token"
    headers = "".join(f"{name}:{r.get(name)}\n" for name in names.split(";"))
    canonical = "\n".join(["POST", "/", "", headers, names, digest])
    scope = f"{day}/{region}/sts/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + keys.secret(int(number)).encode()
    for part in [*scope.split("/"), text]:
        key = hmac.new(key, part.encode(), "sha256").digest()
    assert key.hex() == found
    return int(number)


@pytest.fixture
def s3():
    yield from verifying(Keys())


@pytest.fixture
def made():
    """Makes a stub that is closed at the end."""
    stubs = []

    def make(stub):
        stubs.append(stub)
        return stub

    yield make
    for stub in stubs:
        stub.server.close()


def signing(s3, auth, block="", location="", http="", **kw):
    """What an Nginx is made with that signs with the keys of a source."""
    http += KEYS.format(auth, s3.server.url) + (BLOCK.format(block) if block else "")
    return {"server": BUCKET.format(location), "http": http, **kw}


def of_role(s3, sts, block, **kw):
    """The same for a role that the STS there gives."""
    block = f"{block} role_arn {ROLE}; region eu-central-1; endpoint {sts.server.url};"
    return signing(s3, "credentials=media", block, **kw)


def put(path, text):
    """Has a file another content, at once."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


# --- containers ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_containers_keys(tmp_path, s3, made, host):
    container = made(Container(token="hush-ecs", host="::1" if ":" in host else "127.0.0.1"))
    authority = f"{host}:{container.server.port}"
    environment = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{authority}/v1/credentials?id=a%20b",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "hush-ecs",
    }
    with Nginx(tmp_path / "n", **signing(s3, "container", environment=environment)) as n:
        assert n.get("/a").body == b"keys 1"
        level, line = told(n, "refreshed")
        assert level == "notice"
        assert line.startswith('credentials "container": refreshed from role "media", valid until')
        (r,) = container.server.requests
        assert r.line == "GET /v1/credentials?id=a%20b HTTP/1.1"
        sent = {k: v for k, v in r.headers if k != "User-Agent"}
        expected = {"Host": authority, "Connection": "close", "Accept": "application/json"}
        assert sent == {**expected, "Authorization": "hush-ecs"}
        assert "hush" not in n.error_log() + n.access_log()


def test_the_token_of_a_container_is_read_each_time(tmp_path, s3, made):
    container = made(Container(life=3, token="Bearer hush-1"))
    token = tmp_path / "token"
    token.write_text("Bearer hush-1\n")
    environment = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": container.uri,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        # The file wins.
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer hush-wrong",
    }
    with Nginx(tmp_path / "n", **signing(s3, "container", environment=environment)) as n:
        assert n.get("/a").body == b"keys 1"
        container.token, container.keys.number = "Bearer hush-2", 2
        put(token, "Bearer hush-2\r\n")
        wait_until(lambda: n.get("/a").body == b"keys 2", "new keys")
        # What is no header's value is not sent.
        container.keys.number = 3
        count = len(container.server.requests)
        put(token, "Bearer hush-2\nX-Injected: 1\n")
        told(n, "authorization token for the container's keys is empty or has bytes")
        assert all(r.get("X-Injected") is None for r in container.server.requests[count:])
        assert "hush" not in n.error_log()


def test_a_token_file_that_is_not_there(tmp_path, s3, made):
    container = made(Container(token="hush"))
    environment = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": container.uri,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
    }
    with Nginx(tmp_path / "n", **signing(s3, "container", environment=environment)) as n:
        _, line = told(n, "could not be refreshed")
        assert "cannot read the authorization token file as the user of nginx's workers" in line
        assert n.get("/a").status == 503
        assert container.server.connections == 0
        (tmp_path / "token").write_text("hush")
        wait_until(lambda: n.get("/a").body == b"keys 1", "keys")


def test_a_container_is_refused(tmp_path, s3, made):
    container = made(Container(token="hush"))
    environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": container.uri}
    with Nginx(tmp_path / "n", **signing(s3, "container", environment=environment)) as n:
        level, line = told(n, "could not be refreshed")
        assert level == "error" and "refuses (status 403, AccessDenied); has the task or pod a role" in line
        assert "hush" not in n.error_log()
        assert container.server.last().get("Authorization") is None


def test_a_container_over_https(tmp_path, s3, made, ca):
    tls = make_cert(ca.parent, "container", ["IP:127.0.0.1"])
    container = made(Container(token="hush", tls=tls))
    environment = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": container.uri, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "hush",
    }  # fmt: skip
    block = f"source container; trusted_certificate {ca};"
    nginx = signing(s3, "credentials=media", block, environment=environment)
    with Nginx(tmp_path / "n", **nginx) as n:
        assert n.get("/a").body == b"keys 1"
    # The system does not know that CA, and another does not either.
    other = make_ca(tmp_path / "other")
    nginx = signing(s3, "credentials=media", block.replace(str(ca), str(other)), environment=environment)
    with Nginx(tmp_path / "m", **nginx) as n:
        told(n, "its certificate is not accepted")
        assert n.get("/a").status == 503
    assert len(container.server.requests) == 1, "no token for whom nobody knows"


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://metadata.example/"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.1/"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost.example/"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1@192.0.2.1/"},
        {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "//192.0.2.1/"},
        {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "@192.0.2.1/"},
    ],
)
def test_where_a_containers_keys_cannot_be(tmp_path, s3, variables):
    n = Nginx(tmp_path / "n", **signing(s3, "container", environment=variables))
    status, output = n.check()
    if variables.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "").startswith("/"):
        assert status == 0, "it is a path on 169.254.170.2"
    else:
        assert status == 1 and "in the environment of nginx's master process is not valid" in output, output


# --- web identity --------------------------------------------------------------------------


def test_a_web_identity_of_the_environment(tmp_path, s3, made):
    sts = made(Sts())
    token = tmp_path / "token"
    token.write_text("hush.e30.a-b_c~d+e/f=\n")
    environment = {
        "AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_REGION": "eu-central-1",
        "AWS_ROLE_SESSION_NAME": "pod@1",
    }  # fmt: skip
    block = f"source web_identity; endpoint {sts.server.url};"
    nginx = signing(s3, "credentials=media", block, environment=environment)
    with Nginx(tmp_path / "n", **nginx) as n:
        assert n.get("/a").body == b"keys 100"
        (r,) = sts.server.requests
        assert r.line == "POST / HTTP/1.1"
        assert r.body == (
            b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
            b"&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fweb%2Fmedia&RoleSessionName=pod%401"
            b"&WebIdentityToken=hush.e30.a-b_c~d%2Be%2Ff%3D"
        )
        sent = {k: v for k, v in r.headers if k != "User-Agent"}
        assert sent == {
            "Host": f"127.0.0.1:{sts.server.port}", "Connection": "close",
            "Content-Length": str(len(r.body)), "Content-Type": "application/x-www-form-urlencoded",
        }  # fmt: skip
        told(n, 'refreshed from role "media"')
        assert "hush" not in n.error_log() + n.access_log()


def test_a_web_identity_of_a_block(tmp_path, s3, made):
    sts = made(Sts())
    token = tmp_path / "token"
    token.write_text("e30")
    environment = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/no", "AWS_WEB_IDENTITY_TOKEN_FILE": "/no"}
    block = f"source web_identity; token_file {token}; session_name ab; duration 20m;"
    with Nginx(tmp_path / "n", **of_role(s3, sts, block, environment=environment)) as n:
        assert n.get("/a").body == b"keys 100"
    assert sts.forms == [{
        "Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": ROLE, "RoleSessionName": "ab",
        "DurationSeconds": "1200", "WebIdentityToken": "e30",
    }]  # fmt: skip


def test_a_token_that_is_swapped_by_a_symbolic_link(tmp_path, s3, made):
    """As Kubernetes does it: `token` leads through `..data` to a folder with a date."""
    sts = made(Sts(life=3))
    for i in (1, 2):
        (tmp_path / f"..{i}").mkdir()
        (tmp_path / f"..{i}/token").write_text(f"token-{i}")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "token").symlink_to("..data/token")
    block = f"source web_identity; token_file {tmp_path}/token;"
    with Nginx(tmp_path / "n", **of_role(s3, sts, block)) as n:
        assert n.get("/a").body == b"keys 100"
        assert [form["WebIdentityToken"] for form in sts.forms] == ["token-1"]
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        sts.keys.number = 101
        wait_until(lambda: n.get("/a").body == b"keys 101", "new keys")
        assert sts.forms[-1]["WebIdentityToken"] == "token-2"


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"a b", b"x" * 30_000, b"x" * 1_000_000, b"\xff\xfe", b"a\0b"],
    ids=["empty", "a line", "two words", "long", "huge", "no text", "NUL"],
)
def test_a_token_that_is_none(tmp_path, s3, made, content):
    sts = made(Sts())
    token = tmp_path / "token"
    token.write_bytes(content)
    block = f"source web_identity; token_file {token};"
    with Nginx(tmp_path / "n", **of_role(s3, sts, block)) as n:
        _, line = told(n, "could not be refreshed")
        assert "the token file has no token" in line or "cannot read the token file" in line
        assert sts.server.connections == 0
        put(token, "whole")
        wait_until(lambda: n.get("/a").body == b"keys 100", "keys")


def test_what_sts_refuses(tmp_path, s3, made):
    sts = made(Sts())
    sts.faults = [sts.error("InvalidIdentityToken", 400)]
    token = tmp_path / "token"
    token.write_text("hush")
    block = f"source web_identity; token_file {token};"
    with Nginx(tmp_path / "n", **of_role(s3, sts, block)) as n:
        level, line = told(n, "could not be refreshed")
        assert level == "error"
        assert "STS refuses (status 400, InvalidIdentityToken); the token is not for this role" in line
        assert n.get("/a").status == 503
        assert "hush" not in n.error_log()


# --- roles ---------------------------------------------------------------------------------


def test_a_role_of_an_instance_is_assumed(tmp_path, s3, made):
    imds, sts = made(Imds()), made(Sts())
    block = "source assume_role; from instance; external_id a:b/c=d; duration 1h; session_name x@y;"
    environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.server.url}
    with Nginx(tmp_path / "n", **of_role(s3, sts, block, environment=environment)) as n:
        assert n.get("/a").body == b"keys 100"
        assert sts.callers == [1]
        assert sts.server.last().body == (
            b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fweb%2Fmedia"
            b"&RoleSessionName=x%40y&DurationSeconds=3600&ExternalId=a%3Ab%2Fc%3Dd"
        )
        assert "hush" not in n.error_log() + n.access_log()


def test_a_chain_of_roles_follows_its_base(tmp_path, s3, made):
    imds = made(Imds(life=6))
    first, second = made(Sts(life=4, step=1)), made(Sts(life=4, number=200, step=1))
    base = f"source assume_role; from instance; role_arn {ROLE}-a; region eu-central-1; endpoint {first.server.url};"
    http = f"s3_private_bucket_credentials base {{ {base} }}"
    environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.server.url}
    nginx = of_role(s3, second, "source assume_role; from base;", http=http, environment=environment)
    with Nginx(tmp_path / "n", **nginx) as n:
        assert n.get("/a").body == b"keys 200"
        assert (first.callers, second.callers) == ([1], [100])
        imds.keys.number = 2
        wait_until(lambda: first.callers[-1] == 2, "a question with the instance's new keys")
        newest = first.keys.number - 1
        wait_until(lambda: second.callers[-1] >= newest, "a question with the base's new keys")
        newest = second.keys.number - 1
        wait_until(lambda: int(n.get("/a").body.removeprefix(b"keys ")) >= newest, "new keys")


def test_a_base_that_fails(tmp_path, s3, made):
    imds, sts = made(Imds(life=3)), made(Sts(life=4))
    imds.faults = [(500, [], b"")] * 2
    environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.server.url}
    nginx = of_role(s3, sts, "source assume_role; from instance;", environment=environment)
    with Nginx(tmp_path / "n", **nginx) as n:
        told(n, 'media" could not be refreshed: it asks with the keys of "instance", which are not there')
        assert sts.server.connections == 0
        wait_until(lambda: n.get("/a").body == b"keys 100", "keys")
        # Behind their end the old ones of the base still ask: STS judges.
        imds.faults = [(500, [], b"")] * 1000
        sts.keys.number = 101
        wait_until(lambda: n.get("/a").body == b"keys 101", "new keys")
        assert set(sts.callers) == {1}


# --- TLS -----------------------------------------------------------------------------------


def test_sts_over_https(tmp_path, s3, made, ca):
    """A name with a private address is fine: the certificate tells who it is."""
    tls = make_cert(ca.parent, "sts", ["DNS:sts.example"])
    sts = made(Sts(tls=tls))
    token = tmp_path / "token"
    token.write_text("hush")
    dns = Dns("127.0.0.1")
    other = make_ca(tmp_path / "other")

    def nginx(name, trusted):
        block = f"source web_identity; token_file {token}; role_arn {ROLE}; region eu-central-1;"
        block += f"endpoint https://{name}:{sts.server.port}; trusted_certificate {trusted}; resolver {dns.host};"
        return signing(s3, "credentials=media", block)

    with Nginx(tmp_path / "right", **nginx("sts.example", ca)) as n:
        assert n.get("/a").body == b"keys 100"
    assert sts.server.names == ["sts.example"]
    for name, trusted in [("sts.example", other), ("wrong.example", ca), ("127.0.0.1", ca)]:
        with Nginx(tmp_path / f"{name}-{trusted.parent.name}", **nginx(name, trusted)) as n:
            told(n, "its certificate is not accepted \\(")
            assert n.get("/a").status == 503
    assert len(sts.server.requests) == 1, "nothing was sent to another"
    # Nobody listens at the others, and one is of another kind.
    dns.address = ["127.0.0.9", "127.0.0.8", "::1", "127.0.0.1"]
    with Nginx(tmp_path / "several", **nginx("sts.example", ca)) as n:
        assert n.get("/a").body == b"keys 100"
    dns.silent = True
    silent = nginx("sts.example", ca)
    silent["http"] = silent["http"].replace(" resolver ", " resolver_timeout 1s; resolver ")
    with Nginx(tmp_path / "silent", **silent) as n:
        told(n, "timed out while its name was looked up")
    dns.silent, dns.error = False, 3
    with Nginx(tmp_path / "none", **nginx("sts.example", ca)) as n:
        told(n, "its name (?:could not be looked up|has no address)")
    dns.close()
    count = len(dns.asked)
    n = Nginx(tmp_path / "http", **nginx("sts.example", ca))
    conf = n.dir / "nginx.conf"
    conf.write_text(conf.read_text().replace("endpoint https://", "endpoint http://"))
    status, output = n.check()
    assert status == 1 and '"http://" is for loopback only; write "https://"' in output
    assert len(dns.asked) == count


# --- files ---------------------------------------------------------------------------------


def key_file(number):
    """A file of AWS's tools with numbered keys."""
    keys = Keys()
    lines = {"id": keys.id(number), "secret": keys.secret(number), "token": keys.token(number)}
    names = {"id": "aws_access_key_id", "secret": "aws_secret_access_key", "token": "aws_session_token"}
    return "[default]\n" + "".join(f"{names[k]} = {v}\n" for k, v in lines.items())


def of_files(s3, **files):
    """What an Nginx is made with that has a location for each file."""
    place = "location /{}/ {{ s3_private_bucket example-bucket; s3_private_bucket_auth sigv4 file={}; }}"
    server = "".join(place.format(name, file) for name, file in files.items())
    return {"server": server, "http": f"s3_private_bucket_endpoint {s3.server.url};"}


def secret_file(path, number=1):
    path.write_text(key_file(number))
    path.chmod(0o600)
    return path


def test_files_that_change(tmp_path, s3):
    """In whatever way: in its place, by another of its name, by a symbolic link, by halves, not for long."""
    names = "place", "other", "half", "gone", "still"
    files = {name: secret_file(tmp_path / name) for name in names}
    for i in (1, 2):
        (tmp_path / f"..{i}").mkdir()
        secret_file(tmp_path / f"..{i}/keys", i)
    (tmp_path / "..data").symlink_to("..1")
    files["linked"] = tmp_path / "..data/keys"
    with Nginx(tmp_path / "n", **of_files(s3, **files)) as n:
        keys = lambda name: n.get(f"/{name}/a").body  # noqa: E731
        assert {keys(name) for name in files} == {b"keys 1"}
        files["place"].write_text(key_file(2))
        put(files["other"], key_file(2))
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        files["half"].write_text(key_file(2)[:40])
        files["gone"].unlink()
        for name in ("place", "other", "linked"):
            wait_until(lambda name=name: keys(name) == b"keys 2", f"new keys in {name}")
        level, line = told(n, f"{files['half']}\\W+could not be refreshed")
        assert level == "warn" and "cannot use the credentials in the file" in line
        assert line.endswith("the old ones stay in use")
        level, line = told(n, f"{files['gone']}\\W+could not be refreshed")
        assert level == "warn" and "cannot read the credentials file" in line
        assert {keys(name) for name in ("half", "gone", "still")} == {b"keys 1"}
        files["half"].write_text(key_file(2))
        secret_file(files["gone"], 2)
        for name in ("half", "gone"):
            wait_until(lambda name=name: keys(name) == b"keys 2", f"new keys in {name}")
        assert keys("still") == b"keys 1"
        assert f'{files["still"]}" could not' not in n.error_log()
        assert "hush" not in n.error_log() and "ASIA" not in n.error_log()


def test_a_file_that_only_the_master_reads(tmp_path, s3):
    file = secret_file(tmp_path / "keys")
    n = Nginx(tmp_path / "n", **of_files(s3, a=file))
    conf = n.dir / "nginx.conf"
    conf.write_text(conf.read_text().replace("user root", "user nobody nogroup"))
    with n:
        assert n.get("/a/a").body == b"keys 1"
        level, line = told(n, "cannot read the file")
        assert level == "notice" and "a change of it needs a reload" in line
        file.write_text(key_file(2))
        n.reload()
        assert n.get("/a/a").body == b"keys 2"
        assert "could not be refreshed" not in n.error_log()


# --- a real STS ----------------------------------------------------------------------------

SHORT = {
    "sts": {"tokenDuration": "5s", "maxSessionLength": "12h", "issuer": "sts",
            "signingKey": "dGVzdC1zaWduaW5nLWtleS0zMi1jaGFycy1sb25nISE="},
    "policy": {"defaultEffect": "Deny", "storeType": "memory"},
    "policies": [{"name": "Reads", "document": {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::*"]}]}}],
    "roles": [{"roleName": "media", "roleArn": "arn:aws:iam::123456789012:role/media",
               "trustPolicy": {"Version": "2012-10-17", "Statement": [
                   {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole"]}]},
               "attachedPolicies": ["Reads"]}],
}  # fmt: skip


@pytest.fixture(scope="session")
def seaweedfs_sts(tmp_path_factory):
    """A real S3 server whose own STS gives keys of five seconds."""
    server = SeaweedFS(tmp_path_factory.mktemp("sts") / "seaweedfs", iam=SHORT)
    server.create_bucket("media")
    server.put("media", "a", b"0123456789" * 1000)
    yield server
    server.stop()


def assumed(server):
    """What an Nginx is made with that assumes a role there."""
    block = f"""s3_private_bucket_credentials base {{
        source assume_role; from env; role_arn arn:aws:iam::123456789012:role/media; region us-east-1;
        endpoint {server.url}; }}"""
    http = f"s3_private_bucket_auth sigv4 credentials=base; s3_private_bucket_endpoint {server.url}; {block}"
    environment = {"AWS_ACCESS_KEY_ID": READER, "AWS_SECRET_ACCESS_KEY": READER_SECRET}
    return {"server": "location / { s3_private_bucket media; }", "http": http, "environment": environment}


def load_for(n, target, seconds, clients=4):
    """Has clients ask for something for a while; returns the statuses that they got."""
    end, statuses = time.monotonic() + seconds, []

    def client():
        while time.monotonic() < end:
            statuses.append(n.get(target).status)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def test_keys_of_five_seconds_of_a_real_sts(tmp_path, seaweedfs_sts):
    with Nginx(tmp_path / "n", **assumed(seaweedfs_sts)) as n:
        assert n.get("/a").body == b"0123456789" * 1000
        statuses = load_for(n, "/a", 12)
        assert set(statuses) == {200}
        assert n.error_log().count('credentials "base": refreshed') >= 3
