# podman 4.3 with conmon, and buildah 1.28.

podman_checks() {
    podman_configure
    check podman/load podman_load
    check podman/finds-runtime podman_finds_runtime
    check podman/run podman_run
    check podman/run-exit-code podman_run_exit_code
    check podman/run-missing-command podman_run_missing
    check podman/run-not-executable podman_run_not_executable
    check podman/log-is-json podman_log_is_json
    check podman/run-tty podman_run_tty
    check podman/run-detached podman_run_detached
    check podman/inspect podman_inspect
    check podman/exec podman_exec
    check podman/exec-exit-code podman_exec_exit_code
    check podman/exec-tty podman_exec_tty
    check podman/exec-missing-command podman_exec_missing
    check podman/attach podman_attach
    check podman/logs podman_logs
    check podman/top podman_top
    check podman/stats podman_stats
    check podman/pause podman_pause
    check podman/unpause podman_unpause
    check podman/update podman_update
    check podman/stop podman_stop
    check podman/start-again podman_start_again
    check podman/kill podman_kill
    check podman/rm podman_rm
    check podman/limits podman_limits
    check podman/out-of-memory podman_out_of_memory
    check podman/no-cgroups podman_no_cgroups
    check podman/security podman_security
    check podman/privileged podman_privileged
    check podman/volumes podman_volumes
    check podman/uidmap podman_uidmap
    check podman/pod podman_pod
    check podman/nginx podman_nginx
    check podman/events podman_events
    check podman/build podman_build
    check podman/buildah buildah_build
    podman rm -f -t 0 -a >/dev/null
    podman pod rm -f -a >/dev/null
    check podman/state-is-empty podman_state_is_empty
    podman_remove_own_cgroups
}

# podman leaves the cgroup of conmon, and in the hierarchies that it does not
# know (v1 name=systemd, the unified one) that of a pod. rmdir keeps a full one,
# so that a container's own cgroup is still found.
podman_remove_own_cgroups() {
    find /sys/fs/cgroup -type d -path "*$CGROUP/*" ! -path "*$CGROUP/*/*" ! -name 'libpod-*' \
        -exec rmdir --ignore-fail-on-non-empty {} +
}

podman() {
    timeout -k 5 60 /usr/bin/podman "$@"
}

# /etc/containers is an empty tmpfs here: everything that podman reads is
# below, and the drop-in that wherry ships is used as it is.
podman_configure() {
    mkdir -p /etc/containers/containers.conf.d "$OUT/storage"
    cp "$here"/containers.conf.d/wherry.conf /etc/containers/containers.conf.d/wherry.conf
    cat >/etc/containers/containers.conf.d/zz-sandbox.conf <<-END
	[engine]
	runtime = "$(basename "$RUNTIME")"
	cgroup_manager = "cgroupfs"
	events_logger = "file"
	[engine.runtimes]
	$(basename "$RUNTIME") = ["$RUNTIME"]
	[containers]
	log_driver = "k8s-file"
	[network]
	network_backend = "cni"
	END
    cat >/etc/containers/storage.conf <<-END
	[storage]
	driver = "overlay"
	graphroot = "$OUT/storage"
	runroot = "/run/containers/storage"
	END
    # podman mounts /run/netns once, as a shared mount, and keeps it.
    mkdir -p /run/netns
    mount --bind /run/netns /run/netns
    mount --make-rshared /run/netns
    sandbox_mountpoints >"$OUT/mountpoints"
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
    echo 'unqualified-search-registries = []' >/etc/containers/registries.conf
}

# `podman run` below the engine's own cgroup parent, removed when it ends.
run_once() {
    podman run --rm --cgroup-parent "$CGROUP" "$@"
}

# start NAME [FLAG...] IMAGE COMMAND...
start() {
    local name=$1
    shift
    podman run -d --cgroup-parent "$CGROUP" --name "$name" "$@"
}

container() {
    podman inspect --type container --format "$2" "$1"
}

status_is() {
    [ "$(container "$1" '{{.State.Status}}')" = "$2" ]
}

podman_load() {
    podman load -q -i "$IMAGES/busybox.tar"
    podman load -q -i "$IMAGES/nginx.tar"
    has "$(podman images --format '{{.Repository}}:{{.Tag}}')" "$BUSYBOX"
}

podman_finds_runtime() {
    same "$(podman info --format '{{.Host.OCIRuntime.Path}}')" "$RUNTIME"
}

podman_run() {
    same "$(run_once "$BUSYBOX" echo hello)" hello
    same "$(echo typed | run_once -i "$BUSYBOX" cat)" typed
}

podman_run_exit_code() {
    exits 7 run_once "$BUSYBOX" sh -c 'exit 7'
    exits 137 run_once --pid host "$BUSYBOX" sh -c 'kill -9 $$'
}

podman_run_missing() {
    exits 127 run_once "$BUSYBOX" no-such-command
    has "$said" 'executable file'
}

podman_run_not_executable() {
    exits 126 run_once "$BUSYBOX" /etc/passwd
}

# The drop-in's runtime_supports_json makes conmon hand on --log.
podman_log_is_json() {
    grep -q -- '--log-format=json --log [^ ]*/oci-log create ' "$WORK/argv" ||
        fail "no --log-format=json in: $(grep -m 1 ' create ' "$WORK/argv")"
    exits 127 run_once "$BUSYBOX" no-such-command
    has "$said" 'OCI runtime attempted to invoke a command that was not found'
    lacks "$said" 'no logs from conmon'
}

podman_run_tty() {
    terminal 33x101 'expect:/ # ' 'send:tty\n' 'expect:/dev/pts/0' 'send:stty size\n' 'expect:33 101' \
        'resize:20x77' 'send:sleep 1; stty size\n' 'expect:20 77' 'send:exit 3\n' -- \
        /usr/bin/podman run --rm -it --cgroup-parent "$CGROUP" "$BUSYBOX" sh || same $? 3
}

podman_run_detached() {
    start long "$BUSYBOX" sh -c 'echo first; trap "exit 5" TERM; trap "echo got USR1" USR1; while :; do sleep 0.1; done'
    status_is long running
}

podman_inspect() {
    same "$(container long '{{.OCIRuntime}}')" "$(basename "$RUNTIME")"
    [ "$(container long '{{.State.Pid}}')" -gt 1 ]
    same "$(container long '{{.ImageName}}')" "$BUSYBOX"
    # Where podman_state_is_empty will look: podman gives no --root.
    [ -d "/run/$(basename "$RUNTIME")/$(container long '{{.Id}}')" ]
}

podman_exec() {
    same "$(podman exec long cat /proc/1/comm)" sh
    same "$(podman exec -w /tmp -e WORD=bird long sh -c 'echo $PWD $WORD')" '/tmp bird'
    same "$(podman exec -u app long id -u)" 1000
    same "$(echo typed | podman exec -i long cat)" typed
}

podman_exec_exit_code() {
    exits 9 podman exec long sh -c 'exit 9'
    exits 143 podman exec long sh -c 'kill -TERM $$'
}

podman_exec_tty() {
    terminal 25x90 'expect:/ # ' 'send:tty\n' 'expect:/dev/pts/' 'send:stty size\n' 'expect:25 90' 'send:exit\n' -- \
        /usr/bin/podman exec -it long sh
}

podman_exec_missing() {
    exits 127 podman exec long no-such-command
    exits 126 podman exec long /etc/passwd
}

podman_attach() {
    start shell -it "$BUSYBOX" sh
    terminal 24x80 'send:\n' 'expect:/ # ' 'send:echo at$((40+2))\n' 'expect:at42' 'expect:# ' 'send:\x10\x11' -- \
        /usr/bin/podman attach shell
    status_is shell running
    podman rm -f -t 0 shell
}

podman_logs() {
    podman kill -s USR1 long
    eventually logged 'got USR1'
    same "$(podman logs long | sed -n 1p)" first
    start counter "$BUSYBOX" sh -c 'for i in 1 2 3 4 5; do echo line $i; sleep 0.3; done'
    same "$(podman logs -f counter | wc -l)" 5
    podman rm -f -t 0 counter
}

logged() {
    [[ $(podman logs long) == *"$1"* ]]
}

podman_top() {
    has "$(podman top long pid args)" 'trap "exit 5" TERM'
    has "$(podman top long -ef)" 'trap "exit 5" TERM'
}

podman_stats() {
    local stats
    stats=$(podman stats --no-stream --format '{{.MemUsage}} pids {{.PIDs}}' long)
    lacks "$stats" '0B /'
    [[ $stats =~ pids\ [1-9] ]] || fail "no pids in: $stats"
}

podman_pause() {
    podman pause long
    status_is long paused
}

podman_unpause() {
    podman unpause long
    status_is long running
    podman exec long true
}

podman_update() {
    podman update --memory 64m --cpus 0.3 long
    local pid
    pid=$(container long '{{.State.Pid}}')
    same "$(cgroup_value "$pid" memory memory.limit_in_bytes memory.max)" 67108864
    same "$(cgroup_value "$pid" cpu cpu.cfs_quota_us cpu.max | cut -d' ' -f1)" 30000
}

podman_stop() {
    podman stop -t 10 long
    same "$(container long '{{.State.ExitCode}}')" 5
}

podman_start_again() {
    podman start long
    status_is long running
    podman restart -t 5 long
    status_is long running
}

podman_kill() {
    podman kill long
    same "$(podman wait long)" 137
}

podman_rm() {
    podman rm long
    exits 1 podman container exists long
    start running "$BUSYBOX" sleep 1000
    exits 2 podman rm running
    podman rm -f -t 0 running
}

podman_limits() {
    local pid
    start limited --memory 32m --cpus 0.5 --pids-limit 20 --cpu-shares 512 "$BUSYBOX" sleep 1000
    pid=$(container limited '{{.State.Pid}}')
    same "$(cgroup_value "$pid" memory memory.limit_in_bytes memory.max)" 33554432
    same "$(cgroup_value "$pid" cpu cpu.cfs_quota_us cpu.max | cut -d' ' -f1)" 50000
    same "$(cgroup_value "$pid" pids pids.max pids.max)" 20
    podman rm -f -t 0 limited
}

# 137 is the kernel's SIGKILL; podman's own OOMKilled comes from conmon.
podman_out_of_memory() {
    exits 137 run_once --memory 16m --memory-swap 16m "$BUSYBOX" dd if=/dev/zero of=/dev/null bs=100M count=1
}

podman_no_cgroups() {
    [ "$(basename "$RUNTIME")" != runc ] || skip 'runc has no --cgroup-manager disabled'
    same "$(podman run --rm --cgroups disabled "$BUSYBOX" echo free)" free
}

podman_security() {
    same "$(run_once --cap-drop all "$BUSYBOX" awk '/^CapEff/ { print $2 }' /proc/1/status)" 0000000000000000
    same "$(run_once "$BUSYBOX" awk '/^Seccomp:/ { print $2 }' /proc/1/status)" 2
    same "$(run_once --user 1000:2000 "$BUSYBOX" id -u)" 1000
    exits 1 run_once --read-only "$BUSYBOX" touch /new
    has "$said" 'Read-only file system'
    same "$(run_once --security-opt no-new-privileges "$BUSYBOX" awk '/^NoNewPrivs/ { print $2 }' /proc/1/status)" 1
}

podman_privileged() {
    same "$(run_once --privileged "$BUSYBOX" sh -c 'mkdir /m && mount -t tmpfs tmpfs /m && echo mounted')" mounted
    exits 1 run_once "$BUSYBOX" sh -c 'mkdir /m && mount -t tmpfs tmpfs /m'
}

podman_volumes() {
    mkdir "$OUT/volume"
    echo inside >"$OUT/volume/file"
    same "$(run_once -v "$OUT/volume:/v:ro" "$BUSYBOX" cat /v/file)" inside
    exits 1 run_once -v "$OUT/volume:/v:ro" "$BUSYBOX" touch /v/new
    run_once -v "$OUT/volume:/v" "$BUSYBOX" touch /v/new
    [ -f "$OUT/volume/new" ]
    has "$(run_once --tmpfs /t:size=1m "$BUSYBOX" df /t)" tmpfs
}

podman_uidmap() {
    local map=0:100000:65536
    same "$(run_once --uidmap $map --gidmap $map "$BUSYBOX" awk '{ print $1, $2, $3 }' /proc/self/uid_map)" \
        '0 100000 65536'
}

# Two containers share the network and ipc namespaces of a third, the infra
# container, whose command is podman's own pause program.
podman_pod() {
    podman pod create --name pod --cgroup-parent "$CGROUP" --infra-image "$BUSYBOX" --infra-command 'sleep 1000'
    podman run -d --pod pod --name one "$BUSYBOX" sleep 1000
    podman run -d --pod pod --name two "$BUSYBOX" sleep 1000
    same "$(podman exec one readlink /proc/self/ns/net)" "$(podman exec two readlink /proc/self/ns/net)"
    differ "$(podman exec one readlink /proc/self/ns/mnt)" "$(podman exec two readlink /proc/self/ns/mnt)"
    podman pod rm -f -t 0 pod
    podman_remove_own_cgroups
}

podman_nginx() {
    start web -p 8081:80 "$NGINX"
    eventually curl -sf "http://$(container web '{{.NetworkSettings.IPAddress}}')/"
    same "$(curl -sf "http://127.0.0.1:8081/")" 'served by nginx'
    podman stop -t 5 web
    same "$(container web '{{.State.ExitCode}}')" 0
    podman rm web
}

podman_events() {
    local events
    run_once --name witness "$BUSYBOX" true
    events=$(podman events --stream=false --filter container=witness --format '{{.Status}}')
    has "$events" start
    has "$events" died
    has "$events" remove
}

containerfile() {
    mkdir -p "$OUT/$1"
    echo copied >"$OUT/$1/file"
    cat >"$OUT/$1/Containerfile" <<-END
	FROM $BUSYBOX
	COPY file /file
	RUN cat /file >/made && id -u >>/made
	USER app
	RUN id -u >/tmp/user
	CMD ["cat", "/file", "/made", "/tmp/user"]
	END
}

# Unlike run, build takes its cgroup parent as the container's own cgroup.
podman_build() {
    containerfile podman-build
    podman build -q --isolation oci --cgroup-parent "$CGROUP/build" --network none \
        -t wherry.test/built:1 "$OUT/podman-build"
    same "$(run_once wherry.test/built:1 | paste -sd ' ')" 'copied copied 0 1000'
    containerfile failing
    echo 'RUN exit 6' >>"$OUT/failing/Containerfile"
    exits 6 podman build -q --isolation oci --cgroup-parent "$CGROUP/build" --network none "$OUT/failing"
}

buildah_build() {
    containerfile buildah-build
    timeout -k 5 120 buildah build -q --runtime "$RUNTIME" --isolation oci --cgroup-parent "$CGROUP/build" \
        --network none -t wherry.test/buildah:1 "$OUT/buildah-build"
    same "$(run_once wherry.test/buildah:1 | paste -sd ' ')" 'copied copied 0 1000'
    timeout -k 5 30 buildah from --name worker "$BUSYBOX"
    cp "$WORK/argv" "$OUT/argv-before"
    same "$(BUILDAH_RUNTIME=$RUNTIME timeout -k 5 30 buildah run --isolation oci worker echo ran)" ran
    timeout -k 5 30 buildah rm worker
    comm -13 <(sort "$OUT/argv-before") <(sort "$WORK/argv") | grep -q '^create --bundle .*buildah' ||
        fail 'BUILDAH_RUNTIME was not used'
}

podman_state_is_empty() {
    same "$(podman ps -aq)" ''
    sandbox_gone pgrep -af conmon
    sandbox_gone find "/run/$(basename "$RUNTIME")" -mindepth 1 -maxdepth 1
}
