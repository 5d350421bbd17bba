// What the pages say, in the language of their reader.
const WORDS = {
  en: {
    skip: "Skip to content", calls: "Calls now", forget: "Forget the token", loading: "Loading …",
    askTitle: "The control token, please",
    askWhy: "It opens the calls of this service, and is kept until this tab is closed.",
    token: "Control token", enter: "Enter", wrongToken: "This is not the control token.",
    noCalls: "No bot attends a call now. Calls appear here by themselves.",
    captions: "Captions", silence: "Nobody has said anything yet.", newest: "To the newest",
    people: "In the call", bots: "Bots", hints: "Hints", noHints: "None yet.", nobody: "Nobody is known yet.",
    attendant: "Attendant", customer: "Customer", supervisor: "Supervisor", bot: "Bot", unknown: "Unknown",
    expected: "expected", connected: "media connected", connecting: "connecting media", paused: "paused",
    waitsConsent: "waits for consent", detached: "detached", live: "live", away: "connection lost; trying again",
    over: "The call is over.", gone: "No bot attends this call, or has lately.", failed: "The service does not answer.",
    missed: "{n} events were missed.", silent: "silent", open: "Open {call}",
  },
  pt: {
    skip: "Ir para o conteúdo", calls: "Chamadas agora", forget: "Esquecer o token", loading: "Carregando …",
    askTitle: "O token de controle, por favor",
    askWhy: "Ele abre as chamadas deste serviço e fica guardado até esta aba ser fechada.",
    token: "Token de controle", enter: "Entrar", wrongToken: "Este não é o token de controle.",
    noCalls: "Nenhum bot está em uma chamada agora. As chamadas aparecem aqui sozinhas.",
    captions: "Legendas", silence: "Ninguém falou ainda.", newest: "Ir para a mais recente",
    people: "Na chamada", bots: "Bots", hints: "Dicas", noHints: "Nenhuma ainda.", nobody: "Ninguém conhecido ainda.",
    attendant: "Atendente", customer: "Cliente", supervisor: "Supervisor", bot: "Bot", unknown: "Desconhecido",
    expected: "esperado", connected: "mídia conectada", connecting: "conectando mídia", paused: "pausado",
    waitsConsent: "aguarda consentimento", detached: "desligado", live: "ao vivo",
    away: "conexão perdida; tentando de novo", over: "A chamada terminou.",
    gone: "Nenhum bot está ou esteve há pouco nesta chamada.", failed: "O serviço não responde.",
    missed: "{n} eventos foram perdidos.", silent: "em silêncio", open: "Abrir {call}",
  },
  es: {
    skip: "Ir al contenido", calls: "Llamadas ahora", forget: "Olvidar el token", loading: "Cargando …",
    askTitle: "El token de control, por favor",
    askWhy: "Abre las llamadas de este servicio y se guarda hasta que se cierre esta pestaña.",
    token: "Token de control", enter: "Entrar", wrongToken: "Este no es el token de control.",
    noCalls: "Ningún bot está en una llamada ahora. Las llamadas aparecen aquí solas.",
    captions: "Subtítulos", silence: "Nadie ha dicho nada todavía.", newest: "Ir a lo más reciente",
    people: "En la llamada", bots: "Bots", hints: "Sugerencias", noHints: "Ninguna todavía.",
    nobody: "Todavía no se conoce a nadie.",
    attendant: "Agente", customer: "Cliente", supervisor: "Supervisor", bot: "Bot", unknown: "Desconocido",
    expected: "se espera", connected: "medios conectados", connecting: "conectando medios", paused: "en pausa",
    waitsConsent: "espera consentimiento", detached: "desconectado", live: "en vivo",
    away: "conexión perdida; se intenta de nuevo", over: "La llamada ha terminado.",
    gone: "Ningún bot está ni estuvo hace poco en esta llamada.", failed: "El servicio no responde.",
    missed: "Se perdieron {n} eventos.", silent: "en silencio", open: "Abrir {call}",
  },
};

const language = (navigator.languages ?? [navigator.language])
  .map((each) => each.slice(0, 2).toLowerCase()).find((each) => each in WORDS) ?? "en";

document.documentElement.lang = { en: "en", pt: "pt-BR", es: "es" }[language];

export const word = (name, values = {}) =>
  (WORDS[language][name] ?? name).replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");

export const put = (root) => {
  for (const each of root.querySelectorAll("[data-word]")) each.textContent = word(each.dataset.word);
};
