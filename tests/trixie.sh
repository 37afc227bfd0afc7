#!/bin/bash
# As a Debian 13 user would: builds the package in Debian 13 with Debian's own Rust, installs it,
# and runs all tests with it and with Debian's nginx.
set -euo pipefail
cd "$(dirname "$0")/.."
root=target/roots/trixie
tests/debian-root.sh trixie "$root"
mkdir "$root/src"
git ls-files -z | xargs -0 cp -a --parents -t "$root/src"
module=/usr/lib/nginx/modules/ngx_http_s3_private_bucket_module.so
tests/debian-root.sh trixie "$root" sh -ec "cd /src
    tests/setup.sh deb
    make deb
    apt-get install -y -qq ./target/packages/libnginx-mod-http-s3-private-bucket_*.deb
    make test TEST_MODULE=$module"
mkdir -p target/packages
rm -f target/packages/*~trixie_*
cp "$root"/src/target/packages/*.deb target/packages/
