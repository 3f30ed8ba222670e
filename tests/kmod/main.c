// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parameters, registration with LUO, load and unload.
 */
#include "luo_test.h"

#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/moduleparam.h>
#include <linux/reboot.h>
#include <linux/string.h>
#include <linux/sysfs.h>

struct luo_test_handler luo_test_handlers[LUO_TEST_MAX_HANDLERS];
struct luo_test_flb luo_test_flbs[LUO_TEST_MAX_FLBS];
struct luo_test_stats luo_test_stats;

unsigned int luo_test_nr_handlers = 1;
module_param_named(handlers, luo_test_nr_handlers, uint, 0444);
MODULE_PARM_DESC(handlers, "file handlers, each with a device of its own (1-4, default 1)");

unsigned int luo_test_nr_flbs;
module_param_named(flbs, luo_test_nr_flbs, uint, 0444);
MODULE_PARM_DESC(flbs, "FLBs, registered with every handler (0-64, default 0)");

static bool luo_test_register = true;
module_param_named(register, luo_test_register, bool, 0444);
MODULE_PARM_DESC(register, "register everything when loaded (default 1)");

static char *luo_test_prefix = "luo-test";
module_param_named(prefix, luo_test_prefix, charp, 0444);
MODULE_PARM_DESC(prefix, "start of the compatible strings (default luo-test)");

static char *luo_test_fail;
module_param_named(fail, luo_test_fail, charp, 0444);
MODULE_PARM_DESC(fail, "failures to arm when loaded, separated by commas");

static int luo_test_fail_init;
module_param_named(fail_init, luo_test_fail_init, int, 0444);
MODULE_PARM_DESC(fail_init, "errno to fail the load with after registering (default 0: do not)");

bool luo_test_verbose = true;
module_param_named(verbose, luo_test_verbose, bool, 0644);
MODULE_PARM_DESC(verbose, "log every callback (default 1)");

unsigned int luo_test_delay_us;
module_param_named(delay, luo_test_delay_us, uint, 0644);
MODULE_PARM_DESC(delay, "microseconds that every callback waits, at most and by chance (default 0)");

bool luo_test_show_locks;
module_param_named(show_locks, luo_test_show_locks, bool, 0644);
MODULE_PARM_DESC(show_locks, "let lockdep print what is held in every callback (default 0)");

static unsigned int luo_test_reboot_ms;
module_param_named(reboot, luo_test_reboot_ms, uint, 0644);
MODULE_PARM_DESC(reboot, "milliseconds that a reboot is held up once LUO was told (default 0)");

static unsigned int luo_test_exit_ms;
module_param_named(exit_ms, luo_test_exit_ms, uint, 0644);
MODULE_PARM_DESC(exit_ms, "milliseconds that unloading waits with all still registered, and FLB 0 is looked up (default 0)");

static bool luo_test_owner = true;
module_param_named(owner, luo_test_owner, bool, 0444);
MODULE_PARM_DESC(owner, "handlers say whose they are; else they pass for built-in ones (default 1)");

enum luo_test_exit { EXIT_NONE, EXIT_HANDLER, EXIT_ALL };

static const char * const luo_test_exit_names[] = {
	[EXIT_NONE] = "none",
	[EXIT_HANDLER] = "handler",
	[EXIT_ALL] = "all",
};

static enum luo_test_exit luo_test_exit_mode = EXIT_ALL;

static int exit_mode_set(const char *val, const struct kernel_param *kp)
{
	int mode = sysfs_match_string(luo_test_exit_names, val);

	if (mode < 0)
		return mode;
	luo_test_exit_mode = mode;
	return 0;
}

static int exit_mode_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", luo_test_exit_names[luo_test_exit_mode]);
}

static const struct kernel_param_ops exit_mode_ops = {
	.set = exit_mode_set,
	.get = exit_mode_get,
};

module_param_cb(unregister, &exit_mode_ops, NULL, 0644);
MODULE_PARM_DESC(unregister, "what unloading unregisters: none, handler or all (default all)");

u64 luo_test_sum(u64 sum, const void *data, size_t len)
{
	const u8 *p = data;

	while (len--)
		sum = (sum ^ *p++) * 0x100000001b3ULL;
	return sum;
}

/**
 * luo_test_unregister_is_void - Tell which kind of LUO this was compiled for.
 *
 * Return: true if the unregister functions return nothing.
 */
bool luo_test_unregister_is_void(void)
{
	return luo_test_returns_void(liveupdate_unregister_file_handler(NULL));
}

static struct luo_test_answer answer_int(const char *what, const char *on, const char *whom,
					 int ret)
{
	luo_test_log("%s %s %s: %d\n", what, on, whom, ret);
	return (struct luo_test_answer) { .ret = ret };
}

static struct luo_test_answer answer_unregister(const char *on, const char *whom, int ret)
{
	if (!luo_test_unregister_is_void())
		return answer_int("unregister", on, whom, ret);
	luo_test_log("unregister %s %s: void\n", on, whom);
	return (struct luo_test_answer) { .is_void = true };
}

static struct luo_test_answer answer_refused(int ret)
{
	return (struct luo_test_answer) { .ret = ret, .refused = true };
}

struct luo_test_answer luo_test_register_handler(struct luo_test_handler *h)
{
	int ret;

	guard(mutex)(&h->lock);
	ret = liveupdate_register_file_handler(&h->fh);
	if (!ret)
		h->registered = true;
	return answer_int("register", h->target.name, h->fh.compatible, ret);
}

struct luo_test_answer luo_test_unregister_handler(struct luo_test_handler *h)
{
	int ret;

	guard(mutex)(&h->lock);
	/* LUO takes the caller's word that the handler is on its list. */
	if (!h->registered)
		return answer_refused(-ENOENT);
	ret = luo_test_int_or_void(liveupdate_unregister_file_handler(&h->fh));
	if (!ret) {
		h->registered = false;
		/* It went, so any FLBs went with it. */
		bitmap_zero(h->flbs, LUO_TEST_MAX_FLBS);
	}
	return answer_unregister(h->target.name, h->fh.compatible, ret);
}

struct luo_test_answer luo_test_register_flb(struct luo_test_handler *h,
					     struct luo_test_flb *f)
{
	int ret;

	guard(mutex)(&h->lock);
	if (!h->registered)
		return answer_refused(-ENOENT);
	ret = liveupdate_register_flb(&h->fh, &f->flb);
	if (!ret)
		set_bit(f->index, h->flbs);
	return answer_int("register", f->target.name, h->target.name, ret);
}

struct luo_test_answer luo_test_unregister_flb(struct luo_test_handler *h,
					       struct luo_test_flb *f)
{
	int ret;

	guard(mutex)(&h->lock);
	if (!h->registered)
		return answer_refused(-ENOENT);
	ret = luo_test_int_or_void(liveupdate_unregister_flb(&h->fh, &f->flb));
	if (!ret)
		clear_bit(f->index, h->flbs);
	return answer_unregister(f->target.name, h->target.name, ret);
}

/**
 * luo_test_force_flb - Register an FLB with a handler that may have gone.
 * @h: a handler that was registered at least once, if live updates are on
 * @f: the FLB; where LUO takes it, or is off, it is unregistered at once
 *
 * Return: what LUO answers.
 */
struct luo_test_answer luo_test_force_flb(struct luo_test_handler *h, struct luo_test_flb *f)
{
	int ret;

	guard(mutex)(&h->lock);
	ret = liveupdate_register_flb(&h->fh, &f->flb);
	/* Where live updates are off, that has nothing to look at, nor has @h been registered. */
	if (!ret || ret == -EOPNOTSUPP)
		(void)luo_test_int_or_void(liveupdate_unregister_flb(&h->fh, &f->flb));
	return answer_int("force", f->target.name, h->target.name, ret);
}

/**
 * luo_test_register_all - Register every handler, and every FLB with each.
 *
 * Return: the first answer that is an error, what came before stays registered;
 * else the last one.
 */
struct luo_test_answer luo_test_register_all(void)
{
	struct luo_test_answer answer;
	unsigned int i, j;

	for (i = 0; i < luo_test_nr_handlers; i++) {
		answer = luo_test_register_handler(&luo_test_handlers[i]);
		if (answer.ret)
			return answer;
		for (j = 0; j < luo_test_nr_flbs; j++) {
			answer = luo_test_register_flb(&luo_test_handlers[i],
						       &luo_test_flbs[j]);
			if (answer.ret)
				return answer;
		}
	}
	return answer;
}

/**
 * luo_test_unregister_all - Unregister what is registered, FLBs first.
 *
 * Goes on after an error.
 *
 * Return: the first answer that is an error, else the last one; that nothing
 * was registered is no error.
 */
struct luo_test_answer luo_test_unregister_all(void)
{
	struct luo_test_answer answer = {}, first = {};
	unsigned int i, j;

	for (i = luo_test_nr_handlers; i-- > 0;) {
		struct luo_test_handler *h = &luo_test_handlers[i];

		for (j = luo_test_nr_flbs; j-- > 0;) {
			if (!test_bit(j, h->flbs))
				continue;
			answer = luo_test_unregister_flb(h, &luo_test_flbs[j]);
			if (answer.ret && !first.ret)
				first = answer;
		}
		if (!READ_ONCE(h->registered))
			continue;
		answer = luo_test_unregister_handler(h);
		if (answer.ret && !first.ret)
			first = answer;
	}
	return first.ret ? first : answer;
}

/* The compatible strings are const to everyone but their owner. */
static int compatible_set(const char *compatible, size_t size, const char *format,
			  const char *prefix, unsigned int index)
{
	int len = snprintf((char *)compatible, size, format, prefix, index);

	return len < size ? 0 : -ENAMETOOLONG;
}

static int handler_init(struct luo_test_handler *h, unsigned int index)
{
	h->index = index;
	mutex_init(&h->lock);
	snprintf(h->target.name, sizeof(h->target.name), "handler%u", index);
	h->target.cbs = LUO_TEST_HANDLER_CBS;
	h->fh.ops = luo_test_owner ? &luo_test_file_ops : &luo_test_ownerless_ops;

	if (index)
		snprintf(h->devname, sizeof(h->devname), "luo_test%u", index);
	else
		strscpy(h->devname, "luo_test");
	h->misc.minor = MISC_DYNAMIC_MINOR;
	h->misc.name = h->devname;
	h->misc.fops = &luo_test_fops;
	h->misc.mode = 0600;

	return compatible_set(h->fh.compatible, sizeof(h->fh.compatible),
			      index ? "%s-file%u-v1" : "%s-file-v1", luo_test_prefix, index);
}

static int flb_init(struct luo_test_flb *f, unsigned int index)
{
	f->index = index;
	spin_lock_init(&f->lock);
	snprintf(f->target.name, sizeof(f->target.name), "flb%u", index);
	f->target.cbs = LUO_TEST_FLB_CBS;
	f->flb.ops = &luo_test_flb_ops;
	return compatible_set(f->flb.compatible, sizeof(f->flb.compatible),
			      "%s-flb%u-v1", luo_test_prefix, index);
}

static int __init targets_init(void)
{
	unsigned int i;
	int err;

	if (luo_test_nr_handlers < 1 || luo_test_nr_handlers > LUO_TEST_MAX_HANDLERS ||
	    luo_test_nr_flbs > LUO_TEST_MAX_FLBS) {
		pr_err("handlers must be 1 to %u, flbs at most %u\n",
		       LUO_TEST_MAX_HANDLERS, LUO_TEST_MAX_FLBS);
		return -EINVAL;
	}
	for (i = 0; i < luo_test_nr_handlers; i++) {
		err = handler_init(&luo_test_handlers[i], i);
		if (err)
			return err;
	}
	for (i = 0; i < luo_test_nr_flbs; i++) {
		err = flb_init(&luo_test_flbs[i], i);
		if (err)
			return err;
	}
	return 0;
}

static int __init failures_init(void)
{
	char *rest = luo_test_fail, *spec;
	int err;

	while ((spec = strsep(&rest, ",")) != NULL) {
		err = luo_test_arm(spec);
		if (err) {
			pr_err("fail=%s: error %d\n", spec, err);
			return err;
		}
	}
	return 0;
}

static void devices_remove(unsigned int count)
{
	while (count-- > 0)
		misc_deregister(&luo_test_handlers[count].misc);
}

static int __init devices_add(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < luo_test_nr_handlers; i++) {
		err = misc_register(&luo_test_handlers[i].misc);
		if (err) {
			devices_remove(i);
			return err;
		}
	}
	return 0;
}

/* kernel_kexec() calls this after liveupdate_reboot(), with user space still running. */
static int hold_reboot(struct notifier_block *nb, unsigned long action, void *data)
{
	msleep(luo_test_reboot_ms);
	return NOTIFY_DONE;
}

static struct notifier_block luo_test_reboot = { .notifier_call = hold_reboot };

static int __init luo_test_init(void)
{
	int err;

	err = targets_init();
	if (err)
		return err;
	err = failures_init();
	if (err)
		return err;
	if (luo_test_register) {
		err = luo_test_register_all().ret;
		if (err)
			goto err_unregister;
	}
	err = luo_test_fail_init;
	if (err) {
		pr_info("failing the load with %d on request\n", err);
		goto err_unregister;
	}
	err = register_reboot_notifier(&luo_test_reboot);
	if (err)
		goto err_unregister;
	/* Last: the kernel frees a module that fails to load, whoever has come to it by these. */
	err = devices_add();
	if (err)
		goto err_reboot;
	err = luo_test_control_init();
	if (err)
		goto err_devices;
	pr_info("loaded: %u handlers, %u FLBs, unregister functions return %s\n",
		luo_test_nr_handlers, luo_test_nr_flbs,
		luo_test_unregister_is_void() ? "void" : "int");
	return 0;

err_devices:
	devices_remove(luo_test_nr_handlers);
err_reboot:
	unregister_reboot_notifier(&luo_test_reboot);
err_unregister:
	luo_test_unregister_all();
	return err;
}
module_init(luo_test_init);

static void unregister_handlers(void)
{
	unsigned int i;

	for (i = 0; i < luo_test_nr_handlers; i++)
		luo_test_unregister_handler(&luo_test_handlers[i]);
}

/* The module is going: nobody gets a reference to it any more. */
static void exit_wait(void)
{
	struct luo_test_flb *f = &luo_test_flbs[0];
	void *obj;
	int ret;

	msleep(luo_test_exit_ms);
	if (!luo_test_nr_flbs)
		return;
	ret = luo_test_flb_get(f, true, &obj);
	if (!ret)
		luo_test_flb_put(f, true);
	pr_info("%s incoming at exit: %d\n", f->target.name, ret);
}

static void __exit luo_test_exit(void)
{
	unsigned int i;

	if (luo_test_exit_ms)
		exit_wait();
	unregister_reboot_notifier(&luo_test_reboot);
	luo_test_control_exit();
	luo_test_stall_exit();
	devices_remove(luo_test_nr_handlers);
	switch (luo_test_exit_mode) {
	case EXIT_NONE:
		break;
	case EXIT_HANDLER:
		unregister_handlers();
		break;
	case EXIT_ALL:
		luo_test_unregister_all();
		break;
	}
	for (i = 0; i < luo_test_nr_handlers; i++) {
		if (luo_test_handlers[i].registered)
			pr_warn("unloaded with %s still registered\n",
				luo_test_handlers[i].target.name);
	}
	pr_info("unloaded\n");
}
module_exit(luo_test_exit);

MODULE_DESCRIPTION("Live update file handler for tests");
MODULE_AUTHOR("The live update test project");
MODULE_LICENSE("GPL");
