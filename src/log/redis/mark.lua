-- Somebody has read a room up to a place: only forward, and at most to the end of its log.
--
-- KEYS  1 meta  2 room  3 members  4 read  5 marked
-- ARGV  1 generation  2 run id  3 room id, 16 bytes  4 user id, 16 bytes  5 seq
--       6 seq or archived: which of the two is the end that readers see
--
-- FENCED    as in append.lua
-- NOROOM    the room is not here: the archive has all of it
-- NOTFOUND  they are no member
-- SAME      they had read as far before
-- OK seq    how far it is now

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
local tip = redis.call('HGET', KEYS[2], ARGV[6])
if not tip then
    return {'NOROOM'}
end
if redis.call('HEXISTS', KEYS[3], ARGV[4]) == 0 then
    return {'NOTFOUND'}
end
local read = math.min(tonumber(ARGV[5]), tonumber(tip))
if read <= tonumber(redis.call('HGET', KEYS[4], ARGV[4]) or 0) then
    return {'SAME'}
end
local seq = string.format('%.0f', read)
redis.call('HSET', KEYS[4], ARGV[4], seq)
redis.call('ZADD', KEYS[5], redis.call('HINCRBY', KEYS[1], 'marks', 1), ARGV[3])
return {'OK', seq}
