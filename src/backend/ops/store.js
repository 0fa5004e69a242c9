// What the ops page shows of the store, the file in which the server keeps messages.

import { bytes, number, seconds, span, t } from './words.js';

const $ = (id) => document.getElementById(id);

/** Shows the figures of a store, or hides the card if the server has none. `p99` is the time of a commit. */
export function showStore(stats, p99) {
  const states = stats.longlink_store_state;
  $('store').hidden = !states;
  if (!states) return;
  const state = Object.keys(states).find((name) => states[name] > 0) ?? 'ok';
  $('store').dataset.state = state;
  $('store-state').textContent = t(`store_${state}`);
  const size = stats.longlink_store_size_bytes ?? {};
  const oldest = stats.longlink_store_oldest_seconds;
  const figures = [
    ['storeFile', `${bytes(size.file ?? 0)} / ${bytes(size.limit ?? 0)}`],
    ['storeFree', 'longlink_store_free_bytes' in stats ? bytes(stats.longlink_store_free_bytes) : null],
    ['storeOldest', oldest > 0 ? span(Math.max(0, Date.now() / 1_000 - oldest)) : null],
    ['storeCommit', p99 === null ? null : seconds(p99)],
    ['storeQueued', number(stats.longlink_store_queued ?? 0)],
    ['storeUnwritten', worth(stats.longlink_store_unwritten)],
    ['storeGivenUp', worth(stats.longlink_store_given_up_total)],
    ['storeDropped', worth(stats.longlink_store_segments_dropped_total)],
  ];
  $('store-figures').replaceChildren(...figures.filter(([, value]) => value !== null).map(([name, value]) => {
    const [row, term, figure] = ['div', 'dt', 'dd'].map((tag) => document.createElement(tag));
    term.textContent = t(name);
    figure.textContent = value;
    row.append(term, figure);
    return row;
  }));
}

/** A figure that is shown only if it is not zero. */
const worth = (value) => (value > 0 ? number(value) : null);
