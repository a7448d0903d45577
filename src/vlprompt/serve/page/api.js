// Client of the server's API.

const TOKEN = "vlprompt-token";
const RETRIES = 4;

// A failed request. `status` is 0 if the server was not reached, `unreadable` means that the image cannot be read,
// `after` is the number of seconds before another try.
export class Refused extends Error {
  constructor(status, message, after = 1) {
    const reason = message.replace(/^image 1: /, "");
    super(reason);
    this.status = status;
    this.after = after;
    this.unreadable = reason !== message;
  }
}

export const address = (path) => new URL(path, document.baseURI).href;

export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;

export function setToken(token) {
  sessionStorage.setItem(TOKEN, token);
}

export const readClasses = () => send("v1/classes");

export function addClasses(names) {
  return send("v1/classes", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ names }),
  });
}

// Predict one image; the result has `roundtrip` in milliseconds.
export async function predict(file, { classes, compare, signal }) {
  await file.slice(0, 1).arrayBuffer().catch(() => {
    throw new Refused(422, "image 1: the browser has no access to it, or it is a folder");
  });
  const form = new FormData();
  form.append("image", file, file.name);
  for (const name of classes) form.append("classes", name);
  form.append("compare", String(compare));
  for (let attempt = 1; ; attempt += 1) {
    const begun = performance.now();
    try {
      const { results, milliseconds } = await send("v1/predict", { method: "POST", body: form, signal });
      return { ...results[0], milliseconds, roundtrip: performance.now() - begun };
    } catch (error) {
      if (error.status !== 429 || attempt === RETRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * error.after));
    }
  }
}

async function send(path, options = {}) {
  const headers = { ...options.headers };
  if (hasToken()) headers.Authorization = `Bearer ${sessionStorage.getItem(TOKEN)}`;
  let response;
  try {
    response = await fetch(address(path), { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not respond. Is it still running?");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) {
    const after = Number(response.headers.get("Retry-After")) || 1;
    throw new Refused(response.status, body.error ?? `The server responded with status ${response.status}.`, after);
  }
  return body;
}
