// SPDX-License-Identifier: GPL-2.0-only
/* Verbs for the kernel itself: its small files, its modules, its clock and randomness. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S	1000000000

/* Keeps errno, which is the answer. */
static void close_quietly(int fd)
{
	int saved = errno;

	close(fd);
	errno = saved;
}

static void get(struct json *j, int argc, char **argv)
{
	static char content[AGENT_PACKET / 2];
	int fd = faulty_open(argv[0], O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = -1;

	while (fd >= 0 && (n = faulty_read(fd, content + len, sizeof(content) - len)) > 0)
		len += n;
	if (fd >= 0)
		close_quietly(fd);
	if (len == sizeof(content)) {
		json_error(j, "get", EFBIG);
	} else if (n < 0) {
		json_result(j, "get", -1);
	} else {
		json_begin(j, true);
		json_bytes(j, "content", content, len);
		json_end(j);
	}
}

static void put(struct json *j, int argc, char **argv)
{
	int fd = faulty_open(argv[0], O_WRONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0) {
		n = faulty_write(fd, argv[1], strlen(argv[1]));
		close_quietly(fd);
	}
	json_result(j, "put", n < 0);
}

static void insert(struct json *j, int argc, char **argv)
{
	int fd = open(argv[0], O_RDONLY | O_CLOEXEC), err = -1;

	if (fd >= 0) {
		err = syscall(SYS_finit_module, fd, argv[1], 0);
		close_quietly(fd);
	}
	json_result(j, "insmod", err);
}

static void removal(struct json *j, int argc, char **argv)
{
	json_result(j, "rmmod", syscall(SYS_delete_module, argv[0], O_NONBLOCK));
}

static void forced_removal(struct json *j, int argc, char **argv)
{
	json_result(j, "rmmod-force",
		    syscall(SYS_delete_module, argv[0], O_NONBLOCK | O_TRUNC));
}

/* A clone of a machine: the time that it is, and randomness that no other clone has. */
static int wake_with(const char *nanoseconds, const char *hex)
{
	struct {
		struct rand_pool_info info;
		uint8_t seed[64];
	} pool = { 0 };
	ssize_t len = parse_hex(hex, pool.seed, sizeof(pool.seed));
	struct timespec now;
	uint64_t ns;
	int fd, err;

	if (len < 0 || parse_number(nanoseconds, &ns))
		return -1;
	if (!len) {
		errno = EINVAL;
		return -1;
	}
	pool.info.entropy_count = len * 8;
	pool.info.buf_size = len;
	now = (struct timespec) { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };
	if (clock_settime(CLOCK_REALTIME, &now))
		return -1;
	fd = open("/dev/random", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	err = ioctl(fd, RNDADDENTROPY, &pool);
	if (!err)
		err = ioctl(fd, RNDRESEEDCRNG);
	close_quietly(fd);
	return err;
}

static void wake(struct json *j, int argc, char **argv)
{
	json_result(j, "wake", wake_with(argv[0], argv[1]));
}

static const struct agent_verb verbs[] = {
	{ "get", "PATH", get, .here = true },
	{ "put", "PATH TEXT", put, .here = true },
	{ "insmod", "FILE PARAMETERS", insert, .here = true },
	{ "rmmod", "NAME", removal, .here = true },
	{ "rmmod-force", "NAME", forced_removal, .here = true },
	{ "wake", "NANOSECONDS HEX", wake, .here = true },
	{ }
};

static struct agent_part kernel = { .verbs = verbs };

AGENT_PART(kernel)
