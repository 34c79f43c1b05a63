import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createContext, Script } from 'node:vm';
import { useBackend } from '@mezzotint/backend';
import type { GeneratedImage, Request } from '@mezzotint/pipelines';
import { openPipeline } from '@mezzotint/pipelines/node';
import { build } from 'esbuild';
import { beforeAll, expect, test } from 'vitest';
import { forBrowsers, wasmFiles } from '../src/bundle.js';
import type { FromWorker, ToWorker } from '../src/page/messages.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const tinySd = join(root, 'apps/sample/test/fixtures/tiny-sd');
const digits = join(root, 'models/digits');

/** A folder as the page sends it: its name and the paths in it, and Blobs. */
function blobsOf(folder: string): Map<string, Blob> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [`${basename(folder)}/${relative(folder, path)}`, new Blob([readFileSync(path)])];
    }),
  );
}

/** A worker's global scope: what browsers have, and nothing of Node. Those that are JavaScript's own are the context's. */
function workerScope(receive: (message: FromWorker) => void) {
  const fetched: string[] = [];
  const unexpected = (line: string) => receive({ kind: 'failed', message: `printed: ${line}` });
  const scope = createContext({
    location: { href: 'http://localhost:8017/worker.js' },
    WorkerGlobalScope: class {},
    importScripts: () => {},
    navigator: { hardwareConcurrency: 2, userAgent: 'a test' },
    fetch: async (address: string) => {
      fetched.push(address);
      return new Response(readFileSync(wasmFiles.find((file) => basename(file) === basename(address))!), {
        headers: { 'Content-Type': 'application/wasm' },
      });
    },
    postMessage: (message: FromWorker) => receive(structuredClone(message)),
    ...{ AbortController, atob, Blob, DOMException, performance, setTimeout, TextDecoder, TextEncoder, URL },
    console: { log: unexpected, warn: unexpected, error: unexpected },
  });
  new Script('globalThis.self = globalThis').runInContext(scope);
  return { scope: scope as { onmessage(event: { data: ToWorker }): void }, fetched };
}

let code: string;
beforeAll(async () => {
  const { outputFiles, metafile, warnings } = await build({
    ...forBrowsers,
    ...{ entryPoints: ['worker.ts'], format: 'iife', write: false, metafile: true, outdir: '/', legalComments: 'none' },
  });
  expect(warnings).toEqual([]);
  // A module of Node would be left outside of the bundle.
  const outside = Object.values(metafile.outputs).flatMap(({ imports }) => imports.filter(({ external }) => external));
  expect(outside).toEqual([]);
  expect(Object.keys(metafile.inputs).filter((path) => /^node:/.test(path))).toEqual([]);
  code = outputFiles.find(({ path }) => path.endsWith('worker.js'))!.text;
}, 120_000);

/** Runs the bundled worker on a model and a request, and gives all that it said. */
async function inWorker(folder: string, request: Request): Promise<FromWorker[]> {
  const said: FromWorker[] = [];
  let tell: (message: FromWorker) => void;
  const { scope, fetched } = workerScope((message) => {
    said.push(message);
    tell(message);
  });
  const until = (kind: FromWorker['kind'], message: ToWorker) =>
    new Promise<void>((resolve, reject) => {
      tell = (answer) => {
        if (answer.kind === 'failed') reject(new Error(answer.message));
        else if (answer.kind === kind) resolve();
      };
      scope.onmessage({ data: message });
    });
  new Script(code).runInContext(scope as never);
  await until('opened', { kind: 'open', files: blobsOf(folder) });
  await until('made', { kind: 'make', request, previews: true });
  expect(fetched).toEqual(['http://localhost:8017/tfjs-backend-wasm-simd.wasm']);
  return said;
}

test.each([
  ['a model of prompts', tinySd, { prompt: 'a red cat', negative: 'blue', guidance: 3, seed: '7', steps: 3, count: 2 }],
  ['a model of labels', digits, { labels: '3,8', guidance: 2, seed: '7', steps: 2 }],
] satisfies [string, string, Request][])(
  '%s: the bundled worker, without Node, makes the bytes of openPipeline from disk',
  async (_, folder, request) => {
    const said = await inWorker(folder, request);
    const made = said.flatMap((message) => (message.kind === 'pictures' ? message.pictures : []));
    await useBackend({ engine: 'wasm' });
    const pipeline = await openPipeline(folder);
    const { images } = await pipeline.generate(request);
    expect(images.length).toBe(2);
    const plain = ({ data, height, width, channels, job }: GeneratedImage) => ({
      ...{ data: [...data], height, width, channels, job },
    });
    expect(made.map(plain)).toEqual(images.map(plain));
    expect(said[0]).toMatchObject({ kind: 'opened', model: { takes: pipeline.takes, defaults: pipeline.defaults } });
    pipeline.dispose();
    const phases = new Set(said.flatMap((message) => (message.kind === 'progress' ? [message.progress.phase] : [])));
    expect(phases).toContain('sampling');
    expect(said.at(-1)).toMatchObject({ kind: 'made' });
  },
);

test('bad input comes back in words', async () => {
  await expect(inWorker(tinySd, { prompt: 'a', steps: 0, labels: '3' } as Request)).rejects.toThrow(
    /steps: .*\n.*labels: Stable Diffusion 1, 2, XL does not take it/s,
  );
  await expect(inWorker(join(root, 'docs'), { prompt: 'a' })).rejects.toThrow(
    /docs: has neither model_index.json nor config.json/,
  );
});
