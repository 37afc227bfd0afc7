"""Name servers come from /etc/resolv.conf, and S3's address is followed when it changes."""

import socket

import pytest
from harness import DNS, Dns, Nginx, Recorder, wait_until


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_the_address_is_followed(tmp_path, secret, family):
    v6 = family == socket.AF_INET6
    host = "::1" if v6 else DNS
    dns = Dns("127.0.0.1", host, family)
    origin = Recorder()
    n = Nginx(
        tmp_path / "n",
        f"""s3_private_bucket_endpoint http://s3.example.com:{origin.port};
        s3_private_bucket_auth secret {secret};
        location /m/ {{
            s3_private_bucket example-bucket; s3_private_bucket_addressing virtual;
            if ($arg_x) {{ set $x 1; }}
        }}
        """,
        resolv_conf=f"search example.org\nnameserver {host}\n",
    )
    with n:
        assert n.get("/m/a?x=1").status == 200
        assert origin.last().get("Host") == f"example-bucket.s3.example.com:{origin.port}"
        assert b"\x0eexample-bucket\x02s3\x07example\x03com" in dns.asked
        # Nothing listens there: the next requests, once the answer's second is over, go nowhere.
        dns.address = "127.0.0.154"
        wait_until(lambda: n.get("/m/a").status == 502, "nginx to follow the new address")
        assert f'127.0.0.154:{origin.port}' in n.error_log()
        dns.address = "127.0.0.1"
        wait_until(lambda: n.get("/m/a").status == 200, "nginx to come back")
    origin.close()
    dns.close()


def test_a_resolver_in_the_configuration_is_used(tmp_path, secret):
    dns = Dns("127.0.0.1", "127.0.0.155")
    origin = Recorder()
    n = Nginx(
        tmp_path / "n",
        f"""resolver 127.0.0.155;
        s3_private_bucket_endpoint http://s3.example.com:{origin.port};
        s3_private_bucket_auth secret {secret};
        location /m/ {{ s3_private_bucket example-bucket; }}""",
        resolv_conf="nameserver 127.0.0.156\n",
    )
    with n:
        assert n.get("/m/a").status == 200
        assert len(dns.asked) > 0
    origin.close()
    dns.close()
