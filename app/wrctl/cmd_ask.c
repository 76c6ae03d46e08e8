/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl ask: one request through libwirerank, by ordinary sockets, as an edge proxy would send it.
 */
#include "ask.h"
#include "wr_client.h"
#include "wrctl.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define TRY_MS 250 /* of the first try: a person can wait */

struct ask {
	const struct context *c;
	const struct ask_options *o;
	struct wr_client *client;
	struct wr_client_server server;
	char host[256];
	uint16_t port;
	struct titles *titles;
	/* The request. */
	uint64_t user, k;
	struct wr_wire_event events[WR_WIRE_MAX_EVENTS];
	uint32_t history[WR_WIRE_MAX_HISTORY], exclude[WR_WIRE_MAX_EXCLUDE];
	int64_t history_times[WR_WIRE_MAX_HISTORY];
	unsigned int n_events, n_history, n_exclude;
	bool told; /* the server asked for the history and got it */
	/* The answer. */
	struct wr_client_answer answer;
	struct wr_wire_answer section;
	struct wr_wire_item items[WR_WIRE_MAX_K];
	unsigned int n_items;
	uint16_t flags;
};

/* ---- what was asked for ---- */
static int take_options(struct ask *a, struct wr_errmsg *msg)
{
	const struct ask_options *o = a->o;
	uint32_t clicks[WR_WIRE_MAX_EVENTS];
	int64_t now = wr_clock_unix_ms();
	if (!o->user)
		return wr_fail(msg, WR_EINVAL, "ask needs --user=NAME");
	if (o->bundle && o->items)
		return wr_fail(msg, WR_EINVAL, "--bundle or --items, not both");
	if (o->say &&
		(strlen(o->say) > WR_WIRE_MAX_UTTERANCE || !wr_utf8_valid(o->say, strlen(o->say))))
		return wr_fail(
			msg, WR_EINVAL, "--say: at most %d bytes of UTF-8", WR_WIRE_MAX_UTTERANCE);
	a->user = wr_wire_user_id(o->user, strlen(o->user));
	a->k = 10;
	int err = o->k ? wr_opt_u64("k", o->k, 0, WR_WIRE_MAX_K, &a->k, msg) : WR_OK;
	if (!err)
		err = wr_opt_u32_list("click", o->click, 1, WR_WIRE_MAX_ITEM, clicks,
			WR_WIRE_MAX_EVENTS, &a->n_events, msg);
	for (unsigned int i = 0; !err && i < a->n_events; i++)
		a->events[i] = (struct wr_wire_event){.item = clicks[i],
			.kind = WR_KIND_CLICK,
			.time_ms = now - (int64_t)(a->n_events - i)};
	if (!err)
		err = wr_opt_u32_list("history", o->history, 1, WR_WIRE_MAX_ITEM, a->history,
			WR_WIRE_MAX_HISTORY, &a->n_history, msg);
	for (unsigned int i = 0; !err && i < a->n_history; i++)
		a->history_times[i] = now - 60000 * (int64_t)(a->n_history - i + 1);
	if (!err)
		err = wr_opt_u32_list("exclude", o->exclude, 1, WR_WIRE_MAX_ITEM, a->exclude,
			WR_WIRE_MAX_EXCLUDE, &a->n_exclude, msg);
	if (!err && o->server && wr_parse_host_port(o->server, a->host, sizeof(a->host), &a->port))
		err = wr_fail(msg, WR_EINVAL, "--server=%s: must be HOST[:PORT], IPv6 as [::1]:%d",
			o->server, WR_WIRE_DEFAULT_PORT);
	return err;
}

int check_ask(struct context *c, struct wr_errmsg *msg)
{
	struct ask *a = calloc(1, sizeof(*a));
	if (!a)
		return wr_fail(msg, WR_ENOMEM, "no memory");
	a->o = &c->ask;
	int err = take_options(a, msg);
	free(a);
	return err;
}

/* ---- which server ---- */
static const char *config_value(const json_t *config, const char *section, const char *key)
{
	const json_t *entry = json_object_get(json_object_get(config, section), key);
	const json_t *value = json_object_get(entry, "value");
	return json_is_string(value) ? json_string_value(value) : "";
}

/* The first address of a list such as "10.47.0.1, 10.47.0.2". */
static bool first_address(const char *list, char *out, size_t size)
{
	size_t n = strcspn(list, ", /");
	if (n == 0 || n >= size || !strncmp(list, "none", n))
		return false;
	memcpy(out, list, n);
	out[n] = '\0';
	return true;
}

/* Where the daemon that runs here listens, from its configuration. */
static int server_of_daemon(struct ask *a, const json_t *config, struct wr_errmsg *msg)
{
	uint64_t port = WR_WIRE_DEFAULT_PORT;
	const char *kind = config_value(config, "port", "kind");
	if (!strcmp(kind, "memif"))
		return wr_fail(msg, WR_ENOTSUP,
			"the daemon's port is memif, which sockets do not reach: ask with wrload "
			"ask --memif=%s, or another daemon with --server",
			config_value(config, "port", "socket"));
	if (!first_address(config_value(config, "port", "ipv4"), a->host, sizeof(a->host)) &&
		!first_address(config_value(config, "port", "ipv6"), a->host, sizeof(a->host)))
		return wr_fail(
			msg, WR_ENOENT, "the daemon does not say where it listens; give --server");
	(void)!wr_parse_u64(config_value(config, "port", "udp_port"), 1, UINT16_MAX, &port);
	a->port = (uint16_t)port;
	return WR_OK;
}

static int find_server(struct ask *a, json_t **config, struct wr_errmsg *msg)
{
	json_t *body;
	*config = NULL;
	if (!a->c->link && a->o->server)
		return WR_OK;
	if (!a->c->link)
		return wr_fail(msg, WR_ENOENT, "%s; or say which --server=HOST[:PORT]",
			a->c->no_link.text);
	int err = link_ask(a->c->link, "/wirerank/config", NULL, &body, msg);
	if (!err) {
		*config = answer_config(body);
		json_decref(body);
	}
	if (a->o->server)
		return WR_OK; /* the daemon here is asked for titles only */
	return err ? err : server_of_daemon(a, *config, msg);
}

/* ---- the conversation ---- */
static bool tell(void *arg, uint64_t user, uint8_t domain, unsigned int n_wanted,
	struct wr_client_history *h)
{
	struct ask *a = arg;
	(void)user;
	(void)domain;
	(void)n_wanted;
	a->told = a->n_history > 0;
	h->items = a->history;
	h->times = a->history_times;
	h->n = a->n_history;
	h->complete = true;
	return a->told;
}

static void on_answer(void *arg, const struct wr_client_answer *answer)
{
	struct ask *a = arg;
	a->answer = *answer;
	a->answer.message = NULL; /* gone after this call */
	a->n_items = 0;
	if (!answer->message)
		return;
	a->section = *answer->message->answer;
	a->flags = answer->message->header.flags;
	a->n_items = answer->message->n_items;
	if (a->n_items)
		memcpy(a->items, answer->message->items, a->n_items * sizeof(a->items[0]));
}

static int no_answer(const struct ask *a, struct wr_errmsg *msg)
{
	return wr_fail(msg, WR_EAGAIN,
		"%s port %u does not answer: does wirerankd listen there ([port] in wrctl config), "
		"does its [admit] allow us, are checksums complete (ethtool -K DEVICE tx off on a "
		"veth)? A host does not reach its own AF_XDP interface: ask from another one",
		a->host, a->port);
}

static int greet(struct ask *a, struct wr_errmsg *msg)
{
	uint64_t end = wr_clock_ns() + (uint64_t)a->c->timeout_s * 1000000000u;
	struct pollfd p = {.fd = wr_client_fd(a->client), .events = POLLIN};
	while (wr_clock_ns() < end) {
		(void)poll(&p, 1, 100);
		wr_client_process(a->client);
		int err = wr_client_server(a->client, 0, &a->server);
		if (err)
			return wr_fail(msg, err, "no server");
		if (a->server.greeted)
			return WR_OK;
	}
	return no_answer(a, msg);
}

static int wait_for_answer(struct ask *a, int err, struct wr_errmsg *msg)
{
	if (err)
		return wr_fail(msg, err,
			"the request does not fit a datagram: fewer --click, or a shorter --say");
	if (wr_client_run(a->client, a->c->timeout_s * 1000) != WR_OK ||
		a->answer.result == WR_EAGAIN)
		return no_answer(a, msg);
	return WR_OK;
}

static int talk(struct ask *a, struct wr_errmsg *msg)
{
	struct wr_client_request r = {.user_id = a->user,
		.k = (uint8_t)a->k,
		.flags = a->o->include_seen ? WR_REQ_INCLUDE_SEEN : 0,
		.exclude = a->exclude,
		.n_exclude = a->n_exclude,
		.utterance = a->o->say,
		.utterance_bytes = a->o->say ? strlen(a->o->say) : 0,
		.done = on_answer,
		.arg = a};
	int err = WR_OK;
	if (a->o->forget)
		err = wait_for_answer(a, wr_client_forget(a->client, &r), msg);
	r.events = a->events;
	r.n_events = a->n_events;
	if (!err)
		err = wait_for_answer(a, wr_client_recommend(a->client, &r), msg);
	/* The clicks are known by now; what went before them is told, and asked again. */
	r.n_events = 0;
	if (!err && a->n_history && (a->flags & WR_ANS_HISTORY_WANTED))
		err = wait_for_answer(a, wr_client_recommend(a->client, &r), msg);
	return err;
}

static int open_client(struct ask *a, struct wr_errmsg *msg)
{
	const struct wr_client_options options = {.max_outstanding = 8,
		.n_sources = 1,
		.timeout_ms = TRY_MS,
		.history = tell,
		.history_arg = a};
	a->client = wr_client_new(&options, msg);
	if (!a->client)
		return WR_ENOMEM;
	int err = wr_client_add_server(a->client, a->host, a->port, 0, msg);
	a->port = a->port ? a->port : WR_WIRE_DEFAULT_PORT;
	return err < 0 ? err : WR_OK;
}

/* Given ones must be right; those of the daemon that runs here are taken if they are. */
static int find_titles(struct ask *a, const json_t *config, struct wr_errmsg *msg)
{
	struct wr_errmsg ignored;
	if (a->o->items)
		return titles_of_items(&a->titles, a->o->items, msg);
	if (a->o->bundle)
		return titles_of_bundle(&a->titles, a->o->bundle, a->server.bundle_id, msg);
	const char *path = config_value(config, "bundle", "path");
	if (*path && titles_of_bundle(&a->titles, path, a->server.bundle_id, &ignored))
		a->titles = NULL;
	return WR_OK;
}

/* ---- the answer for people and programs ---- */
static void print_answer(const struct ask *a)
{
	const struct wr_wire_answer *s = &a->section;
	printf("%s:%u: %s in %.1f us (server %u us), %u %s, bundle version %u, generation %u\n",
		a->host, a->port, wr_wire_status_name(s->status),
		(double)a->answer.latency_ns / 1e3, s->server_us, a->answer.n_tries,
		a->answer.n_tries == 1 ? "try" : "tries", s->bundle_version, s->model_generation);
	printf("user %lu%s", (unsigned long)a->user, a->told ? ", history told" : "");
	for (unsigned int b = 0; b < WR_ANS_FLAGS; b++)
		if (a->flags >> b & 1)
			printf(", %s", wr_wire_flag_name(b));
	if (s->degrade)
		printf(", ranked by popularity");
	if (s->n_intents)
		printf(", %u %s", s->n_intents, s->n_intents == 1 ? "intent" : "intents");
	printf("\n");
	if (a->n_items)
		printf("%3s  %10s  %9s  %-8s %s\n", "", "item", "score", "reason",
			a->titles ? "title" : "");
	for (unsigned int i = 0; i < a->n_items; i++) {
		uint32_t bytes;
		const char *title = titles_get(a->titles, a->items[i].item, &bytes);
		printf("%3u  %10u  %9.4f  %-8s %.*s\n", i + 1, a->items[i].item,
			(double)a->items[i].score, wr_wire_reason_name(a->items[i].reason),
			(int)bytes, title);
	}
}

static json_t *answer_json(const struct ask *a)
{
	const struct wr_wire_answer *s = &a->section;
	json_t *items = json_array(), *flags = json_array();
	for (unsigned int i = 0; i < a->n_items; i++) {
		uint32_t bytes;
		const char *title = titles_get(a->titles, a->items[i].item, &bytes);
		json_t *text = json_stringn(title, bytes);
		json_array_append_new(items,
			json_pack("{s:I, s:f, s:s, s:o}", "item", (json_int_t)a->items[i].item,
				"score", (double)a->items[i].score, "reason",
				wr_wire_reason_name(a->items[i].reason), "title",
				text ? text : json_string("")));
	}
	for (unsigned int b = 0; b < WR_ANS_FLAGS; b++)
		if (a->flags >> b & 1)
			json_array_append_new(flags, json_string(wr_wire_flag_name(b)));
	/* A user id above 2^63 - 1 does not fit JSON's numbers here. */
	char user[24];
	snprintf(user, sizeof(user), "%lu", (unsigned long)a->user);
	json_t *j = json_pack("{s:s, s:i, s:s, s:s, s:o, s:b, s:i, s:b}", "server", a->host, "port",
		(int)a->port, "user", user, "status", wr_wire_status_name(s->status), "flags",
		flags, "degraded", s->degrade != 0, "n_intents", (int)s->n_intents, "history_told",
		a->told);
	json_object_set_new(j, "latency_us", json_real((double)a->answer.latency_ns / 1e3));
	json_object_set_new(j, "server_us", json_integer(s->server_us));
	json_object_set_new(j, "tries", json_integer(a->answer.n_tries));
	json_object_set_new(j, "bundle_version", json_integer(s->bundle_version));
	json_object_set_new(j, "generation", json_integer(s->model_generation));
	json_object_set_new(j, "epoch", json_integer(s->shard_epoch));
	json_object_set_new(j, "items", items);
	return j;
}

static int show(const struct ask *a, struct wr_errmsg *msg)
{
	if (!a->c->json) {
		print_answer(a);
		return WR_OK;
	}
	json_t *j = answer_json(a);
	int err = wr_json_write(j, "-", msg);
	json_decref(j);
	return err;
}

int cmd_ask(const struct context *c, struct wr_errmsg *msg)
{
	json_t *config = NULL;
	struct ask *a = calloc(1, sizeof(*a));
	if (!a)
		return wr_fail(msg, WR_ENOMEM, "no memory");
	a->c = c;
	a->o = &c->ask;
	int err = take_options(a, msg);
	if (!err)
		err = find_server(a, &config, msg);
	if (!err)
		err = open_client(a, msg);
	if (!err)
		err = greet(a, msg);
	if (!err)
		err = find_titles(a, config, msg);
	if (!err)
		err = talk(a, msg);
	if (!err)
		err = show(a, msg);
	if (!err && a->answer.result != WR_OK)
		err = wr_fail(msg, WR_EPERM, "the server refused: %s",
			wr_wire_status_name(a->section.status));
	titles_free(a->titles);
	wr_client_free(a->client);
	json_decref(config);
	free(a);
	return err;
}
