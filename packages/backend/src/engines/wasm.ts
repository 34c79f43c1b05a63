import type { Engine } from '../engine.js';
import { useWasm } from './start-wasm.js';

/** WebAssembly with SIMD: npm alone installs it; one thread in Node. */
export const wasm: Engine = {
  name: 'wasm',
  async load() {
    if (!isNode()) return useWasm();
    const folder = await packageFolder();
    return withoutNewListeners(() => useWasm({ folder }));
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
async function withoutNewListeners<T>(body: () => Promise<T>): Promise<T> {
  const before = new Set(
    process.listeners('uncaughtException').concat(process.listeners('unhandledRejection') as never),
  );
  const result = await body();
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    const added = process.listeners(event as 'uncaughtException').filter((listener) => !before.has(listener));
    for (const listener of added) process.removeListener(event, listener);
  }
  return result;
}
