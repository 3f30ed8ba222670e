// SPDX-License-Identifier: GPL-2.0-only
/* What the daemon does for its clients: README.md lists the commands. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/liveupdate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE		"/dev/liveupdate"
#define CHUNK		(1 << 20)
#define READ_MAX	(64 * 1024)

/* What is kept open between requests: sessions and files, by name. */
struct held {
	struct held *next;
	bool session;
	int fd;
	char name[];
};

static struct held *held_list;
static uint8_t chunk[CHUNK], wanted[CHUNK];

static struct held *held_find(bool session, const char *name)
{
	struct held *h;

	for (h = held_list; h; h = h->next) {
		if (h->session == session && !strcmp(h->name, name))
			return h;
	}
	errno = EBADF;
	return NULL;
}

/* Takes over @fd: it is closed when the name is taken. */
static int held_add(bool session, const char *name, int fd)
{
	struct held *h;

	if (held_find(session, name)) {
		close(fd);
		errno = EEXIST;
		return -1;
	}
	h = malloc(sizeof(*h) + strlen(name) + 1);
	if (!h) {
		close(fd);
		errno = ENOMEM;
		return -1;
	}
	h->session = session;
	h->fd = fd;
	memcpy(h->name, name, strlen(name) + 1);
	h->next = held_list;
	held_list = h;
	return 0;
}

static int held_drop(struct held *h)
{
	struct held **at = &held_list;
	int err;

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	err = close(h->fd);
	free(h);
	return err;
}

static int number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-') {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

/*
 * Failures on request: what runs between fault_begin() and fault_end() sees its
 * N-th allocation fail (Documentation/fault-injection/fault-injection.rst).
 */
static struct {
	uint64_t nth;			/* 0: nothing is to fail */
	bool opening;			/* open(2) of the device, not the ioctl */
	bool injected;
} fault;

static int fault_begin(bool opening)
{
	char text[24];
	int fd, len, saved;

	if (!fault.nth || fault.opening != opening)
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
static void fault_end(int fd)
{
	int saved = errno;
	char left = '0';

	if (fd < 0)
		return;
	/* What is left of N when it never came to that. */
	if (pread(fd, &left, 1, 0) == 1)
		fault.injected = left == '0';
	if (pwrite(fd, "0", 1, 0) != 1)
		fault.injected = false;
	close(fd);
	errno = saved;
}

static int ioctl_faulty(int fd, unsigned long request, void *arg)
{
	int armed = fault_begin(false);
	int err = ioctl(fd, request, arg);

	fault_end(armed);
	return err;
}

static int device_open(void)
{
	int armed = fault_begin(true);
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	fault_end(armed);
	return fd;
}

/* Answer ok, or with errno when @err is not 0. */
static void answer(struct json *j, const char *op, int err)
{
	if (err) {
		json_error(j, op, errno);
	} else {
		json_begin(j, true);
		json_end(j);
	}
}

/* sessions */

/* Ask the device; it is open for that long only, since it has one opener. */
static int device_ioctl(unsigned long request, const char *name)
{
	/* Both requests have this layout. */
	struct liveupdate_ioctl_create_session arg = { .size = sizeof(arg) };
	int device, err, saved;

	if (strlen(name) > sizeof(arg.name)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	/* A name of full length goes without its NUL: what then is the kernel's business. */
	memcpy(arg.name, name, strlen(name));
	device = device_open();
	if (device < 0)
		return -1;
	err = ioctl_faulty(device, request, &arg);
	saved = errno;
	close(device);
	errno = saved;
	return err ? -1 : arg.fd;
}

static void session_open(struct json *j, const char *op, unsigned long request, const char *name)
{
	int fd;

	if (held_find(true, name)) {
		json_usage(j, "the agent holds a session of that name");
		return;
	}
	fd = device_ioctl(request, name);
	answer(j, op, fd < 0 ? -1 : held_add(true, name, fd));
}

static void session_create(struct json *j, int argc, char **argv)
{
	(void)argc;
	session_open(j, "create", LIVEUPDATE_IOCTL_CREATE_SESSION, argv[0]);
}

static void session_retrieve(struct json *j, int argc, char **argv)
{
	(void)argc;
	session_open(j, "retrieve session", LIVEUPDATE_IOCTL_RETRIEVE_SESSION, argv[0]);
}

static void session_finish(struct json *j, int argc, char **argv)
{
	struct liveupdate_session_finish arg = { .size = sizeof(arg) };
	struct held *h = held_find(true, argv[0]);

	(void)argc;
	answer(j, "finish", h ? ioctl_faulty(h->fd, LIVEUPDATE_SESSION_FINISH, &arg) : -1);
}

static void session_close(struct json *j, int argc, char **argv)
{
	struct held *h = held_find(true, argv[0]);

	(void)argc;
	answer(j, "close session", h ? held_drop(h) : -1);
}

static void list(struct json *j, bool session)
{
	const char *separator = "";
	struct held *h;
	char target[4096], path[64];
	ssize_t len;

	json_begin(j, true);
	json_raw(j, ",\"items\":[");
	for (h = held_list; h; h = h->next) {
		if (h->session != session)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", h->fd);
		len = readlink(path, target, sizeof(target));
		json_raw(j, separator);
		json_raw(j, "{\"fd\":");
		snprintf(path, sizeof(path), "%d", h->fd);
		json_raw(j, path);
		json_string(j, "name", h->name, strlen(h->name));
		json_string(j, "target", target, len < 0 ? 0 : len);
		json_raw(j, "}");
		separator = ",";
	}
	json_raw(j, "]");
	json_end(j);
}

static void session_list(struct json *j, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	list(j, true);
}

static void files_list(struct json *j, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	list(j, false);
}

static void preserve(struct json *j, int argc, char **argv)
{
	struct liveupdate_session_preserve_fd arg = { .size = sizeof(arg) };
	struct held *session = held_find(true, argv[0]);
	struct held *file = held_find(false, argv[2]);
	uint64_t token;

	(void)argc;
	if (!session || !file || number(argv[1], &token)) {
		answer(j, "preserve", -1);
		return;
	}
	arg.fd = file->fd;
	arg.token = token;
	answer(j, "preserve", ioctl_faulty(session->fd, LIVEUPDATE_SESSION_PRESERVE_FD, &arg));
}

static void retrieve(struct json *j, int argc, char **argv)
{
	struct liveupdate_session_retrieve_fd arg = { .size = sizeof(arg) };
	struct held *session = held_find(true, argv[0]);
	uint64_t token;

	(void)argc;
	if (!session || number(argv[1], &token)) {
		answer(j, "retrieve", -1);
		return;
	}
	arg.token = token;
	if (ioctl_faulty(session->fd, LIVEUPDATE_SESSION_RETRIEVE_FD, &arg))
		answer(j, "retrieve", -1);
	else
		answer(j, "retrieve", held_add(false, argv[2], arg.fd));
}

/* files */

static const struct {
	const char *name;
	unsigned int seal;
} seals[] = {
	{ "seal", F_SEAL_SEAL },
	{ "shrink", F_SEAL_SHRINK },
	{ "grow", F_SEAL_GROW },
	{ "write", F_SEAL_WRITE },
	{ "future_write", 0x10 },	/* F_SEAL_FUTURE_WRITE, linux/fcntl.h */
	{ "exec", 0x20 },		/* F_SEAL_EXEC */
};

static int seals_parse(char *text, unsigned int *mask)
{
	char *word, *save = NULL;

	for (word = strtok_r(text, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		size_t i;

		for (i = 0; i < ARRAY_SIZE(seals) && strcmp(word, seals[i].name); i++)
			;
		if (i == ARRAY_SIZE(seals)) {
			errno = EINVAL;
			return -1;
		}
		*mask |= seals[i].seal;
	}
	return 0;
}

/* What a memfd is to look like. */
struct shape {
	uint64_t size, seed, stride, offset;
	unsigned int seals;
	bool filled;
};

/* Options: --size --seed --stride --offset --pattern --seal, each with a value. */
static int shape_parse(struct shape *s, int argc, char **argv)
{
	*s = (struct shape) { .seed = 1, .filled = true };
	for (int i = 0; i + 1 < argc; i += 2) {
		const char *name = argv[i];
		char *value = argv[i + 1];
		int err = 0;

		if (!strcmp(name, "--size"))
			err = number(value, &s->size);
		else if (!strcmp(name, "--seed"))
			err = number(value, &s->seed);
		else if (!strcmp(name, "--stride"))
			err = number(value, &s->stride);
		else if (!strcmp(name, "--offset"))
			err = number(value, &s->offset);
		else if (!strcmp(name, "--seal"))
			err = seals_parse(value, &s->seals);
		else if (!strcmp(name, "--pattern") && !strcmp(value, "zero"))
			s->filled = false;
		else if (!strcmp(name, "--pattern") && !strcmp(value, "sparse"))
			s->stride = s->stride ? s->stride : 64 * 1024;
		else if (strcmp(name, "--pattern") || strcmp(value, "full"))
			err = -1, errno = EINVAL;
		if (err)
			return -1;
	}
	if (argc % 2 || s->stride % 4096) {
		errno = EINVAL;
		return -1;
	}
	return 0;
}

/* The bytes at @offset: pattern, or zeros in a hole; returns how many of @len are alike in that. */
static size_t shape_bytes(const struct shape *s, uint64_t offset, size_t len, uint8_t *to,
			  bool *hole)
{
	uint64_t in = s->stride ? offset % s->stride : 0;
	uint64_t most = len;

	*hole = !s->filled || (s->stride && in >= 4096);
	if (s->stride)
		most = in < 4096 ? 4096 - in : s->stride - in;
	if (most < len)
		len = most;
	if (*hole)
		memset(to, 0, len);
	else
		pattern_fill(to, offset, len, s->seed);
	return len;
}

static int write_all(int fd, const uint8_t *data, size_t len, off_t offset)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		data += n;
		offset += n;
		len -= n;
	}
	return 0;
}

static int memfd_make(const struct shape *s, const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | (s->seals ? MFD_ALLOW_SEALING : 0));
	uint64_t at = 0;

	if (fd < 0)
		return -1;
	if (ftruncate(fd, s->size))
		goto failed;
	while (at < s->size) {
		size_t len = s->size - at < CHUNK ? s->size - at : CHUNK;
		bool hole;

		len = shape_bytes(s, at, len, chunk, &hole);
		if (!hole && write_all(fd, chunk, len, at))
			goto failed;
		at += len;
	}
	if (lseek(fd, s->offset, SEEK_SET) < 0)
		goto failed;
	if (s->seals && fcntl(fd, F_ADD_SEALS, s->seals))
		goto failed;
	return fd;
failed:
	close(fd);
	return -1;
}

static void memfd_command(struct json *j, int argc, char **argv)
{
	struct shape s;
	int fd = shape_parse(&s, argc - 1, argv + 1) ? -1 : memfd_make(&s, argv[0]);

	answer(j, "memfd", fd < 0 ? -1 : held_add(false, argv[0], fd));
}

static void open_command(struct json *j, int argc, char **argv)
{
	int flags = O_RDWR, fd;

	for (int i = 2; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--flags")) {
			json_usage(j, "open NAME PATH [--flags rdwr|rdonly|creat]");
			return;
		}
		if (!strcmp(argv[i + 1], "rdonly")) {
			flags = O_RDONLY;
		} else if (!strcmp(argv[i + 1], "creat")) {
			flags = O_RDWR | O_CREAT;
		} else if (strcmp(argv[i + 1], "rdwr")) {
			json_usage(j, "open NAME PATH [--flags rdwr|rdonly|creat]");
			return;
		}
	}
	fd = open(argv[1], flags | O_CLOEXEC, 0600);
	answer(j, "open", fd < 0 ? -1 : held_add(false, argv[0], fd));
}

static void close_command(struct json *j, int argc, char **argv)
{
	struct held *h = held_find(false, argv[0]);

	(void)argc;
	answer(j, "close", h ? held_drop(h) : -1);
}

static void write_command(struct json *j, int argc, char **argv)
{
	struct held *h = held_find(false, argv[0]);
	size_t len = strlen(argv[1]);
	ssize_t n;

	(void)argc;
	if (!h) {
		answer(j, "write", -1);
		return;
	}
	n = write(h->fd, argv[1], len);
	if (n < 0) {
		answer(j, "write", -1);
		return;
	}
	json_begin(j, true);
	json_number(j, "written", n);
	json_end(j);
}

static void read_command(struct json *j, int argc, char **argv)
{
	struct held *h = held_find(false, argv[0]);
	uint64_t len = READ_MAX;
	ssize_t n;

	if (argc == 3 && (strcmp(argv[1], "--length") || number(argv[2], &len)))
		h = NULL, errno = EINVAL;
	n = h ? read(h->fd, chunk, len < READ_MAX ? len : READ_MAX) : -1;
	if (n < 0) {
		answer(j, "read", -1);
		return;
	}
	json_begin(j, true);
	json_number(j, "length", n);
	json_hex(j, "hex", chunk, n);
	json_end(j);
}

static void seek_command(struct json *j, int argc, char **argv)
{
	struct held *h = held_find(false, argv[0]);
	uint64_t offset;

	(void)argc;
	if (!h || number(argv[1], &offset))
		answer(j, "seek", -1);
	else
		answer(j, "seek", lseek(h->fd, offset, SEEK_SET) < 0 ? -1 : 0);
}

/* Say what a file holds, without moving its offset. */
static void verify_command(struct json *j, int argc, char **argv)
{
	struct held *h = held_find(false, argv[0]);
	const char *separator = "";
	uint8_t digest[32];
	struct sha256 s;
	struct stat st;
	off_t at = 0;
	int mask;

	(void)argc;
	if (!h || fstat(h->fd, &st)) {
		answer(j, "verify", -1);
		return;
	}
	sha256_begin(&s);
	for (;;) {
		ssize_t n = pread(h->fd, chunk, CHUNK, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			answer(j, "verify", -1);
			return;
		}
		if (!n)
			break;
		sha256_add(&s, chunk, n);
		at += n;
	}
	sha256_end(&s, digest);
	json_begin(j, true);
	json_number(j, "size", S_ISREG(st.st_mode) ? st.st_size : at);
	json_number(j, "offset", lseek(h->fd, 0, SEEK_CUR));
	json_number(j, "blocks", st.st_blocks);
	mask = fcntl(h->fd, F_GET_SEALS);
	if (mask >= 0) {
		json_raw(j, ",\"seals\":[");
		for (size_t i = 0; i < ARRAY_SIZE(seals); i++) {
			if (!(mask & seals[i].seal))
				continue;
			json_raw(j, separator);
			json_raw(j, "\"");
			json_raw(j, seals[i].name);
			json_raw(j, "\"");
			separator = ",";
		}
		json_raw(j, "]");
	}
	json_hex(j, "sha256", digest, sizeof(digest));
	json_end(j);
}

/* Compare a file with the pattern it was made with. */
static void check_command(struct json *j, int argc, char **argv)
{
	struct held *h = held_find(false, argv[0]);
	struct shape s;
	struct stat st;
	uint64_t at = 0;

	if (!h || shape_parse(&s, argc - 1, argv + 1) || fstat(h->fd, &st)) {
		answer(j, "check", -1);
		return;
	}
	while (at < s.size) {
		size_t len = s.size - at < CHUNK ? s.size - at : CHUNK;
		bool hole;
		ssize_t n;

		len = shape_bytes(&s, at, len, wanted, &hole);
		n = pread(h->fd, chunk, len, at);
		for (ssize_t i = 0; i < n; i++) {
			if (chunk[i] != wanted[i]) {
				n = i;
				break;
			}
		}
		at += n < 0 ? 0 : n;
		if (n != (ssize_t)len)
			break;
	}
	json_begin(j, at == s.size && (uint64_t)st.st_size == s.size);
	if (at != s.size || (uint64_t)st.st_size != s.size) {
		json_raw(j, ",\"op\":\"check\",\"error\":\"mismatch\"");
		json_number(j, "first_bad", at);
		json_number(j, "size", st.st_size);
	}
	json_end(j);
}

/* the interface itself */

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * ioctl(2) with any number and any bytes, on a held session or on the device (".device").
 * Without bytes the address is NULL; "read-only" bytes cannot take the answer.
 */
static void raw_ioctl(struct json *j, int argc, char **argv)
{
	bool on_device = !strcmp(argv[0], ".device");
	struct held *h = on_device ? NULL : held_find(true, argv[0]);
	bool read_only = argc == 4 && !strcmp(argv[3], "read-only");
	size_t len = strlen(argv[2]) / 2;
	int fd = h ? h->fd : -1, err, saved;
	uint8_t *argument = len ? chunk : NULL;
	uint64_t request;

	if (number(argv[1], &request) || strlen(argv[2]) % 2 || len > 4096 ||
	    (argc == 4 && !read_only)) {
		json_usage(j, "raw SESSION|.device REQUEST HEX [read-only]");
		return;
	}
	for (size_t i = 0; i < len; i++) {
		int high = nibble(argv[2][2 * i]), low = nibble(argv[2][2 * i + 1]);

		if (high < 0 || low < 0) {
			json_usage(j, "raw takes bytes in lower case hex");
			return;
		}
		chunk[i] = high << 4 | low;
	}
	if (on_device)
		fd = device_open();
	if (fd < 0) {
		answer(j, "raw", -1);
		return;
	}
	if (read_only) {
		argument = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (argument == MAP_FAILED)
			abort();
		memcpy(argument, chunk, len);
		mprotect(argument, 4096, PROT_READ);
	}
	err = ioctl_faulty(fd, request, argument);
	saved = errno;
	if (read_only)
		munmap(argument, 4096);
	if (on_device)
		close(fd);
	errno = saved;
	if (err) {
		answer(j, "raw", -1);
		return;
	}
	json_begin(j, true);
	json_hex(j, "hex", chunk, len);
	json_end(j);
}

/* fail-nth N open|ioctl COMMAND...: let an allocation of that command fail. */
static void fail_nth(struct json *j, int argc, char **argv)
{
	uint64_t nth;

	if (fault.nth || number(argv[0], &nth) || !nth ||
	    (strcmp(argv[1], "open") && strcmp(argv[1], "ioctl"))) {
		json_usage(j, "fail-nth N open|ioctl COMMAND...");
		return;
	}
	fault.nth = nth;
	fault.opening = !strcmp(argv[1], "open");
	fault.injected = false;
	command_run(j, argc - 2, argv + 2);
	/* Into the object that the command has ended. */
	if (!j->full && j->len && j->text[j->len - 1] == '}') {
		j->text[--j->len] = '\0';
		json_raw(j, fault.injected ? ",\"injected\":true" : ",\"injected\":false");
		json_raw(j, "}");
	}
	fault.nth = 0;
}

/* the agent itself */

static void ping(struct json *j, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	json_begin(j, true);
	json_number(j, "pid", getpid());
	json_end(j);
}

static void reset(struct json *j, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	/* Newest first: sessions go before or after their files, LUO must not care. */
	while (held_list)
		held_drop(held_list);
	json_begin(j, true);
	json_end(j);
}

/* How deep a name or an argument list may go is checked here, once. */
static const struct {
	const char *group;
	const char *name;
	int least, most;
	void (*run)(struct json *j, int argc, char **argv);
} commands[] = {
	{ "session", "create", 1, 1, session_create },
	{ "session", "retrieve", 1, 1, session_retrieve },
	{ "session", "finish", 1, 1, session_finish },
	{ "session", "close", 1, 1, session_close },
	{ "session", "list", 0, 0, session_list },
	{ "memfd", "create", 1, 13, memfd_command },
	{ NULL, "preserve", 3, 3, preserve },
	{ NULL, "retrieve", 3, 3, retrieve },
	{ NULL, "open", 2, 4, open_command },
	{ NULL, "close", 1, 1, close_command },
	{ NULL, "write", 2, 2, write_command },
	{ NULL, "read", 1, 3, read_command },
	{ NULL, "seek", 2, 2, seek_command },
	{ NULL, "verify", 1, 1, verify_command },
	{ NULL, "check", 1, 13, check_command },
	{ NULL, "raw", 3, 4, raw_ioctl },
	{ NULL, "fail-nth", 3, AGENT_MAX_ARGS, fail_nth },
	{ NULL, "files", 0, 0, files_list },
	{ NULL, "ping", 0, 0, ping },
	{ NULL, "reset", 0, 0, reset },
};

void command_run(struct json *j, int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		int words = commands[i].group ? 2 : 1;

		if (argc < words)
			continue;
		if (commands[i].group && strcmp(argv[0], commands[i].group))
			continue;
		if (strcmp(argv[words - 1], commands[i].name))
			continue;
		if (argc - words < commands[i].least || argc - words > commands[i].most) {
			json_usage(j, "wrong number of arguments");
			return;
		}
		commands[i].run(j, argc - words, argv + words);
		return;
	}
	json_usage(j, "no such command");
}
