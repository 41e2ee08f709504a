// What the page asks of the till's daemon, and what it hears unasked.

import { pick, t } from "./language.js";

const SILENCE_MS = 16_000; // the daemon lets hear of itself every ten seconds
const RETRY_MS = 500;
const RETRY_MS_MAX = 4_000;
const ANSWER_MS = 130_000; // the daemon's own patience with the gateway is two minutes at most
const ULID_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

let notices = {};

/** A refusal with its code; or `daemon_gone`, and then what was asked may have been done. */
export class Problem extends Error {
  constructor(code, status, texts) {
    super(code);
    this.code = code;
    this.status = status;
    this.texts = texts;
  }

  get words() {
    return this.code === "daemon_gone" ? t("daemon_gone") : pick(this.texts) || wordsOf(this.code);
  }
}

/** Ask; returns the JSON answered, or null where there is none. */
export async function ask(method, path, body = null) {
  const response = await send(method, path, body);
  const type = response.headers.get("Content-Type") ?? "";
  return type.startsWith("application/json") ? response.json() : null;
}

export async function askText(path) {
  const response = await send("GET", path, null, { Accept: "text/plain" });
  return response.text();
}

export async function loadNotices() {
  notices = await ask("GET", "/v1/notices");
}

/** What a code means to the cashier. */
export function wordsOf(code) {
  return pick(notices[code]) || code;
}

/** An id of the form every order of ours has, made once and repeated until it is answered. */
export function makeId() {
  let time = Date.now();
  let id = "";
  for (let place = 0; place < 10; place += 1) {
    id = ULID_LETTERS[time % 32] + id;
    time = Math.floor(time / 32);
  }
  for (const byte of crypto.getRandomValues(new Uint8Array(16))) id += ULID_LETTERS[byte % 32];
  return id;
}

/**
 * Follow server-sent events for ever.
 *
 * begin()            reads where to start from, each time a connection is made; returns a position or null
 * onEvent(name, data)  one event
 * onConnection(isThere) the connection was made, or is gone; told once each
 */
export async function follow(path, { begin, onEvent, onConnection }) {
  let pause = RETRY_MS;
  for (;;) {
    try {
      const after = await begin();
      await listen(path, after, onEvent, () => {
        pause = RETRY_MS;
        onConnection(true);
      });
      onConnection(false);
    } catch (error) {
      onConnection(false, error instanceof Problem ? error : null);
    }
    await sleep(pause);
    pause = Math.min(pause * 2, RETRY_MS_MAX);
  }
}

export function sleep(ms) {
  return new Promise((done) => setTimeout(done, ms));
}

async function send(method, path, body, headers = {}) {
  const options = { method, headers, cache: "no-store", credentials: "same-origin", redirect: "error" };
  options.signal = AbortSignal.timeout(ANSWER_MS);
  if (method === "POST") {
    options.headers = { ...headers, "Content-Type": "application/json" };
    options.body = body === null ? "" : JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Problem("daemon_gone", 0, null);
  }
  if (response.ok) return response;
  throw await readProblem(response);
}

async function readProblem(response) {
  try {
    const problem = await response.json();
    return new Problem(problem.code, response.status, problem.cashier_text);
  } catch {
    return new Problem("daemon_gone", 0, null);
  }
}

async function listen(path, after, onEvent, onOpen) {
  const stop = new AbortController();
  const headers = after === null ? {} : { "Last-Event-ID": String(after) };
  // A line that is silent for longer than the daemon ever is has been cut, whatever the socket says.
  let alarm = setTimeout(() => stop.abort(), SILENCE_MS);
  try {
    const response = await fetch(path, { headers, cache: "no-store", signal: stop.signal });
    if (!response.ok) throw await readProblem(response);
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(alarm);
      alarm = setTimeout(() => stop.abort(), SILENCE_MS);
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) tell(block, onEvent);
    }
  } finally {
    clearTimeout(alarm);
    stop.abort();
  }
}

function tell(block, onEvent) {
  const fields = Object.fromEntries(
    block.split("\n").filter((line) => !line.startsWith(":")).map((line) => {
      const [, name, value] = /^(\w+): ?(.*)$/.exec(line);
      return [name, value];
    }),
  );
  if (fields.data !== undefined) onEvent(fields.event, JSON.parse(fields.data));
}
