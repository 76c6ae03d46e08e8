/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A DPDK port with its queues and mbuf pool, the gate that makes its driver's control thread safe,
 * and the frame around a message: Ethernet, VLAN, IPv4/IPv6, UDP, taken apart with every length and
 * checksum verified, and turned round into the reply's. Built for 64 … 1,300-byte frames at some
 * millions a second a queue; one cache miss a frame.
 */
#ifndef WR_PORT_H
#define WR_PORT_H

#include "wr_base.h"
#include "wr_metrics.h"

#include <assert.h>

struct rte_mbuf;
struct rte_mempool;

#define WR_PORT_MAX_QUEUES 64
#define WR_PORT_MAX_BURST  64
#define WR_PORT_PRIV_BYTES 128 /* private area of every mbuf (rte_mbuf_to_priv), for its user */

/* ---- addresses ---- */
#define WR_PORT_MAX_ADDRESSES 32 /* of a family: 16 of this port alone and 16 service addresses */
/*
 * What a port listens to, in network order. The first n_own of each family belong to this port
 * alone: neighbours find them by ARP and neighbour discovery. The others are service addresses,
 * which several servers share: datagrams and echo requests for them are answered, ARP and
 * neighbour discovery are not (a router brings them here by a route to one of the own).
 */
struct wr_port_addresses {
	unsigned int n_ipv4, n_own_ipv4, n_ipv6, n_own_ipv6;
	uint8_t ipv4[WR_PORT_MAX_ADDRESSES][4];
	uint8_t ipv6[WR_PORT_MAX_ADDRESSES][16];
};

/* ---- the port ---- */
enum wr_port_kind {
	WR_PORT_MEMIF,  /* shared memory with another process */
	WR_PORT_AF_XDP, /* a kernel interface, shared with the kernel */
	WR_PORT_TAP,    /* an interface made for the kernel; we are what is behind it */
	WR_PORT_NIC,  /* a NIC that is bound to DPDK; EAL was told of it (wr_port_eal_arguments) */
	WR_PORT_VDEV, /* any virtual device of DPDK */
};
const char *wr_port_kind_name(enum wr_port_kind kind);
/* af_xdp: where the program runs (in the driver, or behind it), and whether frames are copied. */
enum wr_port_xdp_mode { WR_PORT_XDP_AUTO, WR_PORT_XDP_NATIVE, WR_PORT_XDP_GENERIC };
enum wr_port_xdp_copy { WR_PORT_XDP_COPY_AUTO, WR_PORT_XDP_COPY, WR_PORT_XDP_ZERO_COPY };

/* Strings outlive the port. */
struct wr_port_options {
	enum wr_port_kind kind;
	const char *socket;    /* memif: path of the unix socket */
	const char *interface; /* af_xdp: kernel interface to share; tap: name of the one to make */
	const char *device; /* nic: PCI address; vdev: devargs ("net_ring0", "net_null0,size=64"),
			       or the name of one that exists */
	unsigned int id;    /* memif: interface id on that socket */
	bool server;        /* memif: role; a server survives its peers */
	uint8_t mac[6];     /* all zero = the driver's */
	struct wr_port_addresses addresses;
	const char
		*kernel_tap;  /* name of the kernel's interface behind the port; NULL, "" = none */
	bool trust_checksums; /* UDP checksums of received frames are not looked at */
	enum wr_port_xdp_mode xdp_mode;
	enum wr_port_xdp_copy xdp_copy;
	unsigned int xdp_busy_budget; /* frames of one busy poll, 0 = the kernel's threads poll */
	uint16_t udp_port;            /* first port of the service */
	uint16_t n_udp_ports;         /* af_xdp: that are taken from the kernel */
	uint16_t n_queues;      /* pairs wanted; the port may offer fewer (wr_port_n_queues) */
	unsigned int ring_size; /* descriptors a queue, a power of two, at most 16,384 */
	unsigned int mtu;       /* largest IP packet that is received */
	unsigned int n_mbufs;   /* of the pool; 0 = what rings and bursts need */
	int socket_id;          /* NUMA socket of the pool */
};

struct wr_port;
/*
 * Creates the device, its pool and queues; nothing is received yet. EAL must run. On failure *p is
 * NULL and msg says what to mend: WR_EINVAL (a value, a path), WR_EPERM (socket folder), WR_EIO
 * (socket in use, device refused), WR_ENOMEM.
 */
int wr_port_open(
	struct wr_port **p, const struct wr_port_options *o, struct wr_errmsg *msg) WR_MUST_CHECK;
int wr_port_start(struct wr_port *p, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Control's share: what the kernel has changed meanwhile. Some ten times a second, main thread. */
void wr_port_tick(struct wr_port *p);
/* Stops and closes the device, frees the pool, removes the socket file. No worker may use the port
 * any more. */
void wr_port_close(struct wr_port *p);
/*
 * What can be known before EAL runs: values, and whether socket, interface or device can be had. A
 * stale socket of a dead memif server is removed. Same errors as open, which checks again.
 */
int wr_port_check(const struct wr_port_options *o, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Arguments that EAL needs for this port beside --in-memory or --no-huge; at most max, their
 * number. They point into o. */
#define WR_PORT_MAX_EAL_ARGUMENTS 4
unsigned int wr_port_eal_arguments(const struct wr_port_options *o, const char **args);

/* At most n frames of a queue into m, their number; and out of m, the number that the driver took
 * (it frees those). Only inside of a port section (below), on a live queue, by the queue's one
 * thread. */
uint16_t wr_port_receive(
	struct wr_port *p, unsigned int queue, struct rte_mbuf **m, unsigned int n);
uint16_t wr_port_transmit(
	struct wr_port *p, unsigned int queue, struct rte_mbuf **m, unsigned int n);
uint16_t wr_port_ethdev(const struct wr_port *p); /* ethdev port id */
struct rte_mempool *wr_port_pool(const struct wr_port *p);
bool wr_port_link_up(const struct wr_port *p);
/* Queue pairs that the port has: 1 … n_queues of the options. Queue i is worker i's; workers
 * beyond them live on hand-over. */
unsigned int wr_port_n_queues(const struct wr_port *p);
/* How a frame comes to the queue of the worker that its UDP port names. */
enum wr_port_spread {
	WR_PORT_SPREAD_ONE,      /* there is one queue: workers beyond it live on hand-over */
	WR_PORT_SPREAD_SENDER,   /* memif: the sender chooses */
	WR_PORT_SPREAD_FLOWS,    /* a flow rule for every UDP port and IP version */
	WR_PORT_SPREAD_RSS,      /* the NIC hashes the destination port alone; its table fits */
	WR_PORT_SPREAD_KERNEL,   /* af_xdp: as the kernel's driver was told, else hand-over */
	WR_PORT_SPREAD_HANDOVER, /* the port spreads as it likes, the workers mend it */
};
enum wr_port_spread wr_port_spread(const struct wr_port *p); /* once started */
const char *wr_port_spread_name(enum wr_port_spread how);
/* The address that the port answers under: port.mac where DPDK owns the port and it is set, else
 * the device's. */
void wr_port_mac(const struct wr_port *p, uint8_t mac[6]);
/* "memif /run/w.sock id 0", "tap wr0, 1 queue", …: one line for operators. */
void wr_port_describe(const struct wr_port *p, char *out, size_t size);
/*
 * The kernel tap: frames to the kernel's interface, and what the kernel sent there. Both by one
 * thread, which is inside of a port section. to_kernel: the number that the kernel took; the others
 * stay the caller's. At most n frames each, a system call of the driver for every one.
 */
bool wr_port_has_kernel_tap(const struct wr_port *p);
uint16_t wr_port_to_kernel(struct wr_port *p, struct rte_mbuf **m, unsigned int n);
uint16_t wr_port_from_kernel(struct wr_port *p, struct rte_mbuf **m, unsigned int n);
struct wr_frame_local;
/* Who we are on this port: its MAC, the options' addresses (af_xdp: any, and none that neighbours
 * ask for), n_ports UDP ports, and what the driver does about checksums. Errors as of
 * wr_frame_local_init. */
int wr_port_local(
	const struct wr_port *p, uint16_t n_ports, struct wr_frame_local *us) WR_MUST_CHECK;
/* Mbufs that open will create for these options, and the pool's bytes, for the memory plan. */
unsigned int wr_port_mbufs_needed(const struct wr_port_options *o);
uint64_t wr_port_bytes_needed(const struct wr_port_options *o);

/* What a started port is made of and what its driver counted since. */
struct wr_port_facts {
	char driver[32], device[64]; /* device: RTE_ETH_NAME_MAX_LEN */
	char interface[16];          /* the kernel's name of it; "" = the kernel does not know it */
	uint16_t rx_queues, tx_queues, mtu;
	uint16_t rx_descriptors, tx_descriptors; /* a queue; 0 = the driver does not tell */
	bool rx_checksum;                        /* the port verifies IPv4 and UDP checksums */
	int numa;                                /* -1 = any */
	unsigned int mbufs, mbufs_free;          /* of the pool; lcores' caches count as free */
	unsigned int xdp_sockets, xdp_zero_copy; /* of this process; the second of the first */
	bool xdp_native;                         /* our program runs in the driver */
	uint64_t xdp_passed;                     /* frames that it has passed to the kernel */
	uint64_t xdp_taken;                      /* and to us */
	uint64_t xdp_no_socket; /* ours, but in on a queue that is not served: to the kernel */
	uint64_t xdp_invalid;   /* buffers that the kernel refused: a fault of ours */
	uint64_t rx_missed, rx_errors, rx_no_mbuf, tx_errors;
};
/* Any thread, while the port is open. Takes a lock of nobody; some system calls. */
void wr_port_facts(const struct wr_port *p, struct wr_port_facts *f);

/*
 * ---- packet capture ----
 * One at a time, of every queue of the port, into a new pcapng file in a folder that only we may
 * write to. Bounded by packets, seconds and bytes, whichever comes first. Workers copy frames and
 * never wait: what finds no room is counted as missed and said in the file (interface statistics).
 * A transmitted frame is seen as it is offered to the driver. Any thread but a worker's.
 */
#define WR_CAPTURE_NAME        64  /* bytes of a file's name, NUL included */
#define WR_CAPTURE_PATH        320 /* of its path */
#define WR_CAPTURE_MAX_PACKETS 100000000u
#define WR_CAPTURE_MAX_SECONDS 86400u
#define WR_CAPTURE_MIN_SNAPLEN 64u
#define WR_CAPTURE_MAX_SNAPLEN 2048u
struct wr_capture_options {
	const char *folder; /* need not outlive start */
	const char *name;   /* letters, digits, '.', '_', '-' */
	uint32_t n_packets, seconds;
	uint32_t snaplen; /* bytes of a frame that are kept */
	uint64_t max_bytes;
	bool in, out;  /* directions */
	bool one_user; /* only messages from and to this user */
	uint64_t user;
};
enum wr_capture_state { WR_CAPTURE_NONE, WR_CAPTURE_RUNNING, WR_CAPTURE_DONE };
struct wr_capture_status {
	enum wr_capture_state state; /* what follows is of the one that runs, or ran last */
	char path[WR_CAPTURE_PATH];
	const char *why; /* it ended: packets, seconds, bytes, stopped, or what failed */
	uint64_t packets, missed, bytes, ns;
};
/* The port must be started. WR_EINVAL (values, the file exists), WR_ESTATE (one runs already),
 * WR_ENOENT and WR_EPERM (the folder), WR_EIO, WR_ENOMEM. */
int wr_capture_start(const struct wr_port *p, const struct wr_capture_options *o,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/* Ends it and completes the file; nothing to do is no error. wr_port_close calls it. */
void wr_capture_stop(void);
void wr_capture_status(struct wr_capture_status *out);
/* Memory that a capture of the longest frames takes while it runs, for the memory plan. */
uint64_t wr_capture_bytes_needed(unsigned int n_queues);

/*
 * ---- the gate ----
 * net_memif as a server unmaps a peer's rings in EAL's interrupt thread, when the peer goes,
 * whatever an lcore is doing with them. This part therefore stands between driver and EAL (it
 * defines rte_intr_callback_register and its companions): every interrupt callback runs only while
 * no worker is inside a port section, and a memif peer's requests are checked first (ring offsets
 * inside its regions, sizes, number of rings).
 *
 * A worker registers once, then per loop: `if (wr_gate_pass(g, id, &q)) { rx … tx }`. It must not
 * touch the port outside of that block, and must pass again in bounded time or go offline.
 * rte_rcu_qsbr finds the moment when all have passed.
 */
void wr_gate_worker_online(
	unsigned int worker); /* before its first pass; worker < WR_PORT_MAX_QUEUES */
void wr_gate_worker_offline(unsigned int worker); /* it blocks or ends */
/* One quiescent report and one load; false while a callback runs or waits: skip the port. n_live:
 * queue pairs that the peer has (0 … n_queues); only these may be used. No system call. */
bool wr_gate_pass(unsigned int worker, unsigned int *n_live);
/* Runs fn(arg) like a callback: no worker inside. From any thread but a worker's. */
void wr_gate_run(void (*fn)(void *arg), void *arg);
/*
 * The ethdev whose link decides how many queue pairs are live; one at a time in a process.
 * memif_server: peers' requests are checked. wr_port_open and wr_port_close do it; a user that
 * drives a device itself calls these, from a thread that is no worker or is offline.
 */
void wr_gate_attach(uint16_t ethdev, unsigned int n_queues, bool memif, bool memif_server);
void wr_gate_detach(void);
struct wr_gate_stats {
	uint64_t callbacks; /* that ran through the gate */
	uint64_t connects, disconnects;
	uint64_t refused; /* peers whose requests were unsound */
	uint64_t longest_wait_ns;
};
void wr_gate_stats(struct wr_gate_stats *out);

/* ---- frames ---- */
#define WR_FRAME_SLOTS      128 /* power of two, four times WR_PORT_MAX_ADDRESSES */
#define WR_FRAME_ASIDE_GROW 8   /* bytes that an answer aside may be longer than its request */

/* Who we are: made by wr_frame_local_init, then read-only; the head is what every frame needs. */
struct wr_frame_local {
	uint64_t mac_word;           /* our MAC as the first six bytes of a frame are loaded */
	uint16_t udp_port, n_ports;  /* host order: udp_port … udp_port + n_ports - 1 are ours */
	uint32_t known;              /* WR_FRAME_*_KNOWN that hold for every frame of this port */
	uint32_t n_ipv4, first_ipv4; /* first_ipv4: network order */
	uint32_t n_ipv6;
	bool any;          /* whatever arrives is for us: the kernel owns the addresses (af_xdp) */
	bool tx_checksums; /* the port fills in IPv4 and UDP checksums (offload.c) */
	uint8_t first_ipv6[16];
	/* the others: open addressing, index + 1 of an address, 0 = empty */
	uint8_t slot_ipv4[WR_FRAME_SLOTS], slot_ipv6[WR_FRAME_SLOTS];
	uint8_t mac[6];
	struct wr_port_addresses addresses;
};
/*
 * Fills us; known, any and tx_checksums are left 0. WR_EINVAL: too many addresses, one that stands
 * twice, or a UDP port beyond 65,535.
 */
int wr_frame_local_init(struct wr_frame_local *us, const uint8_t mac[6],
	const struct wr_port_addresses *a, uint16_t udp_port, uint16_t n_ports) WR_MUST_CHECK;

/* Where a message lies in its frame; what a reply needs. */
struct wr_frame {
	uint8_t source[16]; /* address of the sender, IPv4 as ::ffff:a.b.c.d */
	uint16_t l3_off, payload_off, payload_len; /* from the frame's first byte */
	/* Where the reply's payload goes: payload_off, less IPv4 options or IPv6 extension headers,
	 * which a reply does not repeat. */
	uint16_t reply_off;
	uint16_t src_port, dst_port; /* host order */
	bool ipv6;
};
/* Checksums that somebody has verified already, or that need no look. */
#define WR_FRAME_IP_KNOWN  1u
#define WR_FRAME_UDP_KNOWN 2u
/*
 * Takes one frame of len bytes apart: at most two VLAN tags, IPv4 with options, IPv6 with
 * hop-by-hop options, destination options and exhausted routing headers (8 headers, 256 bytes).
 * Returns WR_OUTCOME_answered when the payload is a datagram for us (f is filled), or the outcome
 * that the frame has earned. Trailing bytes behind the IP packet (Ethernet padding) are ignored.
 * Never reads outside [data, data + len). data: even, as every driver delivers it.
 */
enum wr_outcome wr_frame_parse(const struct wr_frame_local *us, const uint8_t *data, uint32_t len,
	uint32_t known, struct wr_frame *f);
/*
 * Turns the frame's headers into those of a reply with payload_len bytes that already stand at
 * reply_off: addresses and ports swapped, so that the reply comes from the address that was asked,
 * VLAN tags kept, lengths, TTL, checksums. used: bytes of the payload behind which there are zeros
 * only (payload_len when that is not known). offload: the port will fill in IPv4's and UDP's
 * checksum; the UDP field then holds the pseudo header's sum. Returns the frame's new length.
 */
uint32_t wr_frame_reply(
	uint8_t *data, const struct wr_frame *f, uint32_t payload_len, uint32_t used, bool offload);
/* Where the payload of a frame without tags, options and extensions stands, if it is a datagram:
 * a guess before anything was checked, below len; 0 = none. */
uint32_t wr_frame_guess_payload(const uint8_t *data, uint32_t len);
/*
 * ARP requests and neighbour solicitations (also those of duplicate address detection) for our own
 * addresses, echo requests (ICMP, ICMPv6) for any of ours are answered in place: the reply's
 * length, or 0 when the frame is none of these (then nothing was changed). The reply may be
 * WR_FRAME_ASIDE_GROW bytes longer than the request: that room must be there. Called for frames
 * that wr_frame_parse found not ours.
 */
uint32_t wr_frame_aside(const struct wr_frame_local *us, uint8_t *data, uint32_t len);
/* Whether the frame says that another station has one of our own addresses (ARP's sender, a
 * neighbour advertisement's target). */
bool wr_frame_is_conflict(const struct wr_frame_local *us, const uint8_t *data, uint32_t len);
/*
 * The announcement of own address i, 0 … n_own_ipv4 + n_own_ipv6 - 1 (IPv4 first): a gratuitous ARP
 * request, or an unsolicited neighbour advertisement to all nodes, so that neighbours forget who
 * had the address before. Its length; room for WR_FRAME_ANNOUNCE_BYTES.
 */
#define WR_FRAME_ANNOUNCE_BYTES 86
uint32_t wr_frame_announce(const struct wr_frame_local *us, unsigned int i, uint8_t *data);

/* wr_frame_parse of a received mbuf's bytes (data: the frame, or a copy of it), with what its port
 * says of the checksums; and wr_frame_reply within its request's mbuf, with lengths and what the
 * port is to fill in. */
enum wr_outcome wr_port_parse(const struct wr_frame_local *us, const struct rte_mbuf *m,
	const uint8_t *data, struct wr_frame *f);
void wr_port_reply(const struct wr_frame_local *us, struct rte_mbuf *m, const struct wr_frame *f,
	uint32_t payload_len, uint32_t used);
/*
 * Writes headers of a UDP datagram with payload_len bytes (already at the returned offset) from src
 * to dst, for clients and tests; f describes the result. Addresses in network order, IPv4 as
 * ::ffff:a.b.c.d. Room for 62 bytes of headers.
 */
uint16_t wr_frame_headers_bytes(bool ipv6);
uint32_t wr_frame_build(uint8_t *data, const uint8_t src_mac[6], const uint8_t dst_mac[6],
	const uint8_t src[16], const uint8_t dst[16], uint16_t src_port, uint16_t dst_port,
	uint16_t payload_len);

#endif
