#!lua flags=allow-oom
-- The inboxes have all mail of this partition up to n.
--
-- KEYS  1 meta  2 mail
-- ARGV  1 generation  2 run id  3 the owner's token  4 n
--
-- FENCED, LOST  as in archived.lua
-- OK            done

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run', 'token')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
if meta[3] ~= ARGV[3] then
    return {'LOST'}
end
redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', tonumber(ARGV[4]) + 1))
return {'OK'}
