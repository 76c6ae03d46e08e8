/* SPDX-License-Identifier: BSD-3-Clause */
/* Entries of a telemetry reply. */
#include "control_reply.h"

#include <rte_telemetry.h>

#include <string.h>

void wr_reply_u64(struct reply *r, const char *name, uint64_t value)
{
	if (!r->failed && rte_tel_data_add_dict_u64(r->data, name, value))
		r->failed = true;
}

/* At most size - 1 bytes of text, plain ASCII: DPDK 22.11 indexes a table with a signed char. */
static void put_ascii(char *out, size_t size, const char *text)
{
	size_t n = 0;
	for (; text[n] && n + 1 < size; n++)
		out[n] = text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n];
	out[n] = '\0';
}

void wr_reply_text(struct reply *r, const char *name, const char *text)
{
	char safe[RTE_TEL_MAX_STRING_LEN];
	put_ascii(safe, sizeof(safe), text);
	if (!r->failed && rte_tel_data_add_dict_string(r->data, name, safe))
		r->failed = true;
}

void wr_reply_long_text(struct reply *r, const char *name, const char *text)
{
	char piece[CONTROL_PIECE + 1], piece_name[64];
	put_ascii(piece, sizeof(piece), text);
	wr_reply_text(r, name, piece);
	for (unsigned int i = 1; strlen(text) > CONTROL_PIECE; i++) {
		text += CONTROL_PIECE;
		put_ascii(piece, sizeof(piece), text);
		snprintf(piece_name, sizeof(piece_name), "%s/%u", name, i);
		wr_reply_text(r, piece_name, piece);
	}
}

struct reply wr_reply_begin(void)
{
	struct reply inner = {.data = rte_tel_data_alloc()};
	inner.failed = !inner.data || rte_tel_data_start_dict(inner.data);
	return inner;
}

void wr_reply_end(struct reply *r, const char *name, struct reply *inner)
{
	r->failed |= inner->failed;
	if (!r->failed && !rte_tel_data_add_dict_container(r->data, name, inner->data, 0))
		return;
	r->failed = true;
	rte_tel_data_free(inner->data);
}
