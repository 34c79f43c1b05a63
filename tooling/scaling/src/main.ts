import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { openClassifier, runCommand, startProgress, wholeNumber } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { describe, forwardInputs, type NoiseLevel, type TimeInput, TorchGenerator } from '@mezzotint/core';
import { batches, splitImages, writePng } from '@mezzotint/data';
import { loadDigits } from '@mezzotint/data/digits';
import { classifierFeatures, type ImageBytes, readFeatures } from '@mezzotint/features';
import { imageGrid, type PlotSeries, plotLines } from '@mezzotint/figures';
import { FeatureStatistics, frechetDistance } from '@mezzotint/metrics';
import { denoiser, euler, flow, flowSchedule, sample, uniformFlowSigmas } from '@mezzotint/schedulers';
import {
  adamW,
  constantRate,
  dropLabels,
  flowLoss,
  noiseLevels,
  stratified,
  train,
  uniformFlow,
  warmUp,
} from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import { type Contestant, contestants } from './contestants.js';

interface Flags {
  readonly steps: number;
  readonly samples: number;
  readonly only?: string;
  readonly keep?: string;
  readonly write?: string;
}

const batchSize = 32;
const labelDropout = 0.1;
const samplerSteps = 25;

/** The number that each kind of network is told for a level of the straight path x = (1 - s) x0 + s eps. */
const timeOf: Readonly<Record<TimeInput, (at: NoiseLevel) => number>> = {
  timestep: ({ sigma }) => 1000 * sigma,
  unit: ({ sigma }) => sigma,
  sigma: ({ sigma }) => sigma,
  gamma: ({ alpha, sigma }) => alpha ** 2 / (alpha ** 2 + sigma ** 2),
  'log-snr': ({ alpha, sigma }) => Math.max(-20, Math.min(20, 2 * Math.log(alpha / sigma))),
};

/** What came of one network. */
interface Result {
  readonly name: string;
  readonly parameters: number;
  readonly macs: number;
  readonly seconds: number;
  readonly firstLoss: number;
  readonly lastLoss: number;
  readonly distance: number;
}

/** A result in a file. */
interface Kept {
  readonly result: Result;
  /** Its first ten digits, 28 x 28 bytes each, in base 64. */
  readonly picture: string;
}

const command = new Command('scaling')
  .description('Trains small networks of every architecture on the digits by one recipe; writes docs/architectures.md.')
  .option('--steps <n>', 'updates of each network', wholeNumber('--steps', 10), 400)
  .option('--samples <n>', 'digits for each Fréchet distance', wholeNumber('--samples', 20), 500)
  .option('--only <text>', 'only the networks whose names begin so')
  .option(
    '--keep <folder>',
    'keep the result of each network there; a run that is begun again takes those of the same options',
  )
  .option('--write <file>', 'write the page and its pictures beside it, for example docs/architectures.md');

await runCommand<Flags>(command, async ({ steps, samples, only = '', keep, write }, { say, result, signal }) => {
  const engine = await useBackend();
  const [training, held] = splitImages(loadDigits(), [8000, 2000], 1);
  const classifier = await openClassifier('models/digits-classifier');
  const features = classifierFeatures(classifier.model, classifier.config.image);
  const statistics = async ({ images, count, ...size }: ImageBytes) => {
    const found = new FeatureStatistics(features.dimension);
    const pixels = images.length / count;
    for (let first = 0; first < count; first += 100) {
      const part = Math.min(100, count - first);
      const batch = images.subarray(first * pixels, (first + part) * pixels);
      found.add((await readFeatures(features, { images: batch, count: part, ...size })).features);
    }
    return found;
  };
  const truth = await statistics(held);
  const chosen = contestants({ imageSize: 28, channels: 1, classes: 10 }).filter(({ name }) => name.startsWith(only));
  const results: Result[] = [];
  const pictures: Uint8Array[] = [];
  for (const contestant of chosen) {
    signal.throwIfAborted();
    const file = keep && join(keep, `${contestant.name.replace(/[^\w]+/g, '-')}-${steps}-${samples}.json`);
    const kept = file && existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Kept) : undefined;
    if (kept) {
      results.push(kept.result);
      pictures.push(Uint8Array.from(Buffer.from(kept.picture, 'base64')));
    } else {
      const { images, ...rest } = await compete(contestant, { steps, samples, signal, training });
      const sampled = { images, count: samples, height: 28, width: 28, channels: 1 as const };
      results.push({ ...rest, distance: frechetDistance(truth, await statistics(sampled)) });
      pictures.push(images.subarray(0, 10 * 28 * 28));
      if (file) {
        mkdirSync(keep, { recursive: true });
        const picture = Buffer.from(pictures.at(-1)!).toString('base64');
        writeFileSync(file, JSON.stringify({ result: results.at(-1)!, picture } satisfies Kept));
      }
    }
    const { name, parameters, macs, seconds, lastLoss, distance } = results.at(-1)!;
    say(
      `${name.padEnd(34)} ${(parameters / 1e6).toFixed(2)} M, ${(macs / 1e6).toFixed(0)} M multiply-adds, ${seconds.toFixed(3)} s a step, loss ${lastLoss.toFixed(4)}, FD ${distance.toFixed(2)}`,
    );
  }
  if (write !== undefined) await writeAll(write, results, pictures, { steps, samples, engine: engine.name });
  result({ engine: engine.name, steps, samples, results });
});

/** Trains a network and samples digits from it. */
async function compete(
  { name, architecture, config }: Contestant,
  options: { steps: number; samples: number; signal: AbortSignal; training: ReturnType<typeof loadDigits> },
): Promise<Omit<Result, 'distance'> & { readonly images: Uint8Array }> {
  const { steps, samples, signal, training } = options;
  const time = timeOf[architecture.time];
  const model = architecture.build(config as never);
  const cost = describe(
    architecture.build(config as never),
    forwardInputs(architecture.signature(config as never), 28),
  );
  model.init(1);
  const rng = new TorchGenerator(2);
  const levels = noiseLevels((u) => {
    const level = uniformFlow()(u);
    return { ...level, time: time(level) };
  }, stratified);
  const losses: number[] = [];
  const seconds: number[] = [];
  const progress = startProgress(name, steps);
  const optimizer = adamW(model, { betas: [0.9, 0.99] });
  try {
    const run = train({
      loss: ({ batch, rng }) =>
        tf.tidy(() => {
          const labels = tf.tensor1d(dropLabels(batch.labels, 10, labelDropout, rng), 'int32');
          const x0 = tf.tensor4d(batch.images, [...batch.shape]);
          const net = (x: tf.Tensor4D, t: tf.Tensor1D, labels: tf.Tensor1D) => model.forward(x, t, { labels, rng });
          return flowLoss(net, { x0, cond: labels }, rng, { levels });
        }),
      data: batches(training, { batchSize, seed: 3 }),
      rng,
      optimizer,
      learningRate: warmUp(10, constantRate(1e-3)),
      maxGradientNorm: 1,
      until: steps,
      signal,
    });
    for await (const step of run) {
      losses.push(step.loss);
      seconds.push(step.seconds);
      progress.update(step.step, undefined, step.loss.toFixed(4));
    }
    const images = await sampled(architecture, model, time, samples);
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    return {
      name,
      parameters: cost.parameters,
      macs: cost.macs,
      seconds: [...seconds].sort((a, b) => a - b)[seconds.length >> 1]!,
      firstLoss: losses[0]!,
      lastLoss: mean(losses.slice(-Math.max(1, Math.floor(steps / 8)))),
      images,
    };
  } finally {
    progress.stop();
    optimizer.dispose();
    model.dispose();
  }
}

/** Digits 0 to 9 in turn, by Euler's method, as bytes. */
async function sampled(
  { startRun }: Contestant['architecture'],
  model: ReturnType<Contestant['architecture']['build']>,
  time: (at: NoiseLevel) => number,
  count: number,
): Promise<Uint8Array> {
  const bytes: number[] = [];
  const schedule = flowSchedule(uniformFlowSigmas(samplerSteps), time);
  for (let first = 0; first < count; first += 100) {
    const n = Math.min(100, count - first);
    const labels = tf.tensor1d(
      Array.from({ length: n }, (_, i) => (first + i) % 10),
      'int32',
    );
    const noise = tf.tensor4d(new TorchGenerator(100 + first).randn(n * 28 * 28), [n, 28, 28, 1]);
    const run = startRun?.(model, { images: n });
    const forward = run ? run.forward.bind(run) : model.forward.bind(model);
    const x = await sample(
      euler(),
      denoiser<tf.Tensor1D>((x, t, labels) => forward(x, t, { labels }), flow),
      noise,
      schedule,
      labels,
    );
    bytes.push(...tf.tidy(() => tf.mul(tf.add(tf.clipByValue(x, -1, 1), 1), 127.5)).dataSync());
    run?.dispose();
    tf.dispose([labels, noise, x]);
  }
  return Uint8Array.from(bytes, Math.round);
}

/** The page, the plot and the pictures. */
async function writeAll(
  file: string,
  results: readonly Result[],
  pictures: readonly Uint8Array[],
  { steps, samples, engine }: { steps: number; samples: number; engine: string },
): Promise<void> {
  const beside = (ending: string) => file.replace(/\.md$/, ending);
  const compute = ({ macs }: Result) => (3 * macs * batchSize * steps) / 1e12;
  const groups: Readonly<Record<string, (name: string) => boolean>> = {
    'DiT, by size, patches of 4': (name) => name.startsWith('DiT') && name.endsWith('/4'),
    'DiT 128 x 4, by patch 7, 4, 2': (name) => name.startsWith('DiT 128'),
    'UNet, by width': (name) => name.startsWith('UNet'),
    others: (name) => !name.startsWith('DiT') && !name.startsWith('UNet'),
  };
  const series = Object.entries(groups).flatMap(([name, belongs]): PlotSeries[] => {
    const group = results.filter((r) => belongs(r.name)).sort((a, b) => a.macs - b.macs);
    if (group.length === 0) return [];
    const line = { name, x: group.map(compute), y: group.map(({ lastLoss }) => lastLoss) };
    return [name === 'others' ? { ...line, marks: group.map((r) => r.name) } : line];
  });
  const labels = {
    xLabel: 'tera multiply-adds of the whole training',
    yLabel: 'loss of the last eighth',
    xScale: 'log',
    yScale: 'log',
  } as const;
  await writePng(beside('-scaling.png'), plotLines(series, { title: `${steps} updates each`, ...labels }), {
    overwrite: true,
  });
  const all = {
    images: Uint8Array.from(pictures.flatMap((row) => [...row])),
    count: pictures.length * 10,
    height: 28,
    width: 28,
    channels: 1 as const,
  };
  await writePng(beside('-samples.png'), imageGrid(all, { columns: 10, rowLabels: results.map(({ name }) => name) }), {
    overwrite: true,
  });
  const name = (path: string) => path.split('/').at(-1);
  const rows = results.map(
    (r) =>
      `| ${r.name} | ${r.parameters.toLocaleString('en-US')} | ${(r.macs / 1e6).toFixed(1)} | ${r.seconds.toFixed(3)} | ${r.firstLoss.toFixed(3)} | ${r.lastLoss.toFixed(4)} | ${r.distance.toFixed(2)} |`,
  );
  const command = `pnpm scaling --steps ${steps} --samples ${samples} --write ${file}`;
  writeFileSync(
    file,
    `# Architectures on the same small data

<!-- Written by the command below; do not edit. -->

Measured on ${new Date().toISOString().slice(0, 10)}: ${cpus()[0]?.model.trim()}, engine ${engine}, other work on the machine. Repeat it with

\`\`\`
${command}
\`\`\`

Every network is trained by one recipe: the 28x28 digits, a flow (x = (1 - s) x0 + s eps, uniform s), AdamW at 1e-3, batches of
${batchSize}, ${steps} updates, labels dropped at ${labelDropout}; then ${samples} digits by ${samplerSteps} steps of Euler, without guidance. The Fréchet
distance is between features of \`models/digits-classifier\` of these and of 2,000 digits that were not trained on. So few updates
rank what learns fast; they are no verdict on an architecture. Names: width x depth / patch of transformers, base channels of UNets,
latents / tokens of RIN. Multiply-adds are of one image's forward pass (ZigMa's scan counts its sum over states only).

| network | parameters | M multiply-adds | seconds a step | first loss | last loss | Fréchet distance |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
${rows.join('\n')}

More compute, better output: the training's multiply-adds (three forward passes an update) against its last loss.

![compute against loss](${name(beside('-scaling.png'))})

![digits of every network](${name(beside('-samples.png'))})
`,
  );
}
