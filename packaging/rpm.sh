#!/bin/bash
# Builds the RPM for the nginx source tree $1, in target/packages.
set -euo pipefail
cd "$(dirname "$0")/.."
tree=$1
version=$(packaging/version.sh)
base=$(sed -n 's/^#define NGINX_VERSION  *"\(.*\)"/\1/p' "$tree/src/core/nginx.h")
top=$PWD/target/rpm
rm -rf "$top"
mkdir -p "$top/SOURCES" target/packages
# As nginx.org's archive, with configure at the top.
tar -czf "$top/SOURCES/nginx-$base.tar.gz" --transform "s#^auto/configure\$#configure#" \
    --transform "s#^#nginx-$base/#" -C "$tree" auto/configure auto conf src
packaging/dist.sh "$top/SOURCES/ngx_http_s3_private_bucket_module-$version.tar.gz"
# Debian has no RPM packages that could be required, and its rpmbuild makes no debuginfo packages.
packaging/quietly.sh "$top/build.log" rpmbuild -bb --nodeps --define "_topdir $top" \
    --define "debug_package %{nil}" --define "base_version $base" \
    --define "module_version $version" packaging/rpm/*.spec
rm -f target/packages/*.rpm
cp "$top"/RPMS/*/*.rpm target/packages/
ls target/packages/*.rpm
