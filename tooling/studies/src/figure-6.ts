import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandContext, startProgress } from '@mezzotint/app';
import { toBytes, writePng } from '@mezzotint/data';
import { imageGrid, plotHeatMap, plotLines } from '@mezzotint/figures';
import { reconstructAverages } from '@mezzotint/training/node';
import { readSafetensors } from '@mezzotint/weights/node';
import { build, openJudge, sampleDigits, size, tiny, trainDigits } from './digits.js';
import { kept, writeJson } from './files.js';

/** The flags of `study figure-6`. */
export interface Figure6Flags {
  readonly out: string;
  readonly steps: number;
  readonly batch: number;
  readonly count: number;
  readonly seed: number;
  /** EMA lengths, relative widths. */
  readonly sigmaRel: readonly number[];
  readonly guidance: readonly number[];
}

/**
 * EDM2's figure 6 at a tiny size: the Fréchet distance against EMA length and guidance strength, all averages reconstructed after one
 * training from its snapshots. Goes on where it was stopped.
 */
export async function runFigure6(
  { out, steps, batch, count, seed, sigmaRel: widths, guidance: scales }: Figure6Flags,
  context: CommandContext,
): Promise<void> {
  const { say, result, signal } = context;
  mkdirSync(join(out, 'averages'), { recursive: true });
  const config = tiny('G');
  const training = startProgress('Training', steps);
  try {
    const onStep = (step: number, loss: number) => training.update(step, steps, `loss ${loss.toFixed(3)}`);
    const snapshotEvery = Math.max(1, Math.round(steps / 16));
    await trainDigits({ folder: join(out, 'run'), config, steps, batch, seed, snapshotEvery, onStep }, context);
  } finally {
    training.stop();
  }
  const files = widths.map((sigmaRel) => ({
    sigmaRel,
    path: join(out, 'averages', `${sigmaRel.toFixed(3)}.safetensors`),
  }));
  if (files.some(({ path }) => !existsSync(path))) {
    await reconstructAverages(join(out, 'run', 'snapshots'), files, { overwrite: true });
  }
  const judge = await openJudge();
  const place = join(out, 'figure-6.json');
  const settings = { steps, batch, count, seed, widths, scales };
  const none = widths.map(() => scales.map((): number | null => null));
  const distances = kept<{ distances: typeof none }>(place, settings)?.distances ?? none;
  const progress = startProgress('Scoring', widths.length * scales.length);
  let done = 0;
  try {
    for (const [i, { path }] of files.entries()) {
      const source = readSafetensors(path);
      const model = await build(config).load(source);
      source.close();
      for (const [j, guidance] of scales.entries()) {
        signal.throwIfAborted();
        if (distances[i]![j] === null) {
          const images = await sampleDigits(model, { count, steps: 8, guidance, seed });
          distances[i]![j] = await judge.distance(images);
          writeJson(place, { ...settings, distances });
          if (guidance === scales[0]) await writeSamples(join(out, `samples-${widths[i]!.toFixed(3)}.png`), images);
        }
        progress.update(++done);
      }
      model.dispose();
    }
  } finally {
    progress.stop();
  }
  const table = distances as number[][];
  await writePng(
    join(out, 'figure-6.png'),
    plotHeatMap(table, {
      ...{ rows: widths.map(String), columns: scales.map(String) },
      ...{ title: 'Fréchet distance', rowLabel: 'EMA length (sigma_rel)', columnLabel: 'guidance scale' },
    }),
    { overwrite: true },
  );
  await writePng(
    join(out, 'figure-5a.png'),
    plotLines(
      scales.map((scale, j) => ({ name: `guidance ${scale}`, x: widths, y: table.map((row) => row[j]!) })),
      { title: 'Fréchet distance against EMA length', xLabel: 'sigma_rel', yLabel: 'Fréchet distance', yScale: 'log' },
    ),
    { overwrite: true },
  );
  for (const [i, width] of widths.entries()) {
    say(
      `EMA ${String(width).padEnd(6)} ${table[i]!.map((d) => d.toFixed(2).padStart(8)).join('')}   at guidance ${scales.join(', ')}`,
    );
  }
  result({ ...settings, distances });
}

/** The first forty of samples in [-1, 1], three times as large. */
export async function writeSamples(path: string, samples: Float32Array): Promise<void> {
  const images = toBytes(samples.slice(0, 40 * size * size));
  const set = { images, count: 40, height: size, width: size, channels: 1 as const };
  await writePng(path, imageGrid(set, { columns: 10, scale: 3 }), { overwrite: true });
}
