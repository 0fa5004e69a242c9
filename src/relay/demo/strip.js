// The strip is a moving picture of one connection: a solid line while the connection is open, a
// peak for each heartbeat, which is higher for a longer round trip, and a dot for each message.

const WINDOW = 30_000; // milliseconds from edge to edge
const MARKS = 400; // the most marks; the oldest are removed, since there are fewer pixels than this
const SPANS = 200; // the most changes of state that are kept
const READ = '"longlink.read"'; // in the frames by which a user's devices agree on what is unread

/** The type of a frame, as the strip counts it: `ping`, `pong`, `message`, or another, which gets no mark. */
function kindOf(data) {
  if (data === 'ping') return 'ping';
  let frame;
  try {
    frame = JSON.parse(data);
  } catch {
    return 'message'; // v1 has messages that are plain text
  }
  const { type } = frame ?? {};
  if (type === 'ping' || type === 'pong') return type;
  if (data.includes(READ) || frame?.message?.typing) return 'other';
  return type === 'send' || frame === null || typeof frame !== 'object' || 'message' in frame ? 'message' : 'other';
}

export class Strip {
  state = 'off';
  beats = 0;
  rtt = null; // milliseconds
  wire = ''; // the last frame
  #canvas;
  #marks = [];
  #spans = [];
  #pinged = null;

  constructor(canvas) {
    this.#canvas = canvas;
  }

  enter(state) {
    if (state === this.state) return;
    if (state === 'connecting' && this.state === 'waiting') this.#mark('attempt');
    this.#pinged = null;
    this.state = state;
    this.#spans.push({ at: Date.now(), state });
    this.#spans.splice(0, this.#spans.length - SPANS);
  }

  sent(data) {
    this.wire = `→ ${data}`;
    const kind = kindOf(data);
    if (kind === 'ping') this.#pinged ??= performance.now();
    else if (kind === 'message') this.#mark('out');
  }

  received(data) {
    this.wire = `← ${data}`;
    const kind = kindOf(data);
    if (kind === 'message') this.#mark('in');
    if (kind !== 'pong' || this.#pinged === null) return;
    this.rtt = performance.now() - this.#pinged;
    this.#pinged = null;
    this.beats += 1;
    this.#mark('beat', this.rtt);
  }

  #mark(kind, value = 0) {
    this.#marks.push({ at: Date.now(), kind, value });
    this.#marks.splice(0, this.#marks.length - MARKS);
  }

  draw() {
    const canvas = this.#canvas;
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = devicePixelRatio || 1;
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (!w || !h) return;
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`);
    const pen = canvas.getContext('2d');
    const now = Date.now();
    const edge = width - 6; // where the present moment is; the dot takes the last pixels
    const x = (at) => edge - ((now - at) / WINDOW) * edge;
    const middle = Math.round(height * 0.62) + 0.5;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.lineWidth = 1.75;
    pen.lineJoin = pen.lineCap = 'round';

    for (let tick = 5_000; tick < WINDOW; tick += 5_000) {
      pen.fillStyle = colour('line');
      pen.fillRect(Math.round(x(now - tick)), 4, 1, height - 8);
    }

    pen.beginPath();
    pen.strokeStyle = colour('line');
    pen.moveTo(0, middle);
    pen.lineTo(Math.max(0, x(this.#spans[0]?.at ?? now)), middle);
    pen.stroke();

    const marks = this.#marks.filter(({ at }) => now - at < WINDOW);
    this.#spans.forEach(({ at, state }, n) => {
      const until = this.#spans[n + 1]?.at ?? now;
      if (now - until > WINDOW || state === 'off') return;
      const [left, right] = [Math.max(0, x(at)), x(until)];
      const open = state === 'open';
      pen.beginPath();
      pen.setLineDash(open ? [] : [1, 5]);
      pen.strokeStyle = colour(open ? 'accent' : state === 'connecting' ? 'warn' : 'bad');
      pen.moveTo(left, middle);
      if (open) {
        for (const mark of marks) {
          if (mark.kind === 'beat' && mark.at >= at && mark.at <= until) beat(pen, mark, x, middle);
        }
      }
      pen.lineTo(right, middle);
      pen.stroke();
    });
    pen.setLineDash([]);

    for (const { at, kind } of marks) {
      if (kind === 'beat') continue;
      pen.beginPath();
      pen.arc(x(at), kind === 'in' ? middle + 9 : kind === 'out' ? middle - 9 : middle, 3, 0, 7);
      pen.fillStyle = colour(kind === 'attempt' ? 'card' : kind === 'in' ? 'theirs-dot' : 'mine-dot');
      pen.fill();
      if (kind !== 'attempt') continue;
      pen.strokeStyle = colour('warn');
      pen.stroke();
    }

    pen.beginPath();
    pen.arc(edge, middle, 4, 0, 7);
    pen.fillStyle = colour({ open: 'accent', connecting: 'warn', off: 'line' }[this.state] ?? 'bad');
    pen.fill();
  }
}

/** Draws a heartbeat as a peak. Its height grows with the logarithm of the round trip time. */
function beat(pen, { at, value }, x, middle) {
  const centre = x(at);
  const high = Math.min(middle - 3, 9 + 6 * Math.log10(1 + value));
  const points = [[-7, 0], [-5, 3], [-1.5, -high], [2.5, high * 0.45], [5, 0]];
  for (const [dx, dy] of points) pen.lineTo(centre + dx, middle + dy);
}
