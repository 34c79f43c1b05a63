import type { ImageSet } from '@mezzotint/data';
import { levelAt, type ProcessConfig, samplerFromProcess } from '@mezzotint/schedulers';
import type { WholeConfig } from './config.js';
import type { LogLine } from './run-folder.js';
import type { TrainingData } from './training-data.js';

/**
 * What looks wrong with data and settings before a run, one sentence each with what to do.
 */
export function lookBefore(config: WholeConfig, data: TrainingData, shown: ImageSet | undefined): string[] {
  const notes = shown === undefined ? [] : lookAt(shown);
  const epochs = (config.steps * config.batchSize * config.accumulation) / data.count;
  if (data.count < 100) {
    notes.push(
      `${data.count} pictures are few: a network learns them by heart. More pictures, flips, or fine-tuning (--init) help.`,
    );
  } else if (epochs > 2000) {
    notes.push(`Each picture is seen ${Math.round(epochs)} times: compare the loss with that of held-out pictures.`);
  }
  notes.push(...lookAtProcess(config));
  return notes;
}

/** The most of a picture that a process may leave at its end; Stable Diffusion's leaves 0.07 (Lin et al. 2023, table 1). */
const MOST_LEFT = 0.1;

/** What to change where more is left. */
const toNoise = {
  discrete: 'take 1000 steps, or cosine betas',
  edm: 'take a larger sigmaMax, such as 80',
  'log-snr': 'take a curve that ends lower, such as cosine with min -15',
} as const;

/** Samples begin with noise alone: a process that leaves some of the picture at its end is sampled from what was never trained. */
function lookAtProcess(config: WholeConfig): string[] {
  if (config.task !== 'diffusion' && config.task !== 'super-resolution') return [];
  const process = config.process as ProcessConfig;
  if (process.kind === 'flow') return []; // It ends in noise alone.
  const { alpha, sigma } = levelAt(
    samplerFromProcess(process, { solver: 'euler', limit: null }).schedule({ steps: 1 }),
    0,
  );
  const left = alpha / Math.hypot(alpha, sigma);
  if (left <= MOST_LEFT) return [];
  return [
    `At the end of its process ${(100 * left).toFixed(0)} % of a picture is left, and samples begin with noise alone: expect wrong colours; ${toNoise[process.kind]}.`,
  ];
}

/** What looks wrong with pictures. */
function lookAt({ images }: ImageSet): string[] {
  const notes: string[] = [];
  const { mean, deviation, least, most } = statistics(images);
  if (deviation < 0.02) {
    notes.push(
      `The pictures hardly vary (deviation ${deviation.toFixed(3)} of a range of 2): look whether they were read as they are.`,
    );
  } else if (most - least < 0.5) {
    notes.push(
      `The pictures use only ${least.toFixed(2)} to ${most.toFixed(2)} of the range [-1, 1]: raise their contrast, or expect pale samples.`,
    );
  }
  if (Math.abs(mean) > 0.9)
    notes.push(`The pictures are nearly all ${mean > 0 ? 'white' : 'black'} (mean ${mean.toFixed(2)}).`);
  return notes;
}

/** What the log of a run tells, one sentence each with what to do. */
export function lookAfter(config: WholeConfig, lines: readonly LogLine[]): string[] {
  const notes: string[] = [];
  const losses = lines.map(({ loss }) => loss);
  const mean = (part: readonly number[]) => part.reduce((a, b) => a + b, 0) / part.length;
  if (losses.length >= 20) {
    const tenth = Math.max(2, Math.floor(losses.length / 10));
    const [first, last] = [mean(losses.slice(0, tenth)), mean(losses.slice(-tenth))];
    if (last > 0.98 * first) {
      notes.push(
        `The loss did not fall (${first.toPrecision(3)} at first, ${last.toPrecision(3)} at last): raise the learning rate if it lies still, lower it if it jumps.`,
      );
    }
    const norms = lines.map(({ gradientNorm }) => gradientNorm);
    const { maxGradientNorm } = config.optimizer;
    if (maxGradientNorm !== null && norms.filter((norm) => norm > 10 * maxGradientNorm).length > norms.length / 2) {
      notes.push(
        `Most gradients are more than 10 times maxGradientNorm ${maxGradientNorm}: the rate is effectively lower; raise the limit or set it to null.`,
      );
    }
  }
  const scored = lines.filter(({ validationLoss }) => validationLoss !== undefined);
  const latest = scored.at(-1);
  const best = Math.min(...scored.map(({ validationLoss }) => validationLoss!));
  if (latest !== undefined && scored.length >= 3 && latest.validationLoss! > 1.1 * best) {
    const at = scored.find(({ validationLoss }) => validationLoss === best)!.step;
    notes.push(
      `The loss of held-out pictures was best at update ${at} (${best.toPrecision(3)}) and is ${latest.validationLoss!.toPrecision(3)} now: the network learns its pictures by heart; stop there, or give it more pictures.`,
    );
  }
  // The first pictures are always waited for.
  const waiting = lines.slice(5).flatMap(({ waited = 0 }) => waited);
  if (waiting.length > 0 && mean(waiting) > 0.2) {
    notes.push(
      `${Math.round(100 * mean(waiting))} % of the time was spent waiting for pictures: raise data.threads, or store smaller pictures.`,
    );
  }
  return notes;
}

/** Of bytes as values in [-1, 1]; the range without the outer percent. */
export function statistics(bytes: Uint8Array) {
  const counts = new Float64Array(256);
  for (const byte of bytes) counts[byte]! += 1;
  const n = Math.max(bytes.length, 1);
  const value = (byte: number) => byte / 127.5 - 1;
  let [mean, square] = [0, 0];
  counts.forEach((count, byte) => {
    mean += (count * value(byte)) / n;
    square += (count * value(byte) ** 2) / n;
  });
  const quantile = (q: number) => {
    let sum = 0;
    for (let byte = 0; byte < 256; byte++) {
      sum += counts[byte]!;
      if (sum >= q * n) return value(byte);
    }
    return 1;
  };
  return { mean, deviation: Math.sqrt(Math.max(square - mean * mean, 0)), least: quantile(0.01), most: quantile(0.99) };
}
