/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * luo_test: a live update file handler with everything on the outside.
 *
 * main.c     parameters, registration with LUO, load and unload
 * file.c     /dev/luo_test and the file handler callbacks
 * flb.c      the FLB callbacks
 * hook.c     counters and armed failures
 * control.c  debugfs
 * race.c     the same thing on all CPUs at once
 * stall.c    functions of the kernel that take their time
 * compat.h   what kernels lack
 *
 * Locks, outermost first: handler->lock, then whatever LUO takes, then
 * luo_test_files_lock, file->lock, and the spinlocks.  LUO calls back with its
 * own locks held, so no callback may take handler->lock.
 */
#ifndef LUO_TEST_H
#define LUO_TEST_H

#ifdef pr_fmt
#undef pr_fmt
#endif
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/liveupdate.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include "compat.h"

#define LUO_TEST_MAX_HANDLERS	4
/* One more than LUO has room for, so that its limit can be reached. */
#define LUO_TEST_MAX_FLBS	64
#define LUO_TEST_FILE_MAX	(64 * 1024)

struct seq_file;

/* Callbacks that LUO can make; an FLB knows only some of them. */
enum luo_test_cb {
	LUO_TEST_CAN_PRESERVE,
	LUO_TEST_PRESERVE,
	LUO_TEST_UNPRESERVE,
	LUO_TEST_FREEZE,
	LUO_TEST_UNFREEZE,
	LUO_TEST_RETRIEVE,
	LUO_TEST_CAN_FINISH,
	LUO_TEST_FINISH,
	LUO_TEST_NR_CBS,
};

#define LUO_TEST_HANDLER_CBS	(BIT(LUO_TEST_NR_CBS) - 1)
#define LUO_TEST_FLB_CBS	(BIT(LUO_TEST_PRESERVE) | BIT(LUO_TEST_UNPRESERVE) | \
				 BIT(LUO_TEST_RETRIEVE) | BIT(LUO_TEST_FINISH))
/* Those that cannot report an error. */
#define LUO_TEST_VOID_CBS	(BIT(LUO_TEST_UNPRESERVE) | BIT(LUO_TEST_UNFREEZE) | \
				 BIT(LUO_TEST_FINISH))

/**
 * struct luo_test_hook - One callback of one handler or FLB.
 * @calls: how often LUO made it
 * @err:   negative errno that the next @left calls return
 * @left:  calls still to fail; UINT_MAX fails all of them
 */
struct luo_test_hook {
	atomic_long_t calls;
	int err;
	unsigned int left;
};

/**
 * struct luo_test_target - What handlers and FLBs have in common.
 * @name:  "handler0", "flb3", as the debugfs files spell it
 * @cbs:   the callbacks that exist here, BIT(enum luo_test_cb)
 * @hooks: their counters and armed failures
 */
struct luo_test_target {
	char name[16];
	unsigned long cbs;
	struct luo_test_hook hooks[LUO_TEST_NR_CBS];
};

/**
 * struct luo_test_handler - A file handler and its device.
 * @target:     name, counters, failures
 * @fh:         what LUO gets
 * @misc:       /dev/luo_test, /dev/luo_test1, ...
 * @devname:    name of @misc
 * @index:      position in luo_test_handlers
 * @lock:       serializes registration; protects @registered and @flbs
 * @registered: LUO has @fh
 * @flbs:       FLBs linked to @fh
 */
struct luo_test_handler {
	struct luo_test_target target;
	struct liveupdate_file_handler fh;
	struct miscdevice misc;
	char devname[16];
	unsigned int index;
	struct mutex lock;	/* see above */
	bool registered;
	DECLARE_BITMAP(flbs, LUO_TEST_MAX_FLBS);
};

enum luo_test_flb_phase {
	LUO_TEST_FLB_NONE,
	LUO_TEST_FLB_LIVE,
	LUO_TEST_FLB_FINISHED,
};

/**
 * struct luo_test_flb_side - What one direction of an FLB is known to hold.
 * @phase:      nothing yet, preserved or retrieved, finished
 * @obj:        the object handed to LUO while live
 * @changes:    how often @obj was set
 * @generation: how many preservations this object's line has seen
 */
struct luo_test_flb_side {
	enum luo_test_flb_phase phase;
	void *obj;
	unsigned long changes;
	u64 generation;
};

/**
 * struct luo_test_flb - A file-lifecycle-bound object.
 * @target:   name, counters, failures
 * @flb:      what LUO gets
 * @index:    position in luo_test_flbs
 * @lock:     protects @outgoing and @incoming; a leaf
 * @outgoing: preserved for the next kernel
 * @incoming: received from the previous kernel
 * @held:     what "hold outgoing" looked up and "drop outgoing" gives back
 */
struct luo_test_flb {
	struct luo_test_target target;
	struct liveupdate_flb flb;
	unsigned int index;
	spinlock_t lock;	/* see above */
	struct luo_test_flb_side outgoing;
	struct luo_test_flb_side incoming;
	void *held;
};

/**
 * struct luo_test_stats - Module-wide counters.
 * @injected:      callbacks that failed because they were told to
 * @file_mismatch: preserved files that did not verify
 * @flb_mismatch:  FLB objects that did not verify
 * @violation:     callbacks out of order or with wrong arguments
 * @opened:        files opened through the device
 * @retrieved:     files made by the retrieve callback
 */
struct luo_test_stats {
	atomic_long_t injected;
	atomic_long_t file_mismatch;
	atomic_long_t flb_mismatch;
	atomic_long_t violation;
	atomic_long_t opened;
	atomic_long_t retrieved;
};

/**
 * struct luo_test_answer - What LUO said to a registration call.
 * @ret:     the return value, 0 where the function returns nothing
 * @is_void: the function returns nothing
 * @refused: this module refused, LUO was not asked
 */
struct luo_test_answer {
	int ret;
	bool is_void;
	bool refused;
};

extern struct luo_test_handler luo_test_handlers[LUO_TEST_MAX_HANDLERS];
extern struct luo_test_flb luo_test_flbs[LUO_TEST_MAX_FLBS];
extern unsigned int luo_test_nr_handlers;
extern unsigned int luo_test_nr_flbs;
extern bool luo_test_verbose;
extern unsigned int luo_test_delay_us;
extern bool luo_test_show_locks;
extern struct luo_test_stats luo_test_stats;

#define luo_test_log(fmt, ...)						\
do {									\
	if (READ_ONCE(luo_test_verbose))				\
		pr_info(fmt, ##__VA_ARGS__);				\
} while (0)

/* Not a WARN: a wrong byte is a finding of the test, it must not taint. */
#define luo_test_report(counter, fmt, ...)				\
do {									\
	atomic_long_inc(&luo_test_stats.counter);			\
	pr_err(#counter ": " fmt, ##__VA_ARGS__);			\
} while (0)

/*
 * Call a function that returns int in some kernels and nothing in others, and
 * yield an int either way.  Only the chosen branch has to type-check.
 */
#define luo_test_returns_void(call)					\
	__builtin_types_compatible_p(typeof(call), void)
#define luo_test_int_or_void(call)					\
	__builtin_choose_expr(luo_test_returns_void(call), ((call), 0), (call))

/* FNV-1a; start with LUO_TEST_SUM_SEED, or go on from an earlier sum. */
#define LUO_TEST_SUM_SEED	0xcbf29ce484222325ULL
u64 luo_test_sum(u64 sum, const void *data, size_t len);

/* main.c */
bool luo_test_unregister_is_void(void);
struct luo_test_answer luo_test_register_handler(struct luo_test_handler *h);
struct luo_test_answer luo_test_unregister_handler(struct luo_test_handler *h);
struct luo_test_answer luo_test_register_flb(struct luo_test_handler *h,
					     struct luo_test_flb *f);
struct luo_test_answer luo_test_unregister_flb(struct luo_test_handler *h,
					       struct luo_test_flb *f);
struct luo_test_answer luo_test_force_flb(struct luo_test_handler *h,
					  struct luo_test_flb *f);
struct luo_test_answer luo_test_register_all(void);
struct luo_test_answer luo_test_unregister_all(void);

/* file.c */
extern const struct liveupdate_file_ops luo_test_file_ops;
extern const struct liveupdate_file_ops luo_test_ownerless_ops;
extern const struct file_operations luo_test_fops;
unsigned int luo_test_files_open(void);
void luo_test_files_show(struct seq_file *m);

/* flb.c */
extern const struct liveupdate_flb_ops luo_test_flb_ops;
int luo_test_flb_get(struct luo_test_flb *f, bool incoming, void **obj);
void luo_test_flb_put(struct luo_test_flb *f, bool incoming);
unsigned long luo_test_flb_changes(struct luo_test_flb *f, bool incoming);
int luo_test_flb_check_obj(struct luo_test_flb *f, bool incoming, const void *obj,
			   unsigned long changes);

/* hook.c */
int luo_test_enter(struct luo_test_target *t, enum luo_test_cb cb);
int luo_test_arm(char *spec);
void luo_test_disarm_all(void);
void luo_test_armed_show(struct seq_file *m);
void luo_test_counters_show(struct seq_file *m);
void luo_test_counters_reset(void);

/* race.c */
int luo_test_race(bool incoming);
int luo_test_storm(unsigned int ms);

/* stall.c; without kprobes, all of them return -EOPNOTSUPP */
int luo_test_stall_call(const char *symbol, unsigned int ms, const char *caller);
int luo_test_stall_begun(void);
int luo_test_stall_over(void);
void luo_test_stall_exit(void);

/* control.c */
int luo_test_control_init(void);
void luo_test_control_exit(void);

#endif /* LUO_TEST_H */
