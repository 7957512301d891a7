-- take: ask for all units of one cart at once; routes the request, promises nothing (PROTOCOL.md, Reserve 1).
--
-- KEYS[2*i-1] availability of the cart's SKU number i: hash, see gate/keys.rs
-- KEYS[2*i]   takes of the cart's SKU number i: sorted set, see gate/keys.rs
-- ARGV[1]     id of the reservation: 32 hexadecimal digits
-- ARGV[2]     lapse of a take: milliseconds, by this server's clock
-- ARGV[2+i]   units of SKU number i: above 0, all lines of the cart that name the SKU summed
-- Commands    TIME HGETALL ZRANGEBYSCORE ZREM ZSCORE ZCARD ZRANGE ZADD PEXPIRE HSET HDEL
-- Returns     {0}           REFUSED: every SKU is known, at least one has fewer free units; nothing was taken
--             {1, a1, a2…}  GRANTED: all SKUs are taken; ai is the availability hash of SKU number i as HGETALL says it
--             {2}           UNKNOWN: a SKU's hash is missing or unreadable; nothing was taken
-- Cost        O(log takes + locations) per SKU, plus at most 1024 lapsed takes dropped per call. All takes of a SKU
--             are read only where their running sum is missing.
-- Atomic      Two carts that ask for the last unit must see each other, and a cart over several SKUs takes all or none.

local REFUSED, GRANTED, UNKNOWN = 0, 1, 2
-- Lapsed takes dropped per call, all SKUs together: bounds the time for which one call holds up the others.
local dropped_left = 1024
-- A set of takes that nobody touches any more goes away by itself, this long after its last take has lapsed.
local RESIDUE_MS = 60000

-- A whole number that Lua's doubles and the caller's 64 bits can both hold, or nil.
local function whole(text)
  if text and #text <= 18 and string.find(text, '^%d+$') then
    return tonumber(text)
  end
  return nil
end

local function units(member)
  return tonumber(string.match(member, ':(%d+)$') or '0')
end

local function sum(members)
  local total = 0
  for _, member in ipairs(members) do
    total = total + units(member)
  end
  return total
end

-- Reads one SKU and drops its lapsed takes. Nil when the SKU is unknown: missing, of a wrong type or not numbers.
local function look(availability_key, takes_key, member, now)
  local availability = redis.pcall('HGETALL', availability_key)
  local lapsed = redis.pcall('ZRANGEBYSCORE', takes_key, '-inf', now, 'LIMIT', 0, dropped_left)
  if availability.err or lapsed.err then
    return nil
  end
  local seen = { availability_key = availability_key, takes_key = takes_key, available = 0, availability = availability }
  local read_at, taken
  for i = 1, #availability, 2 do
    local field, value = availability[i], availability[i + 1]
    if string.sub(field, 1, 2) == 'l:' then
      local available = whole(value)
      if not available then
        return nil
      end
      seen.available = seen.available + available
    elseif field == 'at' then
      read_at = whole(value)
    elseif field == 'taken' then
      taken = whole(value)
    end
  end
  if not read_at then
    return nil
  end
  if #lapsed > 0 then
    redis.call('ZREM', takes_key, unpack(lapsed))
    dropped_left = dropped_left - #lapsed
    seen.changed = true
  end
  local known = taken and taken - sum(lapsed)
  if redis.call('ZCARD', takes_key) == 0 then
    known = 0
  elseif not known or known < 0 then
    known = sum(redis.call('ZRANGE', takes_key, 0, -1))
  end
  seen.changed = seen.changed or known ~= (taken or 0)
  seen.taken = known
  seen.mine = redis.call('ZSCORE', takes_key, member)
  return seen
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lapse_ms = tonumber(ARGV[2])

local outcome = GRANTED
local cart = {}
for i = 1, #KEYS / 2 do
  local quantity = ARGV[2 + i]
  local member = ARGV[1] .. ':' .. quantity
  local sku = look(KEYS[2 * i - 1], KEYS[2 * i], member, now)
  if not sku then
    outcome = UNKNOWN
    break
  end
  sku.member = member
  sku.quantity = tonumber(quantity)
  cart[i] = sku
  if not sku.mine and sku.available - sku.taken < sku.quantity then
    outcome = REFUSED
  end
end

local reply = { outcome }
for i, sku in ipairs(cart) do
  -- A key that holds its take already is granted again and renews nothing: it may be a retry of a lost answer. Only
  -- one that has lapsed and was not dropped yet lives on.
  if outcome == GRANTED and not (sku.mine and tonumber(sku.mine) > now) then
    redis.call('ZADD', sku.takes_key, now + lapse_ms, sku.member)
    redis.call('PEXPIRE', sku.takes_key, lapse_ms + RESIDUE_MS)
    if not sku.mine then
      sku.taken = sku.taken + sku.quantity
      sku.changed = true
    end
  end
  if sku.changed and sku.taken > 0 then
    redis.call('HSET', sku.availability_key, 'taken', string.format('%.0f', sku.taken))
  elseif sku.changed then
    redis.call('HDEL', sku.availability_key, 'taken')
  end
  if outcome == GRANTED then
    reply[i + 1] = sku.availability
  end
end
return reply
