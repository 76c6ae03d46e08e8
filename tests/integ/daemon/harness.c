/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon as a child, the peer as a memif client. */
#include "harness.h"

#include "wr_test_bundle.h"

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGS 32

static const uint8_t daemon_ip4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 47, 0, 1};
static const uint8_t peer_ip4[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 47, 0, 2};
static const uint8_t daemon_ip6[16] = {0xfd, 0x47, [15] = 1};
static const uint8_t peer_ip6[16] = {0xfd, 0x47, [15] = 2};
static const uint8_t daemon_mac[6] = {2, 0, 0, 0, 0x47, 0};

#define DIE(...)                              \
	do {                                  \
		fprintf(stderr, __VA_ARGS__); \
		fputc('\n', stderr);          \
		abort();                      \
	} while (0)

void harness_eal(void)
{
	char prefix[64];
	snprintf(prefix, sizeof(prefix), "--file-prefix=wrpeer%d", (int)getpid());
	char *argv[] = {(char[]){"peer"}, (char[]){"--no-huge"}, (char[]){"-m"}, (char[]){"64"},
		(char[]){"--no-pci"}, (char[]){"--no-shconf"}, prefix, (char[]){"--no-telemetry"},
		(char[]){"--lcores"}, (char[]){"0@(0-1)"}, (char[]){"--log-level=*:error"}, NULL};
	if (rte_eal_init((int)WR_ARRAY_LEN(argv) - 1, argv) < 0)
		DIE("EAL of the test does not start");
	(void)signal(SIGPIPE, SIG_IGN);
}

void harness_clean(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/var/run/dpdk/wrpeer%d", (int)pid);
	(void)rmdir(path);
}

void daemon_prepare(struct daemon *d, uint32_t n_items, unsigned int n_workers)
{
	static unsigned int n_prepared;
	memset(d, 0, sizeof(*d));
	d->n_workers = n_workers;
	d->out = -1;
	snprintf(d->name, sizeof(d->name), "wrt%d_%u", (int)getpid(), n_prepared++);
	snprintf(d->dir, sizeof(d->dir), "/tmp/%s", d->name);
	snprintf(d->socket, sizeof(d->socket), "%s/memif.sock", d->dir);
	snprintf(d->bundle, sizeof(d->bundle), "%s/model.wrb", d->dir);
	if (mkdir(d->dir, 0700) != 0)
		DIE("%s: %s", d->dir, strerror(errno));
	struct wr_bundle_model m = wr_test_bundle_reference(n_items);
	wr_test_bundle_write(d->bundle, &m, 7);
}

static void spawn(struct daemon *d, const char *const *sets, int out, int err)
{
	const char *binary = getenv("WIRERANKD");
	static char arg[MAX_ARGS][160];
	char *argv[MAX_ARGS];
	int n = 0;
	if (!binary)
		DIE("set WIRERANKD to the daemon's path");
	snprintf(arg[n++], sizeof(arg[0]), "wirerankd");
	snprintf(arg[n++], sizeof(arg[0]), "--set=server.name=%s", d->name);
	snprintf(arg[n++], sizeof(arg[0]), "--set=server.lcores=%s",
		d->n_workers == 2 ? "0,1" : "1");
	snprintf(arg[n++], sizeof(arg[0]), "--set=bundle.path=%s", d->bundle);
	snprintf(arg[n++], sizeof(arg[0]), "--set=port.socket=%s", d->socket);
	snprintf(arg[n++], sizeof(arg[0]), "--set=sessions.rows_per_lcore=1024");
	snprintf(arg[n++], sizeof(arg[0]), "--set=memory.huge=no");
	for (; sets && *sets && n < MAX_ARGS - 1; sets++)
		snprintf(arg[n++], sizeof(arg[0]), "%s", *sets);
	for (int i = 0; i < n; i++)
		argv[i] = arg[i];
	argv[n] = NULL;
	d->pid = fork();
	if (d->pid < 0)
		DIE("fork: %s", strerror(errno));
	if (d->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (out >= 0)
			(void)dup2(out, STDOUT_FILENO);
		if (err >= 0)
			(void)dup2(err, STDERR_FILENO);
		execv(binary, argv);
		_exit(127);
	}
}

/* Reads lines of fd until one begins with `what`, at most ms; the line in out. */
static bool wait_line(int fd, const char *what, char *out, size_t size, int ms)
{
	uint64_t until = wr_clock_ns() + (uint64_t)ms * 1000000;
	size_t n = 0;
	while (wr_clock_ns() < until) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		char c;
		if (poll(&p, 1, 100) <= 0)
			continue;
		if (read(fd, &c, 1) != 1)
			return false;
		if (c != '\n') {
			if (n < size - 1)
				out[n++] = c;
			continue;
		}
		out[n] = '\0';
		if (strncmp(out, what, strlen(what)) == 0)
			return true;
		n = 0;
	}
	return false;
}

void daemon_start(struct daemon *d, const char *const *sets)
{
	int fd[2];
	char line[512];
	if (pipe2(fd, O_CLOEXEC) != 0)
		DIE("pipe: %s", strerror(errno));
	spawn(d, sets, fd[1], -1);
	close(fd[1]);
	d->out = fd[0];
	if (!wait_line(d->out, "ready:", line, sizeof(line), 60000))
		DIE("the daemon did not become ready");
}

int daemon_try(struct daemon *d, const char *const *sets, char *line, size_t size)
{
	char path[128];
	int status;
	snprintf(path, sizeof(path), "%s/stderr", d->dir);
	int err = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	spawn(d, sets, null, err);
	while (waitpid(d->pid, &status, 0) < 0 && errno == EINTR)
		;
	d->pid = 0;
	char text[4096];
	ssize_t n = pread(err, text, sizeof(text) - 1, 0);
	close(err);
	close(null);
	(void)unlink(path);
	text[n > 0 ? n : 0] = '\0';
	if (n > 0 && text[n - 1] == '\n')
		text[n - 1] = '\0';
	char *last = strrchr(text, '\n');
	snprintf(line, size, "%s", last ? last + 1 : text);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool daemon_stop(struct daemon *d, struct daemon_end *end)
{
	char line[512], path[96];
	memset(end, 0, sizeof(*end));
	(void)kill(d->pid, SIGTERM);
	end->said = wait_line(d->out, "stopped:", line, sizeof(line), 20000) &&
		    sscanf(line,
			    "stopped: received %llu, answered %llu, with an error %llu, drained "
			    "%llu, outcomes %llu, handed "
			    "over %llu, deferred %llu, peers %llu",
			    &end->received, &end->answered, &end->answered_error, &end->drained,
			    &end->outcomes, &end->handed_over, &end->deferred, &end->peers) == 8;
	while (waitpid(d->pid, &end->status, 0) < 0 && errno == EINTR)
		;
	close(d->out);
	d->out = -1;
	d->pid = 0;
	snprintf(path, sizeof(path), "/var/run/dpdk/%s", d->name);
	return access(d->socket, F_OK) != 0 && access(path, F_OK) != 0;
}

void daemon_kill(struct daemon *d)
{
	if (d->pid > 0) {
		(void)kill(d->pid, SIGKILL);
		(void)waitpid(d->pid, NULL, 0);
	}
	d->pid = 0;
	if (d->out >= 0)
		close(d->out);
	d->out = -1;
}

void daemon_remove(struct daemon *d)
{
	daemon_kill(d);
	harness_clean(getpid());
	(void)unlink(d->socket);
	(void)unlink(d->bundle);
	(void)rmdir(d->dir);
}

/* ---- peer ---- */
void peer_connect(struct peer *p, const struct daemon *d, uint16_t n_queues)
{
	struct wr_errmsg msg;
	struct wr_port_options o = {
		.kind = WR_PORT_MEMIF,
		.socket = d->socket,
		.udp_port = 5000,
		.n_queues = n_queues,
		.ring_size = 1024,
		.mtu = 1500,
	};
	memset(p, 0, sizeof(*p));
	p->n_queues = n_queues;
	p->next_id = 1;
	memcpy(p->daemon_mac, daemon_mac, 6);
	if (wr_port_open(&p->port, &o, &msg) || wr_port_start(p->port, &msg))
		DIE("peer: %s", msg.text);
	wr_gate_worker_online(0);
	wr_port_mac(p->port, p->mac);
	unsigned int live = 0;
	for (int i = 0; i < 5000 && live == 0; i++) {
		(void)wr_gate_pass(0, &live);
		(void)usleep(1000);
	}
	if (live == 0)
		DIE("peer: no link");
}

void peer_close(struct peer *p)
{
	wr_gate_worker_offline(0);
	wr_port_close(p->port);
	p->port = NULL;
}

static struct rte_mbuf *frame_of(const void *frame, size_t bytes, struct peer *p)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(wr_port_pool(p->port));
	if (!m || !rte_pktmbuf_append(m, (uint16_t)bytes))
		DIE("peer: no mbuf");
	if (frame)
		memcpy(rte_pktmbuf_mtod(m, void *), frame, bytes);
	return m;
}

static void transmit(struct peer *p, unsigned int queue, struct rte_mbuf **m, unsigned int n)
{
	unsigned int live, sent = 0;
	for (int tries = 0; sent < n && tries < 100000; tries++)
		if (wr_gate_pass(0, &live) && queue < live)
			sent += rte_eth_tx_burst(wr_port_ethdev(p->port), (uint16_t)queue, m + sent,
				(uint16_t)(n - sent));
	p->sent += sent;
	rte_pktmbuf_free_bulk(m + sent, n - sent);
}

void peer_send_frame(struct peer *p, unsigned int queue, const void *frame, size_t bytes)
{
	struct rte_mbuf *m = frame_of(frame, bytes, p);
	transmit(p, queue, &m, 1);
}

static struct rte_mbuf *datagram(
	struct peer *p, unsigned int port, const void *payload, size_t bytes)
{
	uint16_t head = wr_frame_headers_bytes(p->ipv6);
	struct rte_mbuf *m = frame_of(NULL, head + bytes, p);
	uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	memcpy(data + head, payload, bytes);
	(void)wr_frame_build(data, p->mac, p->daemon_mac, p->ipv6 ? peer_ip6 : peer_ip4,
		p->ipv6 ? daemon_ip6 : daemon_ip4, 5000, (uint16_t)(HARNESS_UDP_PORT + port),
		(uint16_t)bytes);
	return m;
}

void peer_send(
	struct peer *p, unsigned int queue, unsigned int port, const void *payload, size_t bytes)
{
	struct rte_mbuf *m = datagram(p, port, payload, bytes);
	transmit(p, queue, &m, 1);
}

void peer_send_burst(struct peer *p, unsigned int queue, const struct outgoing *o, unsigned int n)
{
	struct rte_mbuf *m[WR_PORT_MAX_BURST];
	for (unsigned int i = 0; i < n; i++)
		m[i] = datagram(p, o[i].port, o[i].bytes, (size_t)o[i].size);
	transmit(p, queue, m, n);
}

size_t peer_receive_frame(struct peer *p, void *frame, size_t size, unsigned int ms)
{
	uint64_t until = wr_clock_ns() + (uint64_t)ms * 1000000;
	do {
		unsigned int live = 0;
		struct rte_mbuf *m;
		(void)wr_gate_pass(0, &live);
		for (unsigned int q = 0; q < live; q++) {
			if (rte_eth_rx_burst(wr_port_ethdev(p->port), (uint16_t)q, &m, 1) != 1)
				continue;
			size_t bytes = WR_MIN((size_t)rte_pktmbuf_data_len(m), size);
			memcpy(frame, rte_pktmbuf_mtod(m, void *), bytes);
			rte_pktmbuf_free(m);
			p->got++;
			return bytes;
		}
		(void)usleep(50);
	} while (wr_clock_ns() < until);
	return 0;
}

bool peer_receive(struct peer *p, struct answer *a, unsigned int ms)
{
	struct wr_port_addresses mine = {
		.n_ipv4 = 1, .n_own_ipv4 = 1, .n_ipv6 = 1, .n_own_ipv6 = 1};
	struct wr_frame_local us;
	struct wr_frame f;
	memcpy(mine.ipv4[0], peer_ip4 + 12, 4);
	memcpy(mine.ipv6[0], peer_ip6, 16);
	if (wr_frame_local_init(&us, p->mac, &mine, 5000, 1) != 0)
		DIE("peer: addresses");
	size_t bytes = peer_receive_frame(p, a->bytes, sizeof(a->bytes), ms);
	if (bytes == 0)
		return false;
	enum wr_outcome o = wr_frame_parse(&us, a->bytes, (uint32_t)bytes, 0, &f);
	if (o != WR_OUTCOME_answered)
		DIE("the daemon sent a frame that is %s", wr_outcome_desc[o].name);
	a->from_port = (uint16_t)(f.src_port - HARNESS_UDP_PORT);
	enum wr_decode d = wr_wire_decode_answer(a->bytes + f.payload_off, f.payload_len, &a->m);
	if (d != WR_DECODE_OK)
		DIE("the daemon's answer does not decode: %s", wr_decode_name(d));
	if (a->m.cookie) {
		p->cookie = *a->m.cookie;
		p->has_cookie = true;
	}
	return true;
}

bool peer_ask(struct peer *p, unsigned int queue, unsigned int port, const struct outgoing *o,
	struct answer *a)
{
	struct wr_wire_header h;
	memcpy(&h, o->bytes, sizeof(h));
	peer_send(p, queue, port, o->bytes, (size_t)o->size);
	while (peer_receive(p, a, 2000))
		if (a->m.header.request_id == h.request_id)
			return true;
	return false;
}

bool peer_hello(struct peer *p, struct answer *a)
{
	struct outgoing o;
	struct wr_writer w;
	outgoing_begin(&o, &w, p, WR_OP_HELLO, 0, 0);
	outgoing_end(&o, &w, p, 540);
	return peer_ask(p, 0, 0, &o, a);
}

void outgoing_begin(struct outgoing *o, struct wr_writer *w, struct peer *p, uint8_t op,
	uint64_t user, uint16_t flags)
{
	struct wr_wire_header h = {.version = WR_WIRE_VERSION,
		.op = op,
		.flags = flags,
		.request_id = p->next_id++,
		.user_id = user};
	o->port = 0;
	wr_writer_init(w, o->bytes, sizeof(o->bytes), &h);
}

void outgoing_end(struct outgoing *o, struct wr_writer *w, struct peer *p, size_t bytes)
{
	if (p->has_cookie)
		wr_writer_cookie(w, &p->cookie);
	if (bytes)
		wr_writer_pad(w, bytes);
	o->size = wr_writer_finish(w);
	if (o->size < 0)
		DIE("message does not fit");
}
