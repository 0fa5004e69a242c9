// Requests of the page to the backend's interface, with the key that is kept for this tab.

const STORED = 'longlink.ops.key';
const PATIENCE = 8_000;

let key = sessionStorage.getItem(STORED);

export const hasKey = () => key !== null;

/** Stores the key, or removes it. */
export function setKey(value) {
  key = value;
  if (value === null) sessionStorage.removeItem(STORED);
  else sessionStorage.setItem(STORED, value);
}

/** An answer that is not 200: its status, and the server's text. The status 0 means no answer. */
export class Failed extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Sends a request, and resolves to the JSON of the answer. */
export async function ask(path, body) {
  const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
  if (body) headers['Content-Type'] = 'application/json';
  let answer;
  let json = null;
  try {
    answer = await fetch(`api/${path}`, {
      method: body ? 'POST' : 'GET',
      headers,
      body: body && JSON.stringify(body),
      cache: 'no-store',
      credentials: 'omit',
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (answer.headers.get('content-type')?.startsWith('application/json')) json = await answer.json();
  } catch (error) {
    throw new Failed(0, error.message);
  }
  if (answer.status !== 200 || json === null) throw new Failed(answer.status, json?.error?.message ?? '');
  return json;
}

/** Opens the WebSocket of a trace. A browser cannot set a header, so the key is a subprotocol. */
export function trace(user) {
  const url = new URL(`api/trace/${encodeURIComponent(user)}`, document.baseURI);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const token = (text) => encodeURIComponent(text).replace(/[()]/g, (it) => `%${it.charCodeAt(0).toString(16)}`);
  return new WebSocket(url, key === null ? ['longlink.ops'] : ['longlink.ops', `key.${token(key)}`]);
}
