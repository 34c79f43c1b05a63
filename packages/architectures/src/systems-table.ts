import type { PublishedSystem, SystemCost } from './imagenet-512.js';

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
