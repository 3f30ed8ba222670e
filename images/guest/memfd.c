// SPDX-License-Identifier: GPL-2.0-only
/* Verbs for memfds that are filled with a pattern: README.md has the shapes. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint8_t chunk[1 << 20], wanted[1 << 20];

/*
 * The test pattern: the 64-bit little-endian word at byte offset 8 * i is
 * (seed + i) * 0x9e3779b97f4a7c15 mod 2^64.  Every byte follows from its offset
 * and the seed alone, and no two pages are alike.
 */
static void pattern_fill(uint8_t *to, uint64_t offset, size_t len, uint64_t seed)
{
	while (len) {
		uint64_t word = (seed + offset / 8) * 0x9e3779b97f4a7c15ULL;
		size_t skip = offset % 8;
		size_t n = 8 - skip < len ? 8 - skip : len;
		uint8_t bytes[8];

		for (int i = 0; i < 8; i++)
			bytes[i] = word >> (8 * i);
		memcpy(to, bytes + skip, n);
		to += n;
		offset += n;
		len -= n;
	}
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
			err = parse_number(value, &s->size);
		else if (!strcmp(name, "--seed"))
			err = parse_number(value, &s->seed);
		else if (!strcmp(name, "--stride"))
			err = parse_number(value, &s->stride);
		else if (!strcmp(name, "--offset"))
			err = parse_number(value, &s->offset);
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

static int memfd_make(const struct shape *s, const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | (s->seals ? MFD_ALLOW_SEALING : 0));
	uint64_t at = 0;

	if (fd < 0)
		return -1;
	if (ftruncate(fd, s->size))
		goto failed;
	while (at < s->size) {
		size_t len = s->size - at < sizeof(chunk) ? s->size - at : sizeof(chunk);
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

static void memfd_create_shape(struct json *j, int argc, char **argv)
{
	struct shape s;
	int fd = shape_parse(&s, argc - 1, argv + 1) ? -1 : memfd_make(&s, argv[0]);

	json_result(j, "memfd", fd < 0 ? -1 : held_add(HELD_FILE, argv[0], fd));
}

/* Compare a file with the pattern it was made with. */
static void memfd_check(struct json *j, int argc, char **argv)
{
	int fd = held_find(HELD_FILE, argv[0]);
	struct shape s;
	struct stat st;
	uint64_t at = 0;

	if (fd < 0 || shape_parse(&s, argc - 1, argv + 1) || fstat(fd, &st)) {
		json_result(j, "check", -1);
		return;
	}
	while (at < s.size) {
		size_t len = s.size - at < sizeof(chunk) ? s.size - at : sizeof(chunk);
		bool hole;
		ssize_t n;

		len = shape_bytes(&s, at, len, wanted, &hole);
		n = pread(fd, chunk, len, at);
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
		json_string(j, "op", "check");
		json_string(j, "error", "mismatch");
		json_number(j, "first_bad", at);
		json_number(j, "size", st.st_size);
	}
	json_end(j);
}

/* Ask the kernel to take the memory of a file back, as it does when it has too little. */
static void memfd_pageout(struct json *j, int argc, char **argv)
{
	int fd = held_find(HELD_FILE, argv[0]);
	struct stat st;
	uint8_t *at;
	int err;

	if (fd < 0 || fstat(fd, &st)) {
		json_result(j, "pageout", -1);
		return;
	}
	/* Only what is mapped can be given back. */
	at = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (at == MAP_FAILED) {
		json_result(j, "pageout", -1);
		return;
	}
	err = madvise(at, st.st_size, MADV_PAGEOUT);
	json_result(j, "pageout", err);
	munmap(at, st.st_size);
}

#define SHAPE	"[--size BYTES] [--seed N] [--stride BYTES] [--offset BYTES] " \
		"[--pattern full|zero|sparse] [--seal NAMES]"

static const struct agent_verb verbs[] = {
	{ "memfd create", "FILE " SHAPE, memfd_create_shape },
	{ "check", "FILE " SHAPE, memfd_check },
	{ "pageout", "FILE", memfd_pageout },
	{ }
};

static struct agent_part memfds = { .verbs = verbs };

AGENT_PART(memfds)
