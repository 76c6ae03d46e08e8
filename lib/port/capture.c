/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packet capture of a running port into a pcapng file. While none runs, nothing is registered and a
 * burst pays what DPDK always pays: one load. While one runs, the worker that owns a queue copies
 * frames into a pool and a ring that belong to this queue alone; a thread that is no worker writes.
 * Pool and ring have one producer and one consumer each, so that neither side ever waits for the
 * other: a frame that finds no room is counted as missed. A worker makes no system call here.
 */
#include "wr_port.h"

#include "wr_wire.h"

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_pcapng.h>
#include <rte_ring.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS         4096u /* of all queues together, at least MIN_SLOTS each */
#define MIN_SLOTS     256u
#define WRITE_BURST   32u
#define WRITER_NAP_US 1000
#define BLOCK_BYTES   96u /* of a packet's block beside the packet: header, options, trailer */

/* One queue's: written by its worker but for the pool's other end and the ring's. */
struct capture_queue {
	struct rte_mempool *pool;
	struct rte_ring *ring;
	const struct rte_eth_rxtx_callback *rx, *tx;
	_Atomic uint64_t missed; /* writer: the worker; readers: any */
};

static struct {
	pthread_mutex_t lock; /* start, stop; never held by a worker or the writer */
	/* settings, fixed while it runs */
	uint16_t ethdev;
	unsigned int n_queues;
	struct wr_capture_options o;
	char path[WR_CAPTURE_PATH];
	struct capture_queue queue[WR_PORT_MAX_QUEUES];
	int fd;
	uint64_t until_ns, started_ns;
	/* unix time = TSC time + this; writer: the writer thread, start; readers: workers */
	_Atomic int64_t unix_offset_ns;
	/* frames that may still be taken; writers: workers */
	_Atomic int64_t left;
	pthread_t thread;
	bool has_thread;  /* to be joined; under lock */
	_Atomic bool end; /* writer: stop; reader: the writer thread */
	/* writer: the writer thread, start; readers: any */
	_Atomic int state;
	_Atomic uint64_t packets, bytes, ended_ns;
	const char *_Atomic why;
} capture = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

/* ---- time ---- */
/*
 * Packet and statistics blocks have their time at the same place, high half first. What
 * librte_pcapng 22.11 writes there is centuries off (its base is counted twice), so it is
 * overwritten.
 */
#define BLOCK_TIME_AT 12

static uint64_t tsc_ns(uint64_t tsc)
{
	return (uint64_t)((unsigned __int128)tsc * 1000000000u / rte_get_tsc_hz());
}

static void set_clock(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	int64_t now = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
	atomic_store_explicit(
		&capture.unix_offset_ns, now - (int64_t)tsc_ns(rte_rdtsc()), memory_order_relaxed);
}

struct block_time {
	uint32_t high, low;
};

static struct block_time time_of(uint64_t tsc)
{
	int64_t offset = atomic_load_explicit(&capture.unix_offset_ns, memory_order_relaxed);
	uint64_t ns = tsc_ns(tsc) + (uint64_t)offset;
	return (struct block_time){(uint32_t)(ns >> 32), (uint32_t)ns};
}

/* ---- in the worker ---- */
/* Where the UDP payload begins, 0 = no UDP or cut; plain headers with at most two VLAN tags. */
static uint32_t udp_payload(const uint8_t *data, uint32_t len)
{
	uint32_t at = 12, l4;
	while (at + 6 <= len && ((data[at] == 0x81 && data[at + 1] == 0x00) ||
					(data[at] == 0x88 && data[at + 1] == 0xa8)))
		at += 4;
	if (at + 2 + 40 > len)
		return 0;
	const uint8_t *ip = data + at + 2;
	if (data[at] == 0x08 && data[at + 1] == 0x00 && ip[9] == 17)
		l4 = at + 2 + 4 * (ip[0] & 15u);
	else if (data[at] == 0x86 && data[at + 1] == 0xdd && ip[6] == 17)
		l4 = at + 2 + 40;
	else
		return 0;
	return l4 + 8;
}

static bool wanted(const struct rte_mbuf *m)
{
	if (!capture.o.one_user)
		return true;
	const uint8_t *data = rte_pktmbuf_mtod(m, const uint8_t *);
	uint32_t len = rte_pktmbuf_data_len(m), at = udp_payload(data, len);
	uint64_t user;
	if (!at || at + sizeof(struct wr_wire_header) > len)
		return false;
	memcpy(&user, data + at + offsetof(struct wr_wire_header, user_id), sizeof(user));
	return user == capture.o.user;
}

static void take(
	unsigned int queue, struct rte_mbuf **m, uint16_t n, enum rte_pcapng_direction direction)
{
	struct capture_queue *q = &capture.queue[queue];
	uint64_t now = rte_rdtsc();
	struct block_time when = time_of(now);
	for (uint16_t i = 0; i < n; i++) {
		if (!wanted(m[i]))
			continue;
		if (atomic_fetch_sub_explicit(&capture.left, 1, memory_order_relaxed) <= 0) {
			atomic_fetch_add_explicit(&capture.left, 1, memory_order_relaxed);
			return;
		}
		/* Room first: a copy must not be given back, the pool's other end is the writer's.
		 */
		struct rte_mbuf *copy = NULL;
		if (!rte_ring_full(q->ring))
			copy = rte_pcapng_copy(capture.ethdev, queue, m[i], q->pool,
				capture.o.snaplen, now, direction);
		if (copy) {
			memcpy(rte_pktmbuf_mtod_offset(copy, void *, BLOCK_TIME_AT), &when,
				sizeof(when));
			(void)rte_ring_sp_enqueue(q->ring, copy);
			continue;
		}
		atomic_fetch_add_explicit(&capture.left, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&q->missed, 1, memory_order_relaxed);
	}
}

static uint16_t on_receive(
	uint16_t port, uint16_t queue, struct rte_mbuf **m, uint16_t n, uint16_t max, void *unused)
{
	(void)port, (void)max, (void)unused;
	take(queue, m, n, RTE_PCAPNG_DIRECTION_IN);
	return n;
}

static uint16_t on_transmit(
	uint16_t port, uint16_t queue, struct rte_mbuf **m, uint16_t n, void *unused)
{
	(void)port, (void)unused;
	take(queue, m, n, RTE_PCAPNG_DIRECTION_OUT);
	return n;
}

/* ---- callbacks: under the gate, no worker is inside a burst ---- */
static void add_callbacks(void *failed)
{
	for (unsigned int i = 0; i < capture.n_queues; i++) {
		struct capture_queue *q = &capture.queue[i];
		if (capture.o.in)
			q->rx = rte_eth_add_rx_callback(
				capture.ethdev, (uint16_t)i, on_receive, NULL);
		if (capture.o.out)
			q->tx = rte_eth_add_tx_callback(
				capture.ethdev, (uint16_t)i, on_transmit, NULL);
		if ((capture.o.in && !q->rx) || (capture.o.out && !q->tx))
			*(bool *)failed = true;
	}
}

static void free_callback(const struct rte_eth_rxtx_callback *c)
{
	rte_free((void *)(uintptr_t)c);
}

static void remove_callbacks(void *unused)
{
	(void)unused;
	for (unsigned int i = 0; i < capture.n_queues; i++) {
		struct capture_queue *q = &capture.queue[i];
		if (q->rx && !rte_eth_remove_rx_callback(capture.ethdev, (uint16_t)i, q->rx))
			free_callback(q->rx);
		if (q->tx && !rte_eth_remove_tx_callback(capture.ethdev, (uint16_t)i, q->tx))
			free_callback(q->tx);
		q->rx = q->tx = NULL;
	}
}

/* ---- in the writer's thread ---- */
static uint64_t missed(void)
{
	uint64_t n = 0;
	for (unsigned int i = 0; i < capture.n_queues; i++)
		n += atomic_load_explicit(&capture.queue[i].missed, memory_order_relaxed);
	return n;
}

/* Writes what one ring holds, at most a burst; the number. Sets why when no more may follow. */
static unsigned int write_some(rte_pcapng_t *file, struct capture_queue *q, const char **why)
{
	struct rte_mbuf *m[WRITE_BURST];
	uint64_t bytes = atomic_load_explicit(&capture.bytes, memory_order_relaxed);
	unsigned int n = rte_ring_sc_dequeue_burst(q->ring, (void **)m, WRITE_BURST, NULL);
	if (n == 0)
		return 0;
	if (bytes + (uint64_t)n * (capture.o.snaplen + BLOCK_BYTES) > capture.o.max_bytes)
		*why = "bytes";
	if (*why) { /* beyond the bound, or nothing can be written any more */
		rte_pktmbuf_free_bulk(m, n);
		atomic_fetch_add_explicit(&q->missed, n, memory_order_relaxed);
		return n;
	}
	ssize_t wrote = rte_pcapng_write_packets(file, m, (uint16_t)n);
	int why_not = errno;
	rte_pktmbuf_free_bulk(m, n); /* 22.11 says that writing frees them; it does not */
	if (wrote < 0) {
		*why = why_not == ENOSPC ? "no space left for the file"
					 : "the file cannot be written";
		atomic_fetch_add_explicit(&q->missed, n, memory_order_relaxed);
		return n;
	}
	atomic_fetch_add_explicit(&capture.bytes, (uint64_t)wrote, memory_order_relaxed);
	atomic_fetch_add_explicit(&capture.packets, n, memory_order_relaxed);
	return n;
}

static unsigned int write_all(rte_pcapng_t *file, const char **why)
{
	unsigned int n = 0;
	for (unsigned int i = 0; i < capture.n_queues; i++)
		n += write_some(file, &capture.queue[i], why);
	return n;
}

static const char *why_end(void)
{
	if (atomic_load_explicit(&capture.end, memory_order_acquire))
		return "stopped";
	if (atomic_load_explicit(&capture.left, memory_order_relaxed) <= 0)
		return "packets";
	return wr_clock_ns() >= capture.until_ns ? "seconds" : NULL;
}

static void free_queues(void)
{
	for (unsigned int i = 0; i < capture.n_queues; i++) {
		struct capture_queue *q = &capture.queue[i];
		rte_ring_free(q->ring);
		rte_mempool_free(q->pool);
		q->ring = NULL;
		q->pool = NULL;
	}
}

/* What was missed stands in the file too: in the interface's statistics, and in words. */
static void finish(rte_pcapng_t *file, const char *why)
{
	char comment[128];
	uint64_t packets = atomic_load(&capture.packets), lost = missed();
	snprintf(comment, sizeof(comment), "ended by: %s; %llu packets captured, %llu missed", why,
		(unsigned long long)packets, (unsigned long long)lost);
	ssize_t n =
		rte_pcapng_write_stats(file, capture.ethdev, comment, 0, 0, packets + lost, lost);
	if (n > 0)
		atomic_fetch_add_explicit(&capture.bytes, (uint64_t)n, memory_order_relaxed);
	rte_pcapng_close(file); /* and capture.fd */
	capture.fd = -1;
}

static void *writer(void *arg)
{
	rte_pcapng_t *file = arg;
	const char *why = NULL, *lost = NULL;
	uint64_t clock_ns = 0;
	while (!why && !lost) {
		if (wr_clock_ns() > clock_ns) { /* once a second */
			set_clock();
			clock_ns = wr_clock_ns() + 1000000000u;
		}
		if (write_all(file, &lost) == 0)
			(void)usleep(WRITER_NAP_US);
		why = why_end();
	}
	wr_gate_run(remove_callbacks, NULL);
	while (write_all(file, &lost))
		;
	why = lost ? lost : why;
	finish(file, why);
	free_queues();
	atomic_store(&capture.ended_ns, wr_clock_ns());
	atomic_store(&capture.why, why);
	atomic_store_explicit(&capture.state, WR_CAPTURE_DONE, memory_order_release);
	return NULL;
}

/* ---- start ---- */
static bool name_is_sound(const char *name)
{
	size_t n = strlen(name);
	return n > 0 && n < WR_CAPTURE_NAME && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       n;
}

static int check_options(const struct wr_capture_options *o, struct wr_errmsg *msg)
{
	if (!name_is_sound(o->name))
		return wr_fail(msg, WR_EINVAL,
			"a capture's file name has 1 to %d letters, digits, '.', '_' and '-' and "
			"begins with no '.'",
			WR_CAPTURE_NAME - 1);
	if (o->n_packets == 0 || o->n_packets > WR_CAPTURE_MAX_PACKETS || o->seconds == 0 ||
		o->seconds > WR_CAPTURE_MAX_SECONDS || o->snaplen < WR_CAPTURE_MIN_SNAPLEN ||
		o->snaplen > WR_CAPTURE_MAX_SNAPLEN || o->max_bytes == 0 || (!o->in && !o->out))
		return wr_fail(msg, WR_EINVAL,
			"a capture has 1 to %u packets, 1 to %u seconds, %u to %u bytes of each "
			"packet",
			WR_CAPTURE_MAX_PACKETS, WR_CAPTURE_MAX_SECONDS, WR_CAPTURE_MIN_SNAPLEN,
			WR_CAPTURE_MAX_SNAPLEN);
	return 0;
}

/*
 * The folder must be ours or root's, and nobody else may write there: else somebody could put a
 * link in the file's place, or take the file away. The file must be new.
 */
static int open_file(const struct wr_capture_options *o, struct wr_errmsg *msg)
{
	struct stat st;
	int folder = open(o->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (folder < 0 && errno == ENOENT)
		return wr_fail(msg, WR_ENOENT,
			"captures go into %s, which does not exist: mkdir -m 0700 %s", o->folder,
			o->folder);
	if (folder < 0 || fstat(folder, &st) != 0) {
		int why = errno;
		if (folder >= 0)
			close(folder);
		return wr_fail(msg, WR_EIO, "captures go into %s: %s", o->folder, strerror(why));
	}
	if ((st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & 022)) {
		close(folder);
		return wr_fail(msg, WR_EPERM,
			"captures go into %s, which others may write to: chown it to the daemon's "
			"user and chmod go-w",
			o->folder);
	}
	capture.fd =
		openat(folder, o->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int why = errno;
	close(folder);
	if (capture.fd < 0)
		return wr_fail(msg, why == EEXIST ? WR_EINVAL : WR_EIO, "%s/%s: %s%s", o->folder,
			o->name, strerror(why),
			why == EEXIST ? "; choose another name, captures replace nothing" : "");
	return 0;
}

static unsigned int slots_of(unsigned int n_queues)
{
	unsigned int n = WR_MAX(SLOTS / n_queues, MIN_SLOTS);
	return 1u << (31 - __builtin_clz(n));
}

uint64_t wr_capture_bytes_needed(unsigned int n_queues)
{
	uint64_t mbuf = sizeof(struct rte_mbuf) + rte_pcapng_mbuf_size(WR_CAPTURE_MAX_SNAPLEN) +
			2 * WR_CACHE_LINE;
	return (uint64_t)n_queues * slots_of(n_queues) * (mbuf + 2 * sizeof(void *));
}

static int make_queues(struct wr_errmsg *msg)
{
	unsigned int slots = slots_of(capture.n_queues);
	uint32_t room = rte_pcapng_mbuf_size(capture.o.snaplen);
	for (unsigned int i = 0; i < capture.n_queues; i++) {
		struct capture_queue *q = &capture.queue[i];
		char name[RTE_RING_NAMESIZE];
		snprintf(name, sizeof(name), "wr_capture%u", i);
		q->pool = rte_pktmbuf_pool_create_by_ops(name, slots - 1, 0, 0,
			(uint16_t)(RTE_PKTMBUF_HEADROOM + room), SOCKET_ID_ANY, "ring_sp_sc");
		q->ring =
			rte_ring_create(name, slots, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
		atomic_store(&q->missed, 0);
		if (!q->pool || !q->ring)
			return wr_fail(msg, WR_ENOMEM,
				"no memory for a capture of %u queues: %s; a smaller snaplen takes "
				"less",
				capture.n_queues, rte_strerror(rte_errno));
	}
	return 0;
}

static int start_writer(rte_pcapng_t *file, struct wr_errmsg *msg)
{
	bool failed = false;
	set_clock();
	atomic_store(&capture.end, false);
	atomic_store(&capture.why, "");
	atomic_store(&capture.state, WR_CAPTURE_RUNNING);
	wr_gate_run(add_callbacks, &failed);
	/* On CPUs that are no worker's. */
	if (!failed &&
		rte_ctrl_thread_create(&capture.thread, "wr-capture", NULL, writer, file) == 0) {
		capture.has_thread = true;
		return 0;
	}
	wr_gate_run(remove_callbacks, NULL);
	return wr_fail(msg, WR_EIO, "the port takes no capture, or no thread is to be had");
}

static int start(const struct wr_port *p, const struct wr_capture_options *o, struct wr_errmsg *msg)
{
	char comment[128];
	capture.ethdev = wr_port_ethdev(p);
	capture.n_queues = wr_port_n_queues(p);
	capture.o = *o;
	snprintf(capture.path, sizeof(capture.path), "%s/%s", o->folder, o->name);
	capture.o.folder = capture.o.name = NULL; /* the caller's */
	capture.started_ns = wr_clock_ns();
	capture.until_ns = capture.started_ns + (uint64_t)o->seconds * 1000000000u;
	atomic_store(&capture.left, (int64_t)o->n_packets);
	atomic_store(&capture.packets, 0);
	atomic_store(&capture.bytes, 0);
	int err = open_file(o, msg);
	if (err)
		return err;
	snprintf(comment, sizeof(comment), "at most %u packets, %u s, %u bytes of each",
		o->n_packets, o->seconds, o->snaplen);
	rte_pcapng_t *file = NULL;
	err = make_queues(msg);
	if (!err && !(file = rte_pcapng_fdopen(capture.fd, NULL, NULL, "wirerankd", comment)))
		err = wr_fail(msg, WR_EIO, "%s: %s", capture.path, rte_strerror(rte_errno));
	if (!err) {
		off_t head = lseek(capture.fd, 0, SEEK_CUR);
		atomic_store(&capture.bytes, head > 0 ? (uint64_t)head : 0);
		err = start_writer(file, msg);
	}
	if (err) {
		if (file)
			rte_pcapng_close(file);
		else
			close(capture.fd);
		capture.fd = -1;
		(void)unlink(capture.path);
		free_queues();
		atomic_store(&capture.state, WR_CAPTURE_NONE);
	}
	return err;
}

static void join(void)
{
	if (capture.has_thread)
		(void)pthread_join(capture.thread, NULL);
	capture.has_thread = false;
}

int wr_capture_start(
	const struct wr_port *p, const struct wr_capture_options *o, struct wr_errmsg *msg)
{
	int err = check_options(o, msg);
	if (err)
		return err;
	pthread_mutex_lock(&capture.lock);
	if (atomic_load(&capture.state) == WR_CAPTURE_RUNNING) {
		err = wr_fail(
			msg, WR_ESTATE, "a capture runs already: %s; stop it first", capture.path);
	} else {
		join();
		err = start(p, o, msg);
	}
	pthread_mutex_unlock(&capture.lock);
	return err;
}

void wr_capture_stop(void)
{
	pthread_mutex_lock(&capture.lock);
	atomic_store_explicit(&capture.end, true, memory_order_release);
	join();
	pthread_mutex_unlock(&capture.lock);
}

void wr_capture_status(struct wr_capture_status *out)
{
	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&capture.lock);
	out->state =
		(enum wr_capture_state)atomic_load_explicit(&capture.state, memory_order_acquire);
	if (out->state != WR_CAPTURE_NONE) {
		uint64_t until = out->state == WR_CAPTURE_DONE ? atomic_load(&capture.ended_ns)
							       : wr_clock_ns();
		snprintf(out->path, sizeof(out->path), "%s", capture.path);
		out->why = atomic_load(&capture.why);
		out->packets = atomic_load(&capture.packets);
		out->bytes = atomic_load(&capture.bytes);
		out->missed = missed();
		out->ns = until - capture.started_ns;
	}
	pthread_mutex_unlock(&capture.lock);
}
