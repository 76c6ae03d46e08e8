/* SPDX-License-Identifier: BSD-3-Clause */
/* The one order in which floats are summed (docs/model.md, lane sum): 16 lanes, then folded by
 * halves. Plain form. */
#ifndef WR_LANE_SUM_H
#define WR_LANE_SUM_H

#define WR_LANES 16

/* Folds l += l+8, l += l+4, l += l+2, l += l+1; destroys lane. */
static inline float wr_lane_fold(float lane[WR_LANES])
{
	for (unsigned int half = WR_LANES / 2; half; half /= 2)
		for (unsigned int l = 0; l < half; l++)
			lane[l] += lane[l + half];
	return lane[0];
}

#endif
