-- SPDX-License-Identifier: BSD-3-Clause
-- Any workload of wrload, replayed at a rate. Pktgen sends a file's frames round and round and not quite in their order; from the
-- second round on their events are duplicates, which costs the server less than news: make the file longer than the run.
--
--   wrload pcap --output=warm.pcap --workload=warm --users=10000 --count=100000 --micro
--   WR_PPS=20000 WR_SECONDS=4 pktgen EAL… -- -m 1.0 -s 0:warm.pcap -f pktgen-scripts/replay.lua
--
-- WR_FRAMES in the file (0 = not known: rounds are not told), WR_PPS (10000), WR_SECONDS (5), WR_OUT, WR_PORT (0), WR_BURST (8).

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local wr = require("wirerank")

wr.main(function()
	local bytes = wr.use_pcap()
	local frames = wr.number("WR_FRAMES", 0)
	local asked = wr.number("WR_PPS", 10000)
	wr.set_pps(asked, bytes)
	local w = wr.window(wr.number("WR_SECONDS", 5))
	wr.result({
		script = "replay",
		asked_pps = asked,
		sent_pps = w.pps,
		frame_bytes = bytes,
		sent = w.sent,
		answered = w.received,
		lost = w.lost,
		rounds = frames > 0 and w.sent / frames or 0,
		seconds = w.seconds,
	})
end)
