// SPDX-License-Identifier: GPL-2.0-only
/* One line of JSON. */
#define _GNU_SOURCE
#include "agent.h"

#include <stdio.h>
#include <string.h>

static void put(struct json *j, const char *text, size_t len)
{
	/* Room for the closing brace and the NUL stays. */
	if (j->len + len + 3 > sizeof(j->text)) {
		j->full = true;
		return;
	}
	memcpy(j->text + j->len, text, len);
	j->len += len;
	j->text[j->len] = '\0';
}

void json_raw(struct json *j, const char *text)
{
	put(j, text, strlen(text));
}

/*
 * A string may hold any bytes.  Printable ASCII stands for itself; every other
 * byte becomes \u00XX, so that the reader gets the bytes back as Latin-1.
 */
static void put_string(struct json *j, const uint8_t *data, size_t len)
{
	char buf[8];

	put(j, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '"' || data[i] == '\\')
			snprintf(buf, sizeof(buf), "\\%c", data[i]);
		else if (data[i] >= 0x20 && data[i] < 0x7f)
			snprintf(buf, sizeof(buf), "%c", data[i]);
		else
			snprintf(buf, sizeof(buf), "\\u%04x", data[i]);
		put(j, buf, strlen(buf));
	}
	put(j, "\"", 1);
}

static void put_key(struct json *j, const char *key)
{
	json_raw(j, ",\"");
	json_raw(j, key);
	json_raw(j, "\":");
}

void json_begin(struct json *j, bool ok)
{
	j->len = 0;
	j->full = false;
	json_raw(j, ok ? "{\"ok\":true" : "{\"ok\":false");
}

void json_string(struct json *j, const char *key, const void *data, size_t len)
{
	put_key(j, key);
	put_string(j, data, len);
}

void json_number(struct json *j, const char *key, long long value)
{
	char buf[32];

	snprintf(buf, sizeof(buf), "%lld", value);
	put_key(j, key);
	json_raw(j, buf);
}

void json_hex(struct json *j, const char *key, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	char buf[3];

	put_key(j, key);
	put(j, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		snprintf(buf, sizeof(buf), "%02x", bytes[i]);
		put(j, buf, 2);
	}
	put(j, "\"", 1);
}

void json_end(struct json *j)
{
	if (j->full) {
		json_usage(j, "the answer is too long");
		return;
	}
	j->text[j->len++] = '}';
	j->text[j->len] = '\0';
}

void json_error(struct json *j, const char *op, int error)
{
	const char *name = strerrorname_np(error);

	json_begin(j, false);
	json_string(j, "op", op, strlen(op));
	json_string(j, "error", name ? name : "unknown", strlen(name ? name : "unknown"));
	json_number(j, "errno", error);
	json_end(j);
}

void json_usage(struct json *j, const char *message)
{
	json_begin(j, false);
	json_raw(j, ",\"error\":\"usage\"");
	json_string(j, "message", message, strlen(message));
	json_end(j);
}
