-- SPDX-License-Identifier: BSD-3-Clause
-- One stream of echo requests (RECOMMEND with K = 0) at a given rate: one user's frames from a file, over and over. An echo reads
-- and changes nothing, so that sending the same request ids again is harmless.
--
--   wrload pcap --output=echo.pcap --workload=echo --users=1 --count=64 --micro
--   WR_PPS=10000 WR_SECONDS=5 pktgen EAL… -- -m 1.0 -s 0:echo.pcap -f pktgen-scripts/echo.lua
--
-- WR_PPS frames a second (10000), WR_SECONDS (5), WR_OUT file for the result, WR_PORT (0), WR_BURST (8).

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local wr = require("wirerank")

wr.main(function()
	local bytes = wr.use_pcap()
	local asked = wr.number("WR_PPS", 10000)
	local told = wr.set_pps(asked, bytes)
	local w = wr.window(wr.number("WR_SECONDS", 5))
	wr.result({
		script = "echo",
		asked_pps = asked,
		told_pps = told,
		sent_pps = w.pps,
		frame_bytes = bytes,
		sent = w.sent,
		answered = w.received,
		lost = w.lost,
		seconds = w.seconds,
	})
end)
