// A thousand clients that are disconnected at the same moment come back spread over the window of
// the random pause. They share a clock that the test moves, so that a slow machine cannot spread
// them. The server's log says which client comes back in which step.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Phone, until } from '../page/phone.mjs';
import { startServer } from '../support/server.mjs';
import { loadClient } from './world.mjs';

const CLIENTS = 1000;
const WINDOW = 500; // the first pause is shorter
const STEP = 50;
// An even spread has 100 clients in each step, plus or minus 9.5; the bounds are six deviations
// away.
const [FEWEST, MOST] = [43, 157];

test('a thousand clients cut at once come back spread over the window', async (t) => {
  const server = await startServer({ t, args: ['--log', 'debug'] });
  const opened = () => server.stderr.split(' open user ').length - 1;
  const phone = new Phone();
  t.after(() => phone.switchOff());
  const { clock } = phone;
  const { connect } = loadClient({
    wx: phone.wx,
    setTimeout: clock.setTimeout,
    clearTimeout: clock.clearTimeout,
    Date: { now: () => clock.now },
  });
  const links = Array.from({ length: CLIENTS }, (_, n) => connect({ url: server.wsUrl, user: `c${n}` }));
  const all = (state) => links.filter((link) => link.status.state === state).length;
  await until(() => opened() === CLIENTS, () => `all are there, not ${opened()}`, 60_000);
  await until(() => all('open') === CLIENTS, () => `all know it, not ${all('open')}`, 60_000);

  server.kill();
  await server.exited;
  await until(() => all('waiting') === CLIENTS, () => `all notice, not ${all('waiting')}`, 60_000);
  await server.restart();

  const counts = [];
  for (let before = 0; counts.length < WINDOW / STEP; ) {
    clock.advance(STEP);
    const tried = phone.connects - CLIENTS;
    await until(() => opened() === tried, () => `${tried} are back, not ${opened()}`, 60_000);
    counts.push(tried - before);
    before = tried;
  }
  console.log(`came back in each ${STEP} ms: ${counts.join(' ')}`);
  assert.equal(opened(), CLIENTS);
  assert.ok(counts.every((count) => count >= FEWEST && count <= MOST), counts.join(' '));
});
