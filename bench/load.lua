-- The one script wrk runs: sends the bytes of a file as they are, and prints what it counted as one line of JSON.
-- The file is written by bench/scenarios.py. If it holds the mark "@@@@serial@@", every request gets a number of its own there.

local MARK = "@@@@serial@@"

function init(args)
   local file = assert(io.open(args[1], "rb"))
   local raw = file:read("*a")
   file:close()

   local from, to = raw:find(MARK, 1, true)
   if not from then
      -- wrk asks for a request once and sends it again and again as long as no global `request` exists.
      wrk.format = function() return raw end
      return
   end
   local head, tail = raw:sub(1, from - 1), raw:sub(to + 1)
   local serial = 100000000000  -- twelve digits, as many as the mark has characters: every request is equally long
   function request()
      serial = serial + 1
      return head .. serial .. tail
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "duration_us": %d, "bytes": %d, "p50_us": %d, "p99_us": %d, ' ..
      '"errors": {"connect": %d, "read": %d, "write": %d, "timeout": %d, "status": %d}}\n',
      summary.requests, summary.duration, summary.bytes, latency:percentile(50.0), latency:percentile(99.0),
      errors.connect, errors.read, errors.write, errors.timeout, errors.status))
end
