import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { type CommandContext, runCommand, wholeNumber } from '@mezzotint/app';
import { writePng } from '@mezzotint/data';
import { plotLines } from '@mezzotint/figures';
import { Command } from 'commander';
import { type KillsOptions, runKills } from './kills.js';
import { root } from './launch.js';
import { type MeasureOptions, runMeasure } from './measure.js';
import { measureHost, scalingReport } from './scaling.js';

/** The part of docs/distributed.md between these marks is written by `scaling --write`. */
const [BEGIN, END] = ['<!-- scaling: written by `pnpm distributed scaling --write` -->', '<!-- end of scaling -->'];

async function kills(options: KillsOptions, { say }: CommandContext): Promise<void> {
  if (!(await runKills(options, say))) process.exitCode = 1;
}

async function scaling({ write }: { readonly write?: boolean }, { say }: CommandContext): Promise<void> {
  const { text, series } = scalingReport(measureHost());
  say(text);
  if (!write) return;
  const page = join(root, 'docs', 'distributed.md');
  const [before, rest = ''] = readFileSync(page, 'utf8').split(BEGIN);
  const after = rest.split(END)[1] ?? '\n';
  writeFileSync(page, `${before}${BEGIN}\n\n${cpus()[0]!.model}, ${cpus().length} cores. ${text}\n\n${END}${after}`);
  const options = { title: 'Efficiency, nodes 100 times as fast as 2 cores, 8 pictures a rank, float32' };
  const plot = plotLines(series, { ...options, xLabel: 'ranks', yLabel: 'efficiency', xScale: 'log' });
  await writePng(join(root, 'docs', 'distributed-scaling.png'), plot, { overwrite: true });
}

const [word, ...rest] = process.argv.slice(2);
switch (word) {
  case 'kills':
    await runCommand<KillsOptions>(
      new Command('distributed kills')
        .description('Kills ranks of a training at random moments, and compares its end with one that was not stopped.')
        .option('--kills <n>', 'how often', wholeNumber('--kills', 1), 20)
        .option('--seed <n>', 'of the moments', wholeNumber('--seed'), 0)
        .option('--data <folder>', 'pictures to train on (default: the digits)'),
      kills,
      rest,
    );
    break;
  case 'measure':
    await runCommand<MeasureOptions>(
      new Command('distributed measure')
        .description('Times a group of one, and two ranks of one thread against one rank of two, in turns.')
        .option('--turns <n>', 'how often', wholeNumber('--turns', 1), 3),
      ({ turns }, { say }) => runMeasure({ turns }, say),
      rest,
    );
    break;
  case 'scaling':
    await runCommand<{ write?: boolean }>(
      new Command('distributed scaling')
        .description('Computes how training scales to 8, 64 and 512 ranks by a model of the network.')
        .option('--write', 'into docs/distributed.md and docs/distributed-scaling.png'),
      scaling,
      rest,
    );
    break;
  default:
    process.stderr.write('Expected one of: kills, measure, scaling\n');
    process.exitCode = 2;
}
