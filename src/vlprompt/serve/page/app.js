// The page: pictures come in, classes are added, answers follow.

import { addClasses, readClasses, setToken } from "./api.js";
import { Card, sentence } from "./cards.js";
import { element } from "./ranking.js";

const MOST_CARDS = 24;
const MOST_OWN = 20;
const MOST_SHOWN = 200;
const FILTER_FROM = 20;

const $ = (id) => document.getElementById(id);
const cards = [];
let own = [];
let server = { classes: [] };
let pasted = 0;

const wishes = () => ({ classes: [...own], compare: $("compare").checked });

function say(text) {
  $("said").textContent = text;
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

// Pictures.

function addFiles(files, fromClipboard = false) {
  if ($("main").hidden) return;
  const taken = [...files].slice(0, MOST_CARDS);
  notice(files.length > MOST_CARDS ? `The first ${MOST_CARDS} of ${files.length} pictures are shown.` : "");
  for (const file of taken) {
    const card = new Card(fromClipboard ? named(file) : file, { wishes, say, remove, pasted: fromClipboard });
    cards.unshift(card);
    $("cards").prepend(card.element);
    ask(card);
  }
  while (cards.length > MOST_CARDS) cards.pop().close();
  arrange();
  look();
}

// The clipboard calls every picture image.png.
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

// Where answers stand below everything else, they come into view when they change.
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
    ...found.slice(0, MOST_SHOWN).map((name) => {
      const item = element("li", "", name);
      item.dir = "auto";
      return item;
    }),
  );
  const more = found.length - MOST_SHOWN;
  $("more").textContent = found.length === 0 ? "None." : more > 0 ? `and ${more.toLocaleString("en")} more` : "";
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
    say(`${name} is removed`);
  });
  item.append(text, button);
  return item;
}

async function addOwn(event) {
  event.preventDefault();
  const name = $("name").value.replaceAll("_", " ").trim().normalize("NFC");
  const there = [...server.classes, ...own].find((other) => other.toLowerCase() === name.toLowerCase());
  const problem = !name
    ? "Give it a name."
    : there
      ? `There is a class “${there}” already.`
      : own.length === MOST_OWN
        ? `${MOST_OWN} classes can be added; remove one first.`
        : "";
  $("add-says").textContent = problem;
  if (problem) return;
  own = [...own, name];
  $("name").value = "";
  showClasses();
  say(`${name} is added`);
  const readable = cards.filter((card) => !card.unreadable);
  if (!readable.length) return;
  look();
  // The first picture that can be read says whether the server takes the class at all.
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
    say("Everyone has these classes now");
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
  // What is hidden takes the focus with it.
  if (unlocked) $("files").focus();
  $("model").textContent = `${server.method} prompts, ${server.backbone}`;
  $("comparison").hidden = !server.comparable;
  if (!server.open_vocabulary) {
    for (const part of $("add").elements) part.disabled = true;
    $("add-says").textContent = "These prompts belong to the classes they were tuned for, so none can be added.";
  }
  showClasses();
  cards.filter((card) => !card.part(".error").hidden).forEach(ask);
}

function lock() {
  $("main").hidden = true;
  $("unlock").hidden = false;
  if ($("token").value) notice("That is not this server's token.");
  $("token").focus();
}

$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("token").value.trim());
  start();
});

// Ways in.

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
  else notice("That was no file; drop a picture from a folder of yours.");
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
  say("All are removed");
});

start();
