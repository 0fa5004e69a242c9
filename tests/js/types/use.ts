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

// @ts-expect-error: nobody knows who that is
connect({ url: 'wss://example.com' });
// @ts-expect-error: no such event
link.on('massage', () => {});
// @ts-expect-error: no such state
if (link.status.state === 'opened') link.close();
// @ts-expect-error: it is read only
link.status = { ...link.status, state: 'open' };
// @ts-expect-error: a user is a text or a number
link.send(['bob'], 'hi');
