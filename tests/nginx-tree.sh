#!/bin/bash
# Configures an nginx source tree in target/ to build the module against, as $1/src and $1/objs.
#
#   debian  the source in nginx-dev with Debian's own flags
#   1.28    the source in the crate nginx-src, flags as in nginx.org's packages (those of
#           nginx-debug: tests read the debug log); builds the nginx as well, with the image filter, which
#           nginx.org has as a package of its own
#   1.28-malloc  the same with pools that get each piece from malloc(), so that valgrind sees it
set -euo pipefail
tree=$(realpath -m "$1")
version=$2
cd "$(dirname "$0")/.."
rm -rf "$tree"
mkdir -p "$tree"

case $version in
debian)
    cp -r /usr/share/nginx/src "$tree/src"
    # shellcheck source=/dev/null
    . "$tree/src/conf_flags"
    flags=("${NGX_CONF_FLAGS[@]}")
    configure=./configure
    ;;
1.28*)
    cargo vendor -q --locked --manifest-path tests/nginx-src/Cargo.toml "$tree/crates" >/dev/null
    mv "$tree/crates/nginx-src/nginx" "$tree/src"
    rm -r "$tree/crates"
    flags=(
        --prefix=/etc/nginx --sbin-path=/usr/sbin/nginx --modules-path=/usr/lib/nginx/modules
        --conf-path=/etc/nginx/nginx.conf --error-log-path=/var/log/nginx/error.log
        --http-log-path=/var/log/nginx/access.log --pid-path=/run/nginx.pid
        --lock-path=/run/nginx.lock --http-client-body-temp-path=/var/cache/nginx/client_temp
        --http-proxy-temp-path=/var/cache/nginx/proxy_temp
        --http-fastcgi-temp-path=/var/cache/nginx/fastcgi_temp
        --http-uwsgi-temp-path=/var/cache/nginx/uwsgi_temp
        --http-scgi-temp-path=/var/cache/nginx/scgi_temp --user=nginx --group=nginx
        --with-compat --with-file-aio --with-threads
        --with-http_{addition,auth_request,dav,flv,gunzip,gzip_static,mp4}_module
        --with-http_{random_index,realip,secure_link,slice,ssl,stub_status,sub,v2,v3}_module
        --with-mail --with-mail_ssl_module --with-stream
        --with-stream_{realip,ssl,ssl_preread}_module
        --with-http_image_filter_module=dynamic
        --with-cc-opt='-g -O2 -fstack-protector-strong -Wformat -Werror=format-security -D_FORTIFY_SOURCE=2 -fPIC'
        --with-ld-opt='-Wl,-z,relro -Wl,-z,now -Wl,--as-needed -pie'
        --with-debug
    )
    [ "$version" = 1.28 ] || flags+=(--with-cc-opt='-g -O1 -fPIC -DNGX_DEBUG_PALLOC=1')
    configure=auto/configure
    ;;
*)
    echo "NGINX=$version: there is debian, 1.28, 1.28-malloc and trixie" >&2
    exit 1
    ;;
esac

quietly=$PWD/packaging/quietly.sh
cd "$tree/src"
"$quietly" ../build.log "$configure" "${flags[@]}" --builddir="$tree/objs"
[ "$version" = debian ] || "$quietly" ../build.log make -j "$(nproc)"
