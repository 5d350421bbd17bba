// What every page is made with: asking the API, and putting what it says into elements. It is text, never markup.
import { put, word } from "/console/words.js";

export const TOKEN = "voki-bots token";
export const main = document.getElementById("main");
const link = document.getElementById("link");

export class Refused extends Error {}

// Somebody whom a proxy has signed in needs no token.
const headers = () => {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
};

export const ask = async (path, body) => {
  const asked = body === undefined
    ? { headers: headers() }
    : { method: "POST", headers: { ...headers(), "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, asked);
  if (answer.ok) return answer.json();
  const said = await answer.json().catch(() => ({}));
  const detail = typeof said.detail === "string" ? said.detail : `HTTP ${answer.status}`;
  if (answer.status === 401) throw new Refused(detail);
  throw Object.assign(new Error(detail), { status: answer.status });
};

export const show = (name) => {
  const made = document.getElementById(name).content.cloneNode(true);
  put(made);
  main.replaceChildren(made);
};

export const element = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

export const by = (id) => document.getElementById(id);

export const linked = (state) => {
  link.className = `link ${state}`;
  link.textContent = state ? word(state) : "";
};

export const clock = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  const rest = `${String(Math.floor(whole / 60) % 60)}:${String(whole % 60).padStart(2, "0")}`;
  return whole < 3600 ? rest : `${Math.floor(whole / 3600)}:${rest.padStart(5, "0")}`;
};

export const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

export const role = (name) => (["attendant", "customer", "supervisor", "bot"].includes(name) ? name : "unknown");

export const addressOf = (kind, tenant, call) =>
  `${kind}/${encodeURIComponent(tenant)}/${encodeURIComponent(call)}`;

export const when = (iso) => (iso ? new Date(iso).toLocaleString(document.documentElement.lang, {
  dateStyle: "medium", timeStyle: "short" }) : "");

export const size = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);

export const meter = (level) => {
  const made = element("meter");
  Object.assign(made, { min: -60, max: 0, value: Math.max(-60, level) });
  made.setAttribute("aria-label", level <= -60 ? word("silent") : `${Math.round(level)} dBFS`);
  return made;
};

// One sentence about what a bot does, from what the service says of it.
export const doing = (each) => {
  const said = [word(each.connected ? "connected" : "connecting")];
  if (each.paused) said.push(word("paused"));
  if (!each.consented) said.push(word("waitsConsent"));
  for (const [plugin, why] of Object.entries(each.detached ?? {})) said.push(`${plugin} ${word("detached")}: ${why}`);
  return said.join(", ");
};

export const socketOf = (path) => new WebSocket(`${location.origin.replace(/^http/, "ws")}${path}`);

export const shown = (socket) => {
  const token = sessionStorage.getItem(TOKEN);
  if (token) socket.send(JSON.stringify({ token }));
};
