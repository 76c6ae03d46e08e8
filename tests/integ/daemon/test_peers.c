/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_peers [N]: N memif peers (default 12) that die in mid-load, one after the other: killed,
 * ended without a word, or closed, while two workers, the peer and two burners share the CPUs. The
 * daemon must serve the one who comes after, and its books must balance. N = 200 is must-show
 * corridor.5.
 */
#include "harness.h"

#include "reference.h"
#include "wr_test.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_ITEMS     300
#define N_BURNERS   2
#define LOAD_MIN_US 2000
#define LOAD_MAX_US 60000

static struct daemon daemon_;
static unsigned int n_peers = 12;

/* A peer's life: requests of every user on both queues as fast as they go, answers thrown away. */
static void load_until_killed(int ready)
{
	static struct outgoing o[32];
	static uint8_t frame[2048];
	struct peer p;
	struct wr_writer w;
	struct wr_rng rng;

	harness_eal();
	peer_connect(&p, &daemon_, 2);
	wr_rng_init(&rng, (uint64_t)getpid(), 0);
	if (write(ready, "r", 1) != 1)
		_exit(1);
	for (;;) {
		for (unsigned int i = 0; i < WR_ARRAY_LEN(o); i++) {
			struct wr_wire_event e = {
				.item = 1 + wr_rng_below(&rng, N_ITEMS), .kind = WR_KIND_CLICK};
			outgoing_begin(&o[i], &w, &p, WR_OP_RECOMMEND, wr_rng_below(&rng, 2000), 0);
			wr_writer_ask(&w, 5, 0);
			wr_writer_events(&w, 0, &e, 1);
			outgoing_end(&o[i], &w, &p, 256);
		}
		for (unsigned int q = 0; q < 2; q++) {
			peer_send_burst(&p, q, o, WR_ARRAY_LEN(o));
			while (peer_receive_frame(&p, frame, sizeof(frame), 0))
				;
		}
	}
}

static void die_at_once(int signal_number)
{
	(void)signal_number;
	_exit(3);
}

static pid_t start_peer(bool ends_itself)
{
	int fd[2];
	char c;
	if (pipe(fd) != 0)
		abort();
	pid_t pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fd[0]);
		if (ends_itself)
			(void)signal(SIGTERM, die_at_once);
		load_until_killed(fd[1]);
	}
	close(fd[1]);
	CU_ASSERT_EQUAL(read(fd[0], &c, 1), 1);
	close(fd[0]);
	return pid;
}

static pid_t start_burner(void)
{
	pid_t pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		volatile uint64_t x = 0;
		for (;;)
			x += wr_mix64(x);
	}
	return pid;
}

static void reap(pid_t pid, int with)
{
	(void)kill(pid, with);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	harness_clean(pid);
}

static bool daemon_alive(void)
{
	if (daemon_.pid > 0 && waitpid(daemon_.pid, NULL, WNOHANG) != 0)
		daemon_.pid = 0;
	return daemon_.pid > 0;
}

static void test_deaths(void)
{
	pid_t burner[N_BURNERS];
	struct wr_rng rng;
	wr_rng_init(&rng, 5, 0);
	for (unsigned int i = 0; i < N_BURNERS; i++)
		burner[i] = start_burner();
	for (unsigned int i = 0; i < n_peers; i++) {
		bool ends_itself = i % 4 == 3;
		pid_t peer = start_peer(ends_itself);
		(void)usleep(LOAD_MIN_US + wr_rng_below(&rng, LOAD_MAX_US - LOAD_MIN_US));
		reap(peer, ends_itself ? SIGTERM : SIGKILL);
		if (!daemon_alive()) {
			printf("the daemon is gone after %u peers\n", i + 1);
			CU_FAIL("the daemon died with its peer");
			break;
		}
		if (i % 20 == 19)
			printf("%u peers dead, the daemon lives\n", i + 1);
	}
	for (unsigned int i = 0; i < N_BURNERS; i++)
		reap(burner[i], SIGKILL);
}

/* Connections that are closed at once, before the server has said HELLO, and some that talk
 * nonsense first. */
static void test_knocks(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	uint8_t nonsense[128];
	strcpy(un.sun_path, daemon_.socket);
	for (unsigned int i = 0; i < 300; i++) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0 && i % 3 == 2) {
			memset(nonsense, (int)i, sizeof(nonsense));
			nonsense[0] = (uint8_t)(i / 3 % 12);
			nonsense[1] = 0;
			(void)send(fd, nonsense, i % 2 ? sizeof(nonsense) : 7, MSG_NOSIGNAL);
		}
		close(fd);
		CU_ASSERT_FATAL(daemon_alive());
	}
	(void)usleep(100000);
	CU_ASSERT_FATAL(daemon_alive());
}

static void test_survivor(void)
{
	struct peer p;
	struct answer a;
	struct reference ref;
	struct outgoing o;
	struct wr_writer w;
	struct wr_rank_item items[WR_RANK_MAX_K];
	struct ref_user u = {.id = 999999};

	CU_ASSERT_FATAL(daemon_alive());
	harness_eal();
	reference_open(&ref, daemon_.bundle);
	peer_connect(&p, &daemon_, 2);
	CU_ASSERT_FATAL(peer_hello(&p, &a));
	for (unsigned int i = 0; i < 20; i++) {
		struct wr_wire_event e = {
			.item = 1 + i * 3, .kind = WR_KIND_CLICK, .time_ms = 1600000000000 + i};
		outgoing_begin(&o, &w, &p, WR_OP_RECOMMEND, u.id, 0);
		wr_writer_ask(&w, 10, 0);
		wr_writer_events(&w, 0, &e, 1);
		outgoing_end(&o, &w, &p, 256);
		CU_ASSERT_FATAL(peer_ask(&p, i % 2, i % 2, &o, &a));
		ref_click(&u, e.item);
		unsigned int n = reference_list(&ref, &u, 10, true, NULL, 0, items);
		CU_ASSERT_EQUAL(a.m.n_items, n);
		for (unsigned int k = 0; k < n; k++)
			CU_ASSERT_EQUAL(a.m.items[k].item, items[k].item);
	}
	reference_close(&ref);
	peer_close(&p);
}

static void test_books(void)
{
	struct daemon_end end;
	CU_ASSERT_FATAL(daemon_alive());
	CU_ASSERT(daemon_stop(&daemon_, &end));
	CU_ASSERT(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0);
	CU_ASSERT_FATAL(end.said);
	CU_ASSERT_EQUAL(end.received, end.outcomes);
	CU_ASSERT(end.received > n_peers);
	CU_ASSERT_EQUAL(end.peers, n_peers + 1);
	printf("%llu peers, %llu requests, %llu answered, %llu handed over\n", end.peers,
		end.received, end.answered, end.handed_over);
}

int main(int argc, char **argv)
{
	static const struct wr_test tests[] = {
		{"peers die under load", test_deaths},
		{"peers that only knock", test_knocks},
		{"the next peer is served exactly", test_survivor},
		{"received = Σ outcomes, nothing left behind", test_books},
	};
	if (argc > 1)
		n_peers = (unsigned int)strtoul(argv[1], NULL, 10);
	setvbuf(stdout, NULL, _IOLBF, 0);
	daemon_prepare(&daemon_, N_ITEMS, 2);
	daemon_start(&daemon_, NULL);
	int rc = wr_test_run("peers", tests, WR_ARRAY_LEN(tests));
	daemon_remove(&daemon_);
	return rc;
}
