import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { InvalidArgumentError, InvalidFileError, listed, parseJson, readingBudget } from '@mezzotint/core';
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

/** Colours with an object that no training picture shows together, in any set; each alone is frequent. */
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
 * @throws InvalidArgumentError when a package is not installed; it says how to install all that are missing
 * @throws InvalidFileError when a package is not laid out as expected
 */
export function listEmoji({ sets = ['noto', 'twemoji'], from = process.cwd() }: EmojiOptions = {}): Emoji[] {
  const unknown = sets.filter((set) => !(set in emojiSets));
  if (unknown.length > 0 || sets.length === 0) {
    const names = Object.keys(emojiSets).join(', ');
    throw new InvalidArgumentError('emoji sets', `expected some of ${names}, got ${listed(unknown) || 'none'}`);
  }
  const folders = packageFolders(sets, from);
  const words = keywordsOf(join(folders.emojilib!, 'dist', 'emoji-en-US.json'));
  return sets.flatMap((set) => {
    const folder = folders[emojiSets[set].package]!;
    return set === 'openmoji' ? openmoji(folder, words) : datasource(set, folder, words);
  });
}

/** Folders of the npm packages that are needed, by name. */
function packageFolders(sets: readonly EmojiSetName[], from: string): Record<string, string> {
  const require = createRequire(join(from, 'package.json'));
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
  throw new InvalidArgumentError(
    'emoji',
    `the pictures are in npm packages that are not installed in ${from}: npm install --no-save ${missing.join(' ')}, or ` +
      'with --prefix into a folder of its own, which `from` names',
  );
}

function keywordsOf(file: string): Readonly<Record<string, readonly string[]>> {
  const table = readJson(file) as Record<string, readonly string[]>;
  if (!Array.isArray(table['❤️'])) throw new InvalidFileError(file, 'expected the keywords of emojilib 4');
  return table;
}

function readJson(file: string): unknown {
  return parseJson(readPlainText(file, readingBudget.textBytes));
}

function datasource(
  set: 'noto' | 'twemoji',
  folder: string,
  words: Readonly<Record<string, readonly string[]>>,
): Emoji[] {
  const maker = set === 'noto' ? 'google' : 'twitter';
  const file = join(folder, 'emoji.json');
  const rows = readJson(file) as readonly Row[];
  if (!Array.isArray(rows) || typeof rows[0]?.unified !== 'string' || typeof rows[0].subcategory !== 'string') {
    throw new InvalidFileError(file, 'expected the list of emoji-datasource 16');
  }
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
  const rows = readJson(file) as readonly OpenmojiRow[];
  if (!Array.isArray(rows) || typeof rows[0]?.hexcode !== 'string') {
    throw new InvalidFileError(file, 'expected the list of openmoji 17');
  }
  return rows
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
 * Which part an emoji belongs to, by (seed, concept) alone, so that pictures of one thing never are on two sides:
 *
 * - `held-out`: 4 % of the concepts, in all sets and tones: things that training never sees;
 * - `combinations`: pairs of words that training sees apart, never together: six colours with an object, one of the sets for
 *   4 % of the concepts, one skin tone for a quarter of the concepts that have tones;
 * - `train`: the others.
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
