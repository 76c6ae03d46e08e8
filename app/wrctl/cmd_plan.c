/* SPDX-License-Identifier: BSD-3-Clause */
/* wrctl plan: options, the search for the number of servers, tables. No daemon is asked. */
#include "plan.h"
#include "wrctl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SERVERS = 4096, MAX_CORES = 64, FRAME_HEAD = 42, WIRE_EXTRA = 24 };

struct plan_input {
	double load, users, headroom, memory_bytes, nic_bits;
	double share[PLAN_KINDS]; /* of the load, sum 1 */
	unsigned int cores, spare;
	struct wr_bundle_model model;
	const char *model_source;
	struct plan_rates rates;
};

/* What one of n servers carries. */
struct server {
	unsigned int n, cores;
	uint64_t rows;                     /* a worker's sessions, a tenth more than its users */
	double utilisation, packets, bits; /* packets and bits a second, each way */
	json_t *memory;
};

/* ---- options ---- */
/* A number with k, M, G behind it. */
static int quantity(const char *option, const char *text, double least, double most, double *out,
	struct wr_errmsg *msg)
{
	char *end;
	double v = strtod(text, &end);
	if (*end == 'k' || *end == 'K')
		v *= 1e3, end++;
	else if (*end == 'M')
		v *= 1e6, end++;
	else if (*end == 'G')
		v *= 1e9, end++;
	if (end == text || *end || !(v >= least) || !(v <= most))
		return wr_fail(msg, WR_EINVAL,
			"--%s=%s: a number from %g to %g, k, M or G may follow", option, text,
			least, most);
	*out = v;
	return 0;
}

static int parse_mix(const char *text, double share[PLAN_KINDS], struct wr_errmsg *msg)
{
	char copy[128], *save = NULL;
	double sum = 0;
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		char *colon = strchr(word, ':');
		unsigned int k = 0;
		double weight = 1;
		if (colon)
			*colon = '\0';
		while (k < PLAN_KINDS && strcmp(word, plan_kind_name[k]) != 0)
			k++;
		if (k == PLAN_KINDS)
			return wr_fail(msg, WR_EINVAL,
				"--mix: no kind %s; there are warm, cold, event, echo", word);
		int err = colon ? quantity("mix", colon + 1, 0, 1e9, &weight, msg) : 0;
		if (err)
			return err;
		share[k] += weight;
		sum += weight;
	}
	for (unsigned int k = 0; k < PLAN_KINDS && sum > 0; k++)
		share[k] /= sum;
	return sum > 0 ? 0 : wr_fail(msg, WR_EINVAL, "--mix=%s: nothing in it", text);
}

/* "items:100000,d:64,blocks:2,heads:2,kv:2,W:50,ffn:128", every one as in the reference student if
 * left out. */
static int parse_model(const char *text, struct wr_bundle_model *m, struct wr_errmsg *msg)
{
	const struct {
		const char *name;
		uint32_t *to, least, most;
	} key[] = {{"items", &m->n_items, 1, 1u << 28}, {"d", &m->d, 1, 1024},
		{"blocks", &m->n_blocks, 1, WR_BUNDLE_MAX_BLOCKS}, {"heads", &m->n_heads, 1, 64},
		{"kv", &m->n_kv_heads, 1, 64}, {"W", &m->window, 1, 1024},
		{"ffn", &m->ffn, 1, 4096}, {"time", &m->time_buckets, 0, 256},
		{"age-keys", &m->age_keys, 0, 1}};
	char copy[256], *save = NULL;
	bool kv = false;
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		char *colon = strchr(word, ':');
		size_t i = 0;
		double v = 0;
		if (colon)
			*colon = '\0';
		while (i < WR_ARRAY_LEN(key) && strcmp(word, key[i].name) != 0)
			i++;
		if (i == WR_ARRAY_LEN(key) || !colon)
			return wr_fail(msg, WR_EINVAL,
				"--model: %s: items, d, blocks, heads, kv, W, ffn, time, age-keys, "
				"each with :NUMBER",
				word);
		int err = quantity("model", colon + 1, key[i].least, key[i].most, &v, msg);
		if (err)
			return err;
		*key[i].to = (uint32_t)v;
		kv = kv || !strcmp(word, "kv");
	}
	m->n_kv_heads = kv ? m->n_kv_heads : m->n_heads;
	m->head_dim = m->d / m->n_heads;
	if (m->head_dim * m->n_heads != m->d || m->d % 16 || m->ffn % 16 ||
		m->n_heads % m->n_kv_heads)
		return wr_fail(msg, WR_EINVAL,
			"--model=%s: d must be a multiple of heads and of 16, ffn of 16, heads of "
			"kv",
			text);
	return 0;
}

static int model_of(const struct context *c, struct plan_input *in, struct wr_errmsg *msg)
{
	in->model = plan_reference;
	in->model_source = "the reference student";
	if (c->ask.bundle) {
		struct wr_bundle *b;
		int err = wr_bundle_open(&b, c->ask.bundle, msg);
		if (err)
			return err;
		in->model = *wr_bundle_model(b);
		in->model_source = c->ask.bundle;
		wr_bundle_close(b);
	}
	if (c->plan.model) {
		in->model_source = "--model";
		return parse_model(c->plan.model, &in->model, msg);
	}
	return 0;
}

static int take_options(const struct context *c, struct plan_input *in, struct wr_errmsg *msg)
{
	const struct plan_options *o = &c->plan;
	double v = 10;
	int err = quantity("load", o->load ? o->load : "1M", 1, 1e12, &in->load, msg);
	if (!err)
		err = parse_mix(o->mix ? o->mix : "warm", in->share, msg);
	if (!err)
		err = quantity("users", o->users ? o->users : "1M", 1, 1e11, &in->users, msg);
	if (!err && o->cores)
		err = quantity("cores", o->cores, 1, MAX_CORES, &v, msg);
	in->cores = (unsigned int)v;
	v = 1;
	if (!err && o->spare)
		err = quantity("spare", o->spare, 0, 1000, &v, msg);
	in->spare = (unsigned int)v;
	in->headroom = 0.3;
	if (!err && o->headroom)
		err = quantity("headroom", o->headroom, 0, 0.95, &in->headroom, msg);
	in->memory_bytes = HUGE_VAL;
	if (!err && o->memory)
		err = quantity("memory", o->memory, 1e8, 1e15, &in->memory_bytes, msg);
	in->nic_bits = 100e9;
	if (!err && o->nic)
		err = quantity("nic", o->nic, 1e8, 1e13, &in->nic_bits, msg);
	if (!err)
		err = model_of(c, in, msg);
	plan_rates_default(&in->rates);
	if (!err && o->bench)
		err = plan_rates_read(&in->rates, o->bench, msg);
	for (unsigned int k = 0; k < PLAN_KINDS && !err; k++)
		if (in->share[k] > 0 && in->rates.rate[k].ns == 0)
			err = wr_fail(msg, WR_EINVAL,
				"%s has no rate of %s; run ./run bench with it", in->rates.source,
				plan_kind_name[k]);
	return err;
}

/* ---- the search ---- */
/* Cores that are busy all the time, of all servers. */
static double busy_cores(const struct plan_input *in)
{
	double cores = 0;
	for (unsigned int k = 0; k < PLAN_KINDS; k++)
		if (in->share[k] > 0)
			cores += in->load * in->share[k] * plan_ns(&in->rates, &in->model, k) / 1e9;
	return cores;
}

static int fill_server(const struct plan_input *in, double busy, unsigned int n, struct server *s,
	struct wr_errmsg *msg)
{
	double bytes = 0;
	for (unsigned int k = 0; k < PLAN_KINDS; k++)
		bytes += in->share[k] * (plan_datagram[k] + FRAME_HEAD + WIRE_EXTRA);
	*s = (struct server){.n = n};
	s->cores = (unsigned int)ceil(busy / (1 - in->headroom) / n - 1e-9);
	s->cores = WR_MIN(WR_MAX(s->cores, 1u), in->cores);
	s->utilisation = busy / ((double)s->cores * n);
	s->rows = (uint64_t)ceil(in->users * 1.1 / n / s->cores);
	s->rows = WR_MAX(s->rows, (uint64_t)128);
	s->packets = in->load / n;
	s->bits = s->packets * bytes * 8;
	return s->rows > 1u << 30 ? 0 : plan_memory(&in->model, s->cores, s->rows, &s->memory, msg);
}

static double memory_of(const struct server *s)
{
	return s->memory ? json_number_value(json_object_get(s->memory, "total_bytes")) : HUGE_VAL;
}

/* The fewest servers whose cores, memory and link all suffice; bound: what asked for so many. */
static int search(
	const struct plan_input *in, struct server *s, const char **bound, struct wr_errmsg *msg)
{
	double busy = busy_cores(in);
	double by_cores = ceil(busy / (1 - in->headroom) / in->cores - 1e-9);
	*bound = "cores";
	for (double n = WR_MAX(by_cores, 1.0); n <= MAX_SERVERS;) {
		int err = fill_server(in, busy, (unsigned int)n, s, msg);
		if (err)
			return err;
		double memory = memory_of(s) / in->memory_bytes,
		       link = s->bits / (0.8 * in->nic_bits);
		if (memory <= 1 && link <= 1)
			return 0;
		*bound = memory > link ? "memory" : "network";
		json_decref(s->memory);
		s->memory = NULL;
		/* Sessions and packets are shared out; what every server has for itself is not. */
		double more = isfinite(memory) ? n * WR_MAX(memory, link) * 0.98 : 2 * n;
		n = WR_MAX(n + 1, floor(more));
	}
	return wr_fail(msg, WR_EINVAL,
		"more than %d servers: --memory or --nic is too small for this load", MAX_SERVERS);
}

/* ---- output ---- */
static json_t *rates_json(const struct plan_input *in)
{
	json_t *rates = json_object();
	for (unsigned int k = 0; k < PLAN_KINDS; k++) {
		if (in->share[k] == 0)
			continue;
		double ns = plan_ns(&in->rates, &in->model, k);
		json_object_set_new(rates, plan_kind_name[k],
			json_pack("{s:f, s:I, s:I, s:I, s:I, s:i}", "share", in->share[k],
				"per_core", (json_int_t)(1e9 / ns), "measured_per_core",
				(json_int_t)(1e9 / in->rates.rate[k].ns), "encode_macs",
				(json_int_t)plan_encode_macs(&in->model, k), "score_macs",
				(json_int_t)plan_score_macs(&in->model, k), "datagram",
				(int)plan_datagram[k]));
	}
	return rates;
}

static bool is_reference(const struct wr_bundle_model *m)
{
	const struct wr_bundle_model *r = &plan_reference;
	return m->n_items == r->n_items && m->d == r->d && m->n_blocks == r->n_blocks &&
	       m->n_heads == r->n_heads && m->n_kv_heads == r->n_kv_heads &&
	       m->window == r->window && m->ffn == r->ffn && m->time_buckets == 0 &&
	       m->age_keys == 0 && wr_bundle_n_kept(m) == 0;
}

static json_t *notes(const struct plan_input *in, const struct server *s)
{
	json_t *list = json_array();
	char text[256];
	double items = (double)in->model.n_items * in->model.d;
	if (!is_reference(&in->model))
		json_array_append_new(list,
			json_string(
				"rates are scaled from the reference student's by multiply-adds, "
				"not measured: run the bench with this bundle and give --bench"));
	if (items > 1e6) {
		snprintf(text, sizeof(text),
			"%.0f MB of item vectors leave the core's cache: every item is scored "
			"exactly, and memory may bound that before arithmetic does",
			items / 1e6);
		json_array_append_new(list, json_string(text));
	}
	if (s->cores * 2 > MAX_CORES)
		json_array_append_new(list, json_string("many workers share a socket's memory: "
							"measure them together (bench capacity)"));
	return list;
}

static json_t *plan_json(const struct plan_input *in, const struct server *s, const char *bound)
{
	const struct wr_bundle_model *m = &in->model;
	double busy = busy_cores(in), left = s->n + in->spare > 1 ? s->n + in->spare - 1 : 0;
	double total = s->n + in->spare;
	json_t *model = json_pack("{s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}",
		"source", in->model_source, "items", (json_int_t)m->n_items, "d", (int)m->d,
		"blocks", (int)m->n_blocks, "heads", (int)m->n_heads, "kv_heads",
		(int)m->n_kv_heads, "window", (int)m->window, "ffn", (int)m->ffn, "time_buckets",
		(int)m->time_buckets, "age_keys", (int)m->age_keys, "kept",
		(int)wr_bundle_n_kept(m), "history_events", (int)wr_bundle_history_events(m));
	json_t *server = json_pack("{s:i, s:I, s:f, s:f, s:f, s:f, s:f, s:O}", "cores",
		(int)s->cores, "sessions_per_core", (json_int_t)s->rows, "requests_s", s->packets,
		"packets_s_each_way", s->packets, "gbits_s_each_way", s->bits / 1e9, "nic_gbits_s",
		in->nic_bits / 1e9, "memory_gb", memory_of(s) / 1e9, "memory", s->memory);
	return json_pack("{s:f, s:f, s:o, s:o, s:s, s:s, s:f, s:f, s:f, s:i, s:i, s:i, s:s, s:f, "
			 "s:o, s:o, s:o}",
		"load", in->load, "users", in->users, "model", model, "kinds", rates_json(in),
		"rates_machine", in->rates.machine, "rates_source", in->rates.source, "headroom",
		in->headroom, "busy_cores", busy, "cores_with_headroom",
		ceil(busy / (1 - in->headroom)), "servers", (int)s->n, "spare", (int)in->spare,
		"servers_in_all", (int)total, "bound_by", bound, "utilisation",
		busy / (s->cores * total), "utilisation_one_failed",
		left > 0 ? json_real(busy / (s->cores * left)) : json_null(), "server", server,
		"notes", notes(in, s));
}

static void show_model(const struct wr_bundle_model *m, const char *source)
{
	printf("model      %s: %u items, d %u, %u blocks, %u heads (%u for keys), W %u, "
	       "feed-forward %u",
		source, m->n_items, m->d, m->n_blocks, m->n_heads, m->n_kv_heads, m->window,
		m->ffn);
	if (m->time_buckets)
		printf(", age in time");
	if (m->age_keys)
		printf(", keys by age");
	if (wr_bundle_n_kept(m))
		printf(", %u projections kept in two planes", wr_bundle_n_kept(m));
	putchar('\n');
}

static void show(const struct plan_input *in, const struct server *s, const char *bound)
{
	double busy = busy_cores(in), total = s->n + in->spare;
	size_t i;
	json_t *line, *list = notes(in, s);
	printf("load       %.0f requests/s, %.0f users\n", in->load, in->users);
	show_model(&in->model, in->model_source);
	printf("a core     by %s: %s\n", in->rates.source, in->rates.machine);
	for (unsigned int k = 0; k < PLAN_KINDS; k++)
		if (in->share[k] > 0)
			printf("             %-6s %5.1f %% of the load  %12.0f/s a core  %7.2f us  "
			       "%4u bytes\n",
				plan_kind_name[k], 100 * in->share[k],
				1e9 / plan_ns(&in->rates, &in->model, k),
				plan_ns(&in->rates, &in->model, k) / 1e3, plan_datagram[k]);
	printf("cores      %.1f busy; %.0f with %.0f %% headroom\n", busy,
		ceil(busy / (1 - in->headroom)), 100 * in->headroom);
	printf("servers    %u and %u spare, as %s ask%s; %u worker cores each\n", s->n, in->spare,
		bound, strcmp(bound, "cores") ? "s" : "", s->cores);
	printf("           cores %.0f %% busy", 100 * busy / (s->cores * total));
	if (total > 1)
		printf(", %.0f %% with one server failed", 100 * busy / (s->cores * (total - 1)));
	printf("\na server   %.0f requests/s; %.2f M packets/s and %.2f Gbit/s each way of %.0f "
	       "Gbit/s\n",
		s->packets, s->packets / 1e6, s->bits / 1e9, in->nic_bits / 1e9);
	printf("           %ju sessions a core (a tenth to spare)\n", (uintmax_t)s->rows);
	printf("memory     of a server, by wirerankd's plan:\n");
	json_array_foreach(json_object_get(s->memory, "lines"), i, line) printf(
		"             %-20s %12.1f MB\n", json_string_value(json_object_get(line, "what")),
		json_number_value(json_object_get(line, "bytes")) / 1e6);
	printf("             %-20s %12.1f MB\n", "total", memory_of(s) / 1e6);
	json_array_foreach(list, i, line) printf("note       %s\n", json_string_value(line));
	json_decref(list);
}

int check_plan(struct context *c, struct wr_errmsg *msg)
{
	struct plan_input in = {0};
	return take_options(c, &in, msg);
}

int cmd_plan(const struct context *c, struct wr_errmsg *msg)
{
	struct plan_input in = {0};
	struct server s = {0};
	const char *bound;
	int err = take_options(c, &in, msg);
	if (!err)
		err = search(&in, &s, &bound, msg);
	if (err)
		return err;
	if (c->json) {
		json_t *root = plan_json(&in, &s, bound);
		err = root ? wr_json_write(root, "-", msg)
			   : wr_fail(msg, WR_ENOMEM, "the plan does not fit into JSON");
		json_decref(root);
	} else {
		show(&in, &s, bound);
	}
	json_decref(s.memory);
	return err;
}
