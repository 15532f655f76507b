# One qemu: boot, commands by ssh, stop. Its files are in $run: pid, port, console, share.img, control (sockets of ssh).
# Sourced by vm.

# Skips where there is no qemu for it and none can be installed.
machine_available() {
    [ "$(uname -m)" = x86_64 ] || skip "the guest is x86_64, this machine is $(uname -m)"
    [ "$(id -u)" = 0 ] || skip "root is needed to make the image"
    # shellcheck disable=SC2086 # words on purpose
    command -v $QEMU >/dev/null || "$repository/scripts/needs" $QEMU_PACKAGES || skip "no $QEMU"
    command -v $QEMU >/dev/null || skip "no $QEMU"
    command -v ssh >/dev/null || skip "no ssh"
}

# kvm only where a kernel came up with it: /dev/kvm also exists where it cannot work.
accelerator() {
    if [ -w /dev/kvm ]; then
        timeout -k 1 10 $QEMU -M q35 -accel kvm -cpu host -m 256 -nodefaults -no-reboot -display none -serial stdio \
            -kernel "$image/vmlinuz" -initrd "$image/initrd" -append 'console=ttyS0 quiet panic=-1 wherry.probe' \
            </dev/null >"$run/probe" 2>&1 || true
        if grep -q 'this accelerator works' "$run/probe"; then echo kvm; return; fi
    fi
    echo tcg
}

# The folder as a read-only disk of a fixed size, so that it can be exchanged in a running machine.
share_image() {
    truncate -s 512M "$run/share.img"
    mkfs.ext4 -q -F -O ^has_journal -m 0 -d "$run/share" "$run/share.img"
}

share_mount() {
    in_guest root "mkdir -p '$repository' && mount -o ro,noload /dev/vdb '$repository'"
}

# New content behind the same device: the guest forgets what it had read.
share_renew() {
    shared_folder
    in_guest root "umount '$repository'; blockdev --flushbufs /dev/vdb"
    share_image
    share_mount
}

# Boots and waits until logins work. The arguments are put before qemu's command line.
machine_boot() {
    local kind cpu clock='' end try port
    share_image
    kind=$(accelerator)
    echo "$kind" >"$run/accelerator"
    cpu=max
    if [ "$kind" = kvm ]; then
        cpu=host
    else
        # A busy host makes the guest misjudge the speed of its TSC, and all its timers with it.
        clock='tsc=unstable clocksource=hpet no_timer_check'
        kind=tcg,thread=multi
    fi
    for try in 1 2 3 4 5; do
        port=$((20000 + RANDOM % 20000))
        "$@" $QEMU -name wherry-vm -M q35 -accel "$kind" -cpu $cpu -smp 2 -m 2048 \
            -nodefaults -no-user-config -no-reboot -display none -serial "file:$run/console" \
            -kernel "$image/vmlinuz" -initrd "$image/initrd" \
            -append "console=ttyS0 quiet loglevel=4 net.ifnames=0 mitigations=off systemd.show_status=0 psi=1 \
systemd.unified_cgroup_hierarchy=1 apparmor=1 security=apparmor random.trust_cpu=on cryptomgr.notests $clock" \
            -drive "file=$image/root.img,if=none,id=root,format=raw,cache=unsafe,snapshot=on" \
            -device virtio-blk-pci,drive=root \
            -drive "file=$run/share.img,if=none,id=share,format=raw,readonly=on" -device virtio-blk-pci,drive=share \
            -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$port-:22" \
            -device virtio-net-pci,netdev=net,romfile= -device virtio-rng-pci \
            </dev/null >"$run/qemu.log" 2>&1 &
        echo $! >"$run/pid"
        echo $port >"$run/port"
        end=$((SECONDS + ${VM_BOOT_SECONDS:-300}))
        while kill -0 "$(cat "$run/pid")" 2>/dev/null; do
            if grep -qs 'wherry-vm: ready' "$run/console"; then return 0; fi
            [ $SECONDS -lt $end ] || { tail -n 20 "$run/console" >&2; die "no boot within ${VM_BOOT_SECONDS:-300} s"; }
            sleep 0.2
        done
        # Somebody else has the port: another one.
        grep -q 'host forwarding rule' "$run/qemu.log" || break
    done
    cat "$run/qemu.log" "$run/console" >&2 || true
    die "qemu ended after attempt $try"
}

machine_running() {
    kill -0 "$(cat "$run/pid" 2>/dev/null)" 2>/dev/null || die "no machine is running: \`vm start\`"
    image=$(image_directory)
}

# A command as a user of the guest: several words are kept apart, one word is a shell's command line. Exits as it does.
in_guest() { # user command...
    local user=$1 terminal=()
    shift
    if [ $# -gt 1 ]; then set -- "$(printf '%q ' "$@")"; fi
    if [ $# -eq 0 ]; then terminal=(-t); fi
    ssh "${terminal[@]}" -q -i "$image/key" -p "$(cat "$run/port")" -o ConnectTimeout=60 -o LogLevel=ERROR \
        -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PreferredAuthentications=publickey \
        -o ControlMaster=auto -o ControlPersist=600 -o "ControlPath=$run/control-%r" "$user@127.0.0.1" "$@"
}

machine_stop() {
    local socket pid
    [ -d "$run" ] || return 0
    for socket in "$run"/control-*; do
        [ ! -S "$socket" ] || ssh -q -O exit -o "ControlPath=$socket" 127.0.0.1 2>/dev/null || true
    done
    if [ -e "$run/pid" ]; then
        pid=$(cat "$run/pid")
        # The number may be somebody else's after a long time.
        if grep -qsa "$run/share.img" "/proc/$pid/cmdline"; then
            kill "$pid"
            while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
        fi
    fi
    rm -rf "$run"
}
