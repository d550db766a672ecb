-- Writes one account, all of it or nothing: nothing where somebody has written a newer state.
--
-- KEYS: the place (…:seq), the list of the other keys (…:keys), what is written
-- ARGV: epoch, seq, what the place held after the last write ('': the account is written whole, over whatever is there),
--       what it holds from now on ('': the account is removed), the values of what is written
-- Returns 'written'; or 'newer' or 'lost' and what the place holds: a newer state, or not what the last write left.

local function read(key) -- the table that a key holds as JSON; an empty one for anything else
  local is_read, value = pcall(function() return cjson.decode(redis.call('GET', key)) end)
  return is_read and type(value) == 'table' and value or {}
end

local held = redis.pcall('GET', KEYS[1])
if type(held) ~= 'string' then held = '' end -- missing, or of another type

local epoch, seq, place = tonumber(ARGV[1]), tonumber(ARGV[2]), read(KEYS[1])
if type(place.epoch) == 'number' and type(place.seq) == 'number' then
  if place.epoch > epoch or (place.epoch == epoch and place.seq > seq) then return {'newer', held} end
end
if ARGV[3] ~= '' and ARGV[3] ~= held then return {'lost', held} end

local listed = ARGV[3] == '' and read(KEYS[2]) or {}
local is_written = {}
-- First what needs memory: where there is none, the first SET refuses the whole script.
for i = 3, #KEYS do
  redis.call('SET', KEYS[i], ARGV[i + 2])
  is_written[KEYS[i]] = true
end
if ARGV[4] ~= '' then redis.call('SET', KEYS[1], ARGV[4]) else redis.call('DEL', KEYS[1], KEYS[2]) end
for _, name in ipairs(listed) do -- of an earlier state
  local key = string.sub(KEYS[1], 1, -4) .. tostring(name)
  if not is_written[key] and key ~= KEYS[1] and key ~= KEYS[2] then redis.call('DEL', key) end
end
return {'written', held}
