// SPDX-License-Identifier: GPL-2.0-only
/*
 * harness-agent: keep files open, apart from any login, and do what a test asks for.
 *
 *   harness-agent daemon            serve requests until killed
 *   harness-agent lines             commands from standard input, one a line
 *   harness-agent listen            the same for all who connect, until killed
 *   harness-agent COMMAND ARGS...   one command; "help" lists them
 *
 * A request is one packet, its words separated by NUL; the answer is one packet,
 * one JSON object.  Exit status: 0 it worked, 1 it failed (the answer says how),
 * 2 wrong usage, 3 the daemon does not answer.
 */
#include "internal.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	static struct json json;

	if (!verbs_are_unique())
		return 3;
	if (argc == 2 && !strcmp(argv[1], "daemon"))
		return daemon_run();
	if (argc == 2 && !strcmp(argv[1], "lines"))
		return lines();
	if (argc == 2 && !strcmp(argv[1], "listen"))
		return listen_run();
	if (argc > 1 && argc - 1 <= AGENT_MAX_ARGS)
		return answer(argc - 1, argv + 1);
	json_usage(&json, "harness-agent daemon | lines | listen | COMMAND ARGS...");
	puts(json.text);
	return 2;
}
