import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runBrowser } from '../src/command.js';
import { listen, modelFiles, modelListing, siteServer } from '../src/serve.js';

const folder = mkdtempSync(join(tmpdir(), 'mezzotint-serve-'));
const [page, model] = [join(folder, 'page'), join(folder, 'my model')];
let server: Server;
let address: URL;

beforeAll(async () => {
  mkdirSync(page);
  writeFileSync(join(page, 'index.html'), '<p>page</p>');
  writeFileSync(join(page, 'a.wasm'), 'wasm');
  mkdirSync(join(model, 'codec'), { recursive: true });
  writeFileSync(join(model, 'config.json'), '{}');
  writeFileSync(join(model, 'grid.png'), 'a picture');
  writeFileSync(join(model, 'codec', 'model.safetensors'), 'weights');
  writeFileSync(join(folder, 'secret.txt'), 'secret');
  server = siteServer({ page, model });
  address = new URL(await listen(server, 0));
});
afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** A path as it is: `fetch` would resolve its dots. */
function get(path: string, headers: Record<string, string> = {}, method = 'GET') {
  return new Promise<{ status: number; text: string; headers: Record<string, unknown> }>((resolve, reject) => {
    const sent = request({ host: 'localhost', port: address.port, path, headers, method }, (response) => {
      let text = '';
      response.on('data', (part) => {
        text += part;
      });
      response.on('end', () => resolve({ status: response.statusCode!, text, headers: response.headers }));
    });
    sent.on('error', reject).end();
  });
}

test('page and model are served with their types, isolated, and with no other host allowed', async () => {
  const index = await get('/');
  expect(index).toMatchObject({ status: 200, text: '<p>page</p>' });
  expect(index.headers).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
    'content-security-policy': expect.stringMatching(/^default-src 'self'/),
  });
  expect((await get('/a.wasm')).headers['content-type']).toBe('application/wasm');
  expect(JSON.parse((await get('/model/files.json')).text)).toEqual({
    name: 'my model',
    files: [
      { path: 'codec/model.safetensors', bytes: 7 },
      { path: 'config.json', bytes: 2 },
    ],
  });
  expect((await get('/model/codec/model.safetensors')).text).toBe('weights');
});

test('nothing else is served, to nobody else', async () => {
  const outside = ['/../secret.txt', '/model/../../secret.txt', '/model/%2e%2e/secret.txt', '/model/..%2fsecret.txt'];
  for (const path of [...outside, '/model/grid.png', '/model', '/%', '//']) expect((await get(path)).status).toBe(404);
  expect((await get('/', { Host: 'evil.example' })).status).toBe(403);
  expect((await get('/', {}, 'POST')).status).toBe(405);
  expect((await get('/', {}, 'HEAD')).text).toBe('');
});

test('a taken port and a folder without a model are told in words', async () => {
  await expect(listen(siteServer({ page, model: null }), Number(address.port))).rejects.toThrow(/--port.*is taken/);
  expect(() => siteServer({ page, model: page })).toThrow(/--model.*holds no file of a model/);
  expect(() => siteServer({ page, model: join(folder, 'nowhere') })).toThrow(/--model.*no such folder/);
});

test('of a run its model is served, not what the training keeps; one without a model is told', async () => {
  const run = join(folder, 'run');
  const put = (path: string, text: string) => {
    mkdirSync(dirname(join(run, path)), { recursive: true });
    writeFileSync(join(run, path), text);
  };
  put('config.json', '{"task": "diffusion"}');
  put('checkpoints/checkpoint-1/model.safetensors', 'state');
  put('snapshots/a.safetensors', 'snapshot');
  expect(() => modelFiles(run)).toThrow(/--model.*a run that has no model yet/);
  put('model/config.json', '{}');
  put('model/codec/model.safetensors', 'codec');
  expect(JSON.parse(modelListing(run))).toEqual({
    name: 'run',
    files: [
      { path: 'codec/model.safetensors', bytes: 5 },
      { path: 'config.json', bytes: 2 },
    ],
  });
  const out = join(folder, 'site of a run');
  const context = { signal: new AbortController().signal, say: () => {}, result: () => {} };
  await runBrowser({ model: run, port: 0, out }, page, context);
  expect(readFileSync(join(out, 'model', 'config.json'), 'utf8')).toBe('{}');
  expect(readdirSync(join(out, 'model')).sort()).toEqual(['codec', 'config.json', 'files.json']);
  const other = siteServer({ page, model: run });
  const at = await listen(other, 0);
  expect(await (await fetch(`${at}model/codec/model.safetensors`)).text()).toBe('codec');
  other.close();
});

test('--out writes a folder of static files with what the page asks for', async () => {
  const out = join(folder, 'site');
  const said: string[] = [];
  const context = { signal: new AbortController().signal, say: (line: string) => said.push(line), result: () => {} };
  await runBrowser({ model, port: 0, out }, page, context);
  expect(said).toEqual([expect.stringContaining('site: 5 files')]);
  expect(readFileSync(join(out, 'index.html'), 'utf8')).toBe('<p>page</p>');
  const listed = JSON.parse(readFileSync(join(out, 'model/files.json'), 'utf8')) as { files: { path: string }[] };
  expect(listed.files.map(({ path }) => readFileSync(join(out, 'model', path), 'utf8'))).toEqual(['weights', '{}']);
  await expect(runBrowser({ model, port: 0, out }, page, context)).rejects.toThrow(/--out.*is there already/);
});
