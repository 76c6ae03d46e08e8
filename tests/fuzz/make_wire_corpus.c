/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes tests/fuzz/corpus/wire anew (make_wire_corpus FOLDER): one small message of every kind,
 * sound and not. */
#include "wr_wire.h"

#include <string.h>

static uint8_t buffer[WR_WIRE_MAX_BYTES];
static struct wr_writer writer;
static const char *folder;
static int n_failed;

static void begin(uint8_t op)
{
	struct wr_wire_header h = {.version = WR_WIRE_VERSION,
		.op = op,
		.request_id = 7,
		.user_id = 4711,
		.time_ms = 1600000000000};
	wr_writer_init(&writer, buffer, sizeof(buffer), &h);
}

static void save_bytes(const char *name, size_t bytes)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *f = fopen(path, "wb");
	if (!f || fwrite(buffer, 1, bytes, f) != bytes)
		n_failed++;
	if (f)
		fclose(f);
}

static int finish(void)
{
	int bytes = wr_writer_finish(&writer);
	n_failed += bytes < 0;
	return WR_MAX(bytes, 0);
}

static void save(const char *name)
{
	save_bytes(name, (size_t)finish());
}

static void events(unsigned int n, uint64_t base_seq)
{
	struct wr_wire_event e[WR_WIRE_MAX_EVENTS];
	memset(e, 0, sizeof(e));
	for (unsigned int i = 0; i < n; i++) {
		e[i].item = i + 1;
		e[i].kind = (uint8_t)(i % 4 + 1);
		e[i].time_ms = 1600000000000 + 60000 * (int64_t)i;
	}
	wr_writer_events(&writer, base_seq, e, n);
}

static void history(unsigned int n, bool times, bool complete)
{
	uint32_t items[WR_WIRE_MAX_HISTORY];
	int64_t at[WR_WIRE_MAX_HISTORY];
	for (unsigned int i = 0; i < n; i++) {
		items[i] = i + 1;
		at[i] = 1600000000000 + 5000000000 * (int64_t)i;
	}
	wr_writer_history(&writer, items, NULL, times ? at : NULL, n, complete);
}

static void fill(uint8_t type, uint8_t arg, uint8_t byte, size_t bytes)
{
	void *body = wr_writer_section(&writer, type, arg, bytes);
	if (body)
		memset(body, byte, bytes);
}

static void requests(void)
{
	static const uint8_t key[WR_WIRE_KEY_BYTES] = {1};
	static const uint32_t exclude[] = {3, 1, 2};
	static const char text[] = "wo ist mein P\xc3\xa4"
				   "ckchen?";
	struct wr_wire_cookie cookie = {.epoch = 1, .mac = 2};
	begin(WR_OP_HELLO), save("hello");
	begin(WR_OP_HELLO), wr_writer_pad(&writer, 540), save("hello_padded");
	begin(WR_OP_RECOMMEND), wr_writer_ask(&writer, 0, 0), save("echo");
	begin(WR_OP_RECOMMEND), wr_writer_ask(&writer, 10, 5000), events(1, 0),
		wr_writer_pad(&writer, 256);
	save("warm");
	begin(WR_OP_RECOMMEND), wr_writer_ask(&writer, 64, 0), events(32, 9), save("events_32");
	begin(WR_OP_RECOMMEND), wr_writer_ask(&writer, 10, 0), history(50, false, true),
		save("cold_50");
	begin(WR_OP_RECOMMEND), wr_writer_ask(&writer, 10, 0), history(128, true, false),
		save("history_128");
	begin(WR_OP_RECOMMEND), wr_writer_ask(&writer, 10, 0), history(0, false, true),
		save("history_none");
	begin(WR_OP_RECOMMEND), wr_writer_ask(&writer, 10, 0),
		wr_writer_exclude(&writer, exclude, 3);
	fill(WR_SEC_CONTEXT, 2, 1, 16), wr_writer_utterance(&writer, text, sizeof(text) - 1);
	wr_writer_cookie(&writer, &cookie), save("sections_all_small");
	begin(WR_OP_RECOMMEND), fill(WR_SEC_UTTERANCE, 0, 'x', 512), wr_writer_ask(&writer, 1, 0);
	save("utterance_512");
	begin(WR_OP_EVENT), events(4, 100), save("event_numbered");
	begin(WR_OP_FORGET), wr_writer_cookie(&writer, &cookie), save("forget_cookie");
	begin(WR_OP_FORGET), wr_writer_auth(&writer, 5, key), save("forget_tag");
	begin(WR_OP_RECOMMEND), fill(40, 0, 9, 5), wr_writer_ask(&writer, 3, 0),
		save("skip_unknown");
}

static void malformed(void)
{
	begin(WR_OP_RECOMMEND), fill(0xa8, 0, 9, 5), wr_writer_ask(&writer, 3, 0),
		save("bad_must_understand");
	begin(WR_OP_RECOMMEND), wr_writer_ask(&writer, 3, 0), wr_writer_ask(&writer, 3, 0),
		save("bad_twice");
	begin(WR_OP_RECOMMEND), fill(WR_SEC_AUTH, 0, 1, 20), wr_writer_ask(&writer, 3, 0),
		save("bad_order");
	begin(WR_OP_RECOMMEND), save("bad_missing");
	begin(WR_OP_RECOMMEND), fill(WR_SEC_ASK, 0, 65, 8), save("bad_k");
	begin(WR_OP_EVENT), fill(WR_SEC_EVENTS, 1, 5, 32), save("bad_kind");
	begin(WR_OP_EVENT), fill(WR_SEC_EVENTS, 2, 1, 32), save("bad_events_length");
	begin(WR_OP_RECOMMEND), wr_writer_ask(&writer, 1, 0), fill(WR_SEC_UTTERANCE, 0, 0xed, 4),
		save("bad_utf8");
	begin(WR_OP_RECOMMEND), wr_writer_ask(&writer, 1, 0), fill(WR_SEC_COOKIE, 0, 0, 12),
		save("bad_cookie");
	begin(WR_OP_RANK), save("bad_opcode");
	begin(WR_OP_HELLO), finish(), buffer[0] = 2, save_bytes("bad_version", 32);
	begin(WR_OP_HELLO), finish(), save_bytes("bad_short", 31);
	begin(WR_OP_HELLO), fill(WR_SEC_PAD, 0, 0, 4), finish();
	buffer[34] = 8, save_bytes("bad_section_beyond", 40);
}

static void answers(void)
{
	static const uint16_t ports[] = {4700, 4701};
	struct wr_wire_cookie cookie = {.epoch = 1, .mac = 2};
	begin(WR_OP_RECOMMEND | WR_OP_ANSWER), fill(WR_SEC_ANSWER, 0, 0, 40);
	struct wr_wire_item *items =
		wr_writer_section(&writer, WR_SEC_ITEMS, 10, 10 * sizeof(*items));
	for (unsigned int i = 0; i < 10; i++)
		items[i] = (struct wr_wire_item){
			.item = i + 1, .score = 2.5f, .reason = 1, .propensity = 1};
	save("answer_10");
	begin(WR_OP_ERROR | WR_OP_ANSWER), fill(WR_SEC_ANSWER, 0, 4, 40),
		wr_writer_cookie(&writer, &cookie);
	save("answer_error");
	begin(WR_OP_HELLO | WR_OP_ANSWER), fill(WR_SEC_ANSWER, 0, 0, 40),
		fill(WR_SEC_SERVER, 0, 1, 48);
	fill(WR_SEC_SHARDS, 0, 1, 256);
	void *body = wr_writer_section(&writer, WR_SEC_PORTS, 2, sizeof(ports));
	memcpy(body, ports, sizeof(ports));
	save("answer_hello");
	begin(WR_OP_HELLO | WR_OP_ANSWER), fill(WR_SEC_ANSWER, 0, 0, 40),
		fill(WR_SEC_SHARDS, 0, 1, 256);
	fill(WR_SEC_PORTS, 1, 1, 2), save("bad_answer_shard");
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: make_wire_corpus FOLDER\n");
		return 1;
	}
	folder = argv[1];
	requests();
	malformed();
	answers();
	if (n_failed)
		fprintf(stderr, "make_wire_corpus: %d messages could not be written to %s\n",
			n_failed, folder);
	return n_failed != 0;
}
