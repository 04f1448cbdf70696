// Where the page's answers come from: the model in this page's worker. No photograph leaves the browser.
const model = JSON.parse(document.body.dataset.model);
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]; // the smallest module with a vector in it
const waiting = new Map(); // number of a question -> what its answer does
let [worker, asked, blanks] = [null, 0, null]; // blanks: of reports

export const AT_ONCE = 1; // photographs: a phone's memory holds no more
export const KEEPS =
  "Photographs are graded by this page itself: none leaves this device, and none is kept.";

// Fetches the model, for use without a network too; throws where this browser can't run it.
export async function start(say) {
  if (!globalThis.WebAssembly || !WebAssembly.validate(new Uint8Array(SIMD))) {
    throw new Error(
      "This browser can't run the model: it lacks WebAssembly with SIMD. Any Chrome, Edge or Firefox since 2021 and " +
        "Safari since 2023 has it.",
    );
  }
  const engine = new URL(location).searchParams.get("engine") ?? (await fastest());
  await keep(engine, say);
  say("Loading the model.");
  worker = new Worker("worker.js", { type: "module" });
  worker.addEventListener("message", ({ data }) => hear(data));
  worker.addEventListener("error", () => {
    for (const { fail } of waiting.values()) fail(new Error("The model stopped. Load this page again."));
  });
  blanks = await (await fetch("report.json")).json();
  const { runs } = await ask({ model, engine }, () => {});
  navigator.serviceWorker?.removeEventListener("controllerchange", loadAgain);
  document.body.dataset.runs = runs;
  say("");
}

export async function grade(file, say) {
  return ask({ file }, say);
}

export async function report(file, result) {
  const values = {
    ...result,
    name: file.name.replace(/\p{Cc}+/gu, " ").slice(0, model.longest_name) || "One photograph",
    time: `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`,
    words: result.map_words,
    photograph: bytes(await reduced(file)),
  };
  if (result.grade !== null) {
    [values.low, values.high] = model.limits.slice(result.grade);
    values.score = result.score.toFixed(2);
    values.referable = result.referable_words;
    values.picture = bytes(result.overlay ?? "");
  }
  const page = blanks[result.grade === null ? "refused" : "graded"];
  return new Blob([page.replace(/\[\[(\w+)\]\]/g, (_, blank) => escaped(String(values[blank])))], { type: "text/html" });
}

// The graphics unit, unless there is none or a program plays one.
async function fastest() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return adapter && !adapter.info?.isFallbackAdapter ? "webgpu" : "wasm";
}

// Lets the service worker fetch the site, which then opens without a network, and as a page whose model may use
// several threads. Without one, as in some private windows, the page works as long as the network does. Where a version
// gets to work while this page loads, it loads again, so that all of it is of one version.
async function keep(engine, say) {
  if (!navigator.serviceWorker) return;
  navigator.serviceWorker.addEventListener("controllerchange", loadAgain);
  try {
    const options = { updateViaCache: "none" }; // else an old list of files would count as today's
    const registration = await navigator.serviceWorker.register(`service_worker.js?engine=${engine}`, options);
    if (registration.active) return; // an update that is fetched now is for the next load
    say(`Fetching the model, ${Math.round(model.megabytes[engine])} MB, once: this page then works offline too.`);
    await refused(registration);
  } catch {
    // No room, or no network: this time the page works without it.
  }
}

function loadAgain() {
  location.reload();
}

// Settles when the browser gives the worker up; where it is set to work instead, this page loads again.
function refused({ installing }) {
  return new Promise((resolve) => {
    installing.addEventListener("statechange", () => {
      if (installing.state === "redundant") resolve();
    });
  });
}

function ask(question, say) {
  asked += 1;
  return new Promise((answer, fail) => {
    waiting.set(asked, { answer, fail, say });
    worker.postMessage({ ...question, number: asked });
  });
}

function hear({ number, step, error, answer }) {
  const asker = waiting.get(number);
  if (step) {
    asker.say(step);
    return;
  }
  waiting.delete(number);
  if (error) asker.fail(new Error(error));
  else asker.answer(answer);
}

// The photograph as a JPEG, upright, at most as large as a report shows it, as a data: address.
async function reduced(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, model.report_side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height].map((side) => Math.round(side * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL("image/jpeg", 0.95);
}

function bytes(address) {
  return address.slice(address.indexOf(",") + 1);
}

function escaped(text) {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
