// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device whose open files can be preserved, and the handler callbacks.
 *
 * An open /dev/luo_test is a buffer of up to LUO_TEST_FILE_MAX bytes with a
 * position.  Like any device file it holds a reference on this module through
 * its file_operations.  A handler therefore also takes one device of the memory
 * driver (/dev/null for handler 0), whose files do not pin this module: with
 * those, every reference that is seen was taken by LUO.
 */
#include "luo_test.h"

#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/list.h>
#include <linux/major.h>
#include <linux/mm.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define LUO_TEST_FILE_MAGIC	0x4c554f2d46494c45ULL

enum luo_test_kind {
	LUO_TEST_OWN,
	LUO_TEST_FOREIGN,
};

/* Layout in preserved memory. */
struct luo_test_file_ser {
	u64 magic;
	u32 kind;
	u32 handler;
	u64 id;
	u64 generation;
	u64 size;
	s64 pos;
	u64 data_sum;
	u64 head_sum;
	u8 data[];
} __packed;

/* An open file of our own. */
struct luo_test_file {
	struct luo_test_handler *handler;
	struct file *file;
	struct list_head list;
	struct mutex lock;		/* protects the rest */
	u64 id;				/* the same before and after an update */
	u64 generation;			/* updates survived */
	unsigned int preserved;
	size_t size;
	u8 *buf;
};

/* A device of the memory driver for each handler. */
static const struct {
	unsigned int minor;
	const char *path;
} luo_test_foreign[LUO_TEST_MAX_HANDLERS] = {
	{ 3, "/dev/null" }, { 5, "/dev/zero" }, { 7, "/dev/full" }, { 9, "/dev/urandom" },
};

static LIST_HEAD(luo_test_files);
static DEFINE_MUTEX(luo_test_files_lock);
static unsigned int luo_test_nr_files;
static u64 luo_test_last_id;

static struct luo_test_handler *to_handler(struct liveupdate_file_handler *fh)
{
	return container_of(fh, struct luo_test_handler, fh);
}

static bool is_own(const struct file *file)
{
	return file->f_op == &luo_test_fops;
}

static bool is_foreign(const struct luo_test_handler *h, const struct file *file)
{
	const struct inode *inode = file_inode(file);

	return S_ISCHR(inode->i_mode) &&
	       inode->i_rdev == MKDEV(MEM_MAJOR, luo_test_foreign[h->index].minor);
}

/* The file itself: an array of bytes. */

static struct luo_test_file *file_new(struct luo_test_handler *h, u64 id)
{
	struct luo_test_file *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return NULL;
	f->handler = h;
	mutex_init(&f->lock);
	guard(mutex)(&luo_test_files_lock);
	if (!id)
		id = luo_test_last_id + 1;
	luo_test_last_id = max(luo_test_last_id, id);
	f->id = id;
	list_add_tail(&f->list, &luo_test_files);
	luo_test_nr_files++;
	return f;
}

static void file_free(struct luo_test_file *f)
{
	scoped_guard(mutex, &luo_test_files_lock) {
		list_del(&f->list);
		luo_test_nr_files--;
	}
	if (f->preserved)
		luo_test_report(violation, "file%llu: released while preserved\n", f->id);
	kvfree(f->buf);
	mutex_destroy(&f->lock);
	kfree(f);
}

static int luo_test_open(struct inode *inode, struct file *file)
{
	struct luo_test_handler *h = container_of(file->private_data,
						  struct luo_test_handler, misc);
	struct luo_test_file *f = file_new(h, 0);

	if (!f)
		return -ENOMEM;
	f->file = file;
	file->private_data = f;
	atomic_long_inc(&luo_test_stats.opened);
	return 0;
}

static int luo_test_release(struct inode *inode, struct file *file)
{
	file_free(file->private_data);
	return 0;
}

static ssize_t luo_test_read(struct file *file, char __user *to, size_t len, loff_t *pos)
{
	struct luo_test_file *f = file->private_data;

	guard(mutex)(&f->lock);
	return simple_read_from_buffer(to, len, pos, f->buf, f->size);
}

static ssize_t luo_test_write(struct file *file, const char __user *from, size_t len,
			      loff_t *pos)
{
	struct luo_test_file *f = file->private_data;
	ssize_t done;

	guard(mutex)(&f->lock);
	/* What was preserved is a copy: it would no longer be the contents. */
	if (f->preserved)
		return -EBUSY;
	if (*pos >= LUO_TEST_FILE_MAX && len)
		return -EFBIG;
	if (!f->buf) {
		f->buf = kvzalloc(LUO_TEST_FILE_MAX, GFP_KERNEL);
		if (!f->buf)
			return -ENOMEM;
	}
	done = simple_write_to_buffer(f->buf, LUO_TEST_FILE_MAX, pos, from, len);
	if (done > 0)
		f->size = max_t(size_t, f->size, *pos);
	return done;
}

static loff_t luo_test_llseek(struct file *file, loff_t offset, int whence)
{
	struct luo_test_file *f = file->private_data;

	guard(mutex)(&f->lock);
	return generic_file_llseek_size(file, offset, whence, LUO_TEST_FILE_MAX, f->size);
}

const struct file_operations luo_test_fops = {
	.owner		= THIS_MODULE,
	.open		= luo_test_open,
	.release	= luo_test_release,
	.read		= luo_test_read,
	.write		= luo_test_write,
	.llseek		= luo_test_llseek,
};

/**
 * luo_test_files_open - Count the struct files of our own that exist.
 *
 * Return: files held open by user space, by LUO or by both; each is one module
 * reference that LUO did not take.
 */
unsigned int luo_test_files_open(void)
{
	guard(mutex)(&luo_test_files_lock);
	return luo_test_nr_files;
}

/**
 * luo_test_files_show - Print one line for each open file.
 * @m: where to
 */
void luo_test_files_show(struct seq_file *m)
{
	struct luo_test_file *f;

	guard(mutex)(&luo_test_files_lock);
	list_for_each_entry(f, &luo_test_files, list) {
		guard(mutex)(&f->lock);
		seq_printf(m,
			   "file%llu handler %u size %zu pos %lld sum %016llx preserved %u generation %llu\n",
			   f->id, f->handler->index, f->size,
			   f->file ? READ_ONCE(f->file->f_pos) : 0,
			   luo_test_sum(LUO_TEST_SUM_SEED, f->buf, f->size),
			   f->preserved, f->generation);
	}
}

/* The handler callbacks. */

static u64 head_sum(const struct luo_test_file_ser *ser)
{
	return luo_test_sum(LUO_TEST_SUM_SEED, ser,
			    offsetof(struct luo_test_file_ser, head_sum));
}

/* Set in the data by freeze, so that what freeze changed is seen to arrive. */
#define LUO_TEST_FROZEN	1ull

static struct luo_test_file_ser *args_ser(const struct liveupdate_file_op_args *args)
{
	u64 data = args->serialized_data & ~LUO_TEST_FROZEN;

	return data ? phys_to_virt(data) : NULL;
}

/* Is it the data that freeze left there?  Counts a violation if not. */
static int args_verify_frozen(const struct luo_test_handler *h,
			      const struct liveupdate_file_op_args *args, enum luo_test_cb cb)
{
	if (args->serialized_data & LUO_TEST_FROZEN)
		return 0;
	luo_test_report(violation, "%s: callback %d without what freeze changed\n",
			h->target.name, cb);
	return -EBADMSG;
}

/* Is this memory what preserve left there?  Counts a mismatch if not. */
static int ser_verify(struct luo_test_handler *h, const struct luo_test_file_ser *ser)
{
	u64 sum;

	if (!ser) {
		luo_test_report(file_mismatch, "%s: no data\n", h->target.name);
		return -EBADMSG;
	}
	if (ser->magic != LUO_TEST_FILE_MAGIC || ser->head_sum != head_sum(ser) ||
	    ser->size > LUO_TEST_FILE_MAX) {
		luo_test_report(file_mismatch, "%s: magic %#llx size %llu, header is damaged\n",
				h->target.name, ser->magic, ser->size);
		return -EBADMSG;
	}
	sum = luo_test_sum(LUO_TEST_SUM_SEED, ser->data, ser->size);
	if (ser->handler != h->index || ser->data_sum != sum) {
		luo_test_report(file_mismatch,
				"%s: file%llu of handler %u, sum %#llx, expected %#llx\n",
				h->target.name, ser->id, ser->handler, sum, ser->data_sum);
		return -EBADMSG;
	}
	return 0;
}

static bool luo_test_can_preserve(struct liveupdate_file_handler *fh, struct file *file)
{
	struct luo_test_handler *h = to_handler(fh);

	if (luo_test_enter(&h->target, LUO_TEST_CAN_PRESERVE))
		return false;
	if (is_own(file))
		return ((struct luo_test_file *)file->private_data)->handler == h;
	return is_foreign(h, file);
}

/* Fill in the copy of a file; @f is NULL for a foreign one. */
static void ser_fill(struct luo_test_file_ser *ser, struct luo_test_handler *h,
		     struct luo_test_file *f)
{
	ser->magic = LUO_TEST_FILE_MAGIC;
	ser->handler = h->index;
	ser->kind = f ? LUO_TEST_OWN : LUO_TEST_FOREIGN;
	if (f) {
		ser->id = f->id;
		ser->generation = f->generation + 1;
		ser->size = f->size;
		ser->pos = READ_ONCE(f->file->f_pos);
		if (f->size)
			memcpy(ser->data, f->buf, f->size);
	}
	ser->data_sum = luo_test_sum(LUO_TEST_SUM_SEED, ser->data, ser->size);
	ser->head_sum = head_sum(ser);
}

static int luo_test_preserve(struct liveupdate_file_op_args *args)
{
	struct luo_test_handler *h = to_handler(args->handler);
	struct luo_test_file *f = NULL;
	struct luo_test_file_ser *ser;
	int err;

	err = luo_test_enter(&h->target, LUO_TEST_PRESERVE);
	if (err)
		return err;

	if (is_own(args->file)) {
		f = args->file->private_data;
		mutex_lock(&f->lock);
	}
	ser = kho_alloc_preserve(sizeof(*ser) + (f ? f->size : 0));
	if (IS_ERR(ser)) {
		err = PTR_ERR(ser);
		goto out_unlock;
	}
	ser_fill(ser, h, f);
	if (f)
		f->preserved++;
	args->serialized_data = virt_to_phys(ser);
	/* As it is found again: an address has no tag of KASAN's. */
	args->private_data = args_ser(args);
out_unlock:
	if (f)
		mutex_unlock(&f->lock);
	return err;
}

static void luo_test_unpreserve(struct liveupdate_file_op_args *args)
{
	struct luo_test_handler *h = to_handler(args->handler);
	struct luo_test_file_ser *ser = args_ser(args);

	luo_test_enter(&h->target, LUO_TEST_UNPRESERVE);
	if (!ser || ser != args->private_data) {
		luo_test_report(violation, "%s: unpreserve with foreign data\n", h->target.name);
		return;
	}
	ser_verify(h, ser);
	if (is_own(args->file)) {
		struct luo_test_file *f = args->file->private_data;

		guard(mutex)(&f->lock);
		f->preserved--;
	}
	kho_unpreserve_free(ser);
}

static int luo_test_freeze(struct liveupdate_file_op_args *args)
{
	struct luo_test_handler *h = to_handler(args->handler);
	struct luo_test_file_ser *ser = args_ser(args);
	int err;

	err = luo_test_enter(&h->target, LUO_TEST_FREEZE);
	if (err)
		return err;
	if (!ser || ser != args->private_data) {
		luo_test_report(violation, "%s: freeze with foreign data\n", h->target.name);
		return -EINVAL;
	}
	if (ser_verify(h, ser))
		return -EBADMSG;
	/* Reading moves the position also after the file was preserved. */
	if (is_own(args->file)) {
		ser->pos = READ_ONCE(args->file->f_pos);
		ser->head_sum = head_sum(ser);
	}
	args->serialized_data |= LUO_TEST_FROZEN;
	return 0;
}

static void luo_test_unfreeze(struct liveupdate_file_op_args *args)
{
	struct luo_test_handler *h = to_handler(args->handler);

	luo_test_enter(&h->target, LUO_TEST_UNFREEZE);
	if (args_ser(args) != args->private_data)
		luo_test_report(violation, "%s: unfreeze with foreign data\n", h->target.name);
	args_verify_frozen(h, args, LUO_TEST_UNFREEZE);
}

/* Make the file that @ser describes. */
static struct file *ser_to_file(struct luo_test_handler *h, const struct luo_test_file_ser *ser)
{
	struct luo_test_file *f;
	struct file *file;

	if (ser->kind == LUO_TEST_FOREIGN)
		return filp_open(luo_test_foreign[h->index].path, O_RDWR, 0);

	f = file_new(h, ser->id);
	if (!f)
		return ERR_PTR(-ENOMEM);
	if (ser->size) {
		f->buf = kvzalloc(LUO_TEST_FILE_MAX, GFP_KERNEL);
		if (!f->buf) {
			file = ERR_PTR(-ENOMEM);
			goto err_free;
		}
		memcpy(f->buf, ser->data, ser->size);
	}
	f->size = ser->size;
	f->generation = ser->generation;

	file = anon_inode_getfile_fmode("[luo_test]", &luo_test_fops, f, O_RDWR,
					FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE);
	if (IS_ERR(file))
		goto err_free;
	file->f_pos = ser->pos;
	scoped_guard(mutex, &f->lock)
		f->file = file;
	luo_test_log("%s: file%llu is back, generation %llu, %llu bytes, position %lld\n",
		     h->target.name, f->id, ser->generation, ser->size, ser->pos);
	return file;

err_free:
	file_free(f);
	return file;
}

static int luo_test_retrieve(struct liveupdate_file_op_args *args)
{
	struct luo_test_handler *h = to_handler(args->handler);
	struct luo_test_file_ser *ser = args_ser(args);
	struct file *file;
	int err;

	err = luo_test_enter(&h->target, LUO_TEST_RETRIEVE);
	if (!err)
		err = ser_verify(h, ser);
	if (!err)
		err = args_verify_frozen(h, args, LUO_TEST_RETRIEVE);
	if (!err) {
		file = ser_to_file(h, ser);
		err = PTR_ERR_OR_ZERO(file);
	}
	/* LUO never asks again, whatever we answer: this was the last use. */
	kho_restore_free(ser);
	if (err)
		return err;
	atomic_long_inc(&luo_test_stats.retrieved);
	args->file = file;
	return 0;
}

static bool luo_test_can_finish(struct liveupdate_file_op_args *args)
{
	struct luo_test_handler *h = to_handler(args->handler);
	bool retrieved = args->retrieve_status > 0;

	args_verify_frozen(h, args, LUO_TEST_CAN_FINISH);
	if (retrieved != !!args->file)
		luo_test_report(violation, "%s: can_finish with status %d and %s file\n",
				h->target.name, args->retrieve_status,
				args->file ? "a" : "no");
	return !luo_test_enter(&h->target, LUO_TEST_CAN_FINISH);
}

static void luo_test_finish(struct liveupdate_file_op_args *args)
{
	struct luo_test_handler *h = to_handler(args->handler);
	struct luo_test_file_ser *ser = args_ser(args);
	bool retrieved = args->retrieve_status > 0;

	luo_test_enter(&h->target, LUO_TEST_FINISH);
	args_verify_frozen(h, args, LUO_TEST_FINISH);
	if (retrieved != !!args->file)
		luo_test_report(violation, "%s: finish with status %d and %s file\n",
				h->target.name, args->retrieve_status,
				args->file ? "a" : "no");
	/* Retrieve has released the memory, even where it failed. */
	if (args->retrieve_status)
		return;
	if (!ser_verify(h, ser))
		luo_test_log("%s: file%llu is not wanted\n", h->target.name, ser->id);
	kho_restore_free(ser);
}

#define LUO_TEST_FILE_CALLBACKS					\
	.can_preserve	= luo_test_can_preserve,		\
	.preserve	= luo_test_preserve,			\
	.unpreserve	= luo_test_unpreserve,			\
	.freeze		= luo_test_freeze,			\
	.unfreeze	= luo_test_unfreeze,			\
	.retrieve	= luo_test_retrieve,			\
	.can_finish	= luo_test_can_finish,			\
	.finish		= luo_test_finish

const struct liveupdate_file_ops luo_test_file_ops = {
	LUO_TEST_FILE_CALLBACKS,
	.owner		= THIS_MODULE,
};

/* As a handler that is built into the kernel has them: nothing is pinned. */
const struct liveupdate_file_ops luo_test_ownerless_ops = {
	LUO_TEST_FILE_CALLBACKS,
};
