// SPDX-License-Identifier: GPL-2.0-only
/* Numbers and bytes from words. */
#include "agent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int parse_number(const char *text, uint64_t *value)
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

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

ssize_t parse_hex(const char *text, uint8_t *to, size_t most)
{
	size_t len = strlen(text) / 2;

	if (strlen(text) % 2 || len > most)
		goto wrong;
	for (size_t i = 0; i < len; i++) {
		int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);

		if (high < 0 || low < 0)
			goto wrong;
		to[i] = high << 4 | low;
	}
	return len;
wrong:
	errno = EINVAL;
	return -1;
}
