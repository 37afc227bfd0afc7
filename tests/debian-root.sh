#!/bin/bash
# debian-root.sh SUITE ROOT [COMMAND...]: runs a command in a Debian of its own.
#
# Without a command, makes ROOT anew: a minimal Debian. Needs root, as every chroot does.
set -euo pipefail
suite=$1
root=$(realpath -m "$2")
shift 2
cd "$(dirname "$0")/.."

if [ $# = 0 ]; then
    base=target/roots/$suite-base
    if [ ! -e "$base.done" ]; then
        rm -rf "$base"
        mkdir -p "$base"
        packaging/quietly.sh "$base.log" debootstrap --variant=minbase "$suite" "$base"
        # No server of a package starts by itself.
        printf '#!/bin/sh\nexit 101\n' >"$base/usr/sbin/policy-rc.d"
        chmod +x "$base/usr/sbin/policy-rc.d"
        touch "$base.done"
    fi
    rm -rf "$root"
    cp -a "$base" "$root"
    # Registries may be behind a proxy with an authority of its own.
    cp -a /usr/local/share/ca-certificates "$root/usr/local/share/"
    exit
fi

cp /etc/resolv.conf "$root/etc/resolv.conf"
# The mounts are in a namespace that ends with the command.
# shellcheck disable=SC2016
exec unshare --mount sh -ec '
    root=$1
    shift
    # unshare in the root asks for a mount point.
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmp "$root/tmp"
    exec chroot "$root" env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"' - "$root" "$@"
