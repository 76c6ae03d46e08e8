/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Daemon configuration: one schema table, an INI file, --set overrides. One row of WR_CONFIG_KEYS
 * makes the field of struct wr_config (section_key), its parser, its default, its line in
 * --dump-config and its row in docs/operations.md.
 *
 *   struct wr_config c;
 *   wr_config_init(&c);                                    defaults
 *   wr_config_read(&c, "wirerank.ini", &msg)               file: unknown or repeated keys and bad
 * values are errors wr_config_set(&c, "server.isa=ref", &msg)              command line, last one
 * wins wr_config_check(&c, &msg)                              what no single key can know
 *
 * Read at start only; a few tens of keys.
 */
#ifndef WR_CONFIG_H
#define WR_CONFIG_H

#include "wr_base.h"

#define WR_CONFIG_MAX_STRING    256 /* bytes, NUL included */
#define WR_CONFIG_MAX_LCORES    64  /* WR_WIRE_MAX_PORTS: every worker has a UDP port */
#define WR_CONFIG_MAX_PREFIXES  32
#define WR_CONFIG_MAX_OWN       16   /* of each family */
#define WR_CONFIG_MAX_ADDRESSES 16   /* of both together */
#define WR_CONFIG_MAX_VALUE     2048 /* bytes of any value's text; 32 IPv6 prefixes take 1,500 */

/*
 * X(section, key, type, unit, default, min, max, reloadable, choices, help)
 * min and max: of the number; of the length for NAME and STRING; of the count for CPUS and
 * PREFIXES;
 * max: of the count for IPV4S, IPV6S and IPS.
 */
/* clang-format off */
#define WR_CONFIG_KEYS(X) \
	X(server, name, NAME, "characters", "wirerank", 1, 31, false, NULL, \
		"name of this daemon: DPDK file prefix, and where wrctl finds it") \
	X(server, isa, ENUM, "", "auto", 0, 0, false, "auto|ref|avx2|avx512vnni|amx", \
		"level of the int8 kernels; auto = the best that this CPU has; all give the same answers") \
	X(server, gemm, ENUM, "", "auto", 0, 0, false, "auto|own|onednn", \
		"matrix products: auto times own kernels and oneDNN for every shape at start and takes oneDNN where it is within 5 %; onednn needs a CPU with VNNI") \
	X(server, lcores, CPUS, "CPUs", "1", 1, WR_CONFIG_MAX_LCORES, false, NULL, \
		"CPUs of the workers, such as 1 or 0,1 or 2-5; worker i serves queue i, where the port has it, and UDP port udp_port + i") \
	X(server, realtime, U64, "", "0", 0, 99, false, NULL, \
		"0 = workers are ordinary threads; 1 … 99 = SCHED_FIFO of that priority: nothing ordinary runs on their " \
		"CPUs; see Real-time workers") \
	X(bundle, path, STRING, "characters", "", 1, WR_CONFIG_MAX_STRING - 1, false, NULL, \
		"the bundle that wrtrain pack wrote; has no default") \
	X(port, kind, ENUM, "", "memif", 0, 0, false, "memif|af_xdp|tap|nic|vdev", \
		"what requests arrive on: memif = shared memory with another process of this machine, af_xdp = a " \
		"kernel interface shared with the kernel, tap = an interface made for the kernel, nic = a NIC bound " \
		"to DPDK, vdev = any virtual device of DPDK") \
	X(port, interface, STRING, "characters", "", 1, 15, false, NULL, \
		"af_xdp: the kernel interface to share; tap: name of the interface to make") \
	X(port, device, STRING, "characters", "", 1, WR_CONFIG_MAX_STRING - 1, false, NULL, \
		"nic: PCI address, such as 0000:03:00.0; vdev: name and arguments, such as net_ring0") \
	X(port, xdp_mode, ENUM, "", "auto", 0, 0, false, "auto|native|generic", \
		"af_xdp: where the program runs: native = in the driver, generic = behind it, auto = in the driver " \
		"where that can do it") \
	X(port, xdp_copy, ENUM, "", "auto", 0, 0, false, "auto|copy|zero_copy", \
		"af_xdp: copy = frames are copied, zero_copy = refuse to start without zero-copy, auto = zero-copy " \
		"where driver and hugepages allow it") \
	X(port, xdp_busy_budget, U64, "frames", "0", 0, 1024, false, NULL, \
		"af_xdp: 0 = the kernel polls the interface; else frames that a worker takes through its driver in " \
		"one busy poll, on CPUs that are the workers' alone") \
	X(port, socket, STRING, "characters", "/run/wirerank/memif.sock", 1, 107, false, NULL, \
		"memif: path of the control socket; its folder must exist") \
	X(port, id, U64, "", "0", 0, 65535, false, NULL, "memif: interface id, equal on both sides") \
	X(port, role, ENUM, "", "server", 0, 0, false, "server|client", \
		"memif: the server makes the socket and waits for a peer, a client connects to one") \
	X(port, mac, MAC, "", "02:00:00:00:47:00", 0, 0, false, NULL, "Ethernet address of the port") \
	X(port, ipv4, IPV4S, "addresses", "10.47.0.1", 0, WR_CONFIG_MAX_OWN, false, NULL, \
		"IPv4 addresses of this port alone: ARP and echo requests for them are answered") \
	X(port, ipv6, IPV6S, "addresses", "fd47::1", 0, WR_CONFIG_MAX_OWN, false, NULL, \
		"IPv6 addresses of this port alone: neighbour solicitations and echo requests for them are answered") \
	X(port, service, IPS, "addresses", "none", 0, WR_CONFIG_MAX_ADDRESSES, false, NULL, \
		"addresses that several servers share: served, echo requests answered, ARP and neighbour " \
		"solicitations not; routers need a route to them by way of ipv4 or ipv6") \
	X(port, rx_checksum, ENUM, "", "verify", 0, 0, false, "verify|trust", \
		"UDP checksums of what arrives: trust takes every one for right (virtual links hand over unfinished ones)") \
	X(port, kernel_tap, NAME, "characters", "", 1, 15, false, NULL, \
		"name of an interface to make for the kernel: it gets every frame that is not ours, and what it sends " \
		"leaves by the port (BGP, SSH); has no default, which means none") \
	X(port, udp_port, U64, "", "4700", 1, 65535, false, NULL, \
		"UDP port of worker 0; the other workers' ports follow") \
	X(port, ring_size, U64, "log2 of descriptors", "10", 10, 14, false, NULL, \
		"descriptors of every receive and transmit ring, as a power of two") \
	X(port, mtu, U64, "bytes", "1500", 1280, 9000, false, NULL, \
		"largest IP packet that is received; the largest request makes one of 1,280 bytes") \
	X(sessions, rows_per_lcore, U64, "rows", "65536", 128, 67108864, false, NULL, \
		"users that each worker remembers; the least recently used is evicted") \
	X(corridor, burst, U64, "frames", "64", 1, 64, false, NULL, \
		"frames that go through the stages together, at most") \
	X(corridor, gather, U64, "us", "5", 0, 1000, false, NULL, \
		"time that a burst may wait for more frames under load, so that it is worth its work; 0 = never") \
	X(corridor, handover_ring, POW2, "entries", "1024", 64, 65536, false, NULL, \
		"requests that may wait between two workers") \
	X(admit, allow, PREFIXES, "prefixes", "0.0.0.0/0, ::/0", 1, WR_CONFIG_MAX_PREFIXES, false, NULL, \
		"sources that are served; frames of others are dropped and counted as denied_source") \
	X(admit, cookie_rotate_s, U64, "s", "600", 1, 86400, false, NULL, \
		"age at which the secret behind cookies is replaced; the one before it stays valid as long again") \
	X(memory, huge, ENUM, "", "auto", 0, 0, false, "auto|yes|no", \
		"hugepages: yes = refuse to start without, no = ordinary pages, auto = fall back with a warning") \
	X(memory, limit, BYTES, "bytes", "0", 0, 1099511627776, false, NULL, \
		"start is refused when the memory plan is larger; 0 = the machine's free memory decides") \
	X(control, capture_folder, STRING, "characters", "/run/wirerank/capture", 1, 200, false, NULL, \
		"where wrctl capture may write, a folder that nobody else can write to; none = nowhere") \
	X(control, capture_limit, BYTES, "bytes", "256M", 65536, 1099511627776, false, NULL, \
		"largest file of a packet capture")
/* clang-format on */

/* Values of ENUM keys, in the order of their choices (a test compares them). */
enum wr_config_isa {
	WR_CONFIG_ISA_AUTO,
	WR_CONFIG_ISA_REF,
	WR_CONFIG_ISA_AVX2,
	WR_CONFIG_ISA_AVX512VNNI,
	WR_CONFIG_ISA_AMX
};
enum wr_config_gemm { WR_CONFIG_GEMM_AUTO, WR_CONFIG_GEMM_OWN, WR_CONFIG_GEMM_ONEDNN };
enum wr_config_kind {
	WR_CONFIG_KIND_MEMIF,
	WR_CONFIG_KIND_AF_XDP,
	WR_CONFIG_KIND_TAP,
	WR_CONFIG_KIND_NIC,
	WR_CONFIG_KIND_VDEV
};
enum wr_config_xdp_mode {
	WR_CONFIG_XDP_MODE_AUTO,
	WR_CONFIG_XDP_MODE_NATIVE,
	WR_CONFIG_XDP_MODE_GENERIC
};
enum wr_config_xdp_copy {
	WR_CONFIG_XDP_COPY_AUTO,
	WR_CONFIG_XDP_COPY_COPY,
	WR_CONFIG_XDP_COPY_ZERO_COPY
};
enum wr_config_role { WR_CONFIG_ROLE_SERVER, WR_CONFIG_ROLE_CLIENT };
enum wr_config_rx_checksum { WR_CONFIG_RX_CHECKSUM_VERIFY, WR_CONFIG_RX_CHECKSUM_TRUST };
enum wr_config_huge { WR_CONFIG_HUGE_AUTO, WR_CONFIG_HUGE_YES, WR_CONFIG_HUGE_NO };

struct wr_config_cpus {
	uint32_t n;
	uint16_t cpu[WR_CONFIG_MAX_LCORES]; /* distinct, in the order given: worker i runs on cpu[i]
					     */
};
/* Addresses in network order; IPv4 in the first four bytes, the others 0. */
struct wr_config_addresses {
	uint32_t n; /* 0 = none */
	struct wr_config_address {
		bool v6;
		uint8_t addr[16];
	} a[WR_CONFIG_MAX_ADDRESSES];
};
struct wr_config_prefixes {
	uint32_t n;
	struct wr_config_prefix {
		bool v6;
		uint8_t bits;     /* 0 … 32 or 128 */
		uint8_t addr[16]; /* network order, bits behind the prefix are 0 */
	} prefix[WR_CONFIG_MAX_PREFIXES];
};
struct wr_config_mac {
	uint8_t addr[6];
};

#define WR_CONFIG_FIELD_NAME(f)     char f[WR_CONFIG_MAX_STRING];
#define WR_CONFIG_FIELD_STRING(f)   char f[WR_CONFIG_MAX_STRING];
#define WR_CONFIG_FIELD_U64(f)      uint64_t f;
#define WR_CONFIG_FIELD_POW2(f)     uint64_t f;
#define WR_CONFIG_FIELD_BYTES(f)    uint64_t f;
#define WR_CONFIG_FIELD_ENUM(f)     unsigned int f;
#define WR_CONFIG_FIELD_CPUS(f)     struct wr_config_cpus f;
#define WR_CONFIG_FIELD_MAC(f)      struct wr_config_mac f;
#define WR_CONFIG_FIELD_IPV4S(f)    struct wr_config_addresses f;
#define WR_CONFIG_FIELD_IPV6S(f)    struct wr_config_addresses f;
#define WR_CONFIG_FIELD_IPS(f)      struct wr_config_addresses f;
#define WR_CONFIG_FIELD_PREFIXES(f) struct wr_config_prefixes f;

#define WR_CONFIG_ENUM(section, key, type, ...)  WR_CONFIG_##section##_##key,
#define WR_CONFIG_FIELD(section, key, type, ...) WR_CONFIG_FIELD_##type(section##_##key)

/* WR_CONFIG_port_udp_port …: indices of the schema rows. */
enum wr_config_id { WR_CONFIG_KEYS(WR_CONFIG_ENUM) WR_CONFIG_N };

/* The fields are named section_key: c.port_udp_port, c.server_lcores.n … */
struct wr_config {
	WR_CONFIG_KEYS(WR_CONFIG_FIELD)
	/* Where the values came from: 0 = default, > 0 = line of file, -1 = --set. */
	int32_t origin[WR_CONFIG_N];
	char file[WR_CONFIG_MAX_STRING]; /* "" = none was read */
};

struct wr_config_key {
	const char *section, *key, *type, *unit, *def;
	uint64_t min, max;
	bool reloadable;     /* may change without a restart */
	const char *choices; /* ENUM: words separated by '|' */
	const char *help;
};
extern const struct wr_config_key wr_config_keys[WR_CONFIG_N];

/* Defaults everywhere. */
void wr_config_init(struct wr_config *c);
/*
 * Reads an INI file (at most 1 MiB, lines up to 1,000 bytes; "key = value", comments "# …" or "; …"
 * on lines of their own, "value ; comment" behind a value). The first error ends it and names
 * FILE:LINE, the cause and the mend; c is then half changed and must not be used. WR_ENOENT,
 * WR_EIO, WR_EFORMAT (syntax, unknown or repeated key), WR_EINVAL (value).
 */
int wr_config_read(struct wr_config *c, const char *path, struct wr_errmsg *msg) WR_MUST_CHECK;
/* The same from memory; source stands for the file's name. One call at a time in a process (libinih
 * has globals). */
int wr_config_parse(struct wr_config *c, const char *text, size_t bytes, const char *source,
	struct wr_errmsg *msg) WR_MUST_CHECK;
/* "section.key=value". May be repeated; the last one wins. */
int wr_config_set(struct wr_config *c, const char *assignment, struct wr_errmsg *msg) WR_MUST_CHECK;
/*
 * Takes every "--set A" and "--set=A" out of argv, so that wr_opt_parse need not know them; the A's
 * go to sets. WR_EINVAL: a --set without a value, or more than max.
 */
int wr_config_take_sets(int *argc, char **argv, const char **sets, unsigned int max,
	unsigned int *n, struct wr_errmsg *msg) WR_MUST_CHECK;
/* Rules over several keys: a bundle is named, an address is set, the workers' UDP ports fit.
 * WR_EINVAL. */
int wr_config_check(const struct wr_config *c, struct wr_errmsg *msg) WR_MUST_CHECK;

/* Text of key id's value, as the file would hold it, and of its origin ("default", "FILE:LINE",
 * "--set"). NUL-terminated, cut at size. */
void wr_config_value(const struct wr_config *c, enum wr_config_id id, char *out, size_t size);
void wr_config_origin(const struct wr_config *c, enum wr_config_id id, char *out, size_t size);
/* What a value of this key must look like: "a number from 1 to 64 (frames)". */
void wr_config_expects(enum wr_config_id id, char *out, size_t size);
/* Every key with its value and origin, as an INI file that reads back to the same values (an unset
 * bundle.path is left out behind a '#'). */
void wr_config_dump(const struct wr_config *c, FILE *out);
/* Every key as a row of a Markdown table, for docs/operations.md. */
void wr_config_document(FILE *out);

#endif
