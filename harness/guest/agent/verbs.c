// SPDX-License-Identifier: GPL-2.0-only
/* Which verbs there are, and those for the agent itself. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct agent_part *parts;

void agent_add(struct agent_part *part)
{
	part->next = parts;
	parts = part;
}

/* How many words of a request are the verb's name; 0 when it is another's. */
static int words_named(const char *name, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		size_t len = strlen(argv[i]);

		if (strncmp(name, argv[i], len))
			return 0;
		name += len;
		if (!*name)
			return i + 1;
		if (*name++ != ' ')
			return 0;
	}
	return 0;
}

/* Of "close" and "close all" the longer one is meant, when the request has its words. */
const struct agent_verb *verb_find(int argc, char **argv, int *words)
{
	const struct agent_verb *found = NULL;

	*words = 0;
	for (struct agent_part *part = parts; part; part = part->next) {
		for (const struct agent_verb *verb = part->verbs; verb->name; verb++) {
			int named = words_named(verb->name, argc, argv);

			if (named > *words) {
				found = verb;
				*words = named;
			}
		}
	}
	return found;
}

static bool ends_with(const char *word, size_t len, const char *end)
{
	return len >= strlen(end) && !memcmp(word + len - strlen(end), end, strlen(end));
}

/* How many arguments a usage names: see struct agent_verb. */
static void count_arguments(const char *usage, int *least, int *most)
{
	bool optional = false;

	*least = 0;
	*most = 0;
	while (*usage) {
		size_t len = strcspn(usage, " ");

		optional |= *usage == '[';
		*least += !optional;
		++*most;
		if (ends_with(usage, len, "]"))
			optional = false;
		if (ends_with(usage, len, "...") || ends_with(usage, len, "...]"))
			*most = AGENT_MAX_ARGS;
		usage += len;
		usage += strspn(usage, " ");
	}
}

void verb_run(struct json *j, int argc, char **argv)
{
	int words, least, most;
	const struct agent_verb *verb = verb_find(argc, argv, &words);
	char text[256];

	if (!verb) {
		json_usage(j, "no such command");
		return;
	}
	count_arguments(verb->usage, &least, &most);
	if (argc - words < least || argc - words > most) {
		snprintf(text, sizeof(text), "wrong number of arguments: %s %s",
			 verb->name, verb->usage);
		json_usage(j, text);
		return;
	}
	verb->run(j, argc - words, argv + words);
}

/* A name that is there twice would hide a verb. */
bool verbs_are_unique(void)
{
	const struct agent_verb *verb, *other;
	struct agent_part *part, *rest;

	for (part = parts; part; part = part->next) {
		for (rest = part; rest; rest = rest->next) {
			for (verb = part->verbs; verb->name; verb++) {
				other = rest == part ? verb + 1 : rest->verbs;
				while (other->name && strcmp(other->name, verb->name))
					other++;
				if (!other->name)
					continue;
				fprintf(stderr, "harness-agent: two verbs are called '%s'\n",
					verb->name);
				return false;
			}
		}
	}
	return true;
}

static void ping(struct json *j, int argc, char **argv)
{
	json_begin(j, true);
	json_number(j, "pid", getpid());
	json_end(j);
}

static void reset(struct json *j, int argc, char **argv)
{
	int error = 0;

	held_drop_all();
	for (struct agent_part *part = parts; part; part = part->next) {
		if (part->reset && part->reset() && !error)
			error = errno;
	}
	errno = error;
	json_result(j, "reset", error);
}

static void help(struct json *j, int argc, char **argv)
{
	json_begin(j, true);
	json_array(j, "items");
	for (struct agent_part *part = parts; part; part = part->next) {
		for (const struct agent_verb *verb = part->verbs; verb->name; verb++) {
			json_object(j, NULL);
			json_string(j, "verb", verb->name);
			json_string(j, "usage", verb->usage);
			json_object_end(j);
		}
	}
	json_array_end(j);
	json_end(j);
}

static const struct agent_verb verbs[] = {
	{ "ping", "", ping },
	{ "reset", "", reset },
	{ "help", "", help, .here = true },
	{ }
};

static struct agent_part agent = { .verbs = verbs };

AGENT_PART(agent)
