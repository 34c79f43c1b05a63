import { statSync } from 'node:fs';
import type { CommandContext } from '@mezzotint/app';
import { useBackend } from '@mezzotint/backend';
import { InvalidArgumentError } from '@mezzotint/core';
import { Command } from 'commander';
import { checkFolder, type FolderReport, tolerance } from './check.js';
import { type GoldenFolder, openGoldenFolder } from './golden-folder.js';
import { countsOf, describeFolder, summarise } from './report.js';

export function goldenCommand(): Command {
  return new Command('golden')
    .description(
      'Runs our models on checkpoints of the reference implementations (folders with config.json, model.safetensors, ' +
        'io.safetensors, origin.json) and compares every output. Exits with 1 when a model fails, with 2 when a folder ' +
        'is not one. MEZZOTINT_BACKEND chooses the engine.',
    )
    .argument('<folders...>', 'golden folders: config.json, model.safetensors, io.safetensors and origin.json');
}

/** Checks the folders in turn. All are opened before the first model runs. Plain files (of a shell's `*`) are left out. */
export async function runGolden(
  paths: readonly string[],
  { say, result }: Omit<CommandContext, 'signal'>,
): Promise<void> {
  const files = paths.filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  const folders = await openAll(paths.filter((path) => !files.includes(path)));
  for (const file of files) say(`${file}: a file, not a folder; left out`);
  const engine = await useBackend();
  const reports: FolderReport[] = [];
  for (const folder of folders) {
    const report = await checkFolder(folder);
    reports.push(report);
    say(describeFolder(report));
  }
  say(summarise(reports, engine.name));
  const counts = countsOf(reports);
  result({ engine: engine.name, version: engine.version, tolerance, ...counts, folders: reports, leftOut: files });
  if (counts.failed > 0) process.exitCode = 1;
}

async function openAll(paths: readonly string[]): Promise<GoldenFolder[]> {
  if (paths.length === 0) throw new InvalidArgumentError('folders', 'expected at least one folder, got files only');
  const opened = await Promise.allSettled(paths.map(openGoldenFolder));
  const reasons = opened.flatMap((open) => (open.status === 'rejected' ? [open.reason as Error] : []));
  if (reasons.length === 1) throw reasons[0]!;
  if (reasons.length > 1)
    throw new InvalidArgumentError(
      'folders',
      reasons.map(({ message }) => message),
    );
  return opened.flatMap((open) => (open.status === 'fulfilled' ? [open.value] : []));
}
