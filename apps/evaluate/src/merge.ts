import type { CommandContext } from '@mezzotint/app';
import { writePng } from '@mezzotint/data';
import { computeEvaluation, mergeRuns, plotEvaluation } from '@mezzotint/metrics/node';
import { Command } from 'commander';

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
  const { plan, collected } = await mergeRuns(folders);
  const out = computeEvaluation(plan, collected, context.say);
  if (plot !== undefined) await writePng(plot, plotEvaluation(out, plan.metrics[0]!), { overwrite: true });
  context.result({ merged: folders.length, ...out });
}
