// SPDX-License-Identifier: GPL-2.0-only
/*
 * luo-call: make one system call and say what came of it, exactly.
 *
 *   luo-call kexec-load KERNEL INITRD CMDLINE   kexec_file_load(2)
 *   luo-call kexec                              reboot(2) into what was loaded
 *   luo-call rmmod NAME [force]                 delete_module(2), never waiting
 *
 * Exit status 0 when the call worked, 1 when it failed, with the errno's name
 * alone on standard error, 2 for wrong usage.  The kernel's answer reaches the
 * caller without a tool's own opinion in between.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failed(void)
{
	const char *name = strerrorname_np(errno);

	fprintf(stderr, "%s\n", name ? name : strerror(errno));
	return 1;
}

static int kexec_load(const char *kernel, const char *initrd, const char *cmdline)
{
	int kernel_fd = open(kernel, O_RDONLY | O_CLOEXEC);
	int initrd_fd = open(initrd, O_RDONLY | O_CLOEXEC);

	if (kernel_fd < 0 || initrd_fd < 0)
		return failed();
	/* The length counts the terminating NUL (kernel/kexec_file.c). */
	if (syscall(SYS_kexec_file_load, kernel_fd, initrd_fd,
		    strlen(cmdline) + 1, cmdline, 0UL))
		return failed();
	return 0;
}

static int kexec(void)
{
	sync();
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		LINUX_REBOOT_CMD_KEXEC, NULL);
	return failed();
}

static int rmmod(const char *name, int force)
{
	int flags = O_NONBLOCK | (force ? O_TRUNC : 0);

	return syscall(SYS_delete_module, name, flags) ? failed() : 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "kexec-load"))
		return kexec_load(argv[2], argv[3], argv[4]);
	if (argc == 2 && !strcmp(argv[1], "kexec"))
		return kexec();
	if (argc == 3 && !strcmp(argv[1], "rmmod"))
		return rmmod(argv[2], 0);
	if (argc == 4 && !strcmp(argv[1], "rmmod") && !strcmp(argv[3], "force"))
		return rmmod(argv[2], 1);
	fputs("usage: luo-call kexec-load KERNEL INITRD CMDLINE | kexec | rmmod NAME [force]\n",
	      stderr);
	return 2;
}
