/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server for the generator's tests: a memif server that keeps sessions in ordinary memory and
 * answers every request by a rule simple enough to be written down twice. On demand it does one
 * thing wrong, so that a test can see whether wrload notices.
 *
 *   load_server serve SOCKET N_QUEUES FAULT EVERY
 *   load_server lists DATASET_DIR
 *
 * FAULT: none or a name of fault_names, in every EVERY-th answer. "lists" writes the lists that
 * this server answers to stdout.
 *
 * The rule: with L the newest click (0 = none), the candidates are items 1 + (7 L + 13 j) mod
 * N_ITEMS, j = 0, 1, …, without seen and excluded ones; their scores fall from 10 by a quarter.
 */
#include "load_frame.h"
#include "load_lists.h"
#include "wr_port.h"
#include "wr_wire.h"

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <stdlib.h>
#include <unistd.h>

enum { N_ITEMS = 1009, MAX_SESSIONS = 1 << 20, MAX_QUEUES = 4, BURST = 32, FIRST_PORT = 4700 };

enum fault {
	FAULT_NONE,
	FAULT_SWAP,      /* the answer of another user */
	FAULT_ORDER,     /* two items exchanged, scores too */
	FAULT_EXCLUDED,  /* an excluded item */
	FAULT_SEEN,      /* the item just clicked */
	FAULT_COUNT,     /* an item too few */
	FAULT_TWICE,     /* an item twice */
	FAULT_DUPLICATE, /* the answer sent twice */
	FAULT_FORGOTTEN, /* \"nothing known of the user\" */
	FAULT_LIST,      /* a sound answer, but not the expected list */
	FAULT_LOST,      /* no answer */
	FAULT_STRAY,     /* an answer to a request that was never made */
	FAULT_TABLE, /* no fault: every shard moves to the next queue, and a new epoch says so */
	FAULT_N,
};
static const char *const fault_names[FAULT_N] = {"none", "swap", "order", "excluded", "seen",
	"count", "twice", "duplicate", "forgotten", "list", "lost", "stray", "table"};

struct session {
	uint64_t user; /* 0 = free */
	uint32_t n, room;
	uint32_t *items;
	int64_t *times;
};

struct server {
	struct session *sessions;
	enum fault fault;
	uint64_t every, n_answers;
	uint32_t epoch;
	uint16_t port_id;
	unsigned int n_queues;
	struct rte_mempool *pool;
	struct wr_load_head head[MAX_QUEUES];
	uint8_t client_ip[16], secret[16];
};

/* ---- sessions ---- */
static struct session *find(struct server *s, uint64_t user)
{
	for (uint32_t i = (uint32_t)wr_mix64(user);; i++) {
		struct session *x = &s->sessions[i % MAX_SESSIONS];
		if (x->user == user || x->user == 0) {
			x->user = user;
			return x;
		}
	}
}

/* False: known already. */
static bool add_click(struct session *x, uint32_t item, int64_t time_ms)
{
	for (uint32_t i = 0; i < x->n; i++)
		if (x->items[i] == item && x->times[i] == time_ms)
			return false;
	if (x->n == x->room) {
		x->room = x->room ? x->room * 2 : 16;
		x->items = realloc(x->items, x->room * sizeof(*x->items));
		x->times = realloc(x->times, x->room * sizeof(*x->times));
		if (!x->items || !x->times)
			abort();
	}
	x->items[x->n] = item;
	x->times[x->n++] = time_ms;
	return true;
}

static bool contains(const uint32_t *ids, unsigned int n, uint32_t id)
{
	for (unsigned int i = 0; i < n; i++)
		if (ids[i] == id)
			return true;
	return false;
}

static unsigned int recommend(const uint32_t *clicks, uint32_t n_clicks, bool filtered,
	const uint32_t *exclude, unsigned int n_exclude, unsigned int skip, unsigned int k,
	uint32_t *out)
{
	uint32_t last = n_clicks ? clicks[n_clicks - 1] : 0;
	unsigned int n = 0;

	for (uint32_t j = skip; j < N_ITEMS && n < k; j++) {
		uint32_t item = 1 + (7 * last + 13 * j) % N_ITEMS;
		if ((filtered && contains(clicks, n_clicks, item)) ||
			contains(exclude, n_exclude, item))
			continue;
		out[n++] = item;
	}
	return n;
}

/* ---- answers ---- */
static unsigned int owner(const struct server *s, unsigned int shard)
{
	return (shard + s->epoch) % s->n_queues;
}

static void hello(const struct server *s, struct wr_writer *w)
{
	struct wr_wire_server *v = wr_writer_section(w, WR_SEC_SERVER, 0, sizeof(*v));
	uint8_t *shards = wr_writer_section(w, WR_SEC_SHARDS, 0, WR_WIRE_N_SHARDS);
	uint16_t *ports = wr_writer_section(w, WR_SEC_PORTS, (uint8_t)s->n_queues, 2 * s->n_queues);

	if (!v || !shards || !ports)
		return;
	*v = (struct wr_wire_server){.version_min = 1,
		.version_max = 1,
		.max_bytes = WR_WIRE_MAX_BYTES,
		.max_k = WR_WIRE_MAX_K,
		.max_events = WR_WIRE_MAX_EVENTS,
		.max_history = WR_WIRE_MAX_HISTORY,
		.max_exclude = WR_WIRE_MAX_EXCLUDE,
		.max_utterance = WR_WIRE_MAX_UTTERANCE,
		.min_unproven = WR_WIRE_MIN_UNPROVEN,
		.bundle_version = 1,
		.model_generation = 1,
		.shard_epoch = s->epoch,
		.n_items = N_ITEMS,
		.history_events = 99};
	for (unsigned int i = 0; i < WR_WIRE_N_SHARDS; i++)
		shards[i] = (uint8_t)owner(s, i);
	for (unsigned int i = 0; i < s->n_queues; i++)
		ports[i] = (uint16_t)(FIRST_PORT + i);
}

static void break_items(struct server *s, const struct wr_message *m, struct wr_wire_item *items,
	unsigned int *n, struct wr_wire_header *h)
{
	if (s->fault == FAULT_NONE || ++s->n_answers % s->every != 0 || *n < 2)
		return;
	if (s->fault == FAULT_TABLE)
		s->epoch++;
	struct wr_wire_item first = items[0];
	switch (s->fault) {
	case FAULT_SWAP:
		h->user_id ^= 1;
		break;
	case FAULT_ORDER:
		items[0] = items[1];
		items[1] = first;
		break;
	case FAULT_EXCLUDED:
		if (m->n_exclude)
			items[0].item = m->exclude[0];
		break;
	case FAULT_SEEN:
		if (m->n_events)
			items[0].item = m->events[m->n_events - 1].item;
		break;
	case FAULT_COUNT:
		--*n;
		break;
	case FAULT_TWICE:
		items[1].item = items[0].item;
		break;
	case FAULT_FORGOTTEN:
		items[0].reason = WR_REASON_POPULAR;
		break;
	case FAULT_STRAY:
		h->request_id += 1000000;
		break;
	default:
		break;
	}
}

static bool faulty_now(const struct server *s, enum fault fault)
{
	return s->fault == fault && s->n_answers && s->n_answers % s->every == 0;
}

static void take_clicks(struct session *x, const struct wr_message *m, uint16_t *flags)
{
	if (x->n == 0 && m->n_history) {
		int64_t times[WR_WIRE_MAX_HISTORY];
		wr_wire_history_times(m, times);
		for (unsigned int i = 0; i < m->n_history; i++)
			(void)add_click(x, m->history[i].item_kind & WR_WIRE_MAX_ITEM, times[i]);
		*flags |= WR_ANS_COLD;
	} else if (x->n == 0) {
		*flags |= WR_ANS_HISTORY_WANTED;
	}
	for (unsigned int i = 0; i < m->n_events; i++)
		if (!add_click(x, m->events[i].item, m->events[i].time_ms))
			*flags |= WR_ANS_DUPLICATE;
}

/* Writes the answer to a sound request; its size. */
static int respond(struct server *s, const struct wr_message *m, unsigned int queue, uint8_t *out)
{
	struct wr_wire_header h = m->header;
	struct wr_wire_item items[WR_WIRE_MAX_K];
	uint32_t ids[WR_WIRE_MAX_K], exclude[WR_WIRE_MAX_EXCLUDE];
	unsigned int n = 0;
	uint8_t status = WR_STATUS_OK;
	struct wr_writer w;

	h.op = (uint8_t)(m->header.op | WR_OP_ANSWER);
	h.flags = 0;
	if (owner(s, wr_wire_shard(h.user_id)) != queue && h.op != (WR_OP_HELLO | WR_OP_ANSWER))
		h.flags |= WR_ANS_HANDED_OVER;
	if (m->header.op == WR_OP_FORGET) {
		if (m->cookie && wr_wire_cookie_check(m->cookie, s->client_ip, s->secret))
			find(s, h.user_id)->n = 0;
		else
			status = WR_STATUS_DENIED;
	}
	if (m->header.op == WR_OP_RECOMMEND || m->header.op == WR_OP_EVENT) {
		struct session *x = find(s, h.user_id);
		uint16_t flags = h.flags;
		take_clicks(x, m, &flags);
		h.flags = flags;
		unsigned int skip = s->fault == FAULT_LIST && (s->n_answers + 1) % s->every == 0;
		/* In the datagram they stand at any address. */
		if (m->n_exclude)
			memcpy(exclude, m->exclude, m->n_exclude * sizeof(exclude[0]));
		if (m->ask && m->ask->k)
			n = recommend(x->items, x->n, !(m->header.flags & WR_REQ_INCLUDE_SEEN),
				exclude, m->n_exclude, skip, m->ask->k, ids);
		for (unsigned int i = 0; i < n; i++)
			items[i] = (struct wr_wire_item){.item = ids[i],
				.score = 10 - (float)i / 4,
				.reason = WR_REASON_MODEL,
				.propensity = 1};
		break_items(s, m, items, &n, &h);
	}
	wr_writer_init(&w, out, WR_WIRE_MAX_BYTES, &h);
	struct wr_wire_answer *a = wr_writer_section(&w, WR_SEC_ANSWER, 0, sizeof(*a));
	if (a)
		*a = (struct wr_wire_answer){.status = status,
			.bundle_version = 1,
			.model_generation = 1,
			.shard_epoch = s->epoch,
			.server_us = 1};
	if (n) {
		void *body = wr_writer_section(&w, WR_SEC_ITEMS, (uint8_t)n, n * sizeof(items[0]));
		if (body)
			memcpy(body, items, n * sizeof(items[0]));
	}
	if (m->header.op == WR_OP_HELLO) {
		struct wr_wire_cookie cookie;
		hello(s, &w);
		wr_wire_cookie_make(&cookie, s->client_ip, 1, s->secret);
		wr_writer_cookie(&w, &cookie);
	}
	if (m->header.flags & WR_REQ_PAD_ANSWER)
		wr_writer_pad(&w, m->header.length);
	return wr_writer_finish(&w);
}

/* Answer to a message that does not decode but has a sound header. */
static int refuse(
	const struct server *s, const struct wr_message *m, enum wr_status status, uint8_t *out)
{
	struct wr_wire_header h = m->header;
	struct wr_writer w;

	h.version = WR_WIRE_VERSION;
	h.op = WR_OP_ERROR | WR_OP_ANSWER;
	h.flags = 0;
	h.time_ms = 0;
	wr_writer_init(&w, out, WR_WIRE_MAX_BYTES, &h);
	struct wr_wire_answer *a = wr_writer_section(&w, WR_SEC_ANSWER, 0, sizeof(*a));
	if (a)
		*a = (struct wr_wire_answer){.status = (uint8_t)status, .shard_epoch = s->epoch};
	return wr_writer_finish(&w);
}

static void transmit(struct server *s, unsigned int queue, const uint8_t *message, int n)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(s->pool);

	if (!m)
		return;
	uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
	memcpy(frame + s->head[queue].size, message, (size_t)n);
	m->data_len = wr_load_frame_finish(&s->head[queue], frame, (uint16_t)n, (uint16_t)n, 40000);
	m->pkt_len = m->data_len;
	for (unsigned int tries = 0; tries < 1000; tries++)
		if (rte_eth_tx_burst(s->port_id, (uint16_t)queue, &m, 1) == 1)
			return;
	rte_pktmbuf_free(m);
}

static void serve_frame(struct server *s, unsigned int queue, const uint8_t *frame, size_t bytes)
{
	const uint8_t *message = NULL;
	uint8_t answer[WR_WIRE_MAX_BYTES];
	uint16_t from;
	size_t n = 0;
	struct wr_message m;
	bool ours = false;

	for (unsigned int i = 0; i < s->n_queues && !ours; i++)
		ours = wr_load_frame_parse(&s->head[i], frame, bytes, &message, &n, &from) ==
		       WR_LOAD_FRAME_OK;
	if (!ours)
		return;
	enum wr_decode d = wr_wire_decode_request(message, n, &m);
	enum wr_status status = wr_decode_status(d);
	if (d != WR_DECODE_OK && status == WR_STATUS_OK)
		return;
	int size =
		d == WR_DECODE_OK ? respond(s, &m, queue, answer) : refuse(s, &m, status, answer);
	if (size < 0 || faulty_now(s, FAULT_LOST))
		return;
	transmit(s, queue, answer, size);
	if (faulty_now(s, FAULT_DUPLICATE))
		transmit(s, queue, answer, size);
}

/* ---- set-up ---- */
static int open_port(struct server *s, const char *socket)
{
	struct rte_eth_conf conf = {0};
	char args[256], prefix[64];
	char *argv[] = {(char *)"load_server", (char *)"--lcores=0@0", (char *)"--no-pci",
		(char *)"--no-huge", (char *)"--no-shconf", (char *)"--no-telemetry", (char *)"-m",
		(char *)"128", (char *)"--log-level=*:error", prefix, NULL};

	snprintf(prefix, sizeof(prefix), "--file-prefix=wrls-%d", (int)getpid());
	snprintf(args, sizeof(args), "role=server,id=0,socket=%s,socket-abstract=no", socket);
	if (rte_eal_init(10, argv) < 0 || rte_eal_hotplug_add("vdev", "net_memif_ls", args) != 0 ||
		rte_eth_dev_get_port_by_name("net_memif_ls", &s->port_id) != 0)
		return WR_EIO;
	s->pool = rte_pktmbuf_pool_create(
		"ls", 8191, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	uint16_t n = (uint16_t)s->n_queues;
	if (!s->pool || rte_eth_dev_configure(s->port_id, n, n, &conf) != 0)
		return WR_EIO;
	for (uint16_t q = 0; q < n; q++)
		if (rte_eth_rx_queue_setup(s->port_id, q, 1024, SOCKET_ID_ANY, NULL, s->pool) !=
				0 ||
			rte_eth_tx_queue_setup(s->port_id, q, 1024, SOCKET_ID_ANY, NULL) != 0)
			return WR_EIO;
	wr_gate_attach(s->port_id, n, true, true);
	return rte_eth_dev_start(s->port_id) ? WR_EIO : 0;
}

static int serve(struct server *s, const char *socket)
{
	struct wr_load_address a = {
		.server_mac = {2, 0, 0, 0, 0x47, 2}, .client_mac = {2, 0, 0, 0, 0x47, 0}};
	bool ipv6;

	/* Seen from here we are the "client" of a frame, and wrload is the server it is sent to. */
	if (wr_load_parse_ip("10.47.0.1", a.client_ip, &ipv6) != 0 ||
		wr_load_parse_ip("10.47.0.2", a.server_ip, &ipv6) != 0)
		return WR_EINVAL;
	memcpy(s->client_ip, a.server_ip, 16);
	for (unsigned int i = 0; i < s->n_queues; i++) {
		a.client_port = (uint16_t)(FIRST_PORT + i);
		wr_load_head_init(&s->head[i], &a);
	}
	wr_wire_random(s->secret, sizeof(s->secret));
	s->sessions = calloc(MAX_SESSIONS, sizeof(*s->sessions));
	if (!s->sessions)
		return WR_ENOMEM;
	int err = open_port(s, socket);
	if (err)
		return err;
	wr_stop_catch_signals();
	wr_gate_worker_online(0);
	while (!wr_stop_requested()) {
		unsigned int total = 0, n_live;
		(void)wr_gate_pass(0, &n_live);
		for (uint16_t q = 0; q < n_live; q++) {
			struct rte_mbuf *burst[BURST];
			uint16_t n = rte_eth_rx_burst(s->port_id, q, burst, BURST);
			for (uint16_t i = 0; i < n; i++)
				serve_frame(s, q, rte_pktmbuf_mtod(burst[i], const uint8_t *),
					burst[i]->data_len);
			if (n)
				rte_pktmbuf_free_bulk(burst, n);
			total += n;
		}
		if (total == 0)
			usleep(20); /* a test is a guest on its machine */
	}
	wr_gate_worker_offline(0);
	(void)rte_eth_dev_stop(s->port_id);
	wr_gate_detach();
	(void)rte_eth_dev_close(s->port_id);
	(void)rte_eal_cleanup();
	char folder[64]; /* which the EAL leaves behind */
	snprintf(folder, sizeof(folder), "/var/run/dpdk/wrls-%d", (int)getpid());
	(void)rmdir(folder);
	return 0;
}

/* ---- lists ---- */
static void print_ids(const uint32_t *ids, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		printf("%s%u", i ? "," : "", ids[i]);
}

/* Per user: step 0 shows all tokens but three, then two more clicks; the last token is the target.
 */
static int write_lists(const char *dir)
{
	struct wr_tokens *t;
	struct wr_errmsg msg;

	if (wr_tokens_read(&t, dir, &msg) != 0) {
		fprintf(stderr, "%s\n", msg.text);
		return 1;
	}
	printf("#k=10 filtered=1\n");
	for (size_t i = 0; i < t->n_users; i++) {
		const struct wr_tokens_user *u = &t->users[i];
		const uint32_t *clicks = t->items + u->first;
		for (uint32_t step = 0, shown = u->n - 3; u->n >= 4 && step < 3; step++, shown++) {
			uint32_t ids[10];
			unsigned int n = recommend(clicks, shown, true, NULL, 0, 0, 10, ids);
			printf("%lu\t%u\t", (unsigned long)u->user, step);
			print_ids(step ? clicks + shown - 1 : clicks, step ? 1 : shown);
			printf("\t");
			print_ids(ids, n);
			printf("\n");
		}
	}
	wr_tokens_free(t);
	return 0;
}

int main(int argc, char **argv)
{
	struct server s = {.every = 1, .epoch = 1};
	uint64_t queues = 1, every = 1;

	if (argc == 3 && !strcmp(argv[1], "lists"))
		return write_lists(argv[2]);
	if (argc != 6 || strcmp(argv[1], "serve") != 0 ||
		wr_parse_u64(argv[3], 1, MAX_QUEUES, &queues) != 0 ||
		wr_parse_u64(argv[5], 1, 1000000, &every) != 0) {
		fprintf(stderr, "usage: load_server serve SOCKET QUEUES FAULT EVERY | lists DIR\n");
		return 1;
	}
	s.n_queues = (unsigned int)queues;
	s.every = every;
	for (s.fault = FAULT_NONE; s.fault < FAULT_N && strcmp(fault_names[s.fault], argv[4]) != 0;)
		s.fault++;
	if (s.fault == FAULT_N) {
		fprintf(stderr, "load_server: no fault %s\n", argv[4]);
		return 1;
	}
	int err = serve(&s, argv[2]);
	if (err)
		fprintf(stderr, "load_server: %s\n", wr_strerror(err));
	free(s.sessions);
	return err ? 1 : 0;
}
