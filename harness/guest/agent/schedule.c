// SPDX-License-Identifier: GPL-2.0-only
/* What a race is to do, from a file: README.md says how one looks. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *text_of(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), saved;
	char *text = NULL;
	struct stat st;
	ssize_t n = -1;

	if (fd >= 0 && !fstat(fd, &st))
		text = malloc(st.st_size + 1);
	if (text)
		n = read(fd, text, st.st_size);
	saved = errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

static int op_add(struct race_ops *ops, char *line)
{
	struct race_op *op;
	char *word;

	if (!ops || ops->count == RACE_OPS)
		return -1;
	op = &ops->op[ops->count];
	op->argv = calloc(AGENT_MAX_ARGS + 1, sizeof(*op->argv));
	if (!op->argv)
		return -1;
	ops->count++;
	while ((word = strsep(&line, "\t")) != NULL) {
		if (op->argc == AGENT_MAX_ARGS)
			return -1;
		op->argv[op->argc++] = word;
	}
	return 0;
}

/* "!NAME [NUMBER]": a number, or where the operations that follow belong. */
static int directive(struct race_schedule *s, char *line, struct race_ops **ops)
{
	char *value = strchr(line, ' ');

	if (value)
		*value++ = '\0';
	if (!value && !strcmp(line, "first")) {
		*ops = &s->first;
	} else if (!value && !strcmp(line, "last")) {
		*ops = &s->last;
	} else if (!value && !strcmp(line, "actor")) {
		if (s->actors == RACE_ACTORS)
			return -1;
		*ops = &s->actor[s->actors++];
	} else if (!value) {
		return -1;
	} else if (!strcmp(line, "seed")) {
		return parse_number(value, &s->seed);
	} else if (!strcmp(line, "time")) {
		return parse_number(value, &s->time_ms);
	} else if (!strcmp(line, "grace")) {
		return parse_number(value, &s->grace_ms);
	} else if (!strcmp(line, "rounds")) {
		return parse_number(value, &s->rounds);
	} else if (!strcmp(line, "jitter")) {
		return parse_number(value, &s->jitter_us);
	} else {
		return -1;
	}
	return 0;
}

static void ops_free(struct race_ops *ops)
{
	for (int i = 0; i < ops->count; i++)
		free(ops->op[i].argv);
}

void schedule_free(struct race_schedule *s)
{
	if (!s)
		return;
	ops_free(&s->first);
	ops_free(&s->last);
	for (int i = 0; i < s->actors; i++)
		ops_free(&s->actor[i]);
	free(s->text);
	free(s);
}

struct race_schedule *schedule_read(const char *path)
{
	struct race_schedule *s = calloc(1, sizeof(*s));
	struct race_ops *ops = NULL;
	char *rest, *line;
	int err = 0;

	if (!s)
		return NULL;
	s->text = text_of(path);
	if (!s->text) {
		schedule_free(s);
		return NULL;
	}
	rest = s->text;
	while (!err && (line = strsep(&rest, "\n")) != NULL) {
		if (*line == '!')
			err = directive(s, line + 1, &ops);
		else if (*line)
			err = op_add(ops, line);
	}
	if (!err && s->actors)
		return s;
	schedule_free(s);
	errno = EINVAL;
	return NULL;
}
