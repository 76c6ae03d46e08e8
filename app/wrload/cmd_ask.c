/* SPDX-License-Identifier: BSD-3-Clause */
/* wrload ask: one request by hand, its answer for the eye. */
#include "titles.h"
#include "wrload.h"

#include <stdlib.h>
#include <string.h>

static struct {
	const char *user, *history, *click, *say, *exclude, *k, *data, *forget, *seen;
} o = {.user = "1", .k = "10"};

static const struct wr_opt opts[] = {
	{"user", "NAME", "user: a number, or a name that is hashed as docs/protocol.md says",
		&o.user},
	{"history", "ID,…", "the user's whole history, oldest first (at most 128 items)",
		&o.history},
	{"click", "ID,…", "new clicks, oldest first (at most 32)", &o.click},
	{"say", "TEXT", "an utterance", &o.say},
	{"exclude", "ID,…", "items that are not wanted (at most 64)", &o.exclude},
	{"k", "N", "items to ask for, 0 = echo", &o.k},
	{"include-seen", NULL, "items seen before may come back", &o.seen},
	{"forget", NULL, "erase the user first", &o.forget},
	{"data", "DIR", "dataset directory, for titles", &o.data},
};

static int forget(struct wr_load *l, uint64_t user, struct wr_errmsg *msg)
{
	struct wr_wire_header h = {.version = WR_WIRE_VERSION,
		.op = WR_OP_FORGET,
		.user_id = user,
		.time_ms = wr_clock_unix_ms()};
	uint8_t message[WR_WIRE_MAX_BYTES], answer[WR_WIRE_MAX_BYTES];
	struct wr_writer w;
	struct wr_message m;

	wr_writer_init(&w, message, sizeof(message), &h);
	wr_writer_cookie(&w, &wr_load_server(l)->cookie);
	wr_writer_pad(&w, 128);
	int n = wr_writer_finish(&w);
	int err = n < 0 ? wr_fail(msg, n, "the request is too long")
			: wr_load_ask(l, message, (size_t)n, 0.5, answer, &m, NULL, msg);
	if (!err && m.answer->status != WR_STATUS_OK)
		err = wr_fail(msg, WR_EPERM, "FORGET was refused: %s",
			wr_load_status_name(m.answer->status));
	return err;
}

static int write_request(
	struct wr_writer *w, uint8_t *message, uint64_t user, struct wr_errmsg *msg)
{
	uint32_t items[WR_WIRE_MAX_HISTORY];
	struct wr_wire_event events[WR_WIRE_MAX_EVENTS];
	int64_t times[WR_WIRE_MAX_HISTORY], now = wr_clock_unix_ms();
	uint64_t k = 0;
	unsigned int n = 0;
	struct wr_wire_header h = {.version = WR_WIRE_VERSION,
		.op = WR_OP_RECOMMEND,
		.user_id = user,
		.time_ms = now,
		.flags = o.seen ? WR_REQ_INCLUDE_SEEN : 0};
	int err = wr_opt_u64("k", o.k, 0, WR_WIRE_MAX_K, &k, msg);

	wr_writer_init(w, message, WR_WIRE_MAX_BYTES, &h);
	wr_writer_ask(w, (uint8_t)k, 0);
	if (!err)
		err = wr_opt_u32_list(
			"click", o.click, 1, WR_WIRE_MAX_ITEM, items, WR_WIRE_MAX_EVENTS, &n, msg);
	for (unsigned int i = 0; i < n; i++)
		events[i] = (struct wr_wire_event){
			.item = items[i], .kind = WR_KIND_CLICK, .time_ms = now - (int64_t)(n - i)};
	wr_writer_events(w, 0, events, n);
	if (!err)
		err = wr_opt_u32_list("history", o.history, 1, WR_WIRE_MAX_ITEM, items,
			WR_WIRE_MAX_HISTORY, &n, msg);
	for (unsigned int i = 0; i < n; i++)
		times[i] = now - 60000 * (int64_t)(n - i + 1);
	if (n)
		wr_writer_history(w, items, NULL, times, n, true);
	if (!err)
		err = wr_opt_u32_list("exclude", o.exclude, 1, WR_WIRE_MAX_ITEM, items,
			WR_WIRE_MAX_EXCLUDE, &n, msg);
	wr_writer_exclude(w, items, n);
	if (o.say)
		wr_writer_utterance(w, o.say, strlen(o.say));
	/* So long that the answer may hold all it has. */
	wr_writer_pad(w, 104 + k * sizeof(struct wr_wire_item));
	return err;
}

static void print_answer(const struct wr_message *m, const struct titles *t, uint64_t latency_ns)
{
	static const char *const reasons[] = {"-", "model", "intent", "popular"};
	const struct wr_wire_answer *a = m->answer;

	printf("status %s, %.1f us (server %u us), bundle %u, generation %u",
		wr_load_status_name(a->status), (double)latency_ns / 1000, a->server_us,
		a->bundle_version, a->model_generation);
	for (unsigned int b = 0; b < 7; b++)
		if (m->header.flags >> b & 1)
			printf(", %s", wr_load_flag_name(b));
	if (a->n_intents)
		printf(", %u intents", a->n_intents);
	printf("\n");
	for (unsigned int i = 0; i < m->n_items; i++) {
		const struct wr_wire_item *it = &m->items[i];
		printf("%3u  %8u  %8.4f  %-8s %s\n", i + 1, it->item, (double)it->score,
			it->reason < WR_ARRAY_LEN(reasons) ? reasons[it->reason] : "?",
			titles_get(t, it->item));
	}
}

static json_t *answer_json(const struct wr_message *m, const struct titles *t, uint64_t latency_ns)
{
	json_t *root = json_object(), *items = json_array(), *flags = json_array();

	for (unsigned int i = 0; i < m->n_items; i++) {
		const struct wr_wire_item *it = &m->items[i];
		json_array_append_new(
			items, json_pack("{s:i, s:f, s:i, s:s}", "item", (int)it->item, "score",
				       (double)it->score, "reason", (int)it->reason, "title",
				       titles_get(t, it->item)));
	}
	for (unsigned int b = 0; b < 7; b++)
		if (m->header.flags >> b & 1)
			json_array_append_new(flags, json_string(wr_load_flag_name(b)));
	json_object_set_new(root, "status", json_string(wr_load_status_name(m->answer->status)));
	json_object_set_new(root, "flags", flags);
	json_object_set_new(root, "n_intents", json_integer(m->answer->n_intents));
	json_object_set_new(root, "latency_us", json_real((double)latency_ns / 1000));
	json_object_set_new(root, "server_us", json_integer(m->answer->server_us));
	json_object_set_new(root, "items", items);
	return root;
}

int cmd_ask(int argc, char **argv)
{
	uint8_t message[WR_WIRE_MAX_BYTES], answer[WR_WIRE_MAX_BYTES];
	struct titles *titles = NULL;
	struct wr_load *l = NULL;
	struct wr_errmsg msg;
	struct wr_writer w;
	struct wr_message m = {0};
	uint64_t latency_ns = 0;
	int n = 0, code = parse_options(argc, argv,
			   "usage: wrload ask --memif=SOCKET --user=NAME [--history=ID,…] "
			   "[--click=ID,…] [--say=TEXT] [--k=N]",
			   opts, WR_ARRAY_LEN(opts), OPT_PORT);

	if (code >= 0)
		return code;
	uint64_t user = wr_wire_user_id(o.user, strlen(o.user));
	int err = write_request(&w, message, user, &msg);
	if (!err && (n = wr_writer_finish(&w)) < 0)
		err = wr_fail(&msg, WR_EFULL,
			"the request is longer than %d bytes: shorten history, clicks or text",
			WR_WIRE_MAX_BYTES);
	if (!err && o.data)
		err = titles_read(&titles, o.data, &msg);
	if (!err)
		err = open_load(&l, true, &msg);
	if (!err && o.forget)
		err = forget(l, user, &msg);
	if (!err)
		err = wr_load_ask(l, message, (size_t)n, 0.5, answer, &m, &latency_ns, &msg);
	if (!err) {
		if (!quiet())
			print_answer(&m, titles, latency_ns);
		err = write_json(answer_json(&m, titles, latency_ns), &msg);
	}
	bool refused = !err && m.answer->status != WR_STATUS_OK;
	titles_free(titles);
	code = close_load(l, err, &msg);
	return code == EXIT_OK && refused ? EXIT_ERROR : code;
}
