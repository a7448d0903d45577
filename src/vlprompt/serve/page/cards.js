// A picture and its answer.

import { address, hasToken, predict } from "./api.js";
import { curlCommand } from "./curl.js";
import { percent, show } from "./ranking.js";

const AT_A_TIME = 4;
const template = document.querySelector("#card");

let busy = 0;
const waiting = [];

// Requests of all cards go out a few at a time.
async function inTurn(work) {
  if (busy >= AT_A_TIME) await new Promise((resolve) => waiting.push(resolve));
  busy += 1;
  try {
    return await work();
  } finally {
    busy -= 1;
    waiting.shift()?.();
  }
}

export class Card {
  // `wishes()` are the classes to add and whether to compare; `say(text)` is read out.
  constructor(file, { wishes, say, remove, pasted }) {
    this.file = file;
    this.wishes = wishes;
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
      this.part(".no-picture").hidden = false;
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

  // Ask the server, and show what it says; an answer to an older question is not shown.
  async ask() {
    this.asking?.abort();
    const asking = new AbortController();
    this.asking = asking;
    this.element.setAttribute("aria-busy", "true");
    this.part(".error").hidden = true;
    const wishes = this.wishes();
    try {
      const answer = await inTurn(() => predict(this.file, { ...wishes, signal: asking.signal }));
      if (asking.signal.aborted) return null;
      this.showAnswer(answer, wishes);
      return null;
    } catch (error) {
      if (asking.signal.aborted) return null;
      this.showError(error);
      return error;
    } finally {
      if (this.asking === asking) this.element.removeAttribute("aria-busy");
    }
  }

  showAnswer(answer, wishes) {
    this.part(".working").hidden = true;
    this.part(".rankings").hidden = false;
    show(this.part(".tuned .ranking"), answer.top, wishes.classes);
    this.part(".zero-shot").hidden = !answer.zero_shot;
    this.part(".tuned h4").hidden = !answer.zero_shot;
    if (answer.zero_shot) show(this.part(".zero-shot .ranking"), answer.zero_shot.top, wishes.classes);
    const latency = this.part(".latency");
    latency.textContent = `${answer.roundtrip.toFixed(0)} ms, ${answer.milliseconds.toFixed(0)} of them in the server`;
    this.showCommand(wishes);
    this.say(`${this.file.name}: ${answer.label}, ${percent(answer.probability)}`);
  }

  showCommand(wishes) {
    this.part(".curl").hidden = false;
    this.part(".command code").textContent = curlCommand(address("v1/predict"), this.file.name, {
      ...wishes,
      token: hasToken(),
    });
    const where = this.part(".where");
    where.textContent = `Run it in the folder that holds ${this.file.name}`;
    if (this.pasted) {
      const save = document.createElement("a");
      save.href = this.url;
      save.download = this.file.name;
      save.textContent = "save the pasted picture";
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
    const text = error.unreadable ? `This picture cannot be read: ${error.message}` : error.message;
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
      this.say("Selected; copy it with your keyboard");
    }
  }

  close() {
    this.asking?.abort();
    URL.revokeObjectURL(this.url);
    this.element.remove();
  }
}

export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
