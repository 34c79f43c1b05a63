import { type CommandContext, oneOf, prepareOutput } from '@mezzotint/app';
import { imageNet512, type PublishedSystem, type SystemRow, systemCost, systemsTable } from '@mezzotint/architectures';
import { InvalidFileError } from '@mezzotint/core';
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
  const rows = [...imageNet512, ...add.flatMap(addedRows)].map(
    (system): SystemRow => ({ ...system, ours: systemCost(system) }),
  );
  const lines = format === 'json' ? JSON.stringify(rows, null, 2).split('\n') : systemsTable(rows, format);
  for (const line of lines) context.say(line);
  if (picture !== undefined) {
    await writePng(picture, pictureOf(rows), { overwrite: true });
    context.say(`Wrote ${picture}`);
  }
  context.result({ rows });
}

/** Rows of a user's file: one that says all itself, or the FIDs of an evaluation, the least with guidance as the guided one. */
function addedRows(file: string): PublishedSystem[] {
  const json = readJson(file) as Record<string, unknown>;
  const numberOf = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) ? value : null);
  if (typeof json.name === 'string' && (numberOf(json.fid) ?? numberOf(json.guidedFid)) !== null) {
    const [fid, guidedFid, parameters, gflops, nfe] = ['fid', 'guidedFid', 'parameters', 'gflops', 'nfe'].map((key) =>
      numberOf(json[key]),
    ) as [number | null, number | null, number | null, number | null, number | null];
    const note = typeof json.note === 'string' ? { note: json.note } : {};
    const source = typeof json.source === 'string' ? json.source : file;
    return [{ name: json.name, fid, guidedFid, parameters, gflops, nfe, source, ...note }];
  }
  const rows = (json.rows ?? []) as {
    generated: string;
    model: string | null;
    guidance: number | null;
    metrics: Record<string, { value: number }>;
  }[];
  const scored = rows.filter(({ metrics }) => numberOf(metrics?.fid?.value) !== null);
  if (scored.length === 0) {
    throw new InvalidFileError(
      file,
      'expected { name, fid, ... } or the output of evaluate --json with the metric fid',
    );
  }
  return [...new Set(scored.map(({ model, generated }) => model ?? generated))].map((name) => {
    const own = scored.filter(({ model, generated }) => (model ?? generated) === name);
    const least = (guided: boolean) => {
      const values = own
        .filter(({ guidance }) => ((guidance ?? 1) !== 1) === guided)
        .map(({ metrics }) => metrics.fid!.value);
      return values.length > 0 ? Math.min(...values) : null;
    };
    const recipe = String(json.recipe ?? '');
    const features = json.features === 'inception' ? '' : `NOT FID: ${String(json.features)} features; `;
    return {
      ...{
        name: String(name),
        fid: least(false),
        guidedFid: least(true),
        parameters: null,
        gflops: null,
        nfe: null,
      },
      ...{ source: `measured, ${file}`, note: `${features}${recipe}` },
    };
  });
}

/** FID, the guided one where there is one, against the operations of one evaluation; both axes logarithmic. */
function pictureOf(rows: readonly SystemRow[]) {
  const series = (name: string, own: readonly SystemRow[]) => ({
    ...{ name, x: own.map(({ gflops }) => gflops!), y: own.map(({ fid, guidedFid }) => guidedFid ?? fid!) },
    marks: own.map((row) => row.name),
  });
  const placed = rows.filter(({ gflops, fid, guidedFid }) => gflops !== null && (fid ?? guidedFid) !== null);
  const known = new Set(imageNet512.map(({ name }) => name));
  const gan = placed.filter(({ name }) => name === 'StyleGAN-XL');
  const diffusion = placed.filter(({ name }) => known.has(name) && name !== 'StyleGAN-XL');
  const added = placed.filter(({ name }) => !known.has(name));
  return plotLines(
    [series('diffusion models', diffusion), series('GAN', gan), ...(added.length > 0 ? [series('added', added)] : [])],
    {
      ...{
        title: 'ImageNet 512 x 512: FID with guidance (without, where none is published)',
        xScale: 'log',
        yScale: 'log',
      },
      ...{ xLabel: 'Gflops of one evaluation of the network', yLabel: 'FID' },
    },
  );
}
