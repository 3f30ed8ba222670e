// SPDX-License-Identifier: GPL-2.0-only
/* Whoever asks: one request, or one a line. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CLIENT_SECONDS	120

static struct json json;
static char packet[AGENT_PACKET];

struct sockaddr_un agent_address(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *path = getenv("HARNESS_AGENT_SOCKET");

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path ? path : AGENT_SOCKET);
	return a;
}

void deadline(int fd, int seconds)
{
	struct timeval tv = { .tv_sec = seconds };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static int no_answer(void)
{
	json_error(&json, "agent", errno);
	puts(json.text);
	return 3;
}

/* Pass a request on to the daemon, and its answer to standard output. */
static int request(int argc, char **argv)
{
	struct sockaddr_un a = agent_address();
	size_t len = 0;
	ssize_t n;
	int fd;

	for (int i = 0; i < argc; i++) {
		size_t word = strlen(argv[i]) + 1;

		if (len + word > sizeof(packet)) {
			errno = E2BIG;
			return no_answer();
		}
		memcpy(packet + len, argv[i], word);
		len += word;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return no_answer();
	deadline(fd, CLIENT_SECONDS);
	if (connect(fd, (void *)&a, sizeof(a)) || send(fd, packet, len, MSG_NOSIGNAL) < 0) {
		close(fd);
		return no_answer();
	}
	n = recv(fd, packet, sizeof(packet) - 1, 0);
	/*
	 * A kernel that looks for a packet and then for the end, just when both arrive, tells of
	 * the end alone (__skb_wait_for_more_packets() in net/core/datagram.c).
	 */
	if (!n)
		n = recv(fd, packet, sizeof(packet) - 1, MSG_DONTWAIT);
	close(fd);
	if (n <= 0) {
		errno = n ? errno : ECONNRESET;
		return no_answer();
	}
	packet[n] = '\0';
	puts(packet);
	return json_status(packet);
}

/* Print the answer to one request; return the exit status that goes with it. */
int answer(int argc, char **argv)
{
	int words;
	const struct agent_verb *verb = verb_find(argc, argv, &words);

	if (!verb || !verb->here)
		return request(argc, argv);
	verb_run(&json, argc, argv);
	puts(json.text);
	return json_status(json.text);
}

/* Split a line into words; -1 when there are too many. */
static int words_of_line(char *line, char **argv)
{
	char *rest = line, *word;
	int argc = 0;

	line[strcspn(line, "\n")] = '\0';
	while (argc < AGENT_MAX_ARGS && (word = strsep(&rest, "\t")))
		argv[argc++] = word;
	argv[argc] = NULL;
	return rest ? -1 : argc;
}

static bool too_long(void)
{
	json_usage(&json, "a command has 64 words at most");
	puts(json.text);
	return true;
}

/*
 * An answer for each line, until the input ends.  "batch N" has no answer of its own: of the
 * N lines after it, those behind the first that fails are left out.
 */
int lines(void)
{
	char *line = NULL, *argv[AGENT_MAX_ARGS + 1];
	unsigned long batch = 0;
	bool failed = false;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 0) {
		int argc = words_of_line(line, argv);

		if (!batch && argc == 2 && !strcmp(argv[0], "batch")) {
			batch = strtoul(argv[1], NULL, 10);
			failed = false;
			continue;
		}
		if (!batch || !failed) {
			failed = argc < 0 ? too_long() : answer(argc, argv) != 0;
			fflush(stdout);
		}
		if (batch)
			batch--;
	}
	free(line);
	return 0;
}
