-- For wrk: the requests of a file, in turn. The file, named by the argument,
-- holds whole requests, each behind a line with its length. The last line of
-- the output is the result in JSON.
local requests, at = {}, 0
local threads = 0

function setup(thread)
	thread:set("number", threads)
	threads = threads + 1
end

function init(args)
	local f = assert(io.open(args[1], "rb"))
	while true do
		local n = f:read("*n")
		if not n then break end
		f:read(1)
		requests[#requests + 1] = f:read(n)
	end
	f:close()
	at = number * math.floor(#requests / 2)
end

function request()
	at = at % #requests + 1
	return requests[at]
end

function done(summary, latency, requests)
	local e = summary.errors
	io.write(string.format(
		'{"requests":%d,"us":%d,"p50":%d,"p99":%d,"max":%d,' ..
		'"status":%d,"broken":%d,"timeout":%d}\n',
		summary.requests, summary.duration, latency:percentile(50),
		latency:percentile(99), latency.max, e.status,
		e.connect + e.read + e.write, e.timeout))
end
