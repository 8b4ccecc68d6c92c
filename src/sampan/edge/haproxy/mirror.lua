-- Copies requests to other back ends, whose answers nobody waits for. ``SOCKET`` is put before it: where the frontend
-- for copies listens, which takes method and section from two headers of ours.
-- A copy whose body is not whole would be another request: bodies of unknown or large size are not copied.
local MOST, SECONDS = 256, 10
local pending = 0

local function copied(txn, section)
  local method, body = txn.sf:method(), txn.sf:req_body() or ""
  if txn.f:req_hdr("transfer-encoding") then return nil end
  local declared = tonumber(txn.f:req_hdr("content-length") or "0")
  if declared == nil or declared ~= #body then return nil end
  local headers = txn.http:req_get_headers()
  for _, name in ipairs({ "content-length", "connection", "expect", "upgrade" }) do headers[name] = nil end
  headers["x-sampan-mirror"] = { [0] = section }
  headers["x-sampan-method"] = { [0] = method }
  local query = txn.sf:query()
  local url = "http://copy" .. txn.sf:path() .. ((query and query ~= "") and ("?" .. query) or "")
  return { url = url, headers = headers, dst = SOCKET, timeout = SECONDS * 1000, body = #body > 0 and body or nil }
end

core.register_action("mirror", { "http-req" }, function(txn, section)
  if pending >= MOST then return end
  local request = copied(txn, section)
  if request == nil then return end
  pending = pending + 1
  core.register_task(function()
    local client = core.httpclient()
    -- With a body the method has to be one that has a body; the frontend for copies puts the right one in its place.
    pcall(request.body and client.post or client.get, client, request)
    pending = pending - 1
  end)
end, 1)
