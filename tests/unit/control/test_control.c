/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/control and wrctl against a real EAL and a real server object of two workers (tables, model
 * and rules; the port stays closed): every command over the real socket, parameters of any shape,
 * and wrctl's JSON and tables. argv[1] is wrctl.
 */
#include "wr_test.h"
#include "control_server.h"
#include "wr_report.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *wrctl;
static struct server server;
static struct wr_errmsg msg;

/* ---- a client of its own, to see the bytes ---- */
static int client(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char greeting[1024];
	struct timeval limit = {.tv_sec = 10};
	snprintf(to.sun_path, sizeof(to.sun_path), "%s", server.socket_path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	CU_ASSERT_FATAL(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	CU_ASSERT_FATAL(!connect(fd, (struct sockaddr *)&to, sizeof(to)));
	CU_ASSERT_FATAL(recv(fd, greeting, sizeof(greeting), 0) > 0);
	return fd;
}

/* The body of the answer; the caller json_decref's. */
static json_t *ask_bytes(int fd, const void *request, size_t n, size_t *answer_bytes)
{
	static char answer[65536];
	json_error_t at;
	CU_ASSERT_FATAL(send(fd, request, n, 0) == (ssize_t)n);
	ssize_t got = recv(fd, answer, sizeof(answer), 0);
	CU_ASSERT_FATAL(got > 0);
	json_t *root = json_loadb(answer, (size_t)got, JSON_REJECT_DUPLICATES, &at);
	if (!root)
		printf("\n%s: %.*s\n", at.text, (int)got, answer);
	CU_ASSERT_PTR_NOT_NULL_FATAL(root);
	json_t *body = json_incref(json_object_iter_value(json_object_iter(root)));
	json_decref(root);
	*answer_bytes = (size_t)got;
	return body;
}

static json_t *ask(const char *request)
{
	size_t bytes;
	int fd = client();
	json_t *body = ask_bytes(fd, request, strlen(request), &bytes);
	CU_ASSERT(bytes < 8192);
	close(fd);
	return body;
}

static const char *status_of(const json_t *body)
{
	const char *s = json_string_value(json_object_get(body, "status"));
	return s ? s : "none";
}

static uint64_t number(const json_t *body, const char *key)
{
	const json_t *v = json_object_get(body, key);
	CU_ASSERT(json_is_integer(v));
	return (uint64_t)json_integer_value(v);
}

/* ---- figures to find again ---- */
static struct wr_metrics *metrics(unsigned int worker)
{
	/* The test is the only writer: no worker runs. */
	return (struct wr_metrics *)(uintptr_t)wr_serve_metrics(server.serve, worker);
}

static void fill_metrics(void)
{
	for (unsigned int w = 0; w < 2; w++) {
		struct wr_metrics *m = metrics(w);
		memset(m, 0, sizeof(*m));
		uint64_t f = w ? 1000 : 1;
		for (unsigned int i = 0; i < WR_OUTCOME_N; i++)
			m->outcome[i] = f * (i + 1);
		for (unsigned int i = 0; i < WR_COUNTER_N; i++)
			m->counter[i] = f * (i + 31);
		for (unsigned int i = 0; i < WR_DECODE_N; i++)
			m->decode[i] = f * (i + 71);
		for (unsigned int i = 0; i < WR_STAGE_N; i++) {
			m->stage_cycles[i] = f * (i + 91);
			wr_hist_add(&m->stage_ns[i], 10 * (i + 1), f);
		}
		wr_hist_add(&m->server_ns, w ? 63 : 40, w ? 1 : 99);
		wr_hist_add(&m->burst_size, 32, 4);
	}
}

static void test_status(void)
{
	fill_metrics();
	json_t *b = ask("/wirerank/status");
	CU_ASSERT_STRING_EQUAL(status_of(b), "ok");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(b, "state")), "loaded");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(b, "link")), "closed");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(b, "isa")), "ref");
	CU_ASSERT_EQUAL(number(b, "workers"), 2);
	CU_ASSERT_EQUAL(number(b, "received"), 1001 * 31);
	CU_ASSERT_EQUAL(number(b, "answered"), 1001);
	CU_ASSERT_EQUAL(number(b, "answered_error"), 1001 * 2);
	uint64_t all = 1001 * (uint64_t)WR_OUTCOME_N * (WR_OUTCOME_N + 1) / 2;
	CU_ASSERT_EQUAL(number(b, "dropped"), all - 1001 * 3);
	CU_ASSERT_EQUAL(number(b, "session_rows"), 2 * (uint64_t)wr_serve_rows(server.serve));
	uint8_t id[16];
	char hex[33];
	wr_bundle_id(server.bundle, id);
	for (unsigned int i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", id[i]);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(b, "bundle")), hex);
	json_decref(b);
}

/* Every counter on some page, once, under its own name, with its own value. */
static void check_stats(const char *worker, uint64_t factor)
{
	char key[64], request[64];
	json_t *all = json_object();
	uint64_t n_pages = 1;
	for (uint64_t page = 0; page < n_pages; page++) {
		snprintf(request, sizeof(request), "/wirerank/stats,%s,%ju", worker,
			(uintmax_t)page);
		json_t *b = ask(request);
		CU_ASSERT_STRING_EQUAL(status_of(b), "ok");
		CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(b, "worker")), worker);
		n_pages = number(b, "pages");
		CU_ASSERT_EQUAL(number(b, "page"), page);
		const char *k;
		json_t *v;
		json_object_foreach(b, k, v)
		{
			CU_ASSERT(!strchr(k, '/') || !json_object_get(all, k));
			json_object_set(all, k, v);
		}
		json_decref(b);
	}
	CU_ASSERT(n_pages > 1 && n_pages < 10);
	const struct {
		const char *group;
		const struct wr_metric_desc *desc;
		unsigned int n, first;
	} groups[] = {{"outcome", wr_outcome_desc, WR_OUTCOME_N, 1},
		{"counter", wr_counter_desc, WR_COUNTER_N, 31}, {"decode", NULL, WR_DECODE_N, 71},
		{"cycles", wr_stage_desc, WR_STAGE_N, 91}};
	for (unsigned int g = 0; g < WR_ARRAY_LEN(groups); g++)
		for (unsigned int i = 0; i < groups[g].n; i++) {
			snprintf(key, sizeof(key), "%s/%s", groups[g].group,
				groups[g].desc ? groups[g].desc[i].name
					       : wr_decode_name((enum wr_decode)i));
			CU_ASSERT_EQUAL(number(all, key), factor * (groups[g].first + i));
		}
	json_decref(all);
}

static void test_stats(void)
{
	fill_metrics();
	check_stats("all", 1001);
	check_stats("0", 1);
	check_stats("1", 1000);
	json_t *b = ask("/wirerank/stats");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(b, "worker")), "all");
	json_decref(b);
}

static void test_latency(void)
{
	fill_metrics();
	json_t *b = ask("/wirerank/latency,all");
	CU_ASSERT_STRING_EQUAL(status_of(b), "ok");
	json_t *h = json_object_get(b, "server_ns");
	CU_ASSERT_EQUAL(number(h, "count"), 100);
	CU_ASSERT_EQUAL(number(h, "p50"), 40);
	CU_ASSERT_EQUAL(number(h, "p999"), 63);
	CU_ASSERT_EQUAL(number(h, "max"), 63);
	for (unsigned int i = 0; i < WR_STAGE_N; i++) {
		char key[64];
		snprintf(key, sizeof(key), "stage_ns/%s", wr_stage_desc[i].name);
		h = json_object_get(b, key);
		CU_ASSERT_EQUAL(number(h, "count"), 1001);
		CU_ASSERT_EQUAL(number(h, "max"), 10 * (i + 1));
	}
	CU_ASSERT_EQUAL(number(json_object_get(b, "burst_frames"), "p99"), 32);
	json_decref(b);
	/* The buckets behind it: 64 values below 64 have one each. */
	b = ask("/wirerank/histogram,all,0");
	CU_ASSERT_STRING_EQUAL(status_of(b), "ok");
	uint64_t sum = 0;
	const char *key;
	json_t *value;
	json_object_foreach(b, key, value) if (!strncmp(key, "bucket/", 7)) sum +=
		(uint64_t)json_integer_value(value);
	CU_ASSERT_EQUAL(sum, 100);
	CU_ASSERT_EQUAL(number(b, "next"), 0);
	json_decref(b);
	b = ask("/wirerank/histogram,all,64");
	CU_ASSERT_EQUAL(json_object_size(b), 2); /* status, next */
	json_decref(b);
	b = ask("/wirerank/latency,0");
	CU_ASSERT_EQUAL(number(json_object_get(b, "server_ns"), "count"), 99);
	json_decref(b);
}

static void test_parameters(void)
{
	static const struct {
		const char *request, *word;
	} bad[] = {{"/wirerank/stats,2", "0 to 1"}, {"/wirerank/stats,-1", "0 to 1"},
		{"/wirerank/stats,x", "0 to 1"}, {"/wirerank/stats,all,99", "no page 99"},
		{"/wirerank/stats,all,x", "PAGE"}, {"/wirerank/stats,all,0,0", "too many"},
		{"/wirerank/stats,0123456789abcdef", "15 bytes"},
		{"/wirerank/latency,0,0", "too many"}, {"/wirerank/status,1", "takes none"},
		{"/wirerank/histogram,all,9000", "no bucket 9000"},
		{"/wirerank/config,77", "no page 77"}, {"/wirerank/config,0,1", "too many"},
		{"/wirerank/bundle,\"\\\x01\xff", "takes none"},
		{"/wirerank/"
		 "stats,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
			"64 bytes"}};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(bad); i++) {
		json_t *b = ask(bad[i].request);
		const char *error = json_string_value(json_object_get(b, "error"));
		CU_ASSERT_STRING_EQUAL(status_of(b), "error");
		if (!error || !strstr(error, bad[i].word))
			printf("\n%s: %s\n", bad[i].request, error ? error : "-");
		CU_ASSERT(error && strstr(error, bad[i].word));
		json_decref(b);
	}
	/* Anything at all behind the command: an answer with a status, and the process lives. */
	struct wr_rng r;
	wr_rng_init(&r, 17, 0);
	int fd = client();
	unsigned int n_commands = 0;
	while (wr_control_command(n_commands))
		n_commands++;
	CU_ASSERT_FATAL(n_commands >= 13);
	for (unsigned int round = 0; round < 2000; round++) {
		char request[300];
		const struct wr_control_command *c = wr_control_command(round % n_commands);
		size_t n = (size_t)snprintf(request, sizeof(request), "%s,", c->path), bytes;
		for (unsigned int more = wr_rng_below(&r, round % 16 ? 12 : 200); more > 0; more--)
			request[n++] = round % 2 ? (char)(1 + wr_rng_below(&r, 255))
						 : "0123,al-"[wr_rng_below(&r, 8)];
		json_t *b = ask_bytes(fd, request, n, &bytes);
		CU_ASSERT(!strcmp(status_of(b), "ok") || !strcmp(status_of(b), "error"));
		json_decref(b);
	}
	close(fd);
	CU_ASSERT_PTR_NULL(wr_control_command(n_commands));
}

/* ---- wrctl ---- */
/* Runs wrctl with args; its stdout and stderr into out; its exit code. */
static int run_wrctl(const char *args, char *out, size_t size)
{
	char command[512];
	snprintf(command, sizeof(command), "%s --socket=%s --timeout=10 %s 2>&1", wrctl,
		server.socket_path, args);
	FILE *f = popen(command, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	size_t n = fread(out, 1, size - 1, f);
	out[n] = '\0';
	int rc = pclose(f);
	return WIFEXITED(rc) ? WEXITSTATUS(rc) : -1;
}

static json_t *wrctl_json(const char *args)
{
	static char out[65536];
	json_error_t at;
	int rc = run_wrctl(args, out, sizeof(out));
	if (rc)
		printf("\n%s: %d: %s\n", args, rc, out);
	CU_ASSERT_EQUAL_FATAL(rc, 0);
	json_t *j = json_loads(out, JSON_REJECT_DUPLICATES, &at);
	CU_ASSERT_PTR_NOT_NULL_FATAL(j);
	return j;
}

static void test_wrctl_stats(void)
{
	static char out[65536];
	fill_metrics();
	json_t *j = wrctl_json("--json stats"), *workers = json_object_get(j, "workers");
	json_t *all = json_object_get(json_object_get(j, "all"), "outcome");
	CU_ASSERT_EQUAL(json_object_size(all), WR_OUTCOME_N);
	CU_ASSERT_EQUAL(json_array_size(workers), 2);
	CU_ASSERT_EQUAL(number(all, "tx_full"), 1001 * (WR_OUTCOME_tx_full + 1));
	CU_ASSERT_EQUAL(
		number(json_object_get(json_array_get(workers, 1), "counter"), "received"), 31000);
	json_decref(j);
	metrics(0)->outcome[WR_OUTCOME_frame_fragment] =
		metrics(1)->outcome[WR_OUTCOME_frame_fragment] = 0;
	CU_ASSERT_EQUAL(run_wrctl("stats", out, sizeof(out)), 0);
	CU_ASSERT(strstr(out, "frame_fragment") == NULL);
	CU_ASSERT(strstr(out, " 31,031 ") && strstr(out, " 31,000 ") &&
		  strstr(out, "frames received from the port"));
	CU_ASSERT_EQUAL(run_wrctl("--all stats", out, sizeof(out)), 0);
	CU_ASSERT(strstr(out, "frame_fragment") != NULL);
	for (unsigned int i = 0; i < WR_STAGE_N; i++)
		CU_ASSERT(strstr(out, wr_stage_desc[i].name) != NULL);
	j = wrctl_json("--json --worker=1 stats");
	CU_ASSERT(
		!json_object_get(j, "all") && json_array_size(json_object_get(j, "workers")) == 1);
	json_decref(j);
	CU_ASSERT_EQUAL(run_wrctl("--worker=7 stats", out, sizeof(out)), 1);
	CU_ASSERT(strstr(out, "0 to 1") != NULL);
}

static void test_wrctl_config(void)
{
	static char out[65536], expected[WR_CONFIG_MAX_VALUE];
	json_t *j = wrctl_json("--json config");
	for (unsigned int i = 0; i < WR_CONFIG_N; i++) {
		const struct wr_config_key *k = &wr_config_keys[i];
		json_t *entry = json_object_get(json_object_get(j, k->section), k->key);
		wr_config_value(&server.config, i, expected, sizeof(expected));
		CU_ASSERT_STRING_EQUAL(
			json_string_value(json_object_get(entry, "value")), expected);
		wr_config_origin(&server.config, i, expected, sizeof(expected));
		CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(entry, "from")), expected);
	}
	json_decref(j);
	CU_ASSERT_EQUAL(run_wrctl("config", out, sizeof(out)), 0);
	/* What is shown is the daemon's own --dump-config, byte for byte. */
	char *dump = NULL;
	size_t bytes;
	FILE *f = open_memstream(&dump, &bytes);
	wr_config_dump(&server.config, f);
	fclose(f);
	CU_ASSERT_STRING_EQUAL(out, dump);
	free(dump);
}

static void test_wrctl_others(void)
{
	static char out[65536];
	fill_metrics();
	json_t *j = wrctl_json("--json status");
	CU_ASSERT_EQUAL(number(j, "workers"), 2);
	CU_ASSERT(!json_object_get(j, "status"));
	json_decref(j);
	CU_ASSERT_EQUAL(run_wrctl("status", out, sizeof(out)), 0);
	CU_ASSERT(strstr(out, "loaded") && strstr(out, "31,031 frames"));
	j = wrctl_json("--json bundle");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(j, "path")), server.bundle_path);
	CU_ASSERT_EQUAL(number(j, "items"), 50);
	CU_ASSERT_EQUAL(number(j, "rules"), 1);
	json_decref(j);
	CU_ASSERT(run_wrctl("bundle", out, sizeof(out)) == 0 && strstr(out, server.bundle_path));
	j = wrctl_json("--json shards");
	uint32_t epoch;
	(void)wr_serve_shards(server.serve, &epoch);
	CU_ASSERT(epoch != 0 && number(j, "epoch") == epoch);
	CU_ASSERT_EQUAL(number(json_object_get(j, "udp_port"), "1"), 4701);
	CU_ASSERT_STRING_EQUAL(
		json_string_value(json_object_get(json_object_get(j, "shards"), "0")), "0-127");
	json_decref(j);
	CU_ASSERT(run_wrctl("shards", out, sizeof(out)) == 0 &&
		  strstr(out, " 4701     128   128-255\n"));
	j = wrctl_json("--json latency");
	CU_ASSERT_EQUAL(
		number(json_object_get(json_object_get(j, "stage_ns"), "rx"), "count"), 1001);
	json_decref(j);
	CU_ASSERT(run_wrctl("latency", out, sizeof(out)) == 0 && strstr(out, "encode") &&
		  strstr(out, "0.04"));
	j = wrctl_json("raw /info");
	CU_ASSERT(json_object_get(j, "version") != NULL);
	json_decref(j);
	CU_ASSERT(
		run_wrctl("raw /no/such", out, sizeof(out)) == 1 && strstr(out, "/no/such: null"));
	CU_ASSERT(run_wrctl("raw ,", out, sizeof(out)) == 1);
	CU_ASSERT(run_wrctl("--help", out, sizeof(out)) == 0 && strstr(out, "raw PATH"));
	CU_ASSERT(run_wrctl("nonsense", out, sizeof(out)) == 2 && strstr(out, "--help"));
	CU_ASSERT(run_wrctl("status more", out, sizeof(out)) == 2);
	CU_ASSERT(run_wrctl("raw", out, sizeof(out)) == 2);
}

/* bash itself completes from the script: a command's first letters, an option's. */
static void test_completion(void)
{
	char command[1024], out[1024];
	snprintf(command, sizeof(command),
		"bash -c 'source <(%s completion); COMP_WORDS=(wrctl doc); COMP_CWORD=1; _wrctl; "
		"echo "
		"${COMPREPLY[@]}; COMP_WORDS=(wrctl capture st); COMP_CWORD=2; _wrctl; echo "
		"${COMPREPLY[@]}; COMP_WORDS=(wrctl --sna); COMP_CWORD=1; _wrctl; echo "
		"${COMPREPLY[@]}' 2>/dev/null",
		wrctl);
	FILE *f = popen(command, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	size_t n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = '\0';
	CU_ASSERT_EQUAL(pclose(f), 0);
	CU_ASSERT_STRING_EQUAL(out, "doctor\nstart stop status\n--snaplen=\n");
}

/* Without a daemon: what was looked for, and which processes run. */
static void test_wrctl_nobody(void)
{
	char command[600], out[2048];
	snprintf(command, sizeof(command), "%s --name=wr-nobody status 2>&1", wrctl);
	FILE *f = popen(command, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	size_t n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = '\0';
	int rc = pclose(f);
	CU_ASSERT(WIFEXITED(rc) && WEXITSTATUS(rc) == 1);
	CU_ASSERT(strstr(out, "/wr-nobody/dpdk_telemetry.v2") != NULL);
	CU_ASSERT(strstr(out, server.name) != NULL);
}

static void must_hold(const char *doc, const char *row)
{
	bool found = strstr(doc, row) != NULL;
	if (!found)
		printf("\ndocs/operations.md must hold: %s\n", row);
	CU_ASSERT(found);
}

/* docs/operations.md has a row for every command of the socket and of wrctl, and for every decode
 * counter. */
static void test_documentation(void)
{
	char *doc, row[128];
	static char help[8192];
	size_t bytes;
	CU_ASSERT_EQUAL_FATAL(
		wr_file_read(WR_SOURCE_ROOT "/docs/operations.md", 1 << 20, &doc, &bytes, &msg),
		WR_OK);
	for (unsigned int i = 0; wr_control_command(i); i++) {
		snprintf(row, sizeof(row), "\n| `%s` |", wr_control_command(i)->path);
		must_hold(doc, row);
	}
	for (unsigned int i = 0; i < WR_DECODE_N; i++) {
		snprintf(row, sizeof(row), "\n| `%s` |", wr_decode_name((enum wr_decode)i));
		must_hold(doc, row);
	}
	CU_ASSERT_EQUAL(run_wrctl("--help", help, sizeof(help)), 0);
	unsigned int n = 0;
	char *line = strstr(help, "Commands:\n"), *options = strstr(help, "\nOptions:");
	CU_ASSERT_FATAL(line && options);
	for (line = strchr(line, '\n') + 1; line < options; line = strchr(line, '\n') + 1, n++) {
		snprintf(row, sizeof(row), "\n| `wrctl %.*s`", (int)strcspn(line + 2, " "),
			line + 2);
		must_hold(doc, row);
	}
	CU_ASSERT(n >= 12);
	for (line = options + 2; (line = strstr(line, "\n  --")); line += 5) {
		snprintf(row, sizeof(row), "`%.*s", (int)strcspn(line + 3, "= "), line + 3);
		if (strcmp(row, "`--help"))
			must_hold(doc, row);
	}
	free(doc);
}

/* Last: nothing is served any more. */
static void test_stop(void)
{
	char out[2048];
	CU_ASSERT_EQUAL(wr_control_start(server.serve, &msg), WR_ESTATE);
	wr_control_stop();
	json_t *b = ask("/wirerank/status");
	CU_ASSERT_STRING_EQUAL(status_of(b), "stopped");
	json_decref(b);
	CU_ASSERT(run_wrctl("status", out, sizeof(out)) == 1 && strstr(out, "stopping"));
	CU_ASSERT_EQUAL(wr_control_start(server.serve, &msg), WR_OK);
	b = ask("/wirerank/status");
	CU_ASSERT_STRING_EQUAL(status_of(b), "ok");
	json_decref(b);
	wr_control_stop();
}

int main(int argc, char **argv)
{
	static const struct wr_test tests[] = {
		{"status", test_status},
		{"stats: every counter, once", test_stats},
		{"latency", test_latency},
		{"parameters of any shape", test_parameters},
		{"wrctl stats", test_wrctl_stats},
		{"wrctl config", test_wrctl_config},
		{"wrctl status, bundle, latency, raw, usage", test_wrctl_others},
		{"wrctl without a daemon", test_wrctl_nobody},
		{"completion", test_completion},
		{"docs/operations.md lists every command", test_documentation},
		{"stop", test_stop},
	};
	if (argc != 2) {
		fprintf(stderr, "usage: %s PATH-OF-WRCTL\n", argv[0]);
		return 2;
	}
	wrctl = argv[1];
	int rc = 1;
	if (server_start(&server, &msg))
		fprintf(stderr, "%s\n", msg.text);
	else
		rc = wr_test_run("control", tests, WR_ARRAY_LEN(tests));
	server_end(&server);
	return rc;
}
