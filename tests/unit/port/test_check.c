/* SPDX-License-Identifier: BSD-3-Clause */
/* What a port's options are refused for before EAL runs, and what EAL is told of them. */
#include "wr_port.h"
#include "wr_test.h"

#include <string.h>

static struct wr_errmsg msg;

static struct wr_port_options options(enum wr_port_kind kind)
{
	return (struct wr_port_options){
		.kind = kind, .n_queues = 1, .ring_size = 1024, .mtu = 1500};
}

/* Refused, and the message has these words. */
static bool refused(const struct wr_port_options *o, const char *words)
{
	msg.text[0] = '\0';
	return wr_port_check(o, &msg) < 0 && strstr(msg.text, words) != NULL;
}

static void test_rings_and_queues(void)
{
	struct wr_port_options o = options(WR_PORT_MEMIF);
	CU_ASSERT_EQUAL(wr_port_check(&o, &msg), WR_OK);
	o.ring_size = 1000;
	CU_ASSERT(refused(&o, "port.ring_size"));
	o = options(WR_PORT_MEMIF);
	o.n_queues = WR_PORT_MAX_QUEUES + 1;
	CU_ASSERT(refused(&o, "queue pairs"));
	o.n_queues = 0;
	CU_ASSERT(refused(&o, "queue pairs"));
}

static void test_interfaces(void)
{
	static const char *const none[] = {
		"", "a b", "a/b", "a,b", "a=b", ".", "..", "sixteen-letters-"};
	const enum wr_port_kind kinds[] = {WR_PORT_TAP, WR_PORT_AF_XDP};
	for (unsigned int k = 0; k < WR_ARRAY_LEN(kinds); k++) {
		struct wr_port_options o = options(kinds[k]);
		CU_ASSERT(refused(&o, "port.interface"));
		for (unsigned int i = 0; i < WR_ARRAY_LEN(none); i++) {
			o.interface = none[i];
			CU_ASSERT(refused(&o, "no name of an interface"));
		}
	}
	struct wr_port_options o = options(WR_PORT_TAP);
	o.interface = "lo";
	CU_ASSERT(refused(&o, "exists already"));
	o.kind = WR_PORT_AF_XDP;
	o.interface = "wr-no-such-if";
	CU_ASSERT(refused(&o, "No such device"));
}

static void test_devices(void)
{
	static const char *const none[] = {
		"", "eth0", "0000:03:00", "0000:03:00.8", "0000:03:20.0", "0000:03:00.0,a=b"};
	struct wr_port_options o = options(WR_PORT_NIC);
	CU_ASSERT(refused(&o, "no PCI address"));
	for (unsigned int i = 0; i < WR_ARRAY_LEN(none); i++) {
		o.device = none[i];
		CU_ASSERT(refused(&o, "no PCI address"));
	}
	o.device = "0:3:0.0";
	CU_ASSERT(refused(&o, "write 0000:03:00.0"));
	o.device = "fffe:ff:1f.7";
	CU_ASSERT(refused(&o, "no such PCI device"));
	o = options(WR_PORT_VDEV);
	CU_ASSERT(refused(&o, "give a device"));
	o.device = ",size=64";
	CU_ASSERT(refused(&o, "give a device"));
	o.device = "a-name-that-is-longer-than-thirty-one";
	CU_ASSERT(refused(&o, "give a device"));
	o.device = "net_null0,size=64";
	CU_ASSERT_EQUAL(wr_port_check(&o, &msg), WR_OK);
}

static void test_eal_arguments(void)
{
	const char *args[WR_PORT_MAX_EAL_ARGUMENTS];
	struct wr_port_options o = options(WR_PORT_NIC);
	o.device = "0000:03:00.0";
	CU_ASSERT_EQUAL_FATAL(wr_port_eal_arguments(&o, args), 2);
	CU_ASSERT(!strcmp(args[0], "-a") && !strcmp(args[1], o.device));
	o = options(WR_PORT_MEMIF);
	CU_ASSERT_EQUAL_FATAL(wr_port_eal_arguments(&o, args), 1);
	CU_ASSERT_STRING_EQUAL(args[0], "--no-pci");
	o = options(WR_PORT_AF_XDP);
	CU_ASSERT_EQUAL_FATAL(wr_port_eal_arguments(&o, args), 2);
	CU_ASSERT_STRING_EQUAL(args[1], "--iova-mode=va");
}

int main(void)
{
	static const struct wr_test tests[] = {
		{"rings and queues", test_rings_and_queues},
		{"interfaces", test_interfaces},
		{"devices", test_devices},
		{"what EAL is told", test_eal_arguments},
	};
	return wr_test_run("port options", tests, WR_ARRAY_LEN(tests));
}
