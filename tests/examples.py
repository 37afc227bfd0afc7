"""Runs the files of nginx-conf/, with their ports, paths and endpoints put on this machine."""

import json
import re

from harness import READER, READER_SECRET, ROOT, Nginx

CONF = ROOT / "nginx-conf"
PLACEHOLDER = "REPLACE-WITH-A-LONG-RANDOM-SECRET"
# The role of nginx-conf/.
ROLE = "arn:aws:iam::111122223333:role/media"


def policy(name, bucket, secret):
    """A policy of nginx-conf/ for a bucket and a secret of this machine."""
    text = (CONF / name).read_text()
    assert PLACEHOLDER in text
    text = text.replace(PLACEHOLDER, secret).replace("203.0.113.10/32", "127.0.0.1/32")
    return json.loads(text.replace("example-bucket", bucket))


def iam(life):
    """For SeaweedFS: STS gives keys of the role that live so long ("5s")."""
    read = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["*"]}
    trust = {"Effect": "Allow", "Principal": "*", "Action": ["sts:AssumeRole"]}
    read, trust = ({"Version": "2012-10-17", "Statement": [statement]} for statement in (read, trust))
    return {
        "sts": {"tokenDuration": life, "maxSessionLength": "12h", "issuer": "sts",
                "signingKey": "dGVzdC1zaWduaW5nLWtleS0zMi1jaGFyYWN0ZXJzLWxvbmc="},
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "roleStore": {"storeType": "memory"}, "providers": [],
        "policies": [{"name": "read", "document": read}],
        "roles": [{"roleName": "media", "roleArn": ROLE, "attachedPolicies": ["read"], "trustPolicy": trust}],
    }  # fmt: skip


def credentials(path):
    """A file with the key that may read, as the profile of nginx-conf/."""
    file = path / "s3-credentials"
    file.touch(0o600)
    file.write_text(
        f"[media]\naws_access_key_id = {READER}\naws_secret_access_key = {READER_SECRET}\n"
    )
    return file


def example(path, name, endpoint, secrets, replace=(), **kw):
    """nginx with an example; `secrets` maps its secret files to the ones of this machine."""
    n = Nginx(path, **kw)
    text = (CONF / name).read_text()
    text = re.sub(r"listen 80;", f"listen 127.0.0.1:{n.port};", text)
    text = text.replace("/var/cache/nginx/s3", f"{n.dir}/cache")
    for old, new in [*secrets.items(), *replace]:
        text = text.replace(old, str(new))
    n.write(http=f"s3_private_bucket_endpoint {endpoint};\n{text}")
    return n
