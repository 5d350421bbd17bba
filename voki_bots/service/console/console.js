// The console: asks the API, and shows what it says. Whatever comes from there is text, never markup.
import { put, word } from "/console/words.js";

const TOKEN = "voki-bots token";
const main = document.getElementById("main");
const link = document.getElementById("link");
const leave = document.getElementById("leave");

put(document);
leave.addEventListener("click", () => { sessionStorage.removeItem(TOKEN); location.assign("/"); });

class Refused extends Error {}

const ask = async (path) => {
  const answer = await fetch(path, { headers: { Authorization: `Bearer ${sessionStorage.getItem(TOKEN)}` } });
  if (answer.status === 401 || answer.status === 403) throw new Refused((await answer.json()).detail);
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return answer.json();
};

const show = (name) => {
  const made = document.getElementById(name).content.cloneNode(true);
  put(made);
  main.replaceChildren(made);
};

const element = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const linked = (state) => {
  link.className = `link ${state}`;
  link.textContent = state ? word(state) : "";
};

const clock = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
};

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

const role = (name) => (["attendant", "customer", "supervisor", "bot"].includes(name) ? name : "unknown");

// One sentence about what a bot does, from what the service says of it.
const doing = (each) => {
  const said = [word(each.connected ? "connected" : "connecting")];
  if (each.paused) said.push(word("paused"));
  if (!each.consented) said.push(word("waitsConsent"));
  for (const [plugin, why] of Object.entries(each.detached ?? {})) said.push(`${plugin} ${word("detached")}: ${why}`);
  return said.join(", ");
};

const calls = (running) => {
  const found = new Map();
  for (const each of running) {
    const key = JSON.stringify([each.tenant, each.call]);
    found.set(key, [...(found.get(key) ?? []), each]);
  }
  return [...found.values()];
};

// ---------------------------------------------------------------- the calls now

const card = (bots) => {
  const [first] = bots;
  const item = element("li");
  const anchor = element("a");
  anchor.href = `/calls/${encodeURIComponent(first.tenant)}/${encodeURIComponent(first.call)}`;
  anchor.setAttribute("aria-label", word("open", { call: first.call }));
  const head = element("span", "row");
  head.append(element("span", "name", first.call), element("span", "quiet", clock(first.now)));
  anchor.append(head);
  for (const who of first.participants ?? []) {
    const row = element("span", "row");
    const name = element("span", role(who.role), who.name || word("unknown"));
    row.append(name, element("span", "quiet", word(role(who.role)) + (who.present ? "" : `, ${word("expected")}`)));
    anchor.append(row);
  }
  for (const each of bots) anchor.append(element("span", "quiet", `${each.bot}: ${doing(each)}`));
  item.append(anchor);
  return item;
};

const showCalls = async () => {
  show("calls");
  const list = document.getElementById("list");
  const empty = document.getElementById("empty");
  let last = "";
  for (;;) {
    try {
      const running = await ask("/api/v1/running");
      linked("live");
      const found = calls(running);
      empty.hidden = found.length > 0;
      const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      const now = JSON.stringify(running);
      if (now !== last) list.replaceChildren(...found.map(card));
      last = now;
      if (focused) [...list.querySelectorAll("a")].find((each) => each.getAttribute("href") === focused)?.focus();
    } catch (error) {
      if (error instanceof Refused) throw error;
      linked("away");
    }
    await pause(2);
  }
};

// ---------------------------------------------------------------- one call

const captionsOf = () => {
  const list = document.getElementById("captions");
  const newest = document.getElementById("newest");
  const items = new Map();
  let following = true;
  const end = () => { list.scrollTop = list.scrollHeight; };
  list.addEventListener("scroll", () => {
    following = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    newest.hidden = following;
  });
  newest.addEventListener("click", end);

  return (bot, said) => {
    const key = `${bot} ${said.id}`;
    let item = items.get(key);
    if (!said.text) {
      item?.remove();
      items.delete(key);
      return;
    }
    document.getElementById("silence").hidden = true;
    if (!item) {
      item = element("li");
      item.append(element("span", "who"), element("span", "said"));
      items.set(key, item);
    }
    item.className = said.final ? "final" : "partial";
    item.dataset.start = said.start;
    const [who, text] = item.children;
    who.className = `who ${role(said.role)}`;
    who.replaceChildren(said.name || word(role(said.role)),
      element("small", "", `${word(role(said.role))} · ${clock(said.start)}`));
    text.textContent = said.text;
    const after = [...list.children].reverse().find((each) => each !== item && Number(each.dataset.start) <= said.start);
    if (after ? after.nextSibling !== item : list.firstChild !== item) after ? after.after(item) : list.prepend(item);
    if (said.final) items.delete(key);
    if (following) end();
  };
};

const showBots = (bots) => {
  const [first] = bots;
  document.getElementById("state").textContent = `${clock(first.now)} · ${doing(first)}`;
  const levels = new Map((first.tracks ?? []).map((each) => [each.role, each.level]));
  const people = (first.participants ?? []).map((who) => {
    const item = element("li");
    item.append(element("span", role(who.role), `${who.name || word("unknown")} · ${word(role(who.role))}`));
    const level = levels.get(who.role);
    if (!who.present) item.append(element("span", "quiet", word("expected")));
    else if (level !== undefined) {
      const meter = element("meter");
      Object.assign(meter, { min: -60, max: 0, value: Math.max(-60, level) });
      meter.setAttribute("aria-label", level <= -60 ? word("silent") : `${Math.round(level)} dBFS`);
      item.append(meter);
    }
    return item;
  });
  document.getElementById("people").replaceChildren(
    ...(people.length ? people : [element("li", "quiet", word("nobody"))]));
  document.getElementById("bots").replaceChildren(...bots.map((each) => {
    const item = element("li");
    item.append(element("span", "", each.bot), element("span", "quiet", doing(each)));
    return item;
  }));
};

const watchBots = async (tenant, call) => {
  for (;;) {
    try {
      const bots = (await ask("/api/v1/running")).filter((each) => each.tenant === tenant && each.call === call);
      if (bots.length) showBots(bots);
    } catch (error) {
      if (error instanceof Refused) return;
    }
    await pause(1);
  }
};

// Follow a call over the websocket, again and again, each time from where it was.
const follow = async (topic, take) => {
  let last = "";
  for (let wait = 0.5; ; wait = Math.min(wait * 2, 15)) {
    const end = await new Promise((done) => {
      const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/v1/live`);
      socket.onopen = () => {
        socket.send(JSON.stringify({ token: sessionStorage.getItem(TOKEN) }));
        socket.send(JSON.stringify({ subscribe: topic, last, kinds: ["UtteranceHeard", "HintGiven"] }));
      };
      socket.onmessage = ({ data }) => {
        const said = JSON.parse(data);
        if (said.entry) {
          last = said.entry.id;
          take(said.entry);
        } else if (said.type === "hello") { linked("live"); wait = 0.5; }
        else if (said.type === "missed") take({ type: "missed", count: said.count });
        else if (said.type === "end") { done("over"); socket.close(); }
        else if (said.type === "error") { done("gone"); socket.close(); }
      };
      socket.onclose = () => done("");
    });
    if (end) return end;
    linked("away");
    await pause(wait);
  }
};

const showCall = async (tenant, call) => {
  show("call");
  document.getElementById("title").textContent = call;
  document.title = `${call} · voki-bots`;
  const caption = captionsOf();
  const hints = document.getElementById("hints");
  let first = true;
  await ask("/api/v1/running"); // whoever has no token is asked for it before anything else
  watchBots(tenant, call);
  const end = await follow(`${tenant}/${call}`, (entry) => {
    if (entry.type === "UtteranceHeard") caption(entry.bot, entry.event);
    else if (entry.type === "HintGiven") {
      if (first) hints.replaceChildren();
      first = false;
      hints.prepend(element("li", "", `${entry.event.text} → ${word(role(entry.event.to))}`));
    } else if (entry.type === "missed") {
      document.getElementById("captions").append(element("li", "quiet", word("missed", { n: entry.count })));
    }
  });
  linked("");
  document.getElementById("captions").after(element("p", "quiet over", word(end)));
};

// ---------------------------------------------------------------- which page

const showAsk = (why) => {
  leave.hidden = true;
  linked("");
  show("ask");
  const form = main.querySelector("form");
  form.querySelector(".wrong").textContent = why;
  form.token.focus();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, form.token.value.trim());
    start();
  });
};

const start = async () => {
  if (!sessionStorage.getItem(TOKEN)) return showAsk("");
  leave.hidden = false;
  const found = location.pathname.match(/^\/calls\/([^/]+)\/(.+)$/);
  try {
    await (found ? showCall(...found.slice(1).map(decodeURIComponent)) : showCalls());
  } catch (error) {
    if (!(error instanceof Refused)) {
      main.replaceChildren(element("p", "wrong", word("failed")));
      await pause(3);
      return start();
    }
    sessionStorage.removeItem(TOKEN);
    showAsk(word("wrongToken"));
  }
};

start();
