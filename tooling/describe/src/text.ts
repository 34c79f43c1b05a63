import type { Branch } from './tree.js';

const whole = new Intl.NumberFormat('en-US');
const giga = new Intl.NumberFormat('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** 558,997,638 */
export function parametersText(parameters: number): string {
  return whole.format(parameters);
}

/** Multiply-adds in thousands of millions: 1,982.33 G; small ones with the digits that say something. */
export function macsText(macs: number): string {
  if (macs >= 1e7 || macs === 0) return `${giga.format(macs / 1e9)} G`;
  return `${giga.format(macs / 1e6)} M`;
}

/** Rows as aligned columns; those in `right` to the right. */
export function columns(rows: readonly (readonly string[])[], right: ReadonlySet<number>): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (right.has(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A model's tree down to `depth` levels, one line a level: name, class, parameters, multiply-adds and output shape. */
export function treeText(root: Branch, depth: number): string {
  const rows: string[][] = [['', '', 'parameters', 'MACs', 'output']];
  const visit = (branch: Branch, level: number): void => {
    rows.push([
      `${'  '.repeat(level)}${branch.name === '' ? 'model' : branch.name}`,
      branch.type ?? '',
      parametersText(branch.parameters),
      macsText(branch.macs),
      branch.output === undefined ? '' : `[${branch.output.join(', ')}]`,
    ]);
    if (level < depth) for (const child of branch.children) visit(child, level + 1);
  };
  visit(root, 0);
  return columns(rows, new Set([2, 3]));
}
