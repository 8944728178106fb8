-- gate.lua, for gate.conf: tell a proxied service who was verified. It runs
-- before the authorizer is asked, where there is nothing to tell yet, and again
-- after its yes. The client's own headers go first, in each spelling.
local r = lighty.r
local told = {
	["x-app-id"] = "POSTERN_APP_ID",
	["x-app-name"] = "POSTERN_APP_NAME",
	["x-app-public-key"] = "POSTERN_APP_PUBLIC_KEY",
	["x-token-subject"] = "POSTERN_SUBJECT",
}

local forged = {}
for name in pairs(r.req_header) do
	if told[name:lower():gsub("_", "-")] then
		forged[#forged + 1] = name
	end
end
for _, name in ipairs(forged) do
	r.req_header[name] = nil
end
for name, variable in pairs(told) do
	r.req_header[name] = r.req_env[variable]
end
return 0
