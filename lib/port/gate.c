/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gate between EAL's interrupt thread and the lcores, from outside of the driver: this file
 * defines rte_intr_callback_register and the three ways to unregister, so that drivers (which are
 * shared objects that bind to the executable first) call us; we pass a callback of ours on to EAL,
 * and run theirs while no worker uses the port. A worker pays one quiescent report and one load a
 * loop; a callback waits for the longest burst.
 */
#include "gate.h"

#include "wr_port.h"

#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_rcu_qsbr.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define GATE_POLL_US 20

/* One callback of a driver. */
struct node {
	struct node *next;
	const struct rte_intr_handle *handle; /* identity only */
	rte_intr_callback_fn fn;
	rte_intr_unregister_callback_fn unregistered;
	void *arg;
	bool pending; /* to be unregistered when its callback returns */
	bool control; /* a Unix socket: memif's listener or a peer's control channel */
	bool dead;    /* its driver is gone; writer: under run_lock */
	int fd;
	ino_t inode; /* of what fd was then: a number may be given to another file */
	struct guard guard;
};

static struct {
	pthread_once_t once;
	pthread_mutex_t run_lock;  /* one callback or wr_gate_run at a time */
	pthread_mutex_t list_lock; /* nodes; never held while EAL is called */
	struct node *nodes;
	struct rte_rcu_qsbr *qs;
	/* writer: whoever holds run_lock; readers: workers */
	_Atomic bool closed;
	_Atomic unsigned int live;
	/* under run_lock */
	int ethdev; /* -1 = none */
	unsigned int n_queues, peer_queues;
	bool memif, memif_server, up;
	struct wr_gate_stats stats;
	_Atomic bool interposed;
	int (*do_register)(const struct rte_intr_handle *, rte_intr_callback_fn, void *);
	int (*do_unregister)(const struct rte_intr_handle *, rte_intr_callback_fn, void *);
	int (*do_pending)(const struct rte_intr_handle *, rte_intr_callback_fn, void *,
		rte_intr_unregister_callback_fn);
} gate = {
	.once = PTHREAD_ONCE_INIT,
	.run_lock = PTHREAD_MUTEX_INITIALIZER,
	.list_lock = PTHREAD_MUTEX_INITIALIZER,
	.ethdev = -1,
};

static void gate_init(void)
{
	static _Alignas(WR_CACHE_LINE) uint8_t qs_bytes[16384];

	*(void **)&gate.do_register = dlsym(RTLD_NEXT, "rte_intr_callback_register");
	*(void **)&gate.do_unregister = dlsym(RTLD_NEXT, "rte_intr_callback_unregister");
	*(void **)&gate.do_pending = dlsym(RTLD_NEXT, "rte_intr_callback_unregister_pending");
	gate.qs = (void *)qs_bytes;
	if (!gate.do_register || !gate.do_unregister || !gate.do_pending ||
		rte_rcu_qsbr_get_memsize(WR_PORT_MAX_QUEUES) > sizeof(qs_bytes) ||
		rte_rcu_qsbr_init(gate.qs, WR_PORT_MAX_QUEUES) != 0)
		abort(); /* a DPDK that this file was not written for: broken build, not input */
}

static void ensure_init(void)
{
	(void)pthread_once(&gate.once, gate_init);
}

/* ---- workers' side ---- */
void wr_gate_worker_online(unsigned int worker)
{
	ensure_init();
	(void)rte_rcu_qsbr_thread_register(gate.qs, worker);
	rte_rcu_qsbr_thread_online(gate.qs, worker);
}

void wr_gate_worker_offline(unsigned int worker)
{
	rte_rcu_qsbr_thread_offline(gate.qs, worker);
	(void)rte_rcu_qsbr_thread_unregister(gate.qs, worker);
}

bool wr_gate_pass(unsigned int worker, unsigned int *n_live)
{
	rte_rcu_qsbr_quiescent(gate.qs, worker);
	/* acquire: pairs with gate_open's release, so that what a callback changed is seen */
	if (atomic_load_explicit(&gate.closed, memory_order_acquire)) {
		*n_live = 0;
		return false;
	}
	*n_live = atomic_load_explicit(&gate.live, memory_order_relaxed);
	return true;
}

/* ---- control's side ---- */
static void gate_close(void)
{
	uint64_t from = wr_clock_ns();
	atomic_store_explicit(&gate.closed, true, memory_order_release);
	uint64_t token = rte_rcu_qsbr_start(gate.qs);
	/* Sleeps between looks: with more threads than CPUs, the worker that we wait for needs this
	 * one. */
	while (rte_rcu_qsbr_check(gate.qs, token, false) != 1)
		(void)usleep(GATE_POLL_US);
	uint64_t waited = wr_clock_ns() - from;
	gate.stats.longest_wait_ns = WR_MAX(gate.stats.longest_wait_ns, waited);
}

static void gate_open(void)
{
	atomic_store_explicit(&gate.closed, false, memory_order_release);
}

void wr_gate_refresh(void *unused)
{
	struct rte_eth_link link = {0};
	(void)unused;
	if (gate.ethdev < 0) {
		atomic_store_explicit(&gate.live, 0, memory_order_relaxed);
		return;
	}
	bool up = rte_eth_link_get_nowait((uint16_t)gate.ethdev, &link) == 0 &&
		  link.link_status == RTE_ETH_LINK_UP;
	if (!gate.memif)
		up = true; /* other drivers may be polled whatever their link says */
	gate.stats.connects += up && !gate.up;
	gate.stats.disconnects += !up && gate.up;
	gate.up = up;
	unsigned int n =
		gate.memif_server ? WR_MIN(gate.n_queues, gate.peer_queues) : gate.n_queues;
	atomic_store_explicit(&gate.live, up ? n : 0, memory_order_relaxed);
}

void wr_gate_run(void (*fn)(void *arg), void *arg)
{
	ensure_init();
	pthread_mutex_lock(&gate.run_lock);
	gate_close();
	fn(arg);
	gate_open();
	pthread_mutex_unlock(&gate.run_lock);
}

struct attach {
	int ethdev;
	unsigned int n_queues;
	bool memif, memif_server;
};

static void attach(void *arg)
{
	const struct attach *a = arg;
	gate.ethdev = a->ethdev;
	gate.n_queues = a->n_queues;
	gate.memif = a->memif;
	gate.memif_server = a->memif_server;
	gate.up = false;
	wr_gate_refresh(NULL);
}

void wr_gate_attach(uint16_t ethdev, unsigned int n_queues, bool memif, bool memif_server)
{
	struct attach a = {ethdev, n_queues, memif, memif_server};
	wr_gate_run(attach, &a);
}

void wr_gate_detach(void)
{
	struct attach a = {.ethdev = -1};
	wr_gate_run(attach, &a);
}

bool wr_gate_is_interposed(void)
{
	return atomic_load(&gate.interposed);
}

static void copy_stats(void *arg)
{
	*(struct wr_gate_stats *)arg = gate.stats;
}

void wr_gate_stats(struct wr_gate_stats *out)
{
	ensure_init();
	pthread_mutex_lock(&gate.run_lock);
	copy_stats(out);
	pthread_mutex_unlock(&gate.run_lock);
}

static void drop_node(struct node *n);
static void run_callback(void *arg);

static bool is_unix(int fd)
{
	int domain;
	socklen_t size = sizeof(domain);
	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

static ino_t inode_of(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* The next node whose descriptor was closed while its callback is still registered. */
static struct node *next_orphan(void)
{
	pthread_mutex_lock(&gate.list_lock);
	struct node *n = gate.nodes;
	while (n && (n->pending || inode_of(n->fd) == n->inode))
		n = n->next;
	pthread_mutex_unlock(&gate.list_lock);
	return n;
}

/*
 * memif's listener (22.11) closes and frees a connection whose peer is gone before HELLO could be
 * sent, and leaves its callback registered: EAL's thread then panics over the closed descriptor.
 * Such callbacks are taken out before it looks again. EAL finds a callback by the number of its
 * descriptor; the driver's handle is freed.
 */
static void remove_orphans(void)
{
	struct node *n;
	while ((n = next_orphan()) != NULL) {
		struct rte_intr_handle *handle =
			rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
		if (!handle || rte_intr_fd_set(handle, n->fd) != 0)
			abort(); /* no memory for 100 bytes: EAL's thread would panic next */
		int ret = gate.do_unregister(handle, run_callback, n);
		rte_intr_instance_free(handle);
		if (ret <= 0)
			wr_log(WR_LOG_WARN, "port", "a dead peer's callback cannot be removed: %d",
				ret);
		drop_node(n);
		gate.stats.refused++;
	}
}

void wr_gate_driver_gone(void)
{
	pthread_mutex_lock(&gate.list_lock);
	for (struct node *n = gate.nodes; n; n = n->next)
		n->dead = n->control;
	pthread_mutex_unlock(&gate.list_lock);
}

static struct node *next_dead(void)
{
	pthread_mutex_lock(&gate.list_lock);
	struct node *n = gate.nodes;
	while (n && (n->pending || !n->dead))
		n = n->next;
	pthread_mutex_unlock(&gate.list_lock);
	return n;
}

void wr_gate_remove_leftovers(void)
{
	struct node *n;
	while ((n = next_dead()) != NULL) {
		struct rte_intr_handle *handle =
			rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
		if (!handle || rte_intr_fd_set(handle, n->fd) != 0)
			abort(); /* no memory for 100 bytes, and EAL's thread calls what is freed */
		while (gate.do_unregister(handle, run_callback, n) == -EAGAIN)
			(void)usleep(GATE_POLL_US); /* it is being called */
		rte_intr_instance_free(handle);
		if (inode_of(n->fd) == n->inode)
			close(n->fd);
		drop_node(n);
	}
}

/* What EAL calls in place of the driver's function. */
static void run_callback(void *arg)
{
	struct node *n = arg;

	pthread_mutex_lock(&gate.run_lock);
	if (n->dead) {
		pthread_mutex_unlock(&gate.run_lock);
		return;
	}
	gate_close();
	gate.stats.callbacks++;
	if (gate.memif_server && n->guard.fd >= 0 && !wr_guard_check(&n->guard, gate.n_queues))
		gate.stats.refused++;
	/* Until the driver says that the link is up, these are the rings that it will use. */
	if (!gate.up && n->guard.connect)
		gate.peer_queues = WR_MIN(n->guard.n_c2s, n->guard.n_s2c);
	n->guard.connect = false;
	n->fn(n->arg);
	remove_orphans();
	wr_gate_refresh(NULL);
	gate_open();
	pthread_mutex_unlock(&gate.run_lock);
}

/* ---- between driver and EAL ---- */
static struct node *find_node(
	const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg)
{
	pthread_mutex_lock(&gate.list_lock);
	struct node *n = gate.nodes;
	while (n && !(n->handle == handle && n->fn == fn && (arg == (void *)-1 || n->arg == arg)))
		n = n->next;
	pthread_mutex_unlock(&gate.list_lock);
	return n;
}

static void drop_node(struct node *n)
{
	pthread_mutex_lock(&gate.list_lock);
	for (struct node **p = &gate.nodes; *p; p = &(*p)->next)
		if (*p == n) {
			*p = n->next;
			break;
		}
	pthread_mutex_unlock(&gate.list_lock);
	free(n);
}

int rte_intr_callback_register(
	const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg)
{
	ensure_init();
	if (!handle || !fn)
		return gate.do_register(handle, fn, arg);
	struct node *n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->handle = handle;
	n->fn = fn;
	n->arg = arg;
	n->fd = rte_intr_fd_get(handle);
	n->inode = inode_of(n->fd);
	n->control = is_unix(n->fd);
	wr_guard_init(&n->guard, n->fd);
	pthread_mutex_lock(&gate.list_lock);
	n->next = gate.nodes;
	gate.nodes = n;
	pthread_mutex_unlock(&gate.list_lock);
	atomic_store(&gate.interposed, true);
	int ret = gate.do_register(handle, run_callback, n);
	if (ret < 0)
		drop_node(n);
	return ret;
}

int rte_intr_callback_unregister(
	const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg)
{
	ensure_init();
	struct node *n = find_node(handle, fn, arg);
	if (!n)
		return gate.do_unregister(handle, fn, arg);
	int ret = gate.do_unregister(handle, run_callback, n);
	if (ret > 0)
		drop_node(n);
	return ret;
}

int rte_intr_callback_unregister_sync(
	const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg)
{
	int ret;
	while ((ret = rte_intr_callback_unregister(handle, fn, arg)) == -EAGAIN)
		(void)usleep(GATE_POLL_US);
	return ret;
}

/* EAL calls this with its own lock held, after the callback has returned. */
static void finish_pending(struct rte_intr_handle *handle, void *arg)
{
	struct node *n = arg;
	rte_intr_unregister_callback_fn unregistered = n->unregistered;
	void *driver_arg = n->arg;
	drop_node(n);
	if (unregistered)
		unregistered(handle, driver_arg);
}

int rte_intr_callback_unregister_pending(const struct rte_intr_handle *handle,
	rte_intr_callback_fn fn, void *arg, rte_intr_unregister_callback_fn unregistered)
{
	ensure_init();
	struct node *n = find_node(handle, fn, arg);
	if (!n)
		return gate.do_pending(handle, fn, arg, unregistered);
	n->unregistered = unregistered;
	n->pending = true;
	return gate.do_pending(handle, run_callback, n, finish_pending);
}
