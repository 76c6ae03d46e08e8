-- SPDX-License-Identifier: BSD-3-Clause
-- The highest rate without loss: doubles from WR_MIN_PPS until a window loses more than the share WR_LOSS, then halves the gap until it
-- is under 5 %. A window in which Pktgen itself fell more than 5 % short of the rate ends the search with generator_bound: the
-- server may be faster than that. Every step is a line of its own in WR_OUT, the last line is the verdict.
--
--   wrload pcap --output=echo.pcap --workload=echo --users=1000 --count=10000 --micro
--   WR_MIN_PPS=1000 WR_MAX_PPS=2000000 pktgen EAL… -- -m 1.0 -s 0:echo.pcap -f pktgen-scripts/sweep.lua
--
-- WR_MIN_PPS (1000), WR_MAX_PPS (the link), WR_LOSS (0), WR_SECONDS of a step (3), WR_OUT, WR_PORT (0), WR_BURST (8).

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local wr = require("wirerank")

local loss, seconds, bytes

-- A window at that rate: whether it held, and whether Pktgen did.
local function step(pps)
	local told = wr.set_pps(pps, bytes)
	local w = wr.window(seconds)
	local bound = w.pps < 0.95 * math.min(pps, told)
	local held = w.lost <= loss * w.sent
	wr.result({
		script = "sweep",
		asked_pps = pps,
		sent_pps = w.pps,
		sent = w.sent,
		answered = w.received,
		lost = w.lost,
		held = held,
		generator_bound = bound,
	})
	return held, bound, w.pps
end

wr.main(function()
	bytes = wr.use_pcap()
	loss = wr.number("WR_LOSS", 0)
	seconds = wr.number("WR_SECONDS", 3)
	local link = wr.link_pps(bytes)
	local most = math.min(link, wr.number("WR_MAX_PPS", link))
	local pps, good, bad, bound = wr.number("WR_MIN_PPS", 1000), 0, nil, false
	while pps >= wr.least_pps(bytes) and good < 0.99 * most and not (bad and bad - good <= 0.05 * bad) do
		local held, short, sent = step(pps)
		if held then
			good = math.max(good, math.min(pps, sent))
			bound = short
		else
			bad = pps
		end
		if bound then
			break
		end
		pps = bad and (good + bad) / 2 or math.min(most, 2 * pps)
	end
	wr.result({ script = "sweep", highest_pps = good, generator_bound = bound, frame_bytes = bytes, loss_allowed = loss })
end)
