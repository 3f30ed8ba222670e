/* SPDX-License-Identifier: GPL-2.0-only */
/* What the agent's own files share. */
#ifndef AGENT_INTERNAL_H
#define AGENT_INTERNAL_H

#include "agent.h"

#include <sys/un.h>

#define AGENT_SOCKET	"/run/harness-agent.sock"
#define AGENT_PORT	5860
/* One packet; below the default send buffer of a Unix socket. */
#define AGENT_PACKET	(160 * 1024)

/* One answer, built up; what does not fit sets @full. */
struct json {
	char text[AGENT_PACKET];
	size_t len;
	bool full;
};

void json_amend(struct json *j, const char *key, bool value);

/* The exit status that goes with an answer: 0 it worked, 1 it did not, 2 wrong usage. */
int json_status(const char *text);

/* client.c */
struct sockaddr_un agent_address(void);
void deadline(int fd, int seconds);
int answer(int argc, char **argv);
int lines(void);

/* daemon.c */
int daemon_run(void);
int listen_run(void);

/* verbs.c */
const struct agent_verb *verb_find(int argc, char **argv, int *words);
void verb_run(struct json *j, int argc, char **argv);
bool verbs_are_unique(void);

/* held.c: held_drop_since() closes what was added since held_mark() was asked. */
unsigned long held_mark(void);
void held_drop_since(unsigned long mark);
void held_drop_all(void);

/*
 * schedule.c: what a race is to do (README.md).  The words of an operation point into @text, which
 * stays as long as the schedule.
 */
#define RACE_ACTORS	16
#define RACE_OPS	32

struct race_op {
	int argc;
	char **argv;
};

struct race_ops {
	int count;
	struct race_op op[RACE_OPS];
};

struct race_schedule {
	char *text;
	uint64_t seed, time_ms, grace_ms, rounds, jitter_us;
	int actors;
	struct race_ops first, last, actor[RACE_ACTORS];
};

/* NULL and errno when the file cannot be read, or is no schedule (EINVAL). */
struct race_schedule *schedule_read(const char *path);
void schedule_free(struct race_schedule *s);

/* sha256.c: FIPS 180-4 */
struct sha256 {
	uint32_t state[8];
	uint64_t bytes;
	uint8_t block[64];
};

void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t len);
void sha256_end(struct sha256 *s, uint8_t digest[32]);

#endif
