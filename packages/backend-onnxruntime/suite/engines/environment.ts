import { setTestEnvs } from '@tensorflow/tfjs-core/dist/jasmine_util.js';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';

/** Says on which backend the specs run. The environment has the same name on all, so that names of tests compare. */
export function specsRunOn(backendName: string): void {
  setTestEnvs([{ name: 'engine', backendName, isDataSync: true }]);
}
