// One engine in a process of its own: says who it is, then runs the job named on each line of standard input.
import { createInterface } from 'node:readline';
import { useBackend } from '@mezzotint/backend';
import { MezzotintError, stepBoundary } from '@mezzotint/core';
import { adamW, valueAndGradients } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import { buildNetwork, type NetworkName } from './networks.js';

const [engineName, networkName] = process.argv.slice(2) as [string, NetworkName];
const say = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);

try {
  const engine = await useBackend({ engine: engineName });
  const network = buildNetwork(networkName);
  const params = network.model.params();
  const optimizer = adamW(network.model, { weightDecay: 0.01 });

  const jobs: Readonly<Record<string, () => Promise<void>>> = {
    async forward() {
      const answer = network.forward();
      await answer.data();
      answer.dispose();
    },
    async train() {
      const { value, gradients } = valueAndGradients(params, () => network.loss());
      stepBoundary();
      await value.data();
      await optimizer.step(gradients, { learningRate: 1e-4, maxGradientNorm: 1 });
      tf.dispose([value, ...gradients.values()]);
      stepBoundary();
    },
  };
  say({ name: engine.name, version: engine.version, jobs: engine.trains ? ['forward', 'train'] : ['forward'] });
  for await (const line of createInterface({ input: process.stdin })) {
    const job = jobs[line];
    if (job === undefined) throw new Error(`unknown job '${line}'`);
    const start = performance.now();
    await job();
    say({ milliseconds: performance.now() - start, peakBytes: process.resourceUsage().maxRSS * 1024 });
  }
} catch (error) {
  say({ unavailable: MezzotintError.isInstance(error) ? (error.facts.reason ?? error.message) : String(error) });
}
