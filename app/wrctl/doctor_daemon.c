/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon: what it runs with, its port, its traffic since the start and while we looked. */
#include "doctor.h"
#include "wr_metrics.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));
	return s ? s : "";
}

static void check_state(struct doctor *d)
{
	const char *state = text_of(d->status, "state");
	doctor_value(d, "daemon", "%s, version %s, process %d, up %.1f s", state,
		text_of(d->status, "version"), d->pid,
		(double)number_at(d->status, "uptime_ms") / 1e3);
	if (strcmp(state, "serving") != 0)
		doctor_bad(d, "it does not serve; its stderr says why");
}

static void check_level(struct doctor *d)
{
	const char *isa = text_of(d->status, "isa"), *gemm = text_of(d->status, "gemm");
	char flags[4096];
	(void)proc_value(d->sysroot, "/proc/cpuinfo", "flags", flags, sizeof(flags));
	doctor_value(d, "daemon.kernels", "%s, matrix products by %s", isa, gemm);
	bool vnni = strstr(flags, " avx512_vnni"), amx = vnni && strstr(flags, " amx_int8");
	const char *most = amx ? "amx" : vnni ? "avx512vnni" : "avx2";
	if (d->config.server_isa != WR_CONFIG_ISA_AUTO && strcmp(isa, most))
		doctor_hint(d, "this CPU can do more: server.isa = auto");
}

static void check_clock(struct doctor *d)
{
	double ms = (double)((int64_t)number_at(d->machine, "unix_us") / 1000 - d->asked_unix_ms);
	doctor_value(d, "daemon.clock", "%+.0f ms against the system's", ms);
	if (ms > 100.0 || ms < -100.0)
		doctor_bad(d, "the daemon's main thread does not run (it sets the clock ten times "
			      "a second): see whether a CPU is free for it");
}

static void check_bundle(struct doctor *d)
{
	struct stat st;
	doctor_value(d, "daemon.bundle", "version %" PRIu64 ", generation %" PRIu64 ", %s",
		number_at(d->status, "bundle_version"), number_at(d->status, "generation"),
		d->config.bundle_path);
	int64_t started_ms = d->asked_unix_ms - (int64_t)number_at(d->status, "uptime_ms");
	if (d->config.bundle_path[0] == '/' && !stat(d->config.bundle_path, &st) &&
		st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 > started_ms)
		doctor_hint(d,
			"the file is newer than the daemon, which serves what it was before: "
			"restart it");
}

static void check_sessions(struct doctor *d)
{
	uint64_t used = number_at(d->status, "sessions"),
		 rows = number_at(d->status, "session_rows"),
		 evicted = number_at(d->stats, "counter/sessions_evicted"),
		 recent = evicted - number_at(d->stats_before, "counter/sessions_evicted");
	doctor_value(d, "daemon.sessions", "%" PRIu64 " of %" PRIu64 " rows, %" PRIu64 " evicted",
		used, rows, evicted);
	if (recent)
		doctor_hint(d,
			"users are forgotten for new ones (%" PRIu64 " just now): raise "
			"sessions.rows_per_lcore",
			recent);
}

/* ---- port ---- */
static void check_link(struct doctor *d)
{
	bool up = !strcmp(text_of(d->status, "link"), "up");
	uint64_t refused = number_at(d->status, "peers_refused");
	doctor_value(d, "port.link",
		"%s; peers connected %" PRIu64 ", left %" PRIu64 ", refused %" PRIu64,
		text_of(d->status, "link"), number_at(d->status, "peers_connected"),
		number_at(d->status, "peers_left"), refused);
	if (!up)
		doctor_hint(
			d, !strcmp(text_of(d->port, "driver"), "net_memif")
				   ? "no peer is connected to the memif socket: start the client"
				   : "the link is down: ip link set IFACE up, check the cable");
	if (refused)
		doctor_hint(d, "peers asked for rings outside their memory: somebody with access "
			       "to the socket is broken or hostile");
}

static void check_queues(struct doctor *d)
{
	uint64_t rx = number_at(d->port, "rx_queues"), workers = number_at(d->status, "workers");
	doctor_value(d, "port.queues",
		"%s %s: %" PRIu64 " receive and %" PRIu64 " transmit queues, %" PRIu64 " workers",
		text_of(d->port, "driver"), text_of(d->port, "device"), rx,
		number_at(d->port, "tx_queues"), workers);
	if (rx < workers)
		doctor_hint(d,
			"%" PRIu64 " workers live by hand-over; ethtool -L IFACE combined %" PRIu64
			" where the NIC can",
			workers - rx, workers);
	uint64_t descriptors = number_at(d->port, "rx_descriptors");
	if (!descriptors)
		descriptors = (uint64_t)1 << d->config.port_ring_size;
	doctor_value(d, "port.rings", "%" PRIu64 " descriptors a queue", descriptors);
	uint64_t full = number_at(d->port, "rx_missed") + number_at(d->stats, "outcome/tx_full");
	if (full > number_at(d->stats, "counter/received") / 1000 && descriptors < 16384)
		doctor_hint(d,
			"frames were lost at full rings (a ring holds %" PRIu64 " µs of a million "
			"frames a second): port.ring_size = %u",
			descriptors, (unsigned int)d->config.port_ring_size + 1);
	doctor_value(d, "port.checksums",
		number_at(d->port, "rx_checksum") ? "verified by the port"
						  : "verified in software");
}

static void check_copy(struct doctor *d)
{
	uint64_t sockets = number_at(d->port, "xdp_sockets"),
		 zero = number_at(d->port, "xdp_zero_copy");
	if (!sockets && strcmp(text_of(d->port, "driver"), "net_af_xdp"))
		return;
	doctor_value(d, "port.xdp",
		"%s; the program took %" PRIu64 " datagrams and passed %" PRIu64
		" frames to the kernel",
		number_at(d->port, "xdp_native") ? "native" : "generic",
		number_at(d->port, "xdp_taken"), number_at(d->port, "xdp_passed"));
	if (!number_at(d->port, "xdp_native"))
		doctor_hint(d, "generic XDP runs behind the driver, with a copy more: see whether "
			       "the driver has native XDP (port.xdp_mode = native says why not)");
	if (number_at(d->port, "xdp_no_socket"))
		doctor_bad(d,
			"%" PRIu64 " datagrams came in on receive queues without a socket and went "
			"to the kernel: steer the service's UDP ports to the first queues (ethtool "
			"-N) or lower their number (ethtool -L)",
			number_at(d->port, "xdp_no_socket"));
	if (number_at(d->port, "xdp_invalid"))
		doctor_bad(d, "the kernel refused %" PRIu64 " descriptors: report this",
			number_at(d->port, "xdp_invalid"));
	doctor_value(d, "port.copy", "%" PRIu64 " AF_XDP sockets, %" PRIu64 " of them zero copy",
		sockets, zero);
	if (zero < sockets)
		doctor_hint(d, "copy mode: the kernel copies every frame; a NIC whose driver has "
			       "AF_XDP zero copy (ice, i40e, ixgbe, mlx5 …) does without");
}

static void check_buffers(struct doctor *d)
{
	uint64_t all = number_at(d->port, "mbufs"), free = number_at(d->port, "mbufs_free");
	doctor_value(d, "port.buffers", "%" PRIu64 " of %" PRIu64 " free", free, all);
	if (number_at(d->port, "rx_no_mbuf") || free < all / 20)
		doctor_bad(d, "packet buffers run out, frames are lost: lower port.ring_size or "
			      "corridor.handover_ring, or report this");
	uint64_t missed = number_at(d->port, "rx_missed"), errors = number_at(d->port, "rx_errors"),
		 out = number_at(d->port, "tx_errors");
	doctor_value(d, "port.driver",
		"missed %" PRIu64 ", receive errors %" PRIu64 ", transmit errors %" PRIu64, missed,
		errors, out);
	if (missed)
		doctor_hint(d, "the driver had no descriptor when frames came: raise "
			       "port.ring_size, add workers");
	if (errors)
		doctor_hint(d, "damaged frames: ethtool -S IFACE, check cable and switch");
}

void doctor_daemon(struct doctor *d)
{
	check_state(d);
	check_level(d);
	check_clock(d);
	check_bundle(d);
	check_sessions(d);
	check_link(d);
	if (!d->port)
		return;
	check_queues(d);
	check_copy(d);
	check_buffers(d);
}

/* ---- traffic ---- */
/* What to do about frames that ended without an answer. capacity: this machine lost them. */
static const struct {
	enum wr_outcome outcome;
	bool capacity;
	const char *change;
} advice[] = {
	{WR_OUTCOME_frame_not_ours, false,
		"others' frames reach this port: check port.ipv4, "
		"port.ipv6 and what is steered here"},
	{WR_OUTCOME_frame_short, false, "a sender cuts its frames"},
	{WR_OUTCOME_frame_bad_ip, false,
		"a sender leaves checksums out: ethtool -K IFACE tx off on "
		"its side of a virtual link"},
	{WR_OUTCOME_frame_bad_udp, false,
		"a sender leaves checksums out: ethtool -K IFACE tx off "
		"on its side of a virtual link"},
	{WR_OUTCOME_frame_fragment, false,
		"requests above the path's MTU: keep them below 1,280 "
		"bytes"},
	{WR_OUTCOME_frame_other_port, false,
		"a sender uses another UDP port than HELLO names, or "
		"port.udp_port differs"},
	{WR_OUTCOME_frame_segments, false,
		"frames longer than a buffer: lower the sender's MTU to "
		"port.mtu"},
	{WR_OUTCOME_wire_short, false, "a sender of something else than this protocol"},
	{WR_OUTCOME_wire_length, false, "a sender of something else than this protocol"},
	{WR_OUTCOME_wire_not_request, false,
		"answers come back to us: two servers talk to each "
		"other, or a spoofed source"},
	{WR_OUTCOME_denied_source, false, "add the clients to admit.allow, or find who else asks"},
	{WR_OUTCOME_short_unproven, false,
		"clients do not pad and show no cookie: use libwirerank "
		"or read docs/protocol.md"},
	{WR_OUTCOME_deadline, true,
		"requests waited longer than their budget: fewer a worker (more "
		"server.lcores), or a longer budget"},
	{WR_OUTCOME_handover_full, true,
		"raise corridor.handover_ring; let clients follow the shard "
		"table of HELLO"},
	{WR_OUTCOME_tx_full, true,
		"the peer does not empty its ring, or too much comes at once: "
		"raise port.ring_size, add workers"},
	{WR_OUTCOME_drained, false, "frames were in hand when the daemon stopped"},
};

static const char *change_of(unsigned int outcome, bool *capacity)
{
	*capacity = false;
	for (unsigned int i = 0; i < WR_ARRAY_LEN(advice); i++)
		if (advice[i].outcome == outcome) {
			*capacity = advice[i].capacity;
			return advice[i].change;
		}
	return "see docs/operations.md";
}

/* One finding for every way of dropping that was used; a lost share of a thousandth is a hint,
 * of a hundredth, or any just now for want of capacity, is bad. */
static void check_drops(struct doctor *d, uint64_t received)
{
	uint64_t dropped = 0;
	for (unsigned int i = 0; i < WR_OUTCOME_N; i++) {
		char path[64], check[64];
		bool capacity;
		snprintf(path, sizeof(path), "outcome/%s", wr_outcome_desc[i].name);
		uint64_t n = number_at(d->stats, path),
			 recent = n - number_at(d->stats_before, path);
		if (!wr_outcome_is_drop(i) || !n)
			continue;
		dropped += n;
		const char *change = change_of(i, &capacity);
		double share = received ? (double)n / (double)received : 0.0;
		snprintf(check, sizeof(check), "drops.%s", wr_outcome_desc[i].name);
		doctor_value(d, check, "%" PRIu64 " (%.3f %% of received), %.0f/s now: %s", n,
			100.0 * share, d->seconds > 0.0 ? (double)recent / d->seconds : 0.0,
			wr_outcome_desc[i].help);
		if (share > 0.01 || (capacity && recent))
			doctor_bad(d, "%s", change);
		else if (share > 0.001)
			doctor_hint(d, "%s", change);
	}
	doctor_value(d, "drops", "%" PRIu64 " of %" PRIu64 " frames", dropped, received);
}

static void check_busy(struct doctor *d)
{
	char text[512] = "";
	double most = 0.0;
	for (size_t i = 0; i < json_array_size(d->worker); i++) {
		json_t *now = json_array_get(d->worker, i);
		json_t *before = json_object_get(json_array_get(d->worker_before, i), "cycles");
		const char *stage;
		json_t *cycles;
		uint64_t all = 0, idle = 0;
		json_object_foreach(json_object_get(now, "cycles"), stage, cycles)
		{
			uint64_t spent =
				(uint64_t)json_integer_value(cycles) - number_at(before, stage);
			all += spent;
			idle += strcmp(stage, "idle") ? 0 : spent;
		}
		double busy = all ? 1.0 - (double)idle / (double)all : 0.0;
		most = WR_MAX(most, busy);
		size_t at = strlen(text);
		if (at < sizeof(text) - 1)
			snprintf(text + at, sizeof(text) - at, "%s%.0f %%", at ? ", " : "",
				100.0 * busy);
	}
	doctor_value(d, "traffic.busy", "workers: %s", text);
	if (most > 0.9)
		doctor_hint(d,
			"a worker has no time left for a peak: add CPUs to server.lcores, or "
			"a server");
}

static void check_share(struct doctor *d, const char *check, const char *counter, uint64_t of,
	double limit, const char *change)
{
	uint64_t n = number_at(d->stats, counter);
	double share = of ? (double)n / (double)of : 0.0;
	doctor_value(d, check, "%" PRIu64 " (%.2f %%)", n, 100.0 * share);
	if (share > limit)
		doctor_hint(d, "%s", change);
}

void doctor_traffic(struct doctor *d)
{
	uint64_t received = number_at(d->stats, "counter/received"),
		 answered = number_at(d->stats, "outcome/answered") +
			    number_at(d->stats, "outcome/answered_error");
	check_busy(d);
	check_drops(d, received);
	check_share(d, "traffic.errors", "outcome/answered_error", answered, 0.01,
		"clients send what cannot be served: wrctl stats, messages decoded as");
	check_share(d, "traffic.handed_over", "counter/handed_over", received, 0.05,
		"requests arrive at the wrong worker: clients must follow the shard table of "
		"HELLO, "
		"or the port must steer by UDP port");
	check_share(d, "traffic.history_wanted", "counter/history_wanted", answered, 0.05,
		"users arrive without their history: clients should send it when asked");
	const json_t *ns = json_object_get(d->latency, "server_ns");
	doctor_value(d, "traffic.latency", "p50 %.0f µs, p99 %.0f µs, p99.9 %.0f µs in the daemon",
		(double)number_at(ns, "p50") / 1e3, (double)number_at(ns, "p99") / 1e3,
		(double)number_at(ns, "p999") / 1e3);
	if (number_at(ns, "p999") > 50000000)
		doctor_hint(d, "one answer in a thousand is later than 50 ms: see workers.shared, "
			       "workers.isolated and traffic.busy");
}
