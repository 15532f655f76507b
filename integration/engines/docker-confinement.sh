# dockerd: what a container is held to: limits, users, rights and mounts.

docker_confinement_checks() {
    check docker/memory-limit docker_memory_limit
    check docker/out-of-memory docker_out_of_memory
    check docker/cpu-quota docker_cpu_quota
    check docker/cpuset docker_cpuset
    check docker/pids-limit docker_pids_limit
    check docker/update docker_update
    check docker/ulimit docker_ulimit
    check docker/user docker_user
    check docker/read-only docker_read_only
    check docker/tmpfs docker_tmpfs
    check docker/shm docker_shm
    check docker/volume docker_volume
    check docker/volume-read-only docker_volume_read_only
    check docker/device docker_device
    check docker/sysctl docker_sysctl
    check docker/capabilities docker_capabilities
    check docker/cap-drop docker_cap_drop
    check docker/no-new-privileges docker_no_new_privileges
    check docker/seccomp-default docker_seccomp_default
    check docker/seccomp-profile docker_seccomp_profile
    check docker/masked-paths docker_masked_paths
    check docker/privileged docker_privileged
    check docker/exec-privileged docker_exec_privileged
    check docker/namespaces-shared docker_namespaces_shared
}

# in_status FIELD [FLAG...]: a line of /proc/1/status of a throw-away container.
in_status() {
    local field=$1
    shift
    docker run --rm "$@" "$BUSYBOX" awk -v field="$field:" '$1 == field { print $2 }' /proc/1/status
}

docker_memory_limit() {
    start limited -m 32m --memory-reservation 16m --memory-swap 48m "$BUSYBOX" sleep 1000
    local pid
    pid=$(container_pid limited)
    same "$(cgroup_value "$pid" memory memory.limit_in_bytes memory.max)" 33554432
    same "$(cgroup_value "$pid" memory memory.soft_limit_in_bytes memory.low)" 16777216
    has "$(docker stats --no-stream --format '{{.MemUsage}}' limited)" '/ 32MiB'
    docker rm -f limited
}

docker_out_of_memory() {
    exits 137 docker run --name hungry -m 16m --memory-swap 16m "$BUSYBOX" \
        dd if=/dev/zero of=/dev/null bs=100M count=1
    same "$(container hungry '{{.State.OOMKilled}}')" true
    docker rm hungry
}

docker_cpu_quota() {
    start limited --cpus 0.5 --cpu-shares 512 "$BUSYBOX" sh -c 'while :; do :; done'
    local pid before after
    pid=$(container_pid limited)
    same "$(cgroup_value "$pid" cpu cpu.cfs_quota_us cpu.max | cut -d' ' -f1)" 50000
    # Hundredths of a second: at most a half of two seconds, with some slack.
    before=$(awk '{ print $14 + $15 }' "/proc/$pid/stat")
    sleep 2
    after=$(awk '{ print $14 + $15 }' "/proc/$pid/stat")
    [ $((after - before)) -le 125 ] || fail "used $((after - before)) of 200 ticks"
    docker rm -f limited
}

docker_cpuset() {
    same "$(in_status Cpus_allowed_list --cpuset-cpus 0)" 0
}

docker_pids_limit() {
    start limited --pids-limit 6 "$BUSYBOX" sleep 1000
    same "$(cgroup_value "$(container_pid limited)" pids pids.max pids.max)" 6
    docker rm -f limited
    exits 2 docker run --rm --pids-limit 6 "$BUSYBOX" sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 2 & done'
    has "$said" "can't fork"
}

docker_update() {
    start limited -m 32m --memory-swap 32m "$BUSYBOX" sleep 1000
    docker update --memory 64m --memory-swap 64m --cpus 0.3 --pids-limit 30 limited
    local pid
    pid=$(container_pid limited)
    same "$(cgroup_value "$pid" memory memory.limit_in_bytes memory.max)" 67108864
    same "$(cgroup_value "$pid" cpu cpu.cfs_quota_us cpu.max | cut -d' ' -f1)" 30000
    same "$(cgroup_value "$pid" pids pids.max pids.max)" 30
    docker rm -f limited
}

docker_ulimit() {
    same "$(docker run --rm --ulimit nofile=100:200 "$BUSYBOX" sh -c 'echo $(ulimit -Sn) $(ulimit -Hn)')" '100 200'
}

docker_user() {
    same "$(docker run --rm --user 1000:2000 "$BUSYBOX" id)" 'uid=1000(app) gid=2000(extra) groups=2000(extra)'
    has "$(docker run --rm --user app --group-add 33 "$BUSYBOX" id)" '33(www-data)'
    has "$(docker run --rm --user app --group-add 33 "$BUSYBOX" id)" '2000(extra)'
    exits 1 docker run --rm --user 1000 "$BUSYBOX" touch /new
}

docker_read_only() {
    exits 1 docker run --rm --read-only "$BUSYBOX" touch /new
    has "$said" 'Read-only file system'
}

docker_tmpfs() {
    same "$(docker run --rm --read-only --tmpfs /t:rw,noexec,size=1m "$BUSYBOX" sh -c 'echo kept >/t/f; cat /t/f')" kept
    has "$(docker run --rm --tmpfs /t:rw,noexec,size=1m "$BUSYBOX" grep ' /t ' /proc/mounts)" noexec
    exits 1 docker run --rm --tmpfs /t:size=1m "$BUSYBOX" dd if=/dev/zero of=/t/f bs=1M count=2
    has "$said" 'No space left'
}

docker_shm() {
    has "$(docker run --rm --shm-size 8m "$BUSYBOX" df -m /dev/shm | tail -n 1)" ' 8 '
}

docker_volume() {
    mkdir "$OUT/volume"
    docker run --rm -v "$OUT/volume:/v" "$BUSYBOX" sh -c 'echo written >/v/file'
    same "$(cat "$OUT/volume/file")" written
    docker volume create named
    docker run --rm -v named:/v "$BUSYBOX" sh -c 'echo kept >/v/file'
    same "$(docker run --rm -v named:/v "$BUSYBOX" cat /v/file)" kept
    docker volume rm named
}

docker_volume_read_only() {
    same "$(docker run --rm -v "$OUT/volume:/v:ro" "$BUSYBOX" cat /v/file)" written
    exits 1 docker run --rm -v "$OUT/volume:/v:ro" "$BUSYBOX" touch /v/new
    has "$said" 'Read-only file system'
    # One file, as docker itself mounts /etc/hosts.
    same "$(docker run --rm -v "$OUT/volume/file:/etc/motd:ro" "$BUSYBOX" cat /etc/motd)" written
}

docker_device() {
    exits 1 docker run --rm "$BUSYBOX" dd if=/dev/kmsg of=/dev/null count=1
    has "$(docker run --rm --device /dev/null:/dev/nothing "$BUSYBOX" ls -l /dev/nothing)" '1,   3'
    # A node of a disk can be made, but the device rules do not let it open.
    exits 1 docker run --rm "$BUSYBOX" sh -c 'mknod /tmp/disk b 7 0 && cat /tmp/disk'
    has "$said" 'not permitted'
}

docker_sysctl() {
    same "$(docker run --rm --sysctl net.ipv4.ip_forward=0 "$BUSYBOX" cat /proc/sys/net/ipv4/ip_forward)" 0
    same "$(docker run --rm --sysctl kernel.msgmax=4000 "$BUSYBOX" cat /proc/sys/kernel/msgmax)" 4000
}

docker_capabilities() {
    same "$(in_status CapEff)" 00000000a80425fb
    same "$(in_status CapBnd --cap-add NET_ADMIN)" 00000000a80435fb
    same "$(in_status CapAmb)" 0000000000000000
}

docker_cap_drop() {
    same "$(in_status CapBnd --cap-drop ALL)" 0000000000000000
    exits 1 docker run --rm --cap-drop CHOWN "$BUSYBOX" chown app /tmp
    has "$said" 'not permitted'
}

docker_no_new_privileges() {
    same "$(in_status NoNewPrivs --security-opt no-new-privileges)" 1
    same "$(in_status NoNewPrivs)" 0
}

docker_seccomp_default() {
    same "$(in_status Seccomp)" 2
    same "$(in_status Seccomp --security-opt seccomp=unconfined)" 0
    exits 1 docker run --rm "$BUSYBOX" unshare -m true
}

docker_seccomp_profile() {
    cat >"$OUT/no-mkdir.json" <<-END
	{
	  "defaultAction": "SCMP_ACT_ALLOW",
	  "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]
	}
	END
    exits 1 docker run --rm --security-opt "seccomp=$OUT/no-mkdir.json" "$BUSYBOX" mkdir /tmp/new
    has "$said" 'Operation not permitted'
    docker run --rm --security-opt "seccomp=$OUT/no-mkdir.json" "$BUSYBOX" touch /tmp/new
}

docker_masked_paths() {
    same "$(docker run --rm "$BUSYBOX" sh -c 'cat /proc/kcore | wc -c; ls /sys/firmware | wc -l' | paste -sd ' ')" '0 0'
    exits 1 docker run --rm "$BUSYBOX" sh -c 'echo 1 >/proc/sys/kernel/panic'
    has "$said" 'Read-only file system'
}

mounts='mkdir -p /m && mount -t tmpfs tmpfs /m && echo mounted'

# --privileged asks for every capability. runc refuses one that this machine
# does not have; wherry warns and goes on.
refused_for_capabilities() {
    [[ $(basename "$RUNTIME") != wherry && $1 == *'unable to apply caps: operation not permitted'* ]]
}

docker_privileged() {
    local said status=0
    said=$(docker run --rm --privileged "$BUSYBOX" sh -c "$mounts" 2>&1) || status=$?
    ! refused_for_capabilities "$said" || skip 'a capability is missing here, and the runtime refuses'
    same "$said" mounted
    same $status 0
}

# Unconfined: with --privileged an exec gets every capability, but the seccomp
# profile of its container stays, and dockerd's denies mount(2).
docker_exec_privileged() {
    local said status=0
    start plain --security-opt seccomp=unconfined "$BUSYBOX" sleep 1000 >&2
    exits 1 docker exec plain sh -c "$mounts" >&2
    said=$(docker exec --privileged plain sh -c "$mounts" 2>&1) || status=$?
    docker rm -f plain
    ! refused_for_capabilities "$said" || skip 'a capability is missing here, and the runtime refuses'
    same "${said##*$'\n'}" mounted
    same $status 0
}

docker_namespaces_shared() {
    start owner "$BUSYBOX" sleep 1000
    same "$(docker run --rm --net container:owner "$BUSYBOX" readlink /proc/self/ns/net)" \
        "$(docker exec owner readlink /proc/self/ns/net)"
    has "$(docker run --rm --pid container:owner "$BUSYBOX" ps)" 'sleep 1000'
    same "$(docker run --rm --net host --ipc host --uts host "$BUSYBOX" readlink /proc/self/ns/net)" \
        "$(readlink /proc/self/ns/net)"
    docker rm -f owner
}
