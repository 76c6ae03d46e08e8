/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * docs/protocol.md against the code: the worked examples in both directions, the test vectors, the
 * byte budget; and the example client, which has to say the same bytes.
 */
#include "wr_test.h"
#include "wire_util.h"

#define MAX_LINES 64

static char *document;

/* The body of the fenced block "```info", without the fences; the caller frees. Fails the test when
 * absent. */
static char *block(const char *info)
{
	char fence[64];
	snprintf(fence, sizeof(fence), "\n```%s\n", info);
	char *begin = document ? strstr(document, fence) : NULL;
	char *end = begin ? strstr(begin + strlen(fence), "```") : NULL;
	CU_ASSERT_PTR_NOT_NULL_FATAL(end);
	begin += strlen(fence);
	return strndup(begin, (size_t)(end - begin));
}

/* Hex bytes of an example: "offset  bytes ; comment" a line; offsets must be right. */
static size_t example(const char *name, uint8_t out[WR_WIRE_MAX_BYTES])
{
	char info[32], *save = NULL;
	size_t n = 0;
	snprintf(info, sizeof(info), "hex %s", name);
	char *text = block(info);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *p;
		CU_ASSERT_EQUAL(strtoul(line, &p, 16), n);
		line[strcspn(line, ";")] = '\0';
		for (char *end; n < WR_WIRE_MAX_BYTES; p = end) {
			unsigned long byte = strtoul(p, &end, 16);
			if (end == p)
				break;
			out[n++] = (uint8_t)byte;
		}
	}
	free(text);
	CU_ASSERT_FATAL(n >= 32);
	return n;
}

static const char alice[] = "alice";
static const struct wr_wire_cookie cookie = {.epoch = 12, .mac = 0x1122334455667788};

static void begin(struct draft *b, uint8_t op, uint64_t request_id, uint64_t user_id,
	int64_t time_ms, uint16_t flags)
{
	struct wr_wire_header h = {.version = 1,
		.op = op,
		.flags = flags,
		.request_id = request_id,
		.user_id = user_id,
		.time_ms = time_ms};
	wr_writer_init(&b->w, b->data, sizeof(b->data), &h);
}

static void same_bytes(const char *name, struct draft *b)
{
	uint8_t want[WR_WIRE_MAX_BYTES];
	size_t n = example(name, want);
	CU_ASSERT_EQUAL_FATAL(draft_finish(b), n);
	CU_ASSERT(!memcmp(b->data, want, n));
}

static void encode_recommend(struct draft *b)
{
	static const struct wr_wire_event e = {
		.item = 58, .kind = WR_KIND_CLICK, .dwell_ds = 125, .time_ms = 1600000180000};
	static const uint32_t items[] = {31, 47};
	static const uint8_t kinds[] = {WR_KIND_CLICK, WR_KIND_CONVERT};
	static const int64_t times[] = {1600000000000, 1600000090000};
	begin(b, WR_OP_RECOMMEND, 0x0102030405060708, wr_wire_user_id(alice, 5), 1600000200000, 0);
	wr_writer_ask(&b->w, 2, 5000);
	wr_writer_events(&b->w, 3, &e, 1);
	wr_writer_history(&b->w, items, kinds, times, 2, true);
	wr_writer_cookie(&b->w, &cookie);
}

static void test_encode(void)
{
	static const struct wr_wire_answer answer = {.durability = WR_DURABLE_MEMORY,
		.bundle_version = 7,
		.model_generation = 7,
		.shard_epoch = 1,
		.server_us = 41,
		.policy_id = 1,
		.ack_seq = 3};
	static const struct wr_wire_item items[] = {
		{.item = 112, .score = 6.5f, .reason = 1, .propensity = 1},
		{.item = 9, .score = 5.25f, .reason = 1, .propensity = 1}};
	static const struct wr_wire_event events[] = {
		{.item = 58, .kind = WR_KIND_VIEW}, {.item = WR_WIRE_MAX_ITEM,
							    .kind = WR_KIND_CLICK,
							    .dwell_ds = 65535,
							    .time_ms = 1600000400123,
							    .answers_id = 7}};
	struct draft b;
	uint8_t key[32];
	for (uint8_t i = 0; i < 32; i++)
		key[i] = i;
	encode_recommend(&b);
	same_bytes("recommend", &b);
	begin(&b, WR_OP_RECOMMEND | WR_OP_ANSWER, 0x0102030405060708, wr_wire_user_id(alice, 5),
		1600000200007, WR_ANS_COLD);
	draft_copy(&b, WR_SEC_ANSWER, 0, &answer, sizeof(answer));
	draft_copy(&b, WR_SEC_ITEMS, 2, items, sizeof(items));
	same_bytes("answer", &b);
	begin(&b, WR_OP_FORGET, 0x0102030405060709, wr_wire_user_id(alice, 5), 1600000300000, 0);
	wr_writer_cookie(&b.w, &cookie);
	wr_writer_auth(&b.w, 1, key);
	same_bytes("forget", &b);
	begin(&b, WR_OP_EVENT, 0x010203040506070a, 42, 0, 0);
	wr_writer_events(&b.w, 0, events, 2);
	wr_writer_pad(&b.w, 144);
	same_bytes("event", &b);
}

static void decode_example(const char *name, struct exact *e, bool answer)
{
	uint8_t data[WR_WIRE_MAX_BYTES];
	size_t n = example(name, data);
	exact_decode(e, data, n, answer);
	CU_ASSERT_EQUAL_FATAL(e->d, WR_DECODE_OK);
}

static void test_decode_recommend(void)
{
	struct exact e;
	int64_t times[2];
	decode_example("recommend", &e, false);
	const struct wr_message *m = &e.m;
	CU_ASSERT_EQUAL(m->header.op, WR_OP_RECOMMEND);
	CU_ASSERT_EQUAL(m->header.request_id, 0x0102030405060708);
	CU_ASSERT_EQUAL(m->header.user_id, wr_wire_user_id(alice, 5));
	CU_ASSERT_EQUAL(m->header.time_ms, 1600000200000);
	CU_ASSERT(m->ask->k == 2 && m->ask->budget_us == 5000);
	CU_ASSERT(m->n_events == 1 && m->events_head->base_seq == 3);
	CU_ASSERT(m->events[0].item == 58 && m->events[0].kind == WR_KIND_CLICK &&
		  m->events[0].dwell_ds == 125);
	CU_ASSERT(m->events[0].time_ms == 1600000180000 && m->events[0].answers_id == 0);
	CU_ASSERT(m->n_history == 2 && m->history_head->flags == WR_HISTORY_COMPLETE);
	CU_ASSERT_EQUAL(m->history[0].item_kind, (WR_KIND_CLICK - 1u) << 30 | 31);
	CU_ASSERT_EQUAL(m->history[1].item_kind, (WR_KIND_CONVERT - 1u) << 30 | 47);
	wr_wire_history_times(m, times);
	CU_ASSERT(times[0] == 1600000000000 && times[1] == 1600000090000);
	CU_ASSERT(m->cookie->epoch == 12 && m->cookie->mac == 0x1122334455667788);
	exact_free(&e);
}

static void test_decode_others(void)
{
	struct exact e;
	uint8_t key[32];
	for (uint8_t i = 0; i < 32; i++)
		key[i] = i;
	decode_example("answer", &e, true);
	CU_ASSERT_EQUAL(e.m.header.flags, WR_ANS_COLD);
	CU_ASSERT_EQUAL(e.m.header.time_ms, 1600000200007);
	CU_ASSERT(
		e.m.answer->status == WR_STATUS_OK && e.m.answer->durability == WR_DURABLE_MEMORY);
	CU_ASSERT(e.m.answer->bundle_version == 7 && e.m.answer->model_generation == 7);
	CU_ASSERT(e.m.answer->shard_epoch == 1 && e.m.answer->server_us == 41 &&
		  e.m.answer->policy_id == 1);
	CU_ASSERT(e.m.answer->ack_seq == 3 && e.m.n_items == 2);
	CU_ASSERT(e.m.items[0].item == 112 && e.m.items[0].score == 6.5f &&
		  e.m.items[0].propensity == 1);
	CU_ASSERT(e.m.items[1].item == 9 && e.m.items[1].score == 5.25f &&
		  e.m.items[1].reason == WR_REASON_MODEL);
	exact_free(&e);
	decode_example("forget", &e, false);
	CU_ASSERT(
		e.m.header.op == WR_OP_FORGET && e.m.auth->key_id == 1 && e.m.auth_offset == 0x3c);
	CU_ASSERT_TRUE(wr_wire_auth_check(&e.m, e.data, key));
	exact_free(&e);
	decode_example("event", &e, false);
	CU_ASSERT(e.m.header.op == WR_OP_EVENT && e.m.header.user_id == 42 &&
		  e.m.header.time_ms == 0);
	CU_ASSERT(e.m.n_events == 2 && e.m.events_head->base_seq == 0 &&
		  e.m.events[0].kind == WR_KIND_VIEW);
	CU_ASSERT(e.m.events[1].item == WR_WIRE_MAX_ITEM && e.m.events[1].dwell_ds == 65535);
	CU_ASSERT(e.m.events[1].time_ms == 1600000400123 && e.m.events[1].answers_id == 7);
	exact_free(&e);
}

/* Splits a block into lines; returns their number. */
static unsigned int split(char *text, char *lines[MAX_LINES])
{
	unsigned int n = 0;
	char *save = NULL;
	for (char *l = strtok_r(text, "\n", &save); l && n < MAX_LINES;
		l = strtok_r(NULL, "\n", &save))
		lines[n++] = l;
	return n;
}

static void test_vectors(void)
{
	char *lines[MAX_LINES], *text = block("vectors user-id");
	unsigned int n = split(text, lines);
	CU_ASSERT(n >= 8);
	for (unsigned int i = 0; i < n; i++) {
		char *end = strrchr(lines[i], '"');
		CU_ASSERT_FATAL(lines[i][0] == '"' && end > lines[i]);
		uint64_t want = strtoull(end + 1, NULL, 16);
		CU_ASSERT_EQUAL(wr_wire_user_id(lines[i] + 1, (size_t)(end - lines[i] - 1)), want);
	}
	free(text);
	text = block("vectors shard");
	n = split(text, lines);
	CU_ASSERT(n >= 8);
	for (unsigned int i = 0; i < n; i++) {
		char *end;
		uint64_t user = strtoull(lines[i], &end, 0);
		CU_ASSERT_EQUAL(wr_wire_shard(user), strtoul(end, NULL, 10));
	}
	free(text);
}

/* The last number of the table row that begins with "| name |", thousands' commas removed. */
static unsigned long budget_row(const char *name)
{
	char start[64], digits[16];
	unsigned int n = 0;
	snprintf(start, sizeof(start), "\n| %s | ", name);
	char *row = strstr(strstr(document, "## Byte budget"), start);
	CU_ASSERT_PTR_NOT_NULL_FATAL(row);
	for (char *p = strchr(row + strlen(start), '|') + 2;
		n < sizeof(digits) - 1 && (*p == ',' || (*p >= '0' && *p <= '9')); p++)
		if (*p != ',')
			digits[n++] = *p;
	digits[n] = '\0';
	return strtoul(digits, NULL, 10);
}

static void test_byte_budget(void)
{
	static const uint8_t key[32];
	struct draft b;
	for (uint8_t op = WR_OP_HELLO; op <= WR_OP_FORGET; op++) {
		static const char *const names[] = {
			[WR_OP_HELLO] = "HELLO", [WR_OP_FORGET] = "FORGET"};
		draft_begin(&b, op);
		wr_writer_cookie(&b.w, &cookie);
		wr_writer_auth(&b.w, 1, key);
		if (op == WR_OP_HELLO || op == WR_OP_FORGET)
			CU_ASSERT_EQUAL(draft_finish(&b), budget_row(names[op]));
	}
	CU_ASSERT_EQUAL(budget_row("RECOMMEND"), WR_WIRE_MAX_BYTES);
	CU_ASSERT_EQUAL(budget_row("EVENT"), WR_WIRE_MAX_BYTES);
	draft_begin(&b, 0x82);
	draft_fill(&b, WR_SEC_ANSWER, 0, 0, 40);
	wr_writer_cookie(&b.w, &cookie);
	CU_ASSERT_EQUAL(draft_finish(&b), budget_row("EVENT, FORGET answer, ERROR"));
	CU_ASSERT_EQUAL(draft_finish(&b), WR_WIRE_MIN_UNPROVEN);
	struct draft items = b, hello = b;
	items.w.data = items.data;
	hello.w.data = hello.data;
	draft_fill(&items, WR_SEC_ITEMS, 64, 1, 64 * 16);
	CU_ASSERT_EQUAL(draft_finish(&items), budget_row("RECOMMEND answer"));
	draft_fill(&items, WR_SEC_AUTH, 0, 1, 20);
	CU_ASSERT_EQUAL(draft_finish(&items), 1148);
	draft_fill(&hello, WR_SEC_SERVER, 0, 1, sizeof(struct wr_wire_server));
	CU_ASSERT_EQUAL(draft_finish(&hello), 148);
	draft_fill(&hello, WR_SEC_SHARDS, 0, 1, 256);
	draft_fill(&hello, WR_SEC_PORTS, 64, 1, 128);
	CU_ASSERT_EQUAL(draft_finish(&hello), budget_row("HELLO answer"));
}

static bool mix_fits(unsigned int n_history, unsigned int n_events, unsigned int n_text)
{
	static const uint8_t key[32];
	struct draft b;
	draft_begin(&b, WR_OP_RECOMMEND);
	wr_writer_ask(&b.w, 10, 0);
	if (n_history)
		draft_fill(&b, WR_SEC_HISTORY, (uint8_t)n_history, 1, 16 + 8 * n_history);
	if (n_events)
		draft_fill(&b, WR_SEC_EVENTS, (uint8_t)n_events, 1, 8 + 24 * n_events);
	if (n_text)
		draft_fill(&b, WR_SEC_UTTERANCE, 0, 'x', n_text);
	wr_writer_cookie(&b.w, &cookie);
	wr_writer_auth(&b.w, 1, key);
	return draft_finish(&b) != 0;
}

/* The mixes of the budget rule: what the table says fits, one more of what it counts does not. */
static void test_budget_rule(void)
{
	CU_ASSERT_TRUE(mix_fits(128, 3, 0));
	CU_ASSERT_FALSE(mix_fits(128, 4, 0));
	CU_ASSERT_TRUE(mix_fits(43, 32, 0));
	CU_ASSERT_FALSE(mix_fits(44, 32, 0));
	CU_ASSERT_TRUE(mix_fits(0, 32, 360));
	CU_ASSERT_FALSE(mix_fits(0, 32, 361));
	CU_ASSERT_TRUE(mix_fits(76, 0, 512));
	CU_ASSERT_FALSE(mix_fits(77, 0, 512));
	CU_ASSERT_TRUE(mix_fits(0, 25, 512));
	CU_ASSERT_FALSE(mix_fits(0, 26, 512));
	CU_ASSERT_TRUE(mix_fits(99, 13, 0));
	CU_ASSERT_FALSE(mix_fits(99, 14, 0));
}

/* Output of the example client, NULL when python3 cannot run it. */
static char *client(const char *arguments)
{
	char command[2048];
	static char output[16384];
	snprintf(command, sizeof(command), "python3 '%s/examples/wr_client.py' %s 2>/dev/null",
		WR_DOCS, arguments);
	FILE *f = popen(command, "r");
	size_t n = f ? fread(output, 1, sizeof(output) - 1, f) : 0;
	output[n] = '\0';
	return f && pclose(f) == 0 ? output : NULL;
}

static bool have_python(void)
{
	if (system("python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null "
		   "2>&1") == 0)
		return true;
	wr_test_skip("no python3");
	return false;
}

static void test_client_examples(void)
{
	char *lines[MAX_LINES], *text;
	if (!have_python())
		return;
	text = client("examples");
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	unsigned int n = split(text, lines);
	CU_ASSERT_EQUAL(n, 3);
	for (unsigned int i = 0; i < n; i++) {
		uint8_t want[WR_WIRE_MAX_BYTES];
		char hex[2 * WR_WIRE_MAX_BYTES + 1] = "", *space = strchr(lines[i], ' ');
		CU_ASSERT_PTR_NOT_NULL_FATAL(space);
		*space = '\0';
		size_t bytes = example(lines[i], want);
		for (size_t k = 0; k < bytes; k++)
			snprintf(hex + 2 * k, 3, "%02x", want[k]);
		CU_ASSERT_STRING_EQUAL(space + 1, hex);
	}
}

static void test_client_answer(void)
{
	uint8_t data[WR_WIRE_MAX_BYTES];
	char arguments[2 * WR_WIRE_MAX_BYTES + 16] = "decode ";
	if (!have_python())
		return;
	size_t n = example("answer", data);
	for (size_t k = 0; k < n; k++)
		snprintf(arguments + 7 + 2 * k, 3, "%02x", data[k]);
	char *text = client(arguments);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "[(112, 6.5, 1, 1.0), (9, 5.25, 1, 1.0)]"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "['cold']"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "72623859790382856"));
}

static void test_client_hashes(void)
{
	static const char *const names[] = {"", "0", "007", "alice", "9223372036854775807",
		"9223372036854775808", "Zo\xc3\xab", "18446744073709551616"};
	char arguments[1024] = "user-id", shards[1024] = "shard", *lines[MAX_LINES];
	if (!have_python())
		return;
	for (size_t i = 0; i < WR_ARRAY_LEN(names); i++) {
		size_t at = strlen(arguments), to = strlen(shards);
		snprintf(arguments + at, sizeof(arguments) - at, " '%s'", names[i]);
		snprintf(shards + to, sizeof(shards) - to, " 0x%llx",
			(unsigned long long)wr_wire_user_id(names[i], strlen(names[i])));
	}
	char *text = client(arguments);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_EQUAL(split(text, lines), WR_ARRAY_LEN(names));
	for (size_t i = 0; i < WR_ARRAY_LEN(names); i++)
		CU_ASSERT_EQUAL(
			strtoull(lines[i], NULL, 16), wr_wire_user_id(names[i], strlen(names[i])));
	text = client(shards);
	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_EQUAL(split(text, lines), WR_ARRAY_LEN(names));
	for (size_t i = 0; i < WR_ARRAY_LEN(names); i++)
		CU_ASSERT_EQUAL(strtoul(lines[i], NULL, 10),
			wr_wire_shard(wr_wire_user_id(names[i], strlen(names[i]))));
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"examples: encoded", test_encode},
		{"examples: RECOMMEND decoded", test_decode_recommend},
		{"examples: the others decoded", test_decode_others},
		{"test vectors", test_vectors},
		{"byte budget", test_byte_budget},
		{"budget rule", test_budget_rule},
		{"example client: the same bytes", test_client_examples},
		{"example client: reads the answer", test_client_answer},
		{"example client: the same hashes", test_client_hashes},
	};
	size_t size;
	struct wr_errmsg msg;
	if (wr_file_read(WR_DOCS "/protocol.md", 1 << 20, &document, &size, &msg)) {
		fprintf(stderr, "%s\n", msg.text);
		return 1;
	}
	int rc = wr_test_run("wire_protocol", tests, WR_ARRAY_LEN(tests));
	free(document);
	return rc;
}
