# Makes the guest's files in $image: root.img (ext4), vmlinuz, initrd, key (of ssh). Sourced by vm.
#
# Everything comes from the archive that this machine's apt is configured for, so no address stands here. The kernel is
# Debian's cloud flavour: small, and ext4 and AppArmor are built in. Its own initramfs would probe hardware for a minute
# under emulation; ours loads the drivers of the four virtio devices and switches to the disk.

SUITE=trixie
IMAGE_PACKAGES="mmdebstrap busybox-static e2fsprogs cpio zstd kmod openssh-client"

# Where the image of these very instructions lives; a change makes another one.
image_directory() {
    local digest
    digest=$(cat "$here/image.sh" "$here/packages" "$here"/guest/* | sha256sum)
    echo "${XDG_CACHE_HOME:-$HOME/.cache}/wherry-vm/$SUITE-${digest:0:12}"
}

# The archive's address for a label (Debian, Debian-Security), as apt knows it.
archive() {
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Label: $1" 2>/dev/null | sed -n 1p
}

image_build() {
    local main security root work
    main=$(archive Debian)
    security=$(archive Debian-Security)
    [ -n "$main" ] || skip "apt has no Debian archive configured"
    # shellcheck disable=SC2086 # words on purpose
    "$repository/scripts/needs" $IMAGE_PACKAGES || skip "$IMAGE_PACKAGES cannot be installed"

    # A folder beside the final one: whatever is interrupted leaves no image that looks whole.
    rm -rf "$(dirname "$image")"
    work=$image.part
    mkdir -p "$work"
    root=$work/root
    ssh-keygen -q -t ed25519 -N '' -C wherry-vm -f "$work/key"
    echo "vm: installs $SUITE to $image (once, some minutes)" >&2
    {
        echo "deb $main $SUITE main"
        [ -z "$security" ] || echo "deb $security $SUITE-security main"
    } >"$work/sources.list"
    mmdebstrap --quiet --mode=root --variant=minbase --skip=check/empty \
        --include="$(paste -sd, "$here/packages")" \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --aptopt='Acquire::Languages "none"' \
        --customize-hook="$here/guest/kernel" \
        --customize-hook="$here/guest/configure" \
        --customize-hook="'$here/guest/authorize' \"\$1\" '$work/key.pub'" \
        "$SUITE" "$root" - <"$work/sources.list" || image_failed "$root"

    mv "$root/boot/vmlinuz" "$work/vmlinuz"
    initrd "$root" "$work/initrd"
    # Sparse; without a journal, since nothing is ever written back to it.
    truncate -s 4G "$work/root.img"
    mkfs.ext4 -q -O ^has_journal -E lazy_itable_init=1,nodiscard -m 0 -d "$root" "$work/root.img"
    rm -rf "$root" "$work/sources.list"
    mv "$work" "$image"
}

# Packages that cannot be had are this machine's affair; once they are installed a failure is ours.
image_failed() { # root
    [ -e "$1/usr/bin/systemctl" ] && die "the image's hooks failed"
    skip "mmdebstrap cannot install $SUITE"
}

# Busybox, the modules on the way to the root disk and the network, and guest/init.
initrd() { # root output
    local root=$1 output=$2 tree=$1.initrd release module
    release=$(basename "$root"/usr/lib/modules/*)
    mkdir -p "$tree/bin" "$tree/modules" "$tree/proc" "$tree/dev" "$tree/root"
    cp "$root/bin/busybox" "$tree/bin/busybox"
    cp "$here/guest/init" "$tree/init"
    # modprobe prints what it would load, dependencies first.
    for module in virtio_blk virtio_net; do
        modprobe --dirname "$root/usr" --set-version "$release" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$tree/paths"
    while read -r module; do
        cp "$module" "$tree/modules/"
        echo "/modules/$(basename "$module")" >>"$tree/order"
    done <"$tree/paths"
    rm "$tree/paths"
    (cd "$tree" && find . | cpio --quiet -o -H newc) | zstd -q -o "$output"
    rm -rf "$tree"
}
