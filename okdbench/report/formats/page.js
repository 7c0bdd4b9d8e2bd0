"use strict";
// Sorting and filtering of long tables.
const missing = (text) => text === "" || text === "—";
const number = (text) => {
  const found = text.replace(/[−–]/g, "-").replace(/,/g, "").match(/^[<>+]?(-?\d+(\.\d+)?)/);
  return found ? Number(found[1]) : NaN;
};
const compare = (a, b) => {
  const x = number(a), y = number(b);
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
};
for (const long of document.querySelectorAll(".long")) {
  const body = long.querySelector("tbody"), rows = [...body.rows];
  for (const button of long.querySelectorAll(".sort")) {
    button.addEventListener("click", () => {
      const heading = button.closest("th"), column = heading.cellIndex;
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of long.querySelectorAll("th")) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const text = (row) => row.cells[column].textContent.trim();
      const sorted = [...rows].sort((a, b) => {
        const x = text(a), y = text(b);
        if (missing(x) || missing(y)) return missing(x) - missing(y);
        return down ? compare(y, x) : compare(x, y);
      });
      body.append(...sorted);
    });
  }
  const input = long.querySelector("input"), output = long.querySelector("output");
  if (input) {
    const texts = rows.map((row) => row.textContent.toLowerCase().replace(/\s+/g, " "));
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, index) => {
        row.hidden = !words.every((word) => texts[index].includes(word));
        shown += !row.hidden;
      });
      output.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    });
  }
}

// A cell's details: beside the pointer or the focus, and below its row with the curves once it is pressed.
const tip = document.getElementById("tip");
const content = (cell) => document.getElementById(cell.dataset.cell).content.cloneNode(true);
let timer = 0, pressed = false;
const hide = () => { clearTimeout(timer); tip.hidden = true; };
const hideSoon = () => { clearTimeout(timer); timer = setTimeout(hide, 120); };
const show = (cell) => {
  clearTimeout(timer);
  if (cell.getAttribute("aria-expanded") === "true") return hide();
  const facts = content(cell).querySelector(".facts");
  if (!facts || !facts.childElementCount) return hide();
  tip.replaceChildren(facts);
  tip.hidden = false;
  const at = cell.getBoundingClientRect(), size = tip.getBoundingClientRect(), edge = document.documentElement.clientWidth;
  const below = at.bottom + 6 + size.height < innerHeight || at.top < size.height + 6;
  tip.style.left = `${scrollX + Math.max(8, Math.min(at.left, edge - size.width - 8))}px`;
  tip.style.top = `${scrollY + (below ? at.bottom + 6 : at.top - size.height - 6)}px`;
};
const fold = (cell) => {
  cell.setAttribute("aria-expanded", "false");
  cell.closest("tr").nextElementSibling.remove();
};
const unfold = (cell) => {
  const row = cell.closest("tr");
  const other = row.querySelector('[aria-expanded="true"]');
  if (other) fold(other);
  const more = document.createElement("tr"), box = document.createElement("div"), where = document.createElement("p");
  const inner = document.createElement("div"), close = document.createElement("button"), name = document.createElement("span");
  more.className = "more"; box.className = "box"; where.className = "where"; inner.className = "content"; close.className = "close";
  close.type = "button"; close.textContent = "Close"; name.textContent = cell.dataset.name;
  close.addEventListener("click", () => { fold(cell); cell.focus(); });
  where.append(name, close);
  inner.append(content(cell));
  box.append(where, inner);
  box.addEventListener("keydown", (event) => { if (event.key === "Escape") { fold(cell); cell.focus(); } });
  more.insertCell().append(box);
  more.cells[0].colSpan = Number(cell.closest("table").dataset.columns);
  row.after(more);
  cell.setAttribute("aria-expanded", "true");
};
for (const cell of document.querySelectorAll(".cell")) {
  cell.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") show(cell); });
  cell.addEventListener("pointerleave", hideSoon);
  cell.addEventListener("focus", () => { if (cell.matches(":focus-visible")) show(cell); });
  cell.addEventListener("blur", hide);
  cell.addEventListener("click", () => {
    hide();
    if (cell.getAttribute("aria-expanded") === "true") fold(cell); else unfold(cell);
  });
}
tip.addEventListener("pointerenter", () => clearTimeout(timer));
tip.addEventListener("pointerleave", hideSoon);
addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

// The verdicts above a table: one of them dims all other cells.
for (const chip of document.querySelectorAll(".chip")) {
  chip.addEventListener("click", () => {
    const on = chip.getAttribute("aria-pressed") !== "true", report = chip.closest(".report");
    for (const other of report.querySelectorAll(".chip")) other.setAttribute("aria-pressed", String(on && other === chip));
    for (const cell of report.querySelectorAll(".grid td:has(> .cell)"))
      cell.classList.toggle("dimmed", on && !cell.classList.contains(`v-${chip.dataset.verdict}`));
  });
}
for (const button of document.querySelectorAll(".copy")) {
  if (!navigator.clipboard) { button.hidden = true; continue; }
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent.trim());
    button.textContent = "Copied";
  });
}
addEventListener("beforeprint", () => { for (const each of document.querySelectorAll("details")) each.open = true; });
