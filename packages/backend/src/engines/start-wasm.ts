import * as tf from '@tensorflow/tfjs-core';
import type { EngineFacts } from '../engine.js';
import { registerWasmKernels } from '../wasm-kernels/register.js';
import { activate } from './activate.js';

/** What `useWasm` may be told. */
export interface UseWasmOptions {
  /**
   * Address of the folder with the `.wasm` files of `@tensorflow/tfjs-backend-wasm`, with a slash at its end. When absent they are
   * looked for beside the script.
   */
  readonly folder?: string | undefined;
  /**
   * Threads that compute, at most half the browser's `navigator.hardwareConcurrency` and at most 8, which is what is taken when absent. There is
   * one alone where the page is not cross-origin isolated.
   */
  readonly threads?: number | undefined;
}

/**
 * Makes WebAssembly the engine of TensorFlow.js, with the kernels of this package. It needs nothing of Node, so that a page or a worker of
 * a browser can call it; in Node, `useBackend` finds the `.wasm` files by itself.
 *
 * @throws Error when it does not start
 */
export async function useWasm({ folder, threads }: UseWasmOptions = {}): Promise<EngineFacts> {
  const backend = await import('@tensorflow/tfjs-backend-wasm');
  // What has started keeps its files and threads; setting them again is refused.
  if (!('wasm' in tf.engine().registry)) {
    if (folder !== undefined) backend.setWasmPaths(folder);
    if (threads !== undefined) backend.setThreadsCount(threads);
  }
  registerWasmKernels();
  await activate('wasm').catch((cause: unknown) => {
    // TensorFlow.js prints why, and throws it away.
    const where = folder === undefined ? 'beside the script' : `in ${folder}`;
    throw new Error(`WebAssembly did not start; its .wasm files are expected ${where}, and the console says more`, {
      cause,
    });
  });
  const simd = await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT');
  const count = backend.getThreadsCount();
  return {
    version: backend.version_wasm,
    device: `cpu, ${simd ? 'simd' : 'no simd'}, ${count > 1 ? `${count} threads` : '1 thread'}`,
    trains: true,
    limits: ['4 GiB of memory'],
  };
}
