#!/bin/bash
# Configures a copy of the source tree of Debian's nginx-dev with Debian's own flags.
set -euo pipefail
tree=$(realpath -m "$1")
rm -rf "$tree"
mkdir -p "$tree"
cp -r /usr/share/nginx/src "$tree/src"
cd "$tree/src"
# shellcheck source=/dev/null
. ./conf_flags
./configure "${NGX_CONF_FLAGS[@]}" --builddir="$tree/objs" >"$tree/configure.log" 2>&1 || {
    tail -20 "$tree/configure.log" >&2
    exit 1
}
