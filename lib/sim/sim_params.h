/* SPDX-License-Identifier: BSD-3-Clause */
/* The frozen parameters of the simulated centre; docs/simulator.md says what each does.
 * tests/unit/sim pins the output. */
#ifndef SIM_PARAMS_H
#define SIM_PARAMS_H

/* world */
/* lengths of the parts of an item's vector; their squares add up to about 1 */
#define SIM_THEME_LENGTH 0.80
#define SIM_TOPIC_LENGTH 0.45
#define SIM_ITEM_LENGTH  0.40
#define SIM_TOPIC_SPREAD 0.70 /* standard deviation of a topic's log attractiveness */
#define SIM_ITEM_SPREAD  0.50 /* standard deviation of an item's bias, logits */

/* click model */
#define SIM_CLICK_BASE    (-3.4) /* logits */
#define SIM_CLICK_TASTE   1.6
#define SIM_CLICK_TOPIC   0.9 /* the item is of the wanted topic */
#define SIM_CLICK_STEP    1.4 /* × 2^-d, d steps ahead of the wanted step */
#define SIM_CLICK_NEXT    0.5 /* the item is of a successor of the wanted topic */
#define SIM_EXAMINE_DECAY 0.15

/* conversion given a click, logits */
#define SIM_CONVERT_BASE  (-2.0)
#define SIM_CONVERT_TASTE 0.6
#define SIM_CONVERT_TOPIC 0.5
#define SIM_CONVERT_STEP  0.3

/* users */
#define SIM_CLICKS_MEAN     30.0 /* beyond WR_SIM_MIN_CLICKS, before the cut */
#define SIM_CLICKS_CUT      120.0
#define SIM_TASTE_KEEP      0.95 /* correlation of a taste from session to session */
#define SIM_GOAL_CANDIDATES 24
#define SIM_GOAL_TASTE      2.2
#define SIM_GOAL_RESUME     0.25
#define SIM_SESSION_END     0.15 /* probability after each slate */
#define SIM_SESSION_SLATES  40   /* at most */
#define SIM_STAY            0.40 /* after a click: on to the next step of its topic; else to a successor */
#define SIM_FOLLOW          0.60 /* a click outside of the wanted topic takes the intent along */
#define SIM_SAY             0.30 /* a session opens with an utterance */
/* a user to whom nothing appeals leaves after so many slates per wanted click */
#define SIM_SLATES_PER_CLICK 50

/* times, ms */
#define SIM_EPOCH_MS        1735689600000 /* 2025-01-01 */
#define SIM_START_SPREAD_MS 5184000000.0  /* first sessions: 60 days */
#define SIM_SESSION_GAP_MS  172800000.0   /* mean */
#define SIM_SLATE_GAP_MS    25000.0       /* mean, beyond the minimum */

#endif
