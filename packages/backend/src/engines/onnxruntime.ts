import { MezzotintError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../engine.js';
import { activate } from './activate.js';
import { importInstalled } from './import-installed.js';

/** What the package of the engine may tell about itself. */
interface OnnxruntimePackage {
  readonly version?: string;
  /** Throws where an execution provider does not run. */
  readonly checkProvider?: (provider: string) => void;
  /** Those that this platform's build knows. */
  readonly listedProviders?: () => readonly string[];
}

const load = async () => (await importInstalled('@mezzotint/backend-onnxruntime')) as OnnxruntimePackage;

/** ONNX Runtime under the TensorFlow.js API: `@mezzotint/backend-onnxruntime`, an optional peer. */
export const onnxruntime: Engine = {
  name: 'onnxruntime',
  async load(provider) {
    const { version, checkProvider } = await load();
    const name = provider === undefined ? 'onnxruntime' : `onnxruntime:${provider}`;
    // TensorFlow.js would only print why a backend did not start.
    if (provider !== undefined) check(provider, checkProvider);
    if (tf.findBackendFactory(name) == null) {
      throw new Error(`the installed @mezzotint/backend-onnxruntime registers no backend '${name}'`);
    }
    await activate(name);
    const limits = provider === undefined ? [] : ['every read and step boundary copies between host and device'];
    return { version: version ?? 'unknown', device: provider ?? 'cpu', trains: true, limits };
  },
};

function check(provider: string, checkProvider: OnnxruntimePackage['checkProvider']): void {
  try {
    checkProvider?.(provider);
  } catch (error) {
    const { reason, needs } = MezzotintError.isInstance(error) ? error.facts : {};
    if (typeof reason !== 'string') throw error;
    // The caller adds the provider's name to the message.
    throw new Error(typeof needs === 'string' ? `${reason}; it needs ${needs}` : reason, { cause: error });
  }
}

/** Execution providers other than cpu that the installed build of ONNX Runtime knows; they may still not run here. */
export async function otherProviders(): Promise<readonly string[]> {
  const { listedProviders } = await load();
  return listedProviders?.().filter((name) => name !== 'cpu') ?? [];
}
