#!/bin/bash
# Installs what the build and the tests need: Debian packages, and a Python environment in target/.
#
# With "deb" or "rpm", what building that kind of package needs too; with "bench", what measuring
# does; with "torture", what that does: all modules of Debian's nginx too; with "roots", what making
# another Debian in target/ does.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(nginx nginx-dev libnginx-mod-http-image-filter gcc libc6-dev libclang-dev libgd-dev libpcre2-dev
    libssl-dev zlib1g-dev make mount ca-certificates curl faketime openssl python3 python3-venv util-linux chromium
    chromium-driver rclone wget)
for kind; do
    case $kind in
    deb) packages+=(build-essential debhelper lintian) ;;
    rpm) packages+=(rpm) ;;
    bench) packages+=(libjemalloc2 valgrind wrk) ;;
    torture)
        packages+=(valgrind g++ libnginx-mod-{mail,nchan,rtmp,stream} libnginx-mod-stream-{geoip,geoip2,js}
            libnginx-mod-http-{auth-pam,brotli-filter,brotli-static,cache-purge,dav-ext,echo,fancyindex}
            libnginx-mod-http-{geoip,geoip2,headers-more-filter,js,lua,memc,modsecurity}
            libnginx-mod-http-{ndk,perl,set-misc,srcache-filter,subs-filter,uploadprogress}
            libnginx-mod-http-{upstream-fair,xslt-filter})
        ;;
    roots) packages+=(debootstrap) ;;
    esac
done
missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
        missing+=("$package")
done
# Debian's own Rust is new enough from Debian 13 on.
# shellcheck source=/dev/null
command -v cargo >/dev/null || { [ "$(. /etc/os-release && echo "$VERSION_ID")" -ge 13 ] &&
    missing+=(cargo); } || {
    echo "cargo is missing: install Rust 1.85 or newer with rustup" >&2
    exit 1
}
if [ ${#missing[@]} -gt 0 ]; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # RUNLEVEL=1: Debian's scripts do not start an nginx on port 80.
    $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

if ! cmp -s tests/requirements.txt target/venv/installed; then
    python3 -m venv target/venv
    target/venv/bin/pip install -q -r tests/requirements.txt
    cp tests/requirements.txt target/venv/installed
fi
