import type { Bitmap, ImageSet } from '@mezzotint/data';
import { plotLines } from '@mezzotint/figures';
import type { CascadeFlags, Score } from './cascade.js';

/** A set of pictures that is scored. */
export interface Row {
  /** What was enlarged: pictures of the base, or small pictures of real ones. */
  readonly from: 'base' | 'real';
  readonly by: 'as they are' | 'bicubic' | 'upsampler' | 'upsampler without augmentation';
  /** Level of augmentation in sampling, of the upsampler trained with augmentation. */
  readonly level?: number;
  readonly make: () => ImageSet | Promise<ImageSet>;
}

/** What a study says of itself. */
export interface Facts extends CascadeFlags {
  /** Pixels a side of the small pictures. */
  readonly side: number;
  /** The level with the least FID on pictures of the base. */
  readonly best: number;
  readonly recipe: string;
}

/** The table of a study in Markdown, and its plots by file. */
export function reportOf(
  rows: readonly Row[],
  score: (row: Row) => Score,
  facts: Facts,
): { readonly text: string; readonly plots: Readonly<Record<string, Bitmap>> } {
  return {
    text: textOf(rows, score, facts),
    plots: { 'cascade-fid.png': plotOf(rows, score, 'fid'), 'cascade-kid.png': plotOf(rows, score, 'kid') },
  };
}

/** A measure over the level; what has no level is a level line. */
function plotOf(rows: readonly Row[], score: (row: Row) => Score, measure: 'fid' | 'kid'): Bitmap {
  const levels = [...new Set(rows.flatMap(({ level }) => level ?? []))];
  const lines = (['base', 'real'] as const).flatMap((from) => {
    const own = rows.filter((row) => row.from === from && row.by !== 'as they are');
    return [...new Set(own.map(({ by }) => by))].map((by) => {
      const those = own.filter((row) => row.by === by);
      const flat = those[0]!.level === undefined;
      return {
        name: `${from}, ${by}`,
        x: flat ? [levels[0]!, levels.at(-1)!] : those.map(({ level }) => level!),
        y: (flat ? [those[0]!, those[0]!] : those).map((row) => score(row)[measure]),
      };
    });
  });
  const title = { fid: 'Fréchet distance', kid: 'Kernel distance' }[measure];
  return plotLines(lines, { title, xLabel: 'level of augmentation in sampling', yLabel: title });
}

function textOf(rows: readonly Row[], score: (row: Row) => Score, facts: Facts): string {
  const { side, count, reference, steps, seed, best, features, recipe, base, upsampler, plain } = facts;
  const command = [
    `pnpm study cascade --base ${base} --upsampler ${upsampler}${plain === undefined ? '' : ` --plain ${plain}`}`,
    `  --data ${facts.data} --held-out ${facts.heldOut} --features ${features} --docs docs`,
  ];
  const names = { base: 'the base', real: 'real pictures' };
  const table = rows.map((row) => {
    const { fid, kid, kidError } = score(row);
    const by = row.by === 'as they are' ? 'none: held-out pictures as they are' : row.by;
    const level = row.level === undefined ? '' : String(row.level);
    return `| ${names[row.from]} | ${by} | ${level} | ${fid.toPrecision(3)} | ${kid.toPrecision(3)} +- ${kidError.toPrecision(2)} |`;
  });
  return [
    '```sh',
    `${command[0]} \\`,
    command[1],
    '```',
    '',
    `${count} pictures a row (the labels of the held-out pictures), against ${reference} pictures that the models were trained on; ${steps} steps, seed`,
    `${seed}. Features: ${recipe}.`,
    'The distances compare only among themselves: they are no FID of Inception, and small sets make all of them larger alike.',
    '',
    `| ${side} x ${side} from | enlarged by | level | FID | KID, with standard error |`,
    '| --- | --- | ---: | ---: | ---: |',
    ...table,
    '',
    '![FID over the level](cascade-fid.png)',
    '![KID over the level](cascade-kid.png)',
    '',
    `Pictures of the base (level ${best} is the best by FID), and real ones:`,
    '',
    '![small, bicubic, cascade](cascade-pictures.png)',
  ].join('\n');
}
