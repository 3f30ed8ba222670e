/* SPDX-License-Identifier: GPL-2.0-only */
/* Pieces of luo-agent: see README.md. */
#ifndef AGENT_H
#define AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define AGENT_SOCKET	"/run/luo-agent.sock"
#define AGENT_PORT	5860
#define AGENT_MAX_ARGS	64
/* One packet; below the default send buffer of a Unix socket. */
#define AGENT_PACKET	(160 * 1024)

/* json.c: one answer, built up; what does not fit sets @full. */
struct json {
	char text[AGENT_PACKET];
	size_t len;
	bool full;
};

void json_begin(struct json *j, bool ok);
void json_raw(struct json *j, const char *text);
void json_string(struct json *j, const char *key, const void *data, size_t len);
void json_number(struct json *j, const char *key, long long value);
void json_hex(struct json *j, const char *key, const void *data, size_t len);
void json_end(struct json *j);
void json_error(struct json *j, const char *op, int error);
void json_usage(struct json *j, const char *message);

/* sha256.c: FIPS 180-4 */
struct sha256 {
	uint32_t state[8];
	uint64_t bytes;
	uint8_t block[64];
};

void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t len);
void sha256_end(struct sha256 *s, uint8_t digest[32]);

/* pattern.c: the bytes that a memfd is filled with */
void pattern_fill(uint8_t *to, uint64_t offset, size_t len, uint64_t seed);

/* commands.c */
void command_run(struct json *j, int argc, char **argv);

#endif
