// A card: one image with its prediction.

import { address, hasToken, predict } from "./api.js";
import { curlCommand } from "./curl.js";
import { percent, show } from "./ranking.js";

const MAX_REQUESTS = 4;
const template = document.querySelector("#card");

let busy = 0;
const waiting = [];

// Limit the number of concurrent requests of all cards.
async function inTurn(work) {
  if (busy >= MAX_REQUESTS) await new Promise((resolve) => waiting.push(resolve));
  busy += 1;
  try {
    return await work();
  } finally {
    busy -= 1;
    waiting.shift()?.();
  }
}

export class Card {
  // `options()` returns { classes, compare }; `say(text)` announces a text to screen readers.
  constructor(file, { options, say, remove, pasted }) {
    this.file = file;
    this.options = options;
    this.say = say;
    this.pasted = pasted;
    this.element = template.content.firstElementChild.cloneNode(true);
    this.url = URL.createObjectURL(file);
    const name = this.part(".file");
    name.textContent = file.name;
    name.dir = "auto";
    const image = this.part("img");
    image.addEventListener("error", () => {
      image.hidden = true;
      this.part(".no-preview").hidden = false;
    });
    image.src = this.url;
    this.part(".remove").setAttribute("aria-label", `Remove ${file.name}`);
    this.part(".remove").addEventListener("click", () => remove(this));
    this.part(".retry").addEventListener("click", () => this.ask());
    this.part(".copy").addEventListener("click", () => this.copy());
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  // Send the image and show the result, unless a newer request was made meanwhile.
  async ask() {
    this.asking?.abort();
    const asking = new AbortController();
    this.asking = asking;
    this.element.setAttribute("aria-busy", "true");
    this.part(".error").hidden = true;
    const options = this.options();
    try {
      const answer = await inTurn(() => predict(this.file, { ...options, signal: asking.signal }));
      if (asking.signal.aborted) return null;
      this.showAnswer(answer, options);
      return null;
    } catch (error) {
      if (asking.signal.aborted) return null;
      this.showError(error);
      return error;
    } finally {
      if (this.asking === asking) this.element.removeAttribute("aria-busy");
    }
  }

  showAnswer(answer, options) {
    this.part(".working").hidden = true;
    this.part(".rankings").hidden = false;
    show(this.part(".tuned .ranking"), answer.top, options.classes);
    this.part(".zero-shot").hidden = !answer.zero_shot;
    this.part(".tuned h4").hidden = !answer.zero_shot;
    if (answer.zero_shot) show(this.part(".zero-shot .ranking"), answer.zero_shot.top, options.classes);
    const latency = this.part(".latency");
    latency.textContent = `${answer.roundtrip.toFixed(0)} ms (${answer.milliseconds.toFixed(0)} ms in the server)`;
    this.showCommand(options);
    this.say(`${this.file.name}: ${answer.label}, ${percent(answer.probability)}`);
  }

  showCommand(options) {
    this.part(".curl").hidden = false;
    this.part(".command code").textContent = curlCommand(address("v1/predict"), this.file.name, {
      ...options,
      token: hasToken(),
    });
    const where = this.part(".where");
    where.textContent = `Run it in the folder of ${this.file.name}`;
    if (this.pasted) {
      const save = document.createElement("a");
      save.href = this.url;
      save.download = this.file.name;
      save.textContent = "save the pasted image";
      where.append("; first, ", save);
    }
    where.append(hasToken() ? ", with the token in VLPROMPT_TOKEN." : ".");
  }

  showError(error) {
    this.part(".working").hidden = true;
    this.part(".rankings").hidden = true;
    this.part(".curl").hidden = true;
    this.part(".latency").textContent = "";
    this.part(".error").hidden = false;
    const text = error.unreadable ? `This image cannot be read: ${error.message}` : error.message;
    this.unreadable = error.unreadable;
    this.part(".error p").textContent = sentence(text);
    this.part(".retry").hidden = error.unreadable;
  }

  async copy() {
    const code = this.part(".command code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      this.say("Copied");
      const button = this.part(".copy");
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    } catch {
      getSelection().selectAllChildren(code);
      this.say("Selected; copy it with the keyboard");
    }
  }

  close() {
    this.asking?.abort();
    URL.revokeObjectURL(this.url);
    this.element.remove();
  }
}

export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
