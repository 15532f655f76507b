# dockerd: a container's life, its terminal and its exit codes.

docker_lifecycle_checks() {
    check docker/run docker_run
    check docker/run-stdin docker_run_stdin
    check docker/run-exit-code docker_run_exit_code
    check docker/run-missing-command docker_run_missing
    check docker/run-not-executable docker_run_not_executable
    check docker/run-directory docker_run_directory
    check docker/run-tty docker_run_tty
    check docker/run-tty-detach docker_run_tty_detach
    check docker/run-init docker_run_init
    check docker/run-detached docker_run_detached
    check docker/ps docker_ps
    check docker/inspect docker_inspect
    check docker/exec docker_exec
    check docker/exec-exit-code docker_exec_exit_code
    check docker/exec-missing-command docker_exec_missing
    check docker/exec-tty docker_exec_tty
    check docker/exec-detached docker_exec_detached
    check docker/attach docker_attach
    check docker/logs docker_logs
    check docker/logs-follow docker_logs_follow
    check docker/top docker_top
    check docker/stats docker_stats
    check docker/pause docker_pause
    check docker/unpause docker_unpause
    check docker/stop docker_stop_container
    check docker/start-again docker_start_again
    check docker/restart docker_restart
    check docker/kill docker_kill
    check docker/wait docker_wait
    check docker/rm docker_rm
    check docker/rm-force docker_rm_force
    check docker/restart-policy docker_restart_policy
    check docker/health docker_health
    check docker/cp docker_cp
    check docker/create-and-start docker_create_and_start
}

docker_run() {
    same "$(docker run --rm "$BUSYBOX" echo hello)" hello
    same "$(docker run --rm -e WORD=bird -w /tmp -h boat "$BUSYBOX" sh -c 'echo $WORD $PWD $(hostname) $$')" \
        'bird /tmp boat 1'
}

docker_run_stdin() {
    same "$(echo typed | docker run --rm -i "$BUSYBOX" cat)" typed
    same "$(head -c 1000000 /dev/zero | docker run --rm -i "$BUSYBOX" wc -c)" 1000000
    same "$(docker run --rm "$BUSYBOX" sh -c 'echo to-stderr >&2' 2>&1 >/dev/null)" to-stderr
}

docker_run_exit_code() {
    exits 7 docker run --rm "$BUSYBOX" sh -c 'exit 7'
    exits 137 docker run --rm --pid host "$BUSYBOX" sh -c 'kill -9 $$'
}

docker_run_missing() {
    exits 127 docker run --rm "$BUSYBOX" no-such-command
    has "$said" 'executable file not found in $PATH'
    has "$said" no-such-command
    exits 127 docker run --rm "$BUSYBOX" /no/such/path
}

docker_run_not_executable() {
    exits 126 docker run --rm "$BUSYBOX" /etc/passwd
    has "$said" 'permission denied'
}

docker_run_directory() {
    exits 126 docker run --rm "$BUSYBOX" /etc
}

docker_run_tty() {
    local status=0
    docker_terminal 33x101 'expect:/ # ' 'send:tty\n' 'expect:/dev/pts/0' 'send:stty size\n' 'expect:33 101' \
        'resize:20x77' 'send:sleep 1; stty size\n' 'expect:20 77' 'send:ls -l /dev/console\n' 'expect:/dev/console' \
        'send:echo $((6*7)); sleep 100\n' 'expect:\n42' 'send:\x03' 'expect:/ # ' 'send:exit 3\n' -- \
        run --rm -it "$BUSYBOX" sh || status=$?
    same $status 3
}

docker_run_tty_detach() {
    docker_terminal 24x80 'expect:/ # ' 'send:\x10\x11' -- run -it --name detached "$BUSYBOX" sh
    status_is detached running
    docker_terminal 24x80 'send:\n' 'expect:/ # ' 'send:exit\n' -- attach detached
    eventually status_is detached exited
    docker rm detached
}

docker_run_init() {
    has "$(docker run --rm --init "$BUSYBOX" cat /proc/1/comm)" docker-init
}

docker_run_detached() {
    start long "$BUSYBOX" sh -c \
        'echo first; trap "exit 5" TERM; trap "echo got USR1" USR1; trap "echo got HUP" HUP; while :; do sleep 0.1; done'
    status_is long running
}

docker_ps() {
    has "$(docker ps --format '{{.Names}} {{.Status}}')" 'long Up'
    same "$(docker ps -ql)" "$(container long '{{slice .Id 0 12}}')"
}

docker_inspect() {
    same "$(container long '{{.HostConfig.Runtime}}')" tested
    same "$(cat "/proc/$(container_pid long)/comm")" sh
}

docker_exec() {
    same "$(docker exec long cat /proc/1/comm)" sh
    same "$(docker exec -w /tmp -e WORD=bird long sh -c 'echo $PWD $WORD')" '/tmp bird'
    same "$(docker exec -u app long id)" 'uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)'
    same "$(echo typed | docker exec -i long cat)" typed
    local type
    for type in mnt pid net ipc uts; do
        same "$(docker exec long readlink "/proc/self/ns/$type")" "$(readlink "/proc/$(container_pid long)/ns/$type")"
    done
}

docker_exec_exit_code() {
    exits 9 docker exec long sh -c 'exit 9'
    exits 143 docker exec long sh -c 'kill -TERM $$'
}

docker_exec_missing() {
    # dockerd 20.10 answers 126 to every exec that cannot start.
    exits 126 docker exec long no-such-command
    has "$said" 'executable file not found in $PATH'
    exits 126 docker exec long /etc/passwd
}

docker_exec_tty() {
    local status=0
    docker_terminal 25x90 'expect:/ # ' 'send:tty\n' 'expect:/dev/pts/' 'send:stty size\n' 'expect:25 90' \
        'resize:30x70' 'send:sleep 1; stty size\n' 'expect:30 70' 'send:exit 4\n' -- \
        exec -it long sh || status=$?
    same $status 4
}

docker_exec_detached() {
    docker exec -d long sh -c 'echo made >/tmp/made; sleep 1000'
    eventually docker exec long cat /tmp/made
    has "$(docker top long)" 'sleep 1000'
}

docker_attach() {
    start shell -it "$BUSYBOX" sh
    local status=0
    docker_terminal 24x80 'send:\n' 'expect:/ # ' 'send:echo at$((40+2))\n' 'expect:at42' 'expect:# ' \
        'send:\x10\x11' -- attach shell || status=$?
    # docker's own code for "read escape sequence".
    same $status 1
    status_is shell running
    docker rm -f shell
}

docker_logs() {
    docker kill -s USR1 long
    eventually logged long 'got USR1'
    same "$(docker logs long | sed -n 1p)" first
    [[ $(docker logs -t --tail 1 long) =~ ^20[0-9-]+T.*got ]] || fail 'no time stamp'
}

docker_logs_follow() {
    start counter "$BUSYBOX" sh -c 'for i in 1 2 3 4 5; do echo line $i; sleep 0.3; done'
    same "$(docker logs -f counter | paste -sd ' ')" 'line 1 line 2 line 3 line 4 line 5'
    docker rm -f counter
}

docker_top() {
    has "$(docker top long)" 'trap "exit 5" TERM'
    has "$(docker top long -o pid,comm)" "$(container_pid long)"
}

docker_stats() {
    local stats
    stats=$(docker stats --no-stream --format '{{.MemUsage}} pids {{.PIDs}}' long)
    lacks "$stats" '0B /'
    [[ $stats =~ pids\ [1-9] ]] || fail "no pids in: $stats"
}

# A frozen container takes no CPU time and runs no exec.
docker_pause() {
    docker pause long
    status_is long paused
    local pid before
    pid=$(container_pid long)
    before=$(awk '{ print $14 + $15 + $16 + $17 }' "/proc/$pid/stat")
    sleep 1
    same "$(awk '{ print $14 + $15 + $16 + $17 }' "/proc/$pid/stat")" "$before"
    exits 1 docker exec long true
    has "$said" 'is paused'
}

docker_unpause() {
    docker unpause long
    status_is long running
    docker kill -s HUP long
    eventually logged long 'got HUP'
}

docker_stop_container() {
    docker stop -t 10 long
    same "$(container long '{{.State.Status}} {{.State.ExitCode}}')" 'exited 5'
    # PID 1 without a handler ignores SIGTERM, so that it takes SIGKILL.
    start deaf "$BUSYBOX" sleep 1000
    docker stop -t 1 deaf
    same "$(container deaf '{{.State.ExitCode}}')" 137
    docker rm deaf
}

docker_start_again() {
    docker start long
    status_is long running
    same "$(docker exec long cat /proc/1/comm)" sh
}

docker_restart() {
    local pid
    pid=$(container_pid long)
    docker restart -t 5 long
    differ "$(container_pid long)" "$pid"
    status_is long running
}

docker_kill() {
    docker kill long
    eventually status_is long exited
    same "$(container long '{{.State.ExitCode}} {{.State.OOMKilled}}')" '137 false'
    exits 1 docker kill long
    has "$said" 'is not running'
}

docker_wait() {
    start waited "$BUSYBOX" sh -c 'sleep 0.5; exit 11'
    same "$(docker wait waited)" 11
    docker rm waited
}

docker_rm() {
    docker rm long
    exits 1 docker inspect long
    start running "$BUSYBOX" sleep 1000
    exits 1 docker rm running
    has "$said" 'running container'
}

docker_rm_force() {
    local pid
    pid=$(container_pid running)
    docker rm -f running
    exits 1 docker inspect running
    [ ! -d "/proc/$pid" ] || fail "init $pid is still there"
}

docker_restart_policy() {
    start flapping --restart on-failure:2 "$BUSYBOX" sh -c 'exit 3'
    eventually restarted_twice
    docker rm -f flapping
}

restarted_twice() {
    [ "$(container flapping '{{.RestartCount}} {{.State.Status}}')" = '2 exited' ]
}

docker_health() {
    start healthy --health-cmd 'test -f /well' --health-interval 1s --health-retries 1 "$BUSYBOX" \
        sh -c 'touch /well; sleep 1000'
    eventually health_is healthy
    docker exec healthy rm /well
    eventually health_is unhealthy
    docker rm -f healthy
}

health_is() {
    [ "$(container healthy '{{.State.Health.Status}}')" = "$1" ]
}

docker_cp() {
    start target "$BUSYBOX" sleep 1000
    echo carried >"$OUT/carried"
    docker cp "$OUT/carried" target:/tmp/carried
    same "$(docker exec target cat /tmp/carried)" carried
    docker cp target:/etc/passwd "$OUT/passwd"
    has "$(cat "$OUT/passwd")" root
    docker rm -f target
}

docker_create_and_start() {
    docker create -i --name made "$BUSYBOX" sh -c 'read word; echo "read $word"; exit 6'
    status_is made created
    local status=0
    echo sail | docker start -a -i made >"$OUT/made" || status=$?
    same $status 6
    same "$(cat "$OUT/made")" 'read sail'
    docker rm made
}
