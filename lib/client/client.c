/* SPDX-License-Identifier: BSD-3-Clause */
/* The client's life: options, memory, servers, one turn of the event loop. */
#include "client_internal.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EPOLL_EVENTS 64

static bool option(unsigned int *value, unsigned int fallback, unsigned int min, unsigned int max)
{
	if (*value == 0)
		*value = fallback;
	return *value >= min && *value <= max;
}

static int options_take(
	struct wr_client *c, const struct wr_client_options *o, struct wr_errmsg *msg)
{
	if (o)
		c->o = *o;
	const char *bad = NULL;
	if (!option(&c->o.max_outstanding, 4096, 1, 65536))
		bad = "max_outstanding: 1 … 65536";
	if (!option(&c->o.max_servers, 8, 1, 32))
		bad = "max_servers: 1 … 32";
	if (!option(&c->o.n_sources, 4, 1, 64))
		bad = "n_sources: 1 … 64";
	if (!option(&c->o.timeout_ms, 50, 1, 10000))
		bad = "timeout_ms: 1 … 10000";
	if (!option(&c->o.max_tries, 3, 1, 8))
		bad = "max_tries: 1 … 8";
	if (!option(&c->o.down_after, 3, 1, 1000000))
		bad = "down_after: 1 … 1000000";
	if (!option(&c->o.hello_ms, 1000, 10, 60000))
		bad = "hello_ms: 10 … 60000";
	if (!option(&c->o.pad_bytes, 256, WR_WIRE_MIN_UNPROVEN, WR_WIRE_MAX_BYTES))
		bad = "pad_bytes: 96 … 1232";
	if (bad)
		return wr_fail(msg, WR_EINVAL, "client option out of range: %s", bad);
	if (c->o.key)
		memcpy(c->key, c->o.key, sizeof(c->key));
	c->segment = c->coalesce = !c->o.no_offload;
	return WR_OK;
}

static uint32_t log2_up(uint32_t n)
{
	uint32_t bits = 0;
	while ((uint64_t)1 << bits < n)
		bits++;
	return bits;
}

static int allocate(struct wr_client *c, struct wr_errmsg *msg)
{
	c->n_slots = c->o.max_outstanding + c->o.max_servers;
	c->slot_bits = log2_up(c->n_slots);
	c->n_queues = c->o.max_servers * PORT_SLOTS * c->o.n_sources;
	c->wanted_mask = (1u << log2_up(c->o.max_outstanding)) - 1;
	c->slots = calloc(c->n_slots, sizeof(*c->slots));
	c->data = calloc(c->n_slots, SLOT_BYTES);
	c->free_slots = calloc(c->o.max_outstanding, sizeof(*c->free_slots));
	c->queues = calloc(c->n_queues, sizeof(*c->queues));
	c->active = calloc(c->n_queues, sizeof(*c->active));
	c->sockets = calloc(2 * c->o.n_sources, sizeof(*c->sockets));
	c->servers = calloc(c->o.max_servers, sizeof(*c->servers));
	c->wanted = calloc(((size_t)c->wanted_mask + 1) * WANTED_WAYS, sizeof(*c->wanted));
	c->rx_data = malloc((size_t)RX_BYTES * RX_COALESCED);
	for (unsigned int i = 0; c->sockets && i < 2 * c->o.n_sources; i++)
		c->sockets[i].fd = -1;
	if (!c->slots || !c->data || !c->free_slots || !c->queues || !c->active || !c->sockets ||
		!c->servers || !c->wanted || !c->rx_data)
		return wr_fail(msg, WR_ENOMEM,
			"no memory for %u outstanding requests; lower max_outstanding",
			c->o.max_outstanding);
	for (uint32_t i = 0; i < c->n_slots; i++)
		c->slots[i].wheel_at = c->slots[i].queue = NONE;
	while (c->n_free < c->o.max_outstanding) {
		c->free_slots[c->n_free] = c->o.max_outstanding - 1 - c->n_free;
		c->n_free++;
	}
	return WR_OK;
}

static int open_descriptors(struct wr_client *c, struct wr_errmsg *msg)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (c->epoll_fd < 0 || c->timer_fd < 0 ||
		epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->timer_fd, &e) != 0)
		return wr_fail(msg, WR_EIO, "cannot make epoll and timer descriptors: %s",
			strerror(errno));
	return WR_OK;
}

struct wr_client *wr_client_new(const struct wr_client_options *options, struct wr_errmsg *msg)
{
	struct wr_client *c = calloc(1, sizeof(*c));
	if (!c) {
		wr_fail(msg, WR_ENOMEM, "no memory for a client");
		return NULL;
	}
	c->epoll_fd = c->timer_fd = -1;
	c->armed_ns = UINT64_MAX;
	c->now_ns = wr_clock_ns();
	c->wheel_tick = c->now_ns / NS_PER_MS;
	uint64_t seed[2];
	wr_wire_random(seed, sizeof(seed));
	wr_rng_init(&c->rng, seed[0], seed[1]);
	if (options_take(c, options, msg) || allocate(c, msg) || open_descriptors(c, msg)) {
		wr_client_free(c);
		return NULL;
	}
	return c;
}

void wr_client_free(struct wr_client *c)
{
	if (!c)
		return;
	c->ending = c->inside = true;
	c->now_ns = wr_clock_ns();
	for (uint32_t i = 0; c->rx_data && c->slots && i < c->o.max_outstanding; i++)
		if (c->slots[i].id)
			wr_client_slot_end(c, &c->slots[i], WR_EINTR, NULL);
	for (unsigned int i = 0; c->sockets && i < 2 * c->o.n_sources; i++)
		if (c->sockets[i].fd >= 0)
			close(c->sockets[i].fd);
	if (c->timer_fd >= 0)
		close(c->timer_fd);
	if (c->epoll_fd >= 0)
		close(c->epoll_fd);
	free(c->rx_data);
	free(c->wanted);
	free(c->servers);
	free(c->sockets);
	free(c->active);
	free(c->queues);
	free(c->free_slots);
	free(c->data);
	free(c->slots);
	free(c);
}

/* The same in every proxy, whatever the order in which servers were added. */
static uint64_t address_seed(const struct sockaddr_storage *a, uint16_t port)
{
	uint64_t part[2] = {0};
	if (a->ss_family == AF_INET)
		memcpy(part, &((const struct sockaddr_in *)a)->sin_addr, 4);
	else
		memcpy(part, &((const struct sockaddr_in6 *)a)->sin6_addr, 16);
	return wr_mix64(wr_mix64(wr_mix64(part[0] + 1) ^ part[1]) ^ port);
}

static int look_up(const char *host, struct sockaddr_storage *out, struct wr_errmsg *msg)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
	int err = getaddrinfo(host, NULL, &hints, &found);
	if (err)
		return wr_fail(msg, WR_ENOENT, "server '%s': %s; give an address or a known name",
			host, gai_strerror(err));
	memset(out, 0, sizeof(*out));
	memcpy(out, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return WR_OK;
}

int wr_client_add_server(struct wr_client *c, const char *host, uint16_t port, unsigned int tier,
	struct wr_errmsg *msg)
{
	if (c->n_servers == c->o.max_servers)
		return wr_fail(
			msg, WR_EFULL, "%u servers already; raise max_servers", c->n_servers);
	struct client_server *v = &c->servers[c->n_servers];
	memset(v, 0, sizeof(*v));
	v->base_port = port ? port : WR_WIRE_DEFAULT_PORT;
	v->tier = tier;
	v->view.up = true;
	int err = look_up(host, &v->address, msg);
	if (!err)
		err = wr_client_sockets_open(c, v->address.ss_family, msg);
	if (err)
		return err;
	v->seed = address_seed(&v->address, v->base_port);
	if (!c->inside)
		c->now_ns = wr_clock_ns();
	wr_client_server_hello(c, c->n_servers);
	if (!c->inside)
		wr_client_flush(c);
	return (int)c->n_servers++;
}

int wr_client_fd(const struct wr_client *c)
{
	return c->epoll_fd;
}

void wr_client_flush(struct wr_client *c)
{
	wr_client_send_flush(c);
	if (!c->inside)
		wr_client_timer_arm(c);
}

int wr_client_process(struct wr_client *c)
{
	struct epoll_event events[EPOLL_EVENTS];
	if (c->inside)
		return WR_ESTATE;
	c->inside = true;
	uint64_t before = c->stats.n_ok + c->stats.n_refused + c->stats.n_gave_up;
	int n = epoll_wait(c->epoll_fd, events, EPOLL_EVENTS, 0);
	c->now_ns = wr_clock_ns();
	for (int i = 0; i < n; i++)
		if (events[i].data.ptr)
			wr_client_receive(c, events[i].data.ptr);
	c->now_ns = wr_clock_ns();
	wr_client_timer_expire(c);
	wr_client_send_flush(c);
	wr_client_timer_arm(c);
	c->inside = false;
	return (int)(c->stats.n_ok + c->stats.n_refused + c->stats.n_gave_up - before);
}

int wr_client_run(struct wr_client *c, unsigned int max_ms)
{
	if (c->inside)
		return WR_ESTATE;
	uint64_t end = wr_clock_ns() + (uint64_t)max_ms * NS_PER_MS, now;
	wr_client_process(c);
	while (wr_client_outstanding(c) && (now = wr_clock_ns()) < end) {
		struct pollfd p = {.fd = c->epoll_fd, .events = POLLIN};
		/* A signal ends the wait early; the loop looks again. */
		(void)poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1);
		wr_client_process(c);
	}
	return wr_client_outstanding(c) ? WR_EAGAIN : WR_OK;
}

const struct wr_client_stats *wr_client_stats(const struct wr_client *c)
{
	return &c->stats;
}

unsigned int wr_client_outstanding(const struct wr_client *c)
{
	return c->o.max_outstanding - c->n_free;
}

int wr_client_server(const struct wr_client *c, unsigned int server, struct wr_client_server *out)
{
	if (server >= c->n_servers)
		return WR_EINVAL;
	*out = c->servers[server].view;
	out->proven = c->servers[server].have_cookie;
	return WR_OK;
}
