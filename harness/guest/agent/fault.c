// SPDX-License-Identifier: GPL-2.0-only
/*
 * Failures on request: what runs between begin() and end() sees its N-th allocation fail
 * (Documentation/fault-injection/fault-injection.rst).
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define USAGE	"N open|ioctl|read|write|reboot COMMAND..."

enum call { NONE, OPEN, IOCTL, READ, WRITE, REBOOT };

static const char * const calls[] = {
	[OPEN] = "open", [IOCTL] = "ioctl", [READ] = "read", [WRITE] = "write", [REBOOT] = "reboot",
};

static struct {
	uint64_t nth;
	enum call call;			/* NONE: nothing is to fail */
	bool injected;
} fault;

static int begin(enum call call)
{
	char text[24];
	int fd, len, saved;

	if (fault.call != call)
		return -1;
	fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	len = snprintf(text, sizeof(text), "%llu", (unsigned long long)fault.nth);
	if (fd >= 0 && write(fd, text, len) != len) {
		saved = errno;
		close(fd);
		errno = saved;
		fd = -1;
	}
	return fd;
}

/* Keeps errno, which is the answer. */
static void end(int fd)
{
	int saved = errno;
	char left;

	if (fd < 0)
		return;
	/* What is left of N when it never came to that, in this one of the command's calls. */
	if (pread(fd, &left, 1, 0) == 1 && left == '0')
		fault.injected = true;
	if (pwrite(fd, "0", 1, 0) != 1)
		fault.injected = false;
	close(fd);
	errno = saved;
}

int faulty_open(const char *path, int flags)
{
	int armed = begin(OPEN);
	int fd = open(path, flags, 0600);

	end(armed);
	return fd;
}

int faulty_ioctl(int fd, unsigned long request, void *arg)
{
	int armed = begin(IOCTL);
	int err = ioctl(fd, request, arg);

	end(armed);
	return err;
}

ssize_t faulty_read(int fd, void *to, size_t len)
{
	int armed = begin(READ);
	ssize_t n = read(fd, to, len);

	end(armed);
	return n;
}

ssize_t faulty_write(int fd, const void *from, size_t len)
{
	int armed = begin(WRITE);
	ssize_t n = write(fd, from, len);

	end(armed);
	return n;
}

int faulty_kexec(void)
{
	int armed = begin(REBOOT);
	int err = syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
			  LINUX_REBOOT_CMD_KEXEC, NULL);

	end(armed);
	return err;
}

static void fail_nth(struct json *j, int argc, char **argv)
{
	enum call call = OPEN;
	uint64_t nth;

	while (call < ARRAY_SIZE(calls) && strcmp(argv[1], calls[call]))
		call++;
	if (fault.call || parse_number(argv[0], &nth) || !nth || call == ARRAY_SIZE(calls)) {
		json_usage(j, "fail-nth " USAGE);
		return;
	}
	fault.nth = nth;
	fault.call = call;
	fault.injected = false;
	verb_run(j, argc - 2, argv + 2);
	fault.call = NONE;
	json_amend(j, "injected", fault.injected);
}

static const struct agent_verb verbs[] = {
	{ "fail-nth", USAGE, fail_nth },
	{ }
};

static struct agent_part faults = { .verbs = verbs };

AGENT_PART(faults)
