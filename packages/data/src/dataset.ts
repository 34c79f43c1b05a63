import { createHash } from 'node:crypto';
import { closeSync, readSync, statSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { InvalidArgumentError, InvalidFileError, listed, parseJson, readingBudget, type Seed } from '@mezzotint/core';
import { openPlainFile, readPlainFile, readPlainText } from '@mezzotint/core/node';
import { imageSize } from './decode-image.js';
import { PNG_HEAD } from './decode-png.js';
import { byName, endingOf, filesBelow, IMAGE_ENDINGS, onDisk } from './files-below.js';
import { readTar, readTarMember, type TarMember } from './tar.js';

/** One picture of a data set; its pixels stay where they are until they are asked for. */
export interface Example {
  /** Its path inside the data set, with `/`; unique. */
  readonly name: string;
  /** Where its bytes are: a file, or a member of a tar archive. */
  readonly source: { readonly path: string; readonly member?: TarMember };
  /** Index into `classes`; 0 in a set without classes. */
  readonly label: number;
  /** None in a set without captions. */
  readonly captions: readonly string[];
  /** Pixels, as the file's header says, turned upright. */
  readonly height: number;
  readonly width: number;
  /** A hash of the file's size, its first and its last bytes: another picture of the same name has another. */
  readonly content: string;
}

/** Pictures with classes or captions or neither, by name; what was read and what was not. */
export interface Dataset {
  readonly path: string;
  readonly examples: readonly Example[];
  /** Empty in a set without classes. */
  readonly classes: readonly string[];
  /** How many examples have a caption. */
  readonly captioned: number;
  /** What was passed over, and why: one line a reason, with counts and the first names. */
  readonly skipped: readonly string[];
  /** SHA-256 of names, sizes, labels, captions and what `Example.content` hashes: a run resumes on the same set only. */
  readonly fingerprint: string;
}

/** How a data set is read. */
export interface DatasetOptions {
  /** Told while headers are read. */
  readonly onProgress?: (done: number, total: number) => void;
  /**
   * Whether folders are classes: `auto` (default) when pictures are in folders inside `path` and nothing else says a class (captioned
   * pictures beside the folders say that they are none), `never` for one class of all.
   */
  readonly folderClasses?: 'auto' | 'never';
}

/** Headers read at a time. */
const AT_ONCE = 8;
/** Names in one line of what was skipped. */
const NAMED = 3;

/** A picture that was found, with what its side files say of it. */
export interface Found {
  readonly name: string;
  readonly source: Example['source'];
  /** Its class by name, where something says one. */
  className?: string;
  captions: string[];
}

/**
 * Finds the pictures of a folder, of a tar archive, or of a folder of archives; pixels are not decoded. Understood are
 *
 * - folders inside the folder as classes (those inside them too); a few pictures beside them are passed over;
 * - a caption in a `.txt` or `.caption` file beside its picture, a line each;
 * - `captions.jsonl` and `metadata.jsonl` (Hugging Face's ImageFolder) in any folder: lines of `{"file_name": ..., "text" or
 *   "caption": ..., "label": ...}`, where a string is one caption and a list of them several;
 * - tar shards of WebDataset: members of one name up to the first dot are one example, with `.cls`, `.txt` and `.json`.
 *
 * Pictures whose headers cannot be read, files of other kinds, and folders beside the classes that hold no picture are passed over and
 * counted in `skipped`.
 *
 * @throws InvalidArgumentError when there is no picture at all, or some have a class and others none (most of them, where folders are
 *   the classes)
 * @throws InvalidFileError when a folder cannot be read, a link leads back to a folder above it, or a line of captions is not JSON
 */
export async function openDataset(path: string, options: DatasetOptions = {}): Promise<Dataset> {
  const { found, skipped, folders } = await findPictures(path);
  const measured = await withSizes(found, skipped, options.onProgress);
  const { folderClasses = 'auto' } = options;
  const examples = folderClasses === 'auto' ? insideClasses(measured, folders, skipped) : measured;
  if (examples.length === 0) {
    const what = skipped.lines().map((line) => `\n  ${line}`);
    throw new InvalidArgumentError(
      'data',
      `${path}: no picture (${IMAGE_ENDINGS.join(', ')}) was found${what.join('')}`,
    );
  }
  const { classes, index } = classesOf(path, examples, folderClasses);
  const finished = examples.map(
    ({ className, ...example }): Example => ({
      ...example,
      label: className === undefined ? 0 : index.get(className)!,
    }),
  );
  return {
    path,
    examples: finished,
    classes,
    captioned: finished.filter(({ captions }) => captions.length > 0).length,
    skipped: skipped.lines(),
    fingerprint: fingerprintOf(finished, classes),
  };
}

/**
 * Disjoint parts of a data set: `count` examples held out by a permutation of (seed, names), the rest to train on. The same
 * names give the same parts.
 */
export function splitDataset(set: Dataset, count: number, seed: Seed): { train: Dataset; heldOut: Dataset } {
  if (!Number.isSafeInteger(count) || count < 1 || count >= set.examples.length) {
    throw new InvalidArgumentError(
      'splitDataset',
      `expected to hold out from 1 to ${set.examples.length - 1} of ${set.examples.length} pictures, got ${count}`,
    );
  }
  const order = set.examples
    .map((example) => ({ example, key: createHash('sha256').update(`${seed}/${example.name}`).digest('hex') }))
    .sort((a, b) => byName(a.key, b.key));
  const held = new Set(order.slice(0, count).map(({ example }) => example));
  return {
    train: partOf(set, (example) => !held.has(example)),
    heldOut: partOf(set, (example) => held.has(example)),
  };
}

/** The examples that are kept, as a set of their own with the same classes. */
export function partOf(set: Dataset, keep: (example: Example) => boolean): Dataset {
  const examples = set.examples.filter(keep);
  return {
    ...set,
    examples,
    captioned: examples.filter(({ captions }) => captions.length > 0).length,
    fingerprint: fingerprintOf(examples, set.classes),
  };
}

/** The bytes of an example's file. */
export async function exampleBytes({ source }: Pick<Example, 'source'>): Promise<Uint8Array> {
  if (source.member === undefined) return readPlainFile(source.path, readingBudget.imageFileBytes);
  return readTarMember(source.path, source.member);
}

/** Where an example is, for errors. */
export function pathOf({ name, source }: Pick<Example, 'name' | 'source'>): string {
  return source.member === undefined ? source.path : `${source.path}: ${name}`;
}

/** Reasons why files were passed over, with counts. */
class Skipped {
  readonly #byReason = new Map<string, string[]>();
  /** Files of other kinds. */
  readonly files: string[] = [];

  /** A file of another kind. */
  addFile(name: string): void {
    this.files.push(name);
    this.add(`${endingOf(name) || 'files without an ending'} that are no pictures`, name);
  }

  add(reason: string, name: string): void {
    const names = this.#byReason.get(reason) ?? [];
    names.push(name);
    this.#byReason.set(reason, names);
  }

  lines(): string[] {
    return [...this.#byReason].map(([reason, names]) => `${names.length} ${reason}: ${listed(names, NAMED)}`);
  }
}

/** The pictures of a folder or an archive with what their side files say, what was passed over, and the names of the folders inside. */
export async function findPictures(
  path: string,
): Promise<{ readonly found: Found[]; readonly skipped: Skipped; readonly folders: readonly string[] }> {
  const skipped = new Skipped();
  if (!onDisk(path, () => statSync(path)).isDirectory()) {
    if (extname(path) !== '.tar') throw new InvalidFileError(path, 'is neither a folder nor a .tar archive');
    return { found: await fromShard(path, '', skipped), skipped, folders: [] };
  }
  const { files, folders } = filesBelow(path);
  const images = new Map<string, Found>();
  for (const name of files.filter((file) => IMAGE_ENDINGS.includes(endingOf(file)))) {
    images.set(name, { name, source: { path: join(path, name) }, captions: [] });
  }
  const found = [...images.values()];
  const stems = new Map<string, Found[]>();
  for (const image of found) stems.set(stemOf(image.name), [...(stems.get(stemOf(image.name)) ?? []), image]);
  for (const name of files) {
    const ending = endingOf(name);
    if (images.has(name)) continue;
    if (ending === '.tar') for (const one of await fromShard(join(path, name), `${name}/`, skipped)) found.push(one);
    else if (['.txt', '.caption'].includes(ending) && stems.has(stemOf(name))) {
      const text = readPlainText(join(path, name), readingBudget.configBytes);
      for (const image of stems.get(stemOf(name))!) addLines(image, text);
    } else if (['captions.jsonl', 'metadata.jsonl'].includes(basename(name))) {
      readRows(join(path, name), dirname(name), images, skipped);
    } else skipped.addFile(name);
  }
  return { found, skipped, folders };
}

/** What the lines of a `captions.jsonl` or `metadata.jsonl` say, into the pictures that they name. */
function readRows(file: string, folder: string, images: ReadonlyMap<string, Found>, skipped: Skipped): void {
  const text = readPlainText(file, readingBudget.listBytes);
  /** What is said of lines that say nothing of their picture, with the columns of the first. */
  let silent: string | undefined;
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const row = objectIn(line);
    if (row === undefined) throw new InvalidFileError(file, `line ${i + 1} is not a JSON object`);
    const named = row.file_name ?? row.file ?? row.image;
    if (typeof named !== 'string') {
      throw new InvalidFileError(file, `line ${i + 1} names no picture: expected "file_name": "..."`);
    }
    const name = folder === '.' ? named : `${folder}/${named}`;
    const image = images.get(name.replace(/^\.\//, ''));
    if (image === undefined) skipped.add(`lines of ${basename(file)} whose picture is not there`, named);
    else if (!takeFacts(image, row)) {
      const columns = listed(Object.keys(row), 2 * NAMED);
      silent ??= `lines of ${basename(file)} with neither "text" nor "caption" nor "label" (but ${columns})`;
      skipped.add(silent, named);
    }
  }
}

/** The object that a JSON text is, also behind a byte order mark; undefined where it is none. */
function objectIn(text: string): Record<string, unknown> | undefined {
  try {
    const value = parseJson(text.trim()); // a byte order mark is white space
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** The class and the captions of a row or of a shard's `.json`; whether it has a column for either. */
function takeFacts(image: Found, row: Readonly<Record<string, unknown>>): boolean {
  const { label, class: className, text, caption, captions } = row;
  for (const value of [className, label]) {
    if (typeof value === 'string' || typeof value === 'number') image.className = String(value);
  }
  for (const value of [text, caption, captions].flat()) {
    if (typeof value === 'string') addCaption(image, linesOf(value).join(' ')); // one caption, also of several lines
  }
  return [label, className, text, caption, captions].some((value) => value !== undefined);
}

/** The examples of one shard. */
async function fromShard(path: string, prefix: string, skipped: Skipped): Promise<Found[]> {
  const examples = new Map<string, Found>();
  const sides: { readonly key: string; readonly ending: string; readonly member: TarMember }[] = [];
  for (const member of await readTar(path)) {
    const at = member.name.lastIndexOf('/') + 1;
    const dot = member.name.indexOf('.', at);
    if (dot < 0 || basename(member.name).startsWith('.')) {
      skipped.addFile(prefix + member.name);
      continue;
    }
    const [key, ending] = [member.name.slice(0, dot), member.name.slice(dot).toLowerCase()];
    if (IMAGE_ENDINGS.includes(ending)) {
      if (examples.has(key)) skipped.add('second pictures of one example', prefix + member.name);
      else examples.set(key, { name: prefix + member.name, source: { path, member }, captions: [] });
    } else if (['.cls', '.txt', '.json', '.caption'].includes(ending)) sides.push({ key, ending, member });
    else skipped.addFile(prefix + member.name);
  }
  for (const { key, ending, member } of sides) {
    const example = examples.get(key);
    if (example === undefined) {
      skipped.add(`${ending} without a picture`, prefix + member.name);
      continue;
    }
    if (member.size > readingBudget.configBytes)
      throw new InvalidFileError(path, `${member.name} has ${member.size} bytes; expected a short text`);
    const text = Buffer.from(await readTarMember(path, member)).toString('utf8');
    if (ending === '.cls') example.className = text.trim();
    else if (ending === '.json') {
      const facts = objectIn(text);
      if (facts === undefined) throw new InvalidFileError(path, `${member.name} is not a JSON object`);
      takeFacts(example, facts);
    } else addLines(example, text);
  }
  return [...examples.values()];
}

/** Reads the header of each picture; those that have none are passed over. */
async function withSizes(
  found: readonly Found[],
  skipped: Skipped,
  onProgress?: (done: number, total: number) => void,
): Promise<(Found & Measured)[]> {
  const sizes: (Measured | undefined)[] = [];
  let next = 0;
  let done = 0;
  const work = async () => {
    for (let i = next++; i < found.length; i = next++) {
      const { name, source } = found[i]!;
      try {
        const whole = async () => (source.member === undefined ? source.path : exampleBytes({ source }));
        const { head, content } = firstLook(source);
        const { height, width } = await imageSize(head, whole, name);
        if (width * height > readingBudget.imagePixels) skipped.add('pictures with too many pixels', name);
        else sizes[i] = { height, width, content };
      } catch (error) {
        if (!InvalidFileError.isInstance(error)) throw error;
        skipped.add('damaged pictures', name);
      }
      onProgress?.(++done, found.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return found
    .flatMap((example, i) => (sizes[i] === undefined ? [] : [{ ...example, ...sizes[i] }]))
    .sort((a, b) => byName(a.name, b.name));
}

/** What is known of a picture without decoding it. */
type Measured = Pick<Example, 'height' | 'width' | 'content'>;

/** Bytes at the beginning and at the end of a picture that are hashed. */
const HASHED = 4096;

/** The first bytes of an example, which hold the header of a PNG, and a hash of its size and both ends. */
function firstLook({ path, member }: Example['source']): { readonly head: Uint8Array; readonly content: string } {
  const { handle, size: fileSize } = openPlainFile(path);
  try {
    const { offset, size } = member ?? { offset: 0, size: fileSize };
    const read = (at: number, length: number) => {
      const bytes = Buffer.alloc(Math.min(length, size - at));
      return bytes.subarray(0, readSync(handle, bytes, 0, bytes.length, offset + at));
    };
    const head = read(0, PNG_HEAD);
    const hash = createHash('sha256').update(String(size)).update(head.subarray(0, HASHED));
    const content = hash
      .update(read(Math.max(size - HASHED, 0), HASHED))
      .digest('base64url')
      .slice(0, 22);
    return { head, content };
  } finally {
    closeSync(handle);
  }
}

/**
 * The classes of pictures that were found, which are given theirs.
 *
 * @throws InvalidArgumentError when some have a class and others none
 */
export function classesOf(
  path: string,
  examples: Found[],
  folders: 'auto' | 'never',
): { readonly classes: string[]; readonly index: ReadonlyMap<string, number> } {
  nameClasses(examples, folders);
  const classes = [...new Set(examples.flatMap(({ className }) => className ?? []))].sort(byClass);
  const unlabelled = examples.filter(({ className }) => className === undefined);
  if (classes.length > 0 && unlabelled.length > 0) {
    throw new InvalidArgumentError(
      'data',
      `${path}: ${examples.length - unlabelled.length} pictures have a class and ${unlabelled.length} have none, for example ` +
        `${listed(
          unlabelled.map(({ name }) => name),
          NAMED,
        )}; put each into a folder of its class, or read the set without classes`,
    );
  }
  const index = new Map(classes.map((name, i) => [name, i]));
  return { classes, index };
}

/** Folders as classes, where nothing else says a class. */
function nameClasses(examples: Found[], folders: 'auto' | 'never'): void {
  if (folders === 'never') {
    for (const example of examples) delete example.className;
  } else if (byFolder(examples)) {
    for (const example of examples.filter(inFolder)) example.className = folderOf(example);
  }
}

/**
 * Whether folders are the classes: nothing else says one, and pictures are in folders. Captioned pictures beside them belong to the set, so
 * that the folders are no classes then.
 */
function byFolder(examples: readonly Found[]): boolean {
  if (examples.some(({ className, source }) => className !== undefined || source.member !== undefined)) return false;
  return examples.some(inFolder) && examples.every((one) => inFolder(one) || one.captions.length === 0);
}

const inFolder = ({ name }: Found): boolean => name.includes('/');
const folderOf = ({ name }: Found): string => name.slice(0, name.indexOf('/'));

/**
 * The pictures in the folders of the classes: those beside them and folders without any are named in `skipped`. Where most are beside the
 * folders they stay, and have no class.
 */
function insideClasses<T extends Found>(examples: readonly T[], folders: readonly string[], skipped: Skipped): T[] {
  if (!byFolder(examples)) return [...examples];
  const full = new Set(examples.filter(inFolder).map(folderOf));
  for (const name of folders.filter((folder) => !folder.includes('/') && !full.has(folder))) {
    skipped.add('folders without a picture, which are no classes', name);
  }
  const beside = examples.filter((one) => !inFolder(one));
  if (2 * beside.length > examples.length) return [...examples];
  for (const { name } of beside) skipped.add('pictures beside the folders of the classes', name);
  return examples.filter(inFolder);
}

/** Each line of a text that is not empty is a caption. */
function addLines(image: Found, text: string): void {
  for (const line of linesOf(text)) addCaption(image, line);
}

function addCaption(image: Found, text: string): void {
  const caption = text.slice(0, readingBudget.captionCharacters);
  if (caption !== '') image.captions.push(caption);
}

/** The lines of a text that are not empty, without white space around them. */
function linesOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

function stemOf(name: string): string {
  return name.slice(0, name.length - extname(name).length);
}

/** Names by code units; numbers, where both are, by their size. */
function byClass(a: string, b: string): number {
  const number = /^\d+$/;
  return number.test(a) && number.test(b) ? Number(a) - Number(b) : byName(a, b);
}

function fingerprintOf(examples: readonly Example[], classes: readonly string[]): string {
  const hash = createHash('sha256').update(JSON.stringify(classes));
  for (const { name, label, captions, height, width, content } of examples) {
    hash.update(JSON.stringify([name, label, captions, height, width, content]));
  }
  return hash.digest('hex');
}
