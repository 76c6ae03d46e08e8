/* SPDX-License-Identifier: BSD-3-Clause */
/* wrload hello, malform, blast. */
#include "wrload.h"

int cmd_hello(int argc, char **argv)
{
	struct wr_load *l = NULL;
	struct wr_errmsg msg;
	int code = parse_options(argc, argv,
		"usage: wrload hello --memif=SOCKET [--OPTION=VALUE …]", NULL, 0, OPT_PORT);

	if (code >= 0)
		return code;
	int err = open_load(&l, true, &msg);
	if (!err) {
		const struct wr_load_server *s = wr_load_server(l);
		json_t *o = json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i}", "bundle", s->bundle,
			"bundle_version", (int)s->bundle_version, "model_generation",
			(int)s->model_generation, "n_items", (int)s->n_items, "history_events",
			(int)s->history_events, "shard_epoch", (int)s->shard_epoch, "queues",
			(int)s->n_ports);
		if (!quiet())
			printf("bundle %s, version %u, generation %u\n%u items, %u clicks make a "
			       "cold answer exact\n"
			       "%u queues, UDP ports %u … %u, shard epoch %u\n",
				s->bundle, s->bundle_version, s->model_generation, s->n_items,
				s->history_events, s->n_ports, s->ports[0],
				s->ports[s->n_ports - 1], s->shard_epoch);
		err = write_json(o, &msg);
	}
	return close_load(l, err, &msg);
}

/* ---- malform ---- */
static const char *count = "100000", *seed = "1", *valid_every = "50";
static const struct wr_opt malform_opts[] = {
	{"count", "N", "malformed frames", &count},
	{"seed", "N", "same seed, same frames", &seed},
	{"valid-every", "N", "a valid request behind every N of them", &valid_every},
};

static void print_malform(const struct wr_load_malform_result *r)
{
	for (unsigned int k = 0; k < WR_MALFORM_KIND_N; k++)
		printf("%-18s %lu\n", wr_malform_name(k), (unsigned long)r->sent[k]);
	printf("malformed %lu, answered", (unsigned long)r->total);
	for (unsigned int s = 0; s < WR_ARRAY_LEN(r->answered_status); s++)
		if (r->answered_status[s])
			printf(" %s %lu", wr_load_status_name(s),
				(unsigned long)r->answered_status[s]);
	printf("\nvalid between them %lu, answered %lu, wrong %lu, sent again %lu; %lu frames in "
	       "all in %.1f s\n",
		(unsigned long)r->valid_sent, (unsigned long)r->valid_answered,
		(unsigned long)r->valid_wrong, (unsigned long)r->valid_retried,
		(unsigned long)r->frames_sent, r->seconds);
}

int cmd_malform(int argc, char **argv)
{
	struct wr_load_malform c = {0};
	struct wr_load_malform_result r = {0};
	struct wr_load *l = NULL;
	struct wr_errmsg msg;
	uint64_t every = 0;
	int code = parse_options(argc, argv,
		"usage: wrload malform --memif=SOCKET [--count=N] [--seed=N] [--OPTION=VALUE …]",
		malform_opts, WR_ARRAY_LEN(malform_opts), OPT_PORT);

	if (code >= 0)
		return code;
	int err = wr_opt_u64("count", count, 1, UINT32_MAX, &c.count, &msg);
	if (!err)
		err = wr_opt_u64("seed", seed, 0, UINT64_MAX, &c.seed, &msg);
	if (!err)
		err = wr_opt_u64("valid-every", valid_every, 1, 1000000, &every, &msg);
	c.valid_every = (unsigned int)every;
	c.progress = !quiet();
	if (!err)
		err = open_load(&l, true, &msg);
	if (!err)
		err = wr_load_malform(l, &c, &r, &msg);
	if (!err) {
		if (!quiet())
			print_malform(&r);
		err = write_json(wr_load_malform_json(&r), &msg);
	}
	code = close_load(l, err, &msg);
	return code == EXIT_OK && r.valid_wrong ? EXIT_WRONG : code;
}

/* ---- blast ---- */
static const char *size_text = "256", *seconds = "3", *window = "512", *whole;
static const struct wr_opt blast_opts[] = {
	{"size", "BYTES", "UDP payload of a frame", &size_text},
	{"frame", NULL, "--size counts the whole frame", &whole},
	{"seconds", "S", "how long", &seconds},
	{"window", "N", "frames in flight", &window},
};

int cmd_blast(int argc, char **argv)
{
	struct wr_load_blast c = {0};
	struct wr_load_blast_result r = {0};
	struct wr_load *l = NULL;
	struct wr_errmsg msg;
	uint64_t size = 0, w = 0;
	int code = parse_options(argc, argv,
		"usage: wrload blast --memif=SOCKET --size=BYTES [--OPTION=VALUE …]", blast_opts,
		WR_ARRAY_LEN(blast_opts), OPT_PORT);

	if (code >= 0)
		return code;
	int err = wr_opt_u64("size", size_text, 1, 1986, &size, &msg);
	if (!err)
		err = wr_opt_u64("window", window, 1, 4096, &w, &msg);
	if (!err)
		err = real("seconds", seconds, 0.01, 3600, &c.seconds, &msg);
	c.datagram = (unsigned int)size;
	c.window = (unsigned int)w;
	c.frame = whole != NULL;
	if (!err)
		err = open_load(&l, false, &msg);
	if (!err)
		err = wr_load_blast(l, &c, &r, &msg);
	if (!err) {
		if (!quiet())
			printf("%.3f M frames/s of %u bytes echoed, %lu lost; this side was busy "
			       "for %.0f %% of the time "
			       "(%.0f cycles a frame)%s\n",
				r.mpps, r.frame_bytes, (unsigned long)r.lost, 100 * r.busy_share,
				r.cycles_per_frame,
				r.generator_bound ? ": THE GENERATOR WAS THE BOTTLENECK" : "");
		err = write_json(wr_load_blast_json(&r), &msg);
	}
	return close_load(l, err, &msg);
}
