/* SPDX-License-Identifier: BSD-3-Clause */
/* The writer against the decoder: limits, bounds, history times, random messages against a plain
 * model. */
#include "wr_test.h"
#include "wire_util.h"

static void test_writer_bounds(void)
{
	/* Every capacity from nothing to more than enough: never a byte outside, failure exactly
	 * when it does not fit. */
	struct wr_wire_header h = header_of(WR_OP_RECOMMEND);
	for (size_t size = 0; size <= 120; size++) {
		uint8_t *data = malloc(size ? size : 1);
		struct wr_writer w;
		struct wr_wire_event e = {.item = 1, .kind = WR_KIND_CLICK};
		wr_writer_init(&w, data, size, &h);
		wr_writer_ask(&w, 5, 100);         /* 44 */
		wr_writer_events(&w, 1, &e, 1);    /* 80 */
		wr_writer_utterance(&w, "abc", 3); /* 88 */
		int bytes = wr_writer_finish(&w);
		CU_ASSERT_EQUAL(bytes, size >= 88 ? 88 : WR_EFULL);
		free(data);
	}
}

static void test_writer_limits(void)
{
	struct draft b;
	static struct wr_wire_event e[33];
	static uint32_t items[129];
	static char text[513];
	for (size_t i = 0; i < WR_ARRAY_LEN(items); i++)
		items[i] = (uint32_t)i + 1;
	for (size_t i = 0; i < WR_ARRAY_LEN(e); i++)
		e[i].item = 1, e[i].kind = 1;
	memset(text, 'x', sizeof(text));
	for (int over = 0; over < 2; over++) {
		int bad = over ? WR_EFULL : 0, n;
		draft_begin(&b, WR_OP_EVENT), wr_writer_events(&b.w, 0, e, 32 + over);
		n = wr_writer_finish(&b.w);
		CU_ASSERT_EQUAL(n, bad ? bad : 32 + 780);
		draft_begin(&b, WR_OP_HELLO),
			wr_writer_history(&b.w, items, NULL, NULL, 128 + over, false);
		n = wr_writer_finish(&b.w);
		CU_ASSERT_EQUAL(n, bad ? bad : 32 + 1044);
		draft_begin(&b, WR_OP_HELLO), wr_writer_exclude(&b.w, items, 64 + over);
		n = wr_writer_finish(&b.w);
		CU_ASSERT_EQUAL(n, bad ? bad : 32 + 260);
		draft_begin(&b, WR_OP_HELLO), wr_writer_utterance(&b.w, text, 512 + over);
		n = wr_writer_finish(&b.w);
		CU_ASSERT_EQUAL(n, bad ? bad : 32 + 516);
		draft_begin(&b, WR_OP_HELLO), wr_writer_ask(&b.w, (uint8_t)(64 + over), 0);
		n = wr_writer_finish(&b.w);
		CU_ASSERT_EQUAL(n, bad ? bad : 32 + 12);
	}
	/* The datagram's limit holds although the buffer is larger, and the error stays. */
	draft_begin(&b, WR_OP_HELLO), wr_writer_pad(&b.w, 1232);
	CU_ASSERT_EQUAL(draft_finish(&b), 1232);
	draft_begin(&b, WR_OP_HELLO), wr_writer_pad(&b.w, 1236);
	CU_ASSERT_EQUAL(draft_finish(&b), 0);
	wr_writer_ask(&b.w, 1, 0);
	CU_ASSERT_EQUAL(draft_finish(&b), 0);
	/* Nothing to say writes nothing. */
	draft_begin(&b, WR_OP_HELLO), wr_writer_events(&b.w, 0, NULL, 0),
		wr_writer_exclude(&b.w, NULL, 0);
	wr_writer_utterance(&b.w, NULL, 0), wr_writer_history(&b.w, NULL, NULL, NULL, 0, false);
	wr_writer_pad(&b.w, 0), wr_writer_pad(&b.w, 32);
	CU_ASSERT_EQUAL(draft_finish(&b), 32);
	for (size_t n = 33; n <= 300; n++) {
		draft_begin(&b, WR_OP_HELLO), wr_writer_pad(&b.w, n);
		CU_ASSERT_EQUAL(draft_finish(&b), (n + 3) / 4 * 4);
		CU_ASSERT_EQUAL(draft_decode(&b), WR_DECODE_OK);
	}
	/* Bad ids and kinds do not get onto the wire. */
	uint32_t bad_item[] = {WR_WIRE_MAX_ITEM + 1};
	uint8_t bad_kind[] = {5};
	draft_begin(&b, WR_OP_HELLO), wr_writer_history(&b.w, bad_item, NULL, NULL, 1, false);
	CU_ASSERT_EQUAL(draft_finish(&b), 0);
	draft_begin(&b, WR_OP_HELLO), wr_writer_history(&b.w, items, bad_kind, NULL, 1, false);
	CU_ASSERT_EQUAL(draft_finish(&b), 0);
}

static void check_times(const int64_t *times, unsigned int n, uint32_t unit)
{
	struct draft b;
	struct exact e;
	uint32_t items[WR_WIRE_MAX_HISTORY];
	int64_t out[WR_WIRE_MAX_HISTORY];
	for (unsigned int i = 0; i < n; i++)
		items[i] = i + 1;
	draft_begin(&b, WR_OP_HELLO);
	wr_writer_history(&b.w, items, NULL, times, n, true);
	exact_decode(&e, b.data, draft_finish(&b), false);
	CU_ASSERT_EQUAL_FATAL(e.d, WR_DECODE_OK);
	CU_ASSERT_EQUAL(e.m.n_history, n);
	CU_ASSERT_EQUAL(e.m.history_head->unit_ms, unit);
	CU_ASSERT_EQUAL(e.m.history_head->flags, WR_HISTORY_COMPLETE);
	wr_wire_history_times(&e.m, out);
	for (unsigned int i = 0; i < n; i++) {
		int64_t want = times ? times[i] : 0;
		CU_ASSERT_EQUAL(e.m.history[i].item_kind, 1u << 30 | items[i]);
		/* Seconds: the distance to the newest rounds down, and errors do not add up. */
		CU_ASSERT(out[i] >= want && out[i] < want + (int64_t)unit);
	}
	exact_free(&e);
}

static void test_history_times(void)
{
	int64_t t[WR_WIRE_MAX_HISTORY];
	check_times(NULL, 5, 1);
	for (unsigned int i = 0; i < 128; i++)
		t[i] = 1500000000000 + 777 * (int64_t)i * i;
	check_times(t, 128, 1);
	check_times(t, 1, 1);
	for (unsigned int i = 0; i < 128; i++)
		t[i] = 1000000000000 + 4294967296 * (int64_t)i + 999 * (i % 3);
	check_times(t, 128, 1000);
	t[0] = 1, t[1] = 1 + (int64_t)UINT32_MAX; /* the largest delta in milliseconds */
	check_times(t, 2, 1);
	t[1]++;
	check_times(t, 2, 1000);
}

static void test_history_times_hostile(void)
{
	/* Deltas that lead before 1970: clamped to 1, never to "unknown", never negative. */
	struct draft b;
	struct exact e;
	int64_t out[3];
	draft_begin(&b, WR_OP_HELLO);
	struct wr_wire_history_head *h = wr_writer_section(&b.w, WR_SEC_HISTORY, 3, 16 + 24);
	struct wr_wire_history_entry *entry = (void *)(h + 1);
	h->newest_ms = 5;
	h->unit_ms = 1000;
	for (int i = 0; i < 3; i++)
		entry[i].item_kind = 1, entry[i].delta = UINT32_MAX;
	exact_decode(&e, b.data, draft_finish(&b), false);
	wr_wire_history_times(&e.m, out);
	CU_ASSERT(out[0] == 1 && out[1] == 1 && out[2] == 5);
	exact_free(&e);
}

/* What a random message holds, in plain arrays. */
struct model {
	struct wr_wire_header h;
	struct wr_wire_event events[WR_WIRE_MAX_EVENTS];
	uint32_t history[WR_WIRE_MAX_HISTORY], exclude[WR_WIRE_MAX_EXCLUDE];
	uint8_t kinds[WR_WIRE_MAX_HISTORY];
	struct wr_wire_context context[WR_WIRE_MAX_CONTEXT];
	char text[WR_WIRE_MAX_UTTERANCE];
	struct wr_wire_cookie cookie;
	uint64_t base_seq;
	unsigned int n_events, n_history, n_exclude, n_context, n_text;
	uint32_t budget;
	uint8_t k, key[32];
	bool complete, has_cookie, has_auth;
};

static uint32_t random_item(struct wr_rng *r)
{
	return 1 + wr_rng_below(r, WR_WIRE_MAX_ITEM);
}

static void random_model(struct wr_rng *r, struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->h = header_of(WR_OP_RECOMMEND);
	m->h.flags = (uint16_t)wr_rng_u64(r);
	m->h.request_id = wr_rng_u64(r);
	m->h.user_id = wr_rng_u64(r);
	m->h.time_ms = (int64_t)(wr_rng_u64(r) >> 1);
	m->k = (uint8_t)wr_rng_below(r, 65);
	m->budget = (uint32_t)wr_rng_u64(r);
	m->base_seq = wr_rng_u64(r) >> 1;
	m->n_events = wr_rng_below(r, 2) ? wr_rng_below(r, 33) : 0;
	m->n_history = wr_rng_below(r, 2) ? wr_rng_below(r, 129) : 0;
	m->n_exclude = wr_rng_below(r, 2) ? wr_rng_below(r, 65) : 0;
	m->n_context = wr_rng_below(r, 9);
	m->n_text = wr_rng_below(r, 2) ? wr_rng_below(r, 513) : 0;
	m->complete = wr_rng_below(r, 2);
	m->has_cookie = wr_rng_below(r, 2);
	m->has_auth = wr_rng_below(r, 2);
	for (unsigned int i = 0; i < m->n_events; i++)
		m->events[i] = (struct wr_wire_event){.item = random_item(r),
			.kind = (uint8_t)(1 + wr_rng_below(r, 4)),
			.dwell_ds = (uint16_t)wr_rng_u64(r),
			.time_ms = (int64_t)(wr_rng_u64(r) >> 1),
			.answers_id = wr_rng_u64(r)};
	for (unsigned int i = 0; i < m->n_history; i++)
		m->history[i] = random_item(r), m->kinds[i] = (uint8_t)(1 + wr_rng_below(r, 4));
	for (unsigned int i = 0; i < m->n_exclude; i++)
		m->exclude[i] = random_item(r);
	for (unsigned int i = 0; i < m->n_context; i++)
		m->context[i].key = (uint16_t)wr_rng_u64(r),
		m->context[i].value = (uint32_t)wr_rng_u64(r);
	for (unsigned int i = 0; i < m->n_text; i++)
		m->text[i] = (char)wr_rng_below(r, 128);
	m->cookie = (struct wr_wire_cookie){.epoch = (uint32_t)wr_rng_u64(r), .mac = wr_rng_u64(r)};
	for (unsigned int i = 0; i < 32; i++)
		m->key[i] = (uint8_t)wr_rng_u64(r);
}

static unsigned int padded(unsigned int body)
{
	return body ? 4 + (body + 3) / 4 * 4 : 0;
}

static unsigned int model_bytes(const struct model *m)
{
	return 32 + 12 + padded(m->n_events ? 8 + 24 * m->n_events : 0) +
	       padded(m->n_history || m->complete ? 16 + 8 * m->n_history : 0) +
	       padded(4 * m->n_exclude) + padded(8 * m->n_context) + padded(m->n_text) +
	       (m->has_cookie ? 20 : 0) + (m->has_auth ? 24 : 0);
}

/* Sections in a random order, AUTH last. */
static void model_encode(struct wr_rng *r, const struct model *m, struct draft *b)
{
	unsigned int left = 0x7f;
	wr_writer_init(&b->w, b->data, sizeof(b->data), &m->h);
	while (left) {
		unsigned int pick = wr_rng_below(r, 7);
		if (!(left >> pick & 1))
			continue;
		left &= ~(1u << pick);
		if (pick == 0)
			wr_writer_ask(&b->w, m->k, m->budget);
		else if (pick == 1)
			wr_writer_events(&b->w, m->base_seq, m->events, m->n_events);
		else if (pick == 2)
			wr_writer_history(
				&b->w, m->history, m->kinds, NULL, m->n_history, m->complete);
		else if (pick == 3)
			wr_writer_exclude(&b->w, m->exclude, m->n_exclude);
		else if (pick == 4 && m->n_context)
			draft_copy(b, WR_SEC_CONTEXT, (uint8_t)m->n_context, m->context,
				8 * m->n_context);
		else if (pick == 5)
			wr_writer_utterance(&b->w, m->text, m->n_text);
		else if (pick == 6 && m->has_cookie)
			wr_writer_cookie(&b->w, &m->cookie);
	}
	if (m->has_auth)
		wr_writer_auth(&b->w, 77, m->key);
}

static void model_compare(const struct model *m, const struct exact *e)
{
	const struct wr_message *got = &e->m;
	struct wr_wire_header h = m->h;
	h.length = (uint16_t)e->size;
	CU_ASSERT(!memcmp(&got->header, &h, sizeof(h)));
	CU_ASSERT(got->ask->k == m->k && got->ask->budget_us == m->budget);
	CU_ASSERT_EQUAL(got->n_events, m->n_events);
	CU_ASSERT(!m->n_events || (got->events_head->base_seq == m->base_seq &&
					  !memcmp(got->events, m->events, 24 * m->n_events)));
	CU_ASSERT_EQUAL(got->n_history, m->n_history);
	CU_ASSERT_EQUAL(!got->history_head, !m->n_history && !m->complete);
	for (unsigned int i = 0; i < m->n_history; i++)
		CU_ASSERT_EQUAL(got->history[i].item_kind,
			(uint32_t)(m->kinds[i] - 1) << 30 | m->history[i]);
	CU_ASSERT(got->n_exclude == m->n_exclude &&
		  !memcmp(got->exclude ?: m->exclude, m->exclude, 4 * m->n_exclude));
	CU_ASSERT(got->n_context == m->n_context &&
		  !memcmp(got->context ?: m->context, m->context, 8 * m->n_context));
	CU_ASSERT(got->utterance_bytes == m->n_text &&
		  !memcmp(got->utterance ?: m->text, m->text, m->n_text));
	CU_ASSERT_EQUAL(!!got->cookie, m->has_cookie);
	CU_ASSERT(!got->cookie || !memcmp(got->cookie, &m->cookie, sizeof(m->cookie)));
	CU_ASSERT_EQUAL(wr_wire_auth_check(got, e->data, m->key), m->has_auth);
	CU_ASSERT(!got->auth || got->auth->key_id == 77);
}

static void test_random(void)
{
	static struct model m;
	static struct draft b;
	struct wr_rng r;
	unsigned int n_fit = 0;
	wr_rng_init(&r, 3, 0);
	for (int i = 0; i < 3000; i++) {
		random_model(&r, &m);
		model_encode(&r, &m, &b);
		unsigned int want = model_bytes(&m);
		int bytes = wr_writer_finish(&b.w);
		CU_ASSERT_EQUAL(bytes, want > WR_WIRE_MAX_BYTES ? WR_EFULL : (int)want);
		if (bytes < 0)
			continue;
		struct exact e;
		exact_decode(&e, b.data, (size_t)bytes, false);
		CU_ASSERT_EQUAL_FATAL(e.d, WR_DECODE_OK);
		model_compare(&m, &e);
		exact_free(&e);
		n_fit++;
	}
	CU_ASSERT(n_fit > 1000 && n_fit < 2900);
}

static void test_unaligned(void)
{
	/* A UDP payload may begin at any even address; UBSan watches the loads. */
	static uint8_t space[WR_WIRE_MAX_BYTES + 8];
	static struct model m;
	static struct draft b;
	struct wr_rng r;
	wr_rng_init(&r, 4, 0);
	do {
		random_model(&r, &m);
		model_encode(&r, &m, &b);
	} while (b.w.failed || !m.n_events || !m.n_history || !m.n_exclude);
	size_t bytes = draft_finish(&b);
	for (size_t shift = 0; shift < 8; shift++) {
		struct exact e = {.data = space + shift, .size = bytes};
		memcpy(space + shift, b.data, bytes);
		e.d = wr_wire_decode_request(e.data, bytes, &e.m);
		CU_ASSERT_EQUAL_FATAL(e.d, WR_DECODE_OK);
		model_compare(&m, &e);
	}
}

/* Answers of every length that a request can allow: what items_fit() says is what fits. */
static void test_shortened_answers(void)
{
	for (unsigned int bytes = 0; bytes <= WR_WIRE_MAX_BYTES; bytes += 4)
		for (int cookie = 0; cookie < 2; cookie++) {
			unsigned int n = wr_wire_items_fit(bytes, cookie);
			CU_ASSERT(n <= WR_WIRE_MAX_K);
			if (bytes < 76u + 20u * (unsigned int)cookie)
				continue;
			for (unsigned int more = 0; more < 2 && n + more <= WR_WIRE_MAX_K; more++) {
				struct draft b;
				struct wr_wire_header h = header_of(WR_OP_RECOMMEND | WR_OP_ANSWER);
				struct wr_wire_cookie c = {0};
				wr_writer_init(&b.w, b.data, bytes, &h);
				draft_fill(&b, WR_SEC_ANSWER, 0, 0, 40);
				if (cookie)
					wr_writer_cookie(&b.w, &c);
				if (n + more)
					draft_fill(&b, WR_SEC_ITEMS, (uint8_t)(n + more), 1,
						16 * (n + more));
				CU_ASSERT_EQUAL(draft_finish(&b) != 0, more == 0);
				if (!more)
					CU_ASSERT_EQUAL(draft_decode(&b), WR_DECODE_OK);
			}
		}
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"writer in every capacity", test_writer_bounds},
		{"writer at the protocol's limits", test_writer_limits},
		{"history times", test_history_times},
		{"history times that lead before 1970", test_history_times_hostile},
		{"random messages against a model", test_random},
		{"unaligned payloads", test_unaligned},
		{"shortened answers", test_shortened_answers},
	};
	return wr_test_run("wire_roundtrip", tests, WR_ARRAY_LEN(tests));
}
