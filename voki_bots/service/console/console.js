// Which page this is, and who looks at it.
import { ask, by, element, linked, main, pause, Refused, show, TOKEN } from "/console/base.js";
import { showCall } from "/console/call.js";
import { showCalls } from "/console/calls.js";
import { showRecording } from "/console/recording.js";
import { showRecordings } from "/console/recordings.js";
import { put, word } from "/console/words.js";

const leave = by("leave");

put(document);
leave.addEventListener("click", () => { sessionStorage.removeItem(TOKEN); location.assign("/"); });

const showAsk = (why) => {
  leave.hidden = true;
  by("me").textContent = "";
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

const page = (me) => {
  const [, kind, tenant, call] = location.pathname.match(/^\/(calls|recordings)\/([^/]+)\/(.+)$/) ?? [];
  const names = [tenant, call].map((each) => each && decodeURIComponent(each));
  if (kind === "calls") return showCall(...names, me);
  if (kind === "recordings") return showRecording(...names);
  return location.pathname.startsWith("/recordings") ? showRecordings() : showCalls();
};

const start = async () => {
  for (const each of document.querySelectorAll("nav a")) {
    const here = each.pathname === "/recordings" ? location.pathname.startsWith("/recordings")
      : !location.pathname.startsWith("/recordings");
    if (here) each.setAttribute("aria-current", "page");
  }
  try {
    const me = await ask("/api/v1/me");
    leave.hidden = !sessionStorage.getItem(TOKEN);
    by("me").textContent = `${me.name} · ${word(me.role)}`;
    await page(me);
  } catch (error) {
    if (error instanceof Refused) {
      const had = sessionStorage.getItem(TOKEN);
      sessionStorage.removeItem(TOKEN);
      return showAsk(had ? word("wrongToken") : "");
    }
    main.replaceChildren(element("p", "wrong", error.status ? error.message : word("failed")));
    if (error.status && error.status !== 429 && error.status < 500) return undefined;
    await pause(3);
    return start();
  }
  return undefined;
};

start();
