/*
 * peak_rss COMMAND [ARG...]: run COMMAND with its three streams on /dev/null and print its peak resident size in KiB
 * and its exit status.
 *
 * A process keeps the largest peak of all its address spaces, the one that it shared with its parent before execve(2)
 * included, so a program started by a large parent never shows less than the parent's own size. This one is static,
 * allocates nothing and starts COMMAND by vfork(2): what it prints for itself as COMMAND is the resolution.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	int out = fcntl(1, F_DUPFD_CLOEXEC, 3), null = open("/dev/null", O_RDWR | O_CLOEXEC), status;
	struct rusage usage;
	pid_t pid = vfork();
	if (pid < 0 || out < 0 || null < 0)
		return 125;
	if (!pid) {
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	if (wait4(pid, &status, 0, &usage) != pid)
		return 125;
	dprintf(out, "%ld %d\n", usage.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return 0;
}
