#!lua flags=allow-oom
-- No append of the present generation succeeds from now on: its outbox can be read to its end.
--
-- KEYS  1 meta

if redis.call('EXISTS', KEYS[1]) == 1 then
    redis.call('HSET', KEYS[1], 'run', '')
end
return {'OK'}
