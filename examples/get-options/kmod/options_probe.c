// SPDX-License-Identifier: GPL-2.0-only
/*
 * Show what get_options() makes of a list: the list and the room go in as
 * parameters, the results come out as further parameters, in
 * /sys/module/options_probe/parameters.
 */
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>

#define MAX_ROOM	16
#define UNTOUCHED	INT_MIN

static char *list = "";
module_param(list, charp, 0444);
MODULE_PARM_DESC(list, "what to parse, such as 1,4-9");

static unsigned int room = MAX_ROOM;
module_param(room, uint, 0444);
MODULE_PARM_DESC(room, "how many numbers the array can hold (1-16, default 16)");

static int counted;
module_param(counted, int, 0444);
MODULE_PARM_DESC(counted, "result: how many numbers get_options() says it stored");

static int stored;
module_param(stored, int, 0444);
MODULE_PARM_DESC(stored, "result: how many elements it wrote to, past the array's end too");

static int __init options_probe_init(void)
{
	/* The count, the numbers, and as much again that is not to be touched */
	int ints[1 + 2 * MAX_ROOM];
	int i;

	if (room < 1 || room > MAX_ROOM)
		return -EINVAL;

	for (i = 0; i < ARRAY_SIZE(ints); i++)
		ints[i] = UNTOUCHED;

	get_options(list, 1 + room, ints);

	counted = ints[0];
	stored = 0;
	for (i = 1; i < ARRAY_SIZE(ints); i++)
		if (ints[i] != UNTOUCHED)
			stored++;
	return 0;
}
module_init(options_probe_init);

static void __exit options_probe_exit(void)
{
}
module_exit(options_probe_exit);

MODULE_DESCRIPTION("Shows what get_options() makes of a list");
MODULE_LICENSE("GPL");
