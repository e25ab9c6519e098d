"use strict";
// Two things: a slider that fades from an image to its label and its prediction, and the table of scores by image.
const told = JSON.parse(document.getElementById("data").textContent);

function slide(figure) {
  const layers = [...figure.querySelectorAll("img")], input = figure.querySelector("input");
  if (!input) return;
  const names = layers.map((image) => image.alt.split(" of ")[0]), output = figure.querySelector("output");
  const show = () => {
    const at = Number(input.value);
    layers.forEach((image, number) => { image.style.opacity = number === 0 ? 1 : Math.max(0, Math.min(1, at - number + 1)); });
    output.textContent = names[Math.round(at)];
    input.setAttribute("aria-valuetext", names[Math.round(at)]);
  };
  input.addEventListener("input", show);
  show();
}
document.querySelectorAll(".shot").forEach(slide);

function percent(value) { return value === null || value === undefined ? "\u2013" : (value / 10).toFixed(1); }

function scores(place) {
  const { names, classes, miou, iou } = told.scores, columns = [miou, ...iou];
  const select = place.querySelector("select"), order = place.querySelector("button.order"), more = place.querySelector("button.more");
  const body = place.querySelector("tbody"), count = place.querySelector("output");
  let shown = 50, worst = true;
  ["all classes", ...classes].forEach((name, number) => select.add(new Option(name, String(number))));
  const fill = () => {
    const column = columns[Number(select.value)], rows = [];
    for (let at = 0; at < names.length; at += 1) if (column[at] !== null) rows.push(at);
    rows.sort((one, other) => (worst ? 1 : -1) * (column[one] - column[other]) || one - other);
    body.replaceChildren(...rows.slice(0, shown).map((at) => {
      const row = document.createElement("tr"), head = document.createElement("th");
      head.scope = "row"; head.textContent = names[at]; row.append(head);
      const values = Number(select.value) === 0 ? [miou[at]] : [column[at], miou[at]];
      values.forEach((value) => { const cell = document.createElement("td"); cell.textContent = percent(value); row.append(cell); });
      return row;
    }));
    place.querySelector("th.second").hidden = Number(select.value) === 0;
    place.querySelector("th.first").textContent = Number(select.value) === 0 ? "mIoU" : "IoU of " + classes[Number(select.value) - 1];
    count.textContent = `${Math.min(shown, rows.length)} of ${rows.length} images`;
    more.hidden = shown >= rows.length;
    order.textContent = worst ? "worst first" : "best first";
  };
  select.addEventListener("change", () => { shown = 50; fill(); });
  order.addEventListener("click", () => { worst = !worst; fill(); });
  more.addEventListener("click", () => { shown += 200; fill(); });
  fill();
}
const place = document.getElementById("scores");
if (place) scores(place);
