
-- The backend is told of a send, which was not made before; this is a part of `send.lua`. In another epoch the send fails.
if about == '' then
  if call('HGET', P .. 'epoch', 'ordinal') ~= ordinal then
    return redis.error_reply('EPOCH this database is in another epoch')
  end
  report(P, reports)
end
