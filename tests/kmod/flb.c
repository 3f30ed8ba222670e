// SPDX-License-Identifier: GPL-2.0-only
/*
 * FLBs: each preserves one small object that says which FLB it belongs to and
 * which generation it is.  The next kernel verifies it when it is retrieved and
 * again when it is finished.
 */
#include "luo_test.h"

#include <linux/io.h>
#include <linux/kexec_handover.h>

#define LUO_TEST_FLB_MAGIC	0x4c554f2d464c4221ULL

/* Layout in preserved memory. */
struct luo_test_flb_ser {
	u64 magic;
	u64 index;
	u64 generation;
	u64 sum;
} __packed;

static struct luo_test_flb *to_flb(struct liveupdate_flb *flb)
{
	return container_of(flb, struct luo_test_flb, flb);
}

static u64 flb_sum(const struct luo_test_flb_ser *ser)
{
	return luo_test_sum(LUO_TEST_SUM_SEED, ser, offsetof(struct luo_test_flb_ser, sum));
}

static int flb_verify(struct luo_test_flb *f, const struct luo_test_flb_ser *ser)
{
	if (!ser) {
		luo_test_report(flb_mismatch, "%s: no object\n", f->target.name);
		return -EBADMSG;
	}
	if (ser->magic != LUO_TEST_FLB_MAGIC || ser->index != f->index ||
	    ser->sum != flb_sum(ser)) {
		luo_test_report(flb_mismatch,
				"%s: magic %#llx index %llu generation %llu sum %#llx\n",
				f->target.name, ser->magic, ser->index,
				ser->generation, ser->sum);
		return -EBADMSG;
	}
	return 0;
}

static void flb_set(struct luo_test_flb *f, struct luo_test_flb_side *side,
		    enum luo_test_flb_phase phase, struct luo_test_flb_ser *ser)
{
	guard(spinlock)(&f->lock);
	side->phase = phase;
	side->obj = ser;
	side->changes++;
	if (ser)
		side->generation = ser->generation;
}

static enum luo_test_flb_phase flb_phase(struct luo_test_flb *f,
					 const struct luo_test_flb_side *side)
{
	guard(spinlock)(&f->lock);
	return side->phase;
}

static int luo_test_flb_preserve(struct liveupdate_flb_op_args *args)
{
	struct luo_test_flb *f = to_flb(args->flb);
	struct luo_test_flb_ser *ser;
	int err;

	err = luo_test_enter(&f->target, LUO_TEST_PRESERVE);
	if (err)
		return err;
	if (flb_phase(f, &f->outgoing) == LUO_TEST_FLB_LIVE)
		luo_test_report(violation, "%s: preserved twice\n", f->target.name);

	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return PTR_ERR(ser);

	ser->magic = LUO_TEST_FLB_MAGIC;
	ser->index = f->index;
	scoped_guard(spinlock, &f->lock)
		ser->generation = f->incoming.generation + 1;
	ser->sum = flb_sum(ser);
	flb_set(f, &f->outgoing, LUO_TEST_FLB_LIVE, ser);
	luo_test_log("%s: generation %llu goes out\n", f->target.name, ser->generation);

	args->data = virt_to_phys(ser);
	args->obj = ser;
	return 0;
}

static void luo_test_flb_unpreserve(struct liveupdate_flb_op_args *args)
{
	struct luo_test_flb *f = to_flb(args->flb);
	void *obj;

	luo_test_enter(&f->target, LUO_TEST_UNPRESERVE);
	scoped_guard(spinlock, &f->lock)
		obj = f->outgoing.obj;
	if (!obj || args->obj != obj || args->data != virt_to_phys(obj)) {
		luo_test_report(violation, "%s: unpreserve of an object never preserved\n",
				f->target.name);
		return;
	}
	flb_verify(f, obj);
	flb_set(f, &f->outgoing, LUO_TEST_FLB_NONE, NULL);
	kho_unpreserve_free(obj);
}

static int luo_test_flb_retrieve(struct liveupdate_flb_op_args *args)
{
	struct luo_test_flb *f = to_flb(args->flb);
	struct luo_test_flb_ser *ser;
	int err;

	err = luo_test_enter(&f->target, LUO_TEST_RETRIEVE);
	if (err)
		return err;
	if (flb_phase(f, &f->incoming) != LUO_TEST_FLB_NONE)
		luo_test_report(violation, "%s: retrieved twice\n", f->target.name);

	ser = args->data ? phys_to_virt(args->data) : NULL;
	err = flb_verify(f, ser);
	if (err)
		return err;

	flb_set(f, &f->incoming, LUO_TEST_FLB_LIVE, ser);
	luo_test_log("%s: generation %llu came in\n", f->target.name, ser->generation);
	args->obj = ser;
	return 0;
}

static void luo_test_flb_finish(struct liveupdate_flb_op_args *args)
{
	struct luo_test_flb *f = to_flb(args->flb);
	struct luo_test_flb_ser *ser = args->obj;
	void *obj;

	luo_test_enter(&f->target, LUO_TEST_FINISH);
	scoped_guard(spinlock, &f->lock)
		obj = f->incoming.obj;
	if (!obj || obj != ser) {
		luo_test_report(violation, "%s: finish of an object never retrieved\n",
				f->target.name);
		return;
	}
	flb_verify(f, ser);
	flb_set(f, &f->incoming, LUO_TEST_FLB_FINISHED, NULL);
	/* Whoever is handed this object again must not take it for valid. */
	ser->magic = 0;
	kho_restore_free(ser);
}

/**
 * luo_test_flb_get - Look an FLB's object up.
 * @f:        the FLB
 * @incoming: from the previous kernel, or for the next
 * @obj:      where to put the object
 *
 * Return: what LUO answers; if it is 0, luo_test_flb_put() has to follow.
 */
int luo_test_flb_get(struct luo_test_flb *f, bool incoming, void **obj)
{
	return incoming ? liveupdate_flb_get_incoming(&f->flb, obj) :
			  liveupdate_flb_get_outgoing(&f->flb, obj);
}

/**
 * luo_test_flb_put - Give back what luo_test_flb_get() took.
 * @f:        the FLB
 * @incoming: as there
 */
void luo_test_flb_put(struct luo_test_flb *f, bool incoming)
{
	if (incoming)
		liveupdate_flb_put_incoming(&f->flb);
	else
		liveupdate_flb_put_outgoing(&f->flb);
}

static struct luo_test_flb_side *flb_side(struct luo_test_flb *f, bool incoming)
{
	return incoming ? &f->incoming : &f->outgoing;
}

/**
 * luo_test_flb_changes - Count how often an FLB's object came or went.
 * @f:        the FLB
 * @incoming: from the previous kernel, or for the next
 *
 * Return: the number of times so far.
 */
unsigned long luo_test_flb_changes(struct luo_test_flb *f, bool incoming)
{
	guard(spinlock)(&f->lock);
	return flb_side(f, incoming)->changes;
}

/**
 * luo_test_flb_check_obj - Compare what LUO hands out with what it was given.
 * @f:        the FLB
 * @incoming: from the previous kernel, or for the next
 * @obj:      what liveupdate_flb_get_incoming() or _outgoing() returned
 * @changes:  luo_test_flb_changes() from before that, or from now for an object
 *            that was to stay.  When it came or went since, another CPU did that,
 *            and nothing can be said.
 *
 * Return: 0, or -EBADMSG after counting a violation.
 */
int luo_test_flb_check_obj(struct luo_test_flb *f, bool incoming, const void *obj,
			   unsigned long changes)
{
	struct luo_test_flb_side *side = flb_side(f, incoming);

	scoped_guard(spinlock, &f->lock) {
		if (side->obj == obj || side->changes != changes)
			return 0;
	}
	luo_test_report(violation, "%s: LUO returned another %s object\n",
			f->target.name, incoming ? "incoming" : "outgoing");
	return -EBADMSG;
}

const struct liveupdate_flb_ops luo_test_flb_ops = {
	.preserve	= luo_test_flb_preserve,
	.unpreserve	= luo_test_flb_unpreserve,
	.retrieve	= luo_test_flb_retrieve,
	.finish		= luo_test_flb_finish,
	.owner		= THIS_MODULE,
};
