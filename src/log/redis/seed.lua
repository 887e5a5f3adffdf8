-- Makes a room's head anew from what the archive knows of it. A room is never seq 0 because it is missing here.
--
-- KEYS  1 meta  2 room  3 recent  4 members  5 read
-- ARGV  1 generation  2 run id  3 how many rooms had been retired before the archive was read
--       4 epoch  5 base  6 tip  7 ts of the tip  8 first seq kept  9 past epochs, as JSON  10 room id, 16 bytes
--       then for each member: their id, 16 bytes, <from>:<role>, up to where they have read
--
-- FENCED  as in append.lua
-- AGAIN   a room was retired meanwhile, and it may have been this one: the archive has to be read again
-- OK      the room has a head, by this call or by another

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run', 'n', 'retired')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
if meta[4] ~= ARGV[3] then
    return {'AGAIN'}
end
if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('HSET', KEYS[2], 'epoch', ARGV[4], 'base', ARGV[5], 'seq', ARGV[6], 'archived', ARGV[6],
        'ts', ARGV[7], 'first', ARGV[8], 'past', ARGV[9])
    redis.call('ZADD', KEYS[3], 'NX', meta[3], ARGV[10])
    redis.call('DEL', KEYS[4], KEYS[5])
    for at = 11, #ARGV, 3 do
        redis.call('HSET', KEYS[4], ARGV[at], ARGV[at + 1])
        redis.call('HSET', KEYS[5], ARGV[at], ARGV[at + 2])
    end
end
return {'OK'}
