"use strict";
// The page is readable without this script, which filters and sorts rows, hides methods and saves the records.
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
const filter = document.getElementById("filter");
const hidden = new Set();
document.querySelector(".controls").hidden = false;

function apply() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const body of all("table.rows tbody")) {
    const head = body.querySelector("tr.group");
    const group = head ? head.textContent : "";
    let some = false;
    for (const row of all("tr:not(.group)", body)) {
      const text = (group + " " + row.textContent).toLowerCase();
      const fits = words.every((word) => text.includes(word)) && !hidden.has(row.dataset.method);
      row.classList.toggle("off", !fits);
      some = some || fits;
      shown += fits;
    }
    if (head) head.classList.toggle("off", !some);
  }
  for (const details of all("details.more")) {
    const rows = all("table.rows tbody tr:not(.group)", details);
    if (!rows.length) continue;
    const found = rows.filter((row) => !row.classList.contains("off")).length;
    const count = details.querySelector("summary .count");
    if (count) count.textContent = words.length ? `${found} of ${rows.length}` : `${rows.length}`;
    if (words.length && found && !details.open) details.dataset.opened = details.open = true;
    if (!words.length && details.dataset.opened) { details.open = false; delete details.dataset.opened; }
  }
  document.getElementById("found").textContent = words.length ? `${shown} rows` : "";
}
filter.addEventListener("input", apply);

for (const chip of all(".chip")) {
  chip.addEventListener("click", () => {
    const on = chip.getAttribute("aria-pressed") === "false";
    chip.setAttribute("aria-pressed", on);
    if (on) hidden.delete(chip.dataset.method); else hidden.add(chip.dataset.method);
    for (const drawn of all(`svg .method-${chip.dataset.method}, .key [data-method="${chip.dataset.method}"]`)) {
      drawn.classList.toggle("off", !on);
    }
    apply();
  });
}

function sort(table, place, heading) {
  const numbers = all("tbody tr:not(.group)", table).some((row) => "value" in row.cells[place].dataset);
  const first = numbers ? "descending" : "ascending";
  const next = heading.getAttribute("aria-sort") === first ? (numbers ? "ascending" : "descending") : first;
  for (const other of all("thead th", table)) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", next);
  const key = (row) => {
    const cell = row.cells[place];
    if (!numbers) return cell.textContent.trim();
    return "value" in cell.dataset ? Number(cell.dataset.value) : null;
  };
  const order = (a, b) => (numbers ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  for (const body of table.tBodies) {
    const rows = all("tr:not(.group)", body).map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // rows without a number go last in both directions
      return next === "descending" ? order(b, a) : order(a, b);
    });
    for (const [, row] of rows) body.append(row);
  }
}
for (const table of all("table.rows")) {
  all("thead th", table).forEach((heading, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(table, place, heading));
    heading.append(button);
  });
}

document.getElementById("save").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([document.getElementById("records").textContent], { type: "application/json" }));
  link.download = "records.json";
  link.click();
  URL.revokeObjectURL(link.href);
});
