'use strict';
// The live page. Once a second it asks for /live.json, and shows what changed. Everything that it
// is told is shown as text. What the variables state, past, member and stage have is what web.State
// has: a test compares them.

const EVERY = 1000;            // ms between two questions
const PATIENCE = 4000;         // ms for an answer
const KEPT = 180;              // seconds of history
const DECADES = 7;             // of the log's axis: up to ten million entries behind
const LOST_AFTER = 2.5;        // seconds without a sample leave a gap in a chart
const TURNS = 180;             // degrees a second that the dial turns at most

const $ = (id) => document.getElementById(id);
const still = matchMedia('(prefers-reduced-motion: reduce)');

// ---- Words for numbers

const grouped = new Intl.NumberFormat('en-US');
const whole = (n) => grouped.format(Math.round(n));

function short(n) {
  for (const [size, unit] of [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']]) {
    if (n >= size * 0.9995) return (n / size).toPrecision(3) + ' ' + unit;
  }
  return n >= 100 || Number.isInteger(n) ? String(Math.round(n)) : n.toFixed(1);
}

function bytes(n) {
  for (const [size, unit] of [[2 ** 40, 'TiB'], [2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [1024, 'KiB']]) {
    if (n >= size) return (n / size).toPrecision(3) + ' ' + unit;
  }
  return whole(n) + ' B';
}

function micros(us) {
  if (us >= 1e6) return (us / 1e6).toPrecision(3) + ' s';
  if (us >= 1e3) return (us / 1e3).toPrecision(3) + ' ms';
  return Math.round(us) + ' µs';
}

function age(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return s + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min';
  if (s < 86400) return Math.floor(s / 3600) + ' h ' + Math.floor(s % 3600 / 60) + ' min';
  return Math.floor(s / 86400) + ' d ' + Math.floor(s % 86400 / 3600) + ' h';
}

const clock = (date) => date.toLocaleTimeString('en-GB');
const plural = (n, one) => `${whole(n)} ${n === 1 ? one : one === 'entry' ? 'entries' : one + 's'}`;

function put(id, text) {
  const node = typeof id === 'string' ? $(id) : id;
  if (node.textContent !== text) node.textContent = text;
}

// big shows a number with its unit in small.
function big(id, text) {
  const [number, unit] = text.split(' ');
  const node = $(id);
  if (node.title === text) return;
  node.title = text;
  node.replaceChildren(number);
  if (unit) {
    const small = document.createElement('small');
    small.textContent = ' ' + unit;
    node.append(small);
  }
}

function element(tag, name, text) {
  const e = document.createElement(tag);
  if (name) e.className = name;
  if (text !== undefined) e.textContent = text;
  return e;
}

function drawing(tag, attributes) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
}

// ---- Asking

let past = null;        // the state before, of the same start of the member
let shownPage = '';     // the page's name when it was loaded
let lostSince = null;
let timer = 0;

async function ask() {
  clearTimeout(timer);
  if (document.hidden) return; // it is asked again when somebody looks
  const began = performance.now();
  try {
    const answer = await fetch('live.json', { cache: 'no-store',
      signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    found(await answer.json());
  } catch (problem) {
    lost(problem);
  }
  clearTimeout(timer);
  timer = setTimeout(ask, Math.max(EVERY / 4, EVERY - (performance.now() - began)));
}

function found(state) {
  if (shownPage && state.page !== shownPage) {
    location.reload(); // the member was upgraded
    return;
  }
  shownPage = state.page;
  lostSince = null;
  document.body.classList.remove('lost');
  if (past && (past.incarnation !== state.incarnation || past.uptime > state.uptime)) past = null;
  if (past && past.uptime === state.uptime) return; // nothing new yet
  show(state);
  past = state;
  put('asked', `As of ${clock(new Date(state.time))} by the member's clock; asked once a second.`);
}

function lost(problem) {
  lostSince = lostSince || new Date();
  document.body.classList.add('lost');
  const why = problem.message.startsWith('it answers') ? `: ${problem.message}` : '';
  verdict('bad', [`This member is not reachable since ${clock(lostSince)}${why}. It is asked again ` +
    'every second; what is below is how it was.']);
  document.title = `not reachable · ${$('who').textContent}`;
  put('role', '');
}

// verdict is read out when it changes, so it has nothing in it that changes by itself.
let verdictNow = '';
function verdict(kind, lines) {
  const text = kind + lines.join('\n');
  if (text === verdictNow) return;
  verdictNow = text;
  const box = $('verdict');
  box.className = 'verdict ' + kind;
  if (lines.length === 1) {
    box.textContent = lines[0];
    return;
  }
  const list = element('ul');
  for (const line of lines) list.append(element('li', '', line));
  box.replaceChildren(list);
}

// ---- Showing

function show(state) {
  const seconds = past ? (state.uptime - past.uptime) / 1000 : 0;
  const rate = (now, before) => seconds > 0 ? (now - before) / seconds : null;
  const rates = past && {
    writes: rate(state.work.applied, past.work.applied),
    reads: rate(state.work.reads, past.work.reads),
    commands: rate(state.work.commands, past.work.commands),
    entries: rate(state.log.last, past.log.last),
  };
  showHead(state);
  showNow(state, rates);
  showLog(state, rates);
  showRing(state);
  showMembers(state);
  showDisk(state, rate);
  showData(state, rate);
  remember(state, rates);
}

function showHead(state) {
  const leads = state.role === 'leader';
  put('who', `Member ${state.id}`);
  put('role', state.witness ? `${state.role}, witness` : state.role);
  $('role').className = 'role ' + (leads ? 'leader' : state.leader ? 'follower' : 'searching');
  put('cluster', state.cluster);
  put('leader', state.leader ? `member ${state.leader}` : 'none');
  put('term', whole(state.term));
  put('uptime', age(state.uptime / 1000));
  put('version', state.version);
  const well = leads ? `Member ${state.id} leads, and is well.`
    : `Member ${state.id} follows member ${state.leader}, and is well.`;
  verdict(state.problems.length ? 'bad' : 'good', state.problems.length ? state.problems.map(
    (line) => line[0].toUpperCase() + line.slice(1) + '.') : [well]);
  const mood = state.problems.length ? '⚠ ' : '';
  document.title = `${mood}member ${state.id}, ${state.role} · raftd`;
}

function showNow(state, rates) {
  big('now-writes', rates ? short(rates.writes) : '–');
  big('now-commands', rates ? short(rates.commands) : '–');
  const stage = state.stages.find((stage) => stage.name === 'total');
  if (state.role === 'leader') {
    put('now-latency-of', 'write, 99th percentile');
    big('now-latency', stage && stage.count ? micros(stage.p99) : '–');
    const others = state.members.filter((member) => member.kind !== 'outside');
    put('now-lag-of', 'entries behind, the furthest member');
    big('now-lag', short(Math.max(0, ...others.map((member) => member.lag))));
  } else {
    const writes = past ? state.journal.writes - past.journal.writes : 0;
    put('now-latency-of', 'write of the journal, mean');
    big('now-latency', writes > 0
      ? micros((state.journal.write_time - past.journal.write_time) / writes) : '–');
    put('now-lag-of', 'committed entries, not applied here');
    big('now-lag', state.log.leader_commit
      ? short(Math.max(0, state.log.leader_commit - state.log.applied)) : '–');
  }
}

// place is where an index is on the axis, in percent from the left. The axis is logarithmic from
// its end, so that one entry behind can be seen beside a million.
function place(end, index) {
  const behind = Math.max(0, end - index);
  return 100 - 100 * Math.min(1, Math.log10(1 + behind) / DECADES);
}

const power = (d) => 10 ** (d % 3) + ['', 'k', 'M', 'G'][Math.floor(d / 3)];

const lanes = new Map(); // by member: what is drawn for it

function lane(id) {
  let l = lanes.get(id);
  if (l) return l;
  l = { name: element('div', 'lane-name'), rail: element('div', 'rail'), at: {} };
  l.title = element('span');
  l.note = element('small');
  l.name.append(l.title, l.note);
  l.held = element('div', 'held');
  l.rail.append(l.held);
  for (const mark of ['committed', 'appended', 'journaled', 'applied']) {
    l.at[mark] = element('div', 'at ' + mark);
    l.rail.append(l.at[mark]);
  }
  lanes.set(id, l);
  return l;
}

let laneOrder = '';
function orderLanes(ids) {
  if (ids.join() === laneOrder) return;
  laneOrder = ids.join();
  for (const id of lanes.keys()) if (!ids.includes(id)) lanes.delete(id);
  const axis = element('div', 'axis');
  for (let d = DECADES; d >= 0; d--) {
    const tick = element('span', '', d === 0 ? 'end' : power(d));
    tick.style.left = place(10 ** d, d === 0 ? 10 ** d : 0) + '%';
    axis.append(tick);
  }
  $('lanes').replaceChildren(...ids.flatMap((id) => [lane(id).name, lane(id).rail]),
    element('div', 'axis-name', 'behind'), axis);
}

function byID(a, b) { return a.id.length - b.id.length || (a.id < b.id ? -1 : 1); }

function showLog(state, rates) {
  const list = state.members.filter((member) => member.kind !== 'outside' || member.id === state.id)
    .sort(byID);
  orderLanes(list.map((member) => member.id));
  const end = Math.max(state.log.last, state.log.leader_commit);
  const flows = rates && rates.entries > 0;
  $('lanes').classList.toggle('flows', Boolean(flows));
  if (flows) { // faster with each power of ten
    $('lanes').style.setProperty('--pace', Math.max(0.4, 3 - Math.log10(1 + rates.entries) / 2) +
      's');
  }
  for (const member of list) {
    const l = lane(member.id), self = member.id === state.id;
    put(l.title, `Member ${member.id}`);
    put(l.note, self ? 'this one' : !member.connected ? 'not connected'
      : member.known ? (member.lag ? plural(member.lag, 'entry') + ' behind' : 'has all')
        : member.id === state.leader ? 'leads' : 'its leader knows');
    l.rail.className = 'rail' + (self ? ' self' : '') + (member.connected ? '' : ' away') +
      (member.known ? '' : ' unknown');
    const at = { journaled: member.known ? member.match : null,
      committed: Math.max(state.log.commit, state.log.leader_commit),
      appended: self ? state.log.last : null, applied: self ? state.log.applied : null };
    for (const [mark, index] of Object.entries(at)) {
      l.at[mark].hidden = index === null;
      if (index !== null) l.at[mark].style.left = place(end, index) + '%';
    }
    l.held.hidden = !member.known;
    l.held.style.width = member.known ? place(end, member.match) + '%' : '0';
  }
  count('log-last', state.log.last);
  count('log-durable', state.log.durable);
  count('log-commit', state.log.commit);
  count('log-applied', state.log.applied);
  put('log-first', whole(state.log.first));
}

let dialFrom = 0, dialTo = 0, dialAt = 0; // degrees

function showRing(state) {
  const slots = state.ring.slots;
  const flight = state.ring.claimed - state.ring.durable;
  put('ring-flight', whole(flight));
  put('ring-slots', `in flight, ${whole(slots)} slots`);
  count('ring-claimed', state.ring.claimed);
  count('ring-stored', state.ring.stored);
  count('ring-durable', state.ring.durable);
  const angle = state.ring.claimed % slots / slots * 360;
  const went = past ? (state.ring.claimed - past.ring.claimed) / slots * 360 : 0;
  dialTo = angle;
  dialFrom = went > 0 ? angle - Math.min(went, TURNS * EVERY / 1000) : angle;
  const part = (n) => n > 0 ? Math.max(6, n / slots * 1000) : 0; // a slot alone is seen, too
  const storing = part(state.ring.claimed - state.ring.stored);
  const writing = part(state.ring.stored - state.ring.durable);
  arc('dial-storing', storing, 0);
  arc('dial-writing', writing, storing);
  $('dial-durable').setAttribute('transform', `rotate(${-(storing + writing) / 1000 * 360})`);
  document.querySelector('.dial').classList.toggle('turns', went > 0);
}

// arc is so many thousandths of the circle that end so many before the hand.
function arc(id, length, before) {
  $(id).setAttribute('stroke-dasharray', `${length} ${1000 - length}`);
  $(id).setAttribute('transform', `rotate(${-90 - (length + before) / 1000 * 360})`);
}

// ---- What moves between two states

const counters = new Map(); // by id: from where to where

function count(id, to) {
  const c = counters.get(id);
  counters.set(id, { from: c ? c.to : to, to });
  movedAt = performance.now();
  move();
}

let movedAt = 0, frame = 0, drawnAt = 0;

function move() {
  if (!frame) frame = requestAnimationFrame(draw);
}

function draw(now) {
  frame = 0;
  const part = still.matches ? 1 : Math.min(1, (now - movedAt) / EVERY);
  if (part < 1 && now - drawnAt < 30) return move(); // thirty times a second is enough
  drawnAt = now;
  for (const [id, c] of counters) put(id, whole(c.from + (c.to - c.from) * Math.max(0, part)));
  dialAt = dialFrom + (dialTo - dialFrom) * Math.max(0, part);
  const turned = `rotate(${dialAt})`;
  $('dial-arcs').setAttribute('transform', turned);
  $('dial-claimed').setAttribute('transform', turned);
  $('dial-durable').firstElementChild.setAttribute('transform', turned);
  $('dial-tail').style.transform = `rotate(${dialAt}deg)`;
  if (part < 1) move();
}

// ---- Members

const columns = [...document.querySelectorAll('#members thead th')].map((th) => th.textContent);

function showMembers(state) {
  const leads = state.role === 'leader';
  put('members-note', leads ? 'as their leader sees them' : state.leader
    ? `member ${state.leader} leads, and knows how far the others are` : '');
  const rows = state.members.slice().sort(byID).map((member) => memberRow(state, member));
  const body = $('rows');
  while (body.children.length > rows.length) body.lastChild.remove();
  rows.forEach((cells, i) => {
    if (!body.children[i]) body.append(emptyRow());
    cells.forEach((cell, k) => fillCell(body.children[i].children[k], cell));
  });
}

function emptyRow() {
  const row = element('tr');
  row.setAttribute('role', 'row');
  columns.forEach((label, k) => {
    const cell = element(k === 0 ? 'th' : 'td');
    cell.setAttribute('role', k === 0 ? 'rowheader' : 'cell');
    if (k === 0) cell.scope = 'row';
    cell.dataset.label = label;
    row.append(cell);
  });
  return row;
}

// memberRow is a text for each column, or what it is made of.
function memberRow(state, member) {
  const self = member.id === state.id;
  const what = [member.id === state.leader ? 'leader' : member.kind];
  if (member.witness) what.push('witness');
  if (self) what.push('this one');
  const known = (text) => member.known ? text : '';
  // A leader counts what others have not acknowledged; of itself each knows what is not on disk.
  const behind = self ? state.log.last - state.log.durable : member.lag;
  return [
    { text: member.id, small: what.join(', ') },
    { text: member.connected ? (self ? state.role : 'connected') : 'not connected',
      dot: member.connected, why: member.error },
    { text: known(whole(member.match)), kind: 'number' },
    { text: known(behind > 0 ? plural(behind, 'entry') +
      (member.lag_bytes ? ', ' + bytes(member.lag_bytes) : '') : 'nothing') },
    { text: known(member.lag_time ? micros(member.lag_time * 1000) : '') },
    { text: !member.mode || self ? '' : member.mode +
      (member.restarts > 1 ? `, began ${whole(member.restarts)} times` : '') },
    { text: member.sent ? bytes(member.sent) : '', kind: 'number' },
    { text: member.address, kind: 'address' },
    { text: member.client, kind: 'address' },
  ];
}

function fillCell(cell, { text, small = '', why = '', dot, kind = '' }) {
  const key = [text, small, why, dot, kind].join('\n');
  if (cell.shown === key) return;
  cell.shown = key;
  cell.className = kind + (text || small ? '' : ' nothing');
  const inner = element('span');
  if (dot !== undefined) inner.append(element('i', dot ? 'dot' : 'dot off'));
  inner.append(text || '–');
  if (small) inner.append(element('small', '', ' ' + small));
  if (why) inner.append(element('span', 'why', why));
  cell.replaceChildren(inner);
}

// ---- Lists

function say(id, text, wrong) {
  put(id, text);
  $(id).classList.toggle('wrong', Boolean(wrong));
}

function showDisk(state, rate) {
  const made = past ? state.journal.writes - past.journal.writes : 0;
  say('journal-mode', state.journal.mode + (state.journal.durable ? ', durable' : ', NOT durable'),
    !state.journal.durable);
  say('journal-writes', past ? short(rate(state.journal.writes, past.journal.writes)) : '–');
  say('journal-bytes', past ? bytes(rate(state.journal.bytes, past.journal.bytes)) : '–');
  say('journal-time', made > 0
    ? `${micros((state.journal.write_time - past.journal.write_time) / made)}, mean` : '–');
  say('journal-age', state.journal.write_age ? micros(state.journal.write_age) : 'none',
    state.journal.write_age > 1e6);
  say('journal-room', state.journal.shortage || 'yes', state.journal.shortage);
  const none = state.snapshot.index === 0;
  say('snapshot-index', none ? 'there is none' : whole(state.snapshot.index));
  say('snapshot-bytes', none ? '–' : bytes(state.snapshot.bytes));
  say('snapshot-age', none ? '–' : age(state.snapshot.age));
  say('snapshot-log', bytes(state.snapshot.log));
  say('snapshot-underway', state.snapshot.underway ? 'is being taken' : 'not now');
}

function showData(state, rate) {
  const calls = past ? state.work.applies - past.work.applies : 0;
  say('data-keys', whole(state.data.keys));
  say('data-bytes', bytes(state.data.bytes));
  say('data-store', bytes(state.data.store));
  say('data-clients', `${whole(state.data.clients)}, ${bytes(state.data.client_bytes)}`);
  say('data-forwarded', past ? short(rate(state.work.forwarded, past.work.forwarded)) : '–');
  say('data-apply', calls > 0
    ? `${micros((state.work.apply_time - past.work.apply_time) / calls)}, mean` : '–');
  say('data-elections', whole(state.work.elections));
}

// ---- Charts

const history = []; // {at, writes, reads, …}; a name that is missing is a gap
let quantile = 'p99';

function remember(state, rates) {
  const now = performance.now() / 1000;
  const point = { at: now, ...rates };
  for (const stage of state.stages) {
    if (stage.count > 0) point[stage.name] = { p50: stage.p50, p99: stage.p99, max: stage.max };
  }
  const writes = past ? state.journal.writes - past.journal.writes : 0;
  if (writes > 0) point.disk = (state.journal.write_time - past.journal.write_time) / writes;
  history.push(point);
  while (history.length && history[0].at < now - KEPT - 2) history.shift();
  put('time-note', state.role === 'leader' ? 'of batches, stage by stage'
    : state.leader ? `member ${state.leader} leads, and times the stages` : 'the leader times the stages');
  for (const chart of charts) chart.draw();
}

class Chart {
  // series: {name, color, of(point) → number or undefined, dashed, area}
  constructor(id, label, words, logarithmic, series) {
    Object.assign(this, { label, words, logarithmic, series, inspect: null, width: 600 });
    this.box = $(id);
    this.svg = drawing('svg', { role: 'slider', tabindex: '0', 'aria-label': label +
      ', seconds ago', 'aria-valuemin': -KEPT, 'aria-valuemax': '0', 'aria-valuenow': '0' });
    this.legend = element('p', 'legend');
    for (const s of series) {
      const item = element('span', s.dashed ? 'dashed' : '');
      item.append(element('i', 'swatch c-' + s.color), element('span', 'name', s.name));
      s.value = element('b', '', '–');
      item.append(s.value);
      this.legend.append(item);
    }
    this.when = element('span', 'when');
    this.legend.append(this.when);
    this.box.append(this.svg, this.legend);
    new ResizeObserver(() => {
      this.width = this.svg.clientWidth || this.width;
      this.draw();
    }).observe(this.box);
    this.svg.addEventListener('pointermove', (e) => this.look(this.agoAt(e.offsetX)));
    this.svg.addEventListener('pointerleave', () => this.look(null));
    this.svg.addEventListener('blur', () => this.look(null));
    this.svg.addEventListener('keydown', (e) => this.key(e));
  }

  key(e) {
    const step = { ArrowLeft: 1, ArrowDown: 1, ArrowRight: -1, ArrowUp: -1, PageUp: -10,
      PageDown: 10 }[e.key];
    if (e.key === 'Escape' || e.key === 'End') this.look(null);
    else if (e.key === 'Home') this.look(KEPT);
    else if (step) this.look(Math.min(KEPT, Math.max(0, (this.inspect || 0) + step)));
    else return;
    e.preventDefault();
  }

  look(ago) {
    this.inspect = ago;
    this.draw();
  }

  x(ago) { return this.left + (this.width - this.left - 6) * (1 - ago / KEPT); }

  agoAt(x) {
    const part = (x - this.left) / (this.width - this.left - 6);
    return Math.round(KEPT * (1 - Math.min(1, Math.max(0, part))));
  }

  // scale chooses the values at the bottom and the top, and those with a line.
  scale() {
    const all = this.series.flatMap((s) => history.map(s.of)).filter((v) => v > 0);
    const most = Math.max(...all, this.logarithmic ? 1e3 : 8);
    if (this.logarithmic) {
      const low = Math.floor(Math.log10(Math.min(...all, 1e2)));
      const high = Math.ceil(Math.log10(most * 1.05));
      const lines = [];
      for (let d = low; d <= high; d++) lines.push(10 ** d);
      return { lines, at: (v) => (Math.log10(Math.max(v, 10 ** low)) - low) / (high - low) };
    }
    const rough = most * 1.08 / 4, size = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].find((m) => m * size >= rough) * size;
    const lines = [0, 1, 2, 3, 4].map((n) => n * step);
    return { lines, at: (v) => v / (4 * step) };
  }

  draw() {
    const height = 210, top = 10, bottom = height - 24, now = performance.now() / 1000;
    const scale = this.scale(), words = this.words;
    const y = (v) => bottom - (bottom - top) * scale.at(v);
    this.left = 14 + 6.6 * Math.max(...scale.lines.map((v) => words(v).length));
    const parts = [];
    for (const v of scale.lines) {
      parts.push(drawing('line', { x1: this.left, x2: this.width - 6, y1: y(v), y2: y(v) }));
      const text = drawing('text', { x: this.left - 8, y: y(v) + 4, 'text-anchor': 'end' });
      text.textContent = words(v);
      parts.push(text);
    }
    const marks = this.width > 420 ? [KEPT, KEPT * 2 / 3, KEPT / 3, 0] : [KEPT, KEPT / 2, 0];
    for (const ago of marks) {
      const text = drawing('text', { x: this.x(ago), y: height - 5,
        'text-anchor': ago === 0 ? 'end' : ago === KEPT ? 'start' : 'middle' });
      text.textContent = ago === 0 ? 'now' : `${ago / 60} min ago`;
      parts.push(text);
    }
    for (const s of this.series) parts.push(...this.paths(s, y, now, bottom));
    if (this.inspect !== null) {
      parts.push(drawing('line', { class: 'cursor', x1: this.x(this.inspect),
        x2: this.x(this.inspect), y1: top, y2: bottom }));
    }
    this.svg.setAttribute('viewBox', `0 0 ${this.width} ${height}`);
    this.svg.replaceChildren(...parts);
    this.tell(now);
  }

  paths(s, y, now, bottom) {
    let line = '', area = '', last = null;
    const close = () => {
      if (last) area += `L${last.x} ${bottom}Z`;
      last = null;
    };
    for (const point of history) {
      const v = s.of(point);
      if (v === undefined || v === null || now - point.at > KEPT) {
        close();
        continue;
      }
      const x = this.x(now - point.at).toFixed(1), at = `${x} ${y(v).toFixed(1)}`;
      if (last && point.at - last.at > LOST_AFTER) close();
      line += (last ? 'L' : 'M') + at + (last ? '' : `L${at}`);
      area += last ? 'L' + at : `M${x} ${bottom}L${at}`;
      last = { x, at: point.at };
    }
    close();
    const made = [drawing('path', { class: `c-${s.color}${s.dashed ? ' dashed' : ''}`, d: line })];
    if (s.area) made.unshift(drawing('path', { class: `area c-${s.color}`, d: area }));
    return made;
  }

  // tell writes the values of now, or of where somebody looks, into the legend.
  tell(now) {
    const ago = this.inspect || 0;
    let point = history[history.length - 1];
    if (this.inspect !== null) {
      point = history.find((p) => Math.abs(now - p.at - ago) <= 0.75);
    }
    const said = this.series.map((s) => {
      const v = point && s.of(point);
      put(s.value, v === undefined || v === null ? '–' : this.words(v));
      return `${s.name} ${s.value.textContent}`;
    });
    const when = this.inspect === null ? 'now' : `${ago} s ago`;
    put(this.when, this.inspect === null ? '' : when);
    this.svg.setAttribute('aria-valuenow', -ago);
    this.svg.setAttribute('aria-valuetext', `${when}: ${said.join(', ')}`);
  }
}

const stageOf = (name) => (point) => point[name] && point[name][quantile];
const charts = [
  new Chart('rate', 'Throughput', short, false, [
    { name: 'writes applied', color: 'applied', of: (p) => p.writes, area: true },
    { name: 'reads answered', color: 'journaled', of: (p) => p.reads },
    { name: 'commands of clients', color: 'appended', of: (p) => p.commands, dashed: true },
  ]),
  new Chart('time', 'Latency', micros, true, [
    { name: 'queue', color: 'appended', of: stageOf('queue') },
    { name: 'journal', color: 'journaled', of: stageOf('journal') },
    { name: 'commit', color: 'committed', of: stageOf('commit') },
    { name: 'total', color: 'applied', of: stageOf('total'), area: true },
    { name: 'a write of the disk, mean', color: 'journaled', of: (p) => p.disk, dashed: true },
  ]),
];

for (const radio of document.getElementsByName('quantile')) {
  radio.addEventListener('change', () => {
    quantile = radio.value;
    for (const chart of charts) chart.draw();
  });
}

// ---- Light and dark

const themes = ['system', 'light', 'dark'];
let theme = 'system';
try {
  theme = localStorage.getItem('theme') || theme;
} catch { /* a browser that keeps nothing */ }

function paint() {
  if (!themes.includes(theme)) theme = 'system';
  document.documentElement.dataset.theme = theme;
  put('theme', `◐ ${theme}`);
  $('theme').setAttribute('aria-label', `Theme: ${theme}`);
}

$('theme').addEventListener('click', () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  try {
    localStorage.setItem('theme', theme);
  } catch { /* it lasts as long as the page */ }
  paint();
});

paint();
document.addEventListener('visibilitychange', ask);
ask();
