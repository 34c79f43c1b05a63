import { cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { saveModel } from '@mezzotint/app';
import { runApp, tinyNetwork, writeImageFolder, writeTinyModel } from '@mezzotint/app/testing';
import { imageNet512 } from '@mezzotint/architectures';
import { useBackend } from '@mezzotint/backend';
import { readImage, writePng } from '@mezzotint/data';
import { writeSnapshot } from '@mezzotint/training/node';
import { type ClassifierConfig, NoisyClassifier } from '@mezzotint/unet';
import { readSafetensors } from '@mezzotint/weights/node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { evaluateCommand } from '../src/command.js';
import { evaluate, trainedOn } from '../src/evaluate.js';
import { merge, mergeCommand } from '../src/merge.js';
import { mergeSettings } from '../src/settings.js';
import { printTable, tableCommand } from '../src/table.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint-evaluate-'));
const [model, classifier, images, other] = ['model', 'classifier', 'images', 'other'].map((name) =>
  join(root, name),
) as [string, string, string, string];
type Row = {
  model: string;
  guidance: number;
  against: string;
  metrics: Record<
    string,
    { value: number; count: number; against: number | null; parts?: Record<string, number>; notes?: string[] }
  >;
};
type Result = { rows: Row[]; realAgainstReal: Record<string, number> | null; recipe: string };
const run = (...argv: string[]) =>
  runApp(evaluateCommand(), evaluate, ['--engine', 'cpu', '--classifier', classifier, '--json', ...argv]);
const resultOf = async (...argv: string[]) => {
  const { code, out, err } = await run(...argv);
  expect(err).not.toMatch(/fault/);
  expect(code, err).toBe(0);
  return JSON.parse(out) as Result;
};

beforeAll(async () => {
  await useBackend({ engine: 'cpu' });
  await writeTinyModel(model);
  await writeImageFolder(images, 16);
  await writeImageFolder(other, 8);
  // One picture of another size, and one in colour.
  const noise = (size: number) => Uint8Array.from({ length: size }, (_, i) => (i * 61) % 256);
  await writePng(join(other, 'large.png'), { data: noise(12 * 10), height: 12, width: 10, channels: 1 });
  await writePng(join(other, 'colour.png'), { data: noise(64 * 3), height: 8, width: 8, channels: 3 });
  const { outChannels: _out, headsUp: _heads, nullLabel: _null, ...encoder } = tinyNetwork;
  const network: ClassifierConfig = { ...encoder, classes: 2, pool: 'attention' };
  const read = new NoisyClassifier(network).init(1);
  await saveModel(
    classifier,
    {
      format: 'mezzotint/classifier@1',
      architecture: 'NoisyClassifier',
      network: network as unknown as Record<string, unknown>,
      image: { size: 8, channels: 1 },
      classes: ['a', 'b'],
      process: null,
    },
    read,
  );
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('scores each guidance scale against the images, and real images against real ones', async () => {
  const plot = join(root, 'plot.png');
  const result = await resultOf(
    '--model',
    model,
    '--data',
    images,
    '--count',
    '16',
    '--guidance',
    '1,2',
    '--plot',
    plot,
  );
  expect(result.rows.map((row) => row.guidance)).toEqual([1, 2]);
  const floor = result.realAgainstReal!.fid!;
  expect(floor).toBeGreaterThanOrEqual(0);
  for (const { metrics, against } of result.rows) {
    expect(against).toBe(images);
    expect(metrics.fid!.value).toBeGreaterThan(floor); // Noise from an untrained network.
    expect(metrics['label-accuracy']!.value).toBeLessThanOrEqual(1);
    for (const share of ['precision', 'recall', 'coverage']) expect(metrics.prdc!.parts![share]).toBeLessThanOrEqual(1);
  }
  expect(result.recipe).toMatch(/not FID/);
  expect(existsSync(plot)).toBe(true);
});

test('a folder against itself: no distance, everything covered; pictures of any size and colour', async () => {
  const argv = ['--images', other, '--data', other];
  const [row] = (await resultOf(...argv)).rows;
  expect(row!.metrics.fid!.value).toBeCloseTo(0, 9); // float64 throughout
  expect(row!.metrics.prdc!.parts).toMatchObject({ precision: 1, recall: 1, coverage: 1 });
});

test('labels count only where every model has the classes of the classifier', async () => {
  const turned = join(root, 'turned');
  cpSync(model, turned, { recursive: true });
  const config = join(turned, 'config.json');
  const file = JSON.parse(readFileSync(config, 'utf8')) as { classes: string[] };
  writeFileSync(config, JSON.stringify({ ...file, classes: [...file.classes].reverse() }));
  const argv = ['--model', model, '--model', turned, '--data', images, '--count', '4'];
  const { rows } = await resultOf(...argv);
  expect(rows.map(({ metrics }) => [metrics['label-accuracy'], metrics.fid !== undefined])).toEqual(
    Array(2).fill([undefined, true]),
  );
  const { code, err } = await run(...argv, '--metrics', 'label-accuracy');
  expect([code, err]).toEqual([
    2,
    expect.stringMatching(/the classes of .*turned \(b, a\) are not those of classifier/),
  ]);
});

test('saved statistics are what the data itself is', async () => {
  const file = join(root, 'statistics.npz');
  const saved = await run('--data', images, '--save-statistics', file);
  expect(saved.code, saved.err).toBe(0);
  expect(saved.err).toMatch(/Wrote the statistics of 32 pictures/);
  const metrics = ['--metrics', 'fid,kid-all,memorization'];
  const [direct, stored] = [
    await resultOf('--images', other, '--data', images, ...metrics),
    await resultOf('--images', other, '--reference', file, ...metrics),
  ];
  expect(stored.rows[0]!.metrics).toEqual(direct.rows[0]!.metrics);
});

describe('long runs', () => {
  const argv = () => ['--model', model, '--data', images, '--count', '12', '--batch', '5', '--seed', '3'];

  test('a run folder is gone on with, and nothing else is mistaken for it', async () => {
    const folder = join(root, 'run');
    const first = await resultOf(...argv(), '--run', folder);
    expect(readFileSync(join(folder, 'evaluation.json'), 'utf8')).toMatch(/"metrics"/);
    const again = await run(...argv(), '--run', folder);
    expect([again.code, again.err]).toEqual([2, expect.stringMatching(/holds an evaluation already: pass --resume/)]);
    rmSync(join(folder, 'model-0.npz')); // as if it had been stopped before the model's pictures
    expect(await resultOf(...argv(), '--run', folder, '--resume')).toEqual(first);
    const changed = await run(...argv(), '--run', folder, '--resume', '--seed', '4');
    expect([changed.code, changed.err]).toEqual([2, expect.stringMatching(/made with other pictures or settings/)]);
  });

  test('shards merge to the whole', async () => {
    const whole = await resultOf(...argv());
    const folders = ['0', '1'].map((i) => join(root, 'shards', i));
    for (const [i, folder] of folders.entries()) {
      const part = await run(...argv(), '--run', folder, '--shard', `${i}/2`);
      expect([part.code, part.out]).toEqual([0, '']);
      expect(part.err).toMatch(new RegExp(`Part ${i} of 2.*evaluate merge`));
    }
    const merging = async (...of: string[]) => {
      const command = mergeCommand();
      return runApp(command, (flags, context) => merge(command.args, flags, context), [...of, '--json']);
    };
    const merged = JSON.parse((await merging(...folders)).out) as Result;
    for (const [name, { value }] of Object.entries(whole.rows[0]!.metrics)) {
      // The same pictures; batches of other sizes change the order of float32 sums.
      expect(Math.abs(merged.rows[0]!.metrics[name]!.value - value), name).toBeLessThan(
        1e-3 * Math.max(1e-3, Math.abs(value)),
      );
    }
    const refused = async (of: readonly string[], why: RegExp) => {
      const { code, err } = await merging(...of);
      expect([code, err]).toEqual([2, expect.stringMatching(why)]);
    };
    await refused([folders[0]!], /no shard has the pictures 5 to 12 of 12/);
    await refused(
      [folders[1]!, folders[1]!],
      /no shard has the pictures 0 to 5 of 12[\s\S]*pictures 5 to 12 of 12 are there twice/,
    );
    const other = join(root, 'shards', 'other');
    await run(...argv(), '--run', other, '--shard', '1/2', '--seed', '4');
    await refused([folders[0]!, other], /is not of the pictures of .*: others, or made with other settings/);
  });
});

test('the digits are compared with twice, and each is said to be what it is', async () => {
  const { code, err } = await run(
    '--model',
    model,
    '--data',
    'digits',
    '--count',
    '20',
    '--steps',
    '1',
    '--metrics',
    'fid',
  );
  expect(code, err).toBe(0);
  expect(err).toMatch(/against digits:held-out, 20 pictures \(digits that train never shows to a model\)/);
  expect(err).toMatch(/against digits:train, 20 pictures \(the digits that train shows to its models\)/);
});

test('a model of prompts is compared with as many real pictures as it makes, and both numbers are said', async () => {
  const reader = fileURLToPath(new URL('../../sample/test/fixtures/tiny-sd', import.meta.url));
  const [prompts, folder] = [join(root, 'asked.txt'), join(root, 'asked')];
  const asked = (...texts: string[]) => writeFileSync(prompts, `${texts.join('\n')}\n`);
  const argv = ['--model', reader, '--prompts', prompts, '--data', images, '--steps', '1', '--batch', '2'];
  const fid = [...argv, '--metrics', 'fid'];
  asked('one', 'two', 'three '.repeat(80));
  const { code, err, out } = await run(...fid, '--run', folder, '--count', '5');
  expect(code, err).toBe(0);
  expect(err).toMatch(/--count 5: there are 3 prompts, so 3 pictures are made/);
  expect(err).toMatch(/\b3 real pictures against 3 other real ones: fid/);
  expect(err).toMatch(/Note: .*tiny-sd.*: the prompt is longer than 75 tokens; cut off: 'three three/);
  expect(err).toMatch(/tiny-sd, 3 pictures against .*images, 3 pictures \(what/);
  expect((JSON.parse(out) as Result).rows[0]!.metrics.fid).toMatchObject({ count: 3, against: 3 });
  // Nothing of another number goes on with it, and shards of other numbers do not join.
  asked('one', 'two', 'three', 'four');
  const resumed = await run(...fid, '--run', folder, '--resume');
  expect([resumed.code, resumed.err]).toEqual([2, expect.stringMatching(/made with other pictures or settings/)]);
  const shards = [0, 1].map((i) => join(root, `asked-${i}`));
  for (const [i, shard] of shards.entries()) {
    const part = await run(...fid, '--run', shard, '--shard', `${i}/2`);
    expect(part.code, part.err).toBe(0);
    asked('one', 'two', 'three');
  }
  const merging = await runApp(mergeCommand(), (_, context) => merge(shards, {}, context), shards);
  expect([merging.code, merging.err]).toEqual([
    2,
    expect.stringMatching(/asked-1.* is not of the pictures of .*asked-0.*: others, or/),
  ]);
});

test('what a model was trained on is said beside its scores', async () => {
  const trained = join(root, 'trained');
  await writeTinyModel(join(trained, 'model'));
  writeFileSync(join(trained, 'config.json'), JSON.stringify({ data: { kind: 'folder', path: images, size: 8 } }));
  expect(trainedOn(trained, images)).toMatch(/THE MODEL WAS TRAINED ON THESE PICTURES/);
  expect(trainedOn(join(trained, 'model'), `${images}/`)).toMatch(/THE MODEL WAS TRAINED ON THESE PICTURES/);
  expect(trainedOn(trained, root)).toMatch(/THE MODEL WAS TRAINED ON THESE PICTURES/); // they lie in it
  expect(trainedOn(trained, other)).toMatch(/not those that .*config\.json says/);
  const says = (data: object) => writeFileSync(join(trained, 'config.json'), JSON.stringify({ data }));
  says({ kind: 'latents', path: 'runs/latents' });
  for (const data of [images, 'digits:train', 'digits:held-out']) {
    expect(trainedOn(trained, data)).toMatch(/latent images of "runs\/latents", not of which pictures; if these were/);
  }
  says({ kind: 'digits', part: 'all' });
  expect(trainedOn(trained, 'digits:held-out')).toMatch(/THE MODEL WAS TRAINED ON THESE PICTURES/);
  expect(trainedOn(trained, images)).toMatch(/not those that .*config\.json says/);
  expect(trainedOn(model, other)).toMatch(/what the model was trained on is not known/);
});

test('EMA lengths and guidance scales in one command: averages are made of the run’s snapshots, and drawn as a heat map', async () => {
  const [ended, plot] = [join(root, 'ended'), join(root, 'heat.png')];
  await writeTinyModel(join(ended, 'model'));
  const weights = readSafetensors(join(ended, 'model', 'model.safetensors'));
  for (const time of [100, 200]) {
    for (const sigmaRel of [0.05, 0.1]) {
      const scaled = [...weights.tensors.keys()].map((name) => {
        const { shape, data } = weights.read(name);
        return [name, { shape, data: Float32Array.from(data, (x) => x * (1 + (sigmaRel * time) / 100)) }] as const;
      });
      const state = { updates: time, tensors: Object.fromEntries(scaled) };
      await writeSnapshot(join(ended, 'snapshots'), { sigmaRel, time }, state);
    }
  }
  weights.close();
  const sweep = ['--model', ended, '--data', images, '--count', '8', '--metrics', 'fid', '--guidance', '1,2'];
  const { rows } = await resultOf(...sweep, '--sigma-rel', '0.05,0.08', '--plot', plot);
  const averages = ['ema-0.05', 'ema-0.08'].map((name) => join(ended, 'posthoc-ema', name));
  expect(rows.map(({ model, guidance }) => [model, guidance])).toEqual([
    [averages[0], 1],
    [averages[0], 2],
    [averages[1], 1],
    [averages[1], 2],
  ]);
  expect(new Set(rows.map(({ metrics }) => metrics.fid!.value)).size).toBe(4);
  const { width, height } = await readImage(plot);
  expect([width < 960, height]).toEqual([true, 20 + 30 + 2 * 44 + 34 + 24]); // no lines: two rows of cells
  // What was made is taken again, one of another time is not.
  const again = await resultOf(...sweep, '--sigma-rel', '0.05');
  expect(again.rows.map(({ metrics }) => metrics)).toEqual(rows.slice(0, 2).map(({ metrics }) => metrics));
  renameSync(join(ended, 'snapshots'), join(ended, 'gone'));
  const { code, err } = await run(...sweep, '--sigma-rel', '0.05');
  expect([code, err]).toEqual([2, expect.stringMatching(/snapshots: is not there: a training leaves it when/)]);
});

test('a configuration file holds the same settings; flags win', () => {
  const config = join(root, 'config.json');
  const file = {
    images: other,
    data: images,
    metrics: 'kid-all',
    batch: 4,
    featuresWeights: [classifier],
    guidance: '1,2',
  };
  writeFileSync(config, JSON.stringify({ ...file, features: 'classifier', resume: true, run: 'x' }));
  const settings = mergeSettings({ config });
  expect(settings).toMatchObject({ images: other, data: images, batch: 4, guidance: [1, 2], resume: true });
  expect([settings.featuresWeights, settings.metrics.map(({ name }) => name)]).toEqual([[classifier], ['kid-all']]);
  const changed = mergeSettings({ config, metrics: ['fid', 'prdc'] });
  expect(changed.metrics.map(({ name }) => name)).toEqual(['fid', 'prdc']);
  writeFileSync(config, JSON.stringify({ imagse: other }));
  expect(() => mergeSettings({ config })).toThrow(/config\.json: .*unknown option '--imagse'/);
  writeFileSync(config, JSON.stringify({ count: 1 }));
  expect(() => mergeSettings({ config })).toThrow(/--count: expected a whole number of at least 2/);
});

test('blank lines of prompts: passed over where a model makes a picture of each, an error where they are of pictures', () => {
  const prompts = join(root, 'blank-lines.txt');
  writeFileSync(prompts, 'a cat\n\na dog\n\n');
  expect(mergeSettings({ model: [model], classifier, prompts }).prompts).toEqual(['a cat', 'a dog']);
  const problem = /blank are the lines 2/;
  expect(() => mergeSettings({ images, data: other, classifier, prompts })).toThrow(problem);
  expect(() => mergeSettings({ model: [model], data: images, classifier, prompts, metrics: ['clip-image'] })).toThrow(
    problem,
  );
  const source = { images, data: other, classifier, sourcePrompts: prompts };
  expect(() => mergeSettings(source)).toThrow(/--source-prompts: .*blank are the lines 2/);
  writeFileSync(prompts, '');
  expect(() => mergeSettings({ model: [model], classifier, prompts })).toThrow(/has no line with a prompt/);
});

test('the table: published figures, our own costs beside them, rows of a user', async () => {
  const [mine, picture] = [join(root, 'mine.json'), join(root, 'table.png')];
  const metrics = { fid: { value: 3 } };
  const rows = [1, 2].map((guidance) => ({ generated: 'g', model: 'my/model', guidance, against: 'data', metrics }));
  writeFileSync(mine, JSON.stringify({ features: 'classifier', recipe: 'small', rows }));
  const table = (...argv: string[]) => runApp(tableCommand(), printTable, argv);
  const { code, out } = await table('--add', mine, '--format', 'markdown', '--picture', picture);
  expect(code).toBe(0);
  expect(out).toMatch(/\| EDM2-XXL \| 1\.91 \| 1\.81 \| 1523 \| 552 \| 63 \| 1523\.2 \| /);
  expect(out).toMatch(/\| StyleGAN-XL \[\d\] \| – \| 2\.41 \| 168 \| 2067 \| 1 \| – \|/);
  expect(out).toMatch(/a GAN, no diffusion model/);
  expect(out).toMatch(/\| my\/model \[\d\] \| 3\.00 \| 3\.00 \|[\s\S]*NOT FID: classifier features; small/);
  expect(existsSync(picture)).toBe(true);
  const printed = JSON.parse((await table('--format', 'json')).out) as { ours: object | null }[];
  expect(printed.map(({ ours: _, ...row }) => row)).toEqual(imageNet512);
  const bad = join(root, 'bad.json');
  writeFileSync(bad, '{}');
  expect((await table('--add', bad)).err).toMatch(/bad\.json: expected \{ name, fid/);
});

test.each<[string, () => string[], RegExp]>([
  ['nothing said', () => [], /--model or --images: expected pictures to score/],
  ['no such classifier', () => ['--model', model, '--classifier', 'nowhere'], /nowhere: no such file or folder/],
  [
    'a model as classifier',
    () => ['--model', model, '--data', images, '--classifier', model],
    /expected the model\.safetensors and the config\.json of train's classifier folder/,
  ],
  ['bad scale', () => ['--model', model, '--guidance', '1,x'], /--guidance: expected a number/],
  ['no images', () => ['--model', model, '--data', join(root, 'none')], /no such folder of images/],
  ['both sources', () => ['--model', model, '--images', images], /--model, --images: expected one of them/],
  ['nothing to compare with', () => ['--images', images, '--metrics', 'fid,is'], /fid: needs --data or --reference/],
  ['no metric without it', () => ['--images', images], /--data or --reference: expected pictures or statistics/],
  ['unknown metric', () => ['--images', images, '--metrics', 'fdi'], /expected one of fid, .*got 'fdi'/],
  ['no prompts', () => ['--images', images, '--metrics', 'clip-score'], /clip-score: needs --prompts/],
  [
    'unknown network',
    () => ['--images', images, '--data', other, '--features', 'vgg'],
    /expected one of inception, .*got 'vgg'/,
  ],
  [
    'no weights',
    () => ['--images', images, '--data', other, '--features', 'inception'],
    /none given. inception: its makers publish pt_inception-2015-12-05-6726825d\.pth from https:.*SHA-256 6726825d/,
  ],
  ['labels of no model', () => ['--images', images, '--metrics', 'label-accuracy'], /label-accuracy: needs --model/],
  [
    'a shard without a folder',
    () => ['--images', images, '--data', other, '--shard', '0/2'],
    /--shard: expected --run/,
  ],
  [
    'statistics of a part',
    () => [
      '--data',
      images,
      '--save-statistics',
      join(root, 'part.npz'),
      '--shard',
      '0/2',
      '--run',
      join(root, 'part'),
    ],
    /--save-statistics: a part has only its own pictures/,
  ],
  ['a shard that is none', () => ['--images', images, '--shard', '2/2'], /expected i\/n with i from 0 to n - 1/],
  [
    'fewer prompts than pictures',
    () => {
      writeFileSync(join(root, 'prompts.txt'), 'one\ntwo\n');
      return ['--images', images, '--prompts', join(root, 'prompts.txt'), '--metrics', 'clip-score'];
    },
    /needs a network that reads texts, got classifier/,
  ],
])('%s: one clear message, exit code 2', async (_, argv, message) => {
  const { code, err } = await run(...argv());
  expect(err).toMatch(message);
  expect(code).toBe(2);
});
