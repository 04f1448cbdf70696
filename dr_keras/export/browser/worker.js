// Grades photographs with the graphs of models/, one at a time, beside the page so that it stays responsive.
const MOST = 2 ** 24; // pixels that every browser's canvas holds; larger photographs are reduced to it
const CLOSE = 0.02; // grade units
let [processor, network, model] = [null, null, null]; // a runtime, what runs the network, what the page knows
const graphs = {};

// Loads the graphs. The network runs on the graphics unit, unless that fails or computes wrongly.
async function start(about, engine) {
  model = about;
  processor = await runtime("wasm");
  for (const name of model.explains ? ["prepare", "draw"] : ["prepare"]) graphs[name] = await load(processor, name, "wasm");
  if (engine === "webgpu") {
    try {
      network = await networkOn(await runtime("webgpu"), "webgpu");
      return { runs: "webgpu" };
    } catch {
      // Whatever it was, the processor can do it.
    }
  }
  network = await networkOn(processor, "wasm");
  return { runs: "wasm" };
}

async function runtime(engine) {
  const ort = await import(`./engine/${engine}/ort.${engine}.bundle.min.mjs`);
  ort.env.logLevel = "error";
  if (engine === "webgpu") ort.env.wasm.numThreads = 1;
  return ort;
}

async function load(ort, name, provider) {
  const file = await (await fetch(`models/${name}.onnx`)).arrayBuffer();
  return ort.InferenceSession.create(file, { executionProviders: [provider], logSeverityLevel: 3 });
}

// A function that runs the network, which is tried first: a plain image must have the score that it has in Python.
async function networkOn(ort, provider) {
  const graph = await load(ort, "network", provider);
  const run = (pixels, dims) => graph.run({ pixels: new ort.Tensor("float32", pixels, dims) });
  const { size, level, score } = model.check;
  const found = await run(new Float32Array(size * size * 3).fill(level), [size, size, 3]);
  if (Math.abs(found.score.data[0] - score) < CLOSE) return run;
  throw new Error("This browser computes wrong scores with the model: nothing is graded here.");
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
  const found = await network(prepared.pixels.data, prepared.pixels.dims);
  [result.score] = found.score.data;
  result.grade = model.thresholds.filter((cut) => result.score >= cut).length;
  result.grade_name = model.grade_names[result.grade];
  result.referable = result.grade >= model.referable_grade;
  result.referable_words = result.referable ? "yes" : "no";
  if (model.calibration) {
    const [slope, ...cuts] = model.calibration;
    result.referable_probability = 1 / (1 + Math.exp(cuts[model.referable_grade - 1] - slope * result.score));
    result.referable_words += `; probability of referable disease ${result.referable_probability.toFixed(2)}`;
  }
  if (found.lesion_scores) result.map_words = outlined(found);
  if (graphs.draw) {
    const { frame, view } = prepared;
    const seen = found.marked ? "marked" : "map";
    const { type, data, dims } = found[seen];
    const drawn = await graphs.draw.run({ frame, view, [seen]: new processor.Tensor(type, data, dims) });
    result.overlay = await png(drawn.picture);
  }
  return result;
}

// The photograph's pixels, RGBA, upright, in the colours that its file has; throws with a reason if it has none.
async function decode(file) {
  const { refusals, kinds } = model;
  if (!file.size) throw refused(refusals.empty);
  const bytes = new Uint8Array(await file.arrayBuffer());
  const kind = Object.keys(kinds).find((name) => has(bytes, 0, kinds[name].start));
  if (!kind) throw refused(refusals.not_an_image);
  const { start, quantization } = kind === "JPEG" ? jpegHeader(bytes) : { start: 0, quantization: 0 };
  if (!ends(bytes, start, kinds[kind].end)) throw refused(refusals.truncated, kind);
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
  const photograph = new processor.Tensor("uint8", new Uint8Array(data.buffer), [canvas.height, canvas.width, 4]);
  return { photograph, quantization: new processor.Tensor("float32", [quantization], []), scale };
}

function refused(words, ...values) {
  const reason = values.reduce((text, value) => text.replace("{}", value), words);
  return new Error(`This file can't be graded: ${reason}.`);
}

// Whether a text of single bytes stands at a place.
function has(bytes, place, text) {
  return [...text].every((letter, k) => bytes[place + k] === letter.charCodeAt(0));
}

// Where the image data of a JPEG begin, behind its header, which may hold previews; and the mean step to which it
// rounds the frequencies of brightness.
function jpegHeader(bytes) {
  let [start, quantization] = [2, 0];
  while (bytes[start] === 0xff && bytes[start + 1] !== 0xda) {
    const steps = bytes.subarray(start + 5, start + 69);
    if (!quantization && bytes[start + 1] === 0xdb && bytes[start + 4] === 0) {
      quantization = steps.reduce((sum, step) => sum + step, 0) / 64;
    }
    start += bytes[start + 1] === 0xff ? 1 : 2 + Math.max(2, bytes[start + 2] * 256 + bytes[start + 3]);
  }
  return { start, quantization: Math.max(quantization, 1) };
}

// Whether image data have an end, whatever comes behind.
function ends(bytes, start, text) {
  const first = text.charCodeAt(0);
  for (let place = bytes.indexOf(first, start); place >= 0; place = bytes.indexOf(first, place + 1)) {
    if (has(bytes, place, text)) return true;
  }
  return false;
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
