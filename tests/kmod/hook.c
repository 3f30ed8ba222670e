// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens on entry to every callback: it is counted, and it fails if that
 * was asked for.
 */
#include "luo_test.h"

#include <linux/debug_locks.h>
#include <linux/delay.h>
#include <linux/kstrtox.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/string.h>

#define LUO_TEST_ALWAYS	UINT_MAX

static const char * const cb_names[LUO_TEST_NR_CBS] = {
	[LUO_TEST_CAN_PRESERVE]	= "can_preserve",
	[LUO_TEST_PRESERVE]	= "preserve",
	[LUO_TEST_UNPRESERVE]	= "unpreserve",
	[LUO_TEST_FREEZE]	= "freeze",
	[LUO_TEST_UNFREEZE]	= "unfreeze",
	[LUO_TEST_RETRIEVE]	= "retrieve",
	[LUO_TEST_CAN_FINISH]	= "can_finish",
	[LUO_TEST_FINISH]	= "finish",
};

static const struct {
	const char *name;
	int err;
} errnos[] = {
	{ "EPERM", EPERM }, { "ENOENT", ENOENT }, { "EINTR", EINTR }, { "EIO", EIO },
	{ "E2BIG", E2BIG }, { "EBADF", EBADF }, { "EAGAIN", EAGAIN }, { "ENOMEM", ENOMEM },
	{ "EACCES", EACCES }, { "EFAULT", EFAULT }, { "EBUSY", EBUSY }, { "EEXIST", EEXIST },
	{ "ENODEV", ENODEV }, { "EINVAL", EINVAL }, { "ENFILE", ENFILE },
	{ "EMFILE", EMFILE }, { "EFBIG", EFBIG }, { "ENOSPC", ENOSPC },
	{ "ENODATA", ENODATA }, { "ETIME", ETIME }, { "EOPNOTSUPP", EOPNOTSUPP },
	{ "ETIMEDOUT", ETIMEDOUT }, { "refuse", EBUSY },
};

static const struct {
	const char *name;
	atomic_long_t *value;
} stats[] = {
	{ "injected", &luo_test_stats.injected },
	{ "mismatch.file", &luo_test_stats.file_mismatch },
	{ "mismatch.flb", &luo_test_stats.flb_mismatch },
	{ "violation", &luo_test_stats.violation },
	{ "files.opened", &luo_test_stats.opened },
	{ "files.retrieved", &luo_test_stats.retrieved },
};

/* Protects err and left of every hook; taken inside callbacks, so a leaf. */
static DEFINE_SPINLOCK(luo_test_hook_lock);

/* The i-th of all handlers and FLBs, NULL after the last. */
static struct luo_test_target *target_at(unsigned int i)
{
	if (i < luo_test_nr_handlers)
		return &luo_test_handlers[i].target;
	i -= luo_test_nr_handlers;
	return i < luo_test_nr_flbs ? &luo_test_flbs[i].target : NULL;
}

/**
 * luo_test_enter - Count a callback and decide whether it fails.
 * @t:  the handler or FLB that LUO called
 * @cb: the callback
 *
 * Return: 0, or the negative errno that was armed for this call.
 */
int luo_test_enter(struct luo_test_target *t, enum luo_test_cb cb)
{
	struct luo_test_hook *hook = &t->hooks[cb];
	unsigned int delay = READ_ONCE(luo_test_delay_us);
	int err = 0;

	if (READ_ONCE(luo_test_show_locks)) {
		pr_info("%s: %s with these locks:\n", t->name, cb_names[cb]);
		debug_show_held_locks(current);
	}
	/* Whoever races with this callback has the time to do so. */
	if (delay)
		fsleep(1 + get_random_u32_below(delay));
	atomic_long_inc(&hook->calls);
	scoped_guard(spinlock, &luo_test_hook_lock) {
		if (hook->left) {
			err = hook->err;
			if (hook->left != LUO_TEST_ALWAYS)
				hook->left--;
		}
	}
	if (err) {
		atomic_long_inc(&luo_test_stats.injected);
		pr_info("%s: %s, failing with %d on request\n", t->name, cb_names[cb], err);
	} else {
		luo_test_log("%s: %s\n", t->name, cb_names[cb]);
	}
	return err;
}

/* "preserve" is handler0's; "handler1.preserve", "flb2.preserve" are explicit. */
static struct luo_test_hook *hook_find(const char *word)
{
	const char *dot = strchr(word, '.');
	struct luo_test_target *t;
	unsigned int i;
	int cb;

	if (dot) {
		size_t len = dot - word;

		for (i = 0; (t = target_at(i)) != NULL; i++) {
			if (strlen(t->name) == len && !strncmp(t->name, word, len))
				break;
		}
		word = dot + 1;
	} else {
		t = target_at(0);
	}
	if (!t)
		return NULL;
	cb = match_string(cb_names, LUO_TEST_NR_CBS, word);
	if (cb < 0 || !(t->cbs & BIT(cb)) || (LUO_TEST_VOID_CBS & BIT(cb)))
		return NULL;
	return &t->hooks[cb];
}

/* "ENOMEM", "-ENOMEM", "12", "-12" or "refuse"; yields the negative errno. */
static int errno_parse(const char *word, int *err)
{
	unsigned int number;
	size_t i;

	if (*word == '-')
		word++;
	if (!kstrtouint(word, 10, &number)) {
		*err = -(int)number;
		return number && number <= MAX_ERRNO ? 0 : -EINVAL;
	}
	for (i = 0; i < ARRAY_SIZE(errnos); i++) {
		if (!strcmp(word, errnos[i].name)) {
			*err = -errnos[i].err;
			return 0;
		}
	}
	return -EINVAL;
}

/**
 * luo_test_arm - Make a callback fail.
 * @spec: "CALLBACK ERRNO [COUNT]", or with ':' in place of the blanks, which the
 *        module parameter needs; modified.  COUNT is a number, 0 to disarm, or
 *        "always", and 1 if left out.
 *
 * Return: 0 or -EINVAL.
 */
int luo_test_arm(char *spec)
{
	unsigned int left = 1;
	struct luo_test_hook *hook;
	char *word[3] = {};
	int err, n = 0;
	char *next;

	spec = strim(spec);
	while ((next = strsep(&spec, " \t:")) != NULL) {
		if (!*next)
			continue;
		if (n == ARRAY_SIZE(word))
			return -EINVAL;
		word[n++] = next;
	}
	if (n < 2)
		return -EINVAL;
	hook = hook_find(word[0]);
	if (!hook || errno_parse(word[1], &err))
		return -EINVAL;
	if (n == 3) {
		if (!strcmp(word[2], "always"))
			left = LUO_TEST_ALWAYS;
		else if (kstrtouint(word[2], 10, &left))
			return -EINVAL;
	}
	guard(spinlock)(&luo_test_hook_lock);
	hook->err = err;
	hook->left = left;
	return 0;
}

/**
 * luo_test_disarm_all - Take back every armed failure.
 */
void luo_test_disarm_all(void)
{
	struct luo_test_target *t;
	unsigned int i, cb;

	guard(spinlock)(&luo_test_hook_lock);
	for (i = 0; (t = target_at(i)) != NULL; i++) {
		for (cb = 0; cb < LUO_TEST_NR_CBS; cb++)
			t->hooks[cb].left = 0;
	}
}

/**
 * luo_test_armed_show - Print the armed failures.
 * @m: where to
 */
void luo_test_armed_show(struct seq_file *m)
{
	struct luo_test_target *t;
	unsigned int i, cb;

	for (i = 0; (t = target_at(i)) != NULL; i++) {
		for (cb = 0; cb < LUO_TEST_NR_CBS; cb++) {
			struct luo_test_hook hook;

			scoped_guard(spinlock, &luo_test_hook_lock)
				hook = t->hooks[cb];
			if (!hook.left)
				continue;
			seq_printf(m, "%s.%s %d ", t->name, cb_names[cb], hook.err);
			if (hook.left == LUO_TEST_ALWAYS)
				seq_puts(m, "always\n");
			else
				seq_printf(m, "%u\n", hook.left);
		}
	}
}

/**
 * luo_test_counters_show - Print every counter.
 * @m: where to
 */
void luo_test_counters_show(struct seq_file *m)
{
	struct luo_test_target *t;
	unsigned int i, cb;

	for (i = 0; (t = target_at(i)) != NULL; i++) {
		for (cb = 0; cb < LUO_TEST_NR_CBS; cb++) {
			if (t->cbs & BIT(cb))
				seq_printf(m, "%s.%s %ld\n", t->name, cb_names[cb],
					   atomic_long_read(&t->hooks[cb].calls));
		}
	}
	for (i = 0; i < ARRAY_SIZE(stats); i++)
		seq_printf(m, "%s %ld\n", stats[i].name, atomic_long_read(stats[i].value));
	seq_printf(m, "files.open %u\n", luo_test_files_open());
}

/**
 * luo_test_counters_reset - Set every counter to 0.
 */
void luo_test_counters_reset(void)
{
	struct luo_test_target *t;
	unsigned int i, cb;

	for (i = 0; (t = target_at(i)) != NULL; i++) {
		for (cb = 0; cb < LUO_TEST_NR_CBS; cb++)
			atomic_long_set(&t->hooks[cb].calls, 0);
	}
	for (i = 0; i < ARRAY_SIZE(stats); i++)
		atomic_long_set(stats[i].value, 0);
}
