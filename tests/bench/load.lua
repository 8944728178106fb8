-- For wrk: the requests of a file, in turn, from anywhere on; of two files, each
-- tenth is of the second. A file, named by an argument, holds whole requests,
-- each behind a line with its length. The last line of the output is the result
-- in JSON.
local files, turn = {}, 0
local threads = 0

function setup(thread)
	thread:set("number", threads)
	threads = threads + 1
end

local function read(path)
	local file = { at = 0 }
	local f = assert(io.open(path, "rb"))
	while true do
		local n = f:read("*n")
		if not n then break end
		f:read(1)
		file[#file + 1] = f:read(n)
	end
	f:close()
	-- No two runs, and no two threads, go through it side by side.
	file.at = math.random(#file) + number * math.floor(#file / 2)
	return file
end

function init(args)
	math.randomseed(os.time())
	for i, path in ipairs(args) do
		files[i] = read(path)
	end
end

function request()
	turn = turn + 1
	local file = files[2] and turn % 10 == 0 and files[2] or files[1]
	file.at = file.at % #file + 1
	return file[file.at]
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
