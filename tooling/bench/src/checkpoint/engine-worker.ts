// One engine with a checkpoint in a process of its own: says who it is, then runs the job on each line of standard input.
import { writeFileSync } from 'node:fs';
import { useBackend } from '@mezzotint/backend';
import { stepBoundary } from '@mezzotint/core';
import { openComponent } from '@mezzotint/weights';
import { readSafetensors, readWeights } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { once, serve } from '../serve.js';
import { type CheckpointName, checkpoints } from './networks.js';

/** What the parent asks for. */
export interface WorkerTask {
  readonly engine: string;
  readonly network: CheckpointName;
  readonly weightFile: string;
  readonly inputFile: string;
  /** How the weights are kept: float32, or a format of `quantize`. */
  readonly weights: string;
  /** Where the last answer goes as float32 numbers, `[N, H, W, C]`. */
  readonly answerFile: string;
}

const task = JSON.parse(process.argv[2]!) as WorkerTask;

await serve(async () => {
  const engine = await useBackend({ engine: task.engine });
  const { model, step } = checkpoints[task.network].build();
  const inputs: Record<string, tf.Tensor> = {};
  const file = readSafetensors(task.inputFile);
  for (const name of file.tensors.keys()) {
    const { shape, data } = file.read(name);
    inputs[name] = tf.tensor(data, [...shape]);
  }
  file.close();
  let answer: Float32Array | undefined;
  const jobs = {
    load: once(async () => {
      const weights = await readWeights(task.weightFile);
      const { weights: source } = openComponent(weights);
      if (task.weights === 'float32') {
        await model.load(source);
      } else {
        const { loadQuantized } = await import('@mezzotint/backend-onnxruntime');
        await loadQuantized(model, source, { weights: task.weights as Parameters<typeof loadQuantized>[2]['weights'] });
      }
      stepBoundary();
      weights.close();
    }),
    step: once(async () => {
      const out = tf.tidy(() => step(inputs));
      answer = (await out.data()) as Float32Array;
      out.dispose();
    }),
    answer: once(async () => {
      writeFileSync(task.answerFile, answer!);
    }),
  };
  return { name: `${engine.name} ${task.weights}`, version: engine.version, jobs };
});
