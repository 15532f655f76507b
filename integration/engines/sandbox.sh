# A private world for one engine: mount, network and pid namespaces and a
# cgroup parent of its own, so that nothing of the host's engines is touched
# and nothing has to be killed by name; and the proof that nothing is left.

# One engine's checks take about two minutes.
SANDBOX_SECONDS=900

# Writes $WORK/bin/NAME: appends its argv to $WORK/argv and becomes the
# runtime. The runtime is copied first, because a rebuild during the checks
# would change it. NAME stays: podman looks it up in runtime_supports_json.
sandbox_record_runtime() {
    local name
    name=$(basename "$RUNTIME")
    mkdir -p "$WORK/runtime" "$WORK/bin"
    cp "$RUNTIME" "$WORK/runtime/$name"
    touch "$WORK/argv"
    cat >"$WORK/bin/$name" <<-END
	#!/bin/sh
	echo "\$*" >>$WORK/argv
	exec $WORK/runtime/$name "\$@"
	END
    chmod 755 "$WORK" "$WORK/bin/$name"
    RUNTIME=$WORK/bin/$name
}

# Runs one engine's checks in new namespaces, then looks from outside. tini is
# init there: it reaps, and its end takes every process with it.
sandbox_run() {
    local engine=$1 status=0
    mkdir -p "$WORK/$engine/log"
    timeout --foreground -k 10 "$SANDBOX_SECONDS" \
        unshare --net --mount --pid --fork --kill-child=KILL --mount-proc \
        tini -g -- bash "$here/run" --inside "$engine" || status=$?
    [ $status = 0 ] || echo "not ok $engine/script: ended with $status" | tee -a "$WORK/$engine/results"
    OUT=$WORK/$engine check "$engine/host-left-clean" sandbox_host_is_clean "$engine"
    mv "$WORK/argv" "$WORK/$engine/argv"
    touch "$WORK/argv"
    return $status
}

sandbox_enter() {
    OUT=$WORK/$engine
    stat -L -c %i /proc/self/ns/net >"$OUT/netns"
    mount --make-rprivate /
    # sysfs shows the network namespace of the process that mounts it. In place
    # of the old one, not over it: with a user namespace podman unmounts what
    # mountinfo has below /sys/kernel, and cannot if that is covered.
    umount -R /sys
    mount -t sysfs sysfs /sys
    sandbox_mount_cgroups
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -p /run/lock /etc/containers /etc/cni/net.d /var/lib/cni
    mount -t tmpfs tmpfs /var/lib/cni
    mount -t tmpfs tmpfs /etc/cni/net.d
    mount -t tmpfs tmpfs /etc/containers
    ip link set lo up
    # conmon writes a file "oom" to wherever podman was started.
    cd "$OUT"
    unset XDG_RUNTIME_DIR NOTIFY_SOCKET DOCKER_HOST CONTAINER_HOST
    sandbox_mountpoints >"$OUT/mountpoints"
}

# Mounts every attached hierarchy again under /sys/fs/cgroup. A v1 controller
# that is attached but not mounted makes containerd's shim fail with "cannot
# find cgroup mount destination".
sandbox_mount_cgroups() {
    local id controllers path directory
    if [ "$(cut -d: -f1 /proc/self/cgroup)" = 0 ]; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        return
    fi
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    while IFS=: read -r id controllers path; do
        case $controllers in
            '') directory=unified ;;
            name=*) directory=${controllers#name=} ;;
            *) directory=$controllers ;;
        esac
        mkdir "/sys/fs/cgroup/$directory"
        case $controllers in
            '') mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
            name=*) mount -t cgroup -o "none,$controllers" cgroup "/sys/fs/cgroup/$directory" ;;
            *) mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$directory" ;;
        esac
        # Engines look for each controller by its own name.
        [[ $directory != *,* ]] || for path in ${directory//,/ }; do
            ln -s "$directory" "/sys/fs/cgroup/$path"
        done
    done </proc/self/cgroup
}

# cgroup_value PID CONTROLLER V1-FILE V2-FILE: one limit of a process's cgroup.
cgroup_value() {
    local pid=$1 controller=$2 v1=$3 v2=$4 path
    path=$(sed -n "s/^[0-9]*:\([^:]*,\)\?$controller\(,[^:]*\)\?://p" "/proc/$pid/cgroup")
    if [ -n "$path" ]; then
        cat "/sys/fs/cgroup/$controller$path/$v1"
    else
        path=$(sed -n 's/^0:://p' "/proc/$pid/cgroup")
        cat "/sys/fs/cgroup$path/$v2"
    fi
}

# --- what is left, seen from inside -----------------------------------------

sandbox_check_leftovers() {
    local kind
    for kind in processes mounts cgroups links namespaces; do
        check "$1/leaves-no-$kind" sandbox_gone "sandbox_$kind"
    done
}

# Fails when COMMAND still prints something after a few seconds.
sandbox_gone() {
    local tries left
    for ((tries = 0; tries < 50; tries++)); do
        left=$("$@" 2>/dev/null || true)
        [ -n "$left" ] || return 0
        sleep 0.1
    done
    fail "still there: $(paste -sd ' ' <<<"$left")"
}

# Processes that neither are ours nor tini.
sandbox_processes() {
    local entry pid
    for entry in /proc/[0-9]*; do
        pid=${entry#/proc/}
        [ "$pid" = 1 ] || sandbox_is_ours "$pid" || [ ! -r "$entry/cmdline" ] ||
            echo "$pid:$(tr '\0' ' ' <"$entry/cmdline" | cut -c1-80)"
    done 2>/dev/null
}

# Whether PID is this script, one of its children or grandchildren.
sandbox_is_ours() {
    local pid=$1
    while [ "${pid:-1}" -gt 1 ]; do
        [ "$pid" != $$ ] || return 0
        pid=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || return 0
        [ -n "$pid" ] || return 0
    done
    return 1
}

sandbox_mountpoints() {
    awk '{ print $5 }' /proc/self/mountinfo | sort
}

sandbox_mounts() {
    sandbox_mountpoints | comm -13 "$OUT/mountpoints" -
}

# Cgroups below the engine's own parent, and any elsewhere that an engine made
# with that name in it.
sandbox_cgroups() {
    find /sys/fs/cgroup -path "*$CGROUP/*" -type d
}

sandbox_links() {
    ip -o link show type veth | cut -d: -f2
}

# Network namespaces other than the sandbox's own.
sandbox_namespaces() {
    lsns -n -t net -o NS | tr -d ' ' | grep -vx "$(cat "$OUT/netns")" || true
}

# --- and from outside --------------------------------------------------------

sandbox_host_is_clean() {
    local engine=$1 netns left
    left=$(grep -F -e "$WORK/$engine" -e "$CGROUP" /proc/self/mountinfo || true)
    [ -z "$left" ] || fail "mounts: $left"
    netns=$(cat "$WORK/$engine/netns")
    left=$(lsns -n -t net -o NS | tr -d ' ' | grep -x "$netns" || true)
    [ -z "$left" ] || fail "network namespace $netns is still held"
    left=$(grep -lsF "$CGROUP" /proc/[0-9]*/cgroup || true)
    [ -z "$left" ] || fail "processes: $left"
    sandbox_remove_cgroups
}

# Removes the engine's cgroup parent from every hierarchy; fails when rmdir
# does, which means that the cgroup is not empty.
sandbox_remove_cgroups() {
    # In a mount namespace, to see the hierarchies that the host has not mounted.
    unshare --mount bash -c '. "$1/sandbox.sh"; sandbox_remove_mounted_cgroups' bash "$here"
}

sandbox_remove_mounted_cgroups() {
    local directory status=0
    sandbox_mount_cgroups
    while read -r directory; do
        rmdir "$directory" || status=1
    done < <(find /sys/fs/cgroup -depth -type d -path "*$CGROUP*")
    return $status
}
