/*
 * floor: the least kernel work that `run` of a container takes, with none of a runtime's own.
 *
 *     floor run -b BUNDLE -c CGROUP [-d] ID
 *
 * It makes the cgroups, the namespaces, the mounts and the privilege drop which the bundles of this benchmark ask
 * for, starts /bin/true, waits and removes the cgroups. What is asked for is compiled in: no config.json is read,
 * no state is kept, nothing is checked, nothing is protected against a hostile image. A runtime's distance from
 * this program is therefore what the runtime itself costs.
 *
 *   -c CGROUP  directory below the root of every hierarchy; its parent exists
 *   -d         the docker-like bundle: 30 binds from BUNDLE/vol, limits, a seccomp filter of 360 instructions
 *
 * The init process attaches itself: "0" into `tasks` (v1), CLONE_INTO_CGROUP (v2). A write to cgroup.procs may
 * wait for an RCU grace period, which is no work that has to be done.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define LEN(a) (sizeof(a) / sizeof((a)[0]))
#define NSE (MS_NOSUID | MS_NOEXEC | MS_NODEV)

struct hierarchy {
	char name[48];	/* directory below CGROUP_ROOT; empty on a pure v2 host */
	char dir[256];	/* the container's directory */
	int unified;
	int fd;		/* v1: `tasks`, v2: the directory */
};

static struct hierarchy hier[24];
static int nhier;
static int docker;
static const char *bundle, *cgroup;

static void fail(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static long must(long r, const char *what)
{
	if (r < 0)
		fail(what);
	return r;
}

static void attach_mount(const char *src, const char *dst, const char *type, unsigned long flags, const char *data)
{
	must(mount(src, dst, type, flags, data), dst);
}

/* ---- cgroups ---- */

static void put(const char *dir, const char *file, const char *value, int needed)
{
	char path[400];
	snprintf(path, sizeof path, "%s/%s", dir, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if ((fd < 0 || write(fd, value, strlen(value)) < 0) && needed)
		fail(path);
	if (fd >= 0)
		close(fd);
}

static void add_hierarchy(const char *name, int unified)
{
	struct hierarchy *h = &hier[nhier];
	struct stat st;
	snprintf(h->name, sizeof h->name, "%s", name);
	snprintf(h->dir, sizeof h->dir, CGROUP_ROOT "/%s/cgroup.procs", name);
	if (nhier == (int)LEN(hier) || stat(h->dir, &st))
		return;
	snprintf(h->dir, sizeof h->dir, CGROUP_ROOT "/%s%s", name, cgroup);
	h->unified = unified;
	nhier++;
}

static void find_hierarchies(void)
{
	static char text[8192];
	struct statfs fs;
	must(statfs(CGROUP_ROOT, &fs), CGROUP_ROOT);
	if (fs.f_type == CGROUP2_SUPER_MAGIC) {
		add_hierarchy("", 1);
		return;
	}
	int fd = must(open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC), "/proc/self/cgroup");
	must(read(fd, text, sizeof text - 1), "/proc/self/cgroup");
	close(fd);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		char *controllers = strchr(line, ':') + 1;
		*strchr(controllers, ':') = 0;
		if (!*controllers)
			add_hierarchy("unified", 1);
		else
			add_hierarchy(strncmp(controllers, "name=", 5) ? controllers : controllers + 5, 0);
	}
}

/* A new v1 cpuset is empty and takes no task until both files are set. */
static void fill_cpuset(const struct hierarchy *h)
{
	static const char *files[] = { "cpuset.cpus", "cpuset.mems" };
	for (unsigned i = 0; i < LEN(files); i++) {
		char path[400], value[256];
		snprintf(path, sizeof path, "%s/../%s", h->dir, files[i]);
		int fd = must(open(path, O_RDONLY | O_CLOEXEC), path);
		long n = must(read(fd, value, sizeof value - 1), path);
		close(fd);
		value[n] = 0;
		put(h->dir, files[i], value, 1);
	}
}

static void make_cgroups(void)
{
	for (struct hierarchy *h = hier; h < hier + nhier; h++) {
		char path[300];
		must(mkdir(h->dir, 0755), h->dir);
		if (!strcmp(h->name, "cpuset"))
			fill_cpuset(h);
		snprintf(path, sizeof path, "%s%s", h->dir, h->unified ? "" : "/tasks");
		h->fd = must(open(path, (h->unified ? O_PATH : O_WRONLY) | O_CLOEXEC), path);
	}
}

/* Every device number that a default container may open; -1 is any. */
static const struct { char type; int major, minor; } allowed[] = {
	{ 'c', 1, 3 }, { 'c', 1, 5 }, { 'c', 1, 7 }, { 'c', 1, 8 }, { 'c', 1, 9 },
	{ 'c', 5, 0 }, { 'c', 5, 2 }, { 'c', 136, -1 },
};

static void device_rules_v1(const char *dir)
{
	put(dir, "devices.deny", "a", 1);
	put(dir, "devices.allow", "c *:* m", 1);
	put(dir, "devices.allow", "b *:* m", 1);
	for (unsigned i = 0; i < LEN(allowed); i++) {
		char rule[40];
		if (allowed[i].minor < 0)
			snprintf(rule, sizeof rule, "c %d:* rwm", allowed[i].major);
		else
			snprintf(rule, sizeof rule, "c %d:%d rwm", allowed[i].major, allowed[i].minor);
		put(dir, "devices.allow", rule, 1);
	}
}

static struct bpf_insn insn(int code, int dst, int src, int off, int imm)
{
	return (struct bpf_insn){ .code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm };
}

/* The same rules as a BPF_PROG_TYPE_CGROUP_DEVICE program. */
static void device_rules_v2(int dirfd)
{
	struct bpf_insn p[64];
	int n = 0;
	p[n++] = insn(BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct bpf_cgroup_dev_ctx, access_type), 0);
	p[n++] = insn(BPF_ALU | BPF_MOV | BPF_X, 3, 2, 0, 0);
	p[n++] = insn(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff);
	p[n++] = insn(BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16);
	p[n++] = insn(BPF_LDX | BPF_MEM | BPF_W, 4, 1, offsetof(struct bpf_cgroup_dev_ctx, major), 0);
	p[n++] = insn(BPF_LDX | BPF_MEM | BPF_W, 5, 1, offsetof(struct bpf_cgroup_dev_ctx, minor), 0);
	p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 3, 0, 2, BPF_DEVCG_ACC_MKNOD);
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
	p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (unsigned i = 0; i < LEN(allowed); i++) {
		int any = allowed[i].minor < 0;
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 2, 0, any ? 3 : 4, BPF_DEVCG_DEV_CHAR);
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 4, 0, any ? 2 : 3, allowed[i].major);
		if (!any)
			p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, 5, 0, 2, allowed[i].minor);
		p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
		p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	}
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);

	union bpf_attr load = { .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insns = (unsigned long)p, .insn_cnt = n,
				.license = (unsigned long)"GPL" };
	int prog = must(syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load), "BPF_PROG_LOAD");
	/* The directory was opened with O_PATH, which BPF_PROG_ATTACH refuses. */
	char path[40];
	snprintf(path, sizeof path, "/proc/self/fd/%d", dirfd);
	int dir = must(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path);
	union bpf_attr attach = { .target_fd = dir, .attach_bpf_fd = prog, .attach_type = BPF_CGROUP_DEVICE,
				  .attach_flags = BPF_F_ALLOW_MULTI };
	must(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach), "BPF_PROG_ATTACH");
	close(dir);
	close(prog);
}

static void set_resources(void)
{
	for (const struct hierarchy *h = hier; h < hier + nhier; h++) {
		if (!strcmp(h->name, "devices"))
			device_rules_v1(h->dir);
		if (!h->name[0])
			device_rules_v2(h->fd);
		if (!docker)
			continue;
		if (!strcmp(h->name, "memory"))
			put(h->dir, "memory.limit_in_bytes", "536870912", 1);
		if (!strcmp(h->name, "cpu")) {
			put(h->dir, "cpu.shares", "512", 1);
			put(h->dir, "cpu.cfs_period_us", "100000", 0);
			put(h->dir, "cpu.cfs_quota_us", "100000", 0);
		}
		if (!strcmp(h->name, "pids"))
			put(h->dir, "pids.max", "1000", 1);
		if (!h->name[0]) {	/* absent where the host keeps these controllers on v1 */
			put(h->dir, "memory.max", "536870912", 0);
			put(h->dir, "cpu.weight", "20", 0);
			put(h->dir, "cpu.max", "100000 100000", 0);
			put(h->dir, "pids.max", "1000", 0);
		}
	}
}

static void remove_cgroups(void)
{
	for (struct hierarchy *h = hier; h < hier + nhier; h++) {
		close(h->fd);
		while (rmdir(h->dir)) {
			if (errno != EBUSY)
				fail(h->dir);
			usleep(50);
		}
	}
}

/* ---- init ---- */

static void mount_default(void)
{
	mkdir("proc", 0755);
	attach_mount("proc", "proc", "proc", NSE, NULL);
	attach_mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
	mkdir("dev/pts", 0755);
	attach_mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
	mkdir("dev/shm", 0755);
	attach_mount("shm", "dev/shm", "tmpfs", NSE, "mode=1777,size=65536k");
	mkdir("dev/mqueue", 0755);
	attach_mount("mqueue", "dev/mqueue", "mqueue", NSE, NULL);
	attach_mount("sysfs", "sys", "sysfs", NSE | MS_RDONLY, NULL);
}

static void mount_cgroup_view(void)
{
	const unsigned long flags = NSE | MS_RELATIME;
	if (nhier == 1 && !hier[0].name[0]) {
		attach_mount("cgroup", "sys/fs/cgroup", "cgroup2", flags | MS_RDONLY, NULL);
		return;
	}
	attach_mount("tmpfs", "sys/fs/cgroup", "tmpfs", flags, "mode=755");
	for (const struct hierarchy *h = hier; h < hier + nhier; h++) {
		char to[sizeof h->name + 16];
		snprintf(to, sizeof to, "sys/fs/cgroup/%.47s", h->name);
		mkdir(to, 0755);
		attach_mount(h->dir, to, NULL, MS_BIND | MS_REC, NULL);
		attach_mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | flags, NULL);
	}
	attach_mount(NULL, "sys/fs/cgroup", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | flags, NULL);
}

/* A runtime has to know what the source is, and that the target is there: the bundle maker has laid out both. */
static void bind_volumes(const char *rootfs)
{
	for (int i = 0; i < 30; i++) {
		char from[300], to[340];
		struct stat st;
		snprintf(from, sizeof from, "%s/vol/%d", bundle, i);
		snprintf(to, sizeof to, "%s/run/vol/%d", rootfs, i);
		must(stat(from, &st), from);
		must(access(to, F_OK), to);
		attach_mount(from, to, NULL, MS_BIND | MS_REC, NULL);
		attach_mount(NULL, to, NULL, MS_REC | MS_PRIVATE, NULL);
		if (i % 2)
			attach_mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
	}
}

static void make_devices(void)
{
	static const struct { const char *path; int major, minor; } nodes[] = {
		{ "dev/null", 1, 3 }, { "dev/zero", 1, 5 }, { "dev/full", 1, 7 },
		{ "dev/random", 1, 8 }, { "dev/urandom", 1, 9 }, { "dev/tty", 5, 0 },
	};
	static const char *links[][2] = {
		{ "/proc/self/fd", "dev/fd" }, { "/proc/self/fd/0", "dev/stdin" }, { "/proc/self/fd/1", "dev/stdout" },
		{ "/proc/self/fd/2", "dev/stderr" }, { "pts/ptmx", "dev/ptmx" }, { "/proc/kcore", "dev/core" },
	};
	mode_t old = umask(0);
	for (unsigned i = 0; i < LEN(nodes); i++)
		must(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].path);
	umask(old);
	for (unsigned i = 0; i < LEN(links); i++)
		must(symlink(links[i][0], links[i][1]), links[i][1]);
}

static void hide_paths(void)
{
	static const char *readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
	static const char *masked[] = {
		"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
		"/proc/interrupts", "/sys/devices/virtual/powercap",	/* these two: docker only */
	};
	for (unsigned i = 0; i < LEN(readonly); i++) {
		if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL)) {
			if (errno != ENOENT)
				fail(readonly[i]);
			continue;
		}
		attach_mount(NULL, readonly[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | NSE, NULL);
	}
	for (unsigned i = 0; i < LEN(masked) - (docker ? 0 : 2); i++) {
		struct stat st;
		if (stat(masked[i], &st))
			continue;
		if (S_ISDIR(st.st_mode))
			attach_mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1");
		else
			attach_mount("/dev/null", masked[i], NULL, MS_BIND, NULL);
	}
}

/* As many instructions as a linear filter over Docker's list has; none of its comparisons matches. */
static void load_filter(void)
{
	enum { COMPARISONS = 180 };
	static struct sock_filter f[2 * COMPARISONS + 5];
	unsigned short n = 0;
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (int i = 0; i < COMPARISONS; i++) {
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1000 + i, 0, 1);
		f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	}
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = { n, f };
	must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog), "seccomp");
}

static void drop_privileges(void)
{
	/* AUDIT_WRITE KILL NET_BIND_SERVICE, or the fourteen of Docker */
	const unsigned keep = docker ? 0xa80425fb : 1u << 29 | 1u << 5 | 1u << 10;
	struct rlimit nofile = { 1024, 1024 };
	must(setrlimit(RLIMIT_NOFILE, &nofile), "setrlimit");
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (cap > 31 || !(keep >> cap & 1))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	must(setgroups(0, NULL), "setgroups");
	must(setresgid(0, 0, 0), "setresgid");
	must(setresuid(0, 0, 0), "setresuid");
	if (docker)
		load_filter();	/* without no_new_privs it takes CAP_SYS_ADMIN: before capset */
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2] = { { keep, keep, 0 }, { 0, 0, 0 } };
	must(syscall(SYS_capset, &head, sets), "capset");
	if (!docker)
		must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

static void init(void)
{
	char rootfs[300];
	snprintf(rootfs, sizeof rootfs, "%s/rootfs", bundle);
	for (const struct hierarchy *h = hier; h < hier + nhier; h++)
		if (!h->unified)
			must(write(h->fd, "0", 1), h->dir);
	setsid();
	must(sethostname("bench", 5), "sethostname");
	attach_mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
	attach_mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL);
	must(chdir(rootfs), rootfs);
	mount_default();
	mount_cgroup_view();
	if (docker)
		bind_volumes(rootfs);
	make_devices();
	must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
	must(umount2(".", MNT_DETACH), "umount2");
	must(chdir("/"), "chdir");
	hide_paths();
	if (!docker)
		attach_mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
	drop_privileges();
	char *argv[] = { "/bin/true", NULL }, *envp[] = { "PATH=/bin", NULL };
	execve(argv[0], argv, envp);
	fail("execve");
}

int main(int argc, char **argv)
{
	int opt, status;
	if (argc < 2 || strcmp(argv[1], "run"))
		return 2;
	for (argc--, argv++; (opt = getopt(argc, argv, "b:c:d")) > 0;)
		switch (opt) {
		case 'b': bundle = optarg; break;
		case 'c': cgroup = optarg; break;
		case 'd': docker = 1; break;
		default: return 2;
		}
	if (!bundle || !cgroup)
		return 2;

	find_hierarchies();
	make_cgroups();
	set_resources();
	struct clone_args args = { .exit_signal = SIGCHLD, .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET
					| CLONE_NEWIPC | CLONE_NEWUTS };
	for (const struct hierarchy *h = hier; h < hier + nhier; h++)
		if (h->unified) {
			args.flags |= CLONE_INTO_CGROUP;
			args.cgroup = h->fd;
			if (!h->name[0])
				args.flags |= CLONE_NEWCGROUP;
		}
	pid_t pid = must(syscall(SYS_clone3, &args, sizeof args), "clone3");
	if (!pid)
		init();
	must(waitpid(pid, &status, 0), "waitpid");
	remove_cgroups();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
