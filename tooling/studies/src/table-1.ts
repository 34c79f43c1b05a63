import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandContext, startProgress } from '@mezzotint/app';
import { writePng } from '@mezzotint/data';
import { plotLines } from '@mezzotint/figures';
import { type AblationName, ablation } from '@mezzotint/unet';
import { build, magnitudes, openJudge, sampleDigits, tiny, tracked, trainDigits } from './digits.js';
import { writeSamples } from './figure-6.js';
import { kept, readJson, writeJson } from './files.js';

/** The flags of `study table-1`. */
export interface Table1Flags {
  readonly out: string;
  readonly steps: number;
  readonly batch: number;
  readonly count: number;
  readonly seed: number;
  readonly configs: readonly AblationName[];
}

/** What is kept of one configuration. */
interface Row {
  readonly parameters: number;
  /** Over the last updates; null where the run went on after the training had ended. */
  readonly loss: number | null;
  /** By the widths of the averages. */
  readonly distances: readonly number[];
  readonly measured: readonly { readonly step: number; readonly weights: number; readonly activations: number }[];
}

/** Those whose magnitudes are drawn, as in the paper's figures 3, 15 and 17. */
const drawn: readonly AblationName[] = ['A', 'C', 'E', 'G'];

/**
 * EDM2's table 1 at a tiny size: configurations A to G trained under equal budgets, the Fréchet distance of each, and how weights and
 * activations grow. Goes on where it was stopped.
 */
export async function runTable1(
  { out, steps, batch, count, seed, configs }: Table1Flags,
  context: CommandContext,
): Promise<void> {
  const { say, result, signal } = context;
  mkdirSync(out, { recursive: true });
  const place = join(out, 'table-1.json');
  const settings = { steps, batch, count, seed, tracked };
  const rows = kept<{ rows: Partial<Record<AblationName, Row>> }>(place, settings)?.rows ?? {};
  const judge = await openJudge();
  for (const name of configs) {
    if (rows[name] !== undefined) continue;
    const config = tiny(name);
    const folder = join(out, name);
    mkdirSync(folder, { recursive: true });
    const record = join(folder, 'magnitudes.json');
    const measured = [...(readJson<Row['measured']>(record) ?? [])];
    const losses: number[] = [];
    const progress = startProgress(`Training ${name}`, steps);
    let averages: Awaited<ReturnType<typeof trainDigits>>;
    try {
      averages = await trainDigits(
        {
          ...{ folder, config, steps, batch, seed },
          async onStep(step, loss, model) {
            losses.push(loss);
            progress.update(step, steps, `loss ${loss.toFixed(3)}`);
            if (step !== 1 && step % Math.max(1, Math.round(steps / 20)) !== 0) return;
            if (measured.some((one) => one.step === step)) return;
            measured.push({ step, ...(await magnitudes(model)) });
            writeJson(record, measured);
          },
        },
        context,
      );
    } finally {
      progress.stop();
    }
    const distances: number[] = [];
    let parameters = 0;
    for (const state of averages) {
      signal.throwIfAborted();
      const model = await build(config).load(state);
      parameters = [...model.unet.params().values()].reduce((sum, { size, buffer }) => sum + (buffer ? 0 : size), 0);
      const images = await sampleDigits(model, { count, steps: 12, guidance: 1, seed });
      distances.push(await judge.distance(images));
      await writeSamples(join(folder, 'samples.png'), images);
      model.dispose();
    }
    const last = losses.slice(-50);
    const loss = last.length > 0 ? last.reduce((a, b) => a + b, 0) / last.length : null;
    rows[name] = { parameters, loss, distances, measured };
    writeJson(place, { ...settings, rows });
  }
  for (const what of ['weights', 'activations'] as const) {
    const lines = drawn
      .filter((name) => rows[name] !== undefined)
      .map((name) => ({
        name,
        x: rows[name]!.measured.map(({ step }) => step),
        y: rows[name]!.measured.map((one) => one[what]),
      }));
    const title = `Root mean square of ${what}`;
    const labels = { title, xLabel: 'updates', yLabel: 'root mean square', yScale: 'log' } as const;
    await writePng(join(out, `${what}.png`), plotLines(lines, labels), { overwrite: true });
  }
  for (const name of configs) {
    const { parameters, distances } = rows[name]!;
    const { fid } = ablation[name].recipe.published;
    const found = distances.map((d, i) => `${d.toFixed(2)} (EMA ${tracked[i]})`).join(', ');
    say(`${name}: ${parameters.toLocaleString('en-US')} parameters, Fréchet distance ${found}; the paper's FID ${fid}`);
  }
  result({ ...settings, rows });
}
