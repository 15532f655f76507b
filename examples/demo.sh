#!/bin/sh
# Makes a bundle from busybox alone, runs it with wherry and shows what the container sees. Root; leaves nothing behind.
#
#   examples/demo.sh [PATH-OF-WHERRY]
set -eu

wherry=${1:-wherry}
case $wherry in
    */*) wherry=$(realpath "$wherry") ;;
esac
[ "$(id -u)" = 0 ] || { echo 'demo: needs root (sudo make demo)' >&2; exit 1; }
busybox=$(command -v busybox) || { echo 'demo: needs busybox-static' >&2; exit 1; }
if LC_ALL=C ldd "$busybox" >/dev/null 2>&1; then
    echo "demo: $busybox is not static: install busybox-static" >&2
    exit 1
fi

id=wherry-demo-$$
work=$(mktemp -d)
# shellcheck disable=SC2317 # called by the trap
cleanup() {
    "$wherry" --root "$work/state" delete --force "$id" || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

bundle=$work/bundle
mkdir -p "$bundle/rootfs/bin" "$bundle/rootfs/dev" "$bundle/rootfs/proc" "$bundle/rootfs/sys" "$bundle/rootfs/etc"
# mktemp makes a private directory; a container's root must be open to its users.
chmod 755 "$bundle/rootfs"
cp "$busybox" "$bundle/rootfs/bin/busybox"
for tool in sh ps ls cat hostname id mount grep sed echo head; do
    ln -s busybox "$bundle/rootfs/bin/$tool"
done

cat >"$bundle/rootfs/bin/show" <<'END'
#!/bin/sh
title() { echo; echo "== $1"; }
title 'host name, user'
hostname
id
title 'processes: the program is pid 1'
ps
title 'namespaces of pid 1 (compare with ls -l /proc/self/ns outside)'
ls -l /proc/self/ns | sed -n 's/.* \([a-z_]* -> .*\)/\1/p'
title 'limits: memory 64 MiB, 32 processes, 100 open files'
for file in memory/memory.limit_in_bytes memory.max pids/pids.max pids.max; do
    [ ! -e /sys/fs/cgroup/$file ] || echo "$file: $(cat /sys/fs/cgroup/$file)"
done
grep 'open files' /proc/self/limits
title 'privileges'
grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status
echo x 2>/dev/null >/bin/x || echo 'the root filesystem is read-only'
title 'mounts'
mount | sed -n 's/ type.*//p' | head -n 8
END
chmod 755 "$bundle/rootfs/bin/show"

cat >"$bundle/config.json" <<END
{
  "ociVersion": "1.3.0",
  "process": {
    "user": {"uid": 0, "gid": 0},
    "args": ["/bin/show"],
    "env": ["PATH=/bin"],
    "cwd": "/",
    "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 100, "soft": 100}],
    "noNewPrivileges": true
  },
  "root": {"path": "rootfs", "readonly": true},
  "hostname": "demo",
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]}
  ],
  "linux": {
    "cgroupsPath": "/$id",
    "resources": {"memory": {"limit": 67108864}, "pids": {"limit": 32}},
    "namespaces": [
      {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}
    ],
    "maskedPaths": ["/proc/kcore", "/sys/firmware"],
    "readonlyPaths": ["/proc/sys"]
  }
}
END

echo "wherry run --bundle $bundle $id"
status=0
timeout -k 5 60 "$wherry" --root "$work/state" run --bundle "$bundle" "$id" || status=$?
echo
echo "exit status $status"
exit "$status"
