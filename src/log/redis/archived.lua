#!lua flags=allow-oom
-- The archive has everything of this partition up to n: trims what it has, and never more.
--
-- KEYS  1 meta  2 out, then for each room: room, log, fix
-- ARGV  1 generation  2 run id  3 the owner's token  4 n  5 now, ms since 1970  6 events that a room keeps here
--       7 ms that a correction is kept, then for each room: its last seq in the archive
--
-- FENCED  as in append.lua
-- LOST    somebody else owns the partition now
-- OK      done

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run', 'token', 'archived')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
if meta[3] ~= ARGV[3] then
    return {'LOST'}
end
local n = math.max(tonumber(ARGV[4]), tonumber(meta[4]))
redis.call('HSET', KEYS[1], 'archived', string.format('%.0f', n))
redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', n + 1))

local now, keep, fixed = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
for at = 3, #KEYS, 3 do
    local room = redis.call('HMGET', KEYS[at], 'seq', 'archived')
    if room[1] then
        local archived = math.max(tonumber(ARGV[8 + (at - 3) / 3]), tonumber(room[2]))
        redis.call('HSET', KEYS[at], 'archived', string.format('%.0f', archived))
        local first = math.min(archived, tonumber(room[1]) - keep) + 1
        redis.call('XTRIM', KEYS[at + 1], 'MINID', string.format('%.0f-0', math.max(first, 0)))
        if redis.call('EXISTS', KEYS[at + 2]) == 1 then
            local all = redis.call('HGETALL', KEYS[at + 2])
            for i = 1, #all, 2 do
                local by, ts = string.match(all[i + 1], '^%a(%d+):(%d+):')
                if tonumber(all[i]) < first and tonumber(by) <= n and tonumber(ts) < now - fixed then
                    redis.call('HDEL', KEYS[at + 2], all[i])
                end
            end
        end
    end
end
return {'OK'}
