-- publish: say what Postgres has said about one SKU, and give back takes whose requests are decided (PROTOCOL.md,
-- Reserve 4–6).
--
-- KEYS[1]     availability of the SKU: hash, see gate/keys.rs
-- KEYS[2]     takes of the SKU: sorted set, see gate/keys.rs
-- ARGV[1]     time of the read: microseconds since 1970 by Postgres's clock
-- ARGV[2]     scope: "whole" when the locations below are all of the SKU's, "touched" when they may be only some
-- ARGV[3]     count of locations, n: 0 or more
-- ARGV[4…]    n pairs: field ("l:" and the location), available units (0 or more); then members of the set of takes to
--             give back, each "id:units"
-- Commands    ZCARD ZREM HGET HDEL HSET EXISTS DEL
-- Returns     0  DROPPED: there is no hash now, because a part cannot make a whole or the whole is nothing
--             1  PUBLISHED: the hash says what the caller said
-- Cost        O(locations + takes given back · log takes).
-- Atomic      A take given back and the availability that counts its units as held must change together, else a unit
--             is free twice or nowhere for a moment.

local DROPPED, PUBLISHED = 0, 1

local availability_key, takes_key = KEYS[1], KEYS[2]
local read_at, scope, locations = ARGV[1], ARGV[2], tonumber(ARGV[3])

-- A whole number that Lua's doubles and the caller's 64 bits can both hold, or nil.
local function whole(text)
  if type(text) == 'string' and #text <= 18 and string.find(text, '^%d+$') then
    return tonumber(text)
  end
  return nil
end

local function forget(key)
  if redis.call('EXISTS', key) == 1 then
    redis.call('DEL', key)
  end
end

-- Whatever else lies under the key of the takes, no take is in it.
if type(redis.pcall('ZCARD', takes_key)) == 'table' then
  redis.call('DEL', takes_key)
end
local returned = 0
for i = 4 + 2 * locations, #ARGV do
  if redis.call('ZREM', takes_key, ARGV[i]) == 1 then
    returned = returned + tonumber(string.match(ARGV[i], ':(%d+)$') or '0')
  end
end

-- The hash is ours when it says when it was read; anything else is as good as missing.
local known_at = whole(redis.pcall('HGET', availability_key, 'at'))
local taken = known_at and whole(redis.call('HGET', availability_key, 'taken'))
if not known_at or scope == 'whole' then
  forget(availability_key)
end
if locations == 0 and scope == 'whole' or not known_at and scope == 'touched' then
  return DROPPED
end

for i = 4, 2 + 2 * locations, 2 do
  redis.call('HSET', availability_key, ARGV[i], ARGV[i + 1])
end
if not known_at or tonumber(read_at) > known_at then
  known_at = tonumber(read_at)
end
redis.call('HSET', availability_key, 'at', string.format('%.0f', known_at))
if taken and taken > returned then
  redis.call('HSET', availability_key, 'taken', string.format('%.0f', taken - returned))
else
  -- Nothing is taken, or the sum was not to be trusted: the next take adds it up again.
  redis.call('HDEL', availability_key, 'taken')
end
return PUBLISHED
