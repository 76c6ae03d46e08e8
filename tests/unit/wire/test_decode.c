/* SPDX-License-Identifier: BSD-3-Clause */
/* The decoders: every reason to refuse, every section at and beyond its limits. */
#include "wr_test.h"
#include "wire_util.h"

static void expect(struct draft *b, enum wr_decode want)
{
	enum wr_decode got = draft_decode(b);
	CU_ASSERT_EQUAL(got, want);
	if (got != want)
		printf("\n    got %s, want %s ", wr_decode_name(got), wr_decode_name(want));
}

/* A RECOMMEND with ASK, to be filled further. */
static void recommend(struct draft *b)
{
	draft_begin(b, WR_OP_RECOMMEND);
	wr_writer_ask(&b->w, 10, 0);
}

static void test_header(void)
{
	struct draft b;
	struct exact e;
	draft_begin(&b, WR_OP_HELLO);
	CU_ASSERT_EQUAL(draft_finish(&b), 32);
	exact_decode(&e, b.data, 32, false);
	CU_ASSERT_EQUAL(e.d, WR_DECODE_OK);
	CU_ASSERT_EQUAL(e.m.header.length, 32);
	CU_ASSERT_EQUAL(e.m.header.request_id, 0x1122334455667787);
	CU_ASSERT_EQUAL(e.m.header.user_id, 42);
	CU_ASSERT_EQUAL(e.m.header.domain, 3);
	CU_ASSERT_PTR_NULL(e.m.ask);
	exact_free(&e);
	for (size_t n = 0; n < 32; n++)
		CU_ASSERT_EQUAL(decode_only(b.data, n, false), WR_DECODE_SHORT);
	b.data[0] = 2;
	CU_ASSERT_EQUAL(decode_only(b.data, 32, false), WR_DECODE_VERSION);
	b.data[0] = 0;
	exact_decode(&e, b.data, 32, false);
	CU_ASSERT_EQUAL(e.d, WR_DECODE_VERSION);
	CU_ASSERT_EQUAL(e.m.header.request_id, 0x1122334455667787);
	exact_free(&e);
}

static void test_length(void)
{
	struct draft b;
	recommend(&b);
	size_t n = draft_finish(&b);
	for (unsigned int wrong = 0; wrong < 80; wrong++) {
		uint16_t length = (uint16_t)wrong;
		memcpy(b.data + 2, &length, 2);
		CU_ASSERT_EQUAL(decode_only(b.data, n, false),
			wrong == n ? WR_DECODE_OK : WR_DECODE_LENGTH);
	}
	/* Agreement alone is not enough: multiples of 4, at most 1,232. */
	memset(b.data + 32, 0, sizeof(b.data) - 32);
	b.data[1] = WR_OP_HELLO;
	for (size_t size = 33; size < 40; size++) {
		b.data[2] = (uint8_t)size;
		CU_ASSERT_EQUAL(decode_only(b.data, size, false),
			size % 4 ? WR_DECODE_LENGTH : WR_DECODE_OK);
	}
	for (size_t size = 1228; size <= 1240; size += 4) {
		uint16_t length = (uint16_t)size;
		memcpy(b.data + 2, &length, 2);
		CU_ASSERT_EQUAL(decode_only(b.data, size, false),
			size > 1232 ? WR_DECODE_LENGTH : WR_DECODE_OK);
	}
}

static void test_direction_and_opcode(void)
{
	struct draft b;
	for (unsigned int op = 0; op < 256; op++) {
		draft_begin(&b, (uint8_t)op);
		wr_writer_ask(&b.w, 1, 0);
		draft_fill(&b, WR_SEC_EVENTS, 1, 1, 32);
		draft_fill(&b, WR_SEC_ANSWER, 0, 0, 40);
		size_t n = draft_finish(&b);
		bool answer = op & WR_OP_ANSWER, known = (op & 0x7f) >= 1 && (op & 0x7f) <= 4;
		known |= answer && op == 0xff;
		CU_ASSERT_EQUAL(
			decode_only(b.data, n, answer), known ? WR_DECODE_OK : WR_DECODE_OPCODE);
		CU_ASSERT_EQUAL(decode_only(b.data, n, !answer), WR_DECODE_NOT_REQUEST);
	}
	/* The direction comes first: a foreign version's answer must never be answered. */
	draft_begin(&b, WR_OP_HELLO | WR_OP_ANSWER);
	size_t n = draft_finish(&b);
	b.data[0] = 9;
	CU_ASSERT_EQUAL(decode_only(b.data, n, false), WR_DECODE_NOT_REQUEST);
}

static void test_missing(void)
{
	struct draft b;
	draft_begin(&b, WR_OP_RECOMMEND), expect(&b, WR_DECODE_SECTION_MISSING);
	draft_begin(&b, WR_OP_EVENT), expect(&b, WR_DECODE_SECTION_MISSING);
	draft_begin(&b, WR_OP_HELLO), expect(&b, WR_DECODE_OK);
	draft_begin(&b, WR_OP_FORGET), expect(&b, WR_DECODE_OK);
	draft_begin(&b, WR_OP_HELLO | WR_OP_ANSWER), expect(&b, WR_DECODE_SECTION_MISSING);
	/* A section of the other direction is skipped, so it does not count. */
	draft_begin(&b, WR_OP_RECOMMEND), draft_fill(&b, WR_SEC_ANSWER, 0, 0, 40);
	expect(&b, WR_DECODE_SECTION_MISSING);
}

static void test_unknown_sections(void)
{
	struct draft b;
	for (unsigned int type = 0; type < 256; type++) {
		bool request = type >= WR_SEC_ASK && type <= WR_SEC_AUTH;
		if (request)
			continue;
		recommend(&b);
		draft_fill(&b, (uint8_t)type, 99, 0xaa, 7);
		draft_fill(&b, (uint8_t)type, 99, 0xaa, 0);
		expect(&b, type & 0x80 ? WR_DECODE_SECTION_UNKNOWN : WR_DECODE_OK);
	}
}

static void test_twice_and_order(void)
{
	static const struct {
		uint8_t type, arg;
		uint16_t bytes;
	} sections[] = {{WR_SEC_ASK, 0, 8}, {WR_SEC_EVENTS, 1, 32}, {WR_SEC_EXCLUDE, 1, 4},
		{WR_SEC_CONTEXT, 1, 8}, {WR_SEC_UTTERANCE, 0, 5}, {WR_SEC_COOKIE, 0, 16}};
	struct draft b;
	for (size_t i = 0; i < WR_ARRAY_LEN(sections); i++) {
		draft_begin(&b, WR_OP_HELLO);
		for (int k = 0; k < 2; k++) {
			draft_fill(&b, sections[i].type, sections[i].arg, 1, sections[i].bytes);
			expect(&b, k ? WR_DECODE_SECTION_TWICE : WR_DECODE_OK);
		}
		draft_begin(&b, WR_OP_HELLO);
		draft_fill(&b, WR_SEC_AUTH, 0, 1, 20);
		draft_fill(&b, sections[i].type, sections[i].arg, 1, sections[i].bytes);
		expect(&b, WR_DECODE_SECTION_ORDER);
	}
	draft_begin(&b, WR_OP_HELLO), wr_writer_history(&b.w, NULL, NULL, NULL, 0, true);
	wr_writer_history(&b.w, NULL, NULL, NULL, 0, true), expect(&b, WR_DECODE_SECTION_TWICE);
	draft_begin(&b, WR_OP_HELLO), draft_fill(&b, WR_SEC_AUTH, 0, 1, 20),
		draft_fill(&b, WR_SEC_PAD, 0, 0, 4);
	expect(&b, WR_DECODE_SECTION_ORDER);
	draft_begin(&b, WR_OP_HELLO), draft_fill(&b, WR_SEC_AUTH, 0, 1, 20),
		draft_fill(&b, WR_SEC_AUTH, 0, 1, 20);
	expect(&b, WR_DECODE_SECTION_ORDER);
}

/* Every length from 0 to 1,100 for every type: only the right ones pass. */
static void test_section_lengths(void)
{
	struct draft b;
	for (unsigned int type = WR_SEC_ASK; type <= WR_SEC_PORTS; type++) {
		bool answer = type >= WR_SEC_ANSWER;
		if (type > WR_SEC_AUTH && type < WR_SEC_ANSWER)
			continue;
		for (size_t n = 0; n <= 1100; n++) {
			static const uint16_t right[] = {[WR_SEC_ASK] = 8,
				[WR_SEC_EVENTS] = 8 + 48,
				[WR_SEC_EXCLUDE] = 8,
				[WR_SEC_CONTEXT] = 16,
				[WR_SEC_COOKIE] = 16,
				[WR_SEC_AUTH] = 20,
				[WR_SEC_ANSWER] = 40,
				[WR_SEC_ITEMS] = 32,
				[WR_SEC_SERVER] = 48,
				[WR_SEC_SHARDS] = 256,
				[WR_SEC_PORTS] = 4};
			draft_begin(&b, answer ? WR_OP_HELLO | WR_OP_ANSWER : WR_OP_HELLO);
			if (answer && type != WR_SEC_ANSWER)
				draft_fill(&b, WR_SEC_ANSWER, 0, 0, 40);
			uint8_t *body = draft_fill(&b, (uint8_t)type, 2, 1, n);
			bool ok = n == right[type];
			if (type == WR_SEC_UTTERANCE)
				ok = n >= 1 && n <= 512;
			if (type == WR_SEC_HISTORY) {
				ok = n == 16 + 16;
				static const uint32_t unit = 1000;
				if (n >= 16)
					memcpy(body + 12, &unit, 4), body[7] = 0;
			}
			CU_ASSERT_EQUAL(
				draft_decode(&b), ok ? WR_DECODE_OK : WR_DECODE_SECTION_LENGTH);
		}
	}
}

static void test_section_beyond(void)
{
	struct draft b;
	draft_begin(&b, WR_OP_HELLO);
	draft_fill(&b, WR_SEC_PAD, 0, 0, 8);
	size_t n = draft_finish(&b);
	for (unsigned int length = 0; length <= UINT16_MAX; length += length < 64 ? 1 : 61) {
		uint16_t lie = (uint16_t)length;
		memcpy(b.data + 34, &lie, 2);
		enum wr_decode d = decode_only(b.data, n, false);
		CU_ASSERT_EQUAL(d, length <= 8 ? WR_DECODE_OK : WR_DECODE_SECTION_LENGTH);
	}
}

/* n of every array: the limits pass, one less and one more do not. */
static void test_counts(void)
{
	static const struct {
		uint8_t type, min, max;
		uint16_t head, entry;
	} arrays[] = {{WR_SEC_EVENTS, 1, 32, 8, 24}, {WR_SEC_HISTORY, 0, 128, 16, 8},
		{WR_SEC_EXCLUDE, 1, 64, 0, 4}, {WR_SEC_CONTEXT, 1, 8, 0, 8},
		{WR_SEC_ITEMS, 0, 64, 0, 16}, {WR_SEC_PORTS, 1, 64, 0, 2}};
	struct draft b;
	for (size_t i = 0; i < WR_ARRAY_LEN(arrays); i++)
		for (unsigned int n = 0; n < 256; n++) {
			bool answer = arrays[i].type >= WR_SEC_ANSWER;
			size_t bytes = arrays[i].head + n * arrays[i].entry;
			draft_begin(&b, answer ? WR_OP_HELLO | WR_OP_ANSWER : WR_OP_HELLO);
			if (answer)
				draft_fill(&b, WR_SEC_ANSWER, 0, 0, 40);
			uint8_t *body = draft_fill(&b, arrays[i].type, (uint8_t)n, 1, bytes);
			if (!body) /* does not fit a datagram: far beyond every limit */
				break;
			if (arrays[i].type == WR_SEC_HISTORY)
				memset(body + 8, 0, 8), body[12] = 1;
			bool ok = n >= arrays[i].min && n <= arrays[i].max;
			CU_ASSERT_EQUAL(draft_decode(&b), ok ? WR_DECODE_OK : WR_DECODE_VALUE);
		}
}

static void test_values_ask_and_header(void)
{
	struct draft b;
	for (unsigned int k = 0; k < 256; k++) {
		draft_begin(&b, WR_OP_RECOMMEND);
		draft_fill(&b, WR_SEC_ASK, 0, (uint8_t)k, 8);
		expect(&b, k <= 64 ? WR_DECODE_OK : WR_DECODE_VALUE);
	}
	for (int answer = 0; answer < 2; answer++) {
		struct wr_wire_header h = header_of(answer ? 0x81 : WR_OP_HELLO);
		h.time_ms = -1;
		wr_writer_init(&b.w, b.data, sizeof(b.data), &h);
		draft_fill(&b, WR_SEC_ANSWER, 0, 0, 40);
		expect(&b, WR_DECODE_VALUE);
	}
}

static void test_values_events(void)
{
	static const struct {
		uint32_t item;
		uint8_t kind;
		int64_t time_ms;
		uint64_t base_seq;
		bool ok;
	} cases[] = {{1, 1, 0, 0, true}, {WR_WIRE_MAX_ITEM, 4, INT64_MAX, UINT64_MAX - 2, true},
		{0, 1, 0, 0, false}, {WR_WIRE_MAX_ITEM + 1, 1, 0, 0, false},
		{UINT32_MAX, 1, 0, 0, false}, {1, 0, 0, 0, false}, {1, 5, 0, 0, false},
		{1, 255, 0, 0, false}, {1, 1, -1, 0, false}, {1, 1, INT64_MIN, 0, false},
		{1, 1, 0, UINT64_MAX - 1, false}, {1, 1, 0, UINT64_MAX, false}};
	for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++)
		for (unsigned int at = 0; at < 3;
			at++) { /* the odd one first, in the middle, last */
			struct draft b;
			struct wr_wire_event e[3];
			memset(e, 0, sizeof(e));
			for (unsigned int k = 0; k < 3; k++)
				e[k].item = 5, e[k].kind = WR_KIND_CLICK;
			e[at].item = cases[i].item;
			e[at].kind = cases[i].kind;
			e[at].time_ms = cases[i].time_ms;
			draft_begin(&b, WR_OP_EVENT);
			wr_writer_events(&b.w, cases[i].base_seq, e, 3);
			expect(&b, cases[i].ok ? WR_DECODE_OK : WR_DECODE_VALUE);
		}
}

static void test_values_history(void)
{
	static const struct {
		int64_t newest_ms;
		uint32_t unit_ms, item_kind;
		bool ok;
	} cases[] = {{0, 1, 1, true}, {INT64_MAX, 1000, UINT32_MAX, true}, {-1, 1, 1, false},
		{0, 0, 1, false}, {0, 2, 1, false}, {0, 999, 1, false}, {0, 1, 0, false},
		{0, 1, 3u << 30, false}};
	struct draft b;
	for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
		recommend(&b);
		struct wr_wire_history_head *h = wr_writer_section(&b.w, WR_SEC_HISTORY, 1, 24);
		h->newest_ms = cases[i].newest_ms;
		h->unit_ms = cases[i].unit_ms;
		memcpy(h + 1, &cases[i].item_kind, 4);
		expect(&b, cases[i].ok ? WR_DECODE_OK : WR_DECODE_VALUE);
	}
}

static void test_values_items(void)
{
	static const uint32_t bad[] = {0, WR_WIRE_MAX_ITEM + 1, UINT32_MAX};
	struct draft b;
	for (size_t i = 0; i < WR_ARRAY_LEN(bad); i++) {
		uint32_t two[] = {1, bad[i]};
		recommend(&b);
		wr_writer_exclude(&b.w, two, 2);
		expect(&b, WR_DECODE_VALUE);
		draft_begin(&b, 0x82);
		draft_fill(&b, WR_SEC_ANSWER, 0, 0, 40);
		memcpy(draft_fill(&b, WR_SEC_ITEMS, 2, 1, 32) + 16, &bad[i], 4);
		expect(&b, WR_DECODE_VALUE);
	}
	/* A shard may only name a port that is there; without PORTS nothing can be said. */
	for (uint8_t n = 1; n <= 4; n++) {
		draft_begin(&b, 0x81);
		draft_fill(&b, WR_SEC_ANSWER, 0, 0, 40);
		draft_fill(&b, WR_SEC_SHARDS, 0, 2, 256);
		expect(&b, WR_DECODE_OK);
		draft_fill(&b, WR_SEC_PORTS, n, 1, 2 * n);
		expect(&b, n > 2 ? WR_DECODE_OK : WR_DECODE_VALUE);
	}
}

static void test_utf8(void)
{
	static const struct {
		const char *text;
		bool ok;
	} cases[] = {{"a", true}, {"plain ascii of more than eight", true}, {"\xc2\x80", true},
		{"\xdf\xbf", true}, {"\xe0\xa0\x80", true}, {"\xed\x9f\xbf", true},
		{"\xee\x80\x80", true}, {"\xf0\x90\x80\x80", true}, {"\xf4\x8f\xbf\xbf", true},
		{"12345678\xe4\xbd\xa0", true}, {"\x80", false}, {"\xc0\x80", false},
		{"\xc1\xbf", false}, {"\xc2", false}, {"\xc2\x41", false}, {"\xe0\x9f\xbf", false},
		{"\xe1\x80", false}, {"\xed\xa0\x80", false}, {"\xf0\x8f\xbf\xbf", false},
		{"\xf4\x90\x80\x80", false}, {"\xf5\x80\x80\x80", false}, {"\xf1\x80\x80", false},
		{"\xff", false}, {"1234567\x80", false}, {"12345678\xc3", false}};
	struct draft b;
	for (size_t i = 0; i < WR_ARRAY_LEN(cases); i++) {
		recommend(&b);
		wr_writer_utterance(&b.w, cases[i].text, strlen(cases[i].text));
		expect(&b, cases[i].ok ? WR_DECODE_OK : WR_DECODE_VALUE);
	}
	/* Padding that would complete the last character is not text. */
	recommend(&b);
	memset(draft_fill(&b, WR_SEC_UTTERANCE, 0, 0xc2, 1) + 1, 0x80, 3);
	expect(&b, WR_DECODE_VALUE);
}

static void test_names(void)
{
	for (int d = 0; d < WR_DECODE_N; d++) {
		bool dropped =
			d == WR_DECODE_SHORT || d == WR_DECODE_LENGTH || d == WR_DECODE_NOT_REQUEST;
		CU_ASSERT_EQUAL(wr_decode_status(d) == WR_STATUS_OK, dropped || d == WR_DECODE_OK);
		for (int other = 0; other < d; other++)
			CU_ASSERT_STRING_NOT_EQUAL(wr_decode_name(d), wr_decode_name(other));
	}
	CU_ASSERT_EQUAL(wr_decode_status(WR_DECODE_VERSION), WR_STATUS_VERSION);
	CU_ASSERT_EQUAL(wr_decode_status(WR_DECODE_OPCODE), WR_STATUS_UNSUPPORTED);
	CU_ASSERT_EQUAL(wr_decode_status(WR_DECODE_SECTION_UNKNOWN), WR_STATUS_UNSUPPORTED);
	CU_ASSERT_EQUAL(wr_decode_status(WR_DECODE_VALUE), WR_STATUS_MALFORMED);
	CU_ASSERT_STRING_EQUAL(wr_decode_name(WR_DECODE_N), "unknown");
	CU_ASSERT_STRING_EQUAL(wr_wire_status_name(WR_STATUS_INTERNAL), "internal");
	CU_ASSERT_STRING_EQUAL(wr_wire_status_name(WR_STATUS_INTERNAL + 1), "unknown");
	CU_ASSERT_STRING_EQUAL(wr_wire_flag_name(0), "history_wanted");
	CU_ASSERT_STRING_EQUAL(wr_wire_flag_name(WR_ANS_FLAGS - 1), "intent");
	CU_ASSERT_STRING_EQUAL(wr_wire_flag_name(WR_ANS_FLAGS), "unknown");
	CU_ASSERT_STRING_EQUAL(wr_wire_reason_name(WR_REASON_POPULAR), "popular");
	CU_ASSERT_STRING_EQUAL(wr_wire_reason_name(WR_REASON_POPULAR + 1), "unknown");
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"header, short, version", test_header},
		{"length field", test_length},
		{"direction and opcodes", test_direction_and_opcode},
		{"missing sections", test_missing},
		{"unknown sections", test_unknown_sections},
		{"sections twice and behind AUTH", test_twice_and_order},
		{"every length of every section", test_section_lengths},
		{"sections beyond the message", test_section_beyond},
		{"counts at their limits", test_counts},
		{"values of ASK and header", test_values_ask_and_header},
		{"values of events", test_values_events},
		{"values of history", test_values_history},
		{"item ids, shard table", test_values_items},
		{"UTF-8", test_utf8},
		{"names and statuses", test_names},
	};
	return wr_test_run("wire", tests, WR_ARRAY_LEN(tests));
}
