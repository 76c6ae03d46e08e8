/* SPDX-License-Identifier: BSD-3-Clause */
/* Single questions: HELLO, and any one message whose answer somebody wants to look at. */
#include "load_talk.h"

struct ask {
	struct wr_load *l;
	const void *message; /* NULL = HELLO */
	size_t n;
	uint8_t *answer;
	size_t answer_bytes;
	uint64_t latency_ns;
	bool done, answered;
	struct wr_errmsg *msg;
	int err;
};

static bool render(void *ctx, unsigned int i, uint64_t id, struct wr_writer *w, uint64_t *user)
{
	struct ask *a = ctx;

	if (a->done)
		return false;
	if (!a->message) {
		wr_load_hello_message(w, id);
		*user = WR_USERS_TALK;
		return true;
	}
	struct wr_wire_header h;
	memcpy(&h, a->message, sizeof(h));
	h.request_id = id;
	memcpy(w->data, a->message, a->n);
	memcpy(w->data, &h, sizeof(h));
	w->used = (uint32_t)a->n;
	*user = h.user_id;
	return true;
}

static void take_answer(void *ctx, unsigned int i, const struct wr_message *m, uint64_t latency_ns)
{
	struct ask *a = ctx;

	a->done = a->answered = true;
	a->latency_ns = latency_ns;
	if (!a->message) {
		a->err = wr_load_take_hello(a->l, m, a->msg);
		return;
	}
	memcpy(a->answer, a->l->datagram, a->l->datagram_bytes);
	a->answer_bytes = a->l->datagram_bytes;
}

static void fail(void *ctx, unsigned int i)
{
	struct ask *a = ctx;

	a->done = true;
}

static const struct wr_talk_ops ask_ops = {render, take_answer, fail};

static int run(struct ask *a, double timeout_s, struct wr_errmsg *msg)
{
	struct wr_talks t = {.ops = &ask_ops,
		.ctx = a,
		.n = 1,
		.timeout_s = timeout_s,
		.max_tries = 5,
		.hello = a->message == NULL};
	int err = wr_talks_run(a->l, &t, msg);

	if (err)
		return err;
	if (!a->answered)
		return wr_fail(msg, WR_EAGAIN,
			"no answer to %s in %u tries of %.2f s: do addresses and ports "
			"(--server-ip, --server-mac, "
			"--server-port) match the server's [port] section, and does its [admit] "
			"allow us?",
			a->message ? "the request" : "HELLO", t.max_tries, timeout_s);
	return a->err;
}

int wr_load_hello(struct wr_load *l, struct wr_errmsg *msg)
{
	struct ask a = {.l = l, .msg = msg};

	return run(&a, 0.5, msg);
}

int wr_load_ask(struct wr_load *l, const void *message, size_t n, double timeout_s, void *answer,
	struct wr_message *m, uint64_t *latency_ns, struct wr_errmsg *msg)
{
	struct ask a = {.l = l, .msg = msg, .message = message, .n = n, .answer = answer};

	if (n < WR_WIRE_HEADER_BYTES || n > WR_WIRE_MAX_BYTES)
		return wr_fail(msg, WR_EINVAL, "a message has %d … %d bytes", WR_WIRE_HEADER_BYTES,
			WR_WIRE_MAX_BYTES);
	int err = run(&a, timeout_s, msg);
	if (err)
		return err;
	if (latency_ns)
		*latency_ns = a.latency_ns;
	/* It was decoded once from the mbuf that is gone; now from the caller's copy. */
	if (wr_wire_decode_answer(answer, a.answer_bytes, m) != WR_DECODE_OK)
		return wr_fail(msg, WR_EFORMAT, "the answer does not decode");
	return 0;
}
