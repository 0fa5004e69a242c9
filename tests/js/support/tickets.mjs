// Tickets for tests, minted by the sample in docs/tickets.md.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import jwt from 'jsonwebtoken';

export const SECRET = '0123456789abcdef0123456789abcdef';

const DOCS = new URL('../../../docs/tickets.md', import.meta.url);

/** A ticket for alice, as the documents mint it. */
export function mintAlice(secret = SECRET) {
  const sample = /```js\n\/\/ Node: jsonwebtoken\n(.*?)```/s.exec(readFileSync(DOCS, 'utf8'))?.[1];
  assert.ok(sample, 'the sample is gone');
  return new Function('jwt', 'secret', `return ${sample}`)(jwt, secret);
}

/** A ticket that says this. */
export const mint = (claims, options = { expiresIn: '1m' }) =>
  jwt.sign(claims, SECRET, { algorithm: 'HS256', ...options });
