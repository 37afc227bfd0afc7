"""The secret goes to S3 and nowhere else."""

import subprocess

from harness import free_port

LOG = """
    log_format secrets '$http_user_agent $http_referer $s3_private_bucket_name '
        '$s3_private_bucket_key $s3_private_bucket_host $s3_private_bucket_uri '
        '$s3_private_bucket_range $s3_private_bucket_if_range $s3_private_bucket_if_match '
        '$s3_private_bucket_if_none_match $s3_private_bucket_if_modified_since '
        '$s3_private_bucket_if_unmodified_since $s3_private_bucket_dollar '
        '$proxy_host $upstream_addr $upstream_http_user_agent';
"""


def test_no_log_and_no_response_has_the_secret(nginx, origin, tmp_path):
    down = free_port()
    n = nginx(
        f"""access_log {tmp_path}/all.log secrets;
        location /m/ {{ s3_private_bucket example-bucket; }}
        location /down/ {{
            s3_private_bucket example-bucket; s3_private_bucket_endpoint http://127.0.0.1:{down};
        }}
        location /ret/ {{
            s3_private_bucket example-bucket;
            add_header X-All "$s3_private_bucket_name $s3_private_bucket_uri $s3_private_bucket_host";
        }}""",
        LOG,
    )
    for target in ("/m/a", "/m/", "/down/a", "/ret/a"):
        for method in ("GET", "HEAD", "POST"):
            r = n.get(target, method=method, headers={"User-Agent": "browser"})
            assert "open-sesame" not in str(r)
    assert any(r.get("User-Agent") == "open-sesame" for r in origin.requests)
    logs = n.error_log() + n.access_log() + (tmp_path / "all.log").read_text()
    assert "browser" in logs and "open-sesame" not in logs
    assert "[error]" in n.error_log(), "the endpoint that is down was logged"


def test_the_dump_of_the_configuration(nginx):
    n = nginx("location /m/ { s3_private_bucket example-bucket; }")
    p = subprocess.run(n.command("-T"), capture_output=True, text=True, check=True)
    assert "s3_private_bucket_auth" in p.stdout
    assert "open-sesame" not in p.stdout + p.stderr
