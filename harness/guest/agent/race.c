// SPDX-License-Identifier: GPL-2.0-only
/*
 * Races: actors on all CPUs, each a process of its own that shares its descriptors with the others
 * and gives itself verbs, as a schedule says.  README.md has the schedules.
 *
 * The daemon forks the stage, and that the actors: what the stage held when a round began, each of
 * them holds by the same names.  So the daemon can go on, and nothing stays open behind a race.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOURNAL_MAGIC	0x4c414e52554f4a52ULL
#define JOURNAL_RECORDS	256
/* Statuses: errno, and these. */
#define STATUS_FAILED	(ERRNOS - 2)	/* an answer without an errno: "check", say */
#define STATUS_USAGE	(ERRNOS - 1)
#define STATUS_BEGUN	ERRNOS
#define ERRNOS		136

#define WAIT_MS		3000

/* What an actor did last; @status is STATUS_BEGUN until the operation has returned. */
struct record {
	uint64_t round;
	uint32_t op;
	uint32_t status;
};

/* @count records were begun, the last of them are there; @unmade is why there is no actor. */
struct diary {
	uint64_t count;
	uint32_t op, stuck, died, unmade;
	struct record records[JOURNAL_RECORDS];
	uint32_t statuses[RACE_OPS][ERRNOS];
};

/*
 * Everything that is known about a race, in memory that its processes share.  In a file it may
 * outlive the kernel: nothing in it is an address.
 */
struct journal {
	uint64_t magic;
	uint32_t actors, done, arrived;
	/* An operation of "first" or "last" that failed ended the race. */
	uint32_t failed, failed_op, failed_last;
	uint64_t rounds;
	struct diary diaries[RACE_ACTORS];
};

static struct {
	struct journal *journal;
	pid_t stage, group;	/* 0: it has ended; and so has all that it began */
} race;

static struct json json;
static atomic_bool alarmed;

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ULL + t.tv_nsec / 1000;
}

/* xorshift64*, Vigna 2016 */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

/* Half of the time none; short ones keep the processor. */
static void wait_somewhat(uint64_t *random, uint64_t most_us)
{
	uint64_t us, until;

	if (!most_us || next_random(random) >> 63)
		return;
	us = next_random(random) % most_us;
	if (us > 1000) {
		usleep(us);
		return;
	}
	until = now_us() + us;
	while (now_us() < until)
		;
}

/* A word with %r and %a in it: the round and the actor. */
static char *word_for(char *word, char *to, size_t size, uint64_t round, int actor)
{
	size_t len = 0;

	if (!strchr(word, '%'))
		return word;
	for (; *word && len + 24 < size; word++) {
		if (word[0] == '%' && word[1] == 'r') {
			len += snprintf(to + len, size - len, "%llu", (unsigned long long)round);
		} else if (word[0] == '%' && word[1] == 'a') {
			len += snprintf(to + len, size - len, "%d", actor);
		} else {
			to[len++] = *word;
			continue;
		}
		word++;
	}
	to[len] = '\0';
	return to;
}

/* 0, an errno, STATUS_FAILED or STATUS_USAGE. */
static uint32_t perform(const struct race_op *op, uint64_t round, int actor)
{
	static char words[AGENT_MAX_ARGS][512];
	char *argv[AGENT_MAX_ARGS + 1], *said;
	uint32_t status;

	for (int i = 0; i < op->argc; i++)
		argv[i] = word_for(op->argv[i], words[i], sizeof(words[i]), round, actor);
	argv[op->argc] = NULL;
	verb_run(&json, op->argc, argv);
	status = json_status(json.text);
	if (status != 1)
		return status ? STATUS_USAGE : 0;
	said = strstr(json.text, "\"errno\":");
	status = said ? strtoul(said + strlen("\"errno\":"), NULL, 10) : 0;
	return status && status < STATUS_FAILED ? status : STATUS_FAILED;
}

static void act(struct diary *d, const struct race_ops *ops, int op, uint64_t round, int actor)
{
	struct record *r = &d->records[d->count % JOURNAL_RECORDS];
	uint32_t status;

	r->round = round;
	r->op = op;
	r->status = STATUS_BEGUN;
	d->op = op;
	/* Another kernel may read this: it is there before the operation begins. */
	__atomic_store_n(&d->count, d->count + 1, __ATOMIC_SEQ_CST);
	status = perform(&ops->op[op], round, actor);
	__atomic_store_n(&r->status, status, __ATOMIC_SEQ_CST);
	d->statuses[op][status]++;
}

static void pin(int actor)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(actor % (cpus > 0 ? cpus : 1), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Once through the operations in each round, or on and on until the time is over. */
static void actor_run(const struct race_schedule *s, struct journal *journal, int actor,
		      uint64_t round, uint64_t until)
{
	uint64_t random = (s->seed + 1) * 0x9e3779b97f4a7c15ULL ^ (round << 8) ^ (actor + 1);
	const struct race_ops *ops = &s->actor[actor];
	struct diary *d = &journal->diaries[actor];
	unsigned long mark = held_mark();

	pin(actor);
	__atomic_add_fetch(&journal->arrived, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&journal->arrived, __ATOMIC_SEQ_CST) < journal->actors)
		sched_yield();
	do {
		for (int op = 0; op < ops->count && now_us() < until; op++) {
			wait_somewhat(&random, s->jitter_us);
			act(d, ops, op, round, actor);
		}
		if (!s->rounds)
			round++;
	} while (!s->rounds && ops->count && now_us() < until);
	held_drop_since(mark);
	_exit(0);
}

static void on_alarm(int signal)
{
	alarmed = true;
}

static void alarm_at(uint64_t us)
{
	uint64_t now = now_us(), in = us > now ? us - now : 1;
	struct itimerval timer = {
		.it_value = { .tv_sec = in / 1000000, .tv_usec = in % 1000000 },
		/* Once more, for one that comes just before the wait. */
		.it_interval = { .tv_usec = 100000 },
	};

	alarmed = false;
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Wait for the actors; true when all have ended before the alarm. */
static bool wait_for(struct journal *journal, pid_t *pids, int *left)
{
	while (*left && !alarmed) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);

		for (uint32_t i = 0; pid > 0 && i < journal->actors; i++) {
			if (pids[i] != pid)
				continue;
			pids[i] = 0;
			--*left;
			if (WIFSIGNALED(status))
				journal->diaries[i].died = WTERMSIG(status);
		}
	}
	return !*left;
}

/* False when an actor did not end, died or could not be made: no round is to follow. */
static bool round_run(const struct race_schedule *s, struct journal *journal, uint64_t round,
		      uint64_t until)
{
	pid_t pids[RACE_ACTORS] = { 0 };
	int left = 0;

	journal->arrived = 0;
	for (int i = 0; i < s->actors; i++) {
		/* As fork(), but files that one opens or closes are open or closed for all. */
		pids[i] = syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
		if (!pids[i])
			actor_run(s, journal, i, round, until);
		if (pids[i] < 0)
			journal->diaries[i].unmade = errno;
		left += pids[i] > 0;
	}
	/* Without those that could not be made nobody would go. */
	__atomic_add_fetch(&journal->arrived, s->actors - left, __ATOMIC_SEQ_CST);
	alarm_at(until + s->grace_ms * 1000);
	if (!wait_for(journal, pids, &left)) {
		for (int i = 0; i < s->actors; i++) {
			if (pids[i] > 0) {
				journal->diaries[i].stuck = 1;
				kill(pids[i], SIGKILL);
			}
		}
		return false;
	}
	for (int i = 0; i < s->actors; i++) {
		if (journal->diaries[i].died || journal->diaries[i].unmade)
			return false;
	}
	return true;
}

static bool all_ops(struct journal *journal, const struct race_ops *ops, uint64_t round,
		    bool last)
{
	for (int op = 0; op < ops->count; op++) {
		uint32_t status = perform(&ops->op[op], round, 0);

		if (status) {
			journal->failed = status;
			journal->failed_op = op;
			journal->failed_last = last;
			return false;
		}
	}
	return true;
}

static void stage_run(const struct race_schedule *s, struct journal *journal)
{
	struct sigaction action = { .sa_handler = on_alarm };
	uint64_t until = now_us() + s->time_ms * 1000, round = 0;
	bool go_on = true;

	setpgid(0, 0);
	sigaction(SIGALRM, &action, NULL);
	signal(SIGCHLD, SIG_DFL);
	do {
		unsigned long mark = held_mark();

		go_on = all_ops(journal, &s->first, round, false) &&
			round_run(s, journal, round, until) &&
			all_ops(journal, &s->last, round, true);
		held_drop_since(mark);
		journal->rounds = ++round;
	} while (go_on && round < s->rounds && now_us() < until);
	__atomic_store_n(&journal->done, 1, __ATOMIC_SEQ_CST);
	_exit(0);
}

/* A file that is held, or for "-" memory of nobody's; NULL and errno. */
static struct journal *journal_map(const char *name, bool make)
{
	int flags = MAP_SHARED, fd = -1;
	void *at;

	if (strcmp(name, "-")) {
		struct stat st;

		fd = held_find(HELD_FILE, name);
		if (fd < 0 || fstat(fd, &st))
			return NULL;
		if ((uint64_t)st.st_size < sizeof(struct journal)) {
			errno = ENOSPC;
			return NULL;
		}
	} else {
		flags |= MAP_ANONYMOUS;
	}
	at = mmap(NULL, sizeof(struct journal), make ? PROT_READ | PROT_WRITE : PROT_READ,
		  flags, fd, 0);
	return at == MAP_FAILED ? NULL : at;
}

/* True when the stage has ended, however it did. */
static bool has_ended(uint64_t most_ms)
{
	int pidfd = race.stage > 0 ? syscall(SYS_pidfd_open, race.stage, 0) : -1;
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };

	if (pidfd >= 0) {
		poll(&ended, 1, most_ms);
		close(pidfd);
	}
	if (race.stage > 0 && waitpid(race.stage, NULL, WNOHANG) == race.stage)
		race.stage = 0;
	return !race.stage;
}

/* True when no actor is left either: each of them holds what the stage held. */
static bool all_have_ended(uint64_t most_ms)
{
	uint64_t until = now_us() + most_ms * 1000;
	pid_t pid;

	/* An orphan is this process's child (PR_SET_CHILD_SUBREAPER). */
	while ((pid = waitpid(-race.group, NULL, WNOHANG)) >= 0) {
		if (pid)
			continue;
		if (now_us() >= until)
			return false;
		usleep(1000);
	}
	return true;
}

static int forget(void)
{
	if (race.group && !(has_ended(0) && all_have_ended(0))) {
		kill(-race.group, SIGKILL);
		/* One that the kernel keeps is not waited for. */
		if (!has_ended(WAIT_MS) || !all_have_ended(WAIT_MS)) {
			errno = EBUSY;
			return -1;
		}
	}
	race.group = 0;
	if (race.journal)
		munmap(race.journal, sizeof(*race.journal));
	race.journal = NULL;
	return 0;
}

static void race_start(struct json *j, int argc, char **argv)
{
	struct race_schedule *s = schedule_read(argv[1]);

	if (!s || forget()) {
		json_result(j, "race start", -1);
		schedule_free(s);
		return;
	}
	race.journal = journal_map(argv[0], true);
	if (race.journal) {
		memset(race.journal, 0, sizeof(*race.journal));
		race.journal->magic = JOURNAL_MAGIC;
		race.journal->actors = s->actors;
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		race.stage = fork();
		if (!race.stage)
			stage_run(s, race.journal);
		if (race.stage > 0) {
			race.group = race.stage;
			/* As the stage does itself, and may not have done yet. */
			setpgid(race.stage, race.group);
		}
	}
	json_result(j, "race start", race.journal && race.stage > 0 ? 0 : -1);
	schedule_free(s);
}

static void race_wait(struct json *j, int argc, char **argv)
{
	uint64_t ms;

	if (parse_number(argv[0], &ms) || ms > WAIT_MS || !race.journal) {
		json_usage(j, "race wait MS, at most 3000, after race start");
		return;
	}
	ms = has_ended(ms);
	json_begin(j, true);
	json_number(j, "ended", ms);
	json_end(j);
}

static void status_json(struct json *j, const char *key, uint32_t status)
{
	const char *name = status == STATUS_BEGUN ? "begun" :
			   status == STATUS_USAGE ? "usage" :
			   status == STATUS_FAILED ? "failed" :
			   status ? strerrorname_np(status) : "ok";

	json_string(j, key, name ? name : "unknown");
}

static void counts_json(struct json *j, const struct diary *d)
{
	json_array(j, "operations");
	for (int op = 0; op < RACE_OPS; op++) {
		for (uint32_t status = 0; status < ERRNOS; status++) {
			if (!d->statuses[op][status])
				continue;
			json_object(j, NULL);
			json_number(j, "op", op);
			status_json(j, "status", status);
			json_number(j, "count", d->statuses[op][status]);
			json_object_end(j);
		}
	}
	json_array_end(j);
}

static void race_result(struct json *j, int argc, char **argv)
{
	const struct journal *journal = race.journal;

	if (!journal) {
		json_usage(j, "race result comes after race start");
		return;
	}
	json_begin(j, true);
	json_number(j, "done", journal->done);
	json_number(j, "rounds", journal->rounds);
	if (journal->failed) {
		json_object(j, "failed");
		json_number(j, "op", journal->failed_op);
		json_number(j, "last", journal->failed_last);
		status_json(j, "status", journal->failed);
		json_object_end(j);
	}
	json_array(j, "actors");
	for (uint32_t i = 0; i < journal->actors; i++) {
		json_object(j, NULL);
		json_number(j, "begun", journal->diaries[i].count);
		json_number(j, "op", journal->diaries[i].op);
		json_number(j, "stuck", journal->diaries[i].stuck);
		json_number(j, "died", journal->diaries[i].died);
		if (journal->diaries[i].unmade)
			status_json(j, "unmade", journal->diaries[i].unmade);
		counts_json(j, &journal->diaries[i]);
		json_object_end(j);
	}
	json_array_end(j);
	json_end(j);
}

/* What one actor did last, the oldest first, each as "ROUND OP STATUS"; from any file held. */
static void race_journal(struct json *j, int argc, char **argv)
{
	struct journal *journal;
	const struct diary *d;
	uint64_t actor, n;
	char text[80];

	if (parse_number(argv[1], &actor) || actor >= RACE_ACTORS) {
		json_usage(j, "race journal FILE ACTOR");
		return;
	}
	journal = journal_map(argv[0], false);
	if (!journal) {
		json_result(j, "race journal", -1);
		return;
	}
	d = &journal->diaries[actor];
	json_begin(j, journal->magic == JOURNAL_MAGIC);
	json_number(j, "begun", d->count);
	json_array(j, "records");
	n = d->count > JOURNAL_RECORDS ? d->count - JOURNAL_RECORDS : 0;
	for (; n < d->count; n++) {
		const struct record *r = &d->records[n % JOURNAL_RECORDS];

		snprintf(text, sizeof(text), "%llu %u %s", (unsigned long long)r->round, r->op,
			 r->status == STATUS_BEGUN ? "begun" : r->status ? "failed" : "ok");
		json_string(j, NULL, text);
	}
	json_array_end(j);
	json_end(j);
	munmap(journal, sizeof(*journal));
}

static void pause_for(struct json *j, int argc, char **argv)
{
	uint64_t us = 0;

	json_result(j, "pause", parse_number(argv[0], &us) ? -1 : usleep(us));
}

static const struct agent_verb verbs[] = {
	{ "race start", "JOURNAL|- SCHEDULE", race_start },
	{ "race wait", "MS", race_wait },
	{ "race result", "", race_result },
	{ "race journal", "FILE ACTOR", race_journal },
	{ "pause", "US", pause_for, .here = true },
	{ }
};

static struct agent_part races = { .verbs = verbs, .reset = forget };

AGENT_PART(races)
