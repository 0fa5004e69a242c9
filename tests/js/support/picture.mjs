// Takes the picture for the README: what a newcomer sees after half a minute with the demo page.
//
//     node tests/js/support/picture.mjs target/demo.png
//     pngquant --force --output docs/demo.png 256 target/demo.png
//
// It needs the release build (or LONGLINK_BIN), a Chromium and a font with Chinese characters.

import { setTimeout as sleep } from 'node:timers/promises';
import { launch, Tab } from './browser.mjs';
import { startServer } from './server.mjs';

const [path] = process.argv.slice(2);
if (!path) throw new Error('usage: node tests/js/support/picture.mjs PICTURE.png');

const server = await startServer();
const browser = await launch();
try {
  const viewport = { width: 1280, height: 800 };
  const tab = await Tab.open(await browser.newContext({ locale: 'en', viewport }), server.url);
  const { left: alice, right: bob, page } = tab;
  await tab.are('open');
  await sleep(3_000);
  await alice.find('.send').click();
  await sleep(2_000);
  await bob.tells('alice', 'Loud and clear! 听得到');
  await sleep(3_000);
  await bob.switchesOff();
  await sleep(3_000);
  await alice.tells('bob', 'Your battery again?');
  await alice.sees('Your battery again?', 'kept');
  await sleep(3_000);
  await bob.switchesOn();
  await alice.sees('Your battery again?', 'received');
  await alice.find('.message').click();
  await sleep(2_000);
  await alice.find('.cut').click();
  await bob.tells('alice', 'It is back now');
  await bob.find('.presence[data-online="false"]').waitFor();
  await alice.tells('bob', 'In the lift');
  await sleep(2_000);
  await bob.sees('It is back now', 'kept');
  await page.locator('h1').click();
  await page.screenshot({ path });
} finally {
  await browser.close();
  await server.stop();
}
