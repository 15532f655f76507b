#!/bin/sh
# Runs a busybox container under --trace and draws its time line as SVG. Root; leaves nothing but the picture behind.
#
#   examples/timeline.sh WHERRY TIMELINE OUT.svg
#
# TIMELINE is the program that `cargo build -p wherry-container --example timeline` makes. For a container of your own:
#
#   wherry --trace t.json run --bundle BUNDLE ID
#   cargo run -q -p wherry-container --example timeline t.json >t.svg
#
# t.json is a list of Chrome trace events: chrome://tracing, https://ui.perfetto.dev and speedscope open it as it is, and
# show what is too short for a picture. The longest steps, without any of them:
#
#   jq -r '.[] | select(.ph == "X") | "\(.dur)\t\(.name)"' t.json | sort -rn | head
set -eu

wherry=$(realpath "$1") timeline=$(realpath "$2") out=$3
[ "$(id -u)" = 0 ] || { echo 'timeline: needs root (sudo make timeline)' >&2; exit 1; }
busybox=$(command -v busybox) || { echo 'timeline: needs busybox-static' >&2; exit 1; }

id=wherry-timeline-$$
work=$(mktemp -d)
# shellcheck disable=SC2317 # called by the trap
cleanup() {
    [ ! -e "$work/state/$id" ] || "$wherry" --root "$work/state" delete --force "$id" || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

bundle=$work/bundle
for dir in bin dev proc sys etc; do
    mkdir -p "$bundle/rootfs/$dir"
done
# mktemp makes a private directory; a container's root must be open to its users.
chmod 755 "$bundle/rootfs"
cp "$busybox" "$bundle/rootfs/bin/busybox"
ln -s busybox "$bundle/rootfs/bin/true"

# With hooks, a limit and a filter, so that the picture shows where they run.
cat >"$bundle/config.json" <<END
{
  "ociVersion": "1.3.0",
  "process": {
    "user": {"uid": 0, "gid": 0},
    "args": ["/bin/true"],
    "env": ["PATH=/bin"],
    "cwd": "/",
    "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
    "noNewPrivileges": true
  },
  "root": {"path": "rootfs", "readonly": true},
  "hostname": "timeline",
  "hooks": {
    "createRuntime": [{"path": "$busybox", "args": ["true"]}],
    "createContainer": [{"path": "$busybox", "args": ["true"]}],
    "poststop": [{"path": "$busybox", "args": ["true"]}]
  },
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "size=65536k"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "ro"]}
  ],
  "linux": {
    "cgroupsPath": "/$id",
    "resources": {"pids": {"limit": 32}},
    "namespaces": [
      {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}
    ],
    "maskedPaths": ["/proc/kcore", "/sys/firmware"],
    "readonlyPaths": ["/proc/sys"],
    "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}
  }
}
END

# The shortest one is drawn: it has the least of other work on the machine in it.
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    timeout -k 5 60 "$wherry" --root "$work/state" --trace "$work/$n.json" run --bundle "$bundle" "$id"
done
"$timeline" "$work"/*.json >"$work/timeline.svg"
install -m 644 "$work/timeline.svg" "$out"
echo "timeline: $out"
