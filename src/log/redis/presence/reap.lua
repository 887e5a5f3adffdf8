-- Those of these people whose grace is over have left the room.
--
-- KEYS  1 meta  2 here  3 grace
-- ARGV  1 generation  2 run id  3 the owner's token  4 room, 16 bytes  5 channel to publish to, or nothing,
--       then each person, 16 bytes
--
-- FENCED, LOST  as in archived.lua
-- OK online said   done; so many people are in the room now, and this is said of it, or nothing

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run', 'token')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
if meta[3] ~= ARGV[3] then
    return {'LOST'}
end
local now = milliseconds()
local left = {}
for at = 6, #ARGV do
    local user = ARGV[at]
    local due = redis.call('ZSCORE', KEYS[3], ARGV[4] .. user)
    if due and tonumber(due) <= now then
        redis.call('ZREM', KEYS[3], ARGV[4] .. user)
        local was = redis.call('HGET', KEYS[2], user)
        if was then
            local _, _, name = read(was)
            redis.call('HDEL', KEYS[2], user)
            left[#left + 1] = shown(user, name)
        end
    end
end
local online = redis.call('HLEN', KEYS[2])
local said = ''
if #left > 0 then
    said = say(ARGV[5], '', table.concat(left, ','), online)
end
return {'OK', string.format('%d', online), said}
