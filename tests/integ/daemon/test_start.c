/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts that must fail: one line that names the cause and the mend, a non-zero exit, nothing left
 * behind. */
#include "harness.h"

#include "wr_test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct daemon daemon_;
static char line[1024];

/* Tries with one or two settings; the last line of stderr must hold both words. */
static void refuse(const char *set, const char *set2, const char *cause, const char *mend)
{
	const char *sets[] = {set, set2, NULL};
	char path[96];
	int rc = daemon_try(&daemon_, sets, line, sizeof(line));
	CU_ASSERT(rc != 0 && rc < 126);
	bool said = strstr(line, cause) && strstr(line, mend);
	if (!said)
		printf("said: %s\n", line);
	CU_ASSERT(said);
	CU_ASSERT(strlen(line) < 500);
	CU_ASSERT(access(daemon_.socket, F_OK) != 0);
	snprintf(path, sizeof(path), "/var/run/dpdk/%s", daemon_.name);
	CU_ASSERT(access(path, F_OK) != 0);
}

static void test_configuration(void)
{
	refuse("--set=server.colour=red", NULL, "unknown key 'colour' in [server]",
		"docs/operations.md");
	refuse("--set=corridor.burst=1000", NULL, "[corridor] burst", "1 to 64");
	refuse("--set=admit.allow=300.0.0.0/8", NULL, "300.0.0.0/8", "such as 10.0.0.0/8");
	refuse("--config=/nonexistent/wirerankd.conf", NULL, "/nonexistent/wirerankd.conf", "");
	refuse("--set=server.lcores=900", NULL, "900", "server.lcores");
}

static void test_bundle(void)
{
	refuse("--set=bundle.path=/nonexistent/model.wrb", NULL, "/nonexistent/model.wrb", "");
	char broken[128], set[160];
	char *bytes;
	size_t n;
	struct wr_errmsg msg;
	CU_ASSERT_FATAL(wr_file_read(daemon_.bundle, 1u << 30, &bytes, &n, &msg) == 0);
	bytes[n - 100] ^= 1;
	snprintf(broken, sizeof(broken), "%s/broken.wrb", daemon_.dir);
	FILE *f = fopen(broken, "w");
	CU_ASSERT_FATAL(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
	free(bytes);
	snprintf(set, sizeof(set), "--set=bundle.path=%s", broken);
	refuse(set, NULL, "broken.wrb", "check");
	(void)unlink(broken);
}

static void test_memory(void)
{
	refuse("--set=memory.limit=20M", NULL, "memory.limit", "sessions.rows_per_lcore");
	refuse("--set=sessions.rows_per_lcore=60000000", NULL, "free memory",
		"sessions.rows_per_lcore");
	refuse("--set=memory.huge=yes", "--set=sessions.rows_per_lcore=60000000", "hugepages",
		"memory.huge = no");
}

static void test_port(void)
{
	refuse("--set=port.socket=/nonexistent/memif.sock", NULL, "/nonexistent", "create it");
	char set[160];
	snprintf(set, sizeof(set), "--set=port.socket=%s", daemon_.bundle);
	refuse(set, NULL, "is no socket", "remove it");
	/* the socket of a living daemon */
	struct daemon first = daemon_;
	struct daemon_end end;
	snprintf(first.name, sizeof(first.name), "wrt%d_first", (int)getpid());
	snprintf(first.socket, sizeof(first.socket), "%s/first.sock", daemon_.dir);
	daemon_start(&first, NULL);
	snprintf(set, sizeof(set), "--set=port.socket=%s", first.socket);
	refuse(set, NULL, "in use", "stop it");
	CU_ASSERT(access(first.socket, F_OK) == 0);
	/* its name: the second must neither start nor touch the first's telemetry socket */
	char path[128];
	struct daemon second = daemon_;
	const char *no_sets[] = {NULL};
	memcpy(second.name, first.name, sizeof(second.name));
	CU_ASSERT_NOT_EQUAL(daemon_try(&second, no_sets, line, sizeof(line)), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "is running already; choose another server.name"));
	snprintf(path, sizeof(path), "/var/run/dpdk/%s/dpdk_telemetry.v2", first.name);
	CU_ASSERT(access(path, F_OK) == 0);
	CU_ASSERT(daemon_stop(&first, &end));
}

/* A socket file that a killed daemon left is no obstacle. */
static void test_stale_socket(void)
{
	struct daemon_end end;
	struct daemon d = daemon_;
	daemon_start(&d, NULL);
	daemon_kill(&d);
	CU_ASSERT(access(d.socket, F_OK) == 0);
	daemon_start(&d, NULL);
	CU_ASSERT(daemon_stop(&d, &end));
	CU_ASSERT(end.said);
}

static void test_check(void)
{
	const char *check[] = {"--check", NULL},
		   *bad[] = {"--check", "--set=bundle.path=/nonexistent", NULL};
	CU_ASSERT_EQUAL(daemon_try(&daemon_, check, line, sizeof(line)), 0);
	CU_ASSERT_NOT_EQUAL(daemon_try(&daemon_, bad, line, sizeof(line)), 0);
	const char *dump[] = {"--dump-config", NULL};
	CU_ASSERT_EQUAL(daemon_try(&daemon_, dump, line, sizeof(line)), 0);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"configuration", test_configuration},
		{"bundle", test_bundle},
		{"memory", test_memory},
		{"port", test_port},
		{"a dead daemon's socket", test_stale_socket},
		{"--check and --dump-config", test_check},
	};
	daemon_prepare(&daemon_, 100, 1);
	int rc = wr_test_run("start", tests, WR_ARRAY_LEN(tests));
	daemon_remove(&daemon_);
	return rc;
}
