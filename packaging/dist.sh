#!/bin/bash
# Writes a release's source to $1: what a package is built from.
set -euo pipefail
cd "$(dirname "$0")/.."
name=ngx_http_s3_private_bucket_module-$(packaging/version.sh)
tar -czf "$1" --owner=0 --group=0 --numeric-owner --sort=name --transform "s#^#$name/#" \
    Cargo.lock Cargo.toml CHANGELOG.md LICENSE README.md build.rs config config.make doc nginx-conf src
