// SPDX-License-Identifier: GPL-2.0-only
/*
 * A function of the kernel takes its time, by a kretprobe: whoever needs a lock
 * that is held around it has to wait, however few instructions that are.
 */
#include "luo_test.h"

#include <linux/delay.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/kprobes.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/time64.h>

#define LUO_TEST_STALL_MAX_MS	2000
#define LUO_TEST_STALL_BEGINS_MS	10000

#ifdef CONFIG_KRETPROBES

enum stall_state {
	STALL_NONE,
	STALL_ARMED,
	STALL_BEGUN,
	STALL_OVER,
};

/*
 * struct stall - A function that is to take its time, once.
 * @probe:  at its end
 * @task:   who has to call it; compared, and not looked into
 * @ms:     how long it takes, in milliseconds
 * @state:  written by the probe, which may be anywhere, so without a lock
 * @symbol: the function
 * @caller: what is in the name of the function that calls it
 */
struct stall {
	struct kretprobe probe;
	const struct task_struct *task;
	unsigned int ms;
	enum stall_state state;
	char symbol[KSYM_NAME_LEN];
	char caller[KSYM_NAME_LEN];
};

static DEFINE_MUTEX(stall_lock);	/* protects the pointer */
static struct stall *stall_last;

static struct stall *stall_of(struct kretprobe_instance *ri)
{
	return container_of(get_kretprobe(ri), struct stall, probe);
}

/* 0 if the end of this call is of interest. */
static int stall_enter(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct stall *s = stall_of(ri);

	return current != s->task || READ_ONCE(s->state) != STALL_ARMED;
}

NOKPROBE_SYMBOL(stall_enter);

static int stall_return(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	struct stall *s = stall_of(ri);
	char caller[KSYM_SYMBOL_LEN];

	snprintf(caller, sizeof(caller), "%ps", (void *)get_kretprobe_retaddr(ri));
	if (!strstr(caller, s->caller) || READ_ONCE(s->state) != STALL_ARMED)
		return 0;
	WRITE_ONCE(s->state, STALL_BEGUN);
	mdelay(s->ms);
	WRITE_ONCE(s->state, STALL_OVER);
	return 0;
}

NOKPROBE_SYMBOL(stall_return);

static void stall_free(struct stall *s)
{
	if (!s)
		return;
	unregister_kretprobe(&s->probe);
	kfree(s);
}

/**
 * luo_test_stall_call - Let a function take its time when this task calls it next.
 * @symbol: the function
 * @ms:     how long, in milliseconds; one processor does nothing else meanwhile
 * @caller: what is in the name of the function that calls it; "" for any
 *
 * Return: 0 or a negative errno.
 */
int luo_test_stall_call(const char *symbol, unsigned int ms, const char *caller)
{
	struct stall *s;
	int err;

	if (ms > LUO_TEST_STALL_MAX_MS)
		return -EINVAL;
	guard(mutex)(&stall_lock);
	stall_free(stall_last);
	stall_last = NULL;
	s = kzalloc_obj(*s);
	if (!s)
		return -ENOMEM;
	strscpy(s->symbol, symbol);
	strscpy(s->caller, caller);
	s->task = current;
	s->ms = ms;
	s->state = STALL_ARMED;
	s->probe.kp.symbol_name = s->symbol;
	s->probe.entry_handler = stall_enter;
	s->probe.handler = stall_return;
	err = register_kretprobe(&s->probe);
	if (err)
		kfree(s);
	else
		stall_last = s;
	return err;
}

static enum stall_state stall_state(void)
{
	guard(mutex)(&stall_lock);
	return stall_last ? READ_ONCE(stall_last->state) : STALL_NONE;
}

/**
 * luo_test_stall_begun - Wait until the function is there.
 *
 * Return: 0, or -ETIME when it was not called.
 */
int luo_test_stall_begun(void)
{
	unsigned long until = jiffies + msecs_to_jiffies(LUO_TEST_STALL_BEGINS_MS);

	while (stall_state() < STALL_BEGUN) {
		if (time_after(jiffies, until))
			return -ETIME;
		fsleep(USEC_PER_MSEC);
	}
	return 0;
}

/**
 * luo_test_stall_over - Say whether the function has gone on.
 *
 * Return: 0, or -EBUSY when it has not.
 */
int luo_test_stall_over(void)
{
	return stall_state() == STALL_OVER ? 0 : -EBUSY;
}

/**
 * luo_test_stall_exit - Take the last probe back.
 */
void luo_test_stall_exit(void)
{
	stall_free(stall_last);
}

#else

int luo_test_stall_call(const char *symbol, unsigned int ms, const char *caller)
{
	return -EOPNOTSUPP;
}

int luo_test_stall_begun(void)
{
	return -EOPNOTSUPP;
}

int luo_test_stall_over(void)
{
	return -EOPNOTSUPP;
}

void luo_test_stall_exit(void) { }

#endif
