#!/bin/bash
# Builds the package for the Debian that this runs on, in target/packages.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(packaging/version.sh)
# shellcheck source=/dev/null
. /etc/os-release
package=libnginx-mod-http-s3-private-bucket
work=target/deb
rm -rf "$work"
mkdir -p "$work" target/packages
packaging/dist.sh "$work/source.tar.gz"
tar -xzf "$work/source.tar.gz" -C "$work"
tree=$work/ngx_http_s3_private_bucket_module-$version
cp -r packaging/debian "$tree/debian"

# The release's entry in CHANGELOG.md, in Debian's form.
date=$(sed -n "s/^## ${version//./\\.} - //p" CHANGELOG.md)
[ -n "$date" ] || {
    echo "CHANGELOG.md has no line \"## $version - date\"" >&2
    exit 1
}
{
    echo "$package ($version-1~$VERSION_CODENAME) $VERSION_CODENAME; urgency=medium"
    echo
    echo "  * Version $version: see changelog.gz."
    echo
    echo " -- $(sed -n 's/^Maintainer: //p' packaging/debian/control)  $(date -ud "$date" -R)"
} >"$tree/debian/changelog"

# Debian 12's cargo is too old: rustup's builds there.
profiles=()
dpkg-query -W cargo >/dev/null 2>&1 ||
    profiles=("--build-profiles=pkg.$package.rustup")
quietly=$PWD/packaging/quietly.sh
(cd "$tree" && "$quietly" ../build.log dpkg-buildpackage -b -us -uc "${profiles[@]}")
lintian --fail-on error "$work"/*.changes
rm -f target/packages/*"~${VERSION_CODENAME}_"*.deb
cp "$work/$package"*.deb target/packages/
ls target/packages/*"~${VERSION_CODENAME}_"*.deb
