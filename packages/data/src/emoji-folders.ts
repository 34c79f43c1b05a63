import { existsSync } from 'node:fs';
import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { InvalidArgumentError, listed, readingBudget } from '@mezzotint/core';
import { readPlainFile } from '@mezzotint/core/node';
import type { Bitmap } from './bitmap.js';
import {
  byHash,
  type Emoji,
  type EmojiOptions,
  type EmojiPart,
  type EmojiSetSource,
  emojiCaptions,
  emojiPart,
  emojiSets,
  listEmoji,
} from './emoji.js';
import { writePng } from './png.js';
import { useImageFile } from './read-image.js';
import { resize } from './resize.js';
import { rasterizeSvg } from './svg.js';

/** How a folder of emoji is written. */
export interface EmojiFolderOptions extends EmojiOptions {
  /** Pixels a side, 64 by default, which is what noto and twemoji have. */
  readonly size?: number;
  /** Seed of the split. Default 0. */
  readonly seed?: number;
  /**
   * How many of the five skin tones `train/` has of each person and gesture of a set, drawn by a hash; 5 by default. With 1, a thing that has
   * tones is shown not six times as often as one that has none.
   */
  readonly tones?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** What was written. */
export interface EmojiFolderSummary {
  readonly pictures: Readonly<Record<EmojiPart | 'examples', number>>;
  /** Sets with their licences, which who shares the pictures or a model has to name. */
  readonly sets: readonly EmojiSetSource[];
}

/** Pictures in `examples/` at most: what retrieval is measured among. */
const EXAMPLES = 1000;

/**
 * Writes emoji as captioned pictures: `train/`, `held-out/` and `combinations/` in `folder`, each with PNGs on white and a
 * `metadata.jsonl` of lines `{"file_name", "captions", "label"}`, the label being Unicode's group; {@link emojiPart} says
 * what is where, {@link emojiCaptions} what the captions are. `LICENCES.txt` names the makers. Any of the three opens with `openDataset`.
 * `examples/` has 1,000 of the pictures of `train/` once more, no two with the same caption; it and the two that are kept from `train/` have a
 * `prompts.txt`, the first caption of each picture in the order of their names, to make and to score pictures of.
 *
 * What is kept from `train/` are code points, some of which are drawn alike or have the same name. With noto and twemoji, seed 0 and 64 pixels:
 * 5 of the 238 pictures of `held-out/` are equal in every pixel to one of `train/` (families, such as a man with two boys and an adult with
 * two children), and 1 of the 283 of `combinations/` (the flag of St. Martin is Clipperton's); 4 of `combinations/` have the first caption of
 * one of `train/` ("a man beard with light skin tone", also of medium tone, in both styles). Captions without name or without style, such
 * as three keywords, are shared more often.
 *
 * @throws InvalidArgumentError when the folder is there already, or as {@link listEmoji}
 */
export async function writeEmojiFolder(folder: string, options: EmojiFolderOptions = {}): Promise<EmojiFolderSummary> {
  const { sets = ['noto', 'twemoji'], seed = 0, tones = 5 } = options;
  if (!Number.isSafeInteger(tones) || tones < 0 || tones > 5) {
    throw new InvalidArgumentError('emoji tones', `expected a whole number from 0 to 5, got ${tones}`);
  }
  const list = (of: EmojiOptions) => fewerTones(listEmoji(of), tones, (emoji) => emojiPart(emoji, sets, seed), seed);
  const rows: Record<EmojiPart, Row[]> = { train: [], 'held-out': [], combinations: [] };
  let examples: Row[] = [];
  const sources = await writePictures(folder, options, list, async (unfinished, pictures) => {
    for (const part of Object.keys(rows)) await mkdir(join(unfinished, part), { recursive: true });
    for await (const { emoji, name, bitmap } of pictures) {
      const part = emojiPart(emoji, sets, seed);
      await writePng(join(unfinished, part, name), bitmap, { overwrite: true });
      rows[part].push({ file_name: name, captions: emojiCaptions(emoji), label: emoji.group });
    }
    examples = chosen(rows.train, seed);
    await mkdir(join(unfinished, 'examples'));
    for (const { file_name: name } of examples) {
      options.signal?.throwIfAborted();
      await cp(join(unfinished, 'train', name), join(unfinished, 'examples', name));
    }
    for (const [part, own] of Object.entries({ ...rows, examples })) {
      await writeFile(join(unfinished, part, 'metadata.jsonl'), lines(own.map((row) => JSON.stringify(row))));
      if (part !== 'train') await writeFile(join(unfinished, part, 'prompts.txt'), lines(promptsOf(own)));
    }
  });
  const [train, heldOut, combinations] = [rows.train.length, rows['held-out'].length, rows.combinations.length];
  return { pictures: { train, 'held-out': heldOut, combinations, examples: examples.length }, sets: sources };
}

/** A line of metadata.jsonl. */
interface Row {
  readonly file_name: string;
  readonly captions: readonly string[];
  readonly label: string;
}

/** All emoji but those of `train/` whose skin tone is not among the first `tones` of their concept and set, in the order of a hash. */
function fewerTones(all: Emoji[], tones: number, part: (emoji: Emoji) => EmojiPart, seed: number): Emoji[] {
  const seen = new Map<string, number>();
  const left = new Set<Emoji>();
  const trained = all.filter((emoji) => emoji.tone !== undefined && part(emoji) === 'train');
  for (const emoji of byHash(trained, ({ set, concept, tone }) => `${seed}/tones/${set}/${concept}/${tone}`)) {
    const thing = `${emoji.set}/${emoji.concept}`;
    const before = seen.get(thing) ?? 0;
    seen.set(thing, before + 1);
    if (before >= tones) left.add(emoji);
  }
  return all.filter((emoji) => !left.has(emoji));
}

/** At most `EXAMPLES` rows by a hash of seed and name, the first of each caption. */
function chosen(rows: readonly Row[], seed: number): Row[] {
  const ordered = byHash(rows, (row) => `${seed}/examples/${row.file_name}`);
  const byCaption = new Map<string, Row>();
  for (const row of ordered) if (!byCaption.has(row.captions[0]!)) byCaption.set(row.captions[0]!, row);
  return [...byCaption.values()].slice(0, EXAMPLES);
}

/** The first caption of each, in the order of the pictures' names. */
function promptsOf(rows: readonly Row[]): string[] {
  const sorted = [...rows].sort((a, b) => (a.file_name < b.file_name ? -1 : 1));
  return sorted.map(({ captions }) => captions[0]!);
}

function lines(texts: readonly string[]): string {
  return texts.map((text) => `${text}\n`).join('');
}

/** Classes that can be told apart at 32x32, by the beginnings of Unicode's subgroups. */
export const emojiClasses = {
  animals: ['animal-'],
  faces: ['face-'],
  flags: ['country-flag'],
  foods: ['food-'],
  hands: ['hand-', 'hands'],
  hearts: ['heart'],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** A class by name. */
export type EmojiClassName = keyof typeof emojiClasses;

/** How a class set of emoji is written. */
export interface EmojiClassesOptions extends Omit<EmojiFolderOptions, 'seed'> {
  /** All of {@link emojiClasses} by default. */
  readonly classes?: readonly EmojiClassName[];
}

/** What was written. */
export interface EmojiClassesSummary {
  readonly pictures: Readonly<Partial<Record<EmojiClassName, number>>>;
  readonly sets: readonly EmojiSetSource[];
}

/**
 * Writes emoji as a class set: a folder of PNGs on white for each class of {@link emojiClasses}, and `LICENCES.txt`. It opens with
 * `openDataset`.
 *
 * @throws InvalidArgumentError when a class is unknown, the folder is there already, or as {@link listEmoji}
 */
export async function writeEmojiClasses(
  folder: string,
  options: EmojiClassesOptions = {},
): Promise<EmojiClassesSummary> {
  const known = Object.keys(emojiClasses) as EmojiClassName[];
  const { classes = known } = options;
  const unknown = classes.filter((name) => !known.includes(name));
  if (unknown.length > 0 || classes.length === 0) {
    throw new InvalidArgumentError(
      'emoji classes',
      `expected some of ${known.join(', ')}, got ${listed(unknown) || 'none'}`,
    );
  }
  const classOf = ({ subgroup }: Emoji) =>
    classes.find((name) => emojiClasses[name].some((beginning) => subgroup.startsWith(beginning)));
  const list = (of: EmojiOptions) => listEmoji(of).filter((emoji) => classOf(emoji) !== undefined);
  const pictures: Partial<Record<EmojiClassName, number>> = {};
  const sets = await writePictures(folder, options, list, async (unfinished, found) => {
    for (const name of classes) await mkdir(join(unfinished, name), { recursive: true });
    for await (const { emoji, name, bitmap } of found) {
      const label = classOf(emoji)!;
      await writePng(join(unfinished, label, name), bitmap, { overwrite: true });
      pictures[label] = (pictures[label] ?? 0) + 1;
    }
  });
  return { pictures, sets };
}

/**
 * Makes a folder by `write`, which is given the pictures one by one, and adds the licences; the folder has its name only when it is
 * whole, and nothing is left when it is stopped or fails.
 */
async function writePictures(
  folder: string,
  options: Omit<EmojiFolderOptions, 'seed'>,
  list: (options: EmojiOptions) => Emoji[],
  write: (
    unfinished: string,
    pictures: AsyncIterable<{ readonly emoji: Emoji; readonly name: string; readonly bitmap: Bitmap }>,
  ) => Promise<void>,
): Promise<EmojiSetSource[]> {
  const { sets = ['noto', 'twemoji'], size = 64, signal, onProgress } = options;
  if (!Number.isSafeInteger(size) || size < 8 || size > 1024) {
    throw new InvalidArgumentError('emoji size', `expected a whole number of pixels from 8 to 1024, got ${size}`);
  }
  if (existsSync(folder)) throw new InvalidArgumentError('emoji', `${folder} is there already; name a new folder`);
  const all = list(options);
  const unfinished = `${resolve(folder)}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  async function* pictures() {
    for (const [i, emoji] of all.entries()) {
      signal?.throwIfAborted();
      const tone = emoji.tone === undefined ? '' : `-${emoji.tone.replace(' skin tone', '')}`;
      const name = `${emoji.set}-${emoji.concept}${tone}.png`;
      yield { emoji, name, bitmap: await picture(emoji.file, size) };
      onProgress?.(i + 1, all.length);
    }
  }
  const sources = sets.map((set) => emojiSets[set]);
  const licences = sources.map(({ style, makers, licence, package: name, version }) => {
    return `${style}: ${makers}; ${licence}; taken from the npm package ${name} ${version}`;
  });
  try {
    await write(unfinished, pictures());
    await writeFile(join(unfinished, 'LICENCES.txt'), `${licences.join('\n')}\n`);
    signal?.throwIfAborted();
    await rename(unfinished, folder);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }
  return sources;
}

/** A picture of a package on white, square. */
async function picture(file: string, size: number): Promise<Bitmap> {
  if (!file.endsWith('.svg')) {
    return useImageFile(file, {}, (image) =>
      image.height === size && image.width === size ? image : resize(image, { height: size, width: size }),
    );
  }
  return rasterizeSvg(Buffer.from(readPlainFile(file, readingBudget.imageFileBytes)).toString('utf8'), { width: size });
}
