import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandContext } from '@mezzotint/app';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import { writePng } from '@mezzotint/data';
import {
  type Collected,
  type Collector,
  computeEvaluation,
  type EvaluationPlan,
  plotEvaluation,
  readCheckpoint,
  readStatistics,
} from '@mezzotint/metrics/node';
import { readJson } from '@mezzotint/weights/node';
import { Command } from 'commander';
import { PLAN_FILE } from './evaluate.js';

/** The flags of `evaluate merge`. */
export interface MergeFlags {
  readonly plot?: string;
}

export function mergeCommand(): Command {
  return new Command('evaluate merge')
    .description(
      'Joins the shards that evaluate --shard i/n --run <folder> stored, and prints the metrics of the whole.',
    )
    .argument('<folders...>', 'run folders of all n shards')
    .option('--plot <file>', 'PNG of the first metric over guidance scales or models');
}

/** Joins shards and prints as `evaluate` does. Every shard has to be there, complete and of one evaluation. */
export async function merge(folders: readonly string[], { plot }: MergeFlags, context: CommandContext): Promise<void> {
  const files = folders.map((folder) => join(folder, PLAN_FILE));
  const absent = files.filter((file) => !existsSync(file));
  if (absent.length > 0)
    throw new InvalidArgumentError(
      'merge',
      absent.map((file) => `${file}: no such file`),
    );
  const [first, ...others] = files.map((file) => JSON.stringify(readJson(file)));
  const other = others.findIndex((text) => text !== first);
  if (other >= 0) throw new InvalidFileError(files[other + 1]!, `is of another evaluation than ${files[0]}`);
  const plan = JSON.parse(first!) as EvaluationPlan;
  const collected = new Map<string, Collected>();
  for (const { key, name } of [...plan.real, ...plan.generated, ...(plan.floor ? [plan.floor] : [])]) {
    if (key === 'reference') collected.set(key, (await readStatistics(name)).collected);
    else collected.set(key, await joined(folders.map((folder) => join(folder, `${key}.npz`))));
  }
  const out = computeEvaluation(plan, collected, context.say);
  if (plot !== undefined) await writePng(plot, plotEvaluation(out, plan.metrics[0]!), { overwrite: true });
  context.result({ merged: folders.length, ...out });
}

async function joined(paths: readonly string[]): Promise<Collector> {
  let whole: Collector | undefined;
  for (const path of paths) {
    const { collector } = await readCheckpoint(path);
    whole = whole === undefined ? collector : whole.merge(collector);
  }
  const { total } = whole!.plan;
  if (whole!.count !== total) {
    throw new InvalidArgumentError(
      'merge',
      `expected ${total} pictures in all shards of ${paths[0]}, got ${whole!.count}: is a shard missing, or twice there?`,
    );
  }
  return whole!;
}
