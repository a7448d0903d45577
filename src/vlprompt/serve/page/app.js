// The page: takes images and classes, shows predictions.

import { addClasses, readClasses, setToken } from "./api.js";
import { Card, sentence } from "./cards.js";
import { element } from "./ranking.js";

const MAX_CARDS = 24;
const MAX_OWN = 20;
const MAX_SHOWN = 200;
const FILTER_FROM = 20;

const $ = (id) => document.getElementById(id);
const cards = [];
let own = [];
let server = { classes: [] };
let pasted = 0;

const options = () => ({ classes: [...own], compare: $("compare").checked });

function say(text) {
  $("said").textContent = text;
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

// Images.

function addFiles(files, fromClipboard = false) {
  if ($("main").hidden) return;
  const taken = [...files].slice(0, MAX_CARDS);
  notice(files.length > MAX_CARDS ? `Only the first ${MAX_CARDS} of ${files.length} images were added.` : "");
  for (const file of taken) {
    const card = new Card(fromClipboard ? named(file) : file, { options, say, remove, pasted: fromClipboard });
    cards.unshift(card);
    $("cards").prepend(card.element);
    ask(card);
  }
  while (cards.length > MAX_CARDS) cards.pop().close();
  arrange();
  look();
}

// Browsers call every pasted image image.png.
function named(file) {
  pasted += 1;
  const ending = file.type.split("/")[1]?.replace(/\W.*/, "") || "png";
  return new File([file], `pasted-${pasted}.${ending}`, { type: file.type });
}

async function ask(card) {
  const error = await card.ask();
  if (error?.status === 401) lock();
}

function remove(card) {
  const place = cards.indexOf(card);
  cards.splice(place, 1);
  card.close();
  arrange();
  const next = cards[Math.min(place, cards.length - 1)];
  (next?.part(".remove") ?? $("answers")).focus();
  say("Removed");
}

// On narrow screens predictions are below everything else: scroll to them when they change.
function look() {
  if (matchMedia("(max-width: 899px)").matches) $("answers").scrollIntoView();
}

function arrange() {
  document.body.classList.toggle("shown", cards.length > 0);
  $("empty").hidden = cards.length > 0;
  $("clear").hidden = cards.length < 2;
}

const askAgain = () => cards.filter((card) => !card.unreadable).forEach(ask);

// Classes.

function showClasses() {
  const total = server.classes.length + own.length;
  $("count").textContent = `${total.toLocaleString("en")}`;
  $("own").replaceChildren(...own.map(chip));
  $("own-note").hidden = own.length === 0;
  $("share").hidden = !server.editable;
  $("find").hidden = server.classes.length < FILTER_FROM;
  showKnown();
}

function showKnown() {
  const wanted = $("find").value.trim().toLowerCase();
  const found = server.classes.filter((name) => name.toLowerCase().includes(wanted));
  $("known").replaceChildren(
    ...found.slice(0, MAX_SHOWN).map((name) => {
      const item = element("li", "", name);
      item.dir = "auto";
      return item;
    }),
  );
  const more = found.length - MAX_SHOWN;
  $("more").textContent = found.length === 0 ? "No matches." : more > 0 ? `and ${more.toLocaleString("en")} more` : "";
}

function chip(name) {
  const item = element("li", "mine");
  const text = element("span", "", name);
  text.dir = "auto";
  const button = element("button", "icon", "×");
  button.setAttribute("aria-label", `Remove the class ${name}`);
  button.addEventListener("click", () => {
    own = own.filter((other) => other !== name);
    showClasses();
    askAgain();
    $("name").focus();
    say(`Removed class ${name}`);
  });
  item.append(text, button);
  return item;
}

async function addOwn(event) {
  event.preventDefault();
  const name = $("name").value.replaceAll("_", " ").trim().normalize("NFC");
  const known = [...server.classes, ...own].find((other) => other.toLowerCase() === name.toLowerCase());
  const problem = !name
    ? "Enter a name."
    : known
      ? `Class “${known}” already exists.`
      : own.length === MAX_OWN
        ? `At most ${MAX_OWN} classes can be added; remove one first.`
        : "";
  $("add-says").textContent = problem;
  if (problem) return;
  own = [...own, name];
  $("name").value = "";
  showClasses();
  say(`Added class ${name}`);
  const readable = cards.filter((card) => !card.unreadable);
  if (!readable.length) return;
  look();
  // The first readable image shows whether the server accepts the class at all.
  let error = await readable[0].ask();
  while (error?.unreadable && readable.length > 1) {
    readable.shift();
    error = await readable[0].ask();
  }
  if (error && !error.unreadable && [409, 422].includes(error.status) && own.includes(name)) {
    own = own.filter((other) => other !== name);
    showClasses();
    $("add-says").textContent = sentence(error.message);
    ask(readable[0]);
  } else {
    readable.slice(1).forEach(ask);
  }
}

async function share() {
  try {
    server = await addClasses(own);
    own = [];
    showClasses();
    $("name").focus();
    say("Added for all users");
    askAgain();
  } catch (error) {
    $("add-says").textContent = sentence(error.message);
  }
}

// The server.

async function start() {
  try {
    server = await readClasses();
  } catch (error) {
    if (error.status === 401) lock();
    else notice(error.message);
    return;
  }
  notice("");
  const unlocked = !$("unlock").hidden;
  $("unlock").hidden = true;
  $("main").hidden = false;
  // The focus was in the form that is now hidden.
  if (unlocked) $("files").focus();
  $("model").textContent = `${server.method} prompts, ${server.backbone}`;
  $("comparison").hidden = !server.comparable;
  if (!server.open_vocabulary) {
    for (const part of $("add").elements) part.disabled = true;
    $("add-says").textContent = "These prompts are specific to the classes they were tuned for, so no others can be added.";
  }
  showClasses();
  cards.filter((card) => !card.part(".error").hidden).forEach(ask);
}

function lock() {
  $("main").hidden = true;
  $("unlock").hidden = false;
  if ($("token").value) notice("Wrong token.");
  $("token").focus();
}

$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("token").value.trim());
  start();
});

// Input.

$("files").addEventListener("change", () => {
  addFiles($("files").files);
  $("files").value = "";
});
addEventListener("paste", (event) => {
  const files = event.clipboardData?.files ?? [];
  if (files.length) {
    event.preventDefault();
    addFiles(files, true);
  }
});
for (const type of ["dragenter", "dragover"]) {
  addEventListener(type, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dragging");
  });
}
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (event.dataTransfer.files.length) addFiles(event.dataTransfer.files);
  else notice("That was not a file. Drop an image file from your computer.");
});
$("add").addEventListener("submit", addOwn);
$("name").addEventListener("input", () => ($("add-says").textContent = ""));
$("share").addEventListener("click", share);
$("find").addEventListener("input", showKnown);
$("compare").addEventListener("change", askAgain);
$("clear").addEventListener("click", () => {
  while (cards.length) cards.pop().close();
  arrange();
  $("answers").focus();
  say("Removed all images");
});

start();
