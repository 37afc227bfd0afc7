"""Which host requests go to at AWS, and where AWS has none: as the endpoint rules of its own SDK say."""

import itertools

import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.exceptions import EndpointProviderError
from botocore.loaders import Loader
from harness import READER, READER_SECRET, Authorization, Nginx, Recorder, make_cert

# A region of each partition, and another one of the same.
REGIONS = {
    "us-east-1": ("aws", "eu-west-1"),
    "ap-southeast-5": ("aws", "us-east-1"),
    "cn-north-1": ("aws-cn", "cn-northwest-1"),
    "us-gov-west-1": ("aws-us-gov", "us-gov-east-1"),
    "eusc-de-east-1": ("aws-eusc", "eusc-de-west-1"),
    "us-iso-east-1": ("aws-iso", "us-iso-west-1"),
    "us-isob-east-1": ("aws-iso-b", "us-isob-west-1"),
    "eu-isoe-west-1": ("aws-iso-e", "eu-isoe-east-1"),
    "us-isof-south-1": ("aws-iso-f", "us-isof-east-1"),
}
WORDS = ("dualstack", "fips", "accelerate")
SIGNED = f"s3_private_bucket_auth sigv4 access_key_id={READER} secret_access_key=data:{READER_SECRET};"

# The stub has the certificate of none of these hosts.
UNVERIFIED = "proxy_ssl_verify off;"


def buckets(region):
    """What can stand where a bucket does, with a region in it or without."""
    partition, other = REGIONS[region]
    return [
        "example-bucket",
        "example.bucket",
        "reports-1234567890abcdefghijklmnopqrst-s3alias",
        "reports-1234567890abcdefghijklmnopqrst--ol-s3",
        f"arn:{partition}:s3:{region}:123456789012:accesspoint/reports",
        f"arn:{partition}:s3:{other}:123456789012:accesspoint:reports",
    ]


@pytest.fixture(scope="module")
def resolve():
    """What the SDK makes of a combination: host, path and region of the signature, or None where it refuses."""
    loader = Loader()
    rules = loader.load_service_model("s3", "endpoint-rule-set-1")
    provider = EndpointProvider(rules, loader.load_data("partitions"))

    def resolve(region, words, addressing, bucket):
        try:
            endpoint = provider.resolve_endpoint(
                Region=region, Bucket=bucket, ForcePathStyle=addressing == "path",
                UseDualStack="dualstack" in words, UseFIPS="fips" in words, Accelerate="accelerate" in words,
                UseArnRegion=True, UseGlobalEndpoint=False, DisableMultiRegionAccessPoints=False)  # fmt: skip
        except EndpointProviderError:
            return None
        scheme, _, host, *path = endpoint.url.split("/")
        (auth,) = endpoint.properties["authSchemes"]
        assert (scheme, auth["name"], auth["signingName"]) == ("https:", "sigv4", "s3")
        return host, "/".join(["", *path, "key"]), auth["signingRegion"]

    return resolve


def combinations():
    """(region, words, addressing, bucket): all that mean the same to the SDK and the module."""
    words = [c for n in range(len(WORDS) + 1) for c in itertools.combinations(WORDS, n)]
    for region, *rest in itertools.product(REGIONS, words, ("auto", "virtual", "path")):
        for bucket in buckets(region):
            # "virtual" puts a dot into the host name all the same.
            if rest[1] != "virtual" or "." not in bucket:
                yield region, *rest, bucket


def location(region, words, addressing, bucket, name="/"):
    return (f"location {name} {{ s3_private_bucket {bucket}; s3_private_bucket_region {region}; "
            f"s3_private_bucket_endpoint aws {' '.join(words)} upstream=stub; "
            f"s3_private_bucket_addressing {addressing}; {UNVERIFIED} }}\n")  # fmt: skip


def is_there(region, words):
    """Transfer Acceleration is in no other partition: the SDK refuses it in China only."""
    return "accelerate" not in words or REGIONS[region][0] == "aws"


@pytest.fixture
def stub(ca):
    recorder = Recorder(tls=make_cert(ca.parent, "stub", ["DNS:stub"]))
    yield recorder
    recorder.close()


def through(stub, *names):
    """http{} of an nginx whose connections all go to the stub, by groups of these names."""
    groups = (f"upstream {name} {{ server 127.0.0.1:{stub.port}; keepalive 4; }}\n" for name in names)
    return f"{''.join(groups)} {SIGNED}"


def seen(stub):
    """Where the last request went, as resolve() tells it."""
    last = stub.last()
    scope = Authorization(last, READER_SECRET, READER).scope
    return last.get("Host"), last.target, scope.split("/")[1]


def test_hosts_are_those_of_the_sdk(tmp_path, stub, resolve):
    table = [(c, e) for c in combinations() if (e := resolve(*c)) and is_there(*c[:2])]
    assert len(table) > 400
    locations = (location(*c, name=f"/{i}/") for i, (c, _) in enumerate(table))
    with Nginx(tmp_path, "".join(locations), through(stub, "stub")) as n:
        wrong = []
        for i, (combination, expected) in enumerate(table):
            assert n.get(f"/{i}/key").status == 200
            if seen(stub) != expected:
                wrong.append((combination, expected, seen(stub)))
        assert not wrong


def test_endpoints_that_the_sdk_refuses_are_refused(tmp_path, resolve):
    refused = [c for c in combinations() if not (resolve(*c) and is_there(*c[:2]))]
    assert len(refused) > 400
    n = Nginx(tmp_path)
    # All of them for the partitions that have rules of their own.
    for c in (c for c in refused if c[0] in ("us-east-1", "cn-north-1", "eusc-de-east-1") and c[2] != "virtual"):
        n.write(location(*c), f"upstream stub {{ server 127.0.0.1:9; }} {SIGNED}")
        status, output = n.check()
        assert status == 1 and output.count("[emerg]") == 1 and "s3_private_bucket" in output, (c, output)


def test_the_default_endpoint_is_that_of_the_access_point(tmp_path, stub):
    names = ["s3-accesspoint.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"]
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/reports"
    locations = f"""location /point/ {{ s3_private_bucket {arn} prefix=p/; {UNVERIFIED} }}
        location /bucket/ {{ s3_private_bucket example-bucket; s3_private_bucket_region eu-west-1; {UNVERIFIED} }}"""
    with Nginx(tmp_path, locations, through(stub, *names)) as n:
        assert n.get("/point/key").status == 200
        assert seen(stub) == (f"reports-123456789012.{names[0]}", "/p/key", "eu-west-1")
        assert n.get("/bucket/key").status == 200
        assert seen(stub) == (f"example-bucket.{names[1]}", "/key", "eu-west-1")


def test_an_inherited_endpoint_is_that_of_the_locations_region(tmp_path, stub):
    server = f"""s3_private_bucket_endpoint aws dualstack upstream=stub; s3_private_bucket_region us-west-2;
        location /a/ {{ s3_private_bucket example-bucket; {UNVERIFIED} }}
        location /b/ {{ s3_private_bucket example-bucket; s3_private_bucket_region cn-north-1; {UNVERIFIED} }}"""
    with Nginx(tmp_path, server, through(stub, "stub")) as n:
        for target, region, suffix in [("/a/key", "us-west-2", ""), ("/b/key", "cn-north-1", ".cn")]:
            assert n.get(target).status == 200
            assert seen(stub) == (f"example-bucket.s3.dualstack.{region}.amazonaws.com{suffix}", "/key", region)


def test_access_points_stand_before_an_endpoint_that_has_a_url(tmp_path, stub):
    """That of a VPC, for one."""
    url = "https://accesspoint.vpce-1a2b-3c4d.s3.eu-west-1.vpce.amazonaws.com"
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/reports"
    locations = f"location / {{ s3_private_bucket {arn}; s3_private_bucket_endpoint {url} upstream=stub; {UNVERIFIED} }}"
    with Nginx(tmp_path, locations, through(stub, "stub")) as n:
        assert n.get("/key").status == 200
        host = url.removeprefix("https://")
        assert seen(stub) == (f"reports-123456789012.{host}", "/key", "eu-west-1")


def test_variables_are_names_of_buckets_that_the_endpoint_takes(tmp_path, stub):
    locations = f"""
        location /any/ {{ s3_private_bucket $arg_b; s3_private_bucket_endpoint aws dualstack upstream=stub; {UNVERIFIED} }}
        location /fast/ {{ s3_private_bucket $arg_b; s3_private_bucket_endpoint aws upstream=stub accelerate; {UNVERIFIED} }}"""
    with Nginx(tmp_path, locations, through(stub, "stub")) as n:
        dualstack = "s3.dualstack.us-east-1.amazonaws.com"
        for target, host, path in [
            ("/any/key?b=example-bucket", f"example-bucket.{dualstack}", "/key"),
            ("/any/key?b=example.bucket", dualstack, "/example.bucket/key"),
            ("/fast/key?b=example-bucket", "example-bucket.s3-accelerate.amazonaws.com", "/key"),
        ]:
            assert n.get(target).status == 200
            assert seen(stub) == (host, path, "us-east-1")
        count = len(stub.requests)
        for target in ("/fast/key?b=example.bucket",
                       "/any/key?b=arn:aws:s3:us-east-1:123456789012:accesspoint/reports"):  # fmt: skip
            assert n.get(target).status == 404
        assert len(stub.requests) == count
        assert 'the bucket name "example.bucket" has a dot, which "accelerate" does not take' in n.error_log()


def test_old_signatures_are_for_regions_where_the_sdk_knows_them(tmp_path):
    """All regions, with and without "fips"."""
    seen = set()
    for partition in Loader().load_data("endpoints")["partitions"]:
        s3 = partition["services"].get("s3", {})
        common = s3.get("defaults", partition["defaults"]).get("signatureVersions", ["s3v4"])
        for region in partition["regions"]:
            for name, words in ((region, ""), (f"fips-{region}", "fips")):
                if words and partition["partition"] == "aws-cn":
                    continue
                known = s3.get("endpoints", {}).get(name, {}).get("signatureVersions", common)
                n = Nginx(tmp_path, f"""location / {{ s3_private_bucket example-bucket;
                    s3_private_bucket_region {region}; s3_private_bucket_endpoint aws {words};
                    s3_private_bucket_auth sigv2 access_key_id=a secret_access_key=data:b; }}""")
                status, output = n.check()
                assert (status == 0) == ("s3" in known), (name, known, output)
                assert 'use "sigv4"' in output
                seen.add(status)
    assert seen == {0, 1}
