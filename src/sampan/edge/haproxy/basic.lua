-- Basic authentication with the hashes that htpasswd makes and crypt(3) does not know: $apr1$ and {SHA}.
-- ``USERS`` is put before it: the path of a map from "list/user" to the hash. What was right once is remembered, within
-- bounds.
local users = Map.new(USERS, Map._str)
local alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
local known, remembered, MOST = {}, 0, 1000

local function to64(value, count)
  local out = {}
  for i = 1, count do
    out[i] = alphabet:sub((value & 63) + 1, (value & 63) + 1)
    value = value >> 6
  end
  return table.concat(out)
end

local function apr1(txn, password, salt)
  local function md5(text) return txn.c:digest(text, "md5") end
  local inner = md5(password .. salt .. password)
  local text = { password, "$apr1$", salt }
  local left = #password
  while left > 0 do
    text[#text + 1] = inner:sub(1, math.min(left, 16))
    left = left - 16
  end
  left = #password
  while left > 0 do
    text[#text + 1] = (left & 1) == 1 and "\0" or password:sub(1, 1)
    left = left >> 1
  end
  local final = md5(table.concat(text))
  for i = 0, 999 do
    local round = (i & 1) == 1 and password or final
    if i % 3 ~= 0 then round = round .. salt end
    if i % 7 ~= 0 then round = round .. password end
    round = round .. ((i & 1) == 1 and final or password)
    final = md5(round)
  end
  local out = {}
  for _, at in ipairs({ { 1, 7, 13 }, { 2, 8, 14 }, { 3, 9, 15 }, { 4, 10, 16 }, { 5, 11, 6 } }) do
    out[#out + 1] = to64((final:byte(at[1]) << 16) | (final:byte(at[2]) << 8) | final:byte(at[3]), 4)
  end
  out[#out + 1] = to64(final:byte(12), 2)
  return table.concat(out)
end

core.register_fetches("basic_auth", function(txn, list)
  local header = txn.sf:req_hdr("authorization")
  local encoded = header and header:match("^[Bb][Aa][Ss][Ii][Cc]%s+(%S+)$")
  if not encoded or #encoded > 1024 then return false end
  local user, password = txn.c:b64dec(encoded):match("^([^:]*):(.*)$")
  if not user or user:find("%s") then return false end
  local hash = users:lookup(list .. "/" .. user)
  if not hash then return false end
  local key = hash .. "\0" .. password
  if known[key] then return true end
  local right = false
  local salt, digest = hash:match("^%$apr1%$([^$]+)%$(.+)$")
  if salt then
    right = apr1(txn, password, salt) == digest
  elseif hash:sub(1, 5) == "{SHA}" then
    right = txn.c:base64(txn.c:digest(password, "sha1")) == hash:sub(6)
  end
  if right then
    if remembered >= MOST then known, remembered = {}, 0 end
    known[key], remembered = true, remembered + 1
  end
  return right
end)
