import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { EngineChoice } from './engine.js';
import { asChoice, CHOICES, loadEngine } from './engines/load-engine.js';
import { reasonOf } from './engines/reason.js';
import { listEngines } from './list-engines.js';

/**
 * The engines that load on this machine, for `describe.each(await testEngines())`: cpu first. The environment variable
 * MEZZOTINT_TEST_ENGINES (comma-separated names, also `onnxruntime:webgpu`) is the list instead: engines that have to load.
 *
 * @throws InvalidArgumentError when that variable names an engine that does not exist or does not load: tests that
 *   silently run nowhere would pass
 */
export async function testEngines(): Promise<EngineChoice[]> {
  await import('./register-gradients.js');
  const only = (process.env.MEZZOTINT_TEST_ENGINES ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const engines = only.length === 0 ? await loading() : await required(only);
  return engines.sort((a, b) => Number(b === 'cpu') - Number(a === 'cpu'));
}

async function loading(): Promise<EngineChoice[]> {
  return (await listEngines()).filter((report) => report.loads).map((report) => report.name);
}

async function required(names: readonly string[]): Promise<EngineChoice[]> {
  const before = tf.getBackend();
  const engines: EngineChoice[] = [];
  const problems: string[] = [];
  for (const name of names) {
    const choice = asChoice(name);
    try {
      if (choice === undefined) throw new Error(`there are ${CHOICES}`);
      await loadEngine(choice);
      engines.push(choice);
    } catch (error) {
      problems.push(`MEZZOTINT_TEST_ENGINES: expected engines that load here, got '${name}': ${reasonOf(error)}`);
    }
  }
  if (before) await tf.setBackend(before);
  if (problems.length > 0) throw new InvalidArgumentError('testEngines', problems);
  return engines;
}

/** Makes an engine of `testEngines` the active one: `beforeAll(() => switchTo(engine))`. */
export async function switchTo(engine: EngineChoice): Promise<void> {
  await import('./register-gradients.js');
  if (tf.getBackend() !== engine) await loadEngine(engine);
}
