// Shows what each photograph's grade is, one by one; source.js says where the answers come from. Keeps nothing.
import * as source from "./source.js";

const model = JSON.parse(document.body.dataset.model);
const element = (id) => document.getElementById(id);
const results = element("results");
const queue = [];
const MAPS = {
  explain: {
    alt: "Regression activation map over the photograph",
    words: "What leads to the score: red regions raise it, blue ones lower it, the outlined ones raise it most.",
  },
  occlude: {
    alt: "Occlusion map over the photograph",
    words: "What the score loses when a part is hidden: red parts raise it, blue ones lower it, the outlined ones raise it most.",
  },
};
let ready = false;
let running = 0;
let shown = 0; // photographs with maps, for the names of their buttons
// Of the photographs sent since all were last done: all, those done, and those among them that got a grade.
let [total, done, graded] = [0, 0, 0];

function show(item, before) {
  const card = element("result").content.firstElementChild.cloneNode(true);
  card.querySelector("h3").textContent = item.file.name || "Photograph";
  results.insertBefore(card, before);
  item.card = card;
  element("clear").hidden = false;
}

function fact(name, value, remark) {
  const box = document.createElement("div");
  for (const [tag, text] of [["dt", name], ["dd", value]]) {
    box.appendChild(document.createElement(tag)).textContent = text;
  }
  if (remark) box.lastElementChild.appendChild(document.createElement("small")).textContent = remark;
  return box;
}

function range(grade) {
  if (!model.thresholds) return "";
  const [low, high] = [model.thresholds[grade - 1], model.thresholds[grade]].map((cut) => cut?.toFixed(2));
  if (low === undefined) return `this grade: below ${high}`;
  return high === undefined ? `this grade: ${low} and above` : `this grade: ${low} to below ${high}`;
}

function fill(item, result) {
  const { card, file } = item;
  const original = result.photograph ?? URL.createObjectURL(file);
  for (const image of card.querySelectorAll(".original")) image.src = original;
  const [facts, heading] = [card.querySelector("dl"), card.querySelector(".grade")];
  heading.hidden = false;
  if (result.grade === null) {
    heading.textContent = "Not gradable";
    problem(item, `This photograph can't be graded: ${result.message}.`);
  } else {
    heading.textContent = `Grade ${result.grade}: ${result.grade_name}`;
    graded += 1;
    facts.append(
      fact("Score, about 0 to 4", result.score.toFixed(2), range(result.grade)),
      fact("Referable", result.referable_words, "moderate NPDR or worse"),
      fact("Gradable", "yes", "lit, in focus and whole"),
    );
  }
  if (result.gradable && (model.explains || model.occludes)) offerMaps(item, result);
  if (result.remark) problem(item, result.remark);
  const button = card.querySelector(".report");
  button.setAttribute("aria-label", `Download report of ${file.name || "the photograph"}`);
  button.addEventListener("click", () => download(item, result, button));
  card.querySelector(".answer").hidden = false;
}

// Shows the map that came with the grade, and lets others be chosen; each is asked for once, when it is wanted.
function offerMaps(item, { overlay: first, map_words: outlined }) {
  const map = item.card.querySelector(".map");
  const [overlay, words, slider] = [".overlay", "figcaption", "input[type=range]"].map((part) => map.querySelector(part));
  const kept = first ? { explain: first } : {};
  const offered = { explain: model.explains, occlude: model.occludes };
  map.querySelector(".method").hidden = !(model.explains && model.occludes); // one alone is no choice
  shown += 1;
  const choose = async (button) => {
    const method = button.value;
    overlay.hidden = map.querySelector(".scale").hidden = true;
    if (!kept[method]) {
      words.textContent = "Being computed: the photograph is graded again with each part of it hidden.";
      try {
        kept[method] = await source.overlay(method, item.file);
      } catch (error) {
        words.textContent = error.message;
        button.checked = false;
        return;
      }
    }
    if (!button.checked) return; // another one was chosen meanwhile
    overlay.src = kept[method];
    overlay.hidden = false;
    if (outlined && method === "explain") {
      overlay.alt = "Lesions outlined on the photograph";
      words.textContent = outlined;
      return;
    }
    overlay.alt = MAPS[method].alt;
    showScale(map.querySelector(".scale"), model.map_limits[method]);
    words.textContent = MAPS[method].words;
  };
  for (const button of map.querySelectorAll("input[type=radio]")) {
    button.name = `method${shown}`;
    button.parentElement.hidden = !offered[button.value];
    if (outlined && button.value === "explain") button.nextSibling.textContent = "Lesions";
    if (outlined && !offered.occlude) slider.parentElement.firstChild.textContent = "Opacity of the outlines";
    button.addEventListener("change", () => choose(button));
    if (button.value === "explain" && first) {
      button.checked = true;
      choose(button);
    }
  }
  const fade = () => {
    overlay.style.opacity = slider.value / 100;
    slider.setAttribute("aria-valuetext", `${slider.value} percent`);
  };
  slider.addEventListener("input", fade);
  fade();
  map.hidden = false;
}

// Says at which values the colours of a map end, in grade units.
function showScale(scale, limit) {
  const [low, , high] = scale.children;
  low.textContent = `\u2212${limit}`;
  high.textContent = `+${limit} grade ${limit === 1 ? "unit" : "units"}`;
  scale.hidden = false;
}

function problem(item, text) {
  const place = item.card.querySelector(".problem");
  place.textContent = text;
  place.hidden = false;
}

async function download(item, result, button) {
  button.disabled = true;
  try {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await source.report(item.file, result));
    link.download = `${(item.file.name || "photograph").replace(/\.[^.]*$/, "")}_report.html`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  } catch (error) {
    problem(item, error.message);
  }
  button.disabled = false;
}

function tell(last) {
  let text = `${done} of ${total} done. ${last}`;
  if (done === total) text = total === 1 ? `Done. ${last}` : `Done. ${graded} of ${total} photographs graded.`;
  element("status").textContent = text;
}

async function grade(item) {
  const wait = item.card.querySelector(".wait");
  const say = (text) => {
    wait.textContent = text;
  };
  say("Being graded");
  let said;
  try {
    const result = await source.grade(item.file, say);
    if (!item.card.isConnected) return;
    fill(item, result);
    said = item.card.querySelector(".grade").textContent;
  } catch (error) {
    problem(item, error.message);
    said = "no grade";
  }
  wait.hidden = true;
  done += 1;
  tell(`${item.file.name || "Photograph"}: ${said}.`);
}

async function next() {
  if (running >= source.AT_ONCE || !queue.length) return;
  running += 1;
  await grade(queue.shift());
  running -= 1;
  next();
}

function add(files) {
  if (!ready) return;
  if (done === total) done = total = graded = 0;
  const before = results.firstElementChild; // the newest on top, in the order in which they were chosen
  for (const file of files) {
    const item = { file };
    show(item, before);
    queue.push(item);
    total += 1;
  }
  if (files.length) element("status").textContent = `Grading ${total === 1 ? "1 photograph" : `${total} photographs`}.`;
  for (let k = 0; k < source.AT_ONCE; k += 1) next();
}

const choosers = [element("choose"), element("take")];
for (const input of choosers) {
  input.addEventListener("change", (event) => {
    add([...event.target.files]);
    event.target.value = ""; // so that the same file can be chosen again
  });
}
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  add([...event.dataTransfer.files]);
});
element("clear").addEventListener("click", () => {
  for (const image of results.querySelectorAll(".original")) URL.revokeObjectURL(image.src);
  queue.length = 0;
  done = total = graded = 0;
  results.replaceChildren();
  element("clear").hidden = true;
  element("status").textContent = "Cleared.";
  element("choose").focus();
});
element("about").textContent = `Model ${model.name}, version ${model.version}. Grades on the ICDR scale, 0 to 4.`;
element("sha256").textContent = model.sha256 ? `SHA-256 of the model's weights: ${model.sha256}` : "";
element("keeps").textContent = source.KEEPS;

try {
  await source.start((text) => {
    element("status").textContent = text;
  });
  for (const input of choosers) input.disabled = false;
  ready = true;
} catch (error) {
  element("status").textContent = "";
  element("trouble").textContent = error.message;
  element("trouble").hidden = false;
}
