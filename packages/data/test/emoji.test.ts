import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import { afterAll, expect, test } from 'vitest';
import { emojiCaptions, emojiPart, listEmoji, writeEmojiClasses, writeEmojiFolder } from '../src/emoji-entry.js';
import { encodePng, openDataset, readImage } from '../src/index.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-emoji-'));
afterAll(() => rmSync(root, { recursive: true }));

const TONES = ['1F3FB', '1F3FC', '1F3FD', '1F3FE', '1F3FF'];

/** A project with the packages, laid out as emoji-datasource 16, openmoji 17 and emojilib 4, with six emoji. */
function project(name: string): string {
  const has = { has_img_google: true, has_img_twitter: true };
  const row = (name: string, unified: string, category: string, subcategory: string, more: object = {}) => ({
    ...{ name, unified, image: `${unified.toLowerCase()}.png`, category, subcategory, ...has, ...more },
  });
  const toned = Object.fromEntries(
    [...TONES, '1F3FB-1F3FC'].map((tone) => [tone, { image: `1f44b-${tone.toLowerCase()}.png`, ...has }]),
  );
  const rows = [
    row('WAVING HAND SIGN', '1F44B', 'People & Body', 'hand-fingers-open', { skin_variations: toned }),
    row('GREEN HEART', '1F49A', 'Smileys & Emotion', 'heart'),
    row('Finland Flag', '1F1EB-1F1EE', 'Flags', 'country-flag'),
    row('HASH KEY', '0023-FE0F-20E3', 'Symbols', 'keycap'),
    row('CAT FACE', '1F431', 'Animals & Nature', 'animal-mammal', { has_img_twitter: false }),
    row('EMOJI MODIFIER FITZPATRICK TYPE-3', '1F3FC', 'Component', 'skin-tone'),
  ];
  const words = {
    '❤️': ['red_heart', 'love'],
    '👋': ['waving_hand', 'wave', 'goodbye', 'hello', ':)'],
    '💚': ['green_heart', 'love', 'eco', 'nature'],
    '🇫🇮': ['flag_finland', 'fi'],
    '#️⃣': ['keycap_', 'symbol'],
    '🐱': ['cat_face', 'animal', 'meow', 'pet'],
  };
  const base = join(root, name, 'node_modules');
  const put = (path: string, content: string | Uint8Array) => {
    mkdirSync(dirname(join(base, path)), { recursive: true });
    writeFileSync(join(base, path), content);
  };
  put('emojilib/dist/emoji-en-US.json', JSON.stringify(words));
  for (const [maker, gray] of [
    ['google', 40],
    ['twitter', 200],
  ] as const) {
    put(`emoji-datasource-${maker}/emoji.json`, JSON.stringify(rows));
    const image = encodePng({ data: new Uint8Array(64 * 64 * 3).fill(gray), height: 64, width: 64, channels: 3 });
    for (const { image: file } of [...rows, ...Object.values(toned)])
      put(`emoji-datasource-${maker}/img/${maker}/64/${file}`, image);
  }
  const open = { annotation: 'waving hand', group: 'people-body', subgroups: 'hand-fingers-open' };
  put(
    'openmoji/data/openmoji.json',
    JSON.stringify([
      { ...open, hexcode: '1F44B', skintone: '', skintone_base_hexcode: '' },
      { ...open, hexcode: '1F44B-1F3FF', skintone: 5, skintone_base_hexcode: '1F44B' },
      { ...open, hexcode: '1F9D1-1F3FB-1F3FF', skintone: '1,5', skintone_base_hexcode: '1F9D1' },
      { ...open, hexcode: 'E000', group: 'extras-openmoji', skintone: '', skintone_base_hexcode: '' },
    ]),
  );
  for (const code of ['1F44B', '1F44B-1F3FF']) {
    const svg =
      '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72"><rect width="36" height="72" fill="#f00"/></svg>';
    put(`openmoji/color/svg/${code}.svg`, svg);
  }
  return join(root, name);
}

test('every emoji of a set with its five tones, named by emojilib, flags and bare names by the set', () => {
  const from = project('list');
  const noto = listEmoji({ sets: ['noto'], from });
  const names = noto.map(({ name, tone }) => (tone === undefined ? name : `${name}/${tone}`));
  expect(names).toEqual([
    'waving hand',
    'waving hand/light skin tone',
    'waving hand/medium-light skin tone',
    'waving hand/medium skin tone',
    'waving hand/medium-dark skin tone',
    'waving hand/dark skin tone',
    'green heart',
    'finland flag',
    'hash key',
    'cat face',
  ]);
  expect(noto[0]).toMatchObject({ concept: '1f44b', group: 'people & body', keywords: ['wave', 'goodbye', 'hello'] });
  // A picture that a maker does not have is not in its set.
  expect(listEmoji({ sets: ['twemoji'], from }).map(({ name }) => name)).not.toContain('cat face');
  const openmoji = listEmoji({ sets: ['openmoji'], from });
  expect(openmoji.map(({ concept, tone }) => [concept, tone])).toEqual([
    ['1f44b', undefined],
    ['1f44b', 'dark skin tone'],
  ]);
});

test('captions: name with article, tone and style, shuffled and with keywords; the same every time', () => {
  const [hand, light] = listEmoji({ sets: ['noto'], from: project('captions') });
  expect(emojiCaptions(hand!).slice(0, 4)).toEqual([
    'a waving hand, noto style',
    'waving hand, noto style',
    'noto style, waving hand',
    'a waving hand',
  ]);
  expect(emojiCaptions(light!)[0]).toBe('a waving hand with light skin tone, noto style');
  expect(emojiCaptions(light!).at(-1)).toMatch(/^(\w+, ){3}light skin tone, noto style$/);
  expect(emojiCaptions(light!)).toEqual(emojiCaptions({ ...light! }));
  const named = (name: string) => emojiCaptions({ ...hand!, name, keywords: [] }).at(-1);
  expect(['octopus', 'orange', 'unicorn', 'umbrella', 'glasses', 'flag: x'].map(named)).toEqual([
    'an octopus',
    'an orange',
    'a unicorn',
    'an umbrella',
    'glasses',
    'flag: x',
  ]);
});

test('fewer skin tones in train/, the same pictures elsewhere', async () => {
  const from = project('tones');
  const names = async (tones?: number) => {
    const folder = join(root, 'tones', `of-${tones}`);
    await writeEmojiFolder(folder, { from, seed: 3, ...(tones !== undefined && { tones }) });
    const of = (part: string) =>
      readFileSync(join(folder, part, 'metadata.jsonl'), 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { file_name: string }).file_name);
    return { train: of('train'), others: [...of('held-out'), ...of('combinations')] };
  };
  const [all, two, none] = [await names(), await names(2), await names(0)];
  const toned = (files: readonly string[], set: string) =>
    files.filter((file) => new RegExp(`^${set}.*(light|medium|dark)`).test(file));
  expect(toned(all.train, 'noto').length).toBeGreaterThanOrEqual(4);
  for (const set of ['noto', 'twemoji']) {
    expect(toned(two.train, set)).toHaveLength(2);
    expect(toned(none.train, set)).toHaveLength(0);
  }
  expect(all.train).toEqual(expect.arrayContaining(two.train));
  expect(all.train.filter((file) => !/(light|medium|dark)/.test(file))).toEqual(none.train);
  expect([two.others, none.others]).toEqual([all.others, all.others]);
  await expect(writeEmojiFolder(join(root, 'tones', 'x'), { from, tones: 6 })).rejects.toThrow(
    'emoji tones: expected a whole number from 0 to 5, got 6',
  );
});

test('a concept is on one side of the split whatever its set and tone, and about 4 % are held out', () => {
  const [hand] = listEmoji({ sets: ['noto'], from: project('split') });
  const sets = ['noto', 'twemoji'] as const;
  const concepts = Array.from({ length: 4000 }, (_, i) => `c${i}`);
  const parts = concepts.map((concept) => sets.map((set) => emojiPart({ ...hand!, concept, set }, sets, 0)));
  const heldOut = parts.filter(([a]) => a === 'held-out');
  expect(heldOut.every(([, b]) => b === 'held-out')).toBe(true);
  expect(heldOut.length / concepts.length).toBeCloseTo(0.04, 1);
  // One of the two sets, never both, for some concepts.
  const oneSet = parts.filter((both) => both.includes('combinations'));
  expect(oneSet.length).toBeGreaterThan(80);
  expect(oneSet.every((both) => both.includes('train'))).toBe(true);
  // At most one tone of a concept is held out; a colour with its object is held out in all sets.
  const tones = ['light', 'medium-light', 'medium', 'medium-dark', 'dark'].map((tone) => `${tone} skin tone`);
  const byTone = concepts.map((concept) => tones.map((tone) => emojiPart({ ...hand!, concept, tone }, ['noto'], 0)));
  const counts = byTone.map((row) => row.filter((part) => part === 'combinations').length);
  expect(Math.max(...counts)).toBe(1);
  expect(counts.filter((count) => count === 1).length / concepts.length).toBeCloseTo(0.29, 1);
  for (const set of sets) expect(emojiPart({ ...hand!, name: 'green heart', set }, sets, 5)).toBe('combinations');
  expect(
    concepts.some((concept) => emojiPart({ ...hand!, concept }, sets, 1) !== emojiPart({ ...hand!, concept }, sets, 0)),
  ).toBe(true);
});

test('the folder opens as captioned pictures with classes, and names the makers', async () => {
  const from = project('folder');
  const out = join(root, 'out');
  const seen: number[] = [];
  const summary = await writeEmojiFolder(out, {
    from,
    sets: ['noto', 'twemoji', 'openmoji'],
    size: 16,
    onProgress: (done) => seen.push(done),
  });
  expect(seen.at(-1)).toBe(10 + 9 + 2);
  const { examples, ...parts } = summary.pictures;
  expect(Object.values(parts).reduce((a, b) => a + b)).toBe(21);
  // Captions of these are all different; prompts stand in the order of the names.
  expect(examples).toBe(summary.pictures.train);
  const shown = await openDataset(join(out, 'examples'), { folderClasses: 'never' });
  const byName = [...shown.examples].sort((a, b) => (a.name < b.name ? -1 : 1));
  const prompts = byName.map(({ captions }) => `${captions[0]}\n`).join('');
  expect(readFileSync(join(out, 'examples', 'prompts.txt'), 'utf8')).toBe(prompts);
  expect(readFileSync(join(out, 'combinations', 'prompts.txt'), 'utf8')).toContain('a green heart, noto style\n');
  const [twin] = byName;
  expect(readFileSync(join(out, 'train', twin!.name))).toEqual(readFileSync(join(out, 'examples', twin!.name)));
  const train = await openDataset(join(out, 'train'));
  expect(train.examples.length).toBe(summary.pictures.train);
  expect(train.captioned).toBe(train.examples.length);
  expect(train.classes).toContain('people & body');
  const combinations = readFileSync(join(out, 'combinations', 'metadata.jsonl'), 'utf8');
  expect(combinations).toContain('noto-1f49a.png');
  expect(combinations).toContain('twemoji-1f49a.png');
  const heart = await readImage(join(out, 'combinations', 'twemoji-1f49a.png'));
  expect([heart.height, heart.width, heart.data[0]]).toEqual([16, 16, 200]);
  const drawn = (await openDataset(out, { folderClasses: 'never' })).examples.find(({ name }) =>
    name.includes('openmoji-1f44b.png'),
  )!;
  const svg = await readImage(drawn.source.path);
  expect([svg.height, svg.width, ...svg.data.subarray(0, 3), ...svg.data.subarray(45, 48)]).toEqual([
    16, 16, 255, 0, 0, 255, 255, 255,
  ]);
  expect(readFileSync(join(out, 'LICENCES.txt'), 'utf8')).toContain('openmoji: OpenMoji contributors; CC-BY-SA-4.0');
  expect(existsSync(`${out}.unfinished`)).toBe(false);
  await expect(writeEmojiFolder(out, { from })).rejects.toThrow(/is there already/);
});

test('classes by subgroup: a folder for each, openmoji beside the others', async () => {
  const from = project('classes');
  const out = join(root, 'classes-out');
  const summary = await writeEmojiClasses(out, { from, sets: ['noto', 'openmoji'], size: 8 });
  // A hand with five tones and a drawn one with one; keycaps are in no class.
  expect(summary.pictures).toEqual({ animals: 1, flags: 1, hands: 6 + 2, hearts: 1 });
  const set = await openDataset(out);
  expect(set.classes).toEqual(['animals', 'flags', 'hands', 'hearts']);
  expect(set.examples.length).toBe(11);
  const heart = await readImage(join(out, 'hearts', 'noto-1f49a.png'));
  expect([heart.height, heart.width, heart.data[0]]).toEqual([8, 8, 40]);
  expect(readFileSync(join(out, 'LICENCES.txt'), 'utf8')).toContain('noto: Google, Noto Emoji; Apache-2.0');
  const few = await writeEmojiClasses(join(root, 'few'), { from, sets: ['noto'], classes: ['hearts'] });
  expect(few.pictures).toEqual({ hearts: 1 });
  await expect(writeEmojiClasses(join(root, 'none'), { from, classes: ['cars' as never] })).rejects.toThrow(
    /expected some of animals, faces, flags, foods, hands, hearts, got cars/,
  );
  await expect(writeEmojiClasses(out, { from })).rejects.toThrow(/is there already/);
});

test('a missing package says how to install it; another layout is refused', () => {
  const empty = join(root, 'empty');
  mkdirSync(join(empty, 'node_modules', 'emojilib'), { recursive: true });
  const missing = () => listEmoji({ from: join(root, 'nowhere') });
  expect(missing).toThrow(InvalidArgumentError);
  // Into the folder that was given; where none was, into one that is to be named then.
  const all = '.*emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0';
  expect(missing).toThrow(new RegExp(`: npm install --prefix ${join(root, 'nowhere')} ${all}$`));
  expect(() => listEmoji({ from: join(root, 'a b') })).toThrow(new RegExp(`--prefix "${join(root, 'a b')}" ${all}$`));
  expect(() => listEmoji()).toThrow(
    new RegExp(
      `in the working directory: npm install --prefix data/packages ${all}, and name that folder .*--packages`,
    ),
  );
  // A folder may be named from the working directory.
  expect(listEmoji({ from: relative('', project('relative')) })).toHaveLength(10 + 9);
  for (const unknown of ['apple', 'toString']) {
    expect(() => listEmoji({ sets: [unknown as never], from: empty })).toThrow(
      `expected some of noto, twemoji, openmoji, got ${unknown}`,
    );
  }
  expect(() => listEmoji({ sets: ['noto', 'twemoji', 'noto', 'noto'], from: empty })).toThrow(
    'emoji sets: expected each once, got noto more than once',
  );
  const other = project('other');
  writeFileSync(join(other, 'node_modules', 'emoji-datasource-google', 'emoji.json'), '{"a": 1}');
  expect(() => listEmoji({ sets: ['noto'], from: other })).toThrow(InvalidFileError);
});

test('a damaged package is refused by its file, with what is wrong in it', () => {
  const from = project('damaged');
  const refused = (set: 'noto' | 'openmoji', path: string, change: (text: string) => string) => {
    const file = join(from, 'node_modules', path);
    const whole = readFileSync(file, 'utf8');
    writeFileSync(file, change(whole));
    let error: unknown;
    try {
      listEmoji({ sets: [set], from });
    } catch (thrown) {
      error = thrown;
    }
    writeFileSync(file, whole);
    expect(error).toBeInstanceOf(InvalidFileError);
    expect(error).toMatchObject({ file });
    return (error as InvalidFileError).problem;
  };
  const entries = (change: (rows: Record<string, unknown>[]) => unknown) => (text: string) =>
    JSON.stringify(change(JSON.parse(text)));
  const noto = 'emoji-datasource-google/emoji.json';
  expect(refused('noto', noto, (text) => text.slice(0, 90))).toMatch(
    /^is not JSON: .*; remove the package and install/,
  );
  // All problems, the first few in words: a missing field, a name that leaves the folder, a code point that is none.
  const problem = refused(
    'noto',
    noto,
    entries(([a, b, c, d, ...others]) => {
      const { category: _, ...without } = a!;
      const toned = { ...d, skin_variations: { '1F3FB': { image: 1, has_img_google: true } } };
      return [without, { ...b, image: '../../a.png' }, { ...c, unified: '110000' }, toned, null, 1, ...others];
    }),
  );
  expect(problem).toBe(
    'expected the list of emoji-datasource 16, got entry 1: category undefined, entry 2: image "../../a.png", ' +
      'entry 3: unified "110000", entry 4, 1F3FB: image 1, entry 5: null, … and 1 more; remove the package and install it again',
  );
  expect(refused('noto', noto, () => '[]')).toContain('got a list of 0;');
  expect(refused('noto', noto, () => 'null')).toContain('got null;');
  expect(
    refused(
      'noto',
      noto,
      entries(([a]) => [{ ...a, skin_variations: 3 }]),
    ),
  ).toContain('skin_variations 3;');
  const lib = 'emojilib/dist/emoji-en-US.json';
  expect(refused('noto', lib, () => 'null')).toContain(
    'expected the keywords of emojilib 4, got no entry for the red heart',
  );
  const words = '{"❤️": ["red_heart"], "👋": "waving", "💚": [], "🐱": [1]}';
  expect(refused('noto', lib, () => words)).toContain(
    'got no list of words for "👋", no list of words for "💚", no list of words for "🐱";',
  );
  const openmoji = 'openmoji/data/openmoji.json';
  expect(
    refused(
      'openmoji',
      openmoji,
      entries(([a]) => [{ ...a, hexcode: '../1F44B' }]),
    ),
  ).toContain('expected the list of openmoji 17, got entry 1: hexcode "../1F44B";');
});

test('a folder that is stopped at its end is not there, nor what was written of it; a slash at its end is none of its name', async () => {
  const from = project('stopped');
  const out = join(root, 'stopped-out', 'emoji');
  for (const write of [writeEmojiFolder, writeEmojiClasses]) {
    const controller = new AbortController();
    const onProgress = (done: number, total: number) => {
      if (done === total) controller.abort();
    };
    await expect(write(out, { from, signal: controller.signal, onProgress })).rejects.toThrow(/abort/);
    expect(readdirSync(dirname(out))).toEqual([]);
  }
  await writeEmojiFolder(`${out}/`, { from });
  expect(readdirSync(dirname(out))).toEqual(['emoji']);
  expect(readdirSync(out)).toEqual(['LICENCES.txt', 'combinations', 'examples', 'held-out', 'train']);
});
