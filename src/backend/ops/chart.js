// A chart of lines over the last minutes, at most sixty. It knows nothing of servers.

import { lang, t } from './words.js';

const SPANS = [1, 2, 5, 10, 20, 30, 60]; // the widths that a chart can have, in minutes; it has the first that shows all values
const MINUTE = 60_000;
const LIVE = 10 * MINUTE; // for so long a chart keeps the values that were added to it
const WIDTH = 600;
const HEIGHT = 120;
const SVG = 'http://www.w3.org/2000/svg';

function make(name, attributes = {}, parent = null) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent?.append(element);
  return element;
}

/** Returns the upper end of the axis: the smallest of 1, 2, 5, 10, … that is not below a value; for bytes a power of two. */
function ceiling(value, binary) {
  if (value <= 0) return 1;
  if (binary) return 2 ** Math.ceil(Math.log2(value));
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => value <= step * unit * (1 + 1e-9)) * unit;
}

/** A card with a title, the present values, and a line for each series. */
export class Chart {
  /** The points `{ at, values }` that were there before the first live one; a value of null is a gap. */
  #past = [];
  #live = [];
  /** The points that are shown. */
  #points = [];
  #lines = [];
  #pointed = null;
  /** How many minutes the chart shows at most. */
  #most = SPANS.at(-1);

  /** `title` and `series` are names in `words.js`; `format` turns a value into text. */
  constructor(parent, { title, series, format, binary = false }) {
    Object.assign(this, { title, series, format, binary });
    this.card = document.createElement('article');
    this.card.className = 'card chart';
    this.heading = document.createElement('h2');
    this.legend = document.createElement('dl');
    this.figures = series.map(() => {
      const [group, name, value] = ['div', 'dt', 'dd'].map((tag) => document.createElement(tag));
      group.append(name, value);
      this.legend.append(group);
      return { name, value };
    });
    this.svg = make('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    for (const share of [0, 0.5, 1]) make('line', { class: 'grid', x1: 0, x2: WIDTH, y1: share * HEIGHT, y2: share * HEIGHT }, this.svg);
    this.#lines = series.map((_, at) => ({
      area: make('path', { class: `area s${at}` }, this.svg),
      line: make('path', { class: `line s${at}` }, this.svg),
    }));
    this.cursor = make('line', { class: 'cursor', y1: 0, y2: HEIGHT, visibility: 'hidden' }, this.svg);
    this.plot = document.createElement('div');
    this.plot.className = 'plot';
    this.most = document.createElement('span');
    this.most.className = 'most';
    this.plot.append(this.svg, this.most);
    this.axis = document.createElement('p');
    this.axis.className = 'axis';
    this.axis.append(...[0, 1, 2].map(() => document.createElement('span')));
    this.card.append(this.heading, this.legend, this.plot, this.axis);
    parent.append(this.card);
    this.plot.addEventListener('pointermove', (event) => this.#point(event));
    this.plot.addEventListener('pointerleave', () => this.#point(null));
  }

  /** Adds the values of a moment. A chart does not begin with a moment of which nothing is known. */
  add(at, values) {
    if (this.#live.length === 0 && values.every((value) => value === null)) return;
    this.#live.push({ at, values });
    while (this.#live[0].at < at - LIVE) this.#live.shift();
    this.draw();
  }

  /** Sets the points from before the chart was there. */
  remember(points) {
    this.#past = points;
    this.draw();
  }

  /** Shows at most so many minutes. */
  show(minutes) {
    this.#most = minutes;
    this.draw();
  }

  draw() {
    const begin = this.#live[0]?.at ?? Infinity;
    const all = [...this.#past.filter(({ at }) => at < begin), ...this.#live];
    const now = all.at(-1)?.at ?? 0;
    this.#points = all.filter(({ at }) => at >= now - this.#most * MINUTE);
    const age = now - (this.#points[0]?.at ?? now);
    this.minutes = SPANS.find((minutes) => age <= minutes * MINUTE) ?? this.#most;
    const span = this.minutes * MINUTE;
    const values = this.#points.flatMap((point) => point.values.filter((value) => value !== null));
    const top = ceiling(values.reduce((most, value) => Math.max(most, value), 0), this.binary);
    const x = (at) => (WIDTH * (1 - (now - at) / span)).toFixed(1);
    const y = (value) => (HEIGHT * (1 - value / top)).toFixed(1);
    this.#lines.forEach(({ line, area }, series) => {
      let path = '';
      let shape = '';
      let run = [];
      const end = () => {
        if (run.length > 0) {
          const points = run.map(({ at, value }) => `${x(at)} ${y(value)}`).join('L');
          path += `M${points}${run.length === 1 ? 'h.1' : ''}`;
          shape += `M${x(run[0].at)} ${HEIGHT}L${points}L${x(run.at(-1).at)} ${HEIGHT}Z`;
        }
        run = [];
      };
      for (const point of this.#points) {
        if (point.values[series] === null) end();
        else run.push({ at: point.at, value: point.values[series] });
      }
      end();
      line.setAttribute('d', path);
      area.setAttribute('d', shape);
    });
    this.most.textContent = values.length > 0 ? this.format(top) : '';
    this.#say(now, x);
  }

  /** Writes the title and the values: the present ones, or those under the pointer. */
  #say(now, x) {
    const at = this.#pointed === null ? now : now - this.minutes * MINUTE * (1 - this.#pointed);
    const near = this.#pointed === null ? this.#points.at(-1) : this.#nearest(at);
    this.cursor.setAttribute('visibility', this.#pointed === null || !near ? 'hidden' : 'visible');
    if (near) for (const name of ['x1', 'x2']) this.cursor.setAttribute(name, x(near.at));
    this.heading.textContent = t(this.title);
    this.figures.forEach(({ name, value }, series) => {
      const figure = near?.values[series] ?? null;
      name.textContent = t(this.series[series]);
      value.textContent = figure === null ? '–' : this.format(figure);
    });
    const spoken = this.figures.map(({ name, value }) => `${name.textContent} ${value.textContent}`).join(', ');
    this.svg.setAttribute('aria-label', `${t(this.title)}: ${spoken}`);
    const when = this.#pointed === null || !near ? '' : new Date(near.at).toLocaleTimeString(lang);
    const labels = [`−${this.minutes}${t('minutes')}`, when, t('now')];
    [...this.axis.children].forEach((label, i) => { label.textContent = labels[i]; });
  }

  #nearest(at) {
    return this.#points.reduce((best, point) => (best && Math.abs(best.at - at) <= Math.abs(point.at - at) ? best : point), null);
  }

  #point(event) {
    const box = this.plot.getBoundingClientRect();
    this.#pointed = event && Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    this.draw();
  }
}
