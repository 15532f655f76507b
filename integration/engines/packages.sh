# The Debian packages that the engine checks need.

packages=(
    busybox-static buildah conmon containerd containernetworking-plugins curl docker.io iproute2 iptables jq
    libcrypt1 libpcre2-8-0 libssl3 podman procps python3-minimal tini util-linux zlib1g
)

# Installs what is missing and nothing else: a second run does not touch apt.
packages_install() {
    local name missing=()
    for name in "${packages[@]}"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    # Nobody asked for a dockerd or containerd of the host's own: keep the
    # packages from starting their services, unless the host has a policy.
    local policy=/usr/sbin/policy-rc.d ours=
    if [ ! -e $policy ]; then
        ours=1
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod 755 $policy
    fi
    local status=0
    packages_apt "${missing[@]}" || status=$?
    [ -z "$ours" ] || rm -f $policy
    return $status
}

packages_apt() {
    local options=(-y -q --no-install-recommends)
    export DEBIAN_FRONTEND=noninteractive
    # The lists may be older than the mirror: read them again once.
    apt-get install "${options[@]}" "$@" >&2 || {
        apt-get update -q >&2
        apt-get install "${options[@]}" "$@" >&2
    }
}
