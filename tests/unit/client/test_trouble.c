/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libwirerank in trouble: servers that answer garbage, flood, are gone; a kernel that refuses to
 * send or lacks its options; descriptors, memory for requests and time that run out. sendmmsg and
 * setsockopt are interposed, so that the kernel's refusals can be ordered.
 */
#include "client_util.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* ---- ordered refusals ---- */
static struct {
	int error;      /* of the next n calls of sendmmsg */
	unsigned int n; /* UINT_MAX: for good */
	bool segmented; /* only calls whose first message is segmented */
	bool no_options;
} fault;

int sendmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags)
{
	if (fault.n && (!fault.segmented || m[0].msg_hdr.msg_controllen)) {
		fault.n -= fault.n != UINT32_MAX;
		errno = fault.error;
		return -1;
	}
	return (int)syscall(SYS_sendmmsg, fd, m, n, flags);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	if (fault.no_options && level == IPPROTO_UDP && (name == UDP_SEGMENT || name == UDP_GRO)) {
		errno = ENOPROTOOPT;
		return -1;
	}
	return (int)syscall(SYS_setsockopt, fd, level, name, value, size);
}

/* 128 requests of one server; none may be lost. */
static const struct wr_client_stats *ask_many(struct wr_client *c)
{
	struct tally t = {0};
	for (uint64_t user = 1; user <= 128; user++)
		CU_ASSERT_EQUAL(ask(c, user, 0, &t), WR_OK);
	pump(c, only, 1, 5000);
	CU_ASSERT(t.n == 128 && t.n_ok == 128);
	check_sums(c);
	return wr_client_stats(c);
}

static void test_bad_answers(void)
{
	struct tally t = {0};
	struct wr_client *c = client(&(struct wr_client_options){.timeout_ms = 500}, 1);
	greet(c, only, 1);
	one.malformed = true;
	CU_ASSERT_EQUAL(ask(c, 1, 4, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n_ok == 1 && t.n_items == 4);
	CU_ASSERT_EQUAL(wr_client_stats(c)->n_bad, 3);
	one.malformed = false;
	wr_client_free(c);
	responder_close(&one);

	c = client(&(struct wr_client_options){.timeout_ms = 5}, 1);
	greet(c, only, 1);
	one.forged = true;
	CU_ASSERT_EQUAL(ask(c, 1, 4, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n_gave_up == 1 && wr_client_stats(c)->n_wrong_source >= 1);
	one.forged = false;
	one.other_user = true;
	CU_ASSERT_EQUAL(ask(c, 1, 4, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT(t.n_gave_up == 2 && wr_client_stats(c)->n_mismatch >= 1);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

/* As many as fit are outstanding, the next is refused, and freeing ends all. */
static void test_bounds(void)
{
	struct tally t = {0};
	struct wr_errmsg msg = {""};
	struct wr_client *c = client(&(struct wr_client_options){.max_outstanding = 7}, 1);
	one.all_lost = true;
	for (int i = 0; i < 7; i++)
		CU_ASSERT_EQUAL(ask(c, 1, 1, &t), WR_OK);
	CU_ASSERT_EQUAL(ask(c, 1, 1, &t), WR_EFULL);
	CU_ASSERT_EQUAL(wr_client_outstanding(c), 7);
	CU_ASSERT_EQUAL(ask(c, 1, 65, &t), WR_EINVAL);
	struct wr_client_request none = {.user_id = 1};
	CU_ASSERT_EQUAL(wr_client_event(c, &none), WR_EINVAL);
	CU_ASSERT_EQUAL(t.n, 0);
	wr_client_free(c);
	CU_ASSERT(t.n == 7 && t.n_interrupted == 7);
	responder_close(&one);
	c = client(NULL, 0);
	CU_ASSERT_EQUAL(ask(c, 1, 1, &t), WR_ESTATE);
	CU_ASSERT_EQUAL(wr_client_add_server(c, "no such host", 1, 0, &msg), WR_ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "no such host"));
	wr_client_free(c);
	CU_ASSERT_PTR_NULL(wr_client_new(&(struct wr_client_options){.n_sources = 65}, &msg));
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "n_sources"));
	wr_client_free(NULL);
}

/* With and without UDP_SEGMENT and UDP_GRO the same happens; only the calls differ. */
static void test_offload(void)
{
	uint64_t calls[2];
	for (int plain = 0; plain < 2; plain++) {
		struct tally t = {0};
		struct wr_client_options o = {
			.timeout_ms = 1000, .no_offload = plain, .n_sources = 1};
		struct wr_client *c = client(&o, 1);
		greet(c, only, 1);
		for (uint64_t user = 1; user <= 128; user++)
			CU_ASSERT_EQUAL(ask(c, user, 0, &t), WR_OK);
		pump(c, only, 1, 3000);
		const struct wr_client_stats *s = wr_client_stats(c);
		CU_ASSERT_EQUAL(t.n_ok, 128);
		calls[plain] = s->n_send_calls;
		CU_ASSERT(plain ? s->n_segmented == 0 && s->n_coalesced == 0
				: s->n_segmented == 0 || s->n_segmented >= 100);
		CU_ASSERT_EQUAL(one.n_bad, 0);
		check_sums(c);
		wr_client_free(c);
		responder_close(&one);
	}
	/* HELLO, then two shard ports of some 64 each. */
	CU_ASSERT(calls[0] <= 6 && calls[1] <= 6);
}

/* ---- the kernel ---- */
static void test_no_options(void)
{
	fault.no_options = true;
	struct wr_client *c = client(NULL, 1);
	fault.no_options = false;
	greet(c, only, 1);
	const struct wr_client_stats *s = ask_many(c);
	CU_ASSERT(s->n_segmented == 0 && s->n_coalesced == 0 && s->n_timeouts == 0);
	wr_client_free(c);
	responder_close(&one);
}

/* The option is there, but the path refuses: plain datagrams from then on, nothing lost. */
static void test_path_cannot_segment(void)
{
	static const int errors[] = {EIO, EINVAL, EMSGSIZE, EOPNOTSUPP};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(errors); i++) {
		struct wr_client *c = client(NULL, 1);
		greet(c, only, 1);
		fault.error = errors[i];
		fault.segmented = true;
		fault.n = 1;
		const struct wr_client_stats *s = ask_many(c);
		/* Where this kernel has no segmentation the fault is still waiting. */
		CU_ASSERT(s->n_segmented == 0 || fault.n == 1);
		CU_ASSERT(s->n_send_errors == 0 && s->n_timeouts == 0);
		fault.n = 0;
		fault.segmented = false;
		wr_client_free(c);
		responder_close(&one);
	}
}

/* Refused datagrams are as good as lost: the time-out sends them again. */
static void test_send_refused(void)
{
	static const int errors[] = {EPERM, ENETUNREACH, EHOSTUNREACH, ECONNREFUSED};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(errors); i++) {
		struct wr_client *c = client(&(struct wr_client_options){.timeout_ms = 20}, 1);
		greet(c, only, 1);
		fault.error = errors[i];
		fault.n = 1;
		const struct wr_client_stats *s = ask_many(c);
		CU_ASSERT(s->n_send_errors >= 1 && s->n_timeouts >= 1);
		CU_ASSERT_EQUAL(fault.n, 0);
		wr_client_free(c);
		responder_close(&one);
	}
}

/* A full buffer or device queue is waited for, not counted as loss. */
static void test_send_blocked(void)
{
	static const int errors[] = {EAGAIN, ENOBUFS, EINTR};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(errors); i++) {
		struct wr_client *c = client(NULL, 1);
		greet(c, only, 1);
		fault.error = errors[i];
		fault.n = 5;
		const struct wr_client_stats *s = ask_many(c);
		CU_ASSERT(s->n_send_errors == 0 && s->n_timeouts == 0 && fault.n == 0);
		wr_client_free(c);
		responder_close(&one);
	}
	/* For good: every request ends all the same, and the loop does not spin. */
	struct tally t = {0};
	struct wr_client *c = client(&(struct wr_client_options){.timeout_ms = 20}, 1);
	greet(c, only, 1);
	fault.error = ENOBUFS;
	fault.n = UINT32_MAX;
	uint64_t before = wr_client_stats(c)->n_send_calls;
	for (uint64_t user = 1; user <= 100; user++)
		CU_ASSERT_EQUAL(ask(c, user, 0, &t), WR_OK);
	pump(c, only, 1, 5000);
	CU_ASSERT(t.n == 100 && t.n_gave_up == 100);
	/* 140 ms at a look a millisecond and source port; ten times that would be a spin. */
	CU_ASSERT(wr_client_stats(c)->n_send_calls - before < 14000);
	fault.n = 0;
	ask_many(c);
	wr_client_free(c);
	responder_close(&one);
}

static unsigned int open_descriptors(void)
{
	unsigned int n = 0;
	DIR *d = opendir("/proc/self/fd");
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void test_descriptors_run_out(void)
{
	struct wr_errmsg msg = {""};
	struct rlimit was, now;
	CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &was), 0);
	unsigned int before = open_descriptors();
	int next = dup(0); /* the lowest free one */
	CU_ASSERT_FATAL(next >= 0);
	close(next);
	now = was;
	for (unsigned int more = 0; more < 2; more++) {
		now.rlim_cur = (rlim_t)next + more;
		CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &now), 0);
		CU_ASSERT_PTR_NULL(wr_client_new(NULL, &msg));
		CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "descriptors"));
	}
	now.rlim_cur = (rlim_t)next + 2 + 3; /* three of four sockets */
	CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &now), 0);
	struct wr_client *c = wr_client_new(NULL, &msg);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_EQUAL(wr_client_add_server(c, "127.0.0.1", 9, 0, &msg), WR_EIO);
	CU_ASSERT_PTR_NOT_NULL(strstr(msg.text, "ulimit"));
	struct wr_client_request r = {.user_id = 1};
	CU_ASSERT_EQUAL(wr_client_recommend(c, &r), WR_ESTATE);
	CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &was), 0);
	/* With more of them the same client works. */
	CU_ASSERT_TRUE_FATAL(responder_open(&one, AF_INET));
	CU_ASSERT_EQUAL(wr_client_add_server(c, "127.0.0.1", one.port[0], 0, &msg), 0);
	greet(c, only, 1);
	ask_many(c);
	wr_client_free(c);
	responder_close(&one);
	CU_ASSERT_EQUAL(open_descriptors(), before);
}

/* ---- servers ---- */
/* Nobody listens: the kernel says so by ICMP, requests end, and the server is found when it is
 * back. */
static void test_port_closed(void)
{
	struct tally t = {0};
	struct wr_client_server v = {0};
	struct wr_client *c =
		client(&(struct wr_client_options){.timeout_ms = 10, .hello_ms = 20}, 1);
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(one.port[0])};
	close(one.fd[0]);
	one.fd[0] = -1;
	for (uint64_t user = 1; user <= 50; user++)
		CU_ASSERT_EQUAL(ask(c, user, 1, &t), WR_OK);
	pump(c, NULL, 0, 5000);
	CU_ASSERT(t.n == 50 && t.n_gave_up == 50);
	one.fd[0] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	CU_ASSERT_EQUAL_FATAL(bind(one.fd[0], (struct sockaddr *)&a, sizeof(a)), 0);
	for (int i = 0; i < 200 && !v.greeted; i++) {
		pump_for(c, only, 1, 10);
		CU_ASSERT_EQUAL(wr_client_server(c, 0, &v), WR_OK);
	}
	CU_ASSERT(v.greeted && v.up);
	wr_client_free(c);
	responder_close(&one);
}

/* Answers with some bytes changed, HELLO's too, before the right ones. */
static void mutate_and_send(struct responder *r, unsigned int at, struct wr_rng *rng,
	const uint8_t *data, size_t n, const struct sockaddr_storage *from, socklen_t from_bytes)
{
	struct wr_message m;
	uint8_t out[WR_WIRE_MAX_BYTES], bad[WR_WIRE_MAX_BYTES];
	CU_ASSERT_EQUAL_FATAL(wr_wire_decode_request(data, n, &m), WR_DECODE_OK);
	size_t bytes = responder_answer(r, &m, WR_STATUS_OK, out);
	for (unsigned int i = 0; i < 20; i++) {
		memcpy(bad, out, bytes);
		/* The id stays in most, so that they are looked at. */
		for (unsigned int j = 1 + wr_rng_below(rng, 4); j; j--) {
			unsigned int where = wr_rng_below(rng, (uint32_t)bytes);
			if (where >= 8 && where < 16 && i % 8)
				continue;
			bad[where] = (uint8_t)wr_rng_u64(rng);
		}
		size_t cut = wr_rng_below(rng, 4) ? bytes : wr_rng_below(rng, (uint32_t)bytes);
		sendto(r->fd[at], bad, cut, 0, (const struct sockaddr *)from, from_bytes);
	}
	sendto(r->fd[at], out, bytes, 0, (const struct sockaddr *)from, from_bytes);
}

static void test_garbage(void)
{
	struct wr_rng rng;
	struct tally t = {0};
	wr_rng_init(&rng, 47, 1);
	struct wr_client *c = client(
		&(struct wr_client_options){
			.timeout_ms = 50, .max_outstanding = 16, .hello_ms = 10},
		1);
	unsigned int n = 0;
	uint64_t end = wr_clock_ns() + 10000000000u;
	while ((n < 500 || wr_client_outstanding(c)) && wr_clock_ns() < end) {
		while (n < 500 && ask(c, n, 1 + n % 8, &t) == WR_OK)
			n++;
		wr_client_process(c);
		for (unsigned int at = 0; at < WR_ARRAY_LEN(one.fd); at++) {
			uint8_t data[2048];
			struct sockaddr_storage from;
			socklen_t size = sizeof(from);
			ssize_t got;
			while ((got = recvfrom(one.fd[at], data, sizeof(data), 0,
					(struct sockaddr *)&from, &size)) >= 0)
				mutate_and_send(&one, at, &rng, data, (size_t)got, &from, size);
		}
	}
	/* Some changes make another valid answer; whatever it said, each request ended once. */
	CU_ASSERT(n == 500 && t.n == 500);
	CU_ASSERT(wr_client_stats(c)->n_bad > 1000);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

/* A source port of the client is flooded; requests are answered and time out as ever. */
static void test_flood(void)
{
	struct tally t = {0}, silent = {0};
	struct wr_client *c =
		client(&(struct wr_client_options){.timeout_ms = 200, .n_sources = 1}, 1);
	greet(c, only, 1);
	CU_ASSERT_EQUAL(ask(c, 1, 1, &t), WR_OK);
	pump(c, only, 1, 3000);
	CU_ASSERT_EQUAL_FATAL(one.n_sources, 1);
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = one.sources[0]};
	static const uint8_t junk[1400] = {1, 0x82};
	unsigned int n = 0;
	for (unsigned int round = 0; round < 100; round++) {
		for (unsigned int i = 0; i < 300; i++)
			n += sendto(one.stranger, junk, 1 + i % sizeof(junk), 0,
				     (struct sockaddr *)&to, sizeof(to)) > 0;
		if (round == 10)
			CU_ASSERT_EQUAL(ask(c, round, 1, &silent), WR_OK);
		CU_ASSERT_EQUAL(ask(c, 100 + round, 1, &t), WR_OK);
		wr_client_process(c);
		responder_poll(&one);
		wr_client_process(c);
	}
	pump(c, only, 1, 5000);
	/* What the flood pushed out of the socket's buffer came again. */
	CU_ASSERT(t.n == 101 && silent.n == 1 && t.n_ok + t.n_gave_up == 101);
	CU_ASSERT(t.n_ok > 50);
	CU_ASSERT(wr_client_stats(c)->n_bad > 1000 && wr_client_stats(c)->n_bad <= n);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

/* ---- many, and time ---- */
enum { N_MANY = 20000 };
static unsigned int ended[N_MANY];
static void end_one(void *arg, const struct wr_client_answer *a)
{
	ended[(unsigned int *)arg - ended] += a->result == WR_EAGAIN ? 1u : 100u;
}

/* Twenty thousand time out in the same millisecond, three times. */
static void test_many_time_out(void)
{
	unsigned int wrong = 0;
	struct wr_client_options o = {
		.timeout_ms = 30, .max_outstanding = N_MANY, .down_after = 1000000};
	memset(ended, 0, sizeof(ended));
	struct wr_client *c = client(&o, 1); /* which nobody polls */
	for (unsigned int i = 0; i < N_MANY; i++) {
		struct wr_client_request r = {.user_id = i, .done = end_one, .arg = &ended[i]};
		CU_ASSERT_EQUAL_FATAL(wr_client_recommend(c, &r), WR_OK);
	}
	CU_ASSERT_EQUAL(wr_client_outstanding(c), N_MANY);
	pump(c, NULL, 0, 20000);
	for (unsigned int i = 0; i < N_MANY; i++)
		wrong += ended[i] != 1;
	CU_ASSERT_EQUAL(wrong, 0);
	const struct wr_client_stats *s = wr_client_stats(c);
	CU_ASSERT(s->n_gave_up == N_MANY && s->n_resent == 2 * N_MANY);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

/* The process stood still for longer than the timer wheel turns: what has come counts first, and
 * what was due is due. */
static void test_long_pause(void)
{
	struct tally t = {0}, silent = {0};
	struct wr_client *c = client(&(struct wr_client_options){.timeout_ms = 20}, 1);
	greet(c, only, 1);
	for (uint64_t user = 1; user <= 50; user++)
		CU_ASSERT_EQUAL(ask(c, user, 1, &t), WR_OK);
	wr_client_flush(c);
	responder_poll(&one);
	CU_ASSERT_EQUAL(ask(c, 51, 1, &silent), WR_OK);
	wr_client_flush(c);
	usleep(1300000);
	CU_ASSERT_EQUAL(wr_client_process(c), 50);
	CU_ASSERT(t.n_ok == 50 && silent.n == 0 && wr_client_stats(c)->n_timeouts == 1);
	one.all_lost = true;
	usleep(1300000);
	pump(c, only, 1, 3000);
	CU_ASSERT(silent.n_gave_up == 1 && silent.n_tries == 3);
	check_sums(c);
	wr_client_free(c);
	responder_close(&one);
}

struct last {
	struct wr_client *c;
	unsigned int n;
	bool refused;
};
static void at_the_end(void *arg, const struct wr_client_answer *a)
{
	struct last *l = arg;
	struct wr_client_request r = {.user_id = 1, .done = at_the_end, .arg = arg};
	l->n += a->result == WR_EINTR;
	l->refused = wr_client_recommend(l->c, &r) == WR_ESTATE &&
		     wr_client_process(l->c) == WR_ESTATE && wr_client_run(l->c, 1) == WR_ESTATE;
}

/* The callbacks of wr_client_free can neither submit nor process. */
static void test_free(void)
{
	struct last l = {0};
	struct wr_client *c = l.c = client(NULL, 1);
	struct wr_client_request r = {.user_id = 1, .done = at_the_end, .arg = &l};
	for (unsigned int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(wr_client_recommend(c, &r), WR_OK);
	wr_client_free(c);
	CU_ASSERT(l.n == 3 && l.refused);
	responder_close(&one);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"malformed, forged and foreign answers", test_bad_answers},
		{"bounds", test_bounds},
		{"with and without offload", test_offload},
		{"a kernel without UDP_SEGMENT and UDP_GRO", test_no_options},
		{"a path that cannot segment", test_path_cannot_segment},
		{"refused datagrams", test_send_refused},
		{"full buffers", test_send_blocked},
		{"descriptors run out", test_descriptors_run_out},
		{"nobody listens", test_port_closed},
		{"garbage", test_garbage},
		{"a flood", test_flood},
		{"20,000 time out together", test_many_time_out},
		{"a long pause", test_long_pause},
		{"free calls back", test_free},
	};
	return wr_test_run("client_trouble", tests, WR_ARRAY_LEN(tests));
}
