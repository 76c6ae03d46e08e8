-- SPDX-License-Identifier: BSD-3-Clause
-- What the scripts share: settings from the environment, a window of load that is counted on both sides, results as lines of
-- JSON. Written for Pktgen-DPDK 23.03 (Lua 5.3). Pktgen's own counters lag by up to a second: every count waits for that.

local wr = {}

local SETTLE_MS = 2500 -- two rounds of Pktgen's statistics timer, answers on their way included
local OVERHEAD_BYTES = 24 -- preamble, gap and FCS, as Pktgen reckons a rate
local LEAST_PERCENT = 0.01 -- Pktgen sends no slower

-- The environment's number of that name, else the default.
function wr.number(name, default)
	local text = os.getenv(name)
	if not text then
		return default
	end
	return tonumber(text) or error(name .. "=" .. text .. ": not a number", 0)
end

wr.port = os.getenv("WR_PORT") or "0"

-- One line of JSON: a flat table of numbers, booleans and strings, keys in order.
local function json(t)
	local keys, fields = {}, {}
	for key in pairs(t) do
		keys[#keys + 1] = key
	end
	table.sort(keys)
	for _, key in ipairs(keys) do
		local v = t[key]
		if type(v) == "string" then
			v = '"' .. v:gsub('[%c"\\]', " ") .. '"'
		elseif math.type(v) == "float" then
			v = string.format("%.6g", v)
		end
		fields[#fields + 1] = string.format('"%s": %s', key, tostring(v))
	end
	return "{" .. table.concat(fields, ", ") .. "}"
end

-- Prints a result and appends it to the file WR_OUT, if that is set.
function wr.result(t)
	local line = json(t)
	local path = os.getenv("WR_OUT")
	print("\n" .. line)
	if path then
		local file = assert(io.open(path, "a"))
		file:write(line, "\n")
		file:close()
	end
end

-- Runs body, tells its error as a result, leaves Pktgen. Without this an error would end at Pktgen's prompt.
function wr.main(body)
	pktgen.screen("off")
	local ok, why = pcall(body)
	pcall(pktgen.stop, wr.port)
	if not ok then
		wr.result({ error = tostring(why) })
	end
	pktgen.quit()
end

-- Link speed in Mbit/s, as Pktgen reckons rates with it.
function wr.link_mbit()
	local state = pktgen.linkState(wr.port)[tonumber(wr.port)] or ""
	local mbit = state:match("^<UP%-(%d+)")
	return tonumber(mbit or error("port " .. wr.port .. " has no link: " .. state, 0))
end

-- Frames of that size that the link takes in a second, and the fewest that Pktgen can be told.
function wr.link_pps(frame_bytes)
	return wr.link_mbit() * 1e6 / ((frame_bytes + OVERHEAD_BYTES) * 8)
end

function wr.least_pps(frame_bytes)
	return wr.link_pps(frame_bytes) * LEAST_PERCENT / 100
end

-- Asks for so many frames a second of that size; returns what Pktgen was told instead (it takes percents of the link).
function wr.set_pps(pps, frame_bytes)
	local full = wr.link_pps(frame_bytes)
	local percent = math.min(100, math.max(LEAST_PERCENT, 100 * pps / full))
	pktgen.set(wr.port, "rate", percent)
	return full * percent / 100
end

-- Seconds since boot, to 10 ms; Lua's own clocks count whole seconds or the time of all threads.
local function uptime()
	local file = assert(io.open("/proc/uptime"))
	local seconds = file:read("n")
	file:close()
	return seconds
end

local function counters()
	local all = pktgen.portStats(wr.port, "port")
	return all[tonumber(wr.port)]
end

-- Sends for so many seconds; returns frames sent and received, bytes and seconds.
function wr.window(seconds)
	local before = counters()
	local start = uptime()
	pktgen.start(wr.port)
	pktgen.delay(math.floor(seconds * 1000))
	pktgen.stop(wr.port)
	local wall = uptime() - start
	pktgen.delay(SETTLE_MS)
	local after = counters()
	local w = { seconds = wall }
	w.sent = after.opackets - before.opackets
	w.received = after.ipackets - before.ipackets
	w.sent_bytes = after.obytes - before.obytes
	w.lost = math.max(0, w.sent - w.received)
	w.pps = w.sent / wall
	if w.sent == 0 then
		error("nothing was sent: is the pcap loaded (-s PORT:FILE, written with --micro)?", 0)
	end
	return w
end

-- Sends the frames of the file given with -s; returns their mean size, told by a short window at the lowest rate.
function wr.use_pcap()
	pktgen.pcap(wr.port, "on")
	pktgen.set(wr.port, "count", 0)
	pktgen.set(wr.port, "burst", wr.number("WR_BURST", 8))
	pktgen.set(wr.port, "rate", 0.05)
	local w = wr.window(1)
	return w.sent_bytes / w.sent
end

return wr
