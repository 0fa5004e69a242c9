// Each backend of examples/ that a reader copies goes through the same story, with the real longlink, the
// published client and a scripted WeChat. All of them promise what the tables of their README say.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import jwt from 'jsonwebtoken';
import { WebSocket } from 'ws';
import { eventually } from '../support/browser.mjs';
import { BACKENDS } from './recipes.mjs';
import { APPSECRET, SHOP_KEY, TICKET_SECRET, World, arrived, opened } from './world.mjs';

const only = process.env.RECIPE;

// A story waits most of the time: for a program that starts, and for pauses before the next attempt.
describe('a backend that a reader can copy', { concurrency: 3 }, () => {
  for (const recipe of BACKENDS.filter(({ name }) => !only || name === only)) {
    test(`in ${recipe.name} lets users in, tells them of their orders, and takes webhooks`, (t) => story(t, recipe));
  }
});

async function story(t, recipe) {
  const world = await World.start(t, recipe);
  await world.startWithout(['APPID', 'SHOP_KEY'], 'These environment variables are missing: APPID, SHOP_KEY');
  await aUserLogsIn(world);
  await whatWeChatRefusesIsToldToTheMiniProgram(world);
  const alice = await world.connect('alice');
  await world.untilOnline(alice.ticket, ['alice']);
  await theSampleMiniProgramCanUseIt(world);
  const order = await anOrderIsPlacedAndPushedOnce(world, alice);
  await whoMayNotIsRefused(world, alice, order);
  await aPushWaitsAsLongAsLonglinkSays(world, alice);
  await aMessageThatReachedNobodyIsReportedOnce(world, alice);
  await onlyLonglinkMaySendWebhooks(world, alice);
  await withoutLonglinkTheCallerIsTold(world, alice);
  const dave = await aUserWhoWasAwayIsToldOnce(world);
  await world.untilOnline(dave.ticket, ['alice', 'dave']);
  nothingSecretIsLogged(world, alice);

  await world.restartBackend();
  const erin = await world.connect('erin');
  await world.untilOnline(erin.ticket, ['alice', 'dave', 'erin']);
  nothingSecretIsLogged(world, erin);
}

/** Asserts the status and the code of an error. */
function isRefused({ status, json }, expected, code) {
  assert.deepEqual([status, json.error?.code], [expected, code], JSON.stringify(json));
  assert.ok(json.error.message.length > 10, json.error.message);
}

async function aUserLogsIn(world) {
  const before = Date.now() / 1000;
  const { status, json } = await world.login('carol-is-here');
  assert.equal(status, 200, JSON.stringify(json));
  assert.deepEqual(Object.keys(json).sort(), ['expires', 'ticket', 'user'], 'no session_key');
  assert.equal(json.user, 'carol');
  const claims = jwt.verify(json.ticket, TICKET_SECRET, { algorithms: ['HS256'] });
  assert.deepEqual([claims.sub, claims.exp], ['carol', json.expires]);
  assert.ok(Math.abs(json.expires - before - 7200) < 60, `${json.expires}`);
  assert.deepEqual(world.wechat.asked, [{
    pathname: '/sns/jscode2session', appid: 'wx1', secret: APPSECRET, js_code: 'carol-is-here',
    grant_type: 'authorization_code',
  }]);
}

async function whatWeChatRefusesIsToldToTheMiniProgram(world) {
  isRefused(await world.login('carol-is-here'), 401, 'wrong_code'); // used before
  isRefused(await world.login('no such code & more'), 401, 'wrong_code');
  assert.equal(world.wechat.asked.at(-1).js_code, 'no such code & more', 'the code is escaped in the URL');
  isRefused(await world.login('text'), 401, 'wrong_code');
  isRefused(await world.login('risk'), 403, 'blocked');
  for (const [code, expected, name] of [
    ['often', 429, 'too_many_logins'], ['busy', 503, 'wechat_busy'],
    ['page', 503, 'wechat_unreachable'], ['cut', 503, 'wechat_unreachable'],
  ]) {
    const answer = await world.login(code);
    isRefused(answer, expected, name);
    assert.match(answer.retryAfter ?? '', /^[1-9]\d*$/, `${code} has Retry-After`);
  }
  isRefused(await world.login('bad-secret'), 502, 'wechat_refused');
  assert.match(world.backend.log, /40125/, 'the log says what is wrong with the backend');
  const asked = world.wechat.asked.length;
  for (const body of [{}, { user: 'alice' }, { code: '' }, { code: 7 }, { code: null }]) {
    isRefused(await world.ask('POST', '/login', { body }), 400, 'no_code');
  }
  const { status } = await world.ask('POST', '/login', { body: '{"code":' });
  assert.equal(status, 400, 'what is not JSON is a mistake of the caller');
  assert.equal(world.wechat.asked.length, asked, 'WeChat is not asked without a code');
}

async function theSampleMiniProgramCanUseIt(world) {
  const backend = world.sample('frank-is-here');
  const { user, ticket } = await backend.login('a name that does not count');
  assert.deepEqual([user, jwt.verify(ticket, TICKET_SECRET).sub], ['frank', 'frank']);
  assert.deepEqual(await backend.online(), ['alice']);
  const order = await backend.order();
  assert.deepEqual({ ...order, id: typeof order.id }, { id: 'string', status: 'placed' });
}

async function anOrderIsPlacedAndPushedOnce(world, alice) {
  const placed = await world.ask('POST', '/orders', { bearer: alice.ticket, body: {} });
  assert.equal(placed.status, 201, JSON.stringify(placed.json));
  const { id, status } = placed.json.order;
  assert.equal(status, 'placed');
  for (const _ of ['paid', 'the caller asks again']) {
    const { json } = await world.setStatus(id, 'making');
    assert.deepEqual(json, { order: { id, status: 'making' }, push: 'queued' });
  }
  await arrived(alice.link);
  assert.deepEqual(alice.messages, [{ from: 'orders', message: { order: { id, status: 'making' } } }]);
  assert.deepEqual((await world.setStatus(id, 'ready')).json, { order: { id, status: 'ready' }, push: 'queued' });
  await arrived(alice.link);
  assert.equal(alice.messages.length, 2);
  isRefused(await world.setStatus(id, 'making'), 409, 'status_went_back');
  isRefused(await world.setStatus(id, 'placed'), 400, 'bad_status');
  isRefused(await world.setStatus(id, 7), 400, 'bad_status');
  const { json } = await world.ask('GET', '/orders', { bearer: alice.ticket });
  assert.deepEqual(json, { orders: [{ id, status: 'ready' }] });
  return id;
}

async function whoMayNotIsRefused(world, alice, order) {
  const late = { sub: 'alice', exp: Math.floor(Date.now() / 1000) - 60 };
  for (const bearer of [
    undefined, 'x', `${alice.ticket}x`,
    jwt.sign(late, TICKET_SECRET), jwt.sign({ sub: 'alice' }, 'x'.repeat(32), { expiresIn: 60 }),
    jwt.sign({ sub: 'alice' }, null, { algorithm: 'none', expiresIn: 60 }),
  ]) {
    isRefused(await world.ask('POST', '/orders', { bearer, body: {} }), 401, 'no_ticket');
    isRefused(await world.ask('GET', '/orders', { bearer }), 401, 'no_ticket');
    isRefused(await world.ask('GET', '/online', { bearer }), 401, 'no_ticket');
  }
  for (const bearer of ['', 'x', alice.ticket, `${SHOP_KEY}x`]) {
    isRefused(await world.setStatus(order, 'ready', bearer), 401, 'no_key');
  }
  isRefused(await world.setStatus('another', 'ready'), 404, 'no_order');
  isRefused(await world.ask('GET', '/nothing'), 404, 'no_such_path');
  const carol = (await world.login('carol-is-here-again')).json.ticket;
  assert.deepEqual((await world.ask('GET', '/orders', { bearer: carol })).json, { orders: [] });
}

/** Places an order of alice, and forgets what longlink was asked and what alice was told until then. */
async function newOrder(world, alice) {
  const { order } = (await world.ask('POST', '/orders', { bearer: alice.ticket, body: {} })).json;
  alice.messages.length = world.door.asked.length = 0;
  return order.id;
}

async function aPushWaitsAsLongAsLonglinkSays(world, alice) {
  const refusal = (status, code, wait) => ({
    status, body: { error: { code, message: 'not now' } }, headers: wait ? { 'retry-after': wait } : {},
  });
  const { door } = world;

  let id = await newOrder(world, alice);
  door.answers.push(refusal(429, 'too_many_tries', '1'));
  door.answers.push({ status: 200, body: { results: [{ user: 'alice', state: 'busy', online: true }] } });
  const { json } = await world.setStatus(id, 'making');
  assert.deepEqual(json, { order: { id, status: 'making' }, push: 'queued' });
  const sends = door.asked.filter(({ path }) => path === '/api/send');
  assert.equal(sends.length, 3, 'the third attempt was let through');
  assert.ok(sends[1].at - sends[0].at >= 990, 'the backend waits as long as Retry-After says');
  assert.deepEqual(sends[0].body, {
    user: 'alice', from: 'orders', message: { order: { id, status: 'making' } }, keep: true,
    idempotencyKey: `order-${id}-making`,
  });
  assert.deepEqual(sends.map(({ body }) => body), Array(3).fill(sends[0].body), 'each attempt is the same');

  id = await newOrder(world, alice);
  door.answers.push(refusal(503, 'unavailable', '30'));
  const start = Date.now();
  const answer = await world.setStatus(id, 'making');
  isRefused(answer, 503, 'longlink_busy');
  assert.equal(answer.retryAfter, '30', 'nobody waits for so long, and the caller is told how long it takes');
  assert.ok(Date.now() - start < 10_000);
  assert.equal(door.asked.length, 1);
  assert.deepEqual((await world.setStatus(id, 'making')).json.push, 'queued', 'the caller tries again');
  await arrived(alice.link);
  assert.equal(alice.messages.length, 1);

  id = await newOrder(world, alice);
  door.answers.push(refusal(401, 'bad_key'));
  isRefused(await world.setStatus(id, 'making'), 502, 'longlink_refused');
  assert.equal(door.asked.length, 1, 'what is refused for good is not tried again');
  assert.match(world.backend.log, /bad_key/, 'the log says what is wrong with the backend');
  door.answers.push({ status: 200, body: { results: [{ user: 'alice', state: 'offline', online: false }] } });
  assert.equal((await world.setStatus(id, 'making')).json.push, 'offline');
}

async function aMessageThatReachedNobodyIsReportedOnce(world, alice) {
  // A page of the older protocol, whose messages are not kept for a user whom longlink does not know.
  const page = new WebSocket(`${world.server.wsUrlOf('alice')}?device=page`, ['longlink.v1'], {
    headers: { authorization: `Bearer ${alice.ticket}` },
  });
  await once(page, 'open');
  page.send('{"toUserId":"nobody","message":"hello"}');
  await eventually('a line in the log', () => reports(world, 'nobody') > 0);
  page.close();
  await once(page, 'close');
  assert.equal(reports(world, 'nobody'), 1);
}

const reports = ({ backend }, user) => backend.log.split(`undelivered: a message to ${user}`).length - 1;

async function onlyLonglinkMaySendWebhooks(world, alice) {
  const { json: { ticket } } = await world.login('carol-is-here-once-more');
  const online = async () => (await world.ask('GET', '/online', { bearer: ticket })).json.users;
  const known = await fetch(`${world.server.url}/api/online`, {
    headers: { authorization: `Bearer ${world.env.LONGLINK_KEY}` },
  });
  const { epoch, seq } = await known.json();
  const now = Math.floor(Date.now() / 1000);
  const event = (at, type, user, more) => ({ epoch, events: [{ seq: at, type, user, device: '', at: 0, ...more }] });
  const gone = event(seq + 1, 'offline', 'alice');

  isRefused(await world.webhook(gone, { key: 'another secret' }), 401, 'bad_signature');
  for (const at of [now - 301, now + 330, 'soon', '']) {
    isRefused(await world.webhook(gone, { at }), 401, 'bad_signature');
  }
  for (const signature of ['', 'v1=', 'v1=é', `v2=${'0'.repeat(64)}`]) {
    const headers = { 'Longlink-Signature': Buffer.from(signature).toString('latin1') };
    isRefused(await world.webhook(gone, { headers }), 401, 'bad_signature');
  }
  isRefused(await world.ask('POST', '/longlink', { body: gone }), 401, 'bad_signature');
  assert.deepEqual(await online(), ['alice'], 'a webhook that is not signed changes nothing');

  assert.equal((await world.webhook(event(seq, 'offline', 'alice'))).status, 204);
  assert.equal((await world.webhook({ ...gone, epoch: '00000000' })).status, 204);
  assert.deepEqual(await online(), ['alice'], 'an event that was told before changes nothing, nor one of a former run');

  const lost = event(seq + 1, 'undelivered', 'alice', { toUserId: 'zoe', frame: '1e999' });
  for (const _ of ['the first time', 'again']) assert.equal((await world.webhook(lost)).status, 204);
  await eventually('a line in the log', () => reports(world, 'zoe') > 0);
  assert.equal((await world.webhook(event(seq + 2, 'online', 'bob'))).status, 204);
  assert.deepEqual(await online(), ['alice', 'bob']);
  assert.equal((await world.webhook(event(seq + 3, 'a new type', 'bob'))).status, 204);
  assert.equal((await world.webhook(event(seq + 4, 'offline', 'bob'))).status, 204);
  assert.deepEqual(await online(), ['alice']);
  assert.equal(reports(world, 'zoe'), 1, 'the event that came twice was handled once');

  // Between these two events there is one that the backend does not get: it asks longlink who is online.
  await world.webhook(event(seq + 5, 'online', 'ghost'));
  assert.deepEqual(await online(), ['alice', 'ghost']);
  world.door.asked.length = 0;
  const missed = event(seq + 8, 'lost', undefined, { from: seq + 6, to: seq + 7 });
  assert.equal((await world.webhook(missed)).status, 204);
  assert.deepEqual(world.door.asked.map(({ path }) => path), ['/api/online']);
  assert.deepEqual(await online(), ['alice'], 'the answer of longlink takes the place of what was known');
}

async function withoutLonglinkTheCallerIsTold(world, alice) {
  const id = await newOrder(world, alice);
  world.server.kill();
  await world.server.exited;
  const answer = await world.setStatus(id, 'making');
  isRefused(answer, 503, 'longlink_unreachable');
  assert.match(answer.retryAfter ?? '', /^[1-9]\d*$/);
  assert.equal(world.door.asked.length, 3, 'the backend has tried three times');
  assert.equal((await world.login('carol-is-here-without-longlink')).status, 200, 'a login needs no longlink');

  await world.server.start();
  alice.link.retry();
  await opened(alice.link);
  assert.deepEqual((await world.setStatus(id, 'making')).json, { order: { id, status: 'making' }, push: 'queued' });
  await arrived(alice.link);
  assert.deepEqual(alice.messages, [{ from: 'orders', message: { order: { id, status: 'making' } } }]);
}

async function aUserWhoWasAwayIsToldOnce(world) {
  const { ticket } = (await world.login('dave-is-here')).json;
  const { order: { id } } = (await world.ask('POST', '/orders', { bearer: ticket, body: {} })).json;
  for (const _ of ['the first time', 'again']) {
    assert.deepEqual((await world.setStatus(id, 'ready')).json, { order: { id, status: 'ready' }, push: 'queued' });
  }
  const dave = await world.connect('dave');
  await arrived(dave.link);
  assert.deepEqual(dave.messages, [{ from: 'orders', message: { order: { id, status: 'ready' } } }]);
  return dave;
}

function nothingSecretIsLogged(world, alice) {
  const { APPSECRET: appsecret, LONGLINK_KEY, WEBHOOK_SECRET } = world.env;
  for (const secret of [appsecret, LONGLINK_KEY, WEBHOOK_SECRET, TICKET_SECRET, SHOP_KEY, alice.ticket, 'the-session-key']) {
    assert.ok(!world.backend.log.includes(secret), `the log has ${secret}:\n${world.backend.log}`);
  }
}
