#!/bin/bash
# Installs what the build and the tests need: Debian packages, and a Python environment in target/.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for package in nginx nginx-dev gcc libc6-dev libclang-dev libpcre2-dev libssl-dev zlib1g-dev \
    make mount ca-certificates curl faketime openssl python3 python3-venv util-linux; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
        missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # RUNLEVEL=1: Debian's scripts do not start an nginx on port 80.
    $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

command -v cargo >/dev/null || {
    echo "cargo is missing: install Rust 1.85 or newer with rustup" >&2
    exit 1
}

if ! cmp -s tests/requirements.txt target/venv/installed; then
    python3 -m venv target/venv
    target/venv/bin/pip install -q -r tests/requirements.txt
    cp tests/requirements.txt target/venv/installed
fi
