import { switchTo, testEngines } from '@mezzotint/backend/testing';
import '@tensorflow/tfjs';
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  InvalidArgumentError,
  InvalidFileError,
  MezzotintError,
  TorchGenerator,
  WeightsMismatchError,
} from '@mezzotint/core';
import * as weights from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { adamW, constantDecay, ema } from '../src/index.js';
import { CheckpointFolder } from '../src/node.js';
import { TinyNet } from './tiny-model.js';

vi.mock('@mezzotint/weights/node', async (original) => {
  const actual = await original<typeof weights>();
  return { ...actual, writeSafetensors: vi.fn(actual.writeSafetensors) };
});

let root: string;
describe.each(await testEngines())('on %s', (engine) => {
  beforeAll(() => switchTo(engine));

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'mezzotint-checkpoint-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  async function training(seed: number, width = 4) {
    const model = new TinyNet(width).init(seed);
    const optimizer = adamW(model);
    const averages = { ema: ema(model, constantDecay(0.5)) };
    const gradients = new Map([...model.params()].map(([path, { shape }]) => [path, tf.fill([...shape], seed)]));
    await optimizer.step(gradients, { learningRate: 0.1 });
    averages.ema.update();
    return { model, optimizer, averages };
  }

  test('gives back everything, bit for bit', async () => {
    const checkpoints = new CheckpointFolder(join(root, 'deep', 'run'));
    expect(await checkpoints.latest()).toBeUndefined();
    const one = await training(1);
    const noise = new TorchGenerator(3);
    noise.randn(5);
    const folder = await checkpoints.save({
      step: 7,
      ...one,
      streams: { noise },
      data: { position: 12 },
      extra: { name: 'run' },
    });
    expect(folder).toBe(join(root, 'deep', 'run', 'checkpoint-7'));

    const two = await training(2);
    const saved = (await checkpoints.latest())!;
    expect({ step: saved.step, data: saved.data, extra: saved.extra, damaged: saved.damaged }).toEqual({
      step: 7,
      data: { position: 12 },
      extra: { name: 'run' },
      damaged: [],
    });
    expect(saved.streams.noise!.randn(20)).toEqual(noise.randn(20));
    const before = tf.memory().numTensors;
    await saved.load(two);
    expect(tf.memory().numTensors).toBe(before);
    expect(await two.model.save()).toEqual(await one.model.save());
    expect(await two.optimizer.save()).toEqual(await one.optimizer.save());
    expect(await two.averages.ema.save()).toEqual(await one.averages.ema.save());
  });

  test('an auxiliary network that has not begun, one that has, and kept tensors come back, bit for bit', async () => {
    const checkpoints = new CheckpointFolder(root);
    const one = await training(1);
    const idle = new TinyNet().init(3);
    const { model, optimizer } = await training(4);
    let running = { counts: { shape: [2], data: Float32Array.of(1, 2) } };
    const codebook = {
      save: async () => running,
      load: (state: typeof running) => {
        running = state;
      },
    };
    const auxiliary = { critic: { model, optimizer }, idle: { model: idle, optimizer: adamW(idle) } };
    await checkpoints.save({ step: 1, ...one, auxiliary, statefulParts: { codebook } });

    const saved = (await checkpoints.latest())!;
    const [two, other] = [await training(2), await training(5)];
    const late = new TinyNet().init(6);
    running = { counts: { shape: [2], data: Float32Array.of(0, 0) } };
    const into = { critic: other, idle: { model: late, optimizer: adamW(late) } };
    await saved.load({ ...two, auxiliary: into, statefulParts: { codebook } });
    expect(await two.model.save()).toEqual(await one.model.save());
    expect(await other.model.save()).toEqual(await model.save());
    expect(await other.optimizer.save()).toEqual(await optimizer.save());
    expect(await late.save()).toEqual(await idle.save());
    expect(await into.idle.optimizer.save()).toEqual({ step: 0, tensors: {} });
    expect([...running.counts.data]).toEqual([1, 2]);
    // Without its discriminator a run would go on as another one.
    await expect(saved.load({ ...two, statefulParts: { codebook } })).rejects.toThrow(
      /holds the auxiliary networks \[critic, idle\], but \[\] are trained/,
    );
    await expect(saved.load({ ...two, auxiliary: into })).rejects.toThrow(/holds the stateful parts \[codebook\]/);
  });

  test('the averages are a weights file that the model loads', async () => {
    const one = await training(1);
    const folder = await new CheckpointFolder(root).save({ step: 1, ...one });
    const file = weights.readSafetensors(join(folder, 'average-ema.safetensors'));
    const model = await new TinyNet().load(file);
    file.close();
    expect(await model.save()).toEqual((await one.averages.ema.save()).tensors);
  });

  test('keeps the newest, names it in `latest`, and sweeps what killed processes left', async () => {
    const checkpoints = new CheckpointFolder(root, { keep: 2 });
    const state = await training(1);
    await mkdir(join(root, '.checkpoint-9.partial'));
    await writeFile(join(root, '.checkpoint-9.partial', 'model.safetensors'), 'half');
    for (const step of [1, 2, 10]) await checkpoints.save({ step, ...state });
    expect(await visible(root)).toEqual(['checkpoint-10', 'checkpoint-2', 'latest']);
    expect(await readFile(join(root, 'latest'), 'utf8')).toBe('checkpoint-10\n');
    expect(await checkpoints.steps()).toEqual([10, 2]);
  });

  test('a checkpoint of the same step is replaced', async () => {
    const checkpoints = new CheckpointFolder(root);
    await checkpoints.save({ step: 1, ...(await training(1)), extra: 'first' });
    await checkpoints.save({ step: 1, ...(await training(2)), extra: 'second' });
    expect((await checkpoints.latest())!.extra).toBe('second');
    expect(await visible(root)).toEqual(['checkpoint-1', 'latest']);
  });

  const damages: Record<string, [(folder: string) => Promise<void>, RegExp]> = {
    'a cut file': [(f) => truncate(join(f, 'model.safetensors'), 100), /model\.safetensors has 100 bytes/],
    'a flipped bit': [
      async (f) => {
        const path = join(f, 'average-ema.safetensors');
        const bytes = await readFile(path);
        bytes[bytes.length - 3]! ^= 1;
        await writeFile(path, bytes);
      },
      /average-ema\.safetensors was changed/,
    ],
    'a missing file': [(f) => rm(join(f, 'optimizer.safetensors')), /optimizer\.safetensors is missing/],
    'no manifest': [(f) => rm(join(f, 'manifest.json')), /manifest\.json is missing/],
    'half a manifest': [(f) => truncate(join(f, 'manifest.json'), 40), /manifest\.json is not JSON/],
    'a manifest of something else': [(f) => writeFile(join(f, 'manifest.json'), '{"files":{}}'), /is not a version 1/],
    'a manifest that points outside': [
      async (f) => {
        const path = join(f, 'manifest.json');
        await writeFile(path, (await readFile(path, 'utf8')).replace('"model.safetensors"', '"../latest"'));
      },
      /is not a version 1/,
    ],
    'another step inside': [
      async (f) => {
        const path = join(f, 'manifest.json');
        await writeFile(path, (await readFile(path, 'utf8')).replace('"step": 2', '"step": 3'));
      },
      /is of step 3/,
    ],
  };

  test.each(Object.entries(damages))('passes over %s to the checkpoint before', async (_, [damage, problem]) => {
    const checkpoints = new CheckpointFolder(root);
    const state = await training(1);
    for (const step of [1, 2]) await checkpoints.save({ step, ...state });
    await damage(join(root, 'checkpoint-2'));
    const saved = (await checkpoints.latest())!;
    expect(saved.step).toBe(1);
    expect(saved.damaged).toHaveLength(1);
    expect(saved.damaged[0]!.problem).toMatch(problem);
    await damage(join(root, 'checkpoint-1')).catch(() => undefined);
    await rm(join(root, 'checkpoint-1', 'state.json'));
    // Never a silent start from nothing over the ruins.
    await expect(checkpoints.latest()).rejects.toThrow(InvalidFileError);
    await expect(checkpoints.latest()).rejects.toThrow(/no checkpoint is whole: .*checkpoint-2.*checkpoint-1/);
  });

  test('a full disk gives a clear error and leaves the checkpoints there as they are', async () => {
    const checkpoints = new CheckpointFolder(root, { keep: 1 });
    const state = await training(1);
    await checkpoints.save({ step: 1, ...state });
    for (const call of [1, 2, 3]) {
      const cause = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
      const full = new MezzotintError('MEZZOTINT_WRITE_FAILED', 'a temporary path: full', {}, { cause });
      const write = vi.mocked(weights.writeSafetensors);
      const real = write.getMockImplementation()!;
      let calls = 0;
      write.mockImplementation(async (path, ...rest) => {
        if (++calls < call) return real(path, ...rest);
        await writeFile(path, 'half of the file');
        throw full;
      });
      try {
        await checkpoints.save({ step: 2, ...state });
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(MezzotintError);
        expect((error as MezzotintError).code).toBe('MEZZOTINT_CHECKPOINT_NOT_WRITTEN');
        expect((error as MezzotintError).message).toMatch(
          /step 2 was not written to .*: the disk is full \(ENOSPC\).*Untouched: checkpoint-1\.$/,
        );
        expect((error as MezzotintError).message).not.toContain('\n');
      } finally {
        write.mockImplementation(real);
      }
      expect(await visible(root)).toEqual(['checkpoint-1', 'latest']);
    }
    await (await checkpoints.latest())!.load(state);
    await checkpoints.save({ step: 2, ...state });
    expect(await checkpoints.steps()).toEqual([2]);
  });

  test('a folder that cannot be made gives the same error', async () => {
    await writeFile(join(root, 'file'), '');
    const checkpoints = new CheckpointFolder(join(root, 'file'));
    await expect(checkpoints.save({ step: 1, ...(await training(1)) })).rejects.toThrow(
      /step 1 was not written to .*No checkpoint is there yet/,
    );
  });

  test('a checkpoint of another model or with other averages is refused', async () => {
    const checkpoints = new CheckpointFolder(root);
    await checkpoints.save({ step: 1, ...(await training(1)) });
    const saved = (await checkpoints.latest())!;
    await expect(saved.load(await training(1, 5))).rejects.toThrow(WeightsMismatchError);
    const { model, optimizer } = await training(1);
    await expect(saved.load({ model, optimizer })).rejects.toThrow(/holds the averages \[ema\], but \[\] are trained/);
  });

  test('names and numbers that cannot be are refused', async () => {
    const state = await training(1);
    expect(() => new CheckpointFolder(root, { keep: 0 })).toThrow(InvalidArgumentError);
    const checkpoints = new CheckpointFolder(root);
    await expect(checkpoints.save({ step: -1, ...state })).rejects.toThrow(/step .*got -1/);
    const averages = { '../x': state.averages.ema };
    await expect(checkpoints.save({ step: 1, ...state, averages })).rejects.toThrow(/the name "\.\.\/x" must be/);
    expect(await readdir(root)).toEqual([]);
  });

  test('a process killed between the two renames of a checkpoint loses nothing', async () => {
    const state = await training(1);
    // Left by a kill in each window of replacing checkpoint-16: [what is there, what comes back].
    const windows: [string[], 'old' | 'new'][] = [
      [['.checkpoint-16.partial', '.checkpoint-16.replaced'], 'new'],
      [['.checkpoint-16.replaced'], 'old'],
      [['.checkpoint-16.partial'], 'new'],
      [['checkpoint-16', '.checkpoint-16.replaced'], 'new'],
      [['checkpoint-16', '.checkpoint-16.partial'], 'old'],
    ];
    const copies = {
      old: await new CheckpointFolder(join(root, 'old')).save({ step: 16, ...state, extra: 'old' }),
      new: await new CheckpointFolder(join(root, 'new')).save({ step: 16, ...state, extra: 'new' }),
    };
    for (const [i, [names, expected]] of windows.entries()) {
      const killed = join(root, `killed-${i}`);
      for (const name of names) {
        const copy = name.endsWith('.partial') ? 'new' : name.endsWith('.replaced') ? 'old' : expected;
        await cp(copies[copy], join(killed, name), { recursive: true });
      }
      const checkpoints = new CheckpointFolder(killed, { keep: 1 });
      const saved = (await checkpoints.latest())!;
      expect([saved.step, saved.extra, saved.damaged], names.join()).toEqual([16, expected, []]);
      await saved.load(state);
      await checkpoints.save({ step: 17, ...state });
      expect(await visible(killed)).toEqual(['checkpoint-17', 'latest']);
    }
  });

  test('half of a checkpoint is swept, and the one before is taken without a word', async () => {
    const checkpoints = new CheckpointFolder(root, { keep: 1 });
    const state = await training(1);
    const folder = await checkpoints.save({ step: 1, ...state });
    await cp(folder, join(root, '.checkpoint-2.partial'), { recursive: true });
    expect((await checkpoints.latest())!.step).toBe(1); // A manifest of another step.
    await checkpoints.save({ step: 3, ...state });
    expect(await visible(root)).toEqual(['checkpoint-3', 'latest']);
  });

  test.each<[string, (state: Record<string, unknown>) => unknown, RegExp]>([
    ['no averages', ({ averageUpdates: _, ...rest }) => rest, /missing or malformed: averageUpdates/],
    ['averages that are null', (s) => ({ ...s, averageUpdates: null }), /malformed: averageUpdates/],
    ['statefulParts that are null', (s) => ({ ...s, statefulParts: null }), /malformed: statefulParts/],
    ['a step that is text', (s) => ({ ...s, optimizerStep: '1' }), /malformed: optimizerStep/],
    ['streams that are a list', (s) => ({ ...s, streams: [1] }), /malformed: streams/],
    ['a stream that is none', (s) => ({ ...s, streams: { noise: {} } }), /state\.json is not the state of a training/],
    [
      'an average without its file',
      (s) => ({ ...s, averageUpdates: { ema: 1, more: 1 } }),
      /does not list average-more/,
    ],
    ['a name that is a path', (s) => ({ ...s, statefulParts: ['../../x'] }), /malformed: statefulParts/],
    ['a list', () => [], /expected an object/],
  ])('a state.json with %s is a damaged checkpoint, whatever its hashes say', async (_, change, problem) => {
    const checkpoints = new CheckpointFolder(root);
    const folder = await checkpoints.save({
      step: 1,
      ...(await training(1)),
      streams: { noise: new TorchGenerator(1) },
    });
    const text = JSON.stringify(change(JSON.parse(await readFile(join(folder, 'state.json'), 'utf8'))));
    await writeFile(join(folder, 'state.json'), text);
    const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'));
    manifest.files['state.json'] = {
      bytes: Buffer.byteLength(text),
      sha256: createHash('sha256').update(text).digest('hex'),
    };
    await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifest));
    await expect(checkpoints.latest()).rejects.toThrow(InvalidFileError);
    await expect(checkpoints.latest()).rejects.toThrow(problem);
  });

  test('a checkpoint renamed to another step is passed over', async () => {
    const checkpoints = new CheckpointFolder(root);
    const state = await training(1);
    for (const step of [1, 2]) await checkpoints.save({ step, ...state });
    await rename(join(root, 'checkpoint-2'), join(root, 'checkpoint-5'));
    expect((await checkpoints.latest())!.step).toBe(1);
  });
});

/** What is in a folder, its lock left out. */
async function visible(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name !== '.lock').sort();
}
