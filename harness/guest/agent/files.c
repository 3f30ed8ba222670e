// SPDX-License-Identifier: GPL-2.0-only
/* Verbs for the files that are held. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_MAX	(64 * 1024)
#define OPEN_USAGE	"FILE PATH [--flags rdwr|rdonly|creat]"

static uint8_t chunk[1 << 20];

static void open_file(struct json *j, int argc, char **argv)
{
	int flags = O_RDWR, fd;

	for (int i = 2; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(value, "rdonly"))
			flags = O_RDONLY;
		else if (!strcmp(value, "creat"))
			flags = O_RDWR | O_CREAT;
		if (strcmp(argv[i], "--flags") || (flags == O_RDWR && strcmp(value, "rdwr"))) {
			json_usage(j, "open " OPEN_USAGE);
			return;
		}
	}
	fd = faulty_open(argv[1], flags | O_CLOEXEC);
	json_result(j, "open", fd < 0 ? -1 : held_add(HELD_FILE, argv[0], fd));
}

static void close_file(struct json *j, int argc, char **argv)
{
	json_result(j, "close", held_drop(HELD_FILE, argv[0]));
}

int write_all(int fd, const void *from, size_t len, off_t offset)
{
	const uint8_t *data = from;

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

static void write_file(struct json *j, int argc, char **argv)
{
	int fd = held_find(HELD_FILE, argv[0]);
	ssize_t n = fd < 0 ? -1 : faulty_write(fd, argv[1], strlen(argv[1]));

	if (n < 0) {
		json_result(j, "write", -1);
		return;
	}
	json_begin(j, true);
	json_number(j, "written", n);
	json_end(j);
}

static void read_file(struct json *j, int argc, char **argv)
{
	uint64_t len = READ_MAX;
	ssize_t n;
	int fd;

	if (argc > 1 && (argc != 3 || strcmp(argv[1], "--length") || parse_number(argv[2], &len))) {
		json_error(j, "read", EINVAL);
		return;
	}
	fd = held_find(HELD_FILE, argv[0]);
	n = fd < 0 ? -1 : faulty_read(fd, chunk, len < READ_MAX ? len : READ_MAX);
	if (n < 0) {
		json_result(j, "read", -1);
		return;
	}
	json_begin(j, true);
	json_number(j, "length", n);
	json_hex(j, "hex", chunk, n);
	json_end(j);
}

static void seek_file(struct json *j, int argc, char **argv)
{
	int fd = held_find(HELD_FILE, argv[0]), err = -1;
	uint64_t offset;

	if (fd >= 0 && !parse_number(argv[1], &offset))
		err = lseek(fd, offset, SEEK_SET) < 0 ? -1 : 0;
	json_result(j, "seek", err);
}

/* The length of what was read to the end, from the beginning, or -1. */
static off_t digest_of(int fd, uint8_t digest[32])
{
	struct sha256 s;
	off_t at = 0;
	ssize_t n;

	sha256_begin(&s);
	while ((n = pread(fd, chunk, sizeof(chunk), at))) {
		if (n < 0 && errno != EINTR)
			return -1;
		if (n < 0)
			continue;
		sha256_add(&s, chunk, n);
		at += n;
	}
	sha256_end(&s, digest);
	return at;
}

/* Say what a file holds, without moving its offset. */
static void verify_file(struct json *j, int argc, char **argv)
{
	int fd = held_find(HELD_FILE, argv[0]), seals;
	uint8_t digest[32];
	struct stat st;
	off_t len = -1;

	if (fd >= 0 && !fstat(fd, &st))
		len = digest_of(fd, digest);
	if (len < 0) {
		json_result(j, "verify", -1);
		return;
	}
	json_begin(j, true);
	json_number(j, "size", S_ISREG(st.st_mode) ? st.st_size : len);
	json_number(j, "offset", lseek(fd, 0, SEEK_CUR));
	json_number(j, "blocks", st.st_blocks);
	seals = fcntl(fd, F_GET_SEALS);
	if (seals >= 0)
		seals_list(j, "seals", seals);
	json_hex(j, "sha256", digest, sizeof(digest));
	json_end(j);
}

static void list_files(struct json *j, int argc, char **argv)
{
	held_list(j, HELD_FILE);
}

static const struct agent_verb verbs[] = {
	{ "open", OPEN_USAGE, open_file },
	{ "close", "FILE", close_file },
	{ "write", "FILE TEXT", write_file },
	{ "read", "FILE [--length N]", read_file },
	{ "seek", "FILE OFFSET", seek_file },
	{ "verify", "FILE", verify_file },
	{ "files", "", list_files },
	{ }
};

static struct agent_part files = { .verbs = verbs };

AGENT_PART(files)
