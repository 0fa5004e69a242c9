// Tickets for tests, minted by the sample in docs/tickets.md.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import jwt from 'jsonwebtoken';

export const SECRET = '0123456789abcdef0123456789abcdef';

const DOCS = new URL('../../../docs/tickets.md', import.meta.url);

/** Mints a ticket for alice with the documented code. */
export function mintAlice(secret = SECRET) {
  const sample = /```js\n\/\/ Node: jsonwebtoken\n(.*?)```/s.exec(readFileSync(DOCS, 'utf8'))?.[1];
  assert.ok(sample, 'docs/tickets.md has a sample');
  return new Function('jwt', 'secret', `return ${sample}`)(jwt, secret);
}

/** Mints a ticket with these claims. */
export const mint = (claims, options = { expiresIn: '1m' }) =>
  jwt.sign(claims, SECRET, { algorithm: 'HS256', ...options });
