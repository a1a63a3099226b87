// What pages do beyond forms and links: times in the reader's zone, the live feed, the chart, the
// queue by keyboard. Everything here works on what the server rendered.
'use strict';
(() => {
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const fill = (words, value) => words.replace('{}', value);

  // Times: rendered in UTC, shown in the reader's own zone.
  const language = document.documentElement.lang;
  const clock = new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  const date = new Intl.DateTimeFormat(language, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  const day = new Intl.DateTimeFormat(language, { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
  const full = new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'long' });
  function showTimes(within) {
    const now = new Date();
    for (const time of all('time[datetime]:not([title])', within)) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const short = at.toDateString() === now.toDateString() ? clock : at.getFullYear() === now.getFullYear() ? date : day;
      time.textContent = short.format(at);
      time.title = full.format(at);
    }
  }

  // Filters apply at once; the button is for those without scripts.
  for (const form of all('form[data-auto]')) {
    one('button', form).hidden = true;
    form.addEventListener('change', () => form.requestSubmit());
    form.addEventListener('submit', () => {
      for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    });
  }

  // The live feed.
  const feed = one('#feed');
  if (feed) {
    const MOST = 80;
    const status = one('#feed-status');
    const pause = one('#feed-pause');
    const more = one('#feed-more');
    const said = one('#feed-said');
    let source = null;
    let last = feed.dataset.after;
    let paused = false;
    let pointed = false;
    let waiting = [];
    let unsaid = 0;

    const tell = (word) => { status.textContent = status.dataset[word]; };
    const held = () => pointed || feed.contains(document.activeElement);
    const fresh = (html) => {
      const holder = document.createElement('template');
      holder.innerHTML = html;
      const row = holder.content.firstElementChild;
      showTimes(holder.content);
      return row;
    };
    const show = (rows) => {
      one('#feed-empty')?.remove();
      for (const row of rows) {
        row.classList.add('fresh');
        feed.prepend(row);
        setTimeout(() => row.classList.remove('fresh'), 1500);
      }
      while (feed.children.length > MOST) feed.lastElementChild.remove();
    };
    const flush = () => {
      show(waiting);
      waiting = [];
      more.hidden = true;
      if (!paused) tell('live');
    };
    const connect = () => {
      const address = feed.dataset.source;
      source = new EventSource(address + (address.endsWith('?') ? '' : '&') + 'after=' + last);
      source.addEventListener('open', () => tell('live'));
      source.addEventListener('error', () => tell('lost'));
      source.addEventListener('row', (event) => {
        last = event.lastEventId;
        unsaid += 1;
        const row = fresh(event.data);
        if (held()) {
          waiting.push(row);
          waiting = waiting.slice(-MOST);
          more.textContent = fill(feed.dataset.new, waiting.length);
          more.hidden = false;
          tell('waiting');
        } else {
          show([row]);
        }
      });
      source.addEventListener('turn', (event) => {
        const row = fresh(event.data);
        const known = document.getElementById(row.id);
        if (known && !known.contains(document.activeElement)) known.replaceWith(row);
        waiting = waiting.map((old) => (old.id === row.id ? row : old));
      });
    };
    const stop = () => { source?.close(); source = null; };
    pause.hidden = false;
    pause.addEventListener('click', () => {
      paused = !paused;
      pause.setAttribute('aria-pressed', String(paused));
      if (paused) { stop(); tell('paused'); } else { flush(); connect(); }
    });
    more.addEventListener('click', flush);
    feed.addEventListener('pointerenter', () => { pointed = true; });
    feed.addEventListener('pointerleave', () => { pointed = false; if (!paused) flush(); });
    feed.addEventListener('focusout', () => setTimeout(() => { if (!held() && !paused) flush(); }));
    // A screen reader hears of the feed now and then, not of every row.
    setInterval(() => {
      if (unsaid > 0) said.textContent = fill(said.dataset.said, unsaid);
      unsaid = 0;
    }, 15000);
    window.addEventListener('pagehide', stop);
    window.addEventListener('pageshow', (event) => { if (event.persisted && !paused) connect(); });
    connect();
  }

  // The chart of exposure.
  const colour = (name) => {
    const probe = document.createElement('i');
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  };
  async function draw(chart) {
    const answer = await fetch(chart.dataset.source);
    if (!answer.ok || !chart.isConnected) return;
    const [at, median, most] = await answer.json();
    const { ms, s, p50, p99, time: named } = chart.dataset;
    const lasted = (value) => {
      if (value == null) return '–';
      if (value < 1000) return `${Math.round(value)} ${ms}`;
      return `${(value / 1000).toLocaleString(language, { maximumFractionDigits: 1 })} ${s}`;
    };
    const axis = { stroke: colour('--faint'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '12px system-ui' };
    const line = (label, name, width) => ({ label, stroke: colour(name), width, spanGaps: true, points: { show: true, size: 5, fill: colour(name) }, value: (_, value) => lasted(value) });
    const time = { value: (_, value) => (value == null ? '–' : clock.format(new Date(value * 1000))) };
    chart.replaceChildren();
    // Of a logarithmic scale only the tens have a line and a name.
    const tens = (_, ticks) => ticks.map((tick) => (Number.isInteger(Math.log10(tick)) ? tick : null));
    const values = [...median, ...most].filter((value) => value > 0);
    new uPlot({
      width: chart.clientWidth,
      height: 160,
      cursor: { y: false },
      scales: { y: values.length ? { distr: 3, log: 10 } : {} },
      axes: [
        { ...axis, size: 28, values: (_, ticks) => ticks.map((tick) => new Date(tick * 1000).toLocaleTimeString(language, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' })) },
        { ...axis, size: 64, filter: tens, grid: { ...axis.grid, filter: tens }, values: (_, ticks) => ticks.map((tick) => (tick == null ? '' : lasted(tick))) },
      ],
      series: [{ label: named, ...time }, line(p50, '--accent', 2), line(p99, '--warn', 1.5)],
    }, [at, median.map((v) => (v > 0 ? v : null)), most.map((v) => (v > 0 ? v : null))], chart);
    chart.dataset.drawn = 'true';
  }
  let resized;
  window.addEventListener('resize', () => {
    clearTimeout(resized);
    resized = setTimeout(() => all('.chart').forEach((chart) => draw(chart)), 200);
  });

  // The queue by keyboard. A decision can be taken back for a few seconds; only then it is sent.
  const queue = one('#queue');
  if (queue) {
    const say = (words) => { one('#queue-said').textContent = words; };
    const items = () => all('.item', queue);
    const here = () => one('.item.here', queue);
    const decisions = new Map();
    let latest = null;

    const select = (item) => {
      if (!item) return;
      items().forEach((other) => other.classList.toggle('here', other === item));
      item.focus({ preventScroll: true });
      item.scrollIntoView({ block: 'nearest' });
    };
    const step = (by) => {
      const known = items();
      const at = known.indexOf(here());
      select(known[at < 0 ? 0 : Math.min(Math.max(at + by, 0), known.length - 1)]);
    };
    const undo = (item) => {
      const decision = decisions.get(item);
      if (!decision) return;
      clearInterval(decision.timer);
      decisions.delete(item);
      decision.note.remove();
      item.classList.remove('deciding');
      one('.decide', item).hidden = false;
      say(queue.dataset.undone);
      select(item);
    };
    const send = async (item, act) => {
      const { timer, note } = decisions.get(item);
      clearInterval(timer);
      decisions.delete(item);
      const form = one('.decide', item);
      const body = new URLSearchParams({ job: item.dataset.job });
      const answer = await fetch('/act/' + act, { method: 'POST', body, headers: { 'hx-request': 'true' } }).catch(() => null);
      if (answer?.ok) {
        const next = item.nextElementSibling ?? item.previousElementSibling;
        const was = item === here();
        item.remove();
        if (was) select(next);
        const count = one('#queue-count');
        count.textContent = Math.max(0, Number(count.textContent) - 1);
        // Others may be held that this page had no room for, or that came since.
        if (items().length === 0 && Number(count.textContent) > 0) location.assign('/queue');
        else one('#queue-empty').hidden = items().length > 0;
      } else {
        note.textContent = queue.dataset.failed;
        item.classList.remove('deciding');
        form.hidden = false;
        say(queue.dataset.failed);
      }
    };
    const decide = (item, act) => {
      const form = item && one('.decide', item);
      if (!form || decisions.has(item)) return;
      let left = Number(queue.dataset.seconds);
      const note = document.createElement('p');
      const words = document.createElement('span');
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = queue.dataset.undo;
      button.addEventListener('click', () => undo(item));
      note.className = 'decide';
      note.append(words, ' ', button);
      form.hidden = true;
      form.after(note);
      item.classList.add('deciding');
      const show = () => { words.textContent = fill(queue.dataset[act], left); };
      const timer = setInterval(() => {
        left -= 1;
        if (left > 0) show(); else send(item, act);
      }, 1000);
      decisions.set(item, { timer, note, act });
      latest = item;
      show();
      say(words.textContent);
      const next = items().slice(items().indexOf(item) + 1).find((other) => !decisions.has(other));
      if (next) select(next);
    };
    queue.addEventListener('click', (event) => {
      const button = event.target.closest('button[data-act]');
      if (!button) return;
      event.preventDefault();
      decide(button.closest('.item'), button.dataset.act);
    });
    queue.addEventListener('focusin', (event) => {
      const item = event.target.closest('.item');
      if (item) items().forEach((other) => other.classList.toggle('here', other === item));
    });
    document.addEventListener('keydown', (event) => {
      const { target, key } = event;
      if (event.ctrlKey || event.metaKey || event.altKey || target.closest('input, textarea, select')) return;
      const deeds = {
        j: () => step(1),
        k: () => step(-1),
        a: () => decide(here(), 'release'),
        r: () => decide(here(), 'cancel'),
        u: () => undo(decisions.has(here()) ? here() : latest),
        o: () => here() && one('a.open', here())?.click(),
        '?': () => one('#keys').togglePopover(),
      };
      if (!deeds[key]) return;
      event.preventDefault();
      deeds[key]();
    });
    // Whoever leaves while a decision waits is asked; what was not sent does not happen.
    window.addEventListener('beforeunload', (event) => { if (decisions.size) event.preventDefault(); });
    if (items().length) items()[0].classList.add('here');
  }

  // What htmx brings in gets the same treatment.
  function ready(within) {
    showTimes(within);
    all('.chart', within).forEach((chart) => draw(chart));
  }
  document.addEventListener('htmx:afterSettle', (event) => ready(event.target.parentElement ?? document));
  // A session that ended shows the login page instead of a page that stands still.
  document.addEventListener('htmx:responseError', (event) => {
    if (event.detail.xhr.status === 401) location.reload();
  });
  ready(document);
})();
