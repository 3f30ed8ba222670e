// SPDX-License-Identifier: GPL-2.0-only
/*
 * luo-agent: keep live update sessions and files open, apart from any login.
 *
 *   luo-agent daemon            serve requests until killed
 *   luo-agent lines             commands from standard input, one a line
 *   luo-agent listen            the same for all who connect, until killed
 *   luo-agent COMMAND ARGS...   one command; README.md lists them
 *
 * A request is one packet, its words separated by NUL; the answer is one packet,
 * one JSON object.  Exit status: 0 it worked, 1 it failed (the answer says how),
 * 2 wrong usage, 3 the daemon does not answer.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <linux/reboot.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CLIENT_SECONDS	120
#define SERVER_SECONDS	5
#define REFUSED		"harness: kexec refused: "

static struct json json;
static char packet[AGENT_PACKET];

static struct sockaddr_un address(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *path = getenv("LUO_AGENT_SOCKET");

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path ? path : AGENT_SOCKET);
	return a;
}

static void deadline(int fd, int seconds)
{
	struct timeval tv = { .tv_sec = seconds };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

/* the daemon */

/* Split a packet into words; -1 when it is not one. */
static int words_of(char *data, size_t len, char **argv)
{
	int argc = 0;

	if (!len || data[len - 1])
		return -1;
	for (size_t at = 0; at < len; at += strlen(data + at) + 1) {
		if (argc == AGENT_MAX_ARGS)
			return -1;
		argv[argc++] = data + at;
	}
	argv[argc] = NULL;
	return argc;
}

static void serve(int client)
{
	char *argv[AGENT_MAX_ARGS + 1];
	ssize_t len;
	int argc;

	deadline(client, SERVER_SECONDS);
	len = recv(client, packet, sizeof(packet), MSG_TRUNC);
	if (len <= 0)
		return;
	argc = len > (ssize_t)sizeof(packet) ? -1 : words_of(packet, len, argv);
	if (argc < 1)
		json_usage(&json, "not a request");
	else
		command_run(&json, argc, argv);
	send(client, json.text, json.len, MSG_NOSIGNAL);
}

/* Go on in the background; whoever started the program goes on as well. */
static void detach(void)
{
	int null;

	switch (fork()) {
	case -1:
		perror("fork");
		exit(3);
	case 0:
		break;
	default:
		exit(0);
	}
	setsid();
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	signal(SIGPIPE, SIG_IGN);
}

static int daemon_run(void)
{
	struct rlimit files = { .rlim_cur = 65536, .rlim_max = 65536 };
	struct sockaddr_un a = address();
	int listener;

	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	unlink(a.sun_path);
	if (listener < 0 || bind(listener, (void *)&a, sizeof(a)) || listen(listener, 64)) {
		perror(a.sun_path);
		return 3;
	}
	chmod(a.sun_path, 0600);
	setrlimit(RLIMIT_NOFILE, &files);

	/* The socket takes requests from here on, so the caller may go on. */
	detach();
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			continue;
		serve(client);
		close(client);
	}
}

/* the client */

static int no_answer(void)
{
	json_error(&json, "agent", errno);
	puts(json.text);
	return 3;
}

/* Pass a request on to the daemon, and its answer to standard output. */
static int request(int argc, char **argv)
{
	struct sockaddr_un a = address();
	size_t len = 0;
	ssize_t n;
	int fd;

	for (int i = 0; i < argc; i++) {
		size_t word = strlen(argv[i]) + 1;

		if (len + word > sizeof(packet)) {
			errno = E2BIG;
			return no_answer();
		}
		memcpy(packet + len, argv[i], word);
		len += word;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return no_answer();
	deadline(fd, CLIENT_SECONDS);
	if (connect(fd, (void *)&a, sizeof(a)) || send(fd, packet, len, MSG_NOSIGNAL) < 0) {
		close(fd);
		return no_answer();
	}
	n = recv(fd, packet, sizeof(packet) - 1, 0);
	/*
	 * A kernel that looks for a packet and then for the end, just when both arrive, tells of
	 * the end alone (__skb_wait_for_more_packets() in net/core/datagram.c).
	 */
	if (!n)
		n = recv(fd, packet, sizeof(packet) - 1, MSG_DONTWAIT);
	close(fd);
	if (n <= 0) {
		errno = n ? errno : ECONNRESET;
		return no_answer();
	}
	packet[n] = '\0';
	puts(packet);
	if (!strncmp(packet, "{\"ok\":true", 10))
		return 0;
	return strstr(packet, "\"error\":\"usage\"") ? 2 : 1;
}

/* what needs no daemon, and no program to be started for it: see lines() */

static int get(char **argv)
{
	static char content[AGENT_PACKET / 2];
	size_t len = 0;
	ssize_t n;
	int fd;

	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while ((n = read(fd, content + len, sizeof(content) - len)) > 0)
		len += n;
	close(fd);
	if (n < 0)
		return -1;
	if (len == sizeof(content)) {
		errno = EFBIG;
		return -1;
	}
	json_begin(&json, true);
	json_string(&json, "content", content, len);
	json_end(&json);
	return 0;
}

static int put(char **argv)
{
	int fd = open(argv[1], O_WRONLY | O_CLOEXEC);
	ssize_t n;
	int saved;

	if (fd < 0)
		return -1;
	n = write(fd, argv[2], strlen(argv[2]));
	saved = errno;
	close(fd);
	errno = saved;
	return n < 0 ? -1 : 0;
}

static int insert(char **argv)
{
	int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	int err, saved;

	if (fd < 0)
		return -1;
	err = syscall(SYS_finit_module, fd, argv[2], 0);
	saved = errno;
	close(fd);
	errno = saved;
	return err;
}

static int removal(char **argv)
{
	return syscall(SYS_delete_module, argv[1], O_NONBLOCK);
}

static int forced_removal(char **argv)
{
	return syscall(SYS_delete_module, argv[1], O_NONBLOCK | O_TRUNC);
}

/* The first @length bytes of a file, as a file. */
static int beginning_of(const char *path, uint64_t length)
{
	static char piece[1 << 16];
	int from = open(path, O_RDONLY | O_CLOEXEC), to = -1, saved;
	ssize_t n = -1;

	if (from >= 0)
		to = memfd_create("beginning", MFD_CLOEXEC);
	while (to >= 0 && length) {
		n = read(from, piece, length < sizeof(piece) ? length : sizeof(piece));
		if (n <= 0 || write(to, piece, n) != n)
			break;
		length -= n;
	}
	saved = n ? errno : ENODATA;
	close(from);
	if (length && to >= 0) {
		close(to);
		to = -1;
	}
	errno = saved;
	return to;
}

static int kexec_load(char **argv)
{
	int kernel = open(argv[1], O_RDONLY | O_CLOEXEC);
	int initrd = beginning_of(argv[2], strtoull(argv[3], NULL, 10));
	int err = -1, saved;

	/* The length counts the terminating NUL (kernel/kexec_file.c). */
	if (kernel >= 0 && initrd >= 0)
		err = syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[4]) + 1,
			      argv[4], 0UL);
	saved = errno;
	close(kernel);
	close(initrd);
	errno = saved;
	return err;
}

/* Whoever asks is gone when it works; why it did not is told on the console. */
static int kexec(char **argv)
{
	int saved, fd;

	(void)argv;
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	saved = errno;
	fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0) {
		dprintf(fd, REFUSED "%s\n", strerrorname_np(saved));
		close(fd);
	}
	errno = saved;
	return -1;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A clone of a machine: the time that it is, and randomness that no other clone has. */
static int wake(char **argv)
{
	struct {
		struct rand_pool_info info;
		uint8_t seed[64];
	} pool = { 0 };
	uint64_t ns = strtoull(argv[1], NULL, 10);
	struct timespec now = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	size_t len = strlen(argv[2]) / 2;
	int fd, err, saved;

	if (!len || len > sizeof(pool.seed) || strlen(argv[2]) % 2) {
		errno = EINVAL;
		return -1;
	}
	for (size_t i = 0; i < len; i++) {
		int high = nibble(argv[2][2 * i]), low = nibble(argv[2][2 * i + 1]);

		if (high < 0 || low < 0) {
			errno = EINVAL;
			return -1;
		}
		pool.seed[i] = high << 4 | low;
	}
	pool.info.entropy_count = len * 8;
	pool.info.buf_size = len;
	if (clock_settime(CLOCK_REALTIME, &now))
		return -1;
	fd = open("/dev/random", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	err = ioctl(fd, RNDADDENTROPY, &pool);
	if (!err)
		err = ioctl(fd, RNDRESEEDCRNG);
	saved = errno;
	close(fd);
	errno = saved;
	return err;
}

static const struct {
	const char *name;
	int argc;
	int (*run)(char **argv);
} locals[] = {
	{ "wake", 3, wake },
	{ "kexec-load", 5, kexec_load },
	{ "kexec", 1, kexec },
	{ "get", 2, get },
	{ "put", 3, put },
	{ "insmod", 3, insert },
	{ "rmmod", 2, removal },
	{ "rmmod-force", 2, forced_removal },
};

/* Returns 0 when the command worked. */
static int answer(int argc, char **argv)
{
	int err;

	for (size_t i = 0; i < ARRAY_SIZE(locals); i++) {
		if (argc != locals[i].argc || strcmp(argv[0], locals[i].name))
			continue;
		json.len = 0;
		err = locals[i].run(argv);
		if (err) {
			json_error(&json, argv[0], errno);
		} else if (!json.len) {
			json_begin(&json, true);
			json_end(&json);
		}
		puts(json.text);
		return err;
	}
	return request(argc, argv);
}

static int words_of_line(char *line, char **argv)
{
	char *rest = line, *word;
	int argc = 0;

	line[strcspn(line, "\n")] = '\0';
	while (argc < AGENT_MAX_ARGS && (word = strsep(&rest, "\t")))
		argv[argc++] = word;
	argv[argc] = NULL;
	return argc;
}

/*
 * An answer for each line, until the input ends.  "batch N" has no answer of its own: of the
 * N lines after it, those behind the first that fails are left out.
 */
static int lines(void)
{
	char *line = NULL, *argv[AGENT_MAX_ARGS + 1];
	unsigned long batch = 0;
	bool failed = false;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 0) {
		int argc = words_of_line(line, argv);

		if (!batch && argc == 2 && !strcmp(argv[0], "batch")) {
			batch = strtoul(argv[1], NULL, 10);
			failed = false;
			continue;
		}
		if (!batch || !failed) {
			failed = answer(argc, argv) != 0;
			fflush(stdout);
		}
		if (batch)
			batch--;
	}
	free(line);
	return 0;
}

/* Whoever connects talks to a process of its own, and starts none: fork() is cheap here. */
static int listen_run(void)
{
	const char *port = getenv("LUO_AGENT_PORT");
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons(port ? atoi(port) : AGENT_PORT),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listener < 0 || bind(listener, (void *)&a, sizeof(a)) || listen(listener, 64)) {
		perror("listen");
		return 3;
	}
	detach();
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			continue;
		if (!fork()) {
			setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			dup2(client, STDIN_FILENO);
			dup2(client, STDOUT_FILENO);
			close(client);
			close(listener);
			exit(lines());
		}
		close(client);
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "daemon"))
		return daemon_run();
	if (argc == 2 && !strcmp(argv[1], "lines"))
		return lines();
	if (argc == 2 && !strcmp(argv[1], "listen"))
		return listen_run();
	if (argc > 1 && argc - 1 <= AGENT_MAX_ARGS)
		return request(argc - 1, argv + 1);
	json_usage(&json, "luo-agent daemon | lines | listen | COMMAND ARGS...");
	puts(json.text);
	return 2;
}
