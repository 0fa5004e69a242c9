// Tickets that the `jsonwebtoken` library of Node has minted, against the real server.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { startServer } from '../support/server.mjs';
import { SECRET, mint, mintAlice } from '../support/tickets.mjs';

const PATIENCE = 10_000;
const PONG = '{"type":"pong"}';

const start = (t) =>
  startServer({ t, args: ['--reject-delay', '0'], env: { LONGLINK_SECRET: SECRET } });

/** 101 and the answer to a heartbeat, or the status of the refusal. */
async function enter(url, protocols = [], options = {}) {
  const client = new WebSocket(url, protocols, options);
  client.on('error', () => {});
  const status = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no answer in ${PATIENCE} ms`)), PATIENCE);
    const done = (code) => {
      clearTimeout(late);
      resolve(code);
    };
    client.on('unexpected-response', (_, response) => done(response.statusCode));
    client.on('open', () => client.send('ping'));
    client.on('message', (answer) => done(String(answer) === PONG ? 101 : `odd answer ${answer}`));
  });
  client.terminate();
  return status;
}

test('a ticket of the documented sample is accepted from each place where a ticket may be', async (t) => {
  const server = await start(t);
  const ticket = mintAlice();
  const url = server.wsUrlOf('alice');
  assert.equal(await enter(`${url}?ticket=${ticket}`), 101);
  assert.equal(await enter(url, ['longlink.v1', `ticket.${ticket}`]), 101);
  assert.equal(await enter(url, [], { headers: { Authorization: `Bearer ${ticket}` } }), 101);
  assert.equal(await enter(url), 401);
  assert.equal(await enter(`${server.wsUrlOf('bob')}?ticket=${ticket}`), 401);
  assert.equal(await enter(`${url}?ticket=${mintAlice('x'.repeat(32))}`), 401);
});

test('a ticket that has expired, is not valid yet, or is for another device is refused', async (t) => {
  const server = await start(t);
  const url = server.wsUrlOf('alice');
  const withClaims = (claims, options) => enter(`${url}?ticket=${mint({ sub: 'alice', ...claims }, options)}`);
  assert.equal(await withClaims({}, { expiresIn: -10 }), 401);
  assert.equal(await withClaims({}, {}), 401);
  assert.equal(await withClaims({}, { expiresIn: '1h', notBefore: '1m' }), 401);
  assert.equal(await withClaims({ device: 'phone' }), 101);
  const phone = mint({ sub: 'alice', device: 'phone' });
  assert.equal(await enter(`${url}?device=pad&ticket=${phone}`), 401);
});
