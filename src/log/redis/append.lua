-- Adds one event to a room's log. All checks come before any effect: what is refused has changed nothing.
--
-- KEYS  1 meta  2 room  3 log  4 fix  5 out  6 recent  7 idem of today  8 idem of yesterday  9 idem of tomorrow: the
--       clocks of two pods differ, and what was sent before midnight may come after what was sent later
--       of a room with members also: 10 members  11 read  12 mail
-- ARGV  1 generation  2 run id of the server  3 now, ms since 1970  4 room id, 16 bytes  5 most entries of the outbox
--       6 message, edit, delete, join or leave  7 event id, 16 bytes
--       8 JSON up to the epoch  9 JSON from after the seq up to the ts  10 JSON after the ts
--       11 idempotency key, 16 bytes, or nothing  12 hash of the text, 16 bytes
--       13 nothing, or that the archive was asked for the key and does not know it
--       14 seq of the target, or nothing  15 id of the speaker, or * who may take away what anybody said
--       16 author of the target by the archive, or nothing  17 new text of the target, or nothing
--       18 channel to publish to, or nothing
--       of a room with members also: 19 whoever does this, 16 bytes
--       20 speak, open, join, leave, or moderate, for which one need not be a member
--       21 who joins or leaves, 16 bytes, or nothing  22 most members
--
-- FENCED                  this is not the server, or not the generation, that the pods agreed on
-- NOROOM retired          the room has to be seeded from the archive
-- KNOWN epoch seq ts id   the key stands for this text: the first answer
-- REUSED                  the key stands for another text
-- ASK                     keys were lost lately: the archive has to be asked for this one
-- TARGET                  the target is not here: the archive has to be asked for its author
-- NOTFOUND, NOTYOURS      of the target; NOTFOUND also for who is no member
-- NOCHANGE                it is so already: the log has begun, they are a member, they are none
-- CROWDED                 there are as many members as there may be
-- FULL                    the outbox is at its bound, or the mail
-- OK epoch seq ts n       done

local DAY = 86400000

local meta = redis.call('HMGET', KEYS[1], 'generation', 'run', 'n', 'keys_since')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] then
    return {'FENCED'}
end
local room = redis.call('HMGET', KEYS[2], 'epoch', 'seq', 'ts')
if not room[2] then
    return {'NOROOM', redis.call('HGET', KEYS[1], 'retired')}
end
local now = tonumber(ARGV[3])
local key = ARGV[11]

local members, act, member = KEYS[10], ARGV[20], ARGV[21]
if members then
    if act ~= 'moderate' and redis.call('HEXISTS', members, ARGV[19]) == 0 then
        return {'NOTFOUND'}
    end
    if act == 'open' then
        local head = redis.call('HMGET', KEYS[2], 'base', 'past')
        local has_begun = head[1] ~= room[2]
        for _, past in ipairs(cjson.decode(head[2])) do
            has_begun = has_begun or past[3] >= past[2]
        end
        if has_begun then
            return {'NOCHANGE'}
        end
    elseif member ~= '' then
        local is_join = ARGV[6] == 'join'
        if (redis.call('HEXISTS', members, member) == 1) == is_join then
            return {'NOCHANGE'}
        end
        if is_join and redis.call('HLEN', members) >= tonumber(ARGV[22]) then
            return {'CROWDED'}
        end
    end
end

if key ~= '' then
    local known = redis.call('HGET', KEYS[7], key) or redis.call('HGET', KEYS[8], key)
        or redis.call('HGET', KEYS[9], key)
    if known then
        local epoch, seq, ts = string.match(string.sub(known, 33), '^(%d+)-(%d+)-(%d+)$')
        if tonumber(ts) > now - DAY then
            if string.sub(known, 1, 16) ~= ARGV[12] then
                return {'REUSED'}
            end
            return {'KNOWN', epoch, seq, ts, string.sub(known, 17, 32)}
        end
    elseif ARGV[13] == '' and tonumber(meta[4]) > now - DAY then
        return {'ASK'}
    end
end

local target = ARGV[14]
if target ~= '' then
    local fix = redis.call('HGET', KEYS[4], target)
    if fix and string.sub(fix, 1, 1) == 'd' then
        return {'NOTFOUND'}
    end
    local author = ARGV[16]
    local found = redis.call('XRANGE', KEYS[3], target .. '-0', target .. '-0')[1]
    if found then
        local event = cjson.decode(found[2][2])
        if event['type'] ~= 'message' then
            return {'NOTFOUND'}
        end
        author = event['user']['id']
    elseif author == '' then
        return {'TARGET'}
    end
    if author ~= ARGV[15] and ARGV[15] ~= '*' then
        return {'NOTYOURS'}
    end
end

local most = tonumber(ARGV[5])
if redis.call('XLEN', KEYS[5]) >= most or members and redis.call('XLEN', KEYS[12]) >= most then
    return {'FULL'}
end

local epoch = room[1]
local seq = string.format('%.0f', tonumber(room[2]) + 1)
local ts = string.format('%.0f', math.max(now, tonumber(room[3])))
local n = string.format('%.0f', tonumber(meta[3]) + 1)
local json = ARGV[8] .. epoch .. ',"seq":' .. seq .. ARGV[9] .. ts .. ARGV[10]

redis.call('XADD', KEYS[3], seq .. '-0', 'e', json)
redis.call('XADD', KEYS[5], n .. '-0', 'r', ARGV[4], 'e', json, 'k', key, 't', ARGV[12])
redis.call('HSET', KEYS[1], 'n', n)
redis.call('HSET', KEYS[2], 'seq', seq, 'ts', ts)
redis.call('ZADD', KEYS[6], n, ARGV[4])
if key ~= '' then
    redis.call('HSET', KEYS[7], key, ARGV[12] .. ARGV[7] .. epoch .. '-' .. seq .. '-' .. ts)
    redis.call('PEXPIRE', KEYS[7], 2 * DAY, 'NX')
end
if ARGV[6] == 'edit' then
    redis.call('HSET', KEYS[4], target, 'e' .. n .. ':' .. ts .. ':' .. ARGV[17])
elseif ARGV[6] == 'delete' then
    redis.call('HSET', KEYS[4], target, 'd' .. n .. ':' .. ts .. ':')
end
if members then
    redis.call('XADD', KEYS[12], n .. '-0', 'r', ARGV[4], 'e', json)
    if ARGV[6] == 'message' then
        redis.call('HSET', KEYS[11], ARGV[19], seq)
    elseif ARGV[6] == 'leave' then
        redis.call('HDEL', members, member)
        redis.call('HDEL', KEYS[11], member)
    elseif member ~= '' then
        redis.call('HSET', members, member, seq .. ':member')
        redis.call('HSET', KEYS[11], member, room[2])
    end
end
if ARGV[18] ~= '' then
    local about = target ~= '' and target or '-'
    local said = 'e ' .. epoch .. '-' .. seq .. ' ' .. string.sub(ARGV[6], 1, 1) .. ' ' .. about .. ' ' .. json
    redis.call('PUBLISH', ARGV[18], said)
end
return {'OK', epoch, seq, ts, n}
