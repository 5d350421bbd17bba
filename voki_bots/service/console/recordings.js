// The finished calls, and those that are being recorded.
import { addressOf, ask, by, clock, element, linked, pause, role, show, when } from "/console/base.js";
import { word } from "/console/words.js";

export const states = (each) => [
  each.sealed ? "" : word("running"),
  each.encrypted ? word("encrypted") : "",
  each.held ? word("held") : "",
  each.film ? word("film") : "",
  each.transcript ? word("transcript") : "",
  each.problems?.length ? word("problems") : "",
].filter(Boolean);

const row = (each) => {
  const item = element("li");
  const anchor = element("a");
  anchor.href = `${addressOf("/recordings", each.tenant, each.call)}?bot=${encodeURIComponent(each.bot ?? "")}`;
  anchor.setAttribute("aria-label", word("open", { call: each.call }));
  const people = element("span", "people-line");
  for (const who of each.participants ?? []) {
    people.append(element("span", role(who.role), who.name || word(role(who.role))));
  }
  const head = element("span", "row");
  head.append(element("span", "name", each.call), element("span", "quiet", clock(each.seconds ?? 0)));
  const foot = element("span", "row quiet");
  foot.append(element("span", "", [when(each.started), each.department, each.bot].filter(Boolean).join(" · ")));
  const badges = element("span", "badges");
  for (const state of states(each)) badges.append(element("span", "badge", state));
  foot.append(badges);
  anchor.append(head, people, foot);
  item.append(anchor);
  return item;
};

export const showRecordings = async () => {
  show("recordings");
  document.title = `${word("recordings")} · voki-bots`;
  linked("");
  const form = by("search");
  const list = by("list");
  const more = by("more");
  let cursor = null;
  let asked = 0;

  const load = async (further) => {
    const mine = asked += 1;
    const query = new URLSearchParams({ q: form.q.value.trim(), tenant: form.tenant.value });
    if (further && cursor) query.set("cursor", cursor);
    const said = await ask(`/api/v1/recordings?${query}`);
    if (mine !== asked) return; // another search has begun
    cursor = said.cursor;
    if (!further) list.replaceChildren();
    list.append(...said.recordings.map(row));
    more.hidden = !cursor;
    by("empty").textContent = list.children.length ? "" : word(form.q.value ? "nothingFound" : "noRecordings");
    if (form.tenant.options.length === 0 && said.tenants.length > 1) {
      by("tenants").hidden = false;
      form.tenant.append(new Option(word("allTenants"), ""), ...said.tenants.map((each) => new Option(each, each)));
    }
  };
  const tried = async (further) => {
    try { await load(further); } catch (error) { by("empty").textContent = error.message; }
  };

  let typed = 0;
  form.addEventListener("submit", (event) => { event.preventDefault(); tried(false); });
  form.addEventListener("change", () => tried(false));
  form.q.addEventListener("input", async () => {
    const mine = typed += 1;
    await pause(0.25);
    if (mine === typed) tried(false);
  });
  more.addEventListener("click", () => tried(true));
  await load(false);
};
