// Grades photographs with the graphs of models/, one at a time, beside the page so that it stays responsive.
const GRAPHS = ["prepare", "network", "draw"];
const MOST = 2 ** 24; // pixels that every browser's canvas holds; larger photographs are reduced to it
const CLOSE = 0.02; // grade units
let [ort, model] = [null, null];
const graphs = {};

// Loads the runtime and the graphs; the processor takes over where the graphics unit fails or computes wrongly.
async function start(about, engine) {
  model = about;
  ort = await import(`./engine/${engine}/ort.${engine}.bundle.min.mjs`);
  ort.env.logLevel = "error";
  for (const name of GRAPHS.filter((graph) => graph !== "draw" || model.explains)) graphs[name] = await load(name, "wasm");
  if (engine === "webgpu") {
    const onProcessor = graphs.network;
    try {
      graphs.network = await load("network", "webgpu");
      if (await isRight()) return { runs: "webgpu" };
    } catch {
      // Whatever it was, the processor can do it.
    }
    graphs.network = onProcessor;
  }
  if (!(await isRight())) throw new Error("This browser computes wrong scores with the model: nothing is graded here.");
  return { runs: "wasm" };
}

async function load(name, provider) {
  const file = await (await fetch(`models/${name}.onnx`)).arrayBuffer();
  return ort.InferenceSession.create(file, { executionProviders: [provider], logSeverityLevel: 3 });
}

// Whether the network gives a plain image the score that it has in Python.
async function isRight() {
  const { size, level, score } = model.check;
  const pixels = new ort.Tensor("float32", new Float32Array(size * size * 3).fill(level), [size, size, 3]);
  const found = await graphs.network.run({ pixels });
  return Math.abs(found.score.data[0] - score) < CLOSE;
}

async function grade(file, say) {
  say("Being read");
  const { scale, ...photograph } = await decode(file);
  say("Being prepared: the retina is looked for");
  const prepared = await graphs.prepare.run(photograph);
  const [center_y, center_x, radius] = prepared.circle.data.map((value) => value / scale);
  const result = { field_of_view: { center_y, center_x, radius }, gradable: prepared.fault.data[0] < 0, message: "" };
  if (!result.gradable) {
    const words = model.faults[prepared.fault.data[0]];
    const message = words.replace("{}", prepared.number.data[0]);
    return { ...result, score: null, grade: null, grade_name: null, referable: null, overlay: null, message };
  }
  say("Being graded");
  const found = await graphs.network.run({ pixels: prepared.pixels });
  [result.score] = found.score.data;
  [result.grade] = found.grade.data;
  result.grade_name = model.grade_names[result.grade];
  result.referable = Boolean(found.referable.data[0]);
  if (found.lesion_scores) result.map_words = outlined(found);
  if (graphs.draw) {
    const { frame, view } = prepared;
    const seen = found.marked ? { marked: found.marked } : { map: found.map };
    result.overlay = await png((await graphs.draw.run({ frame, view, ...seen })).picture);
  }
  return result;
}

// The photograph's pixels, RGBA, upright, in the colours that its file has; throws with a reason if it has none.
async function decode(file) {
  const { refusals, kinds } = model;
  if (!file.size) throw refused(refusals.empty);
  const [head, tail] = await Promise.all(
    [file.slice(0, 16), file.slice(-model.tail)].map(async (part) => latin(await part.arrayBuffer())),
  );
  const kind = Object.keys(kinds).find((name) => head.startsWith(kinds[name].start));
  if (!kind) throw refused(refusals.not_an_image);
  if (!tail.includes(kinds[kind].end)) throw refused(refusals.truncated, kind);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw refused(refusals.damaged, kind);
  }
  const { width, height } = bitmap;
  if (Math.min(width, height) < model.least_side) throw refused(refusals.too_small, width, height);
  if (width * height > model.most_pixels) throw refused(refusals.too_large, width, height);
  const scale = Math.min(1, Math.sqrt(MOST / (width * height)));
  const canvas = new OffscreenCanvas(Math.floor(width * scale), Math.floor(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const photograph = new ort.Tensor("uint8", new Uint8Array(data.buffer), [canvas.height, canvas.width, 4]);
  return { photograph, is_jpeg: new ort.Tensor("bool", [kind === "JPEG"], []), scale };
}

function refused(words, ...values) {
  const reason = values.reduce((text, value) => text.replace("{}", value), words);
  return new Error(`This file can't be graded: ${reason}.`);
}

function latin(buffer) {
  return String.fromCharCode(...new Uint8Array(buffer));
}

// One sentence on what is outlined, and what each kind of lesion adds to the score.
function outlined({ score, lesion_scores, context_score }) {
  const signed = (value) => (value < 0 ? "" : "+") + value.toFixed(2);
  const { lesions, look, sentence, least } = model.outlined;
  const added = [...lesion_scores.data];
  const [context] = context_score.data;
  const rest = score.data[0] - added.reduce((sum, part) => sum + part, 0) - context;
  const values = {
    lesions: lesions.map((words, k) => words.replace("{added}", signed(added[k]))).join("; "),
    look: Math.abs(context) < least ? "" : look.replace("{added}", signed(context)),
    rest: rest.toFixed(2),
  };
  return sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

async function png({ data, dims: [height, width] }) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(data), width, height), 0, 0);
  return new FileReaderSync().readAsDataURL(await canvas.convertToBlob({ type: "image/png" }));
}

let before = Promise.resolve();
addEventListener("message", ({ data: { number, model: about, engine, file } }) => {
  const say = (step) => postMessage({ number, step });
  before = before.then(async () => {
    try {
      postMessage({ number, answer: file ? await grade(file, say) : await start(about, engine) });
    } catch (error) {
      postMessage({ number, error: error.message || String(error) });
    }
  });
});
