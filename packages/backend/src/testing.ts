import { InvalidArgumentError } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import type { EngineName } from './engine.js';
import { ENGINES } from './engines/index.js';
import { listEngines } from './list-engines.js';

/**
 * The engines that load on this machine, for `describe.each(await testEngines())`: cpu first. The environment variable
 * MEZZOTINT_TEST_ENGINES (comma-separated names) narrows the list to engines that have to load.
 *
 * @throws InvalidArgumentError when that variable names an engine that does not exist or does not load: tests that
 *   silently run nowhere would pass
 */
export async function testEngines(): Promise<EngineName[]> {
  await import('./register-gradients.js');
  const reports = await listEngines();
  const loading = reports.filter((report) => report.loads).map((report) => report.name);
  const only = (process.env.MEZZOTINT_TEST_ENGINES ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const problems = only.flatMap((name) => {
    const report = reports.find((known) => known.name === name);
    if (report?.loads) return [];
    const why = report?.reason ?? `there are ${reports.map((known) => known.name).join(', ')}`;
    return [`MEZZOTINT_TEST_ENGINES: expected engines that load here, got '${name}': ${why}`];
  });
  if (problems.length > 0) throw new InvalidArgumentError('testEngines', problems);
  const wanted = only.length === 0 ? loading : loading.filter((name) => only.includes(name));
  return wanted.sort((a, b) => Number(b === 'cpu') - Number(a === 'cpu'));
}

/** Makes an engine of `testEngines` the active one: `beforeAll(() => switchTo(engine))`. */
export async function switchTo(engine: EngineName): Promise<void> {
  await import('./register-gradients.js');
  if (tf.getBackend() !== engine) await ENGINES[engine].load();
}
