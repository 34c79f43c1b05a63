import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readConfig } from '@mezzotint/app/terminal';
import { useBackend } from '@mezzotint/backend';
import { type HostTensor, Module, normal, Param, TorchGenerator } from '@mezzotint/core';
import { encodePng, openDataset, readLatentsIndex, readTar, readTarMember } from '@mezzotint/data';
import { mergeSettings } from '@mezzotint/evaluate/settings';
import { Collector, type Need } from '@mezzotint/metrics';
import { mergeRuns, readStatistics, writeStatistics } from '@mezzotint/metrics/node';
import { trainConfigSchema } from '@mezzotint/train/config';
import { adamW, constantDecay, ema } from '@mezzotint/training';
import { CheckpointFolder, lockFolder } from '@mezzotint/training/node';
import { bytesSource, encodeNpz, type NumericArray, openNpz } from '@mezzotint/weights';
import { mutateLines } from '../mutate.js';
import { below, binary, jsonFile, type Reader, temporaryFolder } from '../reader.js';

const folder = temporaryFolder();
const bytesOf = (value: unknown) => Buffer.from(JSON.stringify(value));
const place = (name: string, bytes: Uint8Array) => {
  writeFileSync(join(folder, name), bytes);
  return join(folder, name);
};

/** One weight: all that a checkpoint needs. */
class OneWeight extends Module {
  readonly w = new Param([2], { init: normal(1) });
}

/** A checkpoint of step 3, and what it is loaded into. */
async function checkpoint() {
  await useBackend({ engine: 'cpu' });
  const model = new OneWeight().init(1);
  const optimizer = adamW(model);
  const averages = { ema: ema(model, constantDecay(0.5)) };
  const statefulParts = {
    codebook: {
      save: async () => ({ m: { shape: [1], data: Float32Array.of(1) } as HostTensor }),
      load: () => undefined,
    },
  };
  const path = join(folder, 'run');
  const run = new CheckpointFolder(path);
  const streams = { noise: new TorchGenerator(3) };
  const data = { epoch: 0, position: 1 };
  await run.save({ step: 3, model, optimizer, averages, statefulParts, streams, data, extra: { history: [1, 2] } });
  run.close();
  const at = join(path, 'checkpoint-3');
  const read = async () =>
    (await new CheckpointFolder(path).latest())?.load({ model, optimizer, averages, statefulParts });
  return { at, read, state: readFileSync(join(at, 'state.json')), manifest: readFileSync(join(at, 'manifest.json')) };
}
const saved = await checkpoint();

/** A manifest that fits another state.json. */
function manifestOf(state: Uint8Array): string {
  const manifest = JSON.parse(saved.manifest.toString('utf8')) as { files: Record<string, unknown> };
  manifest.files['state.json'] = { bytes: state.length, sha256: createHash('sha256').update(state).digest('hex') };
  return JSON.stringify(manifest);
}

/** A tar archive as GNU tar writes it, with a long name. */
function tarOf(members: readonly (readonly [name: string, bytes: Uint8Array])[]): Uint8Array {
  const blocks = members.flatMap(([name, bytes]) => {
    const header = Buffer.alloc(512);
    header.write(name, 0, 100);
    header.write('0000644\0', 100);
    header.write(`${bytes.length.toString(8).padStart(11, '0')}\0`, 124);
    header.write('        ', 148);
    header.write(name === '././@LongLink' ? 'L' : '0', 156);
    header.write('ustar  \0', 257);
    header.write(
      `${header
        .reduce((sum, byte) => sum + byte, 0)
        .toString(8)
        .padStart(6, '0')}\0 `,
      148,
    );
    return [header, Buffer.from(bytes), Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

const png = (value: number) => encodePng({ data: new Uint8Array(16).fill(value), height: 4, width: 4, channels: 1 });
const pictures = () => {
  const at = join(folder, 'pictures');
  rmSync(at, { recursive: true, force: true });
  mkdirSync(at);
  for (const name of ['a', 'b', 'c']) writeFileSync(join(at, `${name}.png`), png(9));
  return at;
};

/** Statistics of four pictures with everything that may be kept, and the published form. */
async function statistics(): Promise<Uint8Array[]> {
  const needs: Need[] = ['gaussian', 'rows', 'inceptionScore', 'diversity', 'similarity', 'textRows', 'labels'];
  const collector = new Collector({ needs, dim: 3, classes: 2, total: 4, recipe: 'fuzz', rows: 4, splits: 2 });
  const some = (dim: number) => ({
    count: 4,
    dim,
    data: Float32Array.from({ length: 4 * dim }, (_, i) => ((i * 7) % 5) / 4),
  });
  collector.add({ first: 0, features: some(3), logits: some(2), texts: some(3), labels: [0, 1, 0, 1] });
  const path = join(folder, 'statistics.npz');
  await writeStatistics(path, collector, { images: 'x' });
  const sigma = { shape: [2, 2], data: Float64Array.of(1, 0, 0, 1) };
  return [readFileSync(path), encodeNpz({ mu: { shape: [2], data: Float64Array.of(0, 1) }, sigma })];
}

/** The settings inside of statistics, and the file with others in their place: what its checksum would hide. */
async function settingsInside(path: string) {
  const npz = await openNpz(bytesSource(readFileSync(path)));
  const text = Uint8Array.from((await npz.readFloat64('mezzotint')).data);
  const arrays: Record<string, NumericArray> = {};
  for (const name of npz.tensors.keys()) arrays[name] = await npz.readFloat64(name);
  return { text, withText: (data: Uint8Array) => encodeNpz({ ...arrays, mezzotint: { shape: [data.length], data } }) };
}

/** Every score that can be made of what was read. */
async function scores(path: string): Promise<void> {
  const { collected } = await readStatistics(path);
  void [collected.gaussian, collected.rows, collected.textRows, collected.inceptionScore, collected.diversity];
  void [collected.similarity, collected.labelAccuracy];
}

const latentsIndex = {
  ...{ format: 'mezzotint/latents@1', count: 4, height: 2, width: 2, channels: 2, classes: ['a'], mean: [0, 1] },
  ...{ deviation: [1, 2], perShard: 4, fingerprint: 'f', encoder: 'e', image: [4, 4, 3] },
  captions: [['w'], ['x', 'y'], [], ['z']],
};

const statisticsFiles = await statistics();
const inside = await settingsInside(join(folder, 'statistics.npz'));
const side = { key: 'real', name: 'x' };
const plan = { metrics: ['fid'], options: {}, features: 'classifier', generated: [side], real: [side], floor: side };

/** Data sets, checkpoints, statistics, the configuration of `train` and `evaluate`. */
export const trainingReaders: readonly Reader[] = [
  jsonFile('state of a checkpoint', [saved.state], (bytes) => {
    writeFileSync(join(saved.at, 'state.json'), bytes);
    writeFileSync(join(saved.at, 'manifest.json'), manifestOf(bytes));
    return saved.read();
  }),
  jsonFile('manifest of a checkpoint', [saved.manifest], (bytes) => {
    writeFileSync(join(saved.at, 'state.json'), saved.state);
    writeFileSync(join(saved.at, 'manifest.json'), bytes);
    return saved.read();
  }),
  jsonFile('lock of a run', [bytesOf({ pid: 1, host: 'h', started: '5' })], (bytes) => {
    const at = join(folder, 'locked');
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, '.lock'), bytes);
    lockFolder(at).release();
  }),
  jsonFile('config file of train', below('apps/train/configs', /\.json$/), (bytes) =>
    readConfig(place('train.json', bytes), trainConfigSchema),
  ),
  jsonFile(
    'config file of evaluate',
    [
      bytesOf({
        model: ['m'],
        data: 'digits:all',
        features: 'classifier',
        classifier: 'c',
        count: 10,
        seed: 3,
        metrics: 'fid,kid',
      }),
    ],
    (bytes) => mergeSettings({ config: place('evaluate.json', bytes) } as never),
  ),
  binary('statistics .npz', statisticsFiles, (bytes) => scores(place('read.npz', bytes)), 1032),
  jsonFile('settings of statistics', [inside.text], (bytes) => scores(place('inside.npz', inside.withText(bytes)))),
  jsonFile('plan of an evaluation', [bytesOf(plan)], (bytes) => {
    const run = join(folder, 'evaluation');
    mkdirSync(run, { recursive: true });
    writeFileSync(join(run, 'evaluation.json'), bytes);
    writeFileSync(join(run, 'real.npz'), statisticsFiles[0]!);
    return mergeRuns([run]);
  }),
  binary(
    'tar shard',
    [
      tarOf([
        ['a.png', png(1)],
        ['a.txt', Buffer.from('a red cat')],
        ['a.cls', Buffer.from('2')],
        ['b.png', png(2)],
        ['b.json', bytesOf({ caption: 'x', label: 1 })],
        ['b.cls', Buffer.from('3')],
      ]),
      tarOf([
        ['././@LongLink', Buffer.from(`${'d/'.repeat(60)}a.png\0`)],
        ['a.png', png(1)],
      ]),
    ],
    async (bytes) => {
      const path = place('shard.tar', bytes);
      for (const member of await readTar(path)) await readTarMember(path, member);
      await openDataset(path);
    },
    5,
  ),
  {
    ...jsonFile(
      'metadata.jsonl',
      [
        Buffer.from(
          '{"file_name":"a.png","text":"a red cat","label":1}\n{"file_name":"b.png","caption":["x","y"],"label":3}\n{"image":"c.png","text":"z","label":2}',
        ),
      ],
      (bytes) => {
        const at = pictures();
        writeFileSync(join(at, 'metadata.jsonl'), bytes);
        return openDataset(at);
      },
    ),
    mutate: mutateLines,
  },
  jsonFile('index of latents', [bytesOf(latentsIndex)], (bytes) => {
    const at = join(folder, 'latents');
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, 'index.json'), bytes);
    writeFileSync(join(at, 'latents-00000.bin'), new Uint8Array(4 * (4 + 8 * 2 * 2 * 2)));
    return readLatentsIndex(at);
  }),
];
