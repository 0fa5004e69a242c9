// What an app may write, and what its types keep it from.
import { connect, type Link, type LinkError } from '../../../examples/miniprogram/longlink/longlink';

const link: Link = connect({ url: 'wss://example.com', user: 7, getTicket: async () => 'T', device: 'phone' });

link.on('message', ({ from, to, message, frame }) => console.log(from.length, to?.length, message, frame.room));
const off: () => void = link.on('state', ({ state, retryAt, rtt }) => {
  if (state === 'waiting' && retryAt !== null) console.log(retryAt - Date.now(), rtt?.toFixed());
});
link.on('error', (error: LinkError) => error.code === 'ticket' && console.log(error.message));
link.send('bob', { any: ['value'] }).catch(({ code }: LinkError) => code === 'timeout');
off();
connect({ url: 'wss://example.com', user: 'a', WebSocket });

// The dialect v2.
const sending = link.send({ group: 'g' }, 'hi', { ttl: 60, key: 'k', receipt: true });
sending.then(({ id, state, receivers }) => state === 'queued' && console.log(id?.length, receivers?.toFixed()));
const cid: string | undefined = sending.cid;
link.on('sent', (sent) => sent.cid === cid && console.log(sent.toUserId ?? sent.group, sent.message, sent.state));
link.on('gap', ({ from, to, reason }) => reason === 'lost' && console.log(from?.toFixed(), to.toFixed()));
link.on('receipt', ({ toUserId, id }) => console.log(toUserId.length, id.length));
link.on('presence', ({ users }) => console.log(users.bob === true));
link.on('unread', ({ of, count }) => console.log(of.length, count.toFixed()));
link.on('kicked', ({ code, reason }) => console.log(code === 4509, reason.length));
link.join('g');
link.watch(['bob', 7]);
link.typing('bob');
link.markRead({ group: 'g' });
console.log(link.unread('bob').toFixed(), link.unanswered.map(({ message }) => message), link.status.dialect === 2);
link.send(['bob', 7], 'hi').then(({ results }) => results?.map(({ toUserId, state }) => toUserId.length && state === 'stored'));
link.history({ with: 'bob', before: 'ID', limit: 20 }).then(({ messages, more }) => messages.map(({ frame }) => more && frame.id));
link.history({ group: 'g' }).catch(({ code }: LinkError) => code === 'unavailable');
connect({ url: 'wss://example.com', user: 'a', getTicket: async (device) => device.slice(1) });
connect({ url: 'wss://example.com', user: 'a', storage: localStorage, background: false });
connect({ url: 'wss://example.com', user: 'a', storage: false });

// @ts-expect-error: nobody knows who that is
connect({ url: 'wss://example.com' });
// @ts-expect-error: no such event
link.on('massage', () => {});
// @ts-expect-error: no such state
if (link.status.state === 'opened') link.close();
// @ts-expect-error: it is read only
link.status = { ...link.status, state: 'open' };
// @ts-expect-error: a user is a text or a number
link.send([['bob']], 'hi');
// @ts-expect-error: a question names a user or a group
link.history('bob');
// @ts-expect-error: no such option
link.send('bob', 'hi', { volatile: true });
// @ts-expect-error: what can be written has to be read
connect({ url: 'wss://example.com', user: 'a', storage: { setItem() {} } });
