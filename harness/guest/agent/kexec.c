// SPDX-License-Identifier: GPL-2.0-only
/* Verbs that load another kernel and go there. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REFUSED		"harness: kexec refused: "

static int copy(int from, int to, uint64_t length)
{
	static char piece[1 << 16];

	for (uint64_t at = 0; at < length;) {
		uint64_t left = length - at;
		ssize_t n = read(from, piece, left < sizeof(piece) ? left : sizeof(piece));

		if (!n)
			errno = ENODATA;
		if (n <= 0 || write_all(to, piece, n, at))
			return -1;
		at += n;
	}
	return 0;
}

/*
 * The first @length bytes of a file, as a file without a name.  The kernel reads none that is
 * open for writing (kernel_read_file() in fs/kernel_read_file.c), so it is opened once more.
 */
static int beginning_of(const char *path, uint64_t length)
{
	int from = open(path, O_RDONLY | O_CLOEXEC), to = -1, fd = -1, saved;
	char name[32];

	if (from >= 0)
		to = open("/run", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (to >= 0 && !copy(from, to, length)) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", to);
		fd = open(name, O_RDONLY | O_CLOEXEC);
	}
	saved = errno;
	close(from);
	close(to);
	errno = saved;
	return fd;
}

static void kexec_load(struct json *j, int argc, char **argv)
{
	int kernel = open(argv[0], O_RDONLY | O_CLOEXEC), initrd = -1, err = -1, saved;
	uint64_t length;

	if (kernel >= 0 && !parse_number(argv[2], &length))
		initrd = beginning_of(argv[1], length);
	/* The length counts the terminating NUL (kernel/kexec_file.c). */
	if (initrd >= 0)
		err = syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[3]) + 1,
			      argv[3], 0UL);
	saved = errno;
	close(kernel);
	close(initrd);
	errno = saved;
	json_result(j, "kexec-load", err);
}

/*
 * A packet that comes while the kernel resets the network card keeps virtnet_poll() in its loop for
 * ever (drivers/net/virtio_net.c; seen in 7.0.13 and 7.2.13): the card is taken down before.
 */
static void network(bool up)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { .ifr_name = "eth0" };

	if (fd >= 0 && !ioctl(fd, SIOCGIFFLAGS, &req)) {
		req.ifr_flags = up ? req.ifr_flags | IFF_UP : req.ifr_flags & ~IFF_UP;
		ioctl(fd, SIOCSIFFLAGS, &req);
	}
	close(fd);
}

/* Whoever asks is gone when it works; why it did not is told on the console. */
static void kexec(struct json *j, int argc, char **argv)
{
	int saved, fd;

	network(false);
	faulty_kexec();
	saved = errno;
	network(true);
	fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0) {
		dprintf(fd, REFUSED "%s\n", strerrorname_np(saved));
		close(fd);
	}
	json_error(j, "kexec", saved);
}

/* For one who expects to be refused, and often. */
static void kexec_try(struct json *j, int argc, char **argv)
{
	json_result(j, "kexec-try", faulty_kexec());
}

static const struct agent_verb verbs[] = {
	{ "kexec-load", "KERNEL INITRD BYTES CMDLINE", kexec_load, .here = true },
	{ "kexec", "", kexec, .here = true },
	{ "kexec-try", "", kexec_try, .here = true },
	{ }
};

static struct agent_part kexecs = { .verbs = verbs };

AGENT_PART(kexecs)
