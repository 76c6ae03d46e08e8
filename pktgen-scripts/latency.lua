-- SPDX-License-Identifier: BSD-3-Clause
-- The rig's own round trip: Pktgen stamps UDP frames, a reflector (dpdk-testpmd, testpmd/5tswap.cmds) sends them back. Nothing of
-- Wirerank is in it: Pktgen wants its stamp back in the payload, and an answer carries other bytes there. What Wirerank adds is
-- wrload's to tell (--rate, latency from the intended time); this is the floor to subtract nothing from, only to know.
--
--   WR_PPS=1000 pktgen EAL… -- -m 1.0 -f pktgen-scripts/latency.lua
--
-- WR_PPS (1000), WR_SECONDS (5), WR_SIZE of a frame with FCS (302), WR_SAMPLES (file, /tmp/pktgen-latency.txt), WR_SERVER_IP (10.47.0.1),
-- WR_CLIENT_IP (10.47.0.2), WR_SERVER_MAC (02:00:00:00:47:00), WR_OUT, WR_PORT (0).

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here .. "?.lua;" .. package.path
local wr = require("wirerank")

-- Microseconds, ascending, of the sampler's file (a line of nanoseconds each, headings between them).
local function samples(path)
	local us = {}
	for line in io.lines(path) do
		local ns = line:match("^%s*(%d+)%s*$")
		if ns then
			us[#us + 1] = tonumber(ns) / 1000
		end
	end
	table.sort(us)
	return us
end

wr.main(function()
	local port, size = wr.port, wr.number("WR_SIZE", 302)
	local path = os.getenv("WR_SAMPLES") or "/tmp/pktgen-latency.txt"
	pktgen.set_mac(port, "dst", os.getenv("WR_SERVER_MAC") or "02:00:00:00:47:00")
	pktgen.set_ipaddr(port, "dst", os.getenv("WR_SERVER_IP") or "10.47.0.1")
	pktgen.set_ipaddr(port, "src", (os.getenv("WR_CLIENT_IP") or "10.47.0.2") .. "/24")
	pktgen.set_type(port, "ipv4")
	pktgen.set_proto(port, "udp")
	pktgen.set(port, "dport", 4700)
	pktgen.set(port, "sport", 40000)
	pktgen.set(port, "size", size)
	pktgen.set(port, "count", 0)
	pktgen.set(port, "burst", 1)
	wr.set_pps(wr.number("WR_PPS", 1000), size - 4)
	os.remove(path)
	pktgen.latency(port, "on")
	pktgen.latsampler_params(port, "simple", 50000, 10000, path)
	pktgen.latsampler(port, "on")
	local w = wr.window(wr.number("WR_SECONDS", 5))
	pktgen.latsampler(port, "off")
	pktgen.latency(port, "off")
	local us = samples(path)
	if #us == 0 then
		error("no stamp came back: does a reflector run at the other end?", 0)
	end
	local function quantile(q)
		return us[math.max(1, math.ceil(q * #us))]
	end
	wr.result({
		script = "latency",
		samples = #us,
		p50_us = quantile(0.5),
		p90_us = quantile(0.9),
		p99_us = quantile(0.99),
		max_us = us[#us],
		sent = w.sent,
		received = w.received,
		sent_pps = w.pps,
	})
end)
