// SPDX-License-Identifier: GPL-2.0-only
/*
 * The debugfs directory: commands, counters, state and armed failures, made for
 * echo and cat.  Every file is lines of "name value".
 */
#include "luo_test.h"

#include <linux/debugfs.h>
#include <linux/kstrtox.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define LUO_TEST_LINE_MAX	128
#define LUO_TEST_ARGS_MAX	6

static struct dentry *luo_test_dir;

/* The last command; commands may run side by side. */
static struct {
	spinlock_t lock;	/* protects the rest */
	char command[LUO_TEST_LINE_MAX];
	struct luo_test_answer answer;
} luo_test_last = {
	.lock = __SPIN_LOCK_UNLOCKED(luo_test_last.lock),
};

/* Copy one line from user space; the caller frees it. */
static char *line_get(const char __user *from, size_t len)
{
	char *line;

	if (len >= LUO_TEST_LINE_MAX)
		return ERR_PTR(-E2BIG);
	line = memdup_user_nul(from, len);
	if (IS_ERR(line))
		return line;
	strreplace(line, '\n', '\0');
	return line;
}

/* control and result */

static struct luo_test_answer answer_own(int ret)
{
	return (struct luo_test_answer) { .ret = ret, .refused = ret != 0 };
}

/* A number below @limit; without a word, 0. */
static int index_parse(const char *word, unsigned int limit, unsigned int *index)
{
	*index = 0;
	if (word && kstrtouint(word, 10, index))
		return -EINVAL;
	return *index < limit ? 0 : -ENODEV;
}

/* [HANDLER] */
static struct luo_test_answer
command_handler(char **words, struct luo_test_answer (*run)(struct luo_test_handler *))
{
	unsigned int index;
	int err = index_parse(words[0], luo_test_nr_handlers, &index);

	if (!err && words[0] && words[1])
		err = -EINVAL;
	return err ? answer_own(err) : run(&luo_test_handlers[index]);
}

/* FLB [handler HANDLER] */
static struct luo_test_answer
command_flb(char **words,
	    struct luo_test_answer (*run)(struct luo_test_handler *, struct luo_test_flb *))
{
	unsigned int flb, handler = 0;
	int err = -EINVAL;

	if (words[0])
		err = index_parse(words[0], luo_test_nr_flbs, &flb);
	if (!err && words[1]) {
		if (strcmp(words[1], "handler") || !words[2] || words[3])
			err = -EINVAL;
		else
			err = index_parse(words[2], luo_test_nr_handlers, &handler);
	}
	return err ? answer_own(err) : run(&luo_test_handlers[handler], &luo_test_flbs[flb]);
}

static struct luo_test_answer register_handler(char **words)
{
	return command_handler(words, luo_test_register_handler);
}

static struct luo_test_answer unregister_handler(char **words)
{
	return command_handler(words, luo_test_unregister_handler);
}

static struct luo_test_answer register_flb(char **words)
{
	return command_flb(words, luo_test_register_flb);
}

static struct luo_test_answer unregister_flb(char **words)
{
	return command_flb(words, luo_test_unregister_flb);
}

static struct luo_test_answer force_flb(char **words)
{
	return command_flb(words, luo_test_force_flb);
}

static struct luo_test_answer register_all(char **words)
{
	return words[0] ? answer_own(-EINVAL) : luo_test_register_all();
}

static struct luo_test_answer unregister_all(char **words)
{
	return words[0] ? answer_own(-EINVAL) : luo_test_unregister_all();
}

static int flb_parse(char **words, struct luo_test_flb **f)
{
	unsigned int index;
	int err;

	if (!words[0] || words[1])
		return -EINVAL;
	err = index_parse(words[0], luo_test_nr_flbs, &index);
	if (!err)
		*f = &luo_test_flbs[index];
	return err;
}

/*
 * Holds no lock of ours: many CPUs may ask for one FLB at the same moment, and
 * for one that LUO has never seen.
 */
static struct luo_test_answer flb_get(char **words, bool incoming)
{
	struct luo_test_answer answer = {};
	struct luo_test_flb *f;
	unsigned long changes;
	void *obj = NULL;
	int err;

	err = flb_parse(words, &f);
	if (err)
		return answer_own(err);
	changes = luo_test_flb_changes(f, incoming);
	answer.ret = luo_test_flb_get(f, incoming, &obj);
	luo_test_log("%s: get %s: %d\n", f->target.name,
		     incoming ? "incoming" : "outgoing", answer.ret);
	if (!answer.ret) {
		luo_test_flb_check_obj(f, incoming, obj, changes);
		luo_test_flb_put(f, incoming);
	}
	return answer;
}

static struct luo_test_answer flb_incoming(char **words)
{
	return flb_get(words, true);
}

static struct luo_test_answer flb_outgoing(char **words)
{
	return flb_get(words, false);
}

static struct luo_test_answer hold_outgoing(char **words)
{
	struct luo_test_answer answer = {};
	struct luo_test_flb *f;
	void *obj = NULL;
	int err;

	err = flb_parse(words, &f);
	if (err)
		return answer_own(err);
	answer.ret = luo_test_flb_get(f, false, &obj);
	if (!answer.ret && cmpxchg(&f->held, NULL, obj)) {
		luo_test_flb_put(f, false);
		return answer_own(-EBUSY);
	}
	return answer;
}

/* What is held may have been freed: it is compared, and not looked into. */
static struct luo_test_answer drop_outgoing(char **words)
{
	struct luo_test_answer answer = {};
	struct luo_test_flb *f;
	void *obj;
	int err;

	err = flb_parse(words, &f);
	if (err)
		return answer_own(err);
	obj = xchg(&f->held, NULL);
	if (!obj)
		return answer_own(-ENOENT);
	answer.ret = luo_test_flb_check_obj(f, false, obj, luo_test_flb_changes(f, false));
	luo_test_flb_put(f, false);
	return answer;
}

static struct luo_test_answer race_outgoing(char **words)
{
	return answer_own(words[0] ? -EINVAL : luo_test_race(false));
}

static struct luo_test_answer race_incoming(char **words)
{
	return answer_own(words[0] ? -EINVAL : luo_test_race(true));
}

static struct luo_test_answer storm_registration(char **words)
{
	unsigned int ms;

	if (!words[0] || words[1] || kstrtouint(words[0], 10, &ms) || ms > 60000)
		return answer_own(-EINVAL);
	return answer_own(luo_test_storm(ms));
}

/* SYMBOL MS [CALLER] */
static struct luo_test_answer stall_call(char **words)
{
	unsigned int ms;

	if (!words[0] || !words[1] || kstrtouint(words[1], 10, &ms) || (words[2] && words[3]))
		return answer_own(-EINVAL);
	return answer_own(luo_test_stall_call(words[0], ms, words[2] ?: ""));
}

static struct luo_test_answer stall_begun(char **words)
{
	return answer_own(words[0] ? -EINVAL : luo_test_stall_begun());
}

static struct luo_test_answer stall_over(char **words)
{
	return answer_own(words[0] ? -EINVAL : luo_test_stall_over());
}

static const struct {
	const char *verb;
	const char *noun;
	struct luo_test_answer (*run)(char **words);
} commands[] = {
	{ "register", "handler", register_handler },
	{ "unregister", "handler", unregister_handler },
	{ "register", "flb", register_flb },
	{ "unregister", "flb", unregister_flb },
	{ "force", "flb", force_flb },
	{ "register", "all", register_all },
	{ "unregister", "all", unregister_all },
	{ "flb", "incoming", flb_incoming },
	{ "flb", "outgoing", flb_outgoing },
	{ "hold", "outgoing", hold_outgoing },
	{ "drop", "outgoing", drop_outgoing },
	{ "race", "outgoing", race_outgoing },
	{ "race", "incoming", race_incoming },
	{ "storm", "registration", storm_registration },
	{ "stall", "call", stall_call },
	{ "stall", "begun", stall_begun },
	{ "stall", "over", stall_over },
};

static struct luo_test_answer command_run(char *line)
{
	char *words[LUO_TEST_ARGS_MAX + 1] = {};
	unsigned int n = 0;
	char *word;
	size_t i;

	while ((word = strsep(&line, " \t")) != NULL) {
		if (!*word)
			continue;
		if (n == LUO_TEST_ARGS_MAX)
			return answer_own(-EINVAL);
		words[n++] = word;
	}
	if (n < 2)
		return answer_own(-EINVAL);
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(words[0], commands[i].verb) && !strcmp(words[1], commands[i].noun))
			return commands[i].run(words + 2);
	}
	return answer_own(-EINVAL);
}

static ssize_t control_write(struct file *file, const char __user *from, size_t len,
			     loff_t *pos)
{
	char command[LUO_TEST_LINE_MAX];
	struct luo_test_answer answer;
	char *line;

	line = line_get(from, len);
	if (IS_ERR(line))
		return PTR_ERR(line);
	/* Running it takes the line to pieces. */
	strscpy(command, line);
	answer = command_run(line);
	kfree(line);
	scoped_guard(spinlock, &luo_test_last.lock) {
		strscpy(luo_test_last.command, command);
		luo_test_last.answer = answer;
	}
	return answer.ret ? answer.ret : len;
}

static int result_show(struct seq_file *m, void *unused)
{
	char command[LUO_TEST_LINE_MAX];
	struct luo_test_answer answer;

	scoped_guard(spinlock, &luo_test_last.lock) {
		strscpy(command, luo_test_last.command);
		answer = luo_test_last.answer;
	}
	seq_printf(m, "command %s\n", command);
	if (answer.is_void)
		seq_puts(m, "return void\n");
	else
		seq_printf(m, "return %d\n", answer.ret);
	seq_printf(m, "by %s\n", answer.refused ? "luo_test" : "liveupdate");
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(result);

static const struct file_operations control_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= control_write,
};

/* counters and reset */

static int counters_show(struct seq_file *m, void *unused)
{
	luo_test_counters_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(counters);

static ssize_t reset_write(struct file *file, const char __user *from, size_t len,
			   loff_t *pos)
{
	luo_test_counters_reset();
	return len;
}

static const struct file_operations reset_fops = {
	.owner	= THIS_MODULE,
	.open	= simple_open,
	.write	= reset_write,
};

/* fail */

static int fail_show(struct seq_file *m, void *unused)
{
	luo_test_armed_show(m);
	return 0;
}

static ssize_t fail_write(struct file *file, const char __user *from, size_t len,
			  loff_t *pos)
{
	char *line __free(kfree) = line_get(from, len);
	int err = 0;

	if (IS_ERR(line))
		return PTR_ERR(line);
	if (!strcmp(strim(line), "none"))
		luo_test_disarm_all();
	else
		err = luo_test_arm(line);
	return err ? err : len;
}
DEFINE_SHOW_STORE_ATTRIBUTE(fail);

/* state */

static void side_show(struct seq_file *m, struct luo_test_flb *f, bool incoming)
{
	static const char * const phases[] = {
		[LUO_TEST_FLB_NONE] = "none",
		[LUO_TEST_FLB_LIVE] = "live",
		[LUO_TEST_FLB_FINISHED] = "finished",
	};
	struct luo_test_flb_side side;

	scoped_guard(spinlock, &f->lock)
		side = incoming ? f->incoming : f->outgoing;
	seq_printf(m, "%s.%s %s generation %llu\n", f->target.name,
		   incoming ? "incoming" : "outgoing", phases[side.phase], side.generation);
}

static int state_show(struct seq_file *m, void *unused)
{
	unsigned int i;

	seq_printf(m, "unregister_returns %s\n",
		   luo_test_unregister_is_void() ? "void" : "int");
	for (i = 0; i < luo_test_nr_handlers; i++) {
		struct luo_test_handler *h = &luo_test_handlers[i];

		guard(mutex)(&h->lock);
		seq_printf(m, "%s.compatible %s\n", h->target.name, h->fh.compatible);
		seq_printf(m, "%s.registered %d\n", h->target.name, h->registered);
		seq_printf(m, "%s.flbs %*pbl\n", h->target.name, LUO_TEST_MAX_FLBS, h->flbs);
	}
	for (i = 0; i < luo_test_nr_flbs; i++) {
		struct luo_test_flb *f = &luo_test_flbs[i];

		seq_printf(m, "%s.compatible %s\n", f->target.name, f->flb.compatible);
		side_show(m, f, false);
		side_show(m, f, true);
	}
	luo_test_files_show(m);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(state);

/**
 * luo_test_control_init - Make the debugfs directory.
 *
 * Return: 0 or a negative errno; without debugfs the module is of no use.
 */
int __init luo_test_control_init(void)
{
	luo_test_dir = debugfs_create_dir("luo_test", NULL);
	if (IS_ERR(luo_test_dir))
		return PTR_ERR(luo_test_dir);
	debugfs_create_file("control", 0200, luo_test_dir, NULL, &control_fops);
	debugfs_create_file("result", 0400, luo_test_dir, NULL, &result_fops);
	debugfs_create_file("counters", 0400, luo_test_dir, NULL, &counters_fops);
	debugfs_create_file("reset", 0200, luo_test_dir, NULL, &reset_fops);
	debugfs_create_file("fail", 0600, luo_test_dir, NULL, &fail_fops);
	debugfs_create_file("state", 0400, luo_test_dir, NULL, &state_fops);
	return 0;
}

/**
 * luo_test_control_exit - Remove the debugfs directory.
 */
void luo_test_control_exit(void)
{
	debugfs_remove(luo_test_dir);
}
