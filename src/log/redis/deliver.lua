-- Puts pointers into somebody's inbox. What it has already is left out, so that everything may be delivered twice.
--
-- KEYS  1 meta  2 inbox  3 mailbox  4 inboxes, all of the person's partition
-- ARGV  1 generation  2 run id  3 user id, 16 bytes  4 epoch of inboxes  5 the place before their first
--       6 most entries  7 channel to publish to, or nothing
--       then for each entry: room id, 16 bytes, its seq there, what is published after the cursor, or nothing
--
-- FENCED      as in append.lua
-- OK place …  of each entry, or 0 for one that was there

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
local before = tonumber(redis.call('HGET', KEYS[3], 'tip') or ARGV[5])
local tip = before
local answer = {'OK'}
for at = 8, #ARGV, 3 do
    local room, seq = ARGV[at], ARGV[at + 1]
    local place = '0'
    if tonumber(seq) > tonumber(redis.call('HGET', KEYS[3], room) or 0) then
        tip = tip + 1
        place = string.format('%.0f', tip)
        redis.call('XADD', KEYS[2], place .. '-0', 'r', room, 's', seq)
        redis.call('HSET', KEYS[3], room, seq)
        if ARGV[7] ~= '' then
            redis.call('PUBLISH', ARGV[7], 'i ' .. ARGV[4] .. '-' .. place .. ' ' .. ARGV[at + 2])
        end
    end
    answer[#answer + 1] = place
end
if tip > before then
    redis.call('HSET', KEYS[3], 'tip', string.format('%.0f', tip))
    redis.call('ZADD', KEYS[4], redis.call('HINCRBY', KEYS[1], 'inbox_turn', 1), ARGV[3])
    local surplus = redis.call('XLEN', KEYS[2]) - tonumber(ARGV[6])
    if surplus > 0 then
        for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', surplus)) do
            local room, seq = entry[2][2], entry[2][4]
            if redis.call('HGET', KEYS[3], room) == seq then
                redis.call('HDEL', KEYS[3], room)
            end
        end
        redis.call('XTRIM', KEYS[2], 'MAXLEN', ARGV[6])
    end
end
return answer
