/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * make_bundle PATH [MASK]: a bundle of the reference student's shape with random weights. It does
 * the same work per request as a trained one (the encoder has no data-dependent branch), so ./run
 * bench can run before anything was trained; what it recommends means nothing, and bench.json says
 * so. MASK: bit b set = all projections of block b are kept in two planes.
 */
#include "wr_test_bundle.h"

#define N_ITEMS 3416
#define SEED    1

int main(int argc, char **argv)
{
	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: make_bundle PATH [MASK]\n");
		return 2;
	}
	struct wr_bundle_model reference = wr_test_bundle_reference(N_ITEMS);
	for (unsigned int p = 0; p < WR_BUNDLE_PROJECTIONS && argc == 3; p++)
		reference.kept[p] = (uint16_t)strtoul(argv[2], NULL, 0);
	wr_test_bundle_write(argv[1], &reference, SEED);
	return 0;
}
