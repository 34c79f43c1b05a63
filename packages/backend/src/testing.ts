import * as tf from '@tensorflow/tfjs-core';
import type { EngineName } from './engine.js';
import { ENGINES } from './engines/index.js';
import { listEngines } from './list-engines.js';

/**
 * The engines that load on this machine, for `describe.each(await testEngines())`: cpu first, and always. The
 * environment variable MEZZOTINT_TEST_ENGINES (comma-separated names) narrows the list.
 */
export async function testEngines(): Promise<EngineName[]> {
  await import('./register-gradients.js');
  const only = process.env.MEZZOTINT_TEST_ENGINES?.split(',').map((name) => name.trim());
  const loading = (await listEngines()).filter((report) => report.loads).map((report) => report.name);
  const wanted = only === undefined ? loading : loading.filter((name) => only.includes(name));
  return wanted.sort((a, b) => Number(b === 'cpu') - Number(a === 'cpu'));
}

/** Makes an engine of `testEngines` the active one: `beforeAll(() => switchTo(engine))`. */
export async function switchTo(engine: EngineName): Promise<void> {
  await import('./register-gradients.js');
  if (tf.getBackend() !== engine) await ENGINES[engine].load();
}
