// SPDX-License-Identifier: GPL-2.0-only
/* Verbs for live update sessions: README.md lists them. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/liveupdate.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEVICE		"/dev/liveupdate"
#define SESSION		"session"
#define KMSG		"/dev/kmsg"

static int device_open(void)
{
	return faulty_open(DEVICE, O_RDWR | O_CLOEXEC);
}

/* Ask the device; it is open for that long only, since it has one opener. */
static int device_ioctl(unsigned long request, const char *name)
{
	/* Both requests have this layout. */
	struct liveupdate_ioctl_create_session arg = { .size = sizeof(arg) };
	int device, err, saved;

	if (strlen(name) > sizeof(arg.name)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	/* A name of full length goes without its NUL: what then is the kernel's business. */
	memcpy(arg.name, name, strlen(name));
	device = device_open();
	if (device < 0)
		return -1;
	err = faulty_ioctl(device, request, &arg);
	saved = errno;
	close(device);
	errno = saved;
	return err ? -1 : arg.fd;
}

static void session_open(struct json *j, const char *op, unsigned long request, const char *name,
			 const char *held)
{
	int fd;

	if (held_find(SESSION, held) >= 0) {
		json_usage(j, "the agent holds a session of that name");
		return;
	}
	fd = device_ioctl(request, name);
	json_result(j, op, fd < 0 ? -1 : held_add(SESSION, held, fd));
}

static void session_create(struct json *j, int argc, char **argv)
{
	session_open(j, "create", LIVEUPDATE_IOCTL_CREATE_SESSION, argv[0], argv[0]);
}

static void session_retrieve(struct json *j, int argc, char **argv)
{
	session_open(j, "retrieve session", LIVEUPDATE_IOCTL_RETRIEVE_SESSION, argv[0],
		     argv[argc - 1]);
}

static void session_finish(struct json *j, int argc, char **argv)
{
	struct liveupdate_session_finish arg = { .size = sizeof(arg) };
	int session = held_find(SESSION, argv[0]);

	json_result(j, "finish",
		    session < 0 ? -1 : faulty_ioctl(session, LIVEUPDATE_SESSION_FINISH, &arg));
}

static void session_close(struct json *j, int argc, char **argv)
{
	json_result(j, "close session", held_drop(SESSION, argv[0]));
}

static void session_list(struct json *j, int argc, char **argv)
{
	held_list(j, SESSION);
}

/* One record of the kernel's log.  dprintf(3) seeks first, which this file refuses. */
static void log_session(int log, const char *what, const char *name)
{
	char text[128];
	int len = snprintf(text, sizeof(text), "<3>harness: %s %s\n", what, name);

	if (write(log, text, len) != len)
		_exit(1);
}

/*
 * Create sessions as long as the machine lives, and tell the console of each one that there is.
 * A process of its own holds them: what the kernel is busy with does not keep it.
 */
static void session_flood(struct json *j, int argc, char **argv)
{
	struct timespec pause = { .tv_nsec = 500 * 1000 };
	int log = open(KMSG, O_WRONLY | O_CLOEXEC);
	unsigned int n = 0;
	char name[64];

	while (log >= 0) {
		snprintf(name, sizeof(name), "%s-%u", argv[0], n);
		if (device_ioctl(LIVEUPDATE_IOCTL_CREATE_SESSION, name) >= 0) {
			log_session(log, "created", name);
			n++;
		} else if (errno != EBUSY) {
			log_session(log, "not created", name);
			pause.tv_sec = 60;
		}
		nanosleep(&pause, NULL);
	}
	json_result(j, "flood", -1);
}

static void preserve(struct json *j, int argc, char **argv)
{
	struct liveupdate_session_preserve_fd arg = { .size = sizeof(arg) };
	int session = held_find(SESSION, argv[0]);
	int file = session < 0 ? -1 : held_find(HELD_FILE, argv[2]);
	uint64_t token;

	if (file < 0 || parse_number(argv[1], &token)) {
		json_result(j, "preserve", -1);
		return;
	}
	arg.fd = file;
	arg.token = token;
	json_result(j, "preserve", faulty_ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, &arg));
}

static void retrieve(struct json *j, int argc, char **argv)
{
	struct liveupdate_session_retrieve_fd arg = { .size = sizeof(arg) };
	int session = held_find(SESSION, argv[0]);
	uint64_t token;

	if (session < 0 || parse_number(argv[1], &token)) {
		json_result(j, "retrieve", -1);
		return;
	}
	arg.token = token;
	if (faulty_ioctl(session, LIVEUPDATE_SESSION_RETRIEVE_FD, &arg))
		json_result(j, "retrieve", -1);
	else
		json_result(j, "retrieve", held_add(HELD_FILE, argv[2], arg.fd));
}

/* Any ioctl, on a held session or on the device. */
static void raw(struct json *j, int argc, char **argv)
{
	bool on_device = !strcmp(argv[0], ".device");
	static struct ioctl_words words;
	int fd;

	if (ioctl_parse(j, &words, argc - 1, argv + 1))
		return;
	fd = on_device ? device_open() : held_find(SESSION, argv[0]);
	if (fd < 0) {
		json_result(j, "raw", -1);
		return;
	}
	ioctl_answer(j, "raw", &words, fd);
	if (on_device)
		close(fd);
}

static const struct agent_verb verbs[] = {
	{ "session create", "NAME", session_create },
	{ "session retrieve", "NAME [HELD]", session_retrieve },
	{ "session finish", "NAME", session_finish },
	{ "session close", "NAME", session_close },
	{ "session flood", "PREFIX", session_flood, .here = true },
	{ "session list", "", session_list },
	{ "preserve", "SESSION TOKEN FILE", preserve },
	{ "retrieve", "SESSION TOKEN FILE", retrieve },
	{ "raw", "SESSION|.device REQUEST HEX [read-only]", raw },
	{ }
};

static struct agent_part liveupdate = { .verbs = verbs };

AGENT_PART(liveupdate)
