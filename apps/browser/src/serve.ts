import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { basename, extname, join, resolve, sep } from 'node:path';
import { InvalidArgumentError } from '@mezzotint/core';

/** What is served: the bundled page, and a model beside it. */
export interface Site {
  /** Folder of the bundled page. */
  readonly page: string;
  /** Folder of a model or of a run; null where the reader chooses one. */
  readonly model: string | null;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.txt': 'text/plain; charset=utf-8',
};

/** Files that a model is made of; pictures and pages that lie beside them are not sent. */
const OF_A_MODEL = /\.(?:json|txt|model|safetensors|bin|pt|pth|ckpt|gguf|pkl|npz)$/;

/** Cross-origin isolation, without which WebAssembly has one thread; and no other host may be asked for anything. */
const HEADERS: Readonly<Record<string, string>> = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy':
    "default-src 'self'; script-src 'self' blob: 'wasm-unsafe-eval'; worker-src 'self' blob:; img-src 'self' data: blob:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-cache',
};

/** A file that a page needs. */
export interface ModelFile {
  /** From the model's folder, with slashes. */
  readonly path: string;
  /** Where it is. */
  readonly file: string;
  readonly bytes: number;
}

/** The files that a page needs of a folder with a model, or of the `model/` of a run. */
export function modelFiles(given: string): ModelFile[] {
  if (!existsSync(given) || !statSync(given).isDirectory())
    throw new InvalidArgumentError('--model', `${given}: no such folder; expected one with a model`);
  const folder = isRun(given) ? join(given, 'model') : given;
  if (!existsSync(folder))
    throw new InvalidArgumentError('--model', `${given}: a run that has no model yet; expected one with a model/`);
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => ({ path: name.split(sep).join('/'), file: join(folder, name) }))
    .filter(({ file }) => OF_A_MODEL.test(file) && statSync(file).isFile())
    .map((found) => ({ ...found, bytes: statSync(found.file).size }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  if (files.length === 0)
    throw new InvalidArgumentError('--model', `${given}: holds no file of a model (such as config.json)`);
  return files;
}

/** A folder of `train`, which has the state of the training beside its `model/`: a hundred times as much. */
function isRun(folder: string): boolean {
  const has = (name: string) => existsSync(join(folder, name));
  return (has('model/config.json') || has('checkpoints')) && !has('model.safetensors') && !has('model_index.json');
}

/** What `model/files.json` says to the page. */
export function modelListing(folder: string): string {
  const files = modelFiles(folder).map(({ path, bytes }) => ({ path, bytes }));
  return JSON.stringify({ name: basename(resolve(folder)), files });
}

/**
 * A server of the page, of nothing but the files that are there when it is made, and for requests to this machine by its own name: a page
 * of another host that has its name point here is refused.
 *
 * @throws InvalidArgumentError where there is no model
 */
export function siteServer({ page, model }: Site): Server {
  const files = new Map<string, string>();
  for (const name of readdirSync(page)) files.set(`/${name}`, join(page, name));
  files.set('/', join(page, 'index.html'));
  const listing = model === null ? null : modelListing(model);
  if (model !== null) for (const { path, file } of modelFiles(model)) files.set(`/model/${path}`, file);
  return createServer((request, response) => {
    const end = (status: number, text: string, type = '.txt') => {
      response.writeHead(status, { ...HEADERS, 'Content-Type': TYPES[type] }).end(text);
    };
    if (!/^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/.test(request.headers.host ?? '')) return end(403, 'not here');
    if (request.method !== 'GET' && request.method !== 'HEAD') return end(405, 'only GET and HEAD');
    const path = pathOf(request.url ?? '/');
    if (path === '/model/files.json' && listing !== null) return end(200, listing, '.json');
    const file = path === undefined ? undefined : files.get(path);
    const bytes = file === undefined ? undefined : statSync(file, { throwIfNoEntry: false })?.size;
    if (file === undefined || bytes === undefined) return end(404, 'no such file');
    const type = TYPES[extname(file)] ?? 'application/octet-stream';
    response.writeHead(200, { ...HEADERS, 'Content-Type': type, 'Content-Length': bytes });
    if (request.method === 'HEAD') return response.end();
    createReadStream(file)
      .on('error', () => response.destroy())
      .pipe(response);
  });
}

/** The path of an address, decoded; undefined where it is none. */
function pathOf(url: string): string | undefined {
  try {
    return decodeURIComponent(new URL(url, 'http://localhost').pathname);
  } catch {
    return undefined;
  }
}

/** Starts a server on this machine alone; port 0 is any that is free. */
export async function listen(server: Server, port: number): Promise<string> {
  await new Promise<void>((started, failed) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE';
      failed(taken ? new InvalidArgumentError('--port', `${port} is taken; choose another, or 0 for any`) : error);
    });
    server.listen(port, 'localhost', started);
  });
  const address = server.address() as { readonly port: number };
  return `http://localhost:${address.port}/`;
}
