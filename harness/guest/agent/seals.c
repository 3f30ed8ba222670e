// SPDX-License-Identifier: GPL-2.0-only
/* Seals by name: see F_ADD_SEALS in fcntl(2). */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

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

static bool is_name(const char *word, size_t len, const char *name)
{
	return strlen(name) == len && !strncmp(word, name, len);
}

int seals_parse(const char *names, unsigned int *mask)
{
	size_t len, i;

	for (; *names; names += len) {
		names += strspn(names, ",");
		len = strcspn(names, ",");
		if (!len)
			continue;
		for (i = 0; i < ARRAY_SIZE(seals) && !is_name(names, len, seals[i].name); i++)
			;
		if (i == ARRAY_SIZE(seals)) {
			errno = EINVAL;
			return -1;
		}
		*mask |= seals[i].seal;
	}
	return 0;
}

void seals_list(struct json *j, const char *key, unsigned int mask)
{
	json_array(j, key);
	for (size_t i = 0; i < ARRAY_SIZE(seals); i++) {
		if (mask & seals[i].seal)
			json_string(j, NULL, seals[i].name);
	}
	json_array_end(j);
}
