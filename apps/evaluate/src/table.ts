import { type CommandContext, oneOf, prepareOutput } from '@mezzotint/app';
import {
  imageNet512,
  type SystemRow,
  systemCost,
  systemsFromJson,
  systemsPlot,
  systemsTable,
} from '@mezzotint/architectures';
import { writePng } from '@mezzotint/data';
import { plotLines } from '@mezzotint/figures';
import { readJson } from '@mezzotint/weights/node';
import { Command } from 'commander';

/** The flags of `evaluate table`. */
export interface TableFlags {
  readonly add?: readonly string[];
  readonly format: 'text' | 'markdown' | 'json';
  readonly picture?: string;
}

export function tableCommand(): Command {
  return new Command('evaluate table')
    .description(
      'The published table of ImageNet-512 beside what our cost model computes for the systems that are here, and rows of yours.',
    )
    .option(
      '--add <file>',
      'a row: JSON of { name, fid, guidedFid, parameters, gflops, nfe, source }, or what evaluate --json printed',
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .option('--format <kind>', 'text, markdown or json', oneOf('--format', ['text', 'markdown', 'json']), 'text')
    .option('--picture <file>', 'PNG of FID against Gflops');
}

/** Prints the table and draws the picture. */
export async function printTable({ add = [], format, picture }: TableFlags, context: CommandContext): Promise<void> {
  if (picture !== undefined) prepareOutput(picture, true);
  const rows = [...imageNet512, ...add.flatMap((file) => systemsFromJson(readJson(file), file))].map(
    (system): SystemRow => ({ ...system, ours: systemCost(system) }),
  );
  const lines = format === 'json' ? JSON.stringify(rows, null, 2).split('\n') : systemsTable(rows, format);
  for (const line of lines) context.say(line);
  if (picture !== undefined) {
    const { series, options } = systemsPlot(rows);
    await writePng(picture, plotLines(series, options), { overwrite: true });
    context.say(`Wrote ${picture}`);
  }
  context.result({ rows });
}
