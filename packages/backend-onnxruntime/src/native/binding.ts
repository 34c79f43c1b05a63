import { createRequire } from 'node:module';
import { MezzotintError } from '@mezzotint/core';

/** A tensor as onnxruntime-node's native side reads it: the fields of `ort.Tensor`, without its constructor's checks. */
export interface NativeTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly data: ArrayBufferView;
  readonly location: 'cpu';
}

export interface NativeSession {
  loadModel(buffer: ArrayBufferLike, byteOffset: number, byteLength: number, options: object): void;
  run(
    feeds: Readonly<Record<string, NativeTensor>>,
    fetches: Readonly<Record<string, NativeTensor | null>>,
    options: object,
  ): Record<string, NativeTensor>;
  endProfiling(): void;
  dispose(): void;
}

export interface NativeBinding {
  readonly InferenceSession: new () => NativeSession;
  listSupportedBackends(): readonly { readonly name: string; readonly bundled: boolean }[];
}

let loaded: NativeBinding | undefined;

/**
 * onnxruntime-node's native binding. Its public API is asynchronous, but what that wraps is a synchronous `run`, which
 * `dataSync` needs; so we take the binding itself from the pinned version, and check that it is what we know.
 */
export function nativeBinding(): NativeBinding {
  if (loaded !== undefined) return loaded;
  let module: { binding?: NativeBinding; initOrt?: () => void };
  try {
    module = createRequire(import.meta.url)('onnxruntime-node/dist/binding.js');
  } catch (cause) {
    throw unavailable(
      `its native library did not load (${cause instanceof Error ? cause.message : String(cause)})`,
      cause,
    );
  }
  const { binding, initOrt } = module;
  if (typeof binding?.InferenceSession?.prototype?.run !== 'function' || typeof initOrt !== 'function') {
    throw unavailable('its native binding is not the one of version 1.30');
  }
  initOrt();
  loaded = binding;
  return binding;
}

function unavailable(why: string, cause?: unknown): MezzotintError {
  return new MezzotintError(
    'MEZZOTINT_ENGINE_UNAVAILABLE',
    `onnxruntime-node cannot be used: ${why}. Expected onnxruntime-node 1.30 for ${process.platform} ${process.arch}; reinstall it, or choose another TensorFlow.js backend.`,
    { platform: process.platform, arch: process.arch },
    { cause },
  );
}
