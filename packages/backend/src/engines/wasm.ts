import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../engine.js';
import { registerWasmKernels } from '../wasm-kernels/register.js';
import { activate } from './activate.js';

/** WebAssembly with SIMD: npm alone installs it; one thread in Node. */
export const wasm: Engine = {
  name: 'wasm',
  async load() {
    const backend = await import('@tensorflow/tfjs-backend-wasm');
    if (!('wasm' in tf.engine().registry) && isNode()) backend.setWasmPaths(await packageFolder());
    registerWasmKernels();
    await withoutNewListeners(() => activate('wasm'));
    const simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT');
    const threads = backend.getThreadsCount();
    return {
      version: backend.version_wasm,
      device: `cpu, ${simd ? 'simd' : 'no simd'}, ${threads > 1 ? `${threads} threads` : '1 thread'}`,
      trains: true,
      limits: ['4 GiB of memory'],
    };
  },
};

function isNode(): boolean {
  return typeof process !== 'undefined' && process.versions?.node !== undefined;
}

/** Where the `.wasm` files of the npm package are, so that nothing is fetched. */
async function packageFolder(): Promise<string> {
  const { createRequire } = await import('node:module');
  const { dirname } = await import('node:path');
  return `${dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm'))}/`;
}

/** The module's loader catches every uncaught error of the program, to print its whole source: undo that. */
async function withoutNewListeners(body: () => Promise<void>): Promise<void> {
  if (!isNode()) return body();
  const before = new Set(
    process.listeners('uncaughtException').concat(process.listeners('unhandledRejection') as never),
  );
  await body();
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    const added = process.listeners(event as 'uncaughtException').filter((listener) => !before.has(listener));
    for (const listener of added) process.removeListener(event, listener);
  }
}
