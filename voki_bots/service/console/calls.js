// The calls now, and who waits for one.
import { addressOf, ask, by, clock, doing, element, linked, pause, Refused, role, show } from "/console/base.js";
import { word } from "/console/words.js";

const grouped = (running) => {
  const found = new Map();
  for (const each of running) {
    const key = JSON.stringify([each.tenant, each.call]);
    found.set(key, [...(found.get(key) ?? []), each]);
  }
  return [...found.values()];
};

const card = (bots) => {
  const [first] = bots;
  const item = element("li");
  const anchor = element("a");
  anchor.href = addressOf("/calls", first.tenant, first.call);
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
  for (const each of first.supervision ?? []) {
    anchor.append(element("span", "badge", `${each.by}: ${word(`mode_${each.mode ?? "none"}`)}`));
  }
  item.append(anchor);
  return item;
};

const department = (each) => {
  const item = element("li", "card");
  item.append(element("span", "name", each.id));
  for (const who of each.queue) {
    const row = element("span", "row");
    row.append(element("span", "customer", who.name || word("unknown")), element("span", "quiet", clock(who.waiting)));
    item.append(row);
  }
  if (!each.queue.length) item.append(element("span", "quiet", word("nobodyWaits")));
  for (const who of each.agents) {
    const row = element("span", "row");
    row.append(element("span", "attendant", who.name || who.id), element("span", "quiet", who.status || word("online")));
    item.append(row);
  }
  if (each.presence && !each.agents.length) item.append(element("span", "quiet", word("noAgents")));
  return item;
};

const showFloor = async () => {
  const said = await ask("/api/v1/floor");
  by("floor").hidden = !said.configured;
  by("departments").replaceChildren(...said.departments.map(department));
};

export const showCalls = async () => {
  show("calls");
  document.title = "voki-bots";
  const list = by("list");
  let last = "";
  for (;;) {
    try {
      const running = await ask("/api/v1/running");
      linked("live");
      const found = grouped(running);
      by("empty").hidden = found.length > 0;
      const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      const now = JSON.stringify(running);
      if (now !== last) list.replaceChildren(...found.map(card));
      last = now;
      if (focused) [...list.querySelectorAll("a")].find((each) => each.getAttribute("href") === focused)?.focus();
      await showFloor();
    } catch (error) {
      if (error instanceof Refused) throw error;
      linked("away");
    }
    await pause(2);
  }
};
