/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The example client, which was written from docs/protocol.md, over a real UDP socket: a responder
 * built on this codec decodes what it sends and answers; the client's printed lines tell what it
 * understood. Skips without python3.
 */
#include "wr_test.h"
#include "wire_util.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

/* A responder on loopback. It answers the second datagram of every request id only, so that the
 * client's sending again is seen; it remembers the last request of each operation. */
struct responder {
	int fd;
	uint16_t port;
	pthread_t thread;
	_Atomic bool stop;
	_Atomic unsigned int n_received, n_bad, n_changed;
	struct exact last[5]; /* by op; main reads them when the thread has ended */
};

static const struct wr_wire_cookie given = {.epoch = 77, .mac = 0xfedcba9876543210};

static size_t answer_to(
	const struct wr_message *m, size_t request_bytes, uint16_t port, uint8_t *out)
{
	struct draft b;
	struct wr_wire_header h = m->header;
	h.op |= WR_OP_ANSWER;
	h.flags = WR_ANS_HISTORY_WANTED | WR_ANS_HANDED_OVER;
	wr_writer_init(&b.w, b.data, m->cookie ? WR_WIRE_MAX_BYTES : request_bytes, &h);
	struct wr_wire_answer a = {.bundle_version = 5, .shard_epoch = 6};
	draft_copy(&b, WR_SEC_ANSWER, 0, &a, sizeof(a));
	if (m->header.op == WR_OP_HELLO) {
		struct wr_wire_server s = {.version_min = 1, .version_max = 1, .n_items = 3416};
		draft_copy(&b, WR_SEC_SERVER, 0, &s, sizeof(s));
		draft_fill(&b, WR_SEC_SHARDS, 0, 0, WR_WIRE_N_SHARDS);
		draft_copy(&b, WR_SEC_PORTS, 1, &port, sizeof(port));
	}
	if (!m->cookie)
		wr_writer_cookie(&b.w, &given);
	if (m->header.op == WR_OP_RECOMMEND)
		draft_fill(&b, WR_SEC_ITEMS, m->ask->k, 1, 16u * m->ask->k);
	size_t n = draft_finish(&b);
	memcpy(out, b.data, n);
	return n;
}

static void respond(
	struct responder *r, const uint8_t *data, size_t n, const struct sockaddr_in *to)
{
	uint8_t out[WR_WIRE_MAX_BYTES];
	struct exact e;
	exact_decode(&e, data, n, false);
	atomic_fetch_add(&r->n_received, 1);
	if (e.d != WR_DECODE_OK) {
		atomic_fetch_add(&r->n_bad, 1);
		exact_free(&e);
		return;
	}
	struct exact *last = &r->last[e.m.header.op];
	bool again = last->data && last->m.header.request_id == e.m.header.request_id;
	if (again && (last->size != n || memcmp(last->data, e.data, n) != 0))
		atomic_fetch_add(&r->n_changed, 1);
	exact_free(last);
	*last = e;
	if (!again)
		return;
	size_t bytes = answer_to(&e.m, n, r->port, out);
	if (sendto(r->fd, out, bytes, 0, (const struct sockaddr *)to, sizeof(*to)) !=
		(ssize_t)bytes)
		atomic_fetch_add(&r->n_bad, 1);
}

static void *responder_run(void *arg)
{
	struct responder *r = arg;
	while (!atomic_load(&r->stop)) {
		uint8_t data[2048];
		struct sockaddr_in from;
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(r->fd, data, sizeof(data), 0, (struct sockaddr *)&from, &size);
		if (n >= 0)
			respond(r, data, (size_t)n, &from);
	}
	return NULL;
}

static void responder_start(struct responder *r)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);
	struct timeval wait = {.tv_usec = 20000};
	memset(r, 0, sizeof(*r));
	r->fd = socket(AF_INET, SOCK_DGRAM, 0);
	CU_ASSERT_FATAL(r->fd >= 0 && bind(r->fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
			getsockname(r->fd, (struct sockaddr *)&a, &size) == 0);
	r->port = ntohs(a.sin_port);
	CU_ASSERT_EQUAL_FATAL(setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&r->thread, NULL, responder_run, r), 0);
}

static void responder_stop(struct responder *r)
{
	atomic_store(&r->stop, true);
	pthread_join(r->thread, NULL);
	close(r->fd);
}

static void responder_free(struct responder *r)
{
	for (size_t i = 0; i < WR_ARRAY_LEN(r->last); i++)
		exact_free(&r->last[i]);
}

/* What the client printed, "" when it could not start. */
static void client(struct responder *r, const char *verb, const char *rest, char *out, size_t size)
{
	char command[1024];
	snprintf(command, sizeof(command),
		"python3 '%s/examples/wr_client.py' %s 127.0.0.1 %u %s 2>&1", WR_DOCS, verb,
		r->port, rest);
	FILE *f = popen(command, "r");
	size_t n = f ? fread(out, 1, size - 1, f) : 0;
	out[n] = '\0';
	CU_ASSERT(f && pclose(f) == 0);
}

static bool have_python(void)
{
	if (system("python3 -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null "
		   "2>&1") == 0)
		return true;
	wr_test_skip("no python3");
	return false;
}

static void test_client(void)
{
	static struct responder r;
	static char out[16384];
	if (!have_python())
		return;
	responder_start(&r);
	client(&r, "hello", "", out, sizeof(out));
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "3416"));
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "(77, 18364758544493064720)"));
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "['history_wanted', 'handed_over']"));
	client(&r, "recommend",
		"alice -k 7 --click 31 --click 47 --history 5,6,7 --say 'caf\xc3\xa9'", out,
		sizeof(out));
	CU_ASSERT_PTR_NOT_NULL(strstr(out, "(16843009, 2.369"));
	client(&r, "event", "bob --click 9", out, sizeof(out));
	client(&r, "forget", "4711", out, sizeof(out));
	responder_stop(&r);
	CU_ASSERT_EQUAL(r.n_bad, 0);
	CU_ASSERT_EQUAL(r.n_changed, 0);
	/* Four calls with a HELLO before each but the first, every one sent twice at least. */
	CU_ASSERT(r.n_received >= 14);
	CU_ASSERT_EQUAL(r.last[WR_OP_HELLO].size, 540);
	const struct wr_message *m = &r.last[WR_OP_RECOMMEND].m;
	CU_ASSERT_FATAL(m->ask && m->cookie && m->n_events == 2 && m->n_history == 3);
	CU_ASSERT_EQUAL(m->header.user_id, wr_wire_user_id("alice", 5));
	CU_ASSERT(m->header.time_ms > 1600000000000);
	CU_ASSERT(m->ask->k == 7 && m->events[0].item == 31 && m->events[1].item == 47);
	CU_ASSERT(m->events[1].kind == WR_KIND_CLICK && m->events[1].time_ms > 1600000000000);
	CU_ASSERT_EQUAL(m->history[2].item_kind, 1u << 30 | 7);
	CU_ASSERT(m->utterance_bytes == 5 && !memcmp(m->utterance, "caf\xc3\xa9", 5));
	CU_ASSERT(!memcmp(m->cookie, &given, sizeof(given)));
	m = &r.last[WR_OP_EVENT].m;
	CU_ASSERT(m->n_events == 1 && m->events[0].item == 9 &&
		  m->header.user_id == wr_wire_user_id("bob", 3));
	m = &r.last[WR_OP_FORGET].m;
	CU_ASSERT(m->cookie && m->header.user_id == 4711);
	responder_free(&r);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"HELLO, RECOMMEND, EVENT, FORGET over UDP", test_client}};
	return wr_test_run("wire_client", tests, WR_ARRAY_LEN(tests));
}
