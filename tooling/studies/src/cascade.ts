import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CommandContext, startProgress } from '@mezzotint/app';
import { type HostTensor, InvalidArgumentError } from '@mezzotint/core';
import {
  type Bitmap,
  type ImageSet,
  readImage,
  resize,
  stackPictures,
  subset,
  toFloat,
  writePng,
} from '@mezzotint/data';
import { imageGrid } from '@mezzotint/figures';
import { FeatureStatistics, type Features, frechetDistance, kernelDistance } from '@mezzotint/metrics';
import { openPipeline, type Pipeline } from '@mezzotint/pipelines/node';
import { type Row, reportOf } from './cascade-report.js';
import { kept, replaceSection, writeJson } from './files.js';
import { featuresOf, openJudge, readPictures } from './pictures.js';

/** The flags of `study cascade`. */
export interface CascadeFlags {
  readonly out: string;
  /** Run folders of `train`: a base, the stage that enlarges, and the same stage trained without augmentation. */
  readonly base: string;
  readonly upsampler: string;
  readonly plain?: string;
  /** Pictures of the training, and pictures that it never saw. */
  readonly data: string;
  readonly heldOut: string;
  /** A classifier or a CLIP of `train`. */
  readonly features: string;
  /** Pictures of each set that is scored, and of the training that they are scored against. */
  readonly count: number;
  readonly reference: number;
  readonly levels: readonly number[];
  readonly steps: number;
  readonly seed: number;
  /** The folder with cascades.md, whose section and pictures are written anew. */
  readonly docs?: string;
}

/** How far pictures are from those of the training. */
export interface Score {
  readonly fid: number;
  readonly kid: number;
  readonly kidError: number;
}

/** Pictures at once. */
const BATCH = 40;

/** Rows of the picture of pictures: what the base made, and real ones. */
const SHOWN = { made: 10, real: 5 };

/**
 * The claim of Cascaded diffusion (Ho et al. 2021, arXiv 2106.15282, section 4): a base and a stage of super-resolution against the
 * base resized with bicubic, over the level of conditioning augmentation in sampling, on what the base makes and on small pictures of
 * real ones. Goes on where it was stopped.
 */
export async function runCascade(flags: CascadeFlags, context: CommandContext): Promise<void> {
  const { out, base, upsampler, plain, data, heldOut, features, levels, steps, seed, docs } = flags;
  const { say, result, signal } = context;
  mkdirSync(out, { recursive: true });
  const cascade = await openPipeline(base, { upsampler: [upsampler] });
  const without = plain === undefined ? undefined : await openPipeline(base, { upsampler: [plain] });
  const judge = await openJudge(features);
  const side = cascade.defaults.height!;
  const large = 4 * side;
  const real = await readPictures(heldOut, large, flags.count);
  checkClasses(cascade, real);
  const { count } = real;
  const settings = {
    ...{ base, upsampler, plain: plain ?? null, data, heldOut, features, recipe: judge.recipe },
    ...{ count, reference: flags.reference, steps, seed },
  };
  const place = join(out, 'cascade.json');
  const scores: Record<string, Score> = kept<{ scores: Record<string, Score> }>(place, settings)?.scores ?? {};
  const resized = (set: ImageSet, to: number) =>
    mapped(set, (picture) => resize(picture, { height: to, width: to }, 'bicubic'));
  const options = { steps, seed, signal };

  const small = resized(real, side);
  const made = await baseImages(base, real, join(out, 'base.png'), options);
  const rows: Row[] = [
    { from: 'real', by: 'as they are', make: () => real },
    { from: 'real', by: 'bicubic', make: () => resized(small, large) },
    { from: 'base', by: 'bicubic', make: () => resized(made, large) },
    ...(['base', 'real'] as const).flatMap((from): Row[] => {
      const set = from === 'base' ? made : small;
      return [
        ...levels.map(
          (level): Row => ({ from, by: 'upsampler', level, make: () => enlarged(cascade, set, level, options) }),
        ),
        ...(without
          ? [{ from, by: 'upsampler without augmentation', make: () => enlarged(without, set, 0, options) } as const]
          : []),
      ];
    }),
  ];
  let trained: Features | undefined;
  const progress = startProgress('Sets of pictures', rows.length);
  try {
    for (const [i, row] of rows.entries()) {
      signal.throwIfAborted();
      const name = nameOf(row);
      if (scores[name] === undefined) {
        trained ??= await featuresOf(judge, await readPictures(data, large, flags.reference));
        scores[name] = scoreOf(await featuresOf(judge, await row.make()), trained);
        writeJson(place, { ...settings, scores });
      }
      progress.update(i + 1);
    }
  } finally {
    progress.stop();
  }
  for (const row of rows) {
    const { fid, kid, kidError } = scores[nameOf(row)]!;
    say(
      `${nameOf(row).padEnd(40)} FID ${fid.toPrecision(4)}   KID ${kid.toPrecision(3)} +- ${kidError.toPrecision(2)}`,
    );
  }

  const best = bestLevel(levels, (level) => scores[nameOf({ from: 'base', by: 'upsampler', level })]!.fid);
  const pictures = {
    'cascade-pictures.png': await shownPictures({ cascade, made, small, real, best, resized, options }),
  };
  const report = reportOf(rows, (row) => scores[nameOf(row)]!, { ...flags, count, side, best, recipe: judge.recipe });
  for (const folder of [out, ...(docs === undefined ? [] : [docs])]) {
    for (const [file, picture] of Object.entries({ ...pictures, ...report.plots })) {
      await writePng(join(folder, file), picture, { overwrite: true });
    }
  }
  if (docs !== undefined) replaceSection(join(docs, 'cascades.md'), 'study cascade', report.text);
  for (const opened of [cascade, without, judge]) opened?.dispose();
  result({ ...settings, scores, best });
}

/** What a set of pictures is called in the record. */
export function nameOf({ from, by, level }: Pick<Row, 'from' | 'by' | 'level'>): string {
  return `${from}, ${by}${level === undefined ? '' : ` at level ${level}`}`;
}

function checkClasses({ classes }: Pipeline, { classes: own }: ImageSet): void {
  if (String(classes) === String(own)) return;
  throw new InvalidArgumentError(
    '--held-out',
    `expected the classes of the models (${classes.join(', ')}), got ${own.join(', ') || 'none'}`,
  );
}

/** FID and KID by the judge's features. */
function scoreOf(features: Features, trained: Features): Score {
  const gaussian = (rows: Features) => {
    const statistics = new FeatureStatistics(rows.dim);
    statistics.add(rows);
    return statistics;
  };
  const { value, standardError } = kernelDistance(features, trained);
  return { fid: frechetDistance(gaussian(features), gaussian(trained)), kid: value, kidError: standardError };
}

function bestLevel(levels: readonly number[], fid: (level: number) => number): number {
  return levels.reduce((best, level) => (fid(level) < fid(best) ? level : best));
}

/** The pictures of a set, one by one, as a set of other pictures. */
function mapped(set: ImageSet, change: (picture: Bitmap) => Bitmap): ImageSet {
  return { ...set, ...stackPictures(picturesOf(set).map(change)) };
}

function picturesOf({ images, count, height, width, channels }: ImageSet): Bitmap[] {
  const area = height * width * channels;
  return Array.from({ length: count }, (_, i) => ({
    data: images.slice(i * area, (i + 1) * area),
    ...{ height, width, channels },
  }));
}

interface Sampling {
  readonly steps: number;
  readonly seed: number;
  readonly signal: AbortSignal;
}

/** Pictures of the base for the labels of a set; kept as one picture, one below the other. */
async function baseImages(
  base: string,
  { labels, classes, count }: ImageSet,
  path: string,
  { seed, signal }: Sampling,
): Promise<ImageSet> {
  const pipeline = await openPipeline(base);
  const side = pipeline.defaults.height!;
  try {
    if (!existsSync(path)) {
      const { images } = await pipeline.generate({ labels: [...labels], seed, batch: BATCH }, { signal });
      const { images: data } = stackPictures(images);
      await writePng(path, { data, height: count * side, width: side, channels: 3 });
    }
  } finally {
    pipeline.dispose();
  }
  const { data, height } = await readImage(path, { channels: 3 });
  if (height !== count * side) {
    throw new InvalidArgumentError(
      path,
      `expected ${count} pictures, got ${height / side}; remove it, or choose another --out`,
    );
  }
  return { images: data, labels, classes, count, height: side, width: side, channels: 3 };
}

/** A cascade's pictures of small pictures that are there: a run that goes on behind its base, with these in the place of the base's. */
async function enlarged(
  cascade: Pipeline,
  { images, labels, classes, count, height, width }: ImageSet,
  noiseLevel: number,
  { steps, seed, signal }: Sampling,
): Promise<ImageSet> {
  const area = height * width * 3;
  const before: HostTensor[] = [];
  for (let first = 0; first < count; first += BATCH) {
    const n = Math.min(BATCH, count - first);
    const data = toFloat(images.subarray(first * area, (first + n) * area));
    before.push({ shape: [n, height, width, 3], data });
  }
  const from = { stage: 1, batch: 0, run: null, network: null, before, done: [], noise: [], noiseAfter: [] };
  const request = {
    labels: [...labels],
    seed,
    batch: BATCH,
    stageSteps: [1, steps],
    stageNoiseLevels: [0, noiseLevel],
  };
  const made = await cascade.generate(request, { signal, from });
  return { ...stackPictures(made.images), labels, classes };
}

/** Columns: small, bicubic, the upsampler without noise and with that of the best level, and for real ones the picture itself. */
async function shownPictures({
  cascade,
  made,
  small,
  real,
  best,
  resized,
  options,
}: {
  readonly cascade: Pipeline;
  readonly made: ImageSet;
  readonly small: ImageSet;
  readonly real: ImageSet;
  readonly best: number;
  readonly resized: (set: ImageSet, to: number) => ImageSet;
  readonly options: Sampling;
}): Promise<Bitmap> {
  const spread = (set: ImageSet, n: number) =>
    subset(
      set,
      Array.from({ length: n }, (_, i) => Math.floor(((i + 0.5) * set.count) / n)),
    );
  const large = real.height;
  const rows: Bitmap[][] = [];
  for (const [set, most] of [
    [made, SHOWN.made],
    [small, SHOWN.real],
  ] as const) {
    const n = Math.min(most, set.count);
    const chosen = spread(set, n);
    const blocks = mapped(chosen, (picture) => resize(picture, { height: large, width: large }, 'box'));
    const columns = [blocks, resized(chosen, large)];
    for (const level of [0, best]) columns.push(await enlarged(cascade, chosen, level, options));
    columns.push(set === made ? blank(blocks) : spread(real, n));
    const pictures = columns.map(picturesOf);
    for (let i = 0; i < n; i++) rows.push(pictures.map((column) => column[i]!));
  }
  const columnLabels = [`${made.height} x ${made.height}`, 'bicubic', 'level 0', `level ${best}`, 'the picture'];
  const rowLabels = rows.map((_, i) => (i < Math.min(SHOWN.made, made.count) ? 'base' : 'real'));
  return imageGrid(stackPictures(rows.flat()), { columns: columnLabels.length, columnLabels, rowLabels });
}

/** White pictures. */
function blank(set: ImageSet): ImageSet {
  return { ...set, images: new Uint8Array(set.images.length).fill(255) };
}
