// The ops page asks for the metrics once a second and shows them; what happened before is in the last hour, which the
// server remembers. The charts are in board.js, the users online and one user's trace in online.js and people.js.

import { Board } from './board.js';
import { showNodes } from './nodes.js';
import { People } from './people.js';
import { ask, hasKey, setKey } from './server.js';
import { otherLanguage, t, translate } from './words.js';

const PERIOD = 1_000;
const RETRY_MOST = 5_000;
/** The charts keep ten minutes by themselves. What is older they have from the server, which is asked so often. */
const REMEMBER = 60_000;

const $ = (id) => document.getElementById(id);

const board = new Board();
const people = new People((failure) => failed(failure));
let state = 'starting';
let timer = 0;
let wait = PERIOD;
let remembered = 0;

function enter(next, notice = '') {
  state = next;
  document.body.dataset.state = next;
  $('gate').hidden = next !== 'locked';
  $('board').hidden = !['live', 'away'].includes(next);
  $('forget').hidden = !hasKey();
  $('notice').hidden = notice === '';
  $('notice').textContent = notice;
  $('status').textContent = t(next);
}

/** Says what has to be done when the server gave no usable answer. */
function failed({ status, message }) {
  if (status === 401) {
    $('key-note').textContent = hasKey() ? t('badKey') : '';
    setKey(null);
    enter('locked');
    people.stop();
    $('key').focus();
  } else if (status === 0 || status >= 500) {
    enter('away', t('retry'));
  } else {
    enter('away', message ? t('refused') + message : t('odd') + status);
  }
}

async function beat() {
  clearTimeout(timer);
  try {
    const stats = await ask('stats');
    if (state !== 'live') {
      enter('live');
      people.begin();
      remembered = 0;
    }
    board.show(stats);
    if (Date.now() - remembered >= REMEMBER) {
      board.remember(await ask('stats/hour'));
      remembered = Date.now();
    }
    showNodes('nodes' in stats ? await ask('nodes') : null);
    wait = PERIOD;
  } catch (failure) {
    if (!('status' in failure)) throw failure;
    failed(failure);
    if (failure.status === 401) return;
    board.miss();
    wait = Math.min(RETRY_MOST, wait * 1.5);
  }
  timer = setTimeout(beat, wait);
}

$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const key = $('key').value.trim();
  if (!/^[!-~]+$/.test(key)) {
    $('key-note').textContent = t('oddKey');
    return;
  }
  $('key').value = '';
  $('key-note').textContent = '';
  setKey(key);
  beat();
});
$('forget').addEventListener('click', () => {
  setKey(null);
  location.reload();
});
$('lang').addEventListener('click', () => {
  otherLanguage();
  $('status').textContent = t(state);
  board.redraw();
  people.redraw();
});

translate();
board.redraw();
enter('starting');
beat();
