-- reconcile: overwrite everything that is published about one SKU with what Postgres says (PROTOCOL.md, Reserve 11).
--
-- KEYS[1]     availability of the SKU: hash, see gate/keys.rs
-- KEYS[2]     takes of the SKU: sorted set, see gate/keys.rs
-- ARGV[1]     time of the read: microseconds since 1970 by Postgres's clock
-- ARGV[2…]    pairs, one for each location of the SKU: field ("l:" and the location), available units (0 or more). No
--             pair at all: the SKU has no locations, and its hash goes.
-- Commands    TIME HGETALL DEL HSET ZREMRANGEBYSCORE ZRANGE
-- Returns     {found, published, taken, drift}
--             found      0 MISSING: there was no hash; 1 READABLE: there was one; 2 GARBAGE: it could not be read and
--                        was rebuilt
--             published  units available over all locations as published before, 0 unless READABLE
--             taken      units in takes, added up anew
--             drift      the running sum of takes as it stood, less `taken`
-- Cost        O(locations + takes).
-- Atomic      Between the delete and the new values a take would find the SKU unknown; between adding the takes up and
--             writing their sum a take would be lost from it.

local MISSING, READABLE, GARBAGE = 0, 1, 2
-- No take can lapse later than this from now: a score beyond it was left by a clock that has since been set back.
local LAPSE_MS_MAX = 60000

local availability_key, takes_key = KEYS[1], KEYS[2]

-- A whole number that Lua's doubles and the caller's 64 bits can both hold, or nil.
local function whole(text)
  if text and #text <= 18 and string.find(text, '^%d+$') then
    return tonumber(text)
  end
  return nil
end

local found, published, before, read_at = READABLE, 0, 0, nil
local old = redis.pcall('HGETALL', availability_key)
if old.err then
  found = GARBAGE
elseif #old == 0 then
  found = MISSING
else
  for i = 1, #old, 2 do
    local value = whole(old[i + 1])
    if not value then
      found = GARBAGE
    elseif old[i] == 'taken' then
      before = value
    elseif old[i] == 'at' then
      read_at = value
    elseif string.sub(old[i], 1, 2) == 'l:' then
      published = published + value
    else
      found = GARBAGE
    end
  end
  if not read_at then
    found = GARBAGE
  end
end
if found ~= READABLE then
  published = 0
end

-- Takes themselves stay: a take is a request on its way, and Postgres cannot know it yet.
local members = redis.pcall('ZRANGE', takes_key, 0, -1)
if members.err then
  redis.call('DEL', takes_key)
  members = {}
elseif #members > 0 then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  if redis.call('ZREMRANGEBYSCORE', takes_key, '(' .. string.format('%.0f', now + LAPSE_MS_MAX), '+inf') > 0 then
    members = redis.call('ZRANGE', takes_key, 0, -1)
  end
end
local taken = 0
for _, member in ipairs(members) do
  taken = taken + tonumber(string.match(member, ':(%d+)$') or '0')
end

if found ~= MISSING then
  redis.call('DEL', availability_key)
end
if #ARGV > 1 then
  -- One call where it can be: after a wipe this is done for every SKU. Lua does not unpack any number of values.
  local fields = { 'at', ARGV[1] }
  if taken > 0 then
    fields = { 'at', ARGV[1], 'taken', string.format('%.0f', taken) }
  end
  for i = 2, #ARGV, 2 do
    if #fields >= 1000 then
      redis.call('HSET', availability_key, unpack(fields))
      fields = {}
    end
    fields[#fields + 1] = ARGV[i]
    fields[#fields + 1] = ARGV[i + 1]
  end
  redis.call('HSET', availability_key, unpack(fields))
end
return { found, published, taken, before - taken }
