import * as tf from '@tensorflow/tfjs-core';

/** Makes `name` the engine of TensorFlow.js; throws when it is not registered or does not start. */
export async function activate(name: string): Promise<void> {
  if (tf.findBackendFactory(name) == null) throw new Error(`no backend '${name}' is registered`);
  if (!(await tf.setBackend(name))) throw new Error(`backend '${name}' did not start`);
  await tf.ready();
}
