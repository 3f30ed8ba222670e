/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What kernels lack: one source is compiled for all of them.
 *
 * HAVE_... comes with the features of suite.yaml, which a tree is asked for.
 */
#ifndef LUO_TEST_COMPAT_H
#define LUO_TEST_COMPAT_H

#include <linux/liveupdate.h>

/* Lookups that take no reference leave none to put. */
#ifndef HAVE_FLB_PUT_INCOMING
static inline void liveupdate_flb_put_incoming(struct liveupdate_flb *flb) { }
#endif

#ifndef HAVE_FLB_PUT_OUTGOING
static inline void liveupdate_flb_put_outgoing(struct liveupdate_flb *flb) { }
#define LUO_TEST_NOTHING_OUTGOING	0
#else
/* What the lookup of an FLB answers that no preserved file needs. */
#define LUO_TEST_NOTHING_OUTGOING	-ENOENT
#endif

#endif /* LUO_TEST_COMPAT_H */
