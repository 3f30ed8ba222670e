// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many CPUs at the same moment: first uses of FLBs, and registration storms.
 *
 * One thread on each CPU; those of a race wait for each other before every
 * step, so that what they do falls together.
 */
#include "luo_test.h"

#include <linux/completion.h>
#include <linux/cpu.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

struct crew;

struct member {
	struct crew *crew;
	struct task_struct *task;
	unsigned int index;
};

/* What the threads of one command share; it lives until all of them are gone. */
struct crew {
	void (*work)(struct crew *crew, unsigned int index);
	bool incoming;
	unsigned long until;
	unsigned int size;
	atomic_t running;
	atomic_t arrived[LUO_TEST_MAX_FLBS];
	atomic_t failed;
	struct completion done;
	struct member members[];
};

static struct crew *crew_new(void (*work)(struct crew *crew, unsigned int index))
{
	struct crew *crew = kzalloc(struct_size(crew, members, nr_cpu_ids), GFP_KERNEL);

	if (!crew)
		return NULL;
	crew->work = work;
	init_completion(&crew->done);
	return crew;
}

static int member_run(void *data)
{
	struct member *m = data;
	struct crew *crew = m->crew;

	crew->work(crew, m->index);
	if (atomic_dec_and_test(&crew->running))
		complete(&crew->done);
	return 0;
}

/* Run crew->work on every CPU that is online, and wait for the end of it. */
static int crew_run(struct crew *crew)
{
	unsigned int cpu, i;
	int err = 0;

	cpus_read_lock();
	for_each_online_cpu(cpu) {
		struct member *m = &crew->members[crew->size];

		m->crew = crew;
		m->index = crew->size;
		m->task = kthread_create_on_cpu(member_run, m, cpu, "luo_test/%u");
		if (IS_ERR(m->task)) {
			err = PTR_ERR(m->task);
			break;
		}
		get_task_struct(m->task);
		crew->size++;
	}
	atomic_set(&crew->running, crew->size);
	for (i = 0; !err && i < crew->size; i++)
		wake_up_process(crew->members[i].task);
	cpus_read_unlock();
	if (!err)
		wait_for_completion(&crew->done);
	/* Also waits until none of them runs the code of this module any more. */
	for (i = 0; i < crew->size; i++)
		kthread_stop_put(crew->members[i].task);
	return err;
}

/* Wait until all have come this far. */
static void meet(struct crew *crew, unsigned int step)
{
	atomic_inc(&crew->arrived[step]);
	while (atomic_read(&crew->arrived[step]) < crew->size)
		cpu_relax();
}

static void use_flbs(struct crew *crew, unsigned int index)
{
	unsigned int i;

	for (i = 0; i < luo_test_nr_flbs; i++) {
		struct luo_test_flb *f = &luo_test_flbs[i];
		void *obj = NULL;
		int err;

		meet(crew, i);
		err = luo_test_flb_get(f, crew->incoming, &obj);
		if (!err)
			luo_test_flb_put(f, crew->incoming);
		else if (!crew->incoming && err != LUO_TEST_NOTHING_OUTGOING)
			atomic_inc(&crew->failed);
		cond_resched();
	}
}

/**
 * luo_test_race - Let all CPUs look up each FLB at the same moment.
 * @incoming: the object from the previous kernel, or that for the next
 *
 * Return: 0, or a negative errno.
 */
int luo_test_race(bool incoming)
{
	struct crew *crew __free(kfree) = crew_new(use_flbs);
	int err;

	if (!crew)
		return -ENOMEM;
	crew->incoming = incoming;
	err = crew_run(crew);
	return err ? err : atomic_read(&crew->failed) ? -EIO : 0;
}

/* Each CPU has a handler of its own to register and unregister, the FLBs are everybody's. */
static void register_on_and_off(struct crew *crew, unsigned int index)
{
	struct luo_test_handler *h = &luo_test_handlers[index % luo_test_nr_handlers];
	unsigned int i;

	while (time_before(jiffies, crew->until)) {
		luo_test_register_handler(h);
		for (i = 0; i < luo_test_nr_flbs; i++)
			luo_test_register_flb(h, &luo_test_flbs[i]);
		for (i = 0; i < luo_test_nr_flbs; i += 2)
			luo_test_unregister_flb(h, &luo_test_flbs[i]);
		luo_test_unregister_handler(h);
		cond_resched();
	}
}

/**
 * luo_test_storm - Register and unregister on all CPUs for a while.
 * @ms: how long, in milliseconds
 *
 * Return: 0, or a negative errno.
 */
int luo_test_storm(unsigned int ms)
{
	struct crew *crew __free(kfree) = crew_new(register_on_and_off);

	if (!crew)
		return -ENOMEM;
	crew->until = jiffies + msecs_to_jiffies(ms);
	return crew_run(crew);
}
