// Rankings: classes with bars; rows move to their new places.

const SHOWN = 5;
const still = matchMedia("(prefers-reduced-motion: reduce)");

export const percent = (share) => {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1%";
  return `${value.toFixed(1)}%`;
};

const ordinals = new Intl.PluralRules("en", { type: "ordinal" });
const ordinal = (place) => `${place}${{ one: "st", two: "nd", few: "rd", other: "th" }[ordinals.select(place)]}`;

// Show a ranking in a list: the top classes, then those that the page `added`, with their ranks.
export function show(list, ranking, added) {
  const before = new Map([...list.children].map((row) => [row.dataset.label, row]));
  const places = new Map([...before].map(([label, row]) => [label, row.getBoundingClientRect().top]));
  const rows = ranking.map(({ label, probability, rank }) => {
    const row = before.get(label) ?? makeRow(label);
    row.classList.toggle("added", added.includes(label));
    row.classList.toggle("beyond", rank > SHOWN);
    row.querySelector(".tag").hidden = !added.includes(label);
    row.querySelector(".tag").textContent = rank > SHOWN ? `added, ${ordinal(rank)}` : "added";
    row.querySelector(".share").textContent = percent(probability);
    return row;
  });
  list.replaceChildren(...rows);
  rows.forEach((row, place) => {
    const had = places.get(row.dataset.label);
    const moved = had === undefined ? 0 : had - row.getBoundingClientRect().top;
    if (moved && !still.matches) {
      row.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], { duration: 350, easing: "ease-out" });
    } else if (had === undefined && before.size && !still.matches) {
      row.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 350 });
    }
    // One frame later, so that a new bar grows from zero.
    requestAnimationFrame(() => row.querySelector(".fill").style.setProperty("width", `${100 * ranking[place].probability}%`));
  });
}

function makeRow(label) {
  const row = document.createElement("li");
  row.dataset.label = label;
  const name = element("span", "label", label);
  const bar = element("span", "bar");
  bar.setAttribute("aria-hidden", "true");
  bar.append(element("span", "fill"));
  name.dir = "auto";
  name.append(element("span", "tag"));
  row.append(name, element("span", "share"), bar);
  return row;
}

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
