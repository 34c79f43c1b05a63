import { type CommandContext, wholeNumber } from '@mezzotint/app';
import { Command } from 'commander';
import { listed, presetNamed } from './presets.js';
import { type PresetReport, reportOf } from './report.js';
import { columns, macsText, parametersText, treeText } from './text.js';
import { treeOf } from './tree.js';

export interface DescribeOptions {
  readonly depth: number;
}

/** `pnpm describe [preset] [--depth n] [--json]`. */
export function describeCommand(): Command {
  return new Command('describe')
    .description(
      'Prints parameters and multiply-adds (MACs) of a preset at its own input size, batch 1, or of every preset. ' +
        'Nothing is allocated: models of any size can be described.',
    )
    .argument('[preset]', 'name of a preset, for example adm-512; every preset when left out')
    .option('--depth <levels>', 'how many levels of the model to print', wholeNumber('--depth', 0), 1)
    .addHelpText(
      'after',
      '\nMACs are counted as in the papers: linear layers, convolutions and both matrix products of attention;\n' +
        'element-wise work and norms are not counted. One MAC is two FLOPs. EDM2 FLOPs are MACs plus element-wise\n' +
        'operations by weight (arithmetic 1, clamp 2, softmax and SiLU 3), those on weights included.',
    );
}

/** Prints one preset, or the list. */
export async function runDescribe(
  [name]: readonly string[],
  { depth }: DescribeOptions,
  { json, say, result }: Pick<CommandContext, 'json' | 'say' | 'result'>,
): Promise<void> {
  if (name === undefined) {
    const reports = listed.map((preset) => reportOf(preset).report);
    if (json) result(reports);
    else for (const line of listText(reports).split('\n')) say(line);
    return;
  }
  const { report, cost } = reportOf(presetNamed(name));
  if (json) {
    result(report);
    return;
  }
  say(`${report.name} (${report.package}): ${report.about}`);
  say(`parameters ${parametersText(report.parameters)}, of which training changes ${parametersText(report.trainable)}`);
  say(`MACs       ${macsText(report.macs)} for ${inputText(report)}`);
  say(`FLOPs      ${macsText(report.flops)}, two for each MAC`);
  say(
    `EDM2 FLOPs ${macsText(report.edm2Flops)}, MACs and weighted element-wise operations (the convention of EDM2's tables)`,
  );
  say('');
  for (const line of treeText(treeOf(cost.modules), depth).split('\n')) say(line);
}

function listText(reports: readonly PresetReport[]): string {
  const rows = reports.map(({ name, package: from, parameters, macs, about }) => [
    name,
    from,
    parametersText(parameters),
    macsText(macs),
    about,
  ]);
  return columns([['preset', 'package', 'parameters', 'MACs', ''], ...rows], new Set([2, 3]));
}

function inputText({ input }: PresetReport): string {
  return input.map(({ name, shape }) => `${name === undefined ? '' : `${name} `}[${shape.join(', ')}]`).join(', ');
}
