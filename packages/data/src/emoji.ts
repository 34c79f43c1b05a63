import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { InvalidArgumentError, InvalidFileError, listed, parseJson, quoted, readingBudget } from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';

/** A set of emoji pictures that an npm package brings. */
export interface EmojiSetSource {
  /** The word for its style in captions. */
  readonly style: string;
  readonly package: string;
  /** The version that the counts in our documents are of; another one works when its files are laid out alike. */
  readonly version: string;
  /** Licence of the pictures, which is not always that of the package. */
  readonly licence: string;
  readonly makers: string;
}

/**
 * The sets by name. `openmoji` is CC BY-SA: whether a model trained on it must be shared alike is not settled, so the
 * model that comes with the project leaves it out, and so does the default of {@link listEmoji}.
 */
export const emojiSets = {
  noto: {
    style: 'noto',
    package: 'emoji-datasource-google',
    version: '16.0.0',
    licence: 'Apache-2.0',
    makers: 'Google, Noto Emoji',
  },
  twemoji: {
    style: 'twemoji',
    package: 'emoji-datasource-twitter',
    version: '16.0.0',
    licence: 'CC-BY-4.0',
    makers: 'Twitter and contributors, Twemoji',
  },
  openmoji: {
    style: 'openmoji',
    package: 'openmoji',
    version: '17.0.0',
    licence: 'CC-BY-SA-4.0',
    makers: 'OpenMoji contributors',
  },
} as const satisfies Record<string, EmojiSetSource>;

/** A set by name. */
export type EmojiSetName = keyof typeof emojiSets;

/** One picture of an emoji. */
export interface Emoji {
  readonly set: EmojiSetName;
  /** What its pictures have in common whatever their set and skin tone: the code points without tone, such as `1f44b`. */
  readonly concept: string;
  /** Such as `waving hand`, without the tone. */
  readonly name: string;
  /** Such as `dark skin tone`; absent for the yellow ones. */
  readonly tone?: string;
  /** Further words, of the npm package `emojilib`. */
  readonly keywords: readonly string[];
  /** Unicode's group, such as `animals & nature`. */
  readonly group: string;
  /** Unicode's subgroup, such as `animal-mammal`. */
  readonly subgroup: string;
  /** The PNG or SVG file in the package. */
  readonly file: string;
}

/** How emoji are found. */
export interface EmojiOptions {
  /** Default: noto and twemoji. */
  readonly sets?: readonly EmojiSetName[];
  /** The folder from which the packages are looked for, as `require` there would; the working directory by default. */
  readonly from?: string;
}

/** Which part of the data an emoji belongs to. */
export type EmojiPart = 'train' | 'held-out' | 'combinations';

/** Skin tones by Unicode's modifiers. */
const TONES: Readonly<Record<string, string>> = {
  '1F3FB': 'light skin tone',
  '1F3FC': 'medium-light skin tone',
  '1F3FD': 'medium skin tone',
  '1F3FE': 'medium-dark skin tone',
  '1F3FF': 'dark skin tone',
};

/** Names of a colour with an object that no training picture has, in any set; each word alone is frequent. */
const HELD_OUT_COLOURS = ['green heart', 'purple circle', 'orange square', 'blue book', 'brown heart', 'yellow square'];

/** A skin tone of an emoji in emoji-datasource's emoji.json. */
interface Variation {
  readonly image: string;
  readonly [has: `has_img_${string}`]: boolean;
}

/** An entry of emoji-datasource's emoji.json, as far as it is read. */
interface Row {
  readonly name: string;
  readonly unified: string;
  readonly image: string;
  readonly category: string;
  readonly subcategory: string;
  readonly [has: `has_img_${string}`]: boolean;
  readonly skin_variations?: Readonly<Record<string, Variation>>;
}

/**
 * The emoji of the installed packages: every emoji of each set, with its five skin tones where it has them. Pictures of two
 * people with two different tones are left out (25 that nearly are the same, for each couple), and so are the bare tones.
 * The names are of `emojilib` (MIT), of emoji-datasource (MIT) for flags.
 *
 * @throws InvalidArgumentError when a set is unknown or named twice, or a package is not installed; it says how to install all that are
 *   missing
 * @throws InvalidFileError when a package is damaged, or not laid out as expected
 */
export function listEmoji({ sets = ['noto', 'twemoji'], from }: EmojiOptions = {}): Emoji[] {
  const unknown = sets.filter((set) => !Object.hasOwn(emojiSets, set));
  if (unknown.length > 0 || sets.length === 0) {
    const names = Object.keys(emojiSets).join(', ');
    throw new InvalidArgumentError('emoji sets', `expected some of ${names}, got ${listed(unknown) || 'none'}`);
  }
  const repeated = new Set(sets.filter((set, i) => sets.indexOf(set) !== i));
  if (repeated.size > 0)
    throw new InvalidArgumentError('emoji sets', `expected each once, got ${listed([...repeated])} more than once`);
  const folders = packageFolders(sets, from);
  const words = keywordsOf(join(folders.emojilib!, 'dist', 'emoji-en-US.json'));
  return sets.flatMap((set) => {
    const folder = folders[emojiSets[set].package]!;
    return set === 'openmoji' ? openmoji(folder, words) : datasource(set, folder, words);
  });
}

/** Folders of the npm packages that are needed, by name. */
function packageFolders(sets: readonly EmojiSetName[], from: string | undefined): Record<string, string> {
  const require = createRequire(join(resolve(from ?? ''), 'package.json'));
  const wanted = ['emojilib@4.0.3', ...sets.map((set) => `${emojiSets[set].package}@${emojiSets[set].version}`)];
  const folders: Record<string, string> = {};
  const missing: string[] = [];
  for (const item of wanted) {
    const name = item.slice(0, item.lastIndexOf('@'));
    const folder = (require.resolve.paths(name) ?? []).map((path) => join(path, name)).find((path) => existsSync(path));
    if (folder === undefined) missing.push(item);
    else folders[name] = folder;
  }
  if (missing.length === 0) return folders;
  const place = from ?? 'data/packages';
  const install = `npm install --prefix ${/\s/.test(place) ? `"${place}"` : place} ${missing.join(' ')}`;
  throw new InvalidArgumentError(
    'emoji',
    from === undefined
      ? `the pictures are in npm packages that are not installed in the working directory: ${install}, and name that folder ` +
          '(`from`; --packages on the command line)'
      : `the pictures are in npm packages that are not installed in ${from}: ${install}`,
  );
}

function keywordsOf(file: string): Readonly<Record<string, readonly string[]>> {
  const table = readJson(file);
  const hearts = isObject(table) && '❤️' in table;
  const wrong = hearts
    ? Object.entries(table).filter(([, words]) => !Array.isArray(words) || words.length === 0 || !words.every(isText))
    : [];
  refuse(file, 'the keywords of emojilib 4', [
    ...(hearts ? [] : ['no entry for the red heart']),
    ...wrong.map(([emoji]) => `no list of words for ${quoted(emoji)}`),
  ]);
  return table as Record<string, readonly string[]>;
}

function readJson(file: string): unknown {
  const text = readPlainText(file, readingBudget.textBytes);
  try {
    return parseJson(text);
  } catch (cause) {
    throw new InvalidFileError(file, `is not JSON: ${(cause as Error).message}; ${AGAIN}`, { cause });
  }
}

/** What helps against a damaged package. */
const AGAIN = 'remove the package and install it again';

/** How many problems of a file a message lists. */
const SAID = 5;

/** Throws when a file has problems. */
function refuse(file: string, expected: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new InvalidFileError(file, `expected ${expected}, got ${listed(problems, SAID)}; ${AGAIN}`);
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === 'string' && value !== '';
const isFlag: Check = (value) => typeof value === 'boolean';
/** Code points in hexadecimal with dashes between; they become names of files. */
const isCodes: Check = (value) =>
  typeof value === 'string' && /^(?:10|[\da-f])?[\da-f]{1,4}(?:-(?:10|[\da-f])?[\da-f]{1,4})*$/i.test(value);
const isPicture: Check = (value) => typeof value === 'string' && /^[\da-f-]+\.png$/i.test(value);

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What is wrong with a list of entries, which are counted from 1. */
function problemsOfList(rows: unknown, problems: (row: unknown, number: number) => readonly string[]): string[] {
  if (!Array.isArray(rows) || rows.length === 0) return [quoted(rows)];
  return rows.flatMap((row, i) => problems(row, i + 1));
}

/** What is wrong with an entry, by its fields. */
function problemsOf(entry: string, row: unknown, fields: Readonly<Record<string, Check>>): string[] {
  if (!isObject(row)) return [`${entry}: ${quoted(row)}`];
  return Object.entries(fields)
    .filter(([key, check]) => !check(row[key]))
    .map(([key]) => `${entry}: ${key} ${quoted(row[key])}`);
}

function datasource(
  set: 'noto' | 'twemoji',
  folder: string,
  words: Readonly<Record<string, readonly string[]>>,
): Emoji[] {
  const maker = set === 'noto' ? 'google' : 'twitter';
  const file = join(folder, 'emoji.json');
  const rows = rowsOf(file, maker);
  const picture = (image: string) => join(folder, 'img', maker, '64', image);
  return rows
    .filter((row) => row.category !== 'Component')
    .flatMap((row): Emoji[] => {
      const known = wordsOf(row.unified, words);
      const name =
        row.category === 'Flags' || known === undefined || known.name === 'keycap'
          ? row.name.toLowerCase()
          : known.name;
      const common = {
        set,
        concept: row.unified.toLowerCase(),
        name,
        keywords: known?.keywords ?? [],
        group: row.category.toLowerCase(),
        subgroup: row.subcategory,
      };
      const toned = Object.entries<Variation>(row.skin_variations ?? {}).filter(
        ([tone, variation]) => tone in TONES && variation[`has_img_${maker}`],
      );
      return [
        ...(row[`has_img_${maker}`] ? [{ ...common, file: picture(row.image) }] : []),
        ...toned.map(([tone, { image }]) => ({ ...common, tone: TONES[tone]!, file: picture(image) })),
      ];
    });
}

/** The entries of emoji-datasource's emoji.json. */
function rowsOf(file: string, maker: 'google' | 'twitter'): readonly Row[] {
  const rows = readJson(file);
  const image = { image: isPicture, [`has_img_${maker}`]: isFlag };
  const fields = { name: isText, unified: isCodes, category: isText, subcategory: isText, ...image };
  const problems = problemsOfList(rows, (row, i) => {
    const tones = isObject(row) ? (row.skin_variations ?? {}) : {};
    const toned = isObject(tones)
      ? Object.entries(tones).flatMap(([tone, own]) => problemsOf(`entry ${i}, ${tone}`, own, image))
      : [`entry ${i}: skin_variations ${quoted(tones)}`];
    return [...problemsOf(`entry ${i}`, row, fields), ...toned];
  });
  refuse(file, 'the list of emoji-datasource 16', problems);
  return rows as readonly Row[];
}

/** An entry of openmoji.json, as far as it is read. */
interface OpenmojiRow {
  readonly hexcode: string;
  readonly annotation: string;
  readonly group: string;
  readonly subgroups: string;
  readonly skintone: number | string;
  readonly skintone_base_hexcode: string;
}

function openmoji(folder: string, words: Readonly<Record<string, readonly string[]>>): Emoji[] {
  const file = join(folder, 'data', 'openmoji.json');
  const rows = readJson(file);
  const fields = {
    ...{ hexcode: isCodes, annotation: isText, group: isText, subgroups: isText },
    skintone: (value: unknown) => typeof value === 'string' || typeof value === 'number',
    skintone_base_hexcode: (value: unknown) => value === '' || isCodes(value),
  };
  const problems = problemsOfList(rows, (row, i) => problemsOf(`entry ${i}`, row, fields));
  refuse(file, 'the list of openmoji 17', problems);
  return (rows as readonly OpenmojiRow[])
    .filter(({ group }) => group !== 'component' && !group.startsWith('extras'))
    .flatMap(({ hexcode, annotation, group, subgroups, skintone, skintone_base_hexcode: base }): Emoji[] => {
      const tone = Object.values(TONES)[Number(skintone) - 1];
      if (skintone !== '' && tone === undefined) return []; // two tones
      const concept = tone === undefined ? hexcode : base;
      const known = wordsOf(concept, words);
      return [
        {
          set: 'openmoji',
          concept: concept.toLowerCase(),
          name: known?.name ?? annotation.toLowerCase(),
          keywords: known?.keywords ?? [],
          group: group.replace('-', ' & '),
          subgroup: subgroups,
          file: join(folder, 'color', 'svg', `${hexcode}.svg`),
          ...(tone !== undefined && { tone }),
        },
      ];
    });
}

/** Name and keywords of an emoji by its code points. */
function wordsOf(unified: string, words: Readonly<Record<string, readonly string[]>>) {
  const text = String.fromCodePoint(...unified.split('-').map((code) => Number.parseInt(code, 16)));
  const entry = words[text] ?? words[text.replaceAll('\ufe0f', '')];
  if (entry === undefined) return undefined;
  const [name, ...others] = entry.map((word) => word.replaceAll('_', ' ').trim());
  const keywords = others.filter((word) => /^[a-z][a-z ]+$/.test(word) && word !== name);
  return { name: name!, keywords };
}

/**
 * Captions of an emoji, from the plainest on; a training takes one of them at random each time. The rule: the name with its
 * article, tone and style; the same without article; style first; two keywords, name, style; three keywords without the name; the
 * name without a style. Keywords are drawn by a hash of the picture, so that the same picture has the same captions everywhere.
 */
export function emojiCaptions(emoji: Emoji): string[] {
  const { name, tone, keywords } = emoji;
  const style = `${emojiSets[emoji.set].style} style`;
  const whole = tone === undefined ? name : `${name} with ${tone}`;
  const drawn = byHash(keywords, (word) => `${emoji.set}/${emoji.concept}/${tone ?? ''}/${word}`);
  const captions = [`${withArticle(whole)}, ${style}`, `${whole}, ${style}`, `${style}, ${whole}`, withArticle(whole)];
  if (drawn.length >= 2) captions.push(`${drawn.slice(0, 2).join(', ')}, ${whole}, ${style}`);
  if (drawn.length >= 3) {
    captions.push(`${[...drawn.slice(-3), ...(tone === undefined ? [] : [tone])].join(', ')}, ${style}`);
  }
  return [...new Set(captions)];
}

/** `a red heart`; plurals, flags, keycaps, families and names that begin with a number go without. */
function withArticle(name: string): string {
  const [first = ''] = name.split(' ');
  if (/^(the|flag|keycap|family|\d)/.test(name) || /[^su]s$/.test(name)) return name;
  return /^([aeio]|u(?!ni|s))/.test(first) ? `an ${name}` : `a ${name}`;
}

/**
 * Which part an emoji belongs to, by (seed, concept) alone:
 *
 * - `held-out`: 4 % of the concepts, in all sets and tones: code points that training never sees;
 * - `combinations`: what training sees apart, never together: six colours with an object, one of the sets for
 *   4 % of the concepts, one skin tone for a quarter of the concepts that have tones;
 * - `train`: the others.
 *
 * A concept is its code points. Two concepts that are drawn alike or have the same name, as families and some flags do, may be on two
 * sides (`writeEmojiFolder` says how many).
 */
export function emojiPart(emoji: Emoji, sets: readonly EmojiSetName[], seed = 0): EmojiPart {
  const { concept, name, tone, set } = emoji;
  if (HELD_OUT_COLOURS.includes(name)) return 'combinations';
  const at = hashed(`${seed}/${concept}`);
  if (at < 0.04) return 'held-out';
  if (sets.length > 1 && at < 0.08) {
    return sets[Math.floor(hashed(`${seed}/${concept}/set`) * sets.length)] === set ? 'combinations' : 'train';
  }
  if (tone !== undefined && at < 0.33) {
    const tones = Object.values(TONES);
    return tones[Math.floor(hashed(`${seed}/${concept}/tone`) * tones.length)] === tone ? 'combinations' : 'train';
  }
  return 'train';
}

/** A number in [0, 1) from a text. */
function hashed(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE(0) / 2 ** 32;
}

/** Items in the order of the hash of a text of each: shuffled, and the same everywhere. */
export function byHash<T>(items: readonly T[], text: (item: T) => string): T[] {
  return items
    .map((item) => ({ item, key: hashed(text(item)) }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}
