// What the server is doing, in charts and lists: it is given the numbers of the moment and those of the last hour.

import { Chart } from './chart.js';
import { showStore } from './store.js';
import { bytes, number, reasonName, seconds, span, t, time, undeliveredName } from './words.js';

/** How many of the last samples a percentile is computed over, so that it changes smoothly. */
const WINDOW = 10;
/** The widths of the charts between which the buttons choose, in minutes. */
const WIDTHS = [10, 60];
/** Samples of the hour that are so many periods apart have a gap between them. */
const GAP = 2.5;
/** The hour is whole if its first sample is so many milliseconds old. */
const WHOLE = 3_570_000;

const $ = (id) => document.getElementById(id);
const sum = (values) => Object.values(values ?? {}).reduce((all, value) => all + value, 0);
const gauge = (value) => (typeof value === 'number' ? value : null);

/** The charts: each computes its values from the present statistics and earlier ones. `past` names the series of the hour. */
const CHARTS = [
  { title: 'people', series: ['users', 'connections'], past: ['users', 'connections'], format: number, values: (now) => [gauge(now.longlink_users), now.longlink_connections ? sum(now.longlink_connections) : null] },
  { title: 'messages', series: ['received', 'sent'], past: ['received', 'sent'], format: number, values: (now, rate) => [rate('longlink_messages_received_total'), rate('longlink_messages_sent_total')] },
  { title: 'bytes', series: ['in', 'out'], past: ['bytesIn', 'bytesOut'], format: bytes, binary: true, values: (now, rate) => [rate('longlink_received_bytes_total'), rate('longlink_sent_bytes_total')] },
  { title: 'undelivered', series: ['dropped', 'lost'], past: ['offline', 'lost'], format: number, values: (now, rate) => [
    rate('longlink_relay_messages_total', ({ offline }) => offline),
    rate('longlink_mailbox_messages_total', ({ lost, undeliverable }) => lost + undeliverable),
  ] },
  { title: 'mailboxes', series: ['kept'], past: ['waiting'], format: number, values: (now) => [gauge(now.longlink_mailbox_waiting)] },
  { title: 'queues', series: ['waiting'], past: ['buffered'], format: bytes, binary: true, values: (now) => [gauge(now.longlink_buffered_bytes?.output)] },
  { title: 'memory', series: ['resident'], past: ['memory'], format: bytes, binary: true, values: (now) => [gauge(now.process_resident_memory_bytes)] },
  { title: 'turn', series: ['p99'], past: ['turn'], format: seconds, values: (now, rate, before) => [percentile(now.longlink_turn_seconds, before.longlink_turn_seconds, 0.99)] },
];

/** What became of messages that nobody got: a name in `words.js`, and the number since the start. */
const UNDELIVERED = [
  ['offline', (now) => now.longlink_relay_messages_total?.offline],
  ['expired', (now) => now.longlink_mailbox_messages_total?.expired],
  ['overflow', ({ longlink_mailbox_messages_total: it }) => it && it.lost - it.expired],
  ['undeliverable', (now) => now.longlink_mailbox_messages_total?.undeliverable],
  ['too_long', (now) => now.longlink_messages_too_long_total],
  ['overfull', (now) => now.longlink_messages_overfull_total],
  ['damaged', (now) => now.longlink_store_damaged_total],
  ['webhooks', (now) => now.longlink_webhook_events_total?.lost],
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

/** Shows counts with a bar for each, the largest first; or that there is none. */
function tally(list, empty, counts) {
  const sorted = counts.filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a);
  const most = sorted[0]?.[1] ?? 1;
  $(empty).hidden = sorted.length > 0;
  $(list).replaceChildren(...sorted.map(([text, count]) => {
    const [item, name, bar, figure] = ['li', 'span', 'meter', 'b'].map((tag) => document.createElement(tag));
    name.textContent = text;
    figure.textContent = number(count);
    Object.assign(bar, { max: most, value: count });
    bar.setAttribute('aria-hidden', 'true');
    item.append(name, figure, bar);
    return item;
  }));
}

export class Board {
  #samples = [];
  /** When the hour of the server began, and whether it is that of several nodes. */
  #hour = null;

  constructor() {
    this.charts = CHARTS.map((chart) => new Chart($('charts'), chart));
    this.widths = WIDTHS.map((minutes) => {
      const button = document.createElement('button');
      Object.assign(button, { type: 'button', className: 'small ghost' });
      button.addEventListener('click', () => this.#widen(minutes));
      $('widths').append(button);
      return { minutes, button };
    });
    this.#widen(WIDTHS.at(-1));
  }

  #widen(chosen) {
    for (const { minutes, button } of this.widths) button.setAttribute('aria-pressed', minutes === chosen);
    this.charts.forEach((chart) => chart.show(chosen));
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
    tally('closes', 'no-closes', Object.entries(stats.longlink_closes_total ?? {}).map(([reason, count]) => [reasonName(reason), count]));
    tally('undelivered', 'no-undelivered', UNDELIVERED.map(([name, of]) => [undeliveredName(name), of(stats) ?? 0]));
    const commits = 'longlink_store_commit_seconds';
    showStore(stats, percentile(stats[commits], before[commits], 0.99));
    const up = stats[started] ? `${t('up')}${span(now.at / 1_000 - stats[started])}` : '';
    $('about').textContent = [location.host, up].filter(Boolean).join(' · ');
  }

  /** Shows the hour that the server remembers. Its times are those of the server's clock. */
  remember({ period, now, times, series, missing }) {
    const skew = Date.now() - now;
    this.charts.forEach((chart, i) => {
      const lines = CHARTS[i].past.map((name) => series[name] ?? []);
      const points = [];
      times.forEach((at, place) => {
        if (place > 0 && at - times[place - 1] > GAP * period * 1_000) points.push({ at: times[place - 1] + skew + 1, values: lines.map(() => null) });
        points.push({ at: at + skew, values: lines.map((line) => line[place] ?? null) });
      });
      chart.remember(points);
    });
    const begin = times.length > 0 ? times[0] - period * 1_000 : now;
    this.#hour = { begin: begin + skew, isWhole: now - begin >= WHOLE, isShared: missing !== undefined };
    this.#tellHour();
  }

  #tellHour() {
    if (!this.#hour) return;
    const { begin, isWhole, isShared } = this.#hour;
    const said = isWhole ? t('hourWhole') : t('hourSince').replace('{0}', time(begin));
    $('hour').textContent = said + (isShared ? t('hourShared') : '');
  }

  /** Called when there was no answer: each chart gets a gap. */
  miss() {
    this.charts.forEach((chart, i) => chart.add(Date.now(), CHARTS[i].series.map(() => null)));
    this.#samples = [];
  }

  redraw() {
    for (const { minutes, button } of this.widths) button.textContent = `${minutes}${t('minutes')}`;
    this.charts.forEach((chart) => chart.draw());
    this.#tellHour();
  }
}
