# containerd 1.6 with its runc v2 shim, driven by ctr.

containerd_checks() {
    containerd_start
    check containerd/import containerd_import
    check containerd/run containerd_run
    check containerd/run-exit-code containerd_run_exit_code
    check containerd/run-tty containerd_run_tty
    check containerd/run-missing-command containerd_run_missing
    check containerd/run-detached containerd_run_detached
    check containerd/exec containerd_exec
    check containerd/exec-exit-code containerd_exec_exit_code
    check containerd/exec-tty containerd_exec_tty
    check containerd/exec-missing-command containerd_exec_missing
    check containerd/processes containerd_processes
    check containerd/metrics containerd_metrics
    check containerd/pause containerd_pause
    check containerd/resume containerd_resume
    check containerd/limits containerd_limits
    check containerd/seccomp containerd_seccomp
    check containerd/kill containerd_kill
    check containerd/delete containerd_delete
    check containerd/run-before-crash launch survivor -d -- sleep 1000
    containerd_crash
    containerd_start
    check containerd/survives-containerd containerd_survives
    check containerd/shim-leaves-nothing containerd_shim_leaves_nothing
    containerd_stop
}

ctr() {
    timeout -k 5 60 /usr/bin/ctr --address /run/containerd/containerd.sock --namespace engines "$@"
}

containerd_start() {
    cat >"$OUT/config.toml" <<-END
	version = 2
	root = "$OUT/root"
	state = "/run/containerd"
	disabled_plugins = ["io.containerd.grpc.v1.cri"]
	[grpc]
	  address = "/run/containerd/containerd.sock"
	END
    containerd --config "$OUT/config.toml" --log-level info >>"$OUT/log/containerd" 2>&1 &
    containerd_pid=$!
    (eventually ctr version)
}

containerd_stop() {
    kill "$containerd_pid"
    wait "$containerd_pid" || true
}

containerd_crash() {
    kill -KILL "$containerd_pid"
    wait "$containerd_pid" 2>/dev/null || true
}

# launch ID [FLAG...] -- COMMAND...: `ctr run` of the busybox image.
launch() {
    local id=$1 flags=()
    shift
    while [ "$1" != -- ]; do flags+=("$1"); shift; done
    shift
    ctr run --runc-binary "$RUNTIME" --cgroup "$CGROUP/$id" "${flags[@]}" "$BUSYBOX" "$id" "$@"
}

task_status() {
    ctr task ls | awk -v id="$1" '$1 == id { print $3 }'
}

task_is() {
    [ "$(task_status "$1")" = "$2" ]
}

task_pid() {
    ctr task ls | awk -v id="$1" '$1 == id { print $2 }'
}

containerd_import() {
    ctr image import "$IMAGES/busybox.tar"
    has "$(ctr image ls -q)" "$BUSYBOX"
}

containerd_run() {
    same "$(launch run --rm -- echo hello)" hello
    same "$(launch run-pid --rm -- sh -c 'echo $$')" 1
}

containerd_run_exit_code() {
    exits 7 launch code --rm -- sh -c 'exit 7'
    exits 143 launch signal --rm -- sh -c 'trap "trap - TERM; exit 143" TERM; kill -TERM $$; sleep 5'
}

containerd_run_tty() {
    terminal 33x101 'expect:/ # ' 'send:tty\n' 'expect:/dev/pts/0' 'send:stty size\n' 'expect:33 101' \
        'resize:20x77' 'send:sleep 1; stty size\n' 'expect:20 77' 'send:exit\n' -- \
        /usr/bin/ctr -a /run/containerd/containerd.sock -n engines run --runc-binary "$RUNTIME" \
        --cgroup "$CGROUP/tty" --rm -t "$BUSYBOX" tty sh
}

containerd_run_missing() {
    exits 1 launch missing -- no-such-command
    same "$(ctr task ls -q)" ''
    ctr container rm missing
    has "$said" 'executable file not found'
}

containerd_run_detached() {
    launch long -d -- sh -c 'trap "exit 5" TERM; while :; do sleep 0.1; done'
    same "$(task_status long)" RUNNING
    # Where containerd_shim_leaves_nothing will look.
    [ -d /run/containerd/io.containerd.runtime.v2.task/engines/long ]
    [ -d /run/containerd/runc/engines/long ]
}

containerd_exec() {
    same "$(ctr task exec --exec-id e1 long cat /proc/1/comm)" sh
    same "$(ctr task exec --exec-id e2 --cwd /tmp long pwd)" /tmp
    same "$(ctr task exec --exec-id e3 --user 1000 long id -u)" 1000
}

containerd_exec_exit_code() {
    exits 9 ctr task exec --exec-id e4 long sh -c 'exit 9'
}

containerd_exec_tty() {
    terminal 25x90 'expect:/ # ' 'send:tty\n' 'expect:/dev/pts/' 'send:stty size\n' 'expect:25 90' 'send:exit\n' -- \
        /usr/bin/ctr -a /run/containerd/containerd.sock -n engines task exec -t --exec-id e5 long sh
}

containerd_exec_missing() {
    exits 1 ctr task exec --exec-id e6 long no-such-command
    has "$said" 'executable file not found'
}

containerd_processes() {
    has "$(ctr task ps long)" "$(task_pid long)"
}

containerd_metrics() {
    local metrics
    metrics=$(ctr task metrics long)
    # v1 names memory.usage_in_bytes, v2 memory.usage; both are never 0 here.
    awk '/^memory.usage(_in_bytes)? / && $2 > 0 { found = 1 } END { exit !found }' <<<"$metrics" ||
        fail "no memory usage in: $(paste -sd ' ' <<<"$metrics")"
    has "$metrics" pids.current
}

containerd_pause() {
    ctr task pause long
    same "$(task_status long)" PAUSED
    exits 1 ctr task exec --exec-id e7 long true
    has "$said" paused
}

containerd_resume() {
    ctr task resume long
    same "$(task_status long)" RUNNING
    ctr task exec --exec-id e8 long true
}

containerd_limits() {
    local pid
    launch limited -d --memory-limit 33554432 --cpu-quota 20000 --cpu-period 100000 -- sleep 1000
    pid=$(task_pid limited)
    same "$(cgroup_value "$pid" memory memory.limit_in_bytes memory.max)" 33554432
    same "$(cgroup_value "$pid" cpu cpu.cfs_quota_us cpu.max | cut -d' ' -f1)" 20000
    ctr task kill -s KILL limited
    eventually task_is limited STOPPED
    ctr task rm limited || true
    ctr container rm limited
}

containerd_seccomp() {
    same "$(launch seccomp --rm --seccomp -- awk '/^Seccomp:/ { print $2 }' /proc/1/status)" 2
    exits 1 launch seccomp-denies --rm --seccomp -- unshare -m true
    has "$said" 'not permitted'
}

containerd_kill() {
    ctr task kill -s TERM long
    eventually task_is long STOPPED
}

containerd_delete() {
    exits 0 ctr task rm long
    has "$said" 'exit code 5'
    ctr container rm long
    same "$(ctr container ls -q)" ''
}

# The shim and its container outlive a killed containerd and are found again.
containerd_survives() {
    same "$(task_status survivor)" RUNNING
    ctr task exec --exec-id again survivor true
    ctr task kill -s KILL survivor
    eventually task_is survivor STOPPED
    ctr task rm survivor || true
    ctr container rm survivor
}

containerd_shim_leaves_nothing() {
    sandbox_gone pgrep -af containerd-shim
    sandbox_gone find /run/containerd/io.containerd.runtime.v2.task /run/containerd/runc -mindepth 2
    [ -d "$OUT/root/io.containerd.runtime.v2.task/engines" ]
    sandbox_gone find "$OUT/root/io.containerd.runtime.v2.task" -mindepth 2
    sandbox_gone sandbox_cgroups
}
