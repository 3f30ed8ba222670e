/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a C file is given that adds verbs to the agent.  README.md has an example.
 *
 * Functions that return int or ssize_t: negative is a failure, and errno says which.
 */
#ifndef AGENT_H
#define AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Words of a request, the verb's own among them. */
#define AGENT_MAX_ARGS	64

struct json;

/*
 * A verb: @name is one word or several, "session create".  @usage names its arguments, which are
 * counted by it before @run is called: what stands in brackets may be left out, and the last may
 * be any number when it ends in three dots, as in "FILE [--flags FLAGS] WORD...".
 *
 * @run answers by one of json_result(), json_usage(), or json_begin() ... json_end(); its @argv
 * begins behind the name.  @here: it runs in the process that asks, not in the daemon, so it
 * needs nothing that the daemon holds.
 */
struct agent_verb {
	const char *name;
	const char *usage;
	void (*run)(struct json *j, int argc, char **argv);
	bool here;
};

/*
 * Verbs that come with a C file; the last is empty.  @reset, if there is one, undoes in the
 * daemon what a test may have left behind, apart from the files that are held: those are closed
 * before it is called.
 */
struct agent_part {
	const struct agent_verb *verbs;
	int (*reset)(void);
	struct agent_part *next;
};

void agent_add(struct agent_part *part);

/* Adds a struct agent_part before main() begins. */
#define AGENT_PART(part)						\
	static void __attribute__((constructor)) part##_begin(void)	\
	{								\
		agent_add(&(part));					\
	}

/*
 * json.c: the answer.  @key is NULL in an array; strings may hold any bytes.  An answer that gets
 * too long ends as a wrong usage.
 */
void json_begin(struct json *j, bool ok);
void json_string(struct json *j, const char *key, const char *text);
void json_bytes(struct json *j, const char *key, const void *data, size_t len);
void json_number(struct json *j, const char *key, long long value);
void json_hex(struct json *j, const char *key, const void *data, size_t len);
void json_array(struct json *j, const char *key);
void json_array_end(struct json *j);
void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_end(struct json *j);

/* Whole answers: that it worked, or errno when @err is not 0; an errno; a wrong usage. */
void json_result(struct json *j, const char *op, int err);
void json_error(struct json *j, const char *op, int error);
void json_usage(struct json *j, const char *message);

/* parse.c: EINVAL when the text is no number, or not so many bytes in lower case hex. */
int parse_number(const char *text, uint64_t *value);
ssize_t parse_hex(const char *text, uint8_t *to, size_t most);

/*
 * held.c: files that stay open between requests, by name; only in the daemon.  Each kind has
 * names of its own, and HELD_FILE is what the agent's verbs mean by FILE.  "reset" closes all
 * kinds, the newest first.
 *
 * held_add() takes over @fd, also when it fails; @kind has to stay.
 */
#define HELD_FILE	"file"

int held_find(const char *kind, const char *name);
int held_add(const char *kind, const char *name, int fd);
int held_drop(const char *kind, const char *name);
void held_list(struct json *j, const char *kind);

/* fault.c: system calls in which "fail-nth" can let an allocation fail. */
int faulty_open(const char *path, int flags);
int faulty_ioctl(int fd, unsigned long request, void *arg);
ssize_t faulty_read(int fd, void *to, size_t len);
ssize_t faulty_write(int fd, const void *from, size_t len);
int faulty_kexec(void);

/*
 * ioctl.c: an ioctl(2) from the words REQUEST HEX [read-only]: any number, any bytes.  Without
 * bytes the address is NULL; what is read-only cannot take the answer.
 */
#define IOCTL_BYTES	4096

struct ioctl_words {
	uint64_t request;
	size_t len;
	bool read_only;
	uint8_t bytes[IOCTL_BYTES];
};

/* ioctl_parse() answers when the words are wrong; ioctl_answer() always, and leaves @fd open. */
int ioctl_parse(struct json *j, struct ioctl_words *words, int argc, char **argv);
void ioctl_answer(struct json *j, const char *op, struct ioctl_words *words, int fd);

/* files.c: all of it at an offset, or -1 and errno. */
int write_all(int fd, const void *from, size_t len, off_t offset);

/* seals.c: the seals of a file (F_ADD_SEALS in fcntl(2)) by name. */
int seals_parse(const char *names, unsigned int *mask);
void seals_list(struct json *j, const char *key, unsigned int mask);

#endif
