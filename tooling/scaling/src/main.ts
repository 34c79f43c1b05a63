import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { openClassifier, realNumber, runCommand, startProgress, wholeNumber } from '@mezzotint/app';
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

/** How every network is trained and measured. */
interface Settings {
  readonly steps: number;
  readonly batchSize: number;
  readonly rate: number;
  /** Tera multiply-adds of a training after which networks are compared as well. */
  readonly compute?: number;
  readonly samples: number;
}

interface Flags extends Settings {
  readonly only?: string;
  readonly keep?: string;
  readonly write?: string;
}

const labelDropout = 0.1;
const samplerSteps = 25;

/** What stands behind this line of the page is kept. */
const BY_HAND = '<!-- By hand from here on. -->';

/** The number that each kind of network is told for a level of the straight path x = (1 - s) x0 + s eps. */
const timeOf: Readonly<Record<TimeInput, (at: NoiseLevel) => number>> = {
  timestep: ({ sigma }) => 1000 * sigma,
  unit: ({ sigma }) => sigma,
  sigma: ({ sigma }) => sigma,
  gamma: ({ alpha, sigma }) => alpha ** 2 / (alpha ** 2 + sigma ** 2),
  'log-snr': ({ alpha, sigma }) => Math.max(-20, Math.min(20, 2 * Math.log(alpha / sigma))),
};

/** A network after some of its updates. */
interface Stand {
  readonly updates: number;
  /** Mean loss of the last eighth of them. */
  readonly loss: number;
  readonly distance: number;
}

/** What came of one network. */
interface Result {
  readonly name: string;
  readonly parameters: number;
  readonly macs: number;
  readonly seconds: number;
  readonly firstLoss: number;
  /** After as many updates as every other. */
  readonly same: Stand;
  /** After as many multiply-adds as every other, or nearly, where that is asked for. */
  readonly paid?: Stand;
}

/** A result in a file. */
interface Kept {
  readonly result: Result;
  /** Its first ten digits after as many updates as every other, 28 x 28 bytes each, in base 64. */
  readonly picture: string;
}

const command = new Command('scaling')
  .description('Trains small networks of every architecture on the digits by one recipe; writes docs/architectures.md.')
  .option('--steps <n>', 'updates of each network', wholeNumber('--steps', 10), 400)
  .option('--batch-size <n>', 'digits in a batch', wholeNumber('--batch-size', 1), 32)
  .option('--rate <n>', 'learning rate', realNumber('--rate', 0, 1), 1e-3)
  .option(
    '--compute <n>',
    'tera multiply-adds of a training after which networks are compared as well',
    realNumber('--compute', 0.001),
  )
  .option('--samples <n>', 'digits for each Fréchet distance', wholeNumber('--samples', 20), 500)
  .option('--only <text>', 'only the networks whose names begin so')
  .option(
    '--keep <folder>',
    'keep the result of each network there; a run that is begun again takes those of the same options',
  )
  .option('--write <file>', 'write the page and its pictures beside it, for example docs/architectures.md');

await runCommand<Flags>(command, async ({ only = '', keep, write, ...settings }, { say, result, signal }) => {
  const { steps, batchSize, rate, compute, samples } = settings;
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
    const file =
      keep &&
      join(
        keep,
        `${contestant.name.replace(/[^\w]+/g, '-')}-${[steps, batchSize, rate, compute ?? 0, samples].join('-')}.json`,
      );
    const kept = file && existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Kept) : undefined;
    if (kept) {
      results.push(kept.result);
      pictures.push(Uint8Array.from(Buffer.from(kept.picture, 'base64')));
    } else {
      const distance = async (images: Uint8Array) => {
        const sampled = { images, count: samples, height: 28, width: 28, channels: 1 as const };
        return frechetDistance(truth, await statistics(sampled));
      };
      const { picture, ...found } = await compete(contestant, settings, { signal, training, distance });
      results.push(found);
      pictures.push(picture);
      if (file) {
        mkdirSync(keep, { recursive: true });
        const text = Buffer.from(picture).toString('base64');
        writeFileSync(file, JSON.stringify({ result: found, picture: text } satisfies Kept));
      }
    }
    const { name, parameters, macs, seconds, same, paid } = results.at(-1)!;
    say(
      `${name.padEnd(34)} ${(parameters / 1e6).toFixed(2)} M, ${(macs / 1e6).toFixed(0)} M multiply-adds, ${seconds.toFixed(3)} s a step, loss ${same.loss.toFixed(4)}, FD ${same.distance.toFixed(2)}${paid ? `; after ${paid.updates} updates ${paid.distance.toFixed(2)}` : ''}`,
    );
  }
  if (write !== undefined) await writeAll(write, results, pictures, { ...settings, engine: engine.name });
  result({ engine: engine.name, ...settings, results });
});

/** Trains a network; samples digits from it where it is compared. */
async function compete(
  { name, architecture, config }: Contestant,
  { steps, batchSize, rate, compute, samples }: Settings,
  tools: {
    signal: AbortSignal;
    training: ReturnType<typeof loadDigits>;
    distance: (images: Uint8Array) => Promise<number>;
  },
): Promise<Result & { readonly picture: Uint8Array }> {
  const { signal, training, distance } = tools;
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
  const paidSteps = compute && Math.max(1, Math.round((compute * 1e12) / (3 * cost.macs * batchSize)));
  const until = Math.max(steps, paidSteps ?? 0);
  const progress = startProgress(name, until);
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
      learningRate: warmUp(10, constantRate(rate)),
      maxGradientNorm: 1,
      until,
      signal,
    });
    const stands = new Map<number, Stand>();
    let picture = new Uint8Array();
    for await (const { step, loss, seconds: taken } of run) {
      losses.push(loss);
      seconds.push(taken);
      progress.update(step, undefined, loss.toFixed(4));
      if (step !== steps && step !== paidSteps) continue;
      const images = await sampled(architecture, model, time, samples);
      const last = losses.slice(-Math.max(1, Math.floor(step / 8)));
      const mean = last.reduce((a, b) => a + b, 0) / last.length;
      stands.set(step, { updates: step, loss: mean, distance: await distance(images) });
      if (step === steps) picture = images.slice(0, 10 * 28 * 28);
    }
    return {
      name,
      parameters: cost.parameters,
      macs: cost.macs,
      seconds: [...seconds].sort((a, b) => a - b)[seconds.length >> 1]!,
      firstLoss: losses[0]!,
      same: stands.get(steps)!,
      ...(paidSteps && { paid: stands.get(paidSteps)! }),
      picture,
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

/** The page, the plots and the pictures. */
async function writeAll(
  file: string,
  results: readonly Result[],
  pictures: readonly Uint8Array[],
  { steps, batchSize, rate, compute, samples, engine }: Settings & { readonly engine: string },
): Promise<void> {
  const beside = (ending: string) => file.replace(/\.md$/, ending);
  const spent = ({ macs }: Result) => (3 * macs * batchSize * steps) / 1e12;
  const groups: Readonly<Record<string, (name: string) => boolean>> = {
    'DiT, by size, patches of 4': (name) => name.startsWith('DiT') && name.endsWith('/4'),
    'DiT 128 x 4, by patch 7, 4, 2': (name) => name.startsWith('DiT 128'),
    'UNet, by width': (name) => name.startsWith('UNet'),
    others: (name) => !name.startsWith('DiT') && !name.startsWith('UNet'),
  };
  const plot = async (ending: string, yLabel: string, y: (result: Result) => number) => {
    const series = Object.entries(groups).flatMap(([name, belongs]): PlotSeries[] => {
      const group = results.filter((r) => belongs(r.name)).sort((a, b) => a.macs - b.macs);
      if (group.length === 0) return [];
      const line = { name, x: group.map(spent), y: group.map(y) };
      return [name === 'others' ? { ...line, marks: group.map((r) => r.name) } : line];
    });
    const axes = { xLabel: 'tera multiply-adds of the whole training', yLabel, xScale: 'log', yScale: 'log' } as const;
    const image = plotLines(series, { title: `${steps} updates each`, ...axes });
    await writePng(beside(ending), image, { overwrite: true });
  };
  await plot('-scaling.png', 'loss of the last eighth', ({ same }) => same.loss);
  await plot('-scaling-distance.png', 'Fréchet distance', ({ same }) => same.distance);
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
  const rows = results.map(({ name, parameters, macs, seconds, firstLoss, same, paid }) => {
    const cells = [
      ...[name, parameters.toLocaleString('en-US'), (macs / 1e6).toFixed(1), seconds.toFixed(3), firstLoss.toFixed(3)],
      ...[same.loss.toFixed(4), same.distance.toFixed(2)],
      ...(paid ? [paid.updates, paid.loss.toFixed(4), paid.distance.toFixed(2)] : []),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  const paidColumns = compute === undefined ? '' : ` updates for ${compute} T | last loss | Fréchet distance |`;
  const settings = `--steps ${steps} --batch-size ${batchSize} --rate ${rate}${compute === undefined ? '' : ` --compute ${compute}`} --samples ${samples}`;
  const before = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const byHand = before.includes(BY_HAND) ? before.slice(before.indexOf(BY_HAND)) : '';
  writeFileSync(
    file,
    `# Architectures on the same small data

<!-- Written by the command below as far as "by hand"; do not edit. -->

Measured on ${new Date().toISOString().slice(0, 10)}: ${cpus()[0]?.model.trim()}, engine ${engine}${loadavg()[0]! > cpus().length ? ', other work on the machine' : ''}. Repeat it with

\`\`\`
pnpm scaling ${settings} --write ${file}
\`\`\`

\`--keep FOLDER\` keeps what is done, so that it can be stopped and begun again; \`--compute\` compares networks after the same number of multiply-adds too.
Every network is trained by one recipe: the 28x28 digits, a flow (x = (1 - s) x0 + s eps, uniform s), AdamW at ${rate}, batches of
${batchSize}, ${steps} updates, labels dropped at ${labelDropout}; then ${samples} digits by ${samplerSteps} steps of Euler, without guidance. The Fréchet
distance is between features of \`models/digits-classifier\` of these and of 2,000 digits that were not trained on. So few updates
rank what learns fast; they are no verdict on an architecture. Names: width x depth / patch of transformers, base channels of UNets,
latents / tokens of RIN. Multiply-adds are of one image's forward pass (ZigMa's scan counts its sum over states only).

| network | parameters | M multiply-adds | seconds a step | first loss | last loss | Fréchet distance |${paidColumns}
| --- | ---: | ---: | ---: | ---: | ---: | ---: |${compute === undefined ? '' : ' ---: | ---: | ---: |'}
${rows.join('\n')}

Does more compute give better output? The training's multiply-adds (three forward passes an update) against its last loss, and against the distance.

![compute against loss](${name(beside('-scaling.png'))})

![compute against Fréchet distance](${name(beside('-scaling-distance.png'))})

![digits of every network](${name(beside('-samples.png'))})
${byHand && `\n${byHand}`}`,
  );
}
