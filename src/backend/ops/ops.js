// The ops page asks for the metrics once a second and shows them. The list of users online, and one
// user's trace, are in people.js.

import { Chart } from './chart.js';
import { showNodes } from './nodes.js';
import { People } from './people.js';
import { ask, hasKey, setKey } from './server.js';
import { showStore } from './store.js';
import { bytes, number, otherLanguage, reasonName, seconds, span, t, translate } from './words.js';

const PERIOD = 1_000;
const RETRY_MOST = 5_000;
/** How many of the last samples a percentile is computed over, so that it changes smoothly. */
const WINDOW = 10;

const $ = (id) => document.getElementById(id);
const sum = (values) => Object.values(values ?? {}).reduce((all, value) => all + value, 0);
const gauge = (value) => (typeof value === 'number' ? value : null);

/** The charts: each computes its values from the present statistics and earlier ones. */
const CHARTS = [
  { title: 'people', series: ['users', 'connections'], format: number, values: (now) => [gauge(now.longlink_users), now.longlink_connections ? sum(now.longlink_connections) : null] },
  { title: 'messages', series: ['received', 'sent'], format: number, values: (now, rate) => [rate('longlink_messages_received_total'), rate('longlink_messages_sent_total')] },
  { title: 'bytes', series: ['in', 'out'], format: bytes, binary: true, values: (now, rate) => [rate('longlink_received_bytes_total'), rate('longlink_sent_bytes_total')] },
  { title: 'memory', series: ['resident'], format: bytes, binary: true, values: (now) => [gauge(now.process_resident_memory_bytes)] },
  { title: 'turn', series: ['p99'], format: seconds, values: (now, rate, before) => [percentile(now.longlink_turn_seconds, before.longlink_turn_seconds, 0.99)] },
  { title: 'queues', series: ['waiting'], format: bytes, binary: true, values: (now) => [gauge(now.longlink_buffered_bytes?.output)] },
  { title: 'undelivered', series: ['dropped', 'lost'], format: number, values: (now, rate) => [
    rate('longlink_relay_messages_total', ({ offline }) => offline),
    rate('longlink_mailbox_messages_total', ({ lost, undeliverable }) => lost + undeliverable),
  ] },
];

/** Returns a percentile of the values that a histogram has counted since its earlier state `before`. */
function percentile(now, before, share) {
  if (!now) return null;
  const counts = now.buckets.map(({ count }, i) => count - (before?.buckets[i]?.count ?? 0));
  const all = counts.reduce((total, count) => total + count, 0);
  if (all <= 0) return null;
  let left = all * share;
  const at = counts.findIndex((count) => (left -= count) <= 0);
  const from = at > 0 ? now.buckets[at - 1].le : 0;
  const to = now.buckets[at].le ?? from;
  return from + (to - from) * (1 + left / counts[at]);
}

/** The charts and the list of close reasons. */
class Board {
  #samples = [];

  constructor() {
    this.charts = CHARTS.map((chart) => new Chart($('charts'), chart));
  }

  show(stats) {
    const now = { at: Date.now(), stats };
    const last = this.#samples.at(-1);
    const started = 'process_start_time_seconds';
    // Unless the server was restarted: then the totals of the earlier process cannot be compared.
    const begun = last && (last.stats[started] === stats[started] || !(started in stats));
    if (!begun) this.#samples = [];
    const before = this.#samples[0]?.stats ?? {};
    const rate = (name, of = (total) => total) => {
      if (!begun || !(name in stats)) return null;
      return Math.max(0, (of(stats[name]) - of(last.stats[name])) / Math.max(0.001, (now.at - last.at) / 1_000));
    };
    this.charts.forEach((chart, i) => chart.add(now.at, CHARTS[i].values(stats, rate, before)));
    this.#samples.push(now);
    if (this.#samples.length > WINDOW) this.#samples.shift();
    this.#showCloses(stats.longlink_closes_total ?? {});
    const commits = 'longlink_store_commit_seconds';
    showStore(stats, percentile(stats[commits], before[commits], 0.99));
    const up = stats[started] ? `${t('up')}${span(now.at / 1_000 - stats[started])}` : '';
    $('about').textContent = [location.host, up].filter(Boolean).join(' · ');
  }

  /** Called when there was no answer: each chart gets a gap. */
  miss() {
    this.charts.forEach((chart, i) => chart.add(Date.now(), CHARTS[i].series.map(() => null)));
    this.#samples = [];
  }

  redraw() {
    this.charts.forEach((chart) => chart.draw());
  }

  #showCloses(reasons) {
    const sorted = Object.entries(reasons).filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a);
    const most = sorted[0]?.[1] ?? 1;
    $('no-closes').hidden = sorted.length > 0;
    $('closes').replaceChildren(...sorted.map(([reason, count]) => {
      const [item, name, bar, figure] = ['li', 'span', 'meter', 'b'].map((tag) => document.createElement(tag));
      name.textContent = reasonName(reason);
      figure.textContent = number(count);
      Object.assign(bar, { max: most, value: count });
      bar.setAttribute('aria-hidden', 'true');
      item.append(name, figure, bar);
      return item;
    }));
  }
}

const board = new Board();
const people = new People((failure) => failed(failure));
let state = 'starting';
let timer = 0;
let wait = PERIOD;

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
    }
    board.show(stats);
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
enter('starting');
beat();
