// A desk: to listen to a call, to whisper to the attendant, or to be heard by all.
import { addressOf, by, shown, socketOf } from "/console/base.js";
import { Sound } from "/console/audio.js";
import { word } from "/console/words.js";

const chosen = (name) => document.querySelector(`#desk input[name="${name}"]:checked`)?.value;

export const supervise = (tenant, call) => {
  let socket = null;
  let sound = null;
  let hello = null;
  let side = "none";
  const talk = by("talk");
  const state = by("desk-state");

  const tell = (text, wrong = false) => {
    state.textContent = text;
    state.classList.toggle("wrong", wrong);
  };

  const send = (message) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));

  const took = ({ data }) => {
    if (data instanceof ArrayBuffer) return sound.play(data);
    const said = JSON.parse(data);
    if (said.type === "hello") greet(said);
    else if (said.type === "answer") sound.answer(said.sdp).catch(() => {});
    else if (said.type === "listening") { side = said.side; tell(hearing()); }
    else if (said.type === "levels") by("mic").value = Math.max(-60, said.mic ?? -60);
    else if (said.type === "said") tell(word("wasSaid", { n: said.seconds.toFixed(1) }));
    else if (said.type === "error") { release(); tell(reason(said.why, said.message), true); }
    else if (said.type === "end") tell(word("over"));
    else if (said.type === "state") changed(said);
    return undefined;
  };

  const reason = (why, sentence) => {
    const known = word(`why_${why}`);
    return known === `why_${why}` ? sentence : known;
  };

  const hearing = () => word(side === "none" ? "hearsNobody" : "hears", { side: word(`side_${side}`) });

  const changed = (said) => {
    talk.dataset.state = said.talking ? said.state : "";
    if (said.talking) tell(word(said.state === "open" ? `open_${said.mode}` : "arming"));
    else if (said.why && said.state === "closed") tell(reason(said.why, said.sentence), true);
    else if (said.mode) tell([said.state === "open" ? word("ready") : "", hearing()].filter(Boolean).join(" "));
  };

  const greet = (said) => {
    hello = said;
    by("speak").hidden = by("talking").hidden = !said.modes.length;
    by("say").hidden = !said.voice;
    for (const each of document.querySelectorAll('#desk input[name="mode"]')) {
      each.closest("label").hidden = !said.modes.includes(each.value);
    }
  };

  // Everything of it is opened when it is first used, and by what was pressed.
  const opened = async () => {
    if (socket?.readyState === WebSocket.OPEN) return;
    await sound?.close();
    sound = new Sound((pcm) => socket?.readyState === WebSocket.OPEN && socket.send(pcm));
    await sound.open();
    await new Promise((done, failed) => {
      socket = socketOf(`${addressOf("/api/v1/calls", tenant, call)}/supervise`);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => { shown(socket); };
      socket.onmessage = (event) => { took(event); if (hello) done(); };
      socket.onclose = ({ reason: why }) => {
        hello = null;
        side = "none";
        release();
        tell(why || word("deskClosed"), true);
        by("listen").querySelector("input").checked = true;
        failed(new Error(why));
      };
    });
    sound.offer().then((offer) => send({ offer })).catch(() => {});
  };

  const tried = async (work) => {
    try { await work(); } catch (error) {
      const refused = ["NotAllowedError", "NotFoundError", "SecurityError"].includes(error.name);
      tell(refused ? word("noMicrophone") : error.message || word("failed"), true);
    }
  };

  const press = () => tried(async () => {
    if (talk.getAttribute("aria-pressed") === "true") return;
    talk.setAttribute("aria-pressed", "true");
    try {
      await opened();
      await sound.listenIn();
    } catch (error) {
      talk.setAttribute("aria-pressed", "false");
      throw error;
    }
    if (talk.getAttribute("aria-pressed") !== "true") return; // it was let go meanwhile
    sound.press();
    send({ talk: chosen("mode") });
  });

  const release = () => {
    if (talk.getAttribute("aria-pressed") !== "true") return;
    talk.setAttribute("aria-pressed", "false");
    sound?.release();
    send({ talk: null });
  };

  by("listen").addEventListener("change", () => tried(async () => {
    const side = chosen("side");
    tell(word("asking"));
    await opened();
    send({ listen: side });
  }));
  by("speak").addEventListener("change", () => {
    release();
    by("desk").classList.toggle("barging", chosen("mode") === "barge");
  });
  by("say").addEventListener("submit", (event) => tried(async () => {
    event.preventDefault();
    await opened();
    send({ say: { mode: chosen("mode"), text: event.target.text.value } });
    event.target.reset();
  }));
  talk.addEventListener("pointerdown", (event) => { talk.setPointerCapture(event.pointerId); press(); });
  for (const each of ["pointerup", "pointercancel", "lostpointercapture"]) talk.addEventListener(each, release);
  talk.addEventListener("keydown", (event) => {
    if (event.key === "Escape") release();
    if ([" ", "Enter"].includes(event.key)) { event.preventDefault(); if (!event.repeat) press(); }
  });
  talk.addEventListener("keyup", (event) => { if ([" ", "Enter"].includes(event.key)) release(); });
  talk.addEventListener("contextmenu", (event) => event.preventDefault());
  for (const each of ["blur", "pagehide"]) window.addEventListener(each, release);
  talk.addEventListener("blur", release);
  document.addEventListener("visibilitychange", release);
  by("mic").setAttribute("aria-label", word("microphone"));

  return {
    // What may be done is known before anything is opened: the modes are the plugin's to say.
    offered: (there) => {
      by("desk").hidden = !there;
      if (there && !hello) by("speak").hidden = by("talking").hidden = false;
    },
    close: () => { release(); socket?.close(); sound?.close(); },
  };
};
