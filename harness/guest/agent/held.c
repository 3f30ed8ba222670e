// SPDX-License-Identifier: GPL-2.0-only
/* What the daemon keeps open between requests. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct held {
	struct held *next;
	const char *kind;
	unsigned long number;
	int fd;
	char name[];
};

/* The newest first. */
static struct held *all;
static unsigned long added;

/* Where the pointer to it is; the pointer is NULL when nothing has that name. */
static struct held **place_of(const char *kind, const char *name)
{
	struct held **at = &all;

	while (*at && (strcmp((*at)->kind, kind) || strcmp((*at)->name, name)))
		at = &(*at)->next;
	return at;
}

static int drop(struct held **at)
{
	struct held *h = *at;
	int err;

	*at = h->next;
	err = close(h->fd);
	free(h);
	return err;
}

int held_find(const char *kind, const char *name)
{
	struct held *h = *place_of(kind, name);

	if (h)
		return h->fd;
	errno = EBADF;
	return -1;
}

int held_add(const char *kind, const char *name, int fd)
{
	struct held *h;

	if (*place_of(kind, name)) {
		close(fd);
		errno = EEXIST;
		return -1;
	}
	h = malloc(sizeof(*h) + strlen(name) + 1);
	if (!h) {
		close(fd);
		errno = ENOMEM;
		return -1;
	}
	h->kind = kind;
	h->number = added++;
	h->fd = fd;
	memcpy(h->name, name, strlen(name) + 1);
	h->next = all;
	all = h;
	return 0;
}

int held_drop(const char *kind, const char *name)
{
	struct held **at = place_of(kind, name);

	if (*at)
		return drop(at);
	errno = EBADF;
	return -1;
}

unsigned long held_mark(void)
{
	return added;
}

void held_drop_since(unsigned long mark)
{
	while (all && all->number >= mark)
		drop(&all);
}

void held_drop_all(void)
{
	held_drop_since(0);
}

void held_list(struct json *j, const char *kind)
{
	char target[4096], path[64];
	ssize_t len;

	json_begin(j, true);
	json_array(j, "items");
	for (struct held *h = all; h; h = h->next) {
		if (strcmp(h->kind, kind))
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", h->fd);
		len = readlink(path, target, sizeof(target));
		json_object(j, NULL);
		json_number(j, "fd", h->fd);
		json_string(j, "name", h->name);
		json_bytes(j, "target", target, len < 0 ? 0 : len);
		json_object_end(j);
	}
	json_array_end(j);
	json_end(j);
}
