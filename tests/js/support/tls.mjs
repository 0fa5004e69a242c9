// Certificates and nginx for tests: those of tests/py, where the documented file is used.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer } from './server.mjs';

/** The name that the certificates are for; launched browsers take it for this machine. */
export const HOST = 'chat.example.test';

const PYTHON = fileURLToPath(new URL('../../py/', import.meta.url));

/** Makes a folder that is removed after the test. */
export function makeFolder(t) {
  const folder = mkdtempSync(join(tmpdir(), 'longlink-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** The flags for a certificate that was made for this test and signed by nobody. */
export function certificateFlags(folder) {
  const make =
    'import sys, pathlib, certificate as c; c.make_certificate(pathlib.Path(sys.argv[1]), sys.argv[2])';
  execFileSync('python3', ['-B', '-c', make, folder, `DNS:${HOST}`], { cwd: PYTHON });
  return ['--tls-cert', join(folder, 'cert.pem'), '--tls-key', join(folder, 'key.pem')];
}

/** Starts nginx before `upstream` (HOST:PORT), configured as documented; its logs are in `folder`. */
export function startNginx({ t, folder, upstream }) {
  return startServer({
    t,
    command: () => ['python3', '-B', join(PYTHON, 'nginx.py'), folder, upstream],
  });
}
