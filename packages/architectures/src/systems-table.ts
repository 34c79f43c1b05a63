import { InvalidFileError, textOf } from '@mezzotint/core';
import { imageNet512, type PublishedSystem, type SystemCost } from './imagenet-512.js';

/** A system of a table, and what our cost model counts of it; null where we have no such network. */
export interface SystemRow extends PublishedSystem {
  readonly ours: SystemCost | null;
}

const head = 'system,FID,with guidance,M params,Gflops,NFE,ours: M params,G MACs,EDM2 Gflops,source'.split(',');

/** A table of systems, line by line: columns filled up with spaces, or Markdown. Notes stand below, each once. */
export function systemsTable(rows: readonly SystemRow[], format: 'text' | 'markdown'): string[] {
  const cell = (value: number | null | undefined, digits = 0) =>
    value === null || value === undefined ? '–' : value.toFixed(digits);
  const notes: string[] = [];
  const body = rows.map(({ name, fid, guidedFid, parameters, gflops, nfe, ours, source, note }) => {
    if (note !== undefined && !notes.includes(note)) notes.push(note);
    const mark = note === undefined ? '' : ` [${notes.indexOf(note) + 1}]`;
    return [
      ...[name + mark, cell(fid, 2), cell(guidedFid, 2), cell(parameters), cell(gflops), cell(nfe)],
      ...[cell(ours?.parameters, 1), cell(ours?.gmacs, 1), cell(ours?.edm2Gflops, 1), source],
    ];
  });
  const footnotes = [
    ...notes.map((note, i) => `[${i + 1}] ${note}`),
    'Gflops of the papers are multiply-adds of one evaluation, latent models without the decoder; those of EDM2 rows also count element-wise operations.',
  ];
  if (format === 'markdown') {
    const escaped = (cells: readonly string[]) => `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
    const rule = head.map((_, i) => (i === 0 || i === head.length - 1 ? '---' : '---:'));
    return [escaped(head), escaped(rule), ...body.map(escaped), '', ...footnotes.flatMap((note) => [note, ''])];
  }
  const widths = head.map((title, i) => Math.max(title.length, ...body.map((cells) => cells[i]!.length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((text, i) => (i === 0 || i === cells.length - 1 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [line(head), ...body.map(line), '', ...footnotes];
}

/**
 * Rows of a user's file, parsed: `{ name, fid, guidedFid, parameters, gflops, nfe, source, note }`, or what `evaluate --json` prints,
 * the least FID with guidance as the guided one.
 *
 * @param file its name, for sources and errors
 * @throws InvalidFileError when it is neither
 */
export function systemsFromJson(value: unknown, file: string): PublishedSystem[] {
  const json = (value ?? {}) as Record<string, unknown>;
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
    const recipe = textOf(json.recipe ?? '');
    const features = json.features === 'inception' ? '' : `NOT FID: ${textOf(json.features)} features; `;
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

/** For `plotLines` of `@mezzotint/figures`: FID, the guided one where there is one, against the operations of one evaluation; both axes logarithmic. */
export function systemsPlot(rows: readonly SystemRow[]) {
  const series = (name: string, own: readonly SystemRow[]) => ({
    ...{ name, x: own.map(({ gflops }) => gflops!), y: own.map(({ fid, guidedFid }) => guidedFid ?? fid!) },
    marks: own.map((row) => row.name),
  });
  const placed = rows.filter(({ gflops, fid, guidedFid }) => gflops !== null && (fid ?? guidedFid) !== null);
  const published = new Set(imageNet512.map(({ name }) => name));
  const gan = placed.filter(({ name }) => name === 'StyleGAN-XL');
  const diffusion = placed.filter(({ name }) => published.has(name) && name !== 'StyleGAN-XL');
  const added = placed.filter(({ name }) => !published.has(name));
  const options = {
    title: 'ImageNet 512 x 512: FID with guidance (without, where none is published)',
    xLabel: 'Gflops of one evaluation of the network',
    yLabel: 'FID',
    xScale: 'log',
    yScale: 'log',
  } as const;
  const known = [series('diffusion models', diffusion), series('GAN', gan)];
  return { series: added.length > 0 ? [...known, series('added', added)] : known, options };
}
