import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../engine.js';
import { activate } from './activate.js';
import { importInstalled } from './import-installed.js';

/** What the package of the engine may tell about itself. */
interface OnnxruntimePackage {
  readonly version?: string;
}

/** ONNX Runtime under the TensorFlow.js API: `@mezzotint/backend-onnxruntime`, an optional peer. */
export const onnxruntime: Engine = {
  name: 'onnxruntime',
  async load() {
    const { version } = (await importInstalled('@mezzotint/backend-onnxruntime')) as OnnxruntimePackage;
    if (tf.findBackendFactory('onnxruntime') == null) {
      throw new Error('the installed @mezzotint/backend-onnxruntime registers no backend');
    }
    await activate('onnxruntime');
    return { version: version ?? 'unknown', device: 'cpu', trains: true, limits: [] };
  },
};
