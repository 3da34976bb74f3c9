"use strict";

// Theme: what the system says until the button is used. "#theme=dark" opens a page in a theme.
const root = document.documentElement;
const toggle = document.getElementById("theme");

function remembered() {
  const asked = /^#theme=(light|dark)$/.exec(location.hash);
  if (asked) return asked[1];
  try { return localStorage.getItem("theme"); } catch { return null; }
}

function dark() {
  return root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
}

function show(theme) {
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  toggle.textContent = dark() ? "Light theme" : "Dark theme";
}

toggle.hidden = false;
toggle.addEventListener("click", () => {
  const theme = dark() ? "light" : "dark";
  show(theme);
  try { localStorage.setItem("theme", theme); } catch { /* a page opened as a file may not store */ }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show());
show(remembered());

// Tables: a button in each column's head sorts its rows; what is unknown stays at the end.
function value(row, column) {
  const text = row.cells[column].dataset.value;
  if (text === undefined) return null;
  return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number"
    ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true });
}

function sort(table, head) {
  const rising = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].sort((left, right) => {
    const [a, b] = [value(left, head.cellIndex), value(right, head.cellIndex)];
    if (a === null || b === null) return (a === null) - (b === null);
    return rising ? compare(a, b) : compare(b, a);
  });
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    const name = head.querySelector(".head");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    name.replaceWith(button);
    button.append(name);
    button.addEventListener("click", () => sort(table, head));
  }
}

// Questions: the filter hides blocks and says how many are left.
const filters = [...document.querySelectorAll("button[data-filter]")];
const questions = [...document.querySelectorAll("details.question")];

function choose(button) {
  for (const other of filters) other.setAttribute("aria-pressed", String(other === button));
  const tag = button.dataset.filter;
  let left = 0;
  for (const question of questions) {
    const tags = (question.dataset.tags || "").split(" ");
    question.hidden = tag !== "all" && !tags.includes(tag);
    left += question.hidden ? 0 : 1;
  }
  document.getElementById("shown").textContent = `${left} of ${questions.length} shown`;
}

for (const button of filters) button.addEventListener("click", () => choose(button));

function openTarget() {
  const target = questions.find((question) => `#${question.id}` === location.hash);
  if (!target) return;
  target.open = true;
  target.scrollIntoView();
}

addEventListener("hashchange", openTarget);
openTarget();
