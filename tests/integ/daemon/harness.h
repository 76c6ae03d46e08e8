/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A real wirerankd in a process of its own and a real memif peer in this one: start, talk, stop.
 * Everything aborts with a line when the surroundings fail (no daemon, no link); what the daemon
 * answers is the tests' matter.
 */
#ifndef WR_HARNESS_H
#define WR_HARNESS_H

#include "wr_port.h"
#include "wr_wire.h"

#include <sys/types.h>

#define HARNESS_UDP_PORT 4700

struct daemon {
	pid_t pid;
	int out; /* its stdout */
	char dir[64], socket[96], bundle[96], name[32];
	unsigned int n_workers;
};
/* What the daemon said of itself when it stopped. */
struct daemon_end {
	int status; /* of waitpid */
	unsigned long long received, answered, answered_error, drained, outcomes, handed_over,
		deferred, peers;
	bool said; /* the line came */
};

/* EAL of this process: ordinary pages, no telemetry, one lcore. */
void harness_eal(void);
/* Removes what EAL of a process that is gone has left. */
void harness_clean(pid_t pid);
/* A folder under /tmp with a random bundle of n_items; sets every name. */
void daemon_prepare(struct daemon *d, uint32_t n_items, unsigned int n_workers);
/* Starts it with two or more --set=… arguments (NULL ends them) and waits for its ready line. */
void daemon_start(struct daemon *d, const char *const *sets);
/* Starts it and waits for its end: exit status, its last line on stderr. For starts that fail. */
int daemon_try(struct daemon *d, const char *const *sets, char *line, size_t size);
/* SIGTERM, then its end; checks that nothing is left behind: returns false when something is. */
bool daemon_stop(struct daemon *d, struct daemon_end *end);
/* SIGKILL: leaves behind what it leaves. */
void daemon_kill(struct daemon *d);
void daemon_remove(struct daemon *d);

struct peer {
	struct wr_port *port;
	uint16_t n_queues;
	uint8_t mac[6], daemon_mac[6];
	struct wr_wire_cookie cookie;
	bool has_cookie, ipv6;
	uint64_t next_id;
	uint64_t sent, got;
};
void peer_connect(struct peer *p, const struct daemon *d, uint16_t n_queues);
void peer_close(struct peer *p);

/* Sends a message (payload) to UDP port base + port on a queue. */
void peer_send(
	struct peer *p, unsigned int queue, unsigned int port, const void *payload, size_t bytes);
/* Sends n messages in one burst on one queue. */
struct outgoing {
	uint8_t bytes[WR_WIRE_MAX_BYTES];
	int size;
	unsigned int port;
};
void peer_send_burst(struct peer *p, unsigned int queue, const struct outgoing *o, unsigned int n);
/* Sends any bytes as a frame. */
void peer_send_frame(struct peer *p, unsigned int queue, const void *frame, size_t bytes);
/* The next frame that comes back within ms; its bytes (0 = none came). */
size_t peer_receive_frame(struct peer *p, void *frame, size_t size, unsigned int ms);
/* The next answer: decoded into m, which points into buffer. Checks frame and checksums. False:
 * none within ms. */
struct answer {
	struct wr_message m;
	uint8_t bytes[2048];
	uint16_t from_port;
};
bool peer_receive(struct peer *p, struct answer *a, unsigned int ms);
/* send, then receive the answer with that request id (2 s). */
bool peer_ask(struct peer *p, unsigned int queue, unsigned int port, const struct outgoing *o,
	struct answer *a);
/* HELLO, padded; keeps the cookie. */
bool peer_hello(struct peer *p, struct answer *a);

/* Messages; sections are added with wr_writer_*, then outgoing_end. */
void outgoing_begin(struct outgoing *o, struct wr_writer *w, struct peer *p, uint8_t op,
	uint64_t user, uint16_t flags);
/* Adds the cookie when the peer has one, pads to `bytes`, finishes. */
void outgoing_end(struct outgoing *o, struct wr_writer *w, struct peer *p, size_t bytes);

#endif
