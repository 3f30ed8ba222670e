// SPDX-License-Identifier: GPL-2.0-only
/* One line of JSON. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
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

static void put_text(struct json *j, const char *text)
{
	put(j, text, strlen(text));
}

/* What separates it from the value before, and its key if it has one. */
static void put_key(struct json *j, const char *key)
{
	char last = j->text[j->len - 1];

	if (last != '{' && last != '[')
		put_text(j, ",");
	if (!key)
		return;
	put_text(j, "\"");
	put_text(j, key);
	put_text(j, "\":");
}

void json_begin(struct json *j, bool ok)
{
	j->len = 0;
	j->full = false;
	put_text(j, ok ? "{\"ok\":true" : "{\"ok\":false");
}

/*
 * A string may hold any bytes.  Printable ASCII stands for itself; every other
 * byte becomes \u00XX, so that the reader gets the bytes back as Latin-1.
 */
void json_bytes(struct json *j, const char *key, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	char buf[8];

	put_key(j, key);
	put_text(j, "\"");
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] == '"' || bytes[i] == '\\')
			snprintf(buf, sizeof(buf), "\\%c", bytes[i]);
		else if (bytes[i] >= 0x20 && bytes[i] < 0x7f)
			snprintf(buf, sizeof(buf), "%c", bytes[i]);
		else
			snprintf(buf, sizeof(buf), "\\u%04x", bytes[i]);
		put_text(j, buf);
	}
	put_text(j, "\"");
}

void json_string(struct json *j, const char *key, const char *text)
{
	json_bytes(j, key, text, strlen(text));
}

void json_number(struct json *j, const char *key, long long value)
{
	char buf[32];

	snprintf(buf, sizeof(buf), "%lld", value);
	put_key(j, key);
	put_text(j, buf);
}

void json_hex(struct json *j, const char *key, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	char buf[3];

	put_key(j, key);
	put_text(j, "\"");
	for (size_t i = 0; i < len; i++) {
		snprintf(buf, sizeof(buf), "%02x", bytes[i]);
		put(j, buf, 2);
	}
	put_text(j, "\"");
}

void json_array(struct json *j, const char *key)
{
	put_key(j, key);
	put_text(j, "[");
}

void json_array_end(struct json *j)
{
	put_text(j, "]");
}

void json_object(struct json *j, const char *key)
{
	put_key(j, key);
	put_text(j, "{");
}

void json_object_end(struct json *j)
{
	put_text(j, "}");
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

/* A last word in an answer that has ended. */
void json_amend(struct json *j, const char *key, bool value)
{
	if (j->full || !j->len)
		return;
	j->len--;
	put_key(j, key);
	put_text(j, value ? "true" : "false");
	json_end(j);
}

void json_result(struct json *j, const char *op, int err)
{
	if (err) {
		json_error(j, op, errno);
	} else {
		json_begin(j, true);
		json_end(j);
	}
}

void json_error(struct json *j, const char *op, int error)
{
	const char *name = strerrorname_np(error);

	json_begin(j, false);
	json_string(j, "op", op);
	json_string(j, "error", name ? name : "unknown");
	json_number(j, "errno", error);
	json_end(j);
}

void json_usage(struct json *j, const char *message)
{
	json_begin(j, false);
	json_string(j, "error", "usage");
	json_string(j, "message", message);
	json_end(j);
}

int json_status(const char *text)
{
	if (!strncmp(text, "{\"ok\":true", 10))
		return 0;
	return strstr(text, "\"error\":\"usage\"") ? 2 : 1;
}
