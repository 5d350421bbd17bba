// One call: what is said in it, who is there, and what its bots do.
import {
  addressOf, ask, by, clock, doing, element, linked, meter, pause, Refused, role, show, shown, socketOf,
} from "/console/base.js";
import { supervise } from "/console/supervise.js";
import { word } from "/console/words.js";

const captionsOf = () => {
  const list = by("captions");
  const newest = by("newest");
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
    by("silence").hidden = true;
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

const goodness = (mos) => word(mos >= 4 ? "good" : mos >= 3.4 ? "fair" : "poor");

const person = (who, level, quality) => {
  const item = element("li");
  const name = element("span", role(who.role), `${who.name || word("unknown")} · ${word(role(who.role))}`);
  if (quality) {
    const loss = `${word("loss")} ${(100 * quality.loss).toFixed(1)} %`;
    name.append(element("small", "", `${goodness(quality.mos)} (${quality.mos.toFixed(1)}), ${loss}`));
  }
  item.append(name);
  if (!who.present) item.append(element("span", "quiet", word("expected")));
  else if (level !== undefined) item.append(meter(level));
  return item;
};

const showBots = (bots) => {
  const [first] = bots;
  by("state").textContent = `${clock(first.now)} · ${doing(first)}`;
  const levels = new Map((first.tracks ?? []).map((each) => [each.role, each.level]));
  const quality = new Map((first.quality ?? []).map((each) => [each.role, each]));
  const people = (first.participants ?? []).map((who) => person(who, levels.get(who.role), quality.get(who.role)));
  by("people").replaceChildren(...(people.length ? people : [element("li", "quiet", word("nobody"))]));
  by("bots").replaceChildren(...bots.map((each) => {
    const item = element("li");
    const what = element("span", "quiet", doing(each));
    if (each.reason) what.append(element("small", "", `${word("because")} ${each.reason}`));
    const name = element("span", "", each.bot);
    if (each.plugins?.length) name.append(element("small", "", each.plugins.join(", ")));
    for (const one of each.pauses ?? []) what.append(element("small", "", `${word("pausedBy")} ${one.actor} ${one.reason}`));
    for (const one of each.supervision ?? []) {
      what.append(element("small", "badge", `${one.by}: ${word(`mode_${one.mode ?? "none"}`)}`));
    }
    item.append(name, what);
    return item;
  }));
};

const watchBots = async (tenant, call, found) => {
  for (;;) {
    try {
      const bots = (await ask("/api/v1/running")).filter((each) => each.tenant === tenant && each.call === call);
      if (bots.length) { showBots(bots); found(bots); }
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
      const socket = socketOf("/api/v1/live");
      socket.onopen = () => {
        shown(socket);
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

const tell = (text) => { by("told").textContent = text; };

const form = (id, send) => by(id).addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    tell("");
    await send(event.target);
    event.target.reset();
  } catch (error) {
    tell(error.message);
  }
});

const commands = (tenant, call, me) => {
  const path = addressOf("/api/v1/calls", tenant, call);
  by("hint").hidden = !me.may.hint;
  by("pause").hidden = !me.may.pause;
  form("hint", (made) => ask(`${path}/hint`, { text: made.text.value }));
  form("pause", (made) => ask(`${path}/pause`, { reason: made.reason.value }));
  by("resume").addEventListener("click", async () => {
    try { tell(""); await ask(`${path}/resume`, {}); } catch (error) { tell(error.message); }
  });
};

export const showCall = async (tenant, call, me) => {
  show("call");
  by("title").textContent = call;
  document.title = `${call} · voki-bots`;
  const caption = captionsOf();
  const hints = by("hints");
  let first = true;
  commands(tenant, call, me);
  const desk = me.may.listen ? supervise(tenant, call) : null;
  watchBots(tenant, call, (bots) => desk?.offered(bots.some((each) => each.supervisable)));
  const end = await follow(`${tenant}/${call}`, (entry) => {
    if (entry.type === "UtteranceHeard") caption(entry.bot, entry.event);
    else if (entry.type === "HintGiven") {
      if (first) hints.replaceChildren();
      first = false;
      hints.prepend(element("li", "", `${entry.event.text} → ${word(role(entry.event.to))}`));
    } else if (entry.type === "missed") {
      by("captions").append(element("li", "quiet", word("missed", { n: entry.count })));
    }
  });
  linked("");
  desk?.close();
  for (const each of ["hint", "pause", "desk"]) by(each).hidden = true;
  by("captions").after(element("p", "quiet over", word(end)));
};
