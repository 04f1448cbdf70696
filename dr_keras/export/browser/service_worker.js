// Keeps this version of the site, whole, so that it opens without a network.
"use strict";

importScripts("files.js"); // VERSION; FILES, a path's SHA-256 in base64; HEADERS
const engine = new URL(location).searchParams.get("engine");
const NAME = `${VERSION} ${engine}`;

// All files; those for graphics units only where there is one.
function wanted() {
  return Object.keys(FILES).filter((path) => engine === "webgpu" || !path.startsWith("engine/webgpu/"));
}

async function install() {
  const cache = await caches.open(NAME);
  const options = (path) => ({ cache: "no-cache", integrity: `sha256-${FILES[path]}` });
  try {
    await cache.addAll(wanted().map((path) => new Request(path, options(path))));
  } catch (error) {
    await caches.delete(NAME);
    throw error;
  }
  await skipWaiting(); // pages that are open have all that they need
}

async function activate() {
  const others = (await caches.keys()).filter((name) => name !== NAME);
  await Promise.all(others.map((name) => caches.delete(name)));
  await clients.claim();
}

// A file of the site, with headers that let the model use several threads.
async function answer(request) {
  const page = request.mode === "navigate" ? "index.html" : request.url;
  const kept = await (await caches.open(NAME)).match(page, { ignoreSearch: true });
  if (!kept) return fetch(request);
  const headers = new Headers(kept.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(kept.body, { status: kept.status, headers });
}

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(registration.scope)) event.respondWith(answer(event.request));
});
