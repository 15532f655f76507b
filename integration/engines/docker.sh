# dockerd 20.10 with the containerd that it starts itself.
# docker-lifecycle.sh and docker-confinement.sh hold the larger groups of checks.

. "$here/docker-lifecycle.sh"
. "$here/docker-confinement.sh"

docker_checks() {
    docker_start
    check docker/load docker_load
    check docker/info docker_info
    docker_lifecycle_checks
    docker_confinement_checks
    check docker/nginx docker_nginx
    check docker/nginx-published-port docker_nginx_published
    check docker/isolation docker_isolation
    check docker/events docker_events
    check docker/build docker_build
    check docker/build-fails docker_build_fails
    check docker/buildkit docker_buildkit
    check docker/copy-on-write docker_copy_on_write
    check docker/rm-force-all docker_rm_force_all
    check docker/live-containers docker_live_containers
    docker_stop
    check docker/shutdown-stops-containers docker_shutdown_stops
    check docker/state-is-empty docker_state_is_empty
}

# Debian's client: another one may stand earlier in PATH.
docker() {
    timeout -k 5 60 /usr/bin/docker -H unix:///run/docker.sock "$@"
}

docker_terminal() {
    local size=$1 steps=()
    shift
    while [ "$1" != -- ]; do steps+=("$1"); shift; done
    shift
    terminal "$size" "${steps[@]}" -- /usr/bin/docker -H unix:///run/docker.sock "$@"
}

# The runtime is configured as a user would, in daemon.json. The default
# oom-score-adjust of -500 needs CAP_SYS_RESOURCE.
docker_start() {
    mkdir -p "$OUT/path"
    # BuildKit and the builtin runtime execute "runc" from PATH.
    ln -sf "$RUNTIME" "$OUT/path/runc"
    cat >"$OUT/daemon.json" <<-END
	{
	  "runtimes": {"tested": {"path": "$RUNTIME"}},
	  "default-runtime": "tested",
	  "hosts": ["unix:///run/docker.sock"],
	  "data-root": "$OUT/root",
	  "exec-root": "/run/docker",
	  "pidfile": "/run/docker.pid",
	  "storage-driver": "overlay2",
	  "exec-opts": ["native.cgroupdriver=cgroupfs"],
	  "cgroup-parent": "$CGROUP",
	  "oom-score-adjust": 0,
	  "bip": "172.30.0.1/16",
	  "shutdown-timeout": 3
	}
	END
    PATH=$OUT/path:$PATH dockerd --config-file "$OUT/daemon.json" >>"$OUT/log/dockerd" 2>&1 &
    dockerd_pid=$!
    (eventually docker version)
}

docker_stop() {
    kill "$dockerd_pid"
    wait "$dockerd_pid" || true
    # dockerd keeps the mount of the host's network namespace.
    umount /run/docker/netns/default
}

# start NAME [FLAG...] IMAGE COMMAND...: a container in the background.
start() {
    docker run -d --name "$@"
}

container() {
    docker inspect --type container --format "$2" "$1"
}

status_is() {
    [ "$(container "$1" '{{.State.Status}}')" = "$2" ]
}

container_pid() {
    container "$1" '{{.State.Pid}}'
}

docker_load() {
    docker load -q -i "$IMAGES/busybox.tar"
    docker load -q -i "$IMAGES/nginx.tar"
    has "$(docker images --format '{{.Repository}}:{{.Tag}}')" "$BUSYBOX"
}

docker_info() {
    same "$(docker info --format '{{.DefaultRuntime}} {{(index .Runtimes "tested").Path}}')" "tested $RUNTIME"
    [ -n "$(docker version --format '{{range .Server.Components}}{{if eq .Name "tested"}}{{.Version}}{{end}}{{end}}')" ]
}

docker_nginx() {
    start web "$NGINX"
    local url
    url=http://$(container web '{{.NetworkSettings.IPAddress}}')/
    eventually curl -sf "$url"
    same "$(curl -sf "$url")" 'served by nginx'
    docker stop -t 5 web
    same "$(container web '{{.State.ExitCode}}')" 0
    docker rm web
}

docker_nginx_published() {
    start web -p 127.0.0.1:8080:80 "$NGINX"
    eventually curl -sf http://127.0.0.1:8080/
    same "$(curl -sf http://127.0.0.1:8080/)" 'served by nginx'
    eventually logged web 'GET / HTTP'
    docker rm -f web
    exits 7 curl -sf http://127.0.0.1:8080/
}

logged() {
    [[ $(docker logs "$1" 2>&1) == *"$2"* ]]
}

# Two containers and the host: five namespaces, all different.
docker_isolation() {
    local type one two
    start one "$BUSYBOX" sleep 1000
    start two "$BUSYBOX" sleep 1000
    one=$(container_pid one)
    two=$(container_pid two)
    for type in mnt pid net ipc uts; do
        differ "$(readlink "/proc/$one/ns/$type")" "$(readlink "/proc/$two/ns/$type")"
        differ "$(readlink "/proc/$one/ns/$type")" "$(readlink "/proc/self/ns/$type")"
    done
    same "$(docker exec one hostname)" "$(container one '{{slice .Id 0 12}}')"
    docker exec one touch /only-in-one
    exits 1 docker exec two ls /only-in-one
    lacks "$(docker exec two ps)" 'sleep 1001'
    docker rm -f one two
}

docker_events() {
    local since events name
    since=$(date +%s)
    docker run --rm --name witness "$BUSYBOX" true
    events=$(docker events --since "$since" --until "$(($(date +%s) + 1))" --filter container=witness \
        --format '{{.Action}}' | paste -sd ' ')
    for name in create start die destroy; do
        has "$events" "$name"
    done
}

dockerfile() {
    mkdir -p "$OUT/$1"
    echo copied >"$OUT/$1/file"
    cat >"$OUT/$1/Dockerfile" <<-END
	FROM $BUSYBOX
	COPY file /file
	RUN cat /file >/made && id -u >>/made
	USER app
	RUN id -u >/tmp/user
	CMD ["cat", "/file", "/made", "/tmp/user"]
	END
}

docker_build() {
    dockerfile build
    DOCKER_BUILDKIT=0 docker build -q -t wherry.test/built:1 "$OUT/build"
    same "$(docker run --rm wherry.test/built:1 | paste -sd ' ')" 'copied copied 0 1000'
}

docker_build_fails() {
    dockerfile failing
    echo 'RUN exit 6' >>"$OUT/failing/Dockerfile"
    DOCKER_BUILDKIT=0 exits 6 docker build --rm --force-rm -q "$OUT/failing"
}

# BuildKit calls the runtime itself: `run --bundle`, in the foreground.
docker_buildkit() {
    dockerfile buildkit
    DOCKER_BUILDKIT=1 docker build -q --no-cache -t wherry.test/buildkit:1 "$OUT/buildkit"
    same "$(docker run --rm wherry.test/buildkit:1 | paste -sd ' ')" 'copied copied 0 1000'
    grep -q 'run --bundle .*/buildkit/executor/' "$WORK/argv" || fail 'BuildKit did not call this runtime'
    # BuildKit's parent of its cgroups stays; rmdir fails on a full one.
    find /sys/fs/cgroup -type d -path "*$CGROUP/buildkit" -exec rmdir {} +
}

docker_copy_on_write() {
    docker run --name changed "$BUSYBOX" sh -c 'echo new >/etc/new; rm /etc/group'
    same "$(docker diff changed | sort | paste -sd ' ')" 'A /etc/new C /etc D /etc/group'
    docker commit changed wherry.test/changed:1
    same "$(docker run --rm wherry.test/changed:1 cat /etc/new)" new
    exits 1 docker run --rm "$BUSYBOX" cat /etc/new
    docker rm changed
}

docker_rm_force_all() {
    start stubborn "$BUSYBOX" sleep 1000
    # shellcheck disable=SC2046  # one word per container
    docker rm -f $(docker ps -aq)
    same "$(docker ps -aq)" ''
    sandbox_gone sandbox_cgroups
    sandbox_gone sandbox_links
    sandbox_gone pgrep -af containerd-shim
    sandbox_gone find /run/docker/runtime-runc/moby -mindepth 1
}

docker_live_containers() {
    start live "$BUSYBOX" sleep 1000
    start paused "$BUSYBOX" sleep 1000
    docker pause paused
    start restarting --restart always "$BUSYBOX" sleep 1000
    same "$(docker ps -q | wc -l)" 3
    # Where docker_state_is_empty will look; the shim says runc for every runtime.
    local id
    id=$(container live '{{.Id}}')
    [ -d "/run/docker/runtime-runc/moby/$id" ]
    [ -d "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/$id" ]
}

# dockerd stops the live containers when it is told to end.
docker_shutdown_stops() {
    sandbox_gone pgrep -af containerd-shim
    sandbox_gone pgrep -af 'sleep 1000'
}

docker_state_is_empty() {
    sandbox_gone find /run/docker/runtime-runc/moby /run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby \
        -mindepth 1
}
