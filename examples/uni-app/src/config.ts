// A build may set both: `SERVER=wss://example.com BACKEND=https://example.com npm run build:h5`.

/** Where longlink listens. On a phone it has to be `wss://` and a domain that is registered with WeChat. */
export const SERVER = __SERVER__ || 'ws://127.0.0.1:8080'

/**
 * Your backend, for example one of longlink's examples: `http://127.0.0.1:3000`. It says who the user is, and signs the
 * tickets. Without it every user takes any name, which longlink allows only without a secret.
 */
export const BACKEND = __BACKEND__ || ''
