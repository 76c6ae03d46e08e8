/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/config: every type, errors with file and line, origins, round trip of the dump, mutated
 * files. */
#include "wr_test.h"
#include "wr_config.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct wr_config c;
static struct wr_errmsg msg;

static int parse(const char *text)
{
	wr_config_init(&c);
	msg.text[0] = '\0';
	return wr_config_parse(&c, text, strlen(text), "x.ini", &msg);
}

/* text must fail with a message that holds every word. */
static void expect_error(const char *text, int err, const char *word1, const char *word2)
{
	int got = parse(text);
	if (got != err || !strstr(msg.text, word1) || !strstr(msg.text, word2)) {
		printf("\n%s\n-> %d '%s', expected '%s' and '%s'\n", text, got, msg.text, word1,
			word2);
		CU_FAIL("wrong error");
	}
	CU_ASSERT(strchr(msg.text, '\n') == NULL);
}

static void test_defaults(void)
{
	wr_config_init(&c);
	CU_ASSERT_STRING_EQUAL(c.server_name, "wirerank");
	CU_ASSERT_EQUAL(c.server_lcores.n, 1);
	CU_ASSERT_EQUAL(c.server_lcores.cpu[0], 1);
	CU_ASSERT_EQUAL(c.port_udp_port, 4700);
	CU_ASSERT_EQUAL(c.port_mtu, 1500);
	CU_ASSERT_EQUAL(c.corridor_burst, 64);
	CU_ASSERT_EQUAL(c.admit_allow.n, 2);
	CU_ASSERT(!c.admit_allow.prefix[0].v6 && c.admit_allow.prefix[1].v6);
	CU_ASSERT(c.port_ipv4.n == 1 && !c.port_ipv4.a[0].v6 && c.port_ipv4.a[0].addr[0] == 10 &&
		  c.port_ipv4.a[0].addr[3] == 1);
	CU_ASSERT(c.port_ipv6.n == 1 && c.port_ipv6.a[0].v6 && c.port_ipv6.a[0].addr[0] == 0xfd &&
		  c.port_ipv6.a[0].addr[15] == 1);
	CU_ASSERT_EQUAL(c.port_service.n, 0);
	CU_ASSERT_EQUAL(c.port_mac.addr[4], 0x47);
	CU_ASSERT_EQUAL(c.memory_huge, WR_CONFIG_HUGE_AUTO);
	CU_ASSERT(wr_config_check(&c, &msg) == WR_EINVAL && strstr(msg.text, "bundle.path"));
}

static void test_every_type(void)
{
	CU_ASSERT_EQUAL(parse("# c\n; d\n[server]\nname = a-b.c_1\nisa=avx512vnni\ngemm : own\n"
			      "lcores = 4, 2-3,9 ; four\r\n[bundle]\npath = /tmp/a b # c\n[port]\n"
			      "mac = 02:aB:00:00:00:01\nipv4 = none\nipv6 = fd::2 ,fd::3\nservice "
			      "= 10.9.9.9, fd::9\nrx_checksum = trust\nring_size = 14\n"
			      "mtu = 0x578\nrole = client\n[admit]\nallow=10.0.0.0/8,fd00::7\n"
			      "[corridor]\nhandover_ring = 64\n[memory]\nlimit = 3G\nhuge = no"),
		WR_OK);
	CU_ASSERT_STRING_EQUAL(c.server_name, "a-b.c_1");
	CU_ASSERT_EQUAL(c.server_isa, WR_CONFIG_ISA_AVX512VNNI);
	CU_ASSERT_EQUAL(c.server_gemm, WR_CONFIG_GEMM_OWN);
	CU_ASSERT_EQUAL(c.server_lcores.n, 4);
	CU_ASSERT(c.server_lcores.cpu[0] == 4 && c.server_lcores.cpu[2] == 3 &&
		  c.server_lcores.cpu[3] == 9);
	CU_ASSERT_STRING_EQUAL(c.bundle_path, "/tmp/a b # c");
	CU_ASSERT_EQUAL(c.port_mac.addr[1], 0xab);
	CU_ASSERT(c.port_ipv4.n == 0 && c.port_ipv6.n == 2 && c.port_ipv6.a[1].addr[15] == 3);
	CU_ASSERT(c.port_service.n == 2 && !c.port_service.a[0].v6 && c.port_service.a[1].v6);
	CU_ASSERT_EQUAL(c.port_rx_checksum, WR_CONFIG_RX_CHECKSUM_TRUST);
	CU_ASSERT_EQUAL(c.port_ring_size, 14);
	CU_ASSERT_EQUAL(c.port_mtu, 1400);
	CU_ASSERT_EQUAL(c.port_role, WR_CONFIG_ROLE_CLIENT);
	CU_ASSERT_EQUAL(c.admit_allow.n, 2);
	CU_ASSERT(c.admit_allow.prefix[0].bits == 8 && c.admit_allow.prefix[0].addr[0] == 10);
	CU_ASSERT(c.admit_allow.prefix[1].bits == 128 && c.admit_allow.prefix[1].v6);
	CU_ASSERT_EQUAL(c.corridor_handover_ring, 64);
	CU_ASSERT_EQUAL(c.memory_limit, (uint64_t)3 << 30);
	CU_ASSERT_EQUAL(c.memory_huge, WR_CONFIG_HUGE_NO);
	CU_ASSERT_EQUAL(wr_config_check(&c, &msg), WR_OK);
}

static void test_enum_order(void)
{
	static const struct {
		enum wr_config_id id;
		const char *choices;
		unsigned int last;
	} rows[] = {
		{WR_CONFIG_server_isa, "auto|ref|avx2|avx512vnni|amx", WR_CONFIG_ISA_AMX},
		{WR_CONFIG_server_gemm, "auto|own|onednn", WR_CONFIG_GEMM_ONEDNN},
		{WR_CONFIG_port_kind, "memif|af_xdp|tap|nic|vdev", WR_CONFIG_KIND_VDEV},
		{WR_CONFIG_port_xdp_mode, "auto|native|generic", WR_CONFIG_XDP_MODE_GENERIC},
		{WR_CONFIG_port_xdp_copy, "auto|copy|zero_copy", WR_CONFIG_XDP_COPY_ZERO_COPY},
		{WR_CONFIG_port_role, "server|client", WR_CONFIG_ROLE_CLIENT},
		{WR_CONFIG_port_rx_checksum, "verify|trust", WR_CONFIG_RX_CHECKSUM_TRUST},
		{WR_CONFIG_memory_huge, "auto|yes|no", WR_CONFIG_HUGE_NO},
	};
	unsigned int n_enums = 0;
	for (unsigned int i = 0; i < WR_CONFIG_N; i++)
		n_enums += wr_config_keys[i].choices != NULL;
	CU_ASSERT_EQUAL(n_enums, WR_ARRAY_LEN(rows));
	for (unsigned int i = 0; i < WR_ARRAY_LEN(rows); i++) {
		const struct wr_config_key *k = &wr_config_keys[rows[i].id];
		CU_ASSERT_STRING_EQUAL(k->choices, rows[i].choices);
		char set[64];
		snprintf(set, sizeof(set), "%s.%s=%s", k->section, k->key,
			strrchr(k->choices, '|') ? strrchr(k->choices, '|') + 1 : k->choices);
		wr_config_init(&c);
		CU_ASSERT_EQUAL_FATAL(wr_config_set(&c, set, &msg), WR_OK);
		unsigned int got = i == 0   ? c.server_isa
				   : i == 1 ? c.server_gemm
				   : i == 2 ? c.port_kind
				   : i == 3 ? c.port_xdp_mode
				   : i == 4 ? c.port_xdp_copy
				   : i == 5 ? c.port_role
				   : i == 6 ? c.port_rx_checksum
					    : c.memory_huge;
		CU_ASSERT_EQUAL(got, rows[i].last);
	}
}

static void test_unknown_names(void)
{
	expect_error("\n[serverr]\nname=x\n", WR_EFORMAT, "x.ini:2: unknown section", "[server]?");
	expect_error(
		"[nonsense]\n", WR_EFORMAT, "x.ini:1: unknown section [nonsense]", "operations.md");
	expect_error("[]\n", WR_EFORMAT, "x.ini:1: unknown section []", "");
	expect_error("[server]\n\n\nlcore = 1\n", WR_EFORMAT, "x.ini:4: unknown key 'lcore'",
		"'lcores'?");
	expect_error("[server]\nudp_port = 1\n", WR_EFORMAT, "x.ini:2: ", "belongs to [port]");
	expect_error("[server]\nzzz = 1\n", WR_EFORMAT, "x.ini:2: ", "docs/operations.md");
	expect_error("[server]\nz\x01\x1b[2J = 1\n", WR_EFORMAT, "x.ini:2: ", "'z??[2J'");
	expect_error("[server]\nname = a\nisa = ref\nname = b\n", WR_EFORMAT,
		"x.ini:4: ", "in line 2 already");
	expect_error("name = a\n", WR_EFORMAT, "x.ini:1: ", "before the first [section]");
}

static void test_syntax(void)
{
	expect_error("[server]\njust words\n", WR_EFORMAT, "x.ini:2: must be 'key = value'",
		"[section]");
	expect_error("[server\nname = a\n", WR_EFORMAT, "x.ini:1: ", "']' is missing");
	expect_error("[server] x\n", WR_EFORMAT, "x.ini:1: ", "only a comment");
	expect_error("[server]\n  name = a\n  b\n", WR_EFORMAT, "x.ini:3: ", "key = value");
	CU_ASSERT_EQUAL(parse("\xef\xbb\xbf[server] ; c\n  name = a\n\tisa = ref\n"), WR_OK);
	CU_ASSERT_STRING_EQUAL(c.server_name, "a");
	CU_ASSERT_EQUAL(parse(""), WR_OK);
	wr_config_init(&c);
	CU_ASSERT(wr_config_parse(&c, "[server]\nname = a\0b\n", 20, "x.ini", &msg) == WR_EFORMAT);
	CU_ASSERT(strstr(msg.text, "x.ini:2: a NUL byte") != NULL);
	char line[1300];
	for (int n = 900; n < 1290; n++) {
		snprintf(line, sizeof(line), "[bundle]\n#%0*d\npath = p\n", n - 2, 0);
		int err = parse(line);
		CU_ASSERT_EQUAL(err, n > 1000 ? WR_EFORMAT : WR_OK);
		CU_ASSERT(err ? strstr(msg.text, "x.ini:2: longer") != NULL
			      : c.bundle_path[0] == 'p');
	}
}

static void test_values(void)
{
	expect_error("[port]\nudp_port = 70000\n", WR_EINVAL, "x.ini:2: [port] udp_port = '70000'",
		"1 to 65535");
	expect_error("[port]\nudp_port =\n", WR_EINVAL, "x.ini:2", "1 to 65535");
	expect_error("[port]\nudp_port = -1\n", WR_EINVAL, "x.ini:2", "1 to 65535");
	expect_error(
		"[corridor]\nburst = 65\n", WR_EINVAL, "x.ini:2", "a number from 1 to 64 (frames)");
	expect_error("[corridor]\nhandover_ring = 100\n", WR_EINVAL, "x.ini:2",
		"a power of two from 64");
	expect_error("[memory]\nlimit = 2048G\n", WR_EINVAL, "x.ini:2", "bytes from 0 to 1024G");
	expect_error("[server]\nisa = sse\n", WR_EINVAL, "x.ini:2",
		"auto, ref, avx2, avx512vnni or amx");
	expect_error("[server]\nisa = avx\n", WR_EINVAL, "x.ini:2",
		"auto, ref, avx2, avx512vnni or amx");
	expect_error("[server]\nname = a/b\n", WR_EINVAL, "x.ini:2", "1 to 31 letters");
	expect_error("[server]\nname = .a\n", WR_EINVAL, "x.ini:2", "1 to 31 letters");
	expect_error("[server]\nname = 12345678901234567890123456789012\n", WR_EINVAL, "x.ini:2",
		"1 to 31");
	expect_error("[bundle]\npath =\n", WR_EINVAL, "x.ini:2", "1 to 255 characters");
	static const char *const cpus[] = {"", "a", "1,", "1-", "-1", "3-1", "1,1", "0-2,1", "1024",
		"0-64", "1;2x", "1 2", "99999999999999999999"};
	static const char *const macs[] = {"02:00:00:00:00", "02:00:00:00:00:0g",
		"01:00:00:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00:00:00", "0200.0000.0000",
		""};
	static const char *const ips[] = {"10.0.0", "0.0.0.0", "::1", "10.0.0.256", "x", "",
		"127.0.0.1", "224.0.0.1", "255.255.255.255", "10.0.0.1,", "10.0.0.1,10.0.0.1",
		"10.0.0.1 10.0.0.2", "10.0.0.1,none", "none,10.0.0.1", "10.0.0.1,fd::1", ",",
		("1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9,"
		 "1.1.2.1,1.1.2.2,1.1.2.3,1.1.2.4,1.1.2.5,1.1.2.6,1.1.2.7,1.1.2.8")};
	static const char *const ips6[] = {
		"10.0.0.1", "::", "::1", "::ffff:10.0.0.1", "ff02::1", "fd::1, fd::1", "fd::g"};
	static const char *const prefixes[] = {"", "10.0.0", "10.0.0.0/33", "10.0.0.1/8", "::/129",
		"fd00::1/64", "10.0.0.0/8,", "10.0.0.0/8 11.0.0.0/8", "/8", "10.0.0.0/",
		"10.0.0.0/-1"};
	wr_config_init(&c);
	char set[256];
#define REFUSED(key, list)                                                \
	for (unsigned int i = 0; i < WR_ARRAY_LEN(list); i++) {           \
		snprintf(set, sizeof(set), key "=%s", list[i]);           \
		CU_ASSERT_EQUAL(wr_config_set(&c, set, &msg), WR_EINVAL); \
		CU_ASSERT(strstr(msg.text, "--set: [") != NULL &&         \
			  strstr(msg.text, "must be ") != NULL);          \
	}
	REFUSED("server.lcores", cpus);
	REFUSED("port.mac", macs);
	REFUSED("port.ipv4", ips);
	REFUSED("port.ipv6", ips6);
	REFUSED("admit.allow", prefixes);
	/* Nothing of that may have changed a value. */
	static struct wr_config fresh;
	wr_config_init(&fresh);
	CU_ASSERT(memcmp(&fresh, &c, sizeof(c)) == 0);
}

static void test_sets(void)
{
	CU_ASSERT_EQUAL(parse("[server]\n\nisa = ref\nname = f\n"), WR_OK);
	CU_ASSERT_EQUAL(wr_config_set(&c, "server.isa=avx2", &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_config_set(&c, "bundle.path=/a=b.c", &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_config_set(&c, "bundle.path=/a=b.d", &msg), WR_OK);
	CU_ASSERT_EQUAL(c.server_isa, WR_CONFIG_ISA_AVX2);
	CU_ASSERT_STRING_EQUAL(c.bundle_path, "/a=b.d");
	char text[300];
	wr_config_origin(&c, WR_CONFIG_server_isa, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, "--set");
	wr_config_origin(&c, WR_CONFIG_server_name, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, "x.ini:4");
	wr_config_origin(&c, WR_CONFIG_port_id, text, sizeof(text));
	CU_ASSERT_STRING_EQUAL(text, "default");
	static const char *const bad[] = {
		"", "server", "server.isa", "isa=ref", "=", ".=", "a=b.c", "server.isaa=ref"};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(bad); i++)
		CU_ASSERT(wr_config_set(&c, bad[i], &msg) == WR_EFORMAT &&
			  !strncmp(msg.text, "--set", 5));
	char a0[] = "wirerankd", a1[] = "--set", a2[] = "a.b=c", a3[] = "--check",
	     a4[] = "--set=d.e=f";
	char *argv[] = {a0, a1, a2, a3, a4, NULL};
	const char *sets[2];
	unsigned int n;
	int argc = 5;
	CU_ASSERT_EQUAL(wr_config_take_sets(&argc, argv, sets, 2, &n, &msg), WR_OK);
	CU_ASSERT(argc == 2 && argv[1] == a3 && argv[2] == NULL);
	CU_ASSERT(n == 2 && sets[0] == a2 && !strcmp(sets[1], "d.e=f"));
	char *lone[] = {a0, a1, NULL};
	argc = 2;
	CU_ASSERT_EQUAL(wr_config_take_sets(&argc, lone, sets, 2, &n, &msg), WR_EINVAL);
}

static void test_cross_checks(void)
{
	CU_ASSERT_EQUAL(
		parse("[bundle]\npath=p\n[port]\nudp_port=65534\n[server]\nlcores=0-2\n"), WR_OK);
	CU_ASSERT(wr_config_check(&c, &msg) == WR_EINVAL && strstr(msg.text, "at most 65533"));
	CU_ASSERT_EQUAL(wr_config_set(&c, "port.udp_port=65533", &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_config_check(&c, &msg), WR_OK);
	CU_ASSERT_EQUAL(parse("[bundle]\npath=p\n[port]\nipv4=none\nipv6=none\n"), WR_OK);
	CU_ASSERT(wr_config_check(&c, &msg) == WR_EINVAL && strstr(msg.text, "ipv4"));
	static const struct {
		const char *kind, *key, *value;
	} needs[] = {
		{"af_xdp", "interface", "veth0"},
		{"tap", "interface", "wr0"},
		{"nic", "device", "0000:03:00.0"},
		{"vdev", "device", "net_ring0"},
	};
	for (unsigned int i = 0; i < WR_ARRAY_LEN(needs); i++) {
		char text[128];
		snprintf(text, sizeof(text), "[bundle]\npath=p\n[port]\nkind=%s\n", needs[i].kind);
		CU_ASSERT_EQUAL(parse(text), WR_OK);
		CU_ASSERT(wr_config_check(&c, &msg) == WR_EINVAL &&
			  strstr(msg.text, needs[i].kind) && strstr(msg.text, needs[i].key));
		snprintf(text, sizeof(text), "port.%s=%s", needs[i].key, needs[i].value);
		CU_ASSERT_EQUAL(wr_config_set(&c, text, &msg), WR_OK);
		CU_ASSERT_EQUAL(wr_config_check(&c, &msg), WR_OK);
	}
	CU_ASSERT_EQUAL(
		parse("[bundle]\npath=p\n[port]\nkind=tap\ninterface=wr0\nkernel_tap=wr0\n"),
		WR_OK);
	CU_ASSERT(wr_config_check(&c, &msg) == WR_EINVAL && strstr(msg.text, "both wr0"));
	CU_ASSERT_EQUAL(wr_config_set(&c, "port.kernel_tap=wrk0", &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_config_check(&c, &msg), WR_OK);
	CU_ASSERT_EQUAL(wr_config_set(&c, "port.kind=af_xdp", &msg), WR_OK);
	CU_ASSERT(wr_config_check(&c, &msg) == WR_EINVAL && strstr(msg.text, "kernel_tap"));
	CU_ASSERT_EQUAL(wr_config_set(&c, "port.kernel_tap=wr/0", &msg), WR_EINVAL);
	CU_ASSERT_EQUAL(
		parse("[bundle]\npath=p\n[port]\nipv4=10.0.0.1\nservice=fd::1,10.0.0.1\n"), WR_OK);
	CU_ASSERT(wr_config_check(&c, &msg) == WR_EINVAL && strstr(msg.text, "service"));
}

/* The dump of a, parsed again, has the values of a. */
static void check_round_trip(const struct wr_config *a)
{
	static struct wr_config b;
	char *text = NULL;
	size_t bytes = 0;
	FILE *f = open_memstream(&text, &bytes);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	wr_config_dump(a, f);
	fclose(f);
	wr_config_init(&b);
	int err = wr_config_parse(&b, text, bytes, "dump", &msg);
	if (err)
		printf("\n%s\n%s\n", msg.text, text);
	CU_ASSERT_EQUAL(err, WR_OK);
	for (unsigned int i = 0; i < WR_CONFIG_N; i++) {
		char x[2048], y[2048];
		wr_config_value(a, i, x, sizeof(x));
		wr_config_value(&b, i, y, sizeof(y));
		CU_ASSERT_STRING_EQUAL(x, y);
		CU_ASSERT(b.origin[i] > 0 || !x[0]);
	}
	free(text);
}

static void test_dump_round_trip(void)
{
	wr_config_init(&c);
	check_round_trip(&c);
	CU_ASSERT_EQUAL(parse("[server]\nlcores = 0,2-4,7\n[bundle]\npath = /x # "
			      "y\n[port]\nmtu=1280\n"
			      "ipv4 = none\n[admit]\nallow = ::/0\n[memory]\nlimit=5M\n"),
		WR_OK);
	check_round_trip(&c);
	char value[64];
	wr_config_value(&c, WR_CONFIG_server_lcores, value, sizeof(value));
	CU_ASSERT_STRING_EQUAL(value, "0,2-4,7");
	wr_config_value(&c, WR_CONFIG_memory_limit, value, sizeof(value));
	CU_ASSERT_STRING_EQUAL(value, "5M");
	wr_config_value(&c, WR_CONFIG_admit_allow, value, 4);
	CU_ASSERT_STRING_EQUAL(value, "::/");
}

static void test_files(void)
{
	wr_config_init(&c);
	CU_ASSERT(wr_config_read(&c, "/nonexistent.ini", &msg) == WR_ENOENT &&
		  strstr(msg.text, "/nonexistent.ini"));
	CU_ASSERT(wr_config_read(&c, "/", &msg) != WR_OK);
	char path[] = "/tmp/wr_config_XXXXXX";
	int fd = mkstemp(path);
	CU_ASSERT_FATAL(fd >= 0);
	static const char text[] = "[port]\nid = 7\n\nid = 8\n";
	CU_ASSERT_EQUAL(write(fd, text, sizeof(text) - 1), (ssize_t)sizeof(text) - 1);
	close(fd);
	CU_ASSERT_EQUAL(wr_config_read(&c, path, &msg), WR_EFORMAT);
	char expected[64];
	snprintf(expected, sizeof(expected), "%s:4: ", path);
	CU_ASSERT(strncmp(msg.text, expected, strlen(expected)) == 0);
	unlink(path);
}

/* Random bytes, and a sound file with a few bytes changed: an error with a place, or values in
 * range. */
static void test_mutations(void)
{
	static const char sound[] =
		"[server]\nname = a\nisa = ref\nlcores = 0-3,9\n[port]\nmac = 02:00:00:00:00:01\n"
		"ipv4 = 1.2.3.4\nipv6 = fd00::1\nmtu = 1600\n[admit]\nallow = 10.0.0.0/8, "
		"::/0\n"
		"[corridor]\nburst = 8\nhandover_ring = 128\n[memory]\nlimit = 1G\n";
	struct wr_rng r;
	wr_rng_init(&r, 11, 0);
	unsigned int n_sound = 0, n_bad = 0;
	for (int round = 0; round < 20000; round++) {
		char text[1200];
		size_t n = sizeof(sound) - 1;
		if (round % 4 == 0) {
			n = wr_rng_below(&r, sizeof(text));
			static const char usual[] = "[]=;#\n\r server.isa";
			for (size_t i = 0; i < n; i++) {
				uint64_t x = wr_rng_u64(&r);
				text[i] = round % 8 ? (char)x : usual[x % (sizeof(usual) - 1)];
			}
		} else {
			memcpy(text, sound, n);
			for (unsigned int i = wr_rng_below(&r, 3) + 1; i > 0; i--) {
				uint64_t x = wr_rng_u64(&r);
				text[wr_rng_below(&r, (uint32_t)n)] =
					round % 2 ? (char)x : sound[x % n];
			}
		}
		/* An exact heap copy, so that a sanitizer sees an over-read. */
		char *copy = malloc(n ? n : 1);
		CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
		memcpy(copy, text, n);
		wr_config_init(&c);
		msg.text[0] = '\0';
		int err = wr_config_parse(&c, copy, n, "m.ini", &msg);
		free(copy);
		if (err) {
			n_bad++;
			CU_ASSERT(strncmp(msg.text, "m.ini:", 6) == 0);
			continue;
		}
		n_sound++;
		CU_ASSERT(c.corridor_burst >= 1 && c.corridor_burst <= 64);
		CU_ASSERT(c.server_lcores.n >= 1 && c.server_lcores.n <= WR_CONFIG_MAX_LCORES);
		if (round % 64 == 1)
			check_round_trip(&c);
	}
	CU_ASSERT(n_sound > 100 && n_bad > 1000);
}

/* docs/operations.md holds the schema's table as it is now. */
static void test_documentation(void)
{
	char *table = NULL, *doc;
	size_t bytes;
	FILE *f = open_memstream(&table, &bytes);
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	wr_config_document(f);
	fclose(f);
	CU_ASSERT_EQUAL_FATAL(
		wr_file_read(WR_SOURCE_ROOT "/docs/operations.md", 1 << 20, &doc, &bytes, &msg),
		WR_OK);
	bool found = strstr(doc, table) != NULL;
	if (!found)
		printf("\ndocs/operations.md must hold:\n%s", table);
	CU_ASSERT(found);
	free(doc);
	free(table);
}

/* Every file of configs/ but the intent rules is a configuration that the daemon takes. */
static void test_examples(void)
{
	DIR *d = opendir(WR_SOURCE_ROOT "/configs");
	unsigned int n = 0;
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.' || !strncmp(e->d_name, "rules", 5))
			continue;
		char path[1024];
		snprintf(path, sizeof(path), WR_SOURCE_ROOT "/configs/%s", e->d_name);
		wr_config_init(&c);
		int err = wr_config_read(&c, path, &msg);
		if (!err)
			err = wr_config_check(&c, &msg);
		if (err)
			printf("\n%s: %s\n", e->d_name, msg.text);
		CU_ASSERT_EQUAL(err, WR_OK);
		n++;
	}
	closedir(d);
	CU_ASSERT(n >= 2);
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"defaults satisfy their rows", test_defaults},
		{"every type is parsed", test_every_type},
		{"enum constants follow their choices", test_enum_order},
		{"unknown and repeated names", test_unknown_names},
		{"syntax errors name their line", test_syntax},
		{"bad values name range and unit", test_values},
		{"--set overrides and origins", test_sets},
		{"rules over several keys", test_cross_checks},
		{"a dump reads back", test_dump_round_trip},
		{"files", test_files},
		{"random and mutated files", test_mutations},
		{"docs/operations.md lists every key", test_documentation},
		{"configs/ are sound", test_examples},
	};
	return wr_test_run("config", tests, WR_ARRAY_LEN(tests));
}
