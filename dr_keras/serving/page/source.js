// Where the page's answers come from: the server, which is asked again while it is busy.
const TRIES = 6;
const model = JSON.parse(document.body.dataset.model);
const element = (id) => document.getElementById(id);

export const AT_ONCE = 3; // photographs
export const KEEPS = model.keeps
  ? "This server keeps the photographs sent to it, and their results."
  : "Photographs are sent to this server to be graded and are not kept.";

export async function start() {
  element("access").addEventListener("submit", (event) => event.preventDefault());
  element("access").hidden = !model.needs_token;
}

export async function grade(file) {
  const { overlay_png, photograph_jpeg, not_saved, ...result } = await (await ask("grade", file)).json();
  const remark = not_saved && `Graded, but the server couldn't keep the photograph: ${not_saved}.`;
  const photograph = photograph_jpeg && address(photograph_jpeg, "jpeg");
  return { ...result, remark, photograph, overlay: overlay_png && address(overlay_png) };
}

export async function overlay(method, file) {
  return address((await (await ask(method, file)).json()).overlay_png);
}

export async function report(file) {
  return (await ask("report", file)).blob();
}

function address(picture, kind = "png") {
  return `data:image/${kind};base64,${picture}`;
}

function post(path, file) {
  const headers = { "Content-Type": "application/octet-stream", "File-Name": encodeURIComponent(file.name || "") };
  const token = element("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  return fetch(path, { method: "POST", body: file, headers });
}

// Posts a photograph; while the server is busy, waits as long as it says and tries again.
async function ask(path, file) {
  for (let tried = 1; ; tried += 1) {
    let answer;
    try {
      answer = await post(path, file);
    } catch {
      throw new Error("The server can't be reached.");
    }
    if (answer.ok) return answer;
    if (answer.status === 503 && tried < TRIES) {
      const seconds = Number(answer.headers.get("Retry-After")) || 1;
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds * tried));
      continue;
    }
    if (answer.status === 401) {
      element("access").hidden = false;
      throw new Error("The server asks for its access token: enter it above, then choose the photograph again.");
    }
    const told = await answer.json().catch(() => ({}));
    const reason = (told.error || `status ${answer.status}`).replace(/^photograph 0: /, "");
    throw new Error(`This file can't be graded: ${reason}.`);
  }
}
