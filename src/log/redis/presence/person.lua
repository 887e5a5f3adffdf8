-- Shared by the scripts of presence, which begin with it.
--
-- A person in `here` is: their kind, the number of pods that have streams of theirs, ':', those pods (16 bytes each),
-- their name.

local function read(value)
    local kind, count, at = string.match(value, '^(%a+)(%d+):()')
    local upto = at + tonumber(count) * 16
    return kind, string.sub(value, at, upto - 1), string.sub(value, upto)
end

local function written(kind, pods, name)
    return kind .. string.format('%d', #pods / 16) .. ':' .. pods .. name
end

-- The pods without this one; nil when it is not among them.
local function without(pods, pod)
    for at = 1, #pods, 16 do
        if string.sub(pods, at, at + 15) == pod then
            return string.sub(pods, 1, at - 1) .. string.sub(pods, at + 16)
        end
    end
    return nil
end

-- A person as others are told of them.
local function shown(user, name)
    local hex = string.gsub(user, '.', function(c) return string.format('%02x', string.byte(c)) end)
    local id = string.sub(hex, 1, 8) .. '-' .. string.sub(hex, 9, 12) .. '-' .. string.sub(hex, 13, 16) .. '-'
        .. string.sub(hex, 17, 20) .. '-' .. string.sub(hex, 21)
    return '{"id":"' .. id .. '","name":' .. cjson.encode(name) .. '}'
end

-- Publishes who came and who went, if there is a channel; gives what is said. KEYS[1] is `meta`.
local function say(channel, joined, left, online)
    local turn = redis.call('HINCRBY', KEYS[1], 'turn', 1)
    local said = 'p {"turn":' .. string.format('%.0f', turn) .. ',"joined":[' .. joined .. '],"left":[' .. left .. '],"online":' .. string.format('%d', online) .. '}'
    if channel ~= '' then
        redis.call('PUBLISH', channel, said)
    end
    return said
end

local function milliseconds()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
