"""What nginx -t says of wrong configurations, to the letter, and that it is silent on right ones."""

import contextlib
import os
import signal
import socket
import subprocess

import pytest
from harness import MODULE, NGINX, Dns, Nginx, wait_until

AUTH = "s3_private_bucket_auth none; "
BUCKET = "s3_private_bucket example-bucket; "
A_BUCKET = 'a bucket is named by 3 to 63 characters a-z, 0-9, "." and "-"'
SECRET_CURE = 'write "secret /path/of/file" or "secret data:text"'
ENDPOINT = '"s3_private_bucket_endpoint" directive has an invalid URL '
SIGV4 = '"s3_private_bucket_auth" directive '
UNKNOWN = '"s3_private_bucket_auth" directive has an unknown parameter; '
OTHER_HEADER = 'cannot send a secret in the header that "header=" names; use "User-Agent", "Referer" or a header of your own'
KNOWN = 'use "credentials=", "file=", "profile=", "access_key_id=", "secret_access_key=" or "service="'
ONE_KEY = (
    'write "sigv4 file=path [profile=name]", "sigv4 env", "sigv4 access_key_id=id secret_access_key=file", '
    '"sigv4 credentials=name", or "sigv4" with "instance", "container", "web_identity" or "default"'
)
NOT_ONE = "is not one: it is empty or has white space or another byte that none has; copy it again"
SIGNED = BUCKET + "s3_private_bucket_auth sigv4 access_key_id=a secret_access_key=data:hush; "
SIGNED_V2 = "s3_private_bucket_auth sigv2 access_key_id=a secret_access_key=data:hush; "
LOCAL = BUCKET + "s3_private_bucket_endpoint http://127.0.0.1:9; "
SHARES = '"s3_private_bucket" shares its location with '
EXPIRES = '"s3_private_bucket_presigned_expires" directive has an invalid time "{}"; use "1s" to "7d"'

ARN = "arn:aws:s3:eu-west-1:123456789012:accesspoint/reports"
AN_ARN = '"s3_private_bucket" directive has an invalid ARN "{}": '
AWS = AUTH + "s3_private_bucket_endpoint aws "
AWS_WORDS = '"s3_private_bucket_endpoint" directive has an unknown parameter "{}"; {}'
NOT_AT_AWS = '"s3_private_bucket" cannot go to that "s3_private_bucket_endpoint": '

KEEPALIVE = '"s3_private_bucket_keepalive" directive has an unknown parameter '
AUTOINDEX = '"s3_private_bucket_autoindex" directive has an unknown parameter '
COUNT = 'use "off", or a number and "timeout=", "requests=" or "time="'
ABOVE_0 = 'use a value above 0, or "off" to keep no connection'
NOT_KEPT = '"s3_private_bucket" cannot keep connections open: {}; or set "s3_private_bucket_keepalive off"'

# What stands in a location (a text), or in the server around it (a pair of both).
WRONG = [
    # s3_private_bucket
    ("s3_private_bucket Example;", f'"s3_private_bucket" directive has an invalid bucket name "Example"; {A_BUCKET}'),
    ("s3_private_bucket ab;", f'"s3_private_bucket" directive has an invalid bucket name "ab"; {A_BUCKET}'),
    ("s3_private_bucket a..b;", f'"s3_private_bucket" directive has an invalid bucket name "a..b"; {A_BUCKET}'),
    ("s3_private_bucket 10.0.0.1;", f'"s3_private_bucket" directive has an invalid bucket name "10.0.0.1"; {A_BUCKET}'),
    ("s3_private_bucket a/b;", f'"s3_private_bucket" directive has an invalid bucket name "a/b"; {A_BUCKET}'),
    ('s3_private_bucket "";', f'"s3_private_bucket" directive has an invalid bucket name ""; {A_BUCKET}'),
    ("s3_private_bucket;", 'invalid number of arguments in "s3_private_bucket" directive'),
    ("s3_private_bucket abc prefix=a b;", 'invalid number of arguments in "s3_private_bucket" directive'),
    ("s3_private_bucket abc path=a;", '"s3_private_bucket" directive has an unknown parameter "path=a"; use "prefix=path/"'),
    ("s3_private_bucket off prefix=a;", '"s3_private_bucket" directive has an unknown parameter "prefix=a"; "off" takes none'),
    ("s3_private_bucket abc prefix=a/../b;", '"s3_private_bucket" directive has an invalid prefix "a/../b"; it must not have a "." or ".." segment'),
    ("s3_private_bucket abc prefix=/a;", '"s3_private_bucket" directive has an invalid prefix "/a"; keys do not begin with a slash: leave it out'),
    ("s3_private_bucket abc prefix=;", '"s3_private_bucket" directive has an invalid prefix ""; leave "prefix=" out to serve the whole bucket'),
    ("s3_private_bucket abc prefix=a\\\\..;", '"s3_private_bucket" directive has an invalid prefix "a\\.."; it must not have a "." or ".." segment'),
    ("s3_private_bucket abc prefix=$arg_t;", '"s3_private_bucket" directive has an invalid prefix "$arg_t"; with variables, it must end with "/": clients would write the rest of a name'),
    ("s3_private_bucket abc prefix=t/$arg_t-x;", '"s3_private_bucket" directive has an invalid prefix "t/$arg_t-x"; with variables, it must end with "/": clients would write the rest of a name'),
    ("s3_private_bucket abc prefix=/$arg_t/;", '"s3_private_bucket" directive has an invalid prefix "/$arg_t/"; keys do not begin with a slash: leave it out'),
    (AUTH + "s3_private_bucket_endpoint http://127.0.0.1; s3_private_bucket abc prefix=a\\\\b/;", '"s3_private_bucket" has the prefix "a\\b/" with a backslash, which only AWS\'s own endpoints do not take for a slash; remove it'),
    (f"s3_private_bucket abc prefix={'p' * 1024};", '"s3_private_bucket" directive has a prefix of 1024 bytes; a key has at most 1024 bytes'),
    ("s3_private_bucket abc; s3_private_bucket def;", '"s3_private_bucket" directive is duplicate'),
    (AUTH + "s3_private_bucket $no_such_variable;", 'unknown "no_such_variable" variable'),
    (("s3_private_bucket abc;", ""), '"s3_private_bucket" directive is not allowed here'),
    # access points
    *((f"s3_private_bucket {arn};", AN_ARN.format(arn) + why) for arn, why in (
        ("arn:aws:s3:::example-bucket", "it must be arn:aws:s3:region:account:accesspoint/name; a bucket is written as its name"),
        ("arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/reports", "access points of Object Lambda are not served by ARN; write the alias (--ol-s3)"),
        ("arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1/accesspoint/reports", "access points of S3 on Outposts are not served; use one of a region"),
        ("arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap", "Multi-Region Access Points take signatures of version 4A only; use one of a region"),
        ("arn:aws:s3:eu_west:123456789012:accesspoint/reports", "the region is not valid"),
        ("arn:aws:s3:cn-north-1:123456789012:accesspoint/reports", 'the region is in the partition "aws-cn"; write that behind "arn:"'),
        ("arn:aws:s3:eu-west-1:12345:accesspoint/reports", "the account must have 12 digits"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/a.b", 'the name must have 3 to 50 characters a-z, 0-9 and "-"'),
    )),
    (AUTH + f"s3_private_bucket {ARN}; s3_private_bucket_addressing path;", '"s3_private_bucket" has an access point, which stands in the host name; remove "s3_private_bucket_addressing path"'),
    (AUTH + f"s3_private_bucket {ARN}; s3_private_bucket_endpoint http://127.0.0.1;", '"s3_private_bucket" cannot put the access point before the address "127.0.0.1"; use an endpoint with a host name'),
    # region, endpoint, addressing
    ("s3_private_bucket_endpoint aws ipv6;", AWS_WORDS.format("ipv6", 'use "dualstack", "fips", "accelerate" or "upstream=name"')),
    ("s3_private_bucket_endpoint aws upstream=;", AWS_WORDS.format("upstream=", 'use "dualstack", "fips", "accelerate" or "upstream=name"')),
    ("s3_private_bucket_endpoint aws fips dualstack fips;", AWS_WORDS.format("fips", "write it once")),
    ("s3_private_bucket_endpoint aws upstream=a upstream=b;", AWS_WORDS.format("upstream=b", "write it once")),
    ("s3_private_bucket_endpoint https://h dualstack;", AWS_WORDS.format("dualstack", 'use "upstream=name"')),
    ("s3_private_bucket_endpoint https://h upstream=a b;", AWS_WORDS.format("b", 'use "upstream=name"')),
    ("s3_private_bucket_endpoint;", 'invalid number of arguments in "s3_private_bucket_endpoint" directive'),
    ("s3_private_bucket_endpoint aws accelerate fips;", '"s3_private_bucket_endpoint" directive has an invalid value "accelerate"; AWS has none with "fips"; remove one of them'),
    (AWS + "fips; s3_private_bucket abc; s3_private_bucket_region cn-north-1;", NOT_AT_AWS + 'AWS has no endpoint with "fips" in the region "cn-north-1"; remove that'),
    (AWS + "accelerate; s3_private_bucket abc; s3_private_bucket_region us-gov-east-1;", NOT_AT_AWS + 'AWS has no endpoint with "accelerate" in the region "us-gov-east-1"; remove that'),
    (AWS + "accelerate; s3_private_bucket $arg_b; s3_private_bucket_addressing path;", NOT_AT_AWS + '"accelerate" needs the bucket in the host name; remove "s3_private_bucket_addressing path"'),
    (AWS + "accelerate; s3_private_bucket a.bc;", NOT_AT_AWS + '"accelerate" needs a bucket without a dot in its name, which "a.bc" has; remove it'),
    (AWS + f"accelerate; s3_private_bucket {ARN};", NOT_AT_AWS + '"accelerate" is for buckets, and not for access points; remove it'),
    (AWS + "upstream=none; s3_private_bucket abc;", '"s3_private_bucket" needs the upstream group "none"; define it with "upstream none { ... }"'),
    ("s3_private_bucket_region 'eu west';", '"s3_private_bucket_region" directive has an invalid region "eu west"; use a name such as "eu-central-1"'),
    ("s3_private_bucket_region '';", '"s3_private_bucket_region" directive has an invalid region ""; use a name such as "eu-central-1"'),
    ("s3_private_bucket_region a; s3_private_bucket_region b;", '"s3_private_bucket_region" directive is duplicate'),
    ("s3_private_bucket_endpoint s3.example.com;", ENDPOINT + '"s3.example.com": it must begin with "http://" or "https://"'),
    ("s3_private_bucket_endpoint https://s3.example.com/path;", ENDPOINT + '"https://s3.example.com/path": it must be scheme://host[:port], without a path or query'),
    ("s3_private_bucket_endpoint https://u:p@s3.example.com;", ENDPOINT + '"https://u:p@s3.example.com": it must not have a user name or password'),
    ("s3_private_bucket_endpoint https://;", ENDPOINT + '"https://": the host name is not valid'),
    ("s3_private_bucket_endpoint https://h:70000;", ENDPOINT + '"https://h:70000": the port is not valid'),
    ("s3_private_bucket_endpoint https://$host;", ENDPOINT + '"https://$host": the host name is not valid'),
    ("s3_private_bucket_endpoint https://h group=x;", '"s3_private_bucket_endpoint" directive has an unknown parameter "group=x"; use "upstream=name"'),
    ("s3_private_bucket_endpoint https://h upstream=;", '"s3_private_bucket_endpoint" directive has an unknown parameter "upstream="; use "upstream=name"'),
    (AUTH + BUCKET + "s3_private_bucket_endpoint https://h upstream=none;", '"s3_private_bucket" needs the upstream group "none"; define it with "upstream none { ... }"'),
    ("s3_private_bucket_addressing host;", '"s3_private_bucket_addressing" directive has an unknown parameter "host"; use "auto", "virtual" or "path"'),
    (AUTH + BUCKET + "s3_private_bucket_endpoint http://127.0.0.1; s3_private_bucket_addressing virtual;", '"s3_private_bucket" cannot put the bucket before the address "127.0.0.1"; use "s3_private_bucket_addressing path" or an endpoint with a host name'),
    # auth
    (BUCKET, '"s3_private_bucket" has no "s3_private_bucket_auth"; add "sigv4 file=path", "secret /path/of/file" or "none"'),
    (AUTH + AUTH, '"s3_private_bucket_auth" directive is duplicate'),
    ("s3_private_bucket_auth hush;", '"s3_private_bucket_auth" directive has an unknown parameter; use "secret", "sigv4", "sigv2" or "none"'),
    ("s3_private_bucket_auth none hush;", '"s3_private_bucket_auth" directive has an unknown parameter; "none" takes none'),
    ("s3_private_bucket_auth secret;", f'"s3_private_bucket_auth" directive needs a secret; {SECRET_CURE}'),
    ("s3_private_bucket_auth secret '';", f'"s3_private_bucket_auth" directive needs a secret; {SECRET_CURE}'),
    ("s3_private_bucket_auth secret header=Referer;", f'"s3_private_bucket_auth" directive needs a secret; {SECRET_CURE}'),
    ("s3_private_bucket_errors data:hush;", '"s3_private_bucket_errors" directive has an unknown parameter "data:..."; use "mask" or "pass"'),
    ("s3_private_bucket abc key=data:hush;", '"s3_private_bucket" directive has an unknown parameter "key=data:..."; use "prefix=path/"'),
    ("s3_private_bucket_auth secret data:x name=hush;", UNKNOWN + 'use "header=name", and quotes around a secret with spaces'),
    ("s3_private_bucket_auth secret data:correct hush battery;", UNKNOWN + 'use "header=name", and quotes around a secret with spaces'),
    ("s3_private_bucket_auth secret hush;", '"s3_private_bucket_auth" directive cannot read the secret file (No such file or directory (os error 2)); create it, with mode 0600, or write the secret itself behind "data:"'),
    ("s3_private_bucket_auth secret data:x header=Host;", SIGV4 + OTHER_HEADER),
    ("s3_private_bucket_auth secret data:x header=X-Amz-hush;", SIGV4 + OTHER_HEADER),
    ("s3_private_bucket_auth secret data:x 'header=hush hush';", SIGV4 + OTHER_HEADER),
    ("s3_private_bucket_auth secret data:x header=A header=hush;", UNKNOWN + 'a secret and "header=name" are all it takes'),
    ("s3_private_bucket_auth secret data:;", '"s3_private_bucket_auth" directive cannot use the secret in "data:": the secret is empty; write one line of text into it'),
    # sigv4
    ("s3_private_bucket_auth sigv4;", SIGV4 + "needs one key; " + ONE_KEY),
    ("s3_private_bucket_auth sigv4 AKIAX hush;", SIGV4 + "needs one key; " + ONE_KEY),
    ("s3_private_bucket_auth sigv4 hush/hush=;", UNKNOWN + KNOWN),
    ("s3_private_bucket_auth sigv4 hush=;", UNKNOWN + KNOWN),
    ("s3_private_bucket_auth sigv4 access_key_id=a secret_access_key=hush;", SIGV4 + 'cannot read the secret file (No such file or directory (os error 2)); create it, with mode 0600, or write the secret itself behind "data:"'),
    ("s3_private_bucket_auth sigv4 file=hush;", SIGV4 + 'cannot read the credentials file (No such file or directory (os error 2)); create it, with mode 0600'),
    ("s3_private_bucket_auth sigv4 env file=/x;", SIGV4 + "needs one key; " + ONE_KEY),
    ("s3_private_bucket_auth sigv4 env profile=x;", SIGV4 + "needs one key; " + ONE_KEY),
    ("s3_private_bucket_auth sigv4 env env;", SIGV4 + "needs one key; " + ONE_KEY),
    ("s3_private_bucket_auth sigv4 access_key_id=x;", SIGV4 + "needs one key; " + ONE_KEY),
    ("s3_private_bucket_auth sigv4 secret_acess_key=hush;", UNKNOWN + KNOWN),
    ("s3_private_bucket_auth sigv4 file=a file=b;", SIGV4 + 'has an unknown parameter "file="; write it once, with a value'),
    ("s3_private_bucket_auth sigv4 env service=;", SIGV4 + 'has an unknown parameter "service="; write it once, with a value'),
    ("s3_private_bucket_auth sigv4 access_key_id=a secret_access_key=data:hush service=hush/;", SIGV4 + 'has an invalid service behind "service="; use a name such as "s3"'),
    ("s3_private_bucket_auth sigv4 env;", SIGV4 + 'finds no AWS_ACCESS_KEY_ID in the environment of nginx\'s master process; set it or use "file=path"'),
    ("s3_private_bucket_auth sigv4 access_key_id=a/b secret_access_key=data:hush;", SIGV4 + f"cannot use the credentials in the configuration: the access key ID {NOT_ONE}"),
    ("s3_private_bucket_auth sigv4 access_key_id=ab secret_access_key=data:;", SIGV4 + f"cannot use the credentials in the configuration: the secret access key {NOT_ONE}"),
    (SIGNED + "proxy_set_header Host x;", SHARES + '"proxy_set_header Host", which the signature covers; remove it'),
    (SIGNED + "proxy_set_header authorization x;", SHARES + '"proxy_set_header authorization", which the signature covers; remove it'),
    (SIGNED + "proxy_set_header X-Amz-Date x;", SHARES + '"proxy_set_header X-Amz-Date", which the signature covers; remove it'),
    (SIGNED + "proxy_method HEAD;", SHARES + '"proxy_method", which the signature covers; remove it'),
    (SIGNED + "s3_private_bucket_pass_args a x-amz-Date;", '"s3_private_bucket" lets "x-amz-Date" of "s3_private_bucket_pass_args" reach S3, which takes it for a signature; remove it'),
    ("s3_private_bucket_expected_owner 12345;", '"s3_private_bucket_expected_owner" directive has an invalid account "12345"; use its 12 digits, or "off"'),
    ("s3_private_bucket_expected_owner 11112222333x;", '"s3_private_bucket_expected_owner" directive has an invalid account "11112222333x"; use its 12 digits, or "off"'),
    ("s3_private_bucket_expected_owner off; s3_private_bucket_expected_owner off;", '"s3_private_bucket_expected_owner" directive is duplicate'),
    ("s3_private_bucket_presigned_expires 0;", EXPIRES.format("0")),
    ("s3_private_bucket_presigned_expires 604801;", EXPIRES.format("604801")),
    ("s3_private_bucket_presigned_expires 8d;", EXPIRES.format("8d")),
    ("s3_private_bucket_presigned_expires soon;", EXPIRES.format("soon")),
    # key, arguments
    ("s3_private_bucket_key '';", '"s3_private_bucket_key" directive has an empty argument; write the object key, with variables'),
    ("s3_private_bucket_key $no_such_variable;", 'unknown "no_such_variable" variable'),
    *((f"s3_private_bucket_index '{name}';", f'"s3_private_bucket_index" directive has an invalid name "{name}"; use one such as "index.html"')
      for name in ("", "/index.html", "a/", "../a")),
    ("s3_private_bucket_errors hide;", '"s3_private_bucket_errors" directive has an unknown parameter "hide"; use "mask" or "pass"'),
    ("s3_private_bucket_keepalive -1;", KEEPALIVE + '"-1"; ' + COUNT),
    ("s3_private_bucket_keepalive 0;", KEEPALIVE + '"0"; ' + COUNT),
    ("s3_private_bucket_keepalive on;", KEEPALIVE + '"on"; ' + COUNT),
    ("s3_private_bucket_keepalive 16k;", KEEPALIVE + '"16k"; ' + COUNT),
    ("s3_private_bucket_keepalive 100000;", KEEPALIVE + '"100000"; use at most 99999 connections'),
    ("s3_private_bucket_keepalive off 16;", KEEPALIVE + '"16"; "off" takes none'),
    ("s3_private_bucket_keepalive 16 32;", KEEPALIVE + '"32"; ' + COUNT),
    ("s3_private_bucket_keepalive 16 idle=1s;", KEEPALIVE + '"idle=1s"; ' + COUNT),
    ("s3_private_bucket_keepalive 16 timeout=;", KEEPALIVE + '"timeout="; ' + ABOVE_0),
    ("s3_private_bucket_keepalive 16 timeout=soon;", KEEPALIVE + '"timeout=soon"; ' + ABOVE_0),
    ("s3_private_bucket_keepalive 16 requests=0;", KEEPALIVE + '"requests=0"; ' + ABOVE_0),
    ("s3_private_bucket_keepalive 16 time=0;", KEEPALIVE + '"time=0"; ' + ABOVE_0),
    ("s3_private_bucket_keepalive 16 time=1h time=2h;", KEEPALIVE + '"time=2h"; write it once'),
    ("s3_private_bucket_keepalive 16; s3_private_bucket_keepalive off;", '"s3_private_bucket_keepalive" directive is duplicate'),
    (AUTH + "s3_private_bucket $arg_b; s3_private_bucket_keepalive 16;", NOT_KEPT.format('the host name differs between requests; use "s3_private_bucket_addressing path"')),
    (AUTH + "s3_private_bucket example-bucket; proxy_pass https://x$s3_private_bucket_uri; s3_private_bucket_keepalive 16;", NOT_KEPT.format('the location has a "proxy_pass" of its own; remove that')),
    (AUTH + "s3_private_bucket example-bucket; proxy_bind $arg_b; s3_private_bucket_keepalive 16;", NOT_KEPT.format('"proxy_bind" has a variable, and connections must not be shared between its values; remove it')),
    (AUTH + "s3_private_bucket example-bucket; proxy_ssl_name $arg_b; s3_private_bucket_keepalive 16;", NOT_KEPT.format('"proxy_ssl_name" has a variable, and connections must not be shared between its values; remove it')),
    (AUTH + "s3_private_bucket example-bucket; proxy_next_upstream http_503; s3_private_bucket_keepalive 16;", NOT_KEPT.format('"proxy_next_upstream" lacks "error", which a connection that S3 closes needs; add it')),
    ("s3_private_bucket_append_slash yes;", '"s3_private_bucket_append_slash" directive has an unknown parameter "yes"; use "on" or "off"'),
    ("s3_private_bucket_website_redirects yes;", '"s3_private_bucket_website_redirects" directive has an unknown parameter "yes"; use "on" or "off"'),
    ("s3_private_bucket_website_redirects on; s3_private_bucket_website_redirects off;", '"s3_private_bucket_website_redirects" directive is duplicate'),
    (AUTH + BUCKET + "s3_private_bucket_append_slash on;", '"s3_private_bucket" has "s3_private_bucket_append_slash" without folders; add "s3_private_bucket_index" or "s3_private_bucket_autoindex", or switch it off'),
    ("s3_private_bucket_pass_headers '';", '"s3_private_bucket_pass_headers" directive has an empty argument; write names of response headers'),
    ("s3_private_bucket_pass_args;", 'invalid number of arguments in "s3_private_bucket_pass_args" directive'),
    ("s3_private_bucket_pass_args '';", '"s3_private_bucket_pass_args" directive has an empty argument; write names of query arguments'),
    # folders as pages
    ("s3_private_bucket_autoindex on;", AUTOINDEX + '"on"; use "html", "json", "xml", a variable or "off"'),
    ("s3_private_bucket_autoindex jsonp;", AUTOINDEX + '"jsonp"; use "html", "json", "xml", a variable or "off"'),
    ("s3_private_bucket_autoindex $no_such_variable;", 'unknown "no_such_variable" variable'),
    ("s3_private_bucket_autoindex;", 'invalid number of arguments in "s3_private_bucket_autoindex" directive'),
    ("s3_private_bucket_autoindex off page=7;", AUTOINDEX + '"page=7"; "off" takes none'),
    *((f"s3_private_bucket_autoindex html page={page};", AUTOINDEX + f'"page={page}"; use "page=1" to "page=1000"')
      for page in ("0", "1001", "-1", "", "many", "4294967297")),
    ("s3_private_bucket_autoindex html exact_size=x;", AUTOINDEX + '"exact_size=x"; use "on" or "off"'),
    ("s3_private_bucket_autoindex html localtime=;", AUTOINDEX + '"localtime="; use "on" or "off"'),
    ("s3_private_bucket_autoindex html valid=x;", AUTOINDEX + '"valid=x"; use a time such as "valid=10s"'),
    ("s3_private_bucket_autoindex html valid=;", AUTOINDEX + '"valid="; use a time such as "valid=10s"'),
    ("s3_private_bucket_autoindex html valid=1s valid=2s;", AUTOINDEX + '"valid=2s"; write it once'),
    ("s3_private_bucket_autoindex html exact_size=on exact_size=on;", AUTOINDEX + '"exact_size=on"; write it once'),
    ("s3_private_bucket_autoindex html json;", AUTOINDEX + '"json"; use "page=", "exact_size=", "localtime=" or "valid="'),
    ("s3_private_bucket_autoindex html pages=7;", AUTOINDEX + '"pages=7"; use "page=", "exact_size=", "localtime=" or "valid="'),
    ("s3_private_bucket_autoindex off; s3_private_bucket_autoindex html;", '"s3_private_bucket_autoindex" directive is duplicate'),
    (AUTH + "s3_private_bucket a--use1-az4--x-s3; s3_private_bucket_endpoint https://s3express-use1-az4.us-east-1.amazonaws.com; s3_private_bucket_autoindex html;", '"s3_private_bucket" cannot show the folders of "a--use1-az4--x-s3", as a directory bucket lists them in no order; write "s3_private_bucket_autoindex off"'),
    ("s3_private_bucket_set_arg versionId;", 'invalid number of arguments in "s3_private_bucket_set_arg" directive'),
    ("s3_private_bucket_set_arg '' x;", '"s3_private_bucket_set_arg" directive has an empty argument; write the name of a query argument'),
    *((f"s3_private_bucket_set_arg {name} data:hush;", f'"s3_private_bucket_set_arg" directive cannot set "{name}": {why}; remove it') for name, why in (
        ("X-Amz-Expires", "S3 takes it for a signature"), ("x-amz-security-token", "S3 takes it for a signature"),
        *((name, "it is an argument of listings") for name in ("list-type", "prefix", "delimiter", "start-after", "max-keys")),
        *((name, "with it S3 is asked for something else than the object") for name in ("acl", "policy", "uploads", "uploadId", "tagging")))),
    ("s3_private_bucket_set_arg a 1; s3_private_bucket_set_arg b 1; s3_private_bucket_set_arg a 2;", '"s3_private_bucket_set_arg" directive cannot set "a": it is set already; remove it'),
    ("s3_private_bucket_set_arg a $no_such_variable;", 'unknown "no_such_variable" variable'),
    ("s3_private_bucket_set_header x-amz-a;", 'invalid number of arguments in "s3_private_bucket_set_header" directive'),
    *((f"s3_private_bucket_set_header '{name}' hush;", f'"s3_private_bucket_set_header" directive cannot set "{name.lower()}": it is not the name of a header; remove it') for name in ("", "a b", "a:")),
    *((f"s3_private_bucket_set_header {name} hush;", f'"s3_private_bucket_set_header" directive cannot set "{name.lower()}": the module or nginx sends it; remove it') for name in (
        "Host", "Authorization", "X-Amz-Date", "x-amz-content-sha256", "X-Amz-Security-Token", "X-Amz-Expected-Bucket-Owner", "Connection",
        "Content-Length", "Transfer-Encoding", "Range", "If-Match", "Cookie", "TE", "Upgrade")),
    ("s3_private_bucket_set_header x-amz-a 'hush\nhush';", '"s3_private_bucket_set_header" directive cannot set "x-amz-a": its value has a control byte; remove it'),
    ("s3_private_bucket_set_header a 1; s3_private_bucket_set_header A hush;", '"s3_private_bucket_set_header" directive cannot set "a": it is set already; remove it'),
    (SIGNED + "s3_private_bucket_set_header X-A hush; proxy_set_header x-A hush;", SHARES + '"proxy_set_header x-A", which the signature covers; remove it'),
    (BUCKET + "s3_private_bucket_auth secret data:hush; s3_private_bucket_set_header user-agent hush;", '"s3_private_bucket" sends its secret in the header "user-agent", which "s3_private_bucket_set_header" sets too; remove that'),
    # signatures of version 2
    *((words.replace("sigv4", "sigv2"), message.replace("sigv4", "sigv2")) for words, message in (
        ("s3_private_bucket_auth sigv4;", SIGV4 + f"needs one key; {ONE_KEY}"),
        ("s3_private_bucket_auth sigv4 env file=/hush;", SIGV4 + f"needs one key; {ONE_KEY}"),
        ("s3_private_bucket_auth sigv4 hush;", SIGV4 + f"needs one key; {ONE_KEY}"),
        ("s3_private_bucket_auth sigv4 env env;", SIGV4 + f"needs one key; {ONE_KEY}"),
        ("s3_private_bucket_auth sigv4 file=;", SIGV4 + 'has an unknown parameter "file="; write it once, with a value'),
        ("s3_private_bucket_auth sigv4 key=hush;", UNKNOWN + KNOWN))),
    ("s3_private_bucket_auth sigv2 env service=hush;", UNKNOWN + '"service=" is of "sigv4": remove it'),
    ("s3_private_bucket_auth sigv3 env;", UNKNOWN + 'use "secret", "sigv4", "sigv2" or "none"'),
    *((f"{SIGNED_V2} {location}", f'"s3_private_bucket" signs with "sigv2", which {what} does not take; use "sigv4"') for location, what in (
        (BUCKET + "s3_private_bucket_region eu-central-1;", 'AWS in the region "eu-central-1"'),
        (BUCKET + "s3_private_bucket_region cn-north-1;", 'AWS in the region "cn-north-1"'),
        (BUCKET + "s3_private_bucket_endpoint aws fips;", 'the endpoint of AWS with "fips" in the region "us-east-1"'),
        (f"s3_private_bucket {ARN};", "an access point"),
        (f"s3_private_bucket {ARN}; s3_private_bucket_endpoint https://s3.example.com;", "an access point"),
        ("s3_private_bucket a--use1-az4--x-s3; s3_private_bucket_endpoint https://s3express-use1-az4.us-east-1.amazonaws.com;", "a directory bucket"))),
    *((f"{SIGNED_V2} {LOCAL} proxy_set_header {name} x;", SHARES + f'"proxy_set_header {name}", which the signature covers; remove it') for name in (
        "Date", "content-type", "Content-MD5", "Host", "X-Amz-Acl")),
    *((f"{SIGNED_V2} {LOCAL} s3_private_bucket_pass_args {name};", f'"s3_private_bucket" lets "{name}" of "s3_private_bucket_pass_args" reach S3, which takes it for a signature; remove it') for name in (
        "AWSAccessKeyId", "Expires", "Signature", "x-amz-security-token")),
    *((f"s3_private_bucket_set_arg {name} hush;", f'"s3_private_bucket_set_arg" directive cannot set "{name}": S3 takes it for a signature; remove it') for name in (
        "AWSAccessKeyId", "Expires", "Signature")),
    # what else stands in the location
    (AUTH + BUCKET + "proxy_pass http://127.0.0.1:9;", '"s3_private_bucket" shares its location with another handler of requests; remove that, or write "proxy_pass" with "$s3_private_bucket_uri"'),
    (AUTH + BUCKET + "proxy_pass http://127.0.0.1:9$uri;", '"s3_private_bucket" shares its location with a "proxy_pass" without "$s3_private_bucket_uri"; add it'),
    (AUTH + BUCKET + "stub_status;", '"s3_private_bucket" shares its location with another handler of requests; remove that, or write "proxy_pass" with "$s3_private_bucket_uri"'),
]  # fmt: skip


@pytest.mark.parametrize("wrong, message", WRONG, ids=range(len(WRONG)))
def test_wrong_configurations(tmp_path, wrong, message):
    server, location = wrong if isinstance(wrong, tuple) else ("", wrong)
    n = Nginx(tmp_path, f"{server}\nlocation /m/ {{ {location} }}")
    status, output = n.check()
    assert status == 1
    lines = [line for line in output.splitlines() if "[" in line]
    assert len(lines) == 1, output
    level, text = lines[0].split("] ", 1)
    assert level.endswith("[emerg") and "hush" not in text
    # nginx writes its process id before what it says at run time, and not before what -t says.
    assert text.split(": ", 1)[-1].startswith(message) or text.startswith(message), text
    if "unknown" not in text or "variable" not in text:
        # nginx itself says that last, without the place.
        assert f" in {tmp_path}/nginx.conf:" in text


@pytest.mark.parametrize(
    "content, message",
    [
        (None, '(No such file or directory (os error 2)); create it, with mode 0600, or write the secret itself behind "data:"'),
        (b"", "the secret is empty; write one line of text into it"),
        (b"\n", "the secret is empty; write one line of text into it"),
        (b"a\nb\n", "the secret has a control byte (a second line, a CR of a Windows editor, a NUL); write one line of text into it"),
        (b"a\r\n", "the secret has a control byte (a second line, a CR of a Windows editor, a NUL); write one line of text into it"),
        (b"hush\0", "the secret has a control byte (a second line, a CR of a Windows editor, a NUL); write one line of text into it"),
        (b" hush", "the secret begins or ends with white space; write one line of text into it"),
        (b"hush\xff", "the secret is not UTF-8 text; write one line of text into it"),
    ],
    ids=range(8),
)  # fmt: skip
def test_wrong_secret_files(tmp_path, content, message):
    file = tmp_path / "s3.secret"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    n = Nginx(tmp_path / "n", f"s3_private_bucket_auth secret {file};")
    status, output = n.check()
    assert status == 1
    read = "read the secret file " if content is None else "use the secret in the file: "
    assert f'"s3_private_bucket_auth" directive cannot {read}{message} in {tmp_path}' in output
    assert "hush" not in output and "s3.secret" not in output


CREDENTIALS = "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n"


@pytest.mark.parametrize(
    "content, message",
    [
        (None, 'cannot read the credentials file (No such file or directory (os error 2)); create it, with mode 0600'),
        ("", 'cannot use the credentials in the file: there is no such profile ("default", if none is named); add it or name another with "profile="'),
        ("[default]\nrole_arn = x\n", 'cannot use the credentials in the file: the profile has no aws_access_key_id; add it'),
        (CREDENTIALS.format("a", "hush hush"), f'cannot use the credentials in the file: the secret access key {NOT_ONE}'),
        (CREDENTIALS.format("", "hush"), f'cannot use the credentials in the file: the access key ID {NOT_ONE}'),
        (CREDENTIALS.format("a", "hush") + "aws_session_token=hush\xff", f'cannot use the credentials in the file: the session token {NOT_ONE}'),
    ],
    ids=range(6),
)  # fmt: skip
def test_wrong_credentials_files(tmp_path, content, message):
    file = tmp_path / "credentials"
    if content is not None:
        file.write_text(content)
        file.chmod(0o600)
    n = Nginx(tmp_path / "n", f"s3_private_bucket_auth sigv4 file={file};")
    status, output = n.check()
    assert status == 1 and "hush" not in output
    assert SIGV4 + message + f" in {tmp_path}" in output and str(file) not in output


def test_credentials_that_all_can_read_are_worth_a_warning(tmp_path):
    file = tmp_path / "credentials"
    file.write_text(CREDENTIALS.format("AKIAX", "hush"))
    file.chmod(0o644)
    n = Nginx(tmp_path / "n", f"s3_private_bucket_auth sigv4 file={file};")
    status, output = n.check()
    (line,) = ours(output)
    assert status == 0 and "[warn]" in line and "hush" not in output
    assert 'the credentials file can be read by all users; use "chmod 600"' in line


def test_the_variable_of_a_signature_cannot_be_used(tmp_path):
    n = Nginx(
        tmp_path,
        f"location /m/ {{ {SIGNED} }}",
        "log_format x $s3_private_bucket_Authorization;",
    )
    status, output = n.check()
    assert status == 1
    assert (
        '"s3_private_bucket" keeps signatures in the variable "$s3_private_bucket_authorization", '
        "which nothing else may use; remove it"
    ) in output


@pytest.mark.parametrize("name", ["s3_private_bucket_choice", "s3_private_bucket_session"])
def test_variables_that_choose_connections_cannot_be_used(tmp_path, name):
    n = Nginx(tmp_path, f"location /m/ {{ {SIGNED} }}", f"log_format x ${name};")
    status, output = n.check()
    assert status == 1
    assert (
        f'"s3_private_bucket" chooses connections with the variable "${name}", '
        "which nothing else may use; remove it"
    ) in output


@pytest.mark.parametrize("name", [
    "s3_private_bucket_nam", "s3_private_bucket_", "s3_private_bucket_url",
])
def test_a_misspelt_variable_is_told(tmp_path, name):
    n = Nginx(tmp_path, f"location / {{ return 200 ${name}; }}")
    status, output = n.check()
    assert status == 1
    assert f'"s3_private_bucket" has no variable "${name}"; correct its name' in output


def test_variables_of_the_configuration_may_begin_alike(tmp_path):
    n = Nginx(tmp_path, """set $s3_private_bucket_mine 1; location ~ ^/(?<s3_private_bucket_rest>.*)$ {
        return 200 $s3_private_bucket_mine$s3_private_bucket_rest; }""")  # fmt: skip
    status, output = n.check()
    assert (status, ours(output)) == (0, [])


def test_the_module_has_no_name_in_nginxs_table(tmp_path):
    """Where that is as large as it may be already, loading the module is not to cost a warning."""

    def warns(load, size):
        temp = "".join(f"{kind}_temp_path {tmp_path}/{kind}; "
                       for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))  # fmt: skip
        (tmp_path / "nginx.conf").write_text(f"""{load} user root; pid {tmp_path}/pid; events {{}}
            http {{ {temp} variables_hash_max_size {size}; server {{ listen 127.0.0.1:80; }} }}""")
        p = subprocess.run([NGINX, "-t", "-c", tmp_path / "nginx.conf", "-e", tmp_path / "error.log"],
                           capture_output=True, text=True)  # fmt: skip
        assert p.returncode == 0, p.stderr
        return "variables_hash" in p.stderr

    sizes = range(16, 1040, 16)
    without = [warns("", size) for size in sizes]
    assert True in without and False in without
    assert [warns(f"load_module {MODULE};", size) for size in sizes] == without


def ours(output):
    return [line for line in output.splitlines() if "s3_private" in line]


def check(tmp_path, secret, endpoint, http=""):
    n = Nginx(
        tmp_path / "n",
        f"""s3_private_bucket_endpoint {endpoint};
        s3_private_bucket_auth secret {secret};
        location /m/ {{ s3_private_bucket example-bucket; }}""",
        http,
    )
    status, output = n.check()
    assert status == 0, output
    return ours(output)


def test_a_secret_that_all_can_read_is_worth_a_warning(tmp_path, secret):
    secret.chmod(0o604)
    (line,) = check(tmp_path, secret, "http://127.0.0.1:9")
    assert "[warn]" in line and "open-sesame" not in line
    assert 'the secret file can be read by all users; use "chmod 600"' in line


@pytest.mark.parametrize(
    "endpoint, warns",
    [
        ("http://192.0.2.1:9000", True),
        ("http://minio.example.com", True),
        ("http://s3.example.com upstream=far", True),
        ("http://s3.example.com upstream=near", False),
        ("http://127.0.0.1:9000", False),
        ("http://[::1]:9000", False),
        ("https://s3.example.com", False),
    ],
)
def test_a_secret_in_clear_is_worth_a_warning(tmp_path, secret, endpoint, warns):
    groups = """upstream far { server 127.0.0.1:1; server 192.0.2.1:1; }
        upstream near { server 127.0.0.1:1; server [::1]:1; server unix:/tmp/none.sock; }"""
    lines = check(tmp_path, secret, endpoint, groups)
    authority = endpoint.split()[0].removeprefix("http://")
    message = (
        f'"s3_private_bucket" sends its secret unencrypted to "http://{authority}"; '
        "use an https:// endpoint"
    )
    assert [message in line and "[warn]" in line for line in lines] == [True] * warns


def test_nothing_is_said_of_a_right_configuration(tmp_path, secret):
    n = Nginx(
        tmp_path / "n",
        f"""location /m/ {{ s3_private_bucket example-bucket prefix=p/; }}
        location /s/ {{
            {SIGNED} proxy_set_header X-Own x; s3_private_bucket_presigned_expires 7d;
            s3_private_bucket_expected_owner 111122223333;
        }}
        location /n/ {{ s3_private_bucket $host; s3_private_bucket_auth none; }}
        location /f/ {{
            s3_private_bucket example-bucket; s3_private_bucket_append_slash on;
            s3_private_bucket_autoindex $arg_f page=1 exact_size=off localtime=on valid=1h;
        }}
        location /d/ {{ s3_private_bucket a--use1-az4--x-s3; s3_private_bucket_autoindex off; s3_private_bucket_endpoint https://s3express-use1-az4.us-east-1.amazonaws.com; }}""",
        f"s3_private_bucket_auth secret {secret}; s3_private_bucket_region eu-central-1;",
    )
    status, output = n.check()
    assert (status, ours(output)) == (0, [])


OLD = (
    '"s3_private_bucket" signs for AWS with "s3_private_bucket_auth sigv2", which AWS refuses for buckets that were made '
    'since June 2020; use "sigv4"'
)


@pytest.mark.parametrize(
    "endpoint, warns",
    [
        ("", True),
        ("s3_private_bucket_endpoint aws dualstack;", True),
        ("s3_private_bucket_endpoint aws accelerate;", True),
        ("s3_private_bucket_endpoint http://s3.eu-central-1.amazonaws.com;", True),
        ("s3_private_bucket_endpoint https://s3.example.com; s3_private_bucket_region eu-central-1;", False),
        ("s3_private_bucket_endpoint http://127.0.0.1:9000;", False),
    ],
)
def test_an_old_signature_for_aws_is_worth_a_warning(tmp_path, endpoint, warns):
    n = Nginx(tmp_path, f"location /m/ {{ {BUCKET} {endpoint} {SIGNED_V2} }}")
    status, output = n.check()
    lines = ours(output)
    assert status == 0 and len(lines) == warns
    assert all(OLD in line and "[warn]" in line and "hush" not in line for line in lines)


def test_no_name_server_is_told(tmp_path, secret):
    n = Nginx(
        tmp_path / "n",
        f"location /m/ {{ s3_private_bucket_auth secret {secret}; s3_private_bucket abc; }}",
        resolv_conf="# none\n",
    )
    status, output = n.check()
    assert status == 1
    assert (
        '"s3_private_bucket" finds no name server in /etc/resolv.conf; set "resolver", or use '
        '"upstream=" of "s3_private_bucket_endpoint" in '
    ) in output


def test_a_failed_reload_keeps_the_old_configuration(nginx, origin, secret):
    n = nginx("location /m/ { s3_private_bucket example-bucket; }")
    # nginx listens before it looks for signals.
    wait_until(n.workers, "a worker")
    secret.write_text("")
    n.tolerated = {"[emerg]"}
    n.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the secret is empty" in n.error_log(), "the reload to fail")
    assert n.get("/m/a").status == 200
    assert origin.last().get("User-Agent") == "open-sesame"


# Keys that renew themselves: what stands in http{}, what "sigv4" has behind it in a location, and what nginx finds in
# its environment.
ROLE = "arn:aws:iam::123456789012:role/media"
IRSA = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/etc/passwd", "AWS_REGION": "eu-central-1"}
STATIC = {"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "hush"}
IMDS = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
RELATIVE, FULL = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"
IN = " in the environment of nginx's master process is not valid: "
CANNOT = '"s3_private_bucket" cannot use the credentials "{}": '
MEDIA = CANNOT.format("media")
SOURCES = 'use "instance", "container", "web_identity", "assume_role", "default" or "file=path"'
NO_SOURCE = 'it has no "source"; add "source" with "instance", "container", "web_identity", "assume_role", "default" or "file=path"'
FROMS = 'use a source, the name of another "s3_private_bucket_credentials", "env" or "file=path"'
WAITS = 'use a time up to "60s", or "0" not to wait'
NOT_IMDS = "it must be the address 169.254.169.254, [fd00:ec2::254] or one of loopback"
NOT_NEAR = '"http://" is for loopback, 169.254.170.2, 169.254.170.23 and [fd00:ec2::23] only; write "https://"'
BARE = "it must be scheme://host[:port], without a path or query"
DISABLED = "AWS_EC2_METADATA_DISABLED is set in the environment of nginx's master process; unset it"
LONG = '"duration" is more than 1h, and STS gives no more to who asks with the keys of a role; use at most "1h"'
A_ROLE = 'use one such as "arn:aws:iam::123456789012:role/media"'
BLOCK = '"s3_private_bucket_credentials" directive has an invalid value '


def block(lines, name="media"):
    return f"s3_private_bucket_credentials {name} {{ {lines} }}\n"


def role(lines, name="media", base="instance"):
    """A block for the keys of a role."""
    return block(f"source assume_role; from {base}; role_arn {ROLE}; {lines}", name)


def neither(directive, variable):
    return f'it has no "{directive}", and the environment of nginx\'s master process no {variable}; set one of them'


def surplus(directive, source):
    return f'{MEDIA}"{directive}" does not go with "source {source}"; remove it'


HERE = "region eu-central-1;"
WRONG_KEYS = [
    # s3_private_bucket_auth
    ("", "assume_role", {}, SIGV4 + 'needs to know which role; define "s3_private_bucket_credentials name { source assume_role; ... }" in http{}, and write "sigv4 credentials=name"'),
    *(("", words, {}, SIGV4 + "needs one key; " + ONE_KEY) for words in (
        "ec2", "hush", "instance container", "instance instance", "instance env", "default file=hush",
        "instance credentials=media", "credentials=media profile=x", "container access_key_id=a secret_access_key=data:hush")),
    ("", "credentials=", {}, SIGV4 + 'has an unknown parameter "credentials="; write it once, with a value'),
    ("", "credentials=a credentials=b", {}, SIGV4 + 'has an unknown parameter "credentials="; write it once, with a value'),
    ("", "instance service=hush/", {}, SIGV4 + 'has an invalid service behind "service="; use a name such as "s3"'),
    ("", "instance role=hush", {}, UNKNOWN + KNOWN),
    ("", "credentials=media", {}, MEDIA + 'there are none of that name; define them with "s3_private_bucket_credentials media { ... }" in http{}'),
    # what the environment has to have
    ("", "instance", {"AWS_EC2_METADATA_DISABLED": "TRUE"}, CANNOT.format("instance") + DISABLED),
    ("", "default", {"AWS_EC2_METADATA_DISABLED": "true"}, CANNOT.format("default") + DISABLED),
    ("", "instance", {IMDS + "_MODE": "IPv5"}, CANNOT.format("instance") + f'{IMDS}_MODE is "IPv5"; set it to "IPv4" or "IPv6"'),
    ("", "instance", {IMDS: "http://192.0.2.1"}, CANNOT.format("instance") + IMDS + IN + NOT_IMDS),
    ("", "instance", {IMDS: "http://metadata.example"}, CANNOT.format("instance") + IMDS + IN + NOT_IMDS),
    ("", "instance", {IMDS: "https://127.0.0.1"}, CANNOT.format("instance") + IMDS + IN + 'it must begin with "http://"'),
    ("", "container", {}, CANNOT.format("container") + f"the environment of nginx's master process has neither {RELATIVE} nor {FULL}, which ECS and EKS Pod Identity set; give the task or the service account a role"),
    ("", "container", {RELATIVE: "v2/x"}, CANNOT.format("container") + RELATIVE + IN + 'it must begin with "/"'),
    ("", "container", {FULL: "http://192.0.2.1/x"}, CANNOT.format("container") + FULL + IN + NOT_NEAR),
    ("", "container", {FULL: "http://rebind.example/x"}, CANNOT.format("container") + FULL + IN + NOT_NEAR),
    ("", "web_identity", {}, CANNOT.format("web_identity") + neither("role_arn", "AWS_ROLE_ARN")),
    ("", "web_identity", {"AWS_ROLE_ARN": ROLE}, CANNOT.format("web_identity") + neither("token_file", "AWS_WEB_IDENTITY_TOKEN_FILE")),
    ("", "web_identity", IRSA | {"AWS_REGION": ""}, CANNOT.format("web_identity") + neither("region", "AWS_REGION")),
    ("", "web_identity", IRSA | {"AWS_REGION": "eu west"}, CANNOT.format("web_identity") + "AWS_REGION" + IN + '"eu west" is no region'),
    ("", "web_identity", IRSA | {"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu west"}, CANNOT.format("web_identity") + "AWS_DEFAULT_REGION" + IN + '"eu west" is no region'),
    (role("endpoint https://sts.example;"), "", {"AWS_REGION": "eu/west"}, MEDIA + "AWS_REGION" + IN + '"eu/west" is no region'),
    ("", "web_identity", IRSA | {"AWS_ROLE_ARN": "media"}, CANNOT.format("web_identity") + "AWS_ROLE_ARN" + IN + '"media" is not the ARN of a role'),
    ("", "default", IRSA | {"AWS_ROLE_SESSION_NAME": "a b"}, CANNOT.format("default") + "AWS_ROLE_SESSION_NAME" + IN + '"a b" is no session name'),
    ("", "default", STATIC | {"AWS_ACCESS_KEY_ID": "a/b"}, CANNOT.format("default") + "AWS_ACCESS_KEY_ID" + IN + f"the access key ID {NOT_ONE}"),
    # the block, which nobody uses
    ("s3_private_bucket_credentials media;", "", {}, 'directive "s3_private_bucket_credentials" has no opening "{"'),
    ("s3_private_bucket_credentials {}", "", {}, 'invalid number of arguments in "s3_private_bucket_credentials" directive'),
    (block("source instance;", "'a b'"), "", {}, BLOCK + '"a b"; use letters, digits, "_", "-" and "."'),
    (block("source instance;", "''"), "", {}, BLOCK + '""; use letters, digits, "_", "-" and "."'),
    *((block("source instance;", name), "", {}, f'{BLOCK}"{name}"; it has a meaning of its own: use another name')
      for name in ("instance", "default", "env", "file")),
    (block("source instance;") * 2, "", {}, BLOCK + '"media"; there are credentials of that name already: use another one'),
    (block(""), "", {}, MEDIA + NO_SOURCE),
    (block("wait 1s;"), "", {}, MEDIA + NO_SOURCE),
    (block("role x;"), "", {}, '"role" directive is unknown in "s3_private_bucket_credentials"; use "source", "from", "role_arn", "external_id", "session_name", "duration", "region", "endpoint", "token_file", "trusted_certificate", "resolver", "resolver_timeout" or "wait"'),
    # source
    (block("source;"), "", {}, '"source" directive has an invalid number of arguments'),
    (block("source instance x;"), "", {}, '"source" directive has an invalid number of arguments'),
    (block("source instance; source container;"), "", {}, '"source" directive is duplicate'),
    *((block(f"source {word};"), "", {}, f'"source" directive has an invalid value "{word.split()[0]}"; {cure}') for word, cure in (
        ("vault", SOURCES), ("env", SOURCES), ("ec2", 'use "instance"'), ("ecs", 'use "container"'), ("irsa", 'use "web_identity"'),
        ("profile media", 'use "file=path profile=name"'),
        ("credential_process", 'nginx runs no programs: have it written to a file, and use "file=path"'),
        ("sso", 'it needs somebody who logs in: use a role, through "assume_role" or "web_identity"'))),
    (block("source file=/hush;"), "", {}, '"source" directive cannot read the credentials file (No such file or directory (os error 2)); create it, with mode 0600'),
    (block("source file=;"), "", {}, '"source" directive has an unknown parameter "file="; write it once, with a value'),
    (block("source file=a service=b;"), "", {}, '"source" directive needs one file; write "file=path [profile=name]"'),
    # from
    (block("source assume_role; from assume_role;"), "", {}, '"from" directive has an invalid value "assume_role"; name the "s3_private_bucket_credentials" that says which role'),
    (block("source assume_role; from env;"), "", {}, '"from" directive finds no AWS_ACCESS_KEY_ID in the environment of nginx\'s master process; set it or use "file=path"'),
    (block("source assume_role; from env x;"), "", STATIC, '"from" directive has an invalid number of arguments'),
    (block("source assume_role; from instance x;"), "", {}, '"from" directive has an invalid number of arguments'),
    (block("source assume_role; from profile=x;"), "", {}, f'"from" directive has an invalid value "profile=x"; {FROMS}'),
    (role("", base="other"), "", {}, CANNOT.format("other") + 'there are none of that name; define them with "s3_private_bucket_credentials other { ... }" in http{}'),
    (role(HERE, base="media"), "", {}, MEDIA + "it asks for its own keys: media -> media; let one of them come from elsewhere"),
    (role(HERE, "a", "b") + role(HERE, "b", "c") + role(HERE, "c", "a"), "", {}, CANNOT.format("a") + "it asks for its own keys: a -> b -> c -> a; let one of them come from elsewhere"),
    (role(HERE, "a", "b") + block("wait 5s;", "b"), "", {}, CANNOT.format("b") + NO_SOURCE),
    (role(HERE), "", {"AWS_EC2_METADATA_DISABLED": "true"}, CANNOT.format("instance") + DISABLED),
    # what goes with which source, and what it needs
    (block("source instance; role_arn media;"), "", {}, f'"role_arn" directive has an invalid value "media"; {A_ROLE}'),
    (block("source assume_role; role_arn arn:aws:iam::123456789012:user/ann;"), "", {}, f'"role_arn" directive has an invalid value "arn:aws:iam::123456789012:user/ann"; {A_ROLE}'),
    (block(f"source instance; role_arn {ROLE};"), "", {}, surplus("role_arn", "instance")),
    (block("source container; endpoint http://127.0.0.1;"), "", {RELATIVE: "/x"}, surplus("endpoint", "container")),
    (block("source web_identity; external_id abc;"), "", IRSA, surplus("external_id", "web_identity")),
    (block("source default; from instance;"), "", IRSA, surplus("from", "web_identity")),
    (role(HERE + "token_file /x;"), "", {}, surplus("token_file", "assume_role")),
    (block("source assume_role; from instance;"), "", {}, MEDIA + '"source assume_role" needs "role_arn"; add it'),
    (block(f"source assume_role; role_arn {ROLE};"), "", {}, MEDIA + '"source assume_role" needs "from"; add it'),
    (role(""), "", {}, MEDIA + neither("region", "AWS_REGION")),
    # values
    (block("external_id a;"), "", {}, '"external_id" directive has an invalid value "a"; use 2 to 1224 characters A-Z, a-z, 0-9 and _+=,.@:/-'),
    (block("external_id 'data:hush hush';"), "", {}, '"external_id" directive has an invalid value "data:..."; use 2 to 1224 characters A-Z, a-z, 0-9 and _+=,.@:/-'),
    (block("session_name 'a b';"), "", {}, '"session_name" directive has an invalid value "a b"; use 2 to 64 characters A-Z, a-z, 0-9 and _+=,.@-'),
    *((block(f"duration {time};"), "", {}, f'"duration" directive has an invalid value "{time}"; use "15m" to "12h"') for time in ("899", "13h", "soon")),
    (role(HERE + "duration 61m;"), "", {}, MEDIA + LONG),
    (role(HERE + "duration 2h;", "a", "b") + role(HERE + "duration 12h;", "b", "env"), "", STATIC, CANNOT.format("a") + LONG),
    (block("region 'eu west';"), "", {}, '"region" directive has an invalid value "eu west"; use a name such as "eu-central-1"'),
    (block("token_file '';"), "", {}, '"token_file" directive has an empty argument; write a path'),
    (block("trusted_certificate '';"), "", {}, '"trusted_certificate" directive has an empty argument; write a path'),
    (block("resolver_timeout 0;"), "", {}, '"resolver_timeout" directive has an invalid value "0"; use a time such as "5s"'),
    (block("wait 2m;"), "", {}, f'"wait" directive has an invalid value "2m"; {WAITS}'),
    (block("wait soon;"), "", {}, f'"wait" directive has an invalid value "soon"; {WAITS}'),
    (block("wait 1s 2s;"), "", {}, '"wait" directive has an invalid number of arguments'),
    # endpoints: nothing secret goes to another machine in clear
    (block("endpoint '';"), "", {}, '"endpoint" directive has an invalid value ""; write a URL'),
    (block("source instance; endpoint http://192.0.2.1;"), "", {}, MEDIA + f'"endpoint" is "http://192.0.2.1": {NOT_IMDS}'),
    (block("source instance; endpoint http://127.0.0.1/latest;"), "", {}, MEDIA + f'"endpoint" is "http://127.0.0.1/latest": {BARE}'),
    (role("endpoint sts.example;"), "", {}, MEDIA + '"endpoint" is "sts.example": it must begin with "http://" or "https://"'),
    (role("endpoint https://sts.example/x;"), "", {}, MEDIA + f'"endpoint" is "https://sts.example/x": {BARE}'),
    (role("endpoint http://sts.example;"), "", {}, MEDIA + '"endpoint" is "http://sts.example": "http://" is for loopback only; write "https://"'),
    (role("endpoint http://10.0.0.1:8333;"), "", {}, MEDIA + '"endpoint" is "http://10.0.0.1:8333": "http://" is for loopback only; write "https://"'),
    # files and name servers, of which nginx itself says more
    (role("endpoint https://192.0.2.1; trusted_certificate /etc/passwd;"), "", {}, MEDIA + 'its CA certificates cannot be used, as nginx says above; correct "trusted_certificate"'),
    (block("resolver nowhere.invalid:x;"), "", {}, '"resolver" directive could not be compiled'),
]  # fmt: skip


def of_aws(environment):
    """An environment that has of AWS's variables no others."""
    return {name: "" for name in os.environ if name.startswith("AWS_")} | environment


@pytest.mark.parametrize("http, auth, environment, message", WRONG_KEYS, ids=range(len(WRONG_KEYS)))
def test_wrong_sources_of_keys(tmp_path, http, auth, environment, message):
    server = f"location /m/ {{ {BUCKET} s3_private_bucket_auth sigv4 {auth}; }}" if auth else ""
    n = Nginx(tmp_path, server, http, environment=of_aws(environment))
    status, output = n.check()
    assert status == 1 and "hush" not in output
    *others, line = [line for line in output.splitlines() if "[" in line]
    assert len(others) == ("nginx says above" in message or "compiled" in message), output
    assert line.startswith("nginx: [emerg] ")
    text = line.partition("[emerg] ")[2].partition(": ")
    text = text[2] if text[0].endswith("#0") else "".join(text)
    place, _, number = text.removeprefix(message).rpartition(":")
    assert place == f" in {tmp_path}/nginx.conf" and number.isdigit(), text


def test_the_place_is_that_of_what_is_wrong(tmp_path):
    n = Nginx(tmp_path, "", role(HERE, "a", "b") + role(HERE, "b", "c") + block("wait 5s;", "c"))
    wrong = next(i for i, line in enumerate((tmp_path / "nginx.conf").read_text().splitlines(), 1) if "wait 5s" in line)
    status, output = n.check()
    assert status == 1 and CANNOT.format("c") in output and f"nginx.conf:{wrong}\n" in output


PEM = "/etc/ssl/certs/ca-certificates.crt"
RIGHT_KEYS = [
    ("", "instance", {}),
    ("", "instance service=s3", {IMDS + "_MODE": "IPv6"}),
    ("", "instance", {IMDS: "http://[fd00:ec2::254]"}),
    ("", "instance", {"AWS_EC2_METADATA_DISABLED": "false"}),
    ("", "container", {RELATIVE: "/v2/credentials/x"}),
    ("", "container", {FULL: "http://169.254.170.23/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "hush"}),
    ("", "container", {FULL: "https://credentials.example/x"}),
    ("", "web_identity", IRSA),
    (block("source instance; endpoint http://127.0.0.1:9911; wait 0;"), "credentials=media", {}),
    (block(f"source web_identity; role_arn {ROLE}; token_file /etc/passwd; duration 12h; session_name nginx; {HERE}"), "credentials=media", {}),
    (role(f"external_id a:b/c; duration 1h; {HERE} wait 10s;"), "credentials=media service=s3", {}),
    (role("duration 12h; endpoint https://sts.example:8443;", base="env"), "credentials=media", STATIC),
    (role(f"endpoint https://192.0.2.1; trusted_certificate {PEM};"), "", {}),
    (role(f"{HERE} resolver 127.0.0.1 127.0.0.2:5353 valid=5s; resolver_timeout 1s;"), "", {}),
    (role("endpoint http://[::1]:8333;", "a", "b") + role("endpoint http://localhost:8333;", "b", "container"), "credentials=a", {RELATIVE: "/x"}),
]  # fmt: skip


@pytest.mark.parametrize("http, auth, environment", RIGHT_KEYS, ids=range(len(RIGHT_KEYS)))
def test_nothing_is_said_of_right_sources_of_keys(tmp_path, http, auth, environment):
    server = f"location /m/ {{ {BUCKET} s3_private_bucket_auth sigv4 {auth}; }}" if auth else ""
    n = Nginx(tmp_path, server, http, environment=of_aws(environment))
    status, output = n.check()
    assert (status, ours(output + n.error_log())) == (0, [])


@pytest.mark.parametrize("environment, chosen", [
    (IRSA | STATIC | {RELATIVE: "/x"}, "AWS_ACCESS_KEY_ID"),
    (IRSA | {RELATIVE: "/x"}, "web_identity"),
    ({RELATIVE: "/x"}, "container"),
    ({FULL: "http://127.0.0.1/x", "AWS_ROLE_ARN": ROLE}, "container"),
    ({"AWS_ACCESS_KEY_ID": "AKIAX"}, "instance"),
    ({}, "instance"),
], ids=range(6))  # fmt: skip
def test_what_default_chose_is_told_once(tmp_path, environment, chosen):
    auth = "s3_private_bucket_auth sigv4 default;"
    locations = "".join(f"location /{i}/ {{ {BUCKET} {auth} }}" for i in range(3))
    n = Nginx(tmp_path, locations, environment=of_aws(environment))
    status, output = n.check()
    assert (status, ours(output)) == (0, []), "a notice is for the log"
    (line,) = ours(n.error_log())
    assert "[notice]" in line
    assert line.endswith(f': s3_private_bucket: credentials "default": chosen by the environment: {chosen}')


@pytest.mark.parametrize("word, variable", [
    ("web_identity", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    ("container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
])  # fmt: skip
def test_a_token_that_workers_cannot_read_is_worth_a_warning(tmp_path, word, variable):
    tmp_path.chmod(0o755)
    token = tmp_path / "token"
    environment = of_aws(IRSA | {RELATIVE: "/x", variable: str(token)})
    n = Nginx(tmp_path / "n", f"location /m/ {{ {BUCKET} s3_private_bucket_auth sigv4 {word}; }}",
              environment=environment)  # fmt: skip
    conf = n.dir / "nginx.conf"
    of_the_file = f's3_private_bucket: credentials "{word}": the token file "{token}" '

    def told(user):
        conf.write_text(conf.read_text().replace("user root;", f"user {user};"))
        status, output = n.check()
        assert status == 0
        return [line.split("[warn] ")[1].removeprefix(of_the_file) for line in ours(output)]

    assert told("root") == ["cannot be looked at (No such file or directory (os error 2)); is its path right?"]
    token.write_text("hush")
    token.chmod(0o600)
    assert told("root") == []
    assert told("nobody nogroup") == ["is not readable for the user of nginx's workers; give their group the right to read it"]


def test_nginx_t_opens_no_connection(tmp_path):
    """Of no source, whatever it is, nor of the name servers."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.closing(Dns("127.0.0.1")) as dns:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        http = f"resolver {dns.host};" + role(f"endpoint {url};", "a") + role(HERE, "b", "a")
        http += block(f"source web_identity; endpoint {url};", "c")
        environment = of_aws(IRSA | {IMDS: url, FULL: f"{url}/x"})
        words = ("instance", "container", "default", "credentials=a", "credentials=b", "credentials=c")
        locations = "".join(
            f"location /{i}/ {{ {BUCKET} s3_private_bucket_auth sigv4 {word}; }}" for i, word in enumerate(words)
        )
        n = Nginx(tmp_path, locations, http, environment=environment)
        assert n.check()[0] == 0
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
        assert dns.asked == []
