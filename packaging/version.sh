#!/bin/sh
# Prints the version, which is in Cargo.toml and nowhere else.
id=$(cargo pkgid --locked --manifest-path "$(dirname "$0")/../Cargo.toml") && echo "${id##*[#@]}"
