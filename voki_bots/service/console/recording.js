// One finished call: to be heard, read and downloaded.
import { addressOf, ask, by, clock, element, linked, role, show, size, when } from "/console/base.js";
import { states } from "/console/recordings.js";
import { word } from "/console/words.js";

const SIDES = { attendant: "--attendant", customer: "--customer" };

// Draws each side in a lane of its own, what was withheld in grey, and where we are.
const draw = (canvas, wave, spans, at) => {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  Object.assign(canvas, { width: width * scale, height: height * scale });
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const lanes = Object.entries(wave.sides);
  pen.fillStyle = style.getPropertyValue("--line");
  for (const { start, end } of spans) {
    pen.fillRect((start / wave.seconds) * width, 0, Math.max(1, ((end - start) / wave.seconds) * width), height);
  }
  lanes.forEach(([side, peaks], lane) => {
    const middle = (height / lanes.length) * (lane + 0.5);
    pen.fillStyle = style.getPropertyValue(SIDES[side] ?? "--accent");
    peaks.forEach((peak, n) => {
      const tall = Math.max(1, peak ** 0.6 * (height / lanes.length - 4));
      const x = ((n * wave.step) / wave.seconds) * width;
      pen.fillRect(x, middle - tall / 2, Math.max(0.6, (wave.step / wave.seconds) * width - 0.4), tall);
    });
  });
  pen.fillStyle = style.getPropertyValue("--ink");
  pen.fillRect((at / wave.seconds) * width - 1, 0, 2, height);
};

const drawn = async (path, bot, medium, spans) => {
  const box = by("wave");
  const canvas = box.querySelector("canvas");
  by("drawing").textContent = word("drawing");
  let wave;
  try {
    wave = await ask(`${path}/waveform?points=${Math.min(1500, Math.max(200, box.clientWidth))}&bot=${bot}`);
  } catch (error) {
    by("drawing").textContent = error.message;
    box.hidden = true;
    return;
  }
  by("drawing").replaceChildren(...Object.keys(wave.sides).map((side) =>
    element("span", `lane ${role(side)}`, side === "mix" ? word("mix") : word(role(side)))));
  box.setAttribute("aria-label", word("position"));
  box.setAttribute("aria-valuemax", Math.round(wave.seconds));
  const again = () => {
    draw(canvas, wave, spans, medium.currentTime);
    box.setAttribute("aria-valuenow", Math.round(medium.currentTime));
    box.setAttribute("aria-valuetext", clock(medium.currentTime));
  };
  const seek = (at) => { medium.currentTime = Math.max(0, Math.min(wave.seconds, at)); again(); };
  box.addEventListener("pointerdown", (event) => {
    const { left, width } = box.getBoundingClientRect();
    seek(((event.clientX - left) / width) * wave.seconds);
  });
  box.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -5, ArrowRight: 5, PageUp: -30, PageDown: 30 };
    if (event.key in steps) seek(medium.currentTime + steps[event.key]);
    else if (event.key === "Home") seek(0);
    else if (event.key === "End") seek(wave.seconds);
    else if (event.key === " ") medium.paused ? medium.play() : medium.pause();
    else return;
    event.preventDefault();
  });
  for (const each of ["timeupdate", "seeked", "loadedmetadata"]) medium.addEventListener(each, again);
  new ResizeObserver(again).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  again();
};

const showWords = async (path, bot, medium) => {
  const list = by("transcript");
  let said;
  try {
    said = await ask(`${path}/transcript?bot=${bot}`);
  } catch (error) {
    by("no-transcript").textContent = error.status === 404 ? word("noTranscript") : error.message;
    return;
  }
  by("no-transcript").hidden = true;
  const items = said.utterances.map((each) => {
    const item = element("li");
    const who = element("span", `who ${role(each.role)}`, each.name || word(role(each.role)));
    const time = element("button", "time", clock(each.start));
    time.type = "button";
    time.addEventListener("click", () => { if (medium) { medium.currentTime = each.start; medium.play(); } });
    who.append(time);
    item.append(who, element("span", "said", each.text));
    item.dataset.start = each.start;
    item.dataset.end = each.end;
    return item;
  });
  list.replaceChildren(...items);
  medium?.addEventListener("timeupdate", () => {
    const now = medium.currentTime;
    const here = items.find((each) => Number(each.dataset.start) <= now && now < Number(each.dataset.end));
    for (const each of items) each.classList.toggle("here", each === here);
    if (here && !medium.paused) here.scrollIntoView({ block: "nearest" });
  });
};

const showHappened = (sidecar) => {
  const lines = [
    ...(sidecar.masks ?? []).map((each) => [each.start, `${word("withheld")} ${word(`cause_${each.cause ?? "masked"}`)}`]),
    ...(sidecar.supervision ?? []).map((each) => [each.start, `${each.name || each.supervisor}: ${word(`mode_${each.mode}`)}`]),
    ...(sidecar.segments ?? []).filter((each) => each.lost !== null && each.lost !== undefined)
      .map((each) => [each.lost, `${word("mediaLost")}: ${each.cause ?? ""}`]),
    ...(sidecar.plugins_detached ?? []).map((each) => [each.at ?? 0, `${each.plugin} ${word("detached")}: ${each.why}`]),
  ].sort(([one], [other]) => one - other);
  by("happened").replaceChildren(...(lines.length
    ? lines.map(([at, text]) => element("li", "", `${clock(at ?? 0)} ${text}`))
    : [element("li", "quiet", word("nothingHappened"))]));
};

const showFiles = (path, bot, ticket, files) => {
  by("files").replaceChildren(...files.map((each) => {
    const item = element("li");
    const anchor = element("a", "", each.name);
    anchor.href = `${path}/file?name=${encodeURIComponent(each.name)}&bot=${bot}&ticket=${ticket}`;
    anchor.download = each.name.split("/").pop();
    item.append(anchor, element("span", "quiet", size(each.size)));
    return item;
  }));
};

export const showRecording = async (tenant, call) => {
  const path = addressOf("/api/v1/recordings", tenant, call);
  const bot = encodeURIComponent(new URLSearchParams(location.search).get("bot") ?? "");
  const summary = await ask(`${path}/summary?bot=${bot}`);
  const sidecar = await ask(`${path}/sidecar?bot=${bot}`);
  const { ticket } = await ask(`${path}/ticket?bot=${bot}`, {});
  show("recording");
  linked("");
  document.title = `${call} · voki-bots`;
  by("title").textContent = call;
  by("state").textContent = [when(summary.started), clock(summary.seconds ?? 0), summary.bot, ...states(summary)].filter(Boolean).join(" · ");
  const problems = [...(summary.problems ?? [])];
  if (summary.encrypted) problems.unshift(word("howDecrypt"));
  else if (!summary.sealed) problems.unshift(word("stillRunning"));
  else if (!summary.finished) problems.unshift(word("notFinished"));
  by("problems").replaceChildren(...problems.map((each) => element("li", "", each)));
  by("people").replaceChildren(...(summary.participants ?? []).map((who) => {
    const item = element("li");
    item.append(element("span", role(who.role), who.name || word("unknown")), element("span", "quiet", word(role(who.role))));
    return item;
  }));
  showHappened(sidecar);
  showFiles(path, bot, ticket, summary.files);
  by("raw").querySelector("pre").textContent = JSON.stringify(sidecar, null, 1);
  let medium = null;
  if (summary.player) {
    const film = summary.files.find((each) => each.name === summary.player).type.startsWith("video/");
    medium = element(film ? "video" : "audio");
    medium.controls = true;
    medium.preload = "metadata";
    medium.src = `${path}/file?name=${encodeURIComponent(summary.player)}&bot=${bot}&ticket=${ticket}`;
    by("medium").append(medium);
    by("player").hidden = false;
    drawn(path, bot, medium, sidecar.masks ?? []);
  }
  await showWords(path, bot, medium);
};
