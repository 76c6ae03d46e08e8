/* SPDX-License-Identifier: BSD-3-Clause */
/* wrload: load generator and verifier. Commands are rows of one table. */
#include "wrload.h"

#include <string.h>

static const struct {
	const char *name, *help;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"run", "load at a rate (open loop), as fast as answers come (--max), or rising (--ramp)",
		cmd_run},
	{"eval",
		"hit rate and NDCG over the wire for every test user of a dataset; lists item for "
		"item",
		cmd_eval},
	{"ask", "one request, its answer in readable form", cmd_ask},
	{"hello", "what the server says of itself", cmd_hello},
	{"pcap", "the requests of a workload as a file for tcpreplay, Pktgen and DPDK's net_pcap",
		cmd_pcap},
	{"malform", "malformed frames of every kind, valid requests between them", cmd_malform},
	{"blast", "raw frames against an echo such as dpdk-testpmd: the machine's own limit",
		cmd_blast},
};

static void usage(FILE *f)
{
	fprintf(f, "usage: wrload COMMAND [--OPTION=VALUE …]\n\n");
	for (size_t i = 0; i < WR_ARRAY_LEN(commands); i++)
		fprintf(f, "  %-9s %s\n", commands[i].name, commands[i].help);
	fprintf(f, "\nwrload COMMAND --help lists a command's options. Exit codes: 0 = done, 1 = "
		   "could not,\n"
		   "2 = some answer was wrong.\n");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return EXIT_ERROR;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return EXIT_OK;
	}
	for (size_t i = 0; i < WR_ARRAY_LEN(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr, "wrload: no command '%s' (see wrload --help)\n", argv[1]);
	return EXIT_ERROR;
}
