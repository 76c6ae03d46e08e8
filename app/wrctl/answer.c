/* SPDX-License-Identifier: BSD-3-Clause */
/* Telemetry's flat, short-stringed answers made whole again. */
#include "wrctl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* "name/12" → the length of "name"; 0 for any other key. */
static size_t piece_base(const char *key)
{
	size_t n = strlen(key), digits = 0;
	while (digits < n && isdigit((unsigned char)key[n - digits - 1]))
		digits++;
	return digits && digits + 1 < n && key[n - digits - 1] == '/' ? n - digits - 1 : 0;
}

/* Appends a piece to the string that its first pieces became; false when it is no piece of a
 * string. */
static bool join_piece(json_t *body, const char *key, const json_t *value)
{
	size_t base = piece_base(key);
	char name[256];
	if (!base || base >= sizeof(name) || !json_is_string(value))
		return false;
	snprintf(name, sizeof(name), "%.*s", (int)base, key);
	const char *slash = strchr(name, '/');
	json_t *group = body;
	if (slash) {
		char group_name[256];
		snprintf(group_name, sizeof(group_name), "%.*s", (int)(slash - name), name);
		group = json_object_get(body, group_name);
		memmove(name, slash + 1, strlen(slash));
	}
	json_t *so_far = json_object_get(group, name);
	if (!json_is_string(so_far))
		return false;
	char *joined;
	if (asprintf(&joined, "%s%s", json_string_value(so_far), json_string_value(value)) < 0)
		return false;
	bool ok = json_string_set(so_far, joined) == 0;
	free(joined);
	return ok;
}

/* The object body[group], made when absent. */
static json_t *group_of(json_t *body, const char *key, size_t length)
{
	char name[256];
	if (length >= sizeof(name))
		return NULL;
	snprintf(name, sizeof(name), "%.*s", (int)length, key);
	json_t *group = json_object_get(body, name);
	if (!group) {
		group = json_object();
		if (json_object_set_new(body, name, group))
			return NULL;
	}
	return json_is_object(group) ? group : NULL;
}

int answer_merge(json_t *body, json_t *page, struct wr_errmsg *msg)
{
	const char *key;
	json_t *value;
	json_object_foreach(page, key, value)
	{
		if (!strcmp(key, "status") || !strcmp(key, "page") || !strcmp(key, "pages"))
			continue;
		if (join_piece(body, key, value))
			continue;
		const char *slash = strchr(key, '/');
		json_t *to = slash ? group_of(body, key, (size_t)(slash - key)) : body;
		if (!to || json_object_set(to, slash ? slash + 1 : key, value))
			return wr_fail(msg, WR_EFORMAT,
				"the answer holds '%.64s', which fits nowhere", key);
	}
	return WR_OK;
}

json_t *answer_config(json_t *body)
{
	const char *section, *key;
	json_t *keys, *value, *config = json_object();
	json_object_foreach(body, section, keys)
	{
		json_t *shaped = json_object();
		json_object_foreach(keys, key, value)
		{
			char origin[256];
			if (strchr(key, '/'))
				continue;
			snprintf(origin, sizeof(origin), "%s/from", key);
			json_object_set_new(shaped, key,
				json_pack("{s:O, s:O?}", "value", value, "from",
					json_object_get(keys, origin)));
		}
		json_object_set_new(config, section, shaped);
	}
	return config;
}

uint64_t number_at(const json_t *object, const char *path)
{
	const char *slash = strchr(path, '/');
	const json_t *value = NULL;
	if (slash) {
		char group[64];
		snprintf(group, sizeof(group), "%.*s", (int)(slash - path), path);
		value = json_object_get(json_object_get(object, group), slash + 1);
	} else {
		value = json_object_get(object, path);
	}
	json_int_t n = json_integer_value(value);
	return n > 0 ? (uint64_t)n : 0;
}
