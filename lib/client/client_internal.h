/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of lib/client share: slots of outstanding requests, the timer wheel, send queues,
 * servers. All links are indices into arrays that wr_client_new allocated.
 */
#ifndef CLIENT_INTERNAL_H
#define CLIENT_INTERNAL_H

#include "wr_client.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define NONE         UINT32_MAX
#define NS_PER_MS    1000000u
#define WHEEL_LOG2   10
#define WHEEL_SIZE   (1u << WHEEL_LOG2) /* ticks of 1 ms */
#define BATCH        64                 /* datagrams of a queue that leave in one call */
#define RX_BYTES     65536              /* a coalesced datagram */
#define RX_COALESCED 16                 /* buffers of a receive call with UDP_GRO … */
#define RX_PLAIN     64                 /* … and without */
#define RX_STRIDE    2112 /* between those: a datagram fits, and they share no cache set */
#define RX_ROUNDS    16   /* receive calls per socket and turn */
#define SLOT_BYTES   1280
#define PORT_SLOTS   (WR_WIRE_MAX_PORTS + 1) /* 0: the base port; 1 + i: PORTS[i] */
#define HELLO_BYTES  540
#define EPOCH_HELLO_NS                                                                      \
	100000000u /* at least between two HELLOs that epochs asked for: servers behind one \
		      address may disagree for good */

struct client_target {
	uint16_t port; /* host order; 0 = never sent */
	uint8_t server;
};

/* An outstanding request; its datagram lies in wr_client.data. */
struct client_slot {
	uint64_t id; /* 0 = free */
	uint64_t user;
	uint64_t deadline_ns, begun_ns, sent_ns;
	uint64_t timeout_ns;
	wr_client_done *done;
	void *arg;
	uint32_t wheel_next, wheel_prev;
	uint32_t wheel_at; /* bucket, NONE = no timer */
	uint32_t queue_next, queue_prev;
	uint32_t queue;             /* NONE = not waiting to be sent */
	struct client_target to[2]; /* where the last two tries went; [0] the newest */
	uint16_t bytes, body_bytes; /* datagram; its part before COOKIE, PAD and AUTH */
	uint16_t unproven_bytes;    /* that the length rule wants of a source without proof */
	uint8_t op, domain, n_tries;
	uint8_t server;
	bool resting; /* BUSY: waits for its time, no answer is due */
	bool renewed; /* was sent again at once because of its answer, which is done once only */
};

struct client_bucket {
	uint32_t head, tail, n;
};

struct client_queue {
	uint32_t head, tail, n;
	bool active; /* stands in wr_client.active */
};

struct client_socket {
	int fd;       /* -1 = not open */
	bool blocked; /* the kernel's buffer is full; until the next flush */
};

struct client_server {
	struct sockaddr_storage address; /* base port */
	uint16_t base_port;
	uint64_t seed; /* for rendezvous hashing */
	unsigned int tier;
	bool have_cookie;
	struct wr_wire_cookie cookie;
	uint64_t last_answer_ns, last_hello_ns;
	struct wr_client_server view;
	uint16_t ports[WR_WIRE_MAX_PORTS];
	uint8_t shards[WR_WIRE_N_SHARDS];
};

/* Users whose history a server asked for, in sets of WANTED_WAYS; whoever is displaced will be
 * asked for again. */
#define WANTED_WAYS 4
struct client_wanted {
	uint64_t user;
	uint8_t domain;
	bool set;
};

struct wr_client {
	struct wr_client_options o;
	uint8_t key[WR_WIRE_KEY_BYTES];
	int epoll_fd, timer_fd;
	uint64_t armed_ns; /* of the timer; UINT64_MAX = off */
	uint64_t now_ns;   /* of this turn; callbacks submit with it */
	int64_t unix_ms;   /* the wall clock when the monotonic one stood at unix_at_ns */
	uint64_t unix_at_ns;
	bool inside, ending;
	bool segment, coalesce; /* UDP_SEGMENT, UDP_GRO are in use */

	uint32_t n_slots, slot_bits, n_free;
	struct client_slot *slots; /* max_outstanding, then one HELLO a server */
	uint8_t *data;             /* SLOT_BYTES each */
	uint32_t *free_slots;
	struct wr_rng rng;

	struct client_bucket wheel[WHEEL_SIZE];
	uint64_t wheel_bits[WHEEL_SIZE / 64];
	uint64_t wheel_tick; /* all up to this one fired */

	struct client_queue *queues; /* [server][port slot][source] */
	uint32_t *active, n_active, n_queued, n_queues;
	struct client_socket *sockets; /* [family][source] */
	struct client_server *servers;
	unsigned int n_servers;
	struct client_wanted *wanted;
	uint32_t wanted_mask, wanted_victim; /* sets - 1; how many were displaced */

	struct mmsghdr tx_msgs[BATCH];
	struct iovec tx_iov[BATCH];
	_Alignas(8) uint8_t tx_control[BATCH][CMSG_SPACE(sizeof(uint16_t))];
	uint16_t tx_n[BATCH]; /* datagrams in each message */

	uint8_t *rx_data;
	struct mmsghdr rx_msgs[RX_PLAIN];
	struct iovec rx_iov[RX_PLAIN];
	struct sockaddr_storage rx_from[RX_PLAIN];
	_Alignas(8) uint8_t rx_control[RX_PLAIN][CMSG_SPACE(sizeof(int))];

	struct wr_client_stats stats;
};

static inline uint32_t slot_index(const struct wr_client *c, const struct client_slot *s)
{
	return (uint32_t)(s - c->slots);
}
static inline uint8_t *slot_data(const struct wr_client *c, const struct client_slot *s)
{
	return c->data + (size_t)slot_index(c, s) * SLOT_BYTES;
}

/* timer.c */
void wr_client_timer_set(struct wr_client *c, struct client_slot *s, uint64_t deadline_ns);
void wr_client_timer_clear(struct wr_client *c, struct client_slot *s);
/* Calls wr_client_slot_due for every slot whose time has come. */
void wr_client_timer_expire(struct wr_client *c);
/* Makes the file descriptor readable when the next thing is due: now if requests wait to be sent.
 */
void wr_client_timer_arm(struct wr_client *c);

/* send.c */
/* Queues the slot for its server and shard port; sends the batch when it is full. */
void wr_client_send_queue(struct wr_client *c, struct client_slot *s);
void wr_client_send_unqueue(struct wr_client *c, struct client_slot *s);
void wr_client_send_flush(struct wr_client *c);

/* receive.c */
int wr_client_sockets_open(struct wr_client *c, int family, struct wr_errmsg *msg);
void wr_client_receive(struct wr_client *c, struct client_socket *k);

/* request.c */
/* Puts COOKIE, PAD and AUTH behind the body, for the slot's server. */
void wr_client_slot_seal(struct wr_client *c, struct client_slot *s);
/* A fresh id that finds the slot. */
void wr_client_slot_name(struct wr_client *c, struct client_slot *s);
/* One try more, on the best server; again at once or because of a time-out. */
void wr_client_slot_retry(struct wr_client *c, struct client_slot *s, bool timed_out);
/* The slot's timer fired. */
void wr_client_slot_due(struct wr_client *c, struct client_slot *s);
/* Ends a request: frees its slot, counts, calls back. m: the answer or NULL. */
void wr_client_slot_end(
	struct wr_client *c, struct client_slot *s, int result, const struct wr_message *m);
void wr_client_want_history(struct wr_client *c, uint64_t user, uint8_t domain);

/* answer.c */
void wr_client_answer_take(struct wr_client *c, const uint8_t *data, size_t bytes,
	const struct sockaddr_storage *from);

/* server.c */
/* The best server of a user; avoid (-1 = none) only when no other is up. */
unsigned int wr_client_server_choose(const struct wr_client *c, uint64_t user, int avoid);
unsigned int wr_client_server_port_slot(const struct client_server *v, uint64_t user);
uint16_t wr_client_server_port(const struct client_server *v, unsigned int port_slot);
void wr_client_server_hello(struct wr_client *c, unsigned int server);
void wr_client_server_hello_due(struct wr_client *c, struct client_slot *s);
void wr_client_server_hello_answered(
	struct wr_client *c, struct client_slot *s, const struct wr_message *m);
/* An answer came: up, cookie, epoch. */
void wr_client_server_alive(
	struct wr_client *c, unsigned int server, const struct wr_message *m, bool hello);
void wr_client_server_timed_out(struct wr_client *c, const struct client_slot *s);

#endif
