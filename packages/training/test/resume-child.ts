/** A training that saves a checkpoint after every update, to be killed: `resume-child <folder> <updates>`. */
import '@tensorflow/tfjs';
import { TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import {
  adamW,
  constantRate,
  ema,
  epsLoss,
  noiseLevels,
  ratioWarmUp,
  stratified,
  train,
  uniformTimesteps,
} from '../src/index.js';
import { CheckpointFolder } from '../src/node.js';
import { processOf, TinyNet } from './tiny-model.js';

await tf.setBackend('cpu');
const [folder, until] = process.argv.slice(2) as [string, string];
const checkpoints = new CheckpointFolder(folder, { keep: 2 });
const model = new TinyNet().init(3);
const optimizer = adamW(model);
const averages = { ema: ema(model, ratioWarmUp(0.99)) };

const saved = await checkpoints.latest();
await saved?.load({ model, optimizer, averages });
const rng = saved?.streams.noise ?? new TorchGenerator(7);
let position = (saved?.data as { position: number } | undefined)?.position ?? 0;
const data = {
  next: async () => new TorchGenerator(100 + position++).randn(2 * 16),
  state: () => ({ position }),
};
process.stdout.write(`start ${saved?.step ?? 0}\n`);

const levels = noiseLevels(uniformTimesteps(processOf([0.9, 0.5, 0.1])), stratified);
for await (const { step } of train({
  loss: ({ batch, rng }) =>
    epsLoss((x, time) => model.forward(x, time), { x0: tf.tensor4d(batch, [2, 4, 4, 1]), cond: undefined }, rng, {
      levels,
    }),
  data,
  rng,
  optimizer,
  learningRate: constantRate(0.01),
  averages,
  from: saved?.step ?? 0,
  until: Number(until),
})) {
  await checkpoints.save({ step, model, optimizer, averages, streams: { noise: rng }, data: data.state() });
  process.stdout.write(`saved ${step}\n`);
}
process.stdout.write('done\n');
