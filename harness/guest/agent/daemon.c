// SPDX-License-Identifier: GPL-2.0-only
/* What runs in the background: the daemon, and the one who listens for clients. */
#define _GNU_SOURCE
#include "internal.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVER_SECONDS	5

static struct json json;
static char packet[AGENT_PACKET];

/* Split a packet into words; -1 when it is not one. */
static int words_of(char *data, size_t len, char **argv)
{
	int argc = 0;

	if (!len || data[len - 1])
		return -1;
	for (size_t at = 0; at < len; at += strlen(data + at) + 1) {
		if (argc == AGENT_MAX_ARGS)
			return -1;
		argv[argc++] = data + at;
	}
	argv[argc] = NULL;
	return argc;
}

static void serve(int client)
{
	char *argv[AGENT_MAX_ARGS + 1];
	ssize_t len;
	int argc;

	deadline(client, SERVER_SECONDS);
	len = recv(client, packet, sizeof(packet), MSG_TRUNC);
	if (len <= 0)
		return;
	argc = len > (ssize_t)sizeof(packet) ? -1 : words_of(packet, len, argv);
	if (argc < 1)
		json_usage(&json, "not a request");
	else
		verb_run(&json, argc, argv);
	send(client, json.text, json.len, MSG_NOSIGNAL);
}

/* Go on in the background; whoever started the program goes on as well. */
static void detach(void)
{
	int null;

	switch (fork()) {
	case -1:
		perror("fork");
		exit(3);
	case 0:
		break;
	default:
		exit(0);
	}
	setsid();
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	signal(SIGPIPE, SIG_IGN);
}

int daemon_run(void)
{
	struct rlimit files = { .rlim_cur = 65536, .rlim_max = 65536 };
	struct sockaddr_un a = agent_address();
	int listener;

	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	unlink(a.sun_path);
	if (listener < 0 || bind(listener, (void *)&a, sizeof(a)) || listen(listener, 64)) {
		perror(a.sun_path);
		return 3;
	}
	chmod(a.sun_path, 0600);
	setrlimit(RLIMIT_NOFILE, &files);

	/* The socket takes requests from here on, so the caller may go on. */
	detach();
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			continue;
		serve(client);
		close(client);
	}
}

/* Whoever connects talks to a process of its own, and starts none: fork() is cheap here. */
int listen_run(void)
{
	const char *port = getenv("HARNESS_AGENT_PORT");
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons(port ? atoi(port) : AGENT_PORT),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listener < 0 || bind(listener, (void *)&a, sizeof(a)) || listen(listener, 64)) {
		perror("listen");
		return 3;
	}
	detach();
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (client < 0)
			continue;
		if (!fork()) {
			setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
			dup2(client, STDIN_FILENO);
			dup2(client, STDOUT_FILENO);
			close(client);
			close(listener);
			exit(lines());
		}
		close(client);
	}
}
