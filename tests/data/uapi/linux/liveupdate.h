/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of the live update interface that the guest's agent is built with:
 * names, numbers and layouts of Linux 7.0, so that unit tests need no kernel tree.
 */
#ifndef TEST_LIVEUPDATE_H
#define TEST_LIVEUPDATE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define LIVEUPDATE_SESSION_NAME_LENGTH 64

/* on /dev/liveupdate */

struct liveupdate_ioctl_create_session {
	__u32 size;
	__s32 fd;
	__u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];
};

struct liveupdate_ioctl_retrieve_session {
	__u32 size;
	__s32 fd;
	__u8 name[LIVEUPDATE_SESSION_NAME_LENGTH];
};

#define LIVEUPDATE_IOCTL_CREATE_SESSION		_IO(0xBA, 0x00)
#define LIVEUPDATE_IOCTL_RETRIEVE_SESSION	_IO(0xBA, 0x01)

/* on a session */

struct liveupdate_session_preserve_fd {
	__u32 size;
	__s32 fd;
	__aligned_u64 token;
};

struct liveupdate_session_retrieve_fd {
	__u32 size;
	__s32 fd;
	__aligned_u64 token;
};

struct liveupdate_session_finish {
	__u32 size;
	__u32 reserved;
};

#define LIVEUPDATE_SESSION_PRESERVE_FD		_IO(0xBA, 0x40)
#define LIVEUPDATE_SESSION_RETRIEVE_FD		_IO(0xBA, 0x41)
#define LIVEUPDATE_SESSION_FINISH		_IO(0xBA, 0x42)

#endif
