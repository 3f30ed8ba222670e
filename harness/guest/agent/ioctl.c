// SPDX-License-Identifier: GPL-2.0-only
/* ioctl(2), whatever a driver makes of it. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

int ioctl_parse(struct json *j, struct ioctl_words *words, int argc, char **argv)
{
	ssize_t len = parse_hex(argv[1], words->bytes, sizeof(words->bytes));

	if (len < 0) {
		json_usage(j, "HEX is up to 4096 bytes in lower case hex");
		return -1;
	}
	if (parse_number(argv[0], &words->request) || (argc == 3 && strcmp(argv[2], "read-only"))) {
		json_usage(j, "an ioctl is REQUEST HEX [read-only]");
		return -1;
	}
	/* What a driver reads beyond them is no other request's. */
	memset(words->bytes + len, 0, sizeof(words->bytes) - len);
	words->len = len;
	words->read_only = argc == 3 && len;
	return 0;
}

void ioctl_answer(struct json *j, const char *op, struct ioctl_words *words, int fd)
{
	uint8_t *argument = words->len ? words->bytes : NULL;
	int err, saved;

	if (words->read_only) {
		argument = mmap(NULL, IOCTL_BYTES, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (argument == MAP_FAILED) {
			json_result(j, op, -1);
			return;
		}
		memcpy(argument, words->bytes, words->len);
		mprotect(argument, IOCTL_BYTES, PROT_READ);
	}
	err = faulty_ioctl(fd, words->request, argument);
	saved = errno;
	if (words->read_only)
		munmap(argument, IOCTL_BYTES);
	errno = saved;
	if (err < 0) {
		json_result(j, op, -1);
		return;
	}
	json_begin(j, true);
	if (err)
		json_number(j, "returned", err);
	json_hex(j, "hex", words->bytes, words->len);
	json_end(j);
}

static void ioctl_command(struct json *j, int argc, char **argv)
{
	static struct ioctl_words words;
	int fd;

	if (ioctl_parse(j, &words, argc - 1, argv + 1))
		return;
	fd = held_find(HELD_FILE, argv[0]);
	if (fd < 0)
		json_result(j, "ioctl", -1);
	else
		ioctl_answer(j, "ioctl", &words, fd);
}

static const struct agent_verb verbs[] = {
	{ "ioctl", "FILE REQUEST HEX [read-only]", ioctl_command },
	{ }
};

static struct agent_part ioctls = { .verbs = verbs };

AGENT_PART(ioctls)
