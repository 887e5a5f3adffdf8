#!lua flags=allow-oom
-- Lets go of rooms that have been quiet for long and that the archive has in full, with how far people have read.
--
-- KEYS  1 meta  2 recent  3 marked, then for each room: room, log, fix, members, read
-- ARGV  1 generation  2 run id  3 the owner's token  4 quiet since, ms since 1970, then for each room: its id, 16 bytes
--
-- FENCED, LOST  as in archived.lua
-- OK count      so many were let go

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run', 'token')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
if meta[3] ~= ARGV[3] then
    return {'LOST'}
end
local gone = 0
for at = 4, #KEYS, 5 do
    local id = ARGV[5 + (at - 4) / 5]
    local room = redis.call('HMGET', KEYS[at], 'seq', 'archived', 'ts')
    local is_quiet = room[1] == room[2] and not redis.call('ZSCORE', KEYS[3], id)
    if not room[1] or (is_quiet and tonumber(room[3]) < tonumber(ARGV[4])) then
        redis.call('DEL', KEYS[at], KEYS[at + 1], KEYS[at + 2], KEYS[at + 3], KEYS[at + 4])
        redis.call('ZREM', KEYS[2], id)
        gone = gone + 1
    end
end
if gone > 0 then
    redis.call('HINCRBY', KEYS[1], 'retired', gone)
end
return {'OK', string.format('%.0f', gone)}
