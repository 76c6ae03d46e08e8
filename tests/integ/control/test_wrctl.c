/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A real daemon of two workers, a real memif peer that sends a known mix, and wrctl: its figures
 * must be the mix, to the frame. argv[1] is wrctl.
 */
#include "harness.h"

#include "wr_report.h"
#include "wr_test.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	N_WARM = 40,
	N_ECHO = 12,
	N_EVENT = 9,
	N_LOST = 5,
	N_BAD_IP = 3,
	N_SHORT = 4,
	N_VERSION = 2,
	N_WRONG_QUEUE = 6
};
#define N_FRAMES \
	(1 + N_WARM + N_ECHO + N_EVENT + N_LOST + N_BAD_IP + N_SHORT + N_VERSION + N_WRONG_QUEUE)
#define N_ANSWERED (1 + N_WARM + N_ECHO + N_EVENT + N_WRONG_QUEUE)

static const char *wrctl;
static struct daemon daemon_;
static struct peer peer;
static struct answer hello;

/* ---- wrctl ---- */
static int run_wrctl(const char *args, char *out, size_t size)
{
	char command[512];
	snprintf(command, sizeof(command), "%s --name=%s %s 2>&1", wrctl, daemon_.name, args);
	FILE *f = popen(command, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	size_t n = fread(out, 1, size - 1, f);
	out[n] = '\0';
	int rc = pclose(f);
	return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

static json_t *wrctl_json(const char *args)
{
	static char out[65536];
	json_error_t at;
	int rc = run_wrctl(args, out, sizeof(out));
	if (rc)
		printf("\n%s\n", out);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	json_t *j = json_loads(out, 0, &at);
	CU_ASSERT_PTR_NOT_NULL_FATAL(j);
	return j;
}

static long long number(const json_t *j, const char *group, const char *name)
{
	const json_t *v = json_object_get(json_object_get(j, group), name);
	CU_ASSERT(json_is_integer(v));
	return json_integer_value(v);
}

static long long sum_of(json_t *group)
{
	long long sum = 0;
	const char *k;
	json_t *v;
	json_object_foreach(group, k, v) sum += json_integer_value(v);
	return sum;
}

/* ---- the mix ---- */
static unsigned int owner(uint64_t user)
{
	return hello.m.shards[wr_wire_shard(user)];
}

static void message(
	struct outgoing *o, struct wr_writer *w, uint8_t op, uint64_t user, unsigned int k)
{
	outgoing_begin(o, w, &peer, op, user, 0);
	if (op == WR_OP_RECOMMEND)
		wr_writer_ask(w, (uint8_t)k, 0);
	struct wr_wire_event click = {
		.item = 1 + (uint32_t)(user % 50), .kind = WR_KIND_CLICK, .time_ms = 1600000000000};
	if (k || op == WR_OP_EVENT)
		wr_writer_events(w, 0, &click, 1);
	outgoing_end(o, w, &peer, 256);
}

static void ask(
	uint8_t op, uint64_t user, unsigned int k, bool wrong_queue, enum wr_status expected)
{
	struct outgoing o;
	struct wr_writer w;
	struct answer a;
	message(&o, &w, op, user, k);
	unsigned int queue = owner(user) ^ wrong_queue;
	CU_ASSERT_FATAL(peer_ask(&peer, queue, queue, &o, &a));
	CU_ASSERT_EQUAL(a.m.answer->status, expected);
	CU_ASSERT_EQUAL((a.m.header.flags & WR_ANS_HANDED_OVER) != 0, wrong_queue);
}

/* Frames that get no answer. */
static void send_useless(unsigned int n, void (*spoil)(struct outgoing *o))
{
	for (unsigned int i = 0; i < n; i++) {
		struct outgoing o;
		struct wr_writer w;
		message(&o, &w, WR_OP_RECOMMEND, i, 10);
		spoil(&o);
		peer_send(&peer, 0, o.port, o.bytes, (size_t)o.size);
	}
}

static void to_other_port(struct outgoing *o)
{
	o->port = 1000;
}

static void truncate_message(struct outgoing *o)
{
	o->size = 20;
}

static void send_bad_ip(void)
{
	for (unsigned int i = 0; i < N_BAD_IP; i++) {
		uint8_t frame[64] = {0};
		memcpy(frame, peer.daemon_mac, 6);
		memcpy(frame + 6, peer.mac, 6);
		frame[12] = 8;    /* IPv4 */
		frame[14] = 0x45; /* with a header checksum of 0 */
		frame[17] = 46;
		frame[22] = 64;
		frame[23] = 17;
		memcpy(frame + 30, (uint8_t[]){10, 47, 0, 1}, 4);
		peer_send_frame(&peer, 0, frame, sizeof(frame));
	}
}

static void send_mix(void)
{
	CU_ASSERT_FATAL(peer_hello(&peer, &hello));
	for (uint64_t u = 1; u <= N_WARM; u++)
		ask(WR_OP_RECOMMEND, u, 10, false, WR_STATUS_OK);
	for (uint64_t u = 1; u <= N_ECHO; u++)
		ask(WR_OP_RECOMMEND, u, 0, false, WR_STATUS_OK);
	for (uint64_t u = 1; u <= N_EVENT; u++)
		ask(WR_OP_EVENT, 100 + u, 0, false, WR_STATUS_OK);
	for (uint64_t u = 1; u <= N_WRONG_QUEUE; u++)
		ask(WR_OP_RECOMMEND, 200 + u, 5, true, WR_STATUS_OK);
	send_useless(N_LOST, to_other_port);
	send_useless(N_SHORT, truncate_message);
	send_bad_ip();
	for (unsigned int i = 0; i < N_VERSION; i++) {
		struct outgoing o;
		struct wr_writer w;
		struct answer a;
		message(&o, &w, WR_OP_RECOMMEND, 1, 10);
		o.bytes[0] = 99;
		peer_send(&peer, 0, 0, o.bytes, (size_t)o.size);
		CU_ASSERT_FATAL(peer_receive(&peer, &a, 2000));
		CU_ASSERT_EQUAL(a.m.answer->status, WR_STATUS_VERSION);
	}
}

static void test_counts(void)
{
	/* Frames without an answer may still be on their way. */
	json_t *j = NULL, *all = NULL;
	for (int i = 0; i < 50; i++) {
		json_decref(j);
		j = wrctl_json("--json stats");
		all = json_object_get(j, "all");
		if (sum_of(json_object_get(all, "outcome")) == N_FRAMES)
			break;
		usleep(20000);
	}
	CU_ASSERT_EQUAL(number(all, "counter", "received"), N_FRAMES);
	CU_ASSERT_EQUAL(sum_of(json_object_get(all, "outcome")), N_FRAMES);
	CU_ASSERT_EQUAL(number(all, "outcome", "answered"), N_ANSWERED);
	CU_ASSERT_EQUAL(number(all, "outcome", "answered_error"), N_VERSION);
	CU_ASSERT_EQUAL(number(all, "outcome", "frame_other_port"), N_LOST);
	CU_ASSERT_EQUAL(number(all, "outcome", "wire_short"), N_SHORT);
	CU_ASSERT_EQUAL(number(all, "outcome", "frame_bad_ip"), N_BAD_IP);
	CU_ASSERT_EQUAL(number(all, "counter", "recommends"), N_WARM + N_WRONG_QUEUE);
	CU_ASSERT_EQUAL(number(all, "counter", "echoes"), N_ECHO);
	CU_ASSERT_EQUAL(number(all, "counter", "event_messages"), N_EVENT);
	CU_ASSERT_EQUAL(number(all, "counter", "hellos"), 1);
	CU_ASSERT_EQUAL(number(all, "counter", "handed_over"), N_WRONG_QUEUE);
	CU_ASSERT_EQUAL(number(all, "counter", "taken_over"), N_WRONG_QUEUE);
	CU_ASSERT_EQUAL(number(all, "counter", "events_applied"), N_WARM + N_EVENT + N_WRONG_QUEUE);
	CU_ASSERT_EQUAL(number(all, "decode", "version"), N_VERSION);
	/* Every user has one session, at its owner. */
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(all, "sessions")),
		N_WARM + N_EVENT + N_WRONG_QUEUE);
	json_t *workers = json_object_get(j, "workers");
	CU_ASSERT_EQUAL_FATAL(json_array_size(workers), 2);
	long long received = 0;
	for (size_t i = 0; i < 2; i++)
		received += number(json_array_get(workers, i), "counter", "received");
	CU_ASSERT_EQUAL(received, N_FRAMES);
	json_decref(j);
}

static void test_views(void)
{
	static char out[65536];
	json_t *j = wrctl_json("--json status");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(j, "state")), "serving");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(j, "link")), "up");
	CU_ASSERT_EQUAL(json_integer_value(json_object_get(j, "peers_connected")), 1);
	CU_ASSERT_EQUAL(
		json_integer_value(json_object_get(j, "dropped")), N_LOST + N_SHORT + N_BAD_IP);
	CU_ASSERT(json_integer_value(json_object_get(j, "uptime_ms")) > 0);
	json_decref(j);
	j = wrctl_json("--json latency");
	CU_ASSERT_EQUAL(number(j, "server_ns", "count"), N_ANSWERED + N_VERSION);
	CU_ASSERT(number(j, "server_ns", "p50") > 0);
	CU_ASSERT(number(j, "server_ns", "p50") <= number(j, "server_ns", "max"));
	CU_ASSERT(number(json_object_get(j, "stage_ns"), "encode", "count") > 0);
	json_decref(j);
	j = wrctl_json("--json bundle");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(j, "path")), daemon_.bundle);
	json_decref(j);
	CU_ASSERT(run_wrctl("config", out, sizeof(out)) == 0 && strstr(out, daemon_.socket) &&
		  strstr(out, "; --set"));
	CU_ASSERT(run_wrctl("stats", out, sizeof(out)) == 0 && strstr(out, "frame_other_port"));
}

/* A client that is served (its greeting came), or -1. */
static int served_client(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char greeting[1024];
	struct timeval limit = {.tv_sec = 5};
	snprintf(to.sun_path, sizeof(to.sun_path), "/var/run/dpdk/%s/dpdk_telemetry.v2",
		daemon_.name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	CU_ASSERT_FATAL(
		fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
		recv(fd, greeting, sizeof(greeting), 0) > 0)
		return fd;
	close(fd);
	return -1;
}

/* Ten clients that say nothing are all that DPDK serves; wrctl, hung up on, says so. */
static void test_crowd(void)
{
	char out[4096];
	int fd[10];
	unsigned int n = 0;
	/* DPDK may still count the wrctl runs before this: try again then. */
	for (int i = 0; i < 500 && n < WR_ARRAY_LEN(fd); i++) {
		fd[n] = served_client();
		if (fd[n] >= 0)
			n++;
		else
			usleep(10000);
	}
	CU_ASSERT_EQUAL_FATAL(n, WR_ARRAY_LEN(fd));
	CU_ASSERT_EQUAL(run_wrctl("--timeout=2 status", out, sizeof(out)), 1);
	CU_ASSERT(strstr(out, "ten clients") != NULL);
	for (unsigned int i = 0; i < n; i++)
		close(fd[i]);
	int rc = 1;
	for (int i = 0; i < 50 && rc; i++) {
		rc = run_wrctl("status", out, sizeof(out));
		usleep(20000);
	}
	CU_ASSERT_EQUAL(rc, 0);
}

/* A daemon that is stopped by the debugger's signal answers nobody: wrctl gives up in time. */
static void test_hanging_daemon(void)
{
	char out[4096];
	kill(daemon_.pid, SIGSTOP);
	uint64_t start = wr_clock_ns();
	CU_ASSERT_EQUAL(run_wrctl("--timeout=1 status", out, sizeof(out)), 1);
	CU_ASSERT(wr_clock_ns() - start < 10000000000u);
	CU_ASSERT(strstr(out, "no answer in time") != NULL);
	kill(daemon_.pid, SIGCONT);
	CU_ASSERT_EQUAL(run_wrctl("status", out, sizeof(out)), 0);
}

static void test_watch(void)
{
	char out[4096], command[512];
	snprintf(command, sizeof(command), "timeout -s INT 3 %s --name=%s --watch=1 stats", wrctl,
		daemon_.name);
	FILE *f = popen(command, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	size_t n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = '\0';
	pclose(f);
	CU_ASSERT(strstr(out, "received/s") != NULL);
	/* A heading and at least one line of rates; nothing was sent meanwhile. */
	char *line = strchr(out, '\n');
	CU_ASSERT_FATAL(line != NULL);
	long long rate = -1, answered = -1;
	CU_ASSERT_EQUAL(sscanf(line, "%lld %lld", &rate, &answered), 2);
	CU_ASSERT(rate == 0 && answered == 0);
}

static void test_end(void)
{
	struct daemon_end end;
	char out[4096];
	peer_close(&peer);
	CU_ASSERT(daemon_stop(&daemon_, &end)); /* and nothing is left behind */
	CU_ASSERT(end.said && end.received == N_FRAMES && end.outcomes == N_FRAMES);
	CU_ASSERT_EQUAL(run_wrctl("status", out, sizeof(out)), 1);
	CU_ASSERT(strstr(out, "does not run here") && strstr(out, daemon_.name));
}

int main(int argc, char **argv)
{
	static const struct wr_test tests[] = {
		{"a known mix of frames", send_mix},
		{"stats: the mix, to the frame", test_counts},
		{"status, latency, bundle, config", test_views},
		{"more clients than DPDK serves", test_crowd},
		{"a daemon that hangs", test_hanging_daemon},
		{"rates", test_watch},
		{"after the end", test_end},
	};
	if (argc != 2) {
		fprintf(stderr, "usage: WIRERANKD=PATH %s PATH-OF-WRCTL\n", argv[0]);
		return 2;
	}
	wrctl = argv[1];
	harness_eal();
	daemon_prepare(&daemon_, 100, 2);
	daemon_start(&daemon_, NULL);
	peer_connect(&peer, &daemon_, 2);
	int rc = wr_test_run("wrctl", tests, WR_ARRAY_LEN(tests));
	daemon_remove(&daemon_);
	return rc;
}
