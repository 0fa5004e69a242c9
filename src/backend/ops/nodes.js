// What the ops page shows of the nodes, if several serve the same users.

import { number, seconds, span, t } from './words.js';

const $ = (id) => document.getElementById(id);
/** A node that has not said for so many milliseconds that it lives is late. It says so every three seconds. */
const LATE = 7_000;

/** Shows the nodes of an answer of `/api/nodes`; `null` if the server is alone. */
export function showNodes(answer) {
  $('nodes').hidden = answer === null;
  if (answer === null) return;
  $('nodes').dataset.state = answer.up ? 'ok' : 'bad';
  $('nodes-state').textContent = answer.up ? number(answer.nodes.length) : t('nodesCut');
  const names = ['nodeName', 'nodeAge', 'nodeConnections', 'nodeUsers', 'nodeLag', 'nodeTrip', 'nodeSeen'];
  const head = row('th', names.map((name) => t(name)));
  const rows = answer.nodes.map((node) => {
    const made = row('td', [
      node.node === answer.node ? `${node.node} ←` : node.node, span(node.age), number(node.connections), number(node.users),
      seconds(node.lagUs / 1e6), seconds(node.roundTripUs / 1e6), seconds(node.renewedMs / 1e3),
    ]);
    if (node.renewedMs > LATE) made.className = 'late';
    return made;
  });
  $('nodes-list').replaceChildren(head, ...rows);
}

/** Makes a row of a table. Names of nodes are inserted as text. */
function row(tag, texts) {
  const made = document.createElement('tr');
  made.append(...texts.map((text) => {
    const cell = document.createElement(tag);
    cell.textContent = text;
    return cell;
  }));
  return made;
}
