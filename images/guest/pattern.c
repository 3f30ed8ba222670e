// SPDX-License-Identifier: GPL-2.0-only
/*
 * The test pattern: the 64-bit little-endian word at byte offset 8 * i is
 * (seed + i) * 0x9e3779b97f4a7c15 mod 2^64.  Every byte follows from its offset
 * and the seed alone, and no two pages are alike.
 */
#include "agent.h"

#include <string.h>

void pattern_fill(uint8_t *to, uint64_t offset, size_t len, uint64_t seed)
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
