import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runApp, tinyNetwork, writeImageFolder } from '@mezzotint/app/testing';
import { writePng } from '@mezzotint/data';
import { CheckpointFolder } from '@mezzotint/training/node';
import { afterAll, beforeEach, expect, test, vi } from 'vitest';
import { trainCommand } from '../src/command.js';
import { trainRun } from '../src/train-run.js';

const root = mkdtempSync(join(tmpdir(), 'mezzotint train resume ü-'));
const images = join(root, 'images');
const train = (...argv: string[]) => runApp(trainCommand(), trainRun, ['--engine', 'cpu', ...argv]);
afterAll(() => rmSync(root, { recursive: true, force: true }));

beforeEach(async () => {
  rmSync(images, { recursive: true, force: true });
  await writeImageFolder(images);
});

const config = {
  task: 'diffusion',
  data: { kind: 'folder', path: images, size: 8, channels: 1 },
  network: { ...tinyNetwork, modelChannels: 4, channelMult: [1], attentionResolutions: [] },
  process: { kind: 'discrete', betas: 'cosine', steps: 100, prediction: 'v' },
  steps: 4,
  batchSize: 4,
  learningRate: { kind: 'constant', peak: 0.001 },
  sampling: { solver: 'ddim', steps: 1, guidance: 1 },
  every: { log: 5, sample: 1000, checkpoint: 2 },
};

function configFile(name: string, change: object = {}): string {
  const file = join(root, `${name}.json`);
  writeFileSync(file, JSON.stringify({ ...config, ...change }));
  return file;
}

const logOf = (run: string) =>
  readFileSync(join(run, 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
const keptSteps = (run: string) => JSON.parse(readFileSync(join(run, 'config.json'), 'utf8')).steps;

test('says what it trains on and what it passed over', async () => {
  for (const name of ['1.bmp', '2.bmp', 'notes.txt']) writeFileSync(join(images, 'a', name), 'x');
  const { out, code } = await train('--config', configFile('data'), '--run', join(root, 'data'));
  expect(code).toBe(0);
  expect(out).toContain('Data: 16 pictures in 2 classes: a 8, b 8');
  expect(out).toContain(
    'Passed over: 2 .bmp that are no pictures: a/1.bmp, a/2.bmp; 1 .txt that are no pictures: a/notes.txt',
  );
});

test('the command that began a run goes on with --resume, whatever its recipe filled in', async () => {
  const run = join(root, 'same-command');
  const { sampling: _, ...bare } = config;
  const file = join(root, 'bare.json');
  const command = async (change: object, ...flags: string[]) => {
    writeFileSync(file, JSON.stringify({ ...bare, ...change, ema: {} }));
    return train('--config', file, '--run', run, ...flags);
  };
  expect(await command({}, '--until', '2')).toMatchObject({ code: 0 });
  const other = await command({ learningRate: { kind: 'constant', peak: 0.5 } }, '--resume');
  expect(other.code).toBe(2);
  expect(other.err).toMatch(/another configuration \(learningRate: .*, now \{.*"peak":0.5/);
  const resumed = await command({}, '--resume');
  expect(resumed.err).not.toContain('another configuration');
  expect(resumed.out).toContain('from update 2 to 4');
});

test('more --steps are kept for the next resume; another seed or batch size is refused, the same one is not', async () => {
  const run = join(root, 'steps');
  expect((await train('--config', configFile('steps'), '--run', run)).code).toBe(0);
  const refused = await train('--resume', '--run', run, '--seed', '9', '--batch-size', '2', '--steps', '6');
  expect(refused.code).toBe(2);
  expect(refused.err).toMatch(/another configuration \(batchSize: 4, now 2; seed: 0, now 9\)/);
  expect(keptSteps(run)).toBe(4);
  expect((await train('--resume', '--run', run, '--seed', '0', '--steps', '6')).code).toBe(0);
  expect(keptSteps(run)).toBe(6);
  const fewer = await train('--resume', '--run', run, '--steps', '3');
  expect(fewer.code).toBe(2);
  expect(fewer.err).toMatch(/--steps: the run stands at update 6 already, got 3/);
  expect(keptSteps(run)).toBe(6);
  // As a stop in the middle leaves it: the checkpoint of update 4 is the newest.
  rmSync(join(run, 'checkpoints', 'checkpoint-6'), { recursive: true });
  expect((await train('--resume', '--run', run)).out).toContain('from update 4 to 6');
});

test('stopped at any update, the log is that of a run which never stopped', async () => {
  const [whole, parts] = [join(root, 'log-whole'), join(root, 'log-parts')];
  const file = configFile('log', { steps: 8 });
  expect((await train('--config', file, '--run', whole)).code).toBe(0);
  expect((await train('--config', file, '--run', parts, '--steps', '3')).code).toBe(0);
  // The run to 3 ended there with a line of its own, which a killed one has not.
  writeFileSync(join(parts, 'log.jsonl'), '');
  const saved = JSON.parse(readFileSync(join(parts, 'checkpoints', 'checkpoint-2', 'state.json'), 'utf8'));
  expect(saved.extra.recent).toHaveLength(2);
  rmSync(join(parts, 'checkpoints', 'checkpoint-3'), { recursive: true });
  for (const steps of ['7', '8']) {
    expect((await train('--resume', '--run', parts, '--steps', steps)).code).toBe(0);
    if (steps === '8') continue;
    rmSync(join(parts, 'checkpoints', 'checkpoint-7'), { recursive: true });
  }
  const losses = (run: string) => logOf(run).map(({ step, loss, gradientNorm }) => ({ step, loss, gradientNorm }));
  expect(losses(parts)).toEqual(losses(whole));
});

test('other data is refused unless asked: classes by name, then pictures', async () => {
  const run = join(root, 'other-data');
  expect((await train('--config', configFile('other'), '--run', run)).code).toBe(0);
  renameSync(join(images, 'a'), join(images, 'z'));
  const classes = await train('--resume', '--run', run, '--steps', '6');
  expect(classes.code).toBe(2);
  expect(classes.err).toMatch(/trained on the classes "a", "b", the data has now "b", "z".*--other-data/);
  renameSync(join(images, 'z'), join(images, 'a'));
  const picture = { data: new Uint8Array(64), height: 8, width: 8, channels: 1 as const };
  await writePng(join(images, 'a', '3.png'), picture, { overwrite: true });
  const pixels = await train('--resume', '--run', run, '--steps', '6');
  expect(pixels.code).toBe(2);
  expect(pixels.err).toMatch(/other images of the same classes/);
  await writePng(join(images, 'a', 'more.png'), picture); // Another number of images too.
  const asked = await train('--resume', '--run', run, '--steps', '6', '--other-data');
  expect([asked.code, asked.err.match(/fault/)]).toEqual([0, null]);
  expect((await train('--resume', '--run', run, '--steps', '8')).code).toBe(0); // The new data is the run's from now on.
});

test('a failed first start leaves nothing in the way of a corrected one', async () => {
  const run = join(root, 'corrected');
  expect((await train('--config', configFile('bad', { batchSize: 1000 }), '--run', run)).code).toBe(2);
  expect(existsSync(run)).toBe(false);
  // Killed after its start and before its first checkpoint.
  mkdirSync(join(run, 'samples'), { recursive: true });
  writeFileSync(join(run, 'config.json'), JSON.stringify(config));
  writeFileSync(join(run, 'log.jsonl'), '{"step":1,"loss":1}\n');
  writeFileSync(join(run, '.loss.png.0123456789ab.tmp'), 'half');
  expect((await train('--config', configFile('good'), '--run', run)).code).toBe(0);
  expect(logOf(run).map(({ step }) => step)).toEqual([4]);
  expect(readdirSync(run).sort()).toEqual([
    'checkpoints',
    'config.json',
    'log.csv',
    'log.jsonl',
    'loss.png',
    'model',
    'rate.png',
    'samples',
  ]);
  expect((await train('--config', configFile('good'), '--run', run)).err).toContain('is not empty');
});

test('leftovers of a killed process are swept at the next start', async () => {
  const run = join(root, 'leftovers');
  expect((await train('--config', configFile('left'), '--run', run)).code).toBe(0);
  const left = [
    '.loss.png.0123456789ab.tmp',
    'samples/.step-1.png.0123456789ab.tmp',
    'model/.config.json.0123456789ab.partial',
  ];
  for (const name of [...left, '.mine']) writeFileSync(join(run, name), 'half');
  expect((await train('--resume', '--run', run, '--steps', '5')).code).toBe(0);
  for (const name of left) expect(existsSync(join(run, name)), name).toBe(false);
  expect(existsSync(join(run, '.mine'))).toBe(true);
});

test('when the loss is not finite, the last good state is there to go on from, exactly', async () => {
  const run = join(root, 'infinite');
  const broken = configFile('infinite', {
    every: { log: 1, sample: 1000, checkpoint: 100 },
    steps: 50,
    learningRate: { kind: 'constant', peak: 1e30 },
  });
  const stopped = await train('--config', broken, '--run', run);
  expect(stopped.code).toBe(2);
  expect(stopped.err).toMatch(/loss is NaN|gradient/);
  const saved = await new CheckpointFolder(join(run, 'checkpoints')).latest();
  expect(saved!.step).toBeGreaterThan(0);
  expect(stopped.out).toContain(`after update ${saved!.step}, the last good one`);
  expect(logOf(run).at(-1).step).toBe(saved!.step);
  // The streams are those before the update that failed: it fails again in the same way.
  const again = await train('--resume', '--run', run);
  expect(again.err.split('\n').filter((line) => line.startsWith('train:'))).toEqual(
    stopped.err.split('\n').filter((line) => line.startsWith('train:')),
  );
});

test('a training that fails for another reason loses no update either, and goes on exactly', async () => {
  const every = { log: 1, sample: 5, checkpoint: 1000 };
  const [run, whole] = [join(root, 'failing'), join(root, 'whole')];
  const file = configFile('failing', { steps: 7, every });
  expect((await train('--config', file, '--run', run, '--until', '2')).code).toBe(0);
  // No picture can be written where a folder has its name.
  const taken = join(run, 'samples', 'step-0000005.png');
  mkdirSync(join(taken, 'full'), { recursive: true });
  const stopped = await train('--resume', '--run', run);
  expect(stopped.code).not.toBe(0);
  expect(stopped.err).toMatch(/step-0000005/);
  expect(stopped.out).toContain('after update 5, the last good one');
  rmSync(taken, { recursive: true });
  expect((await train('--resume', '--run', run)).out).toMatch(/from update 5 to 7/);
  expect((await train('--config', file, '--run', whole)).code).toBe(0);
  const weights = (of: string) => readFileSync(join(of, 'checkpoints', 'checkpoint-7', 'model.safetensors'));
  expect(weights(run).equals(weights(whole))).toBe(true);
});

test('a second process is refused while the first trains; its kill leaves the run free', async () => {
  const run = join(root, 'locked');
  const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
  const typescript = new URL('../../../tooling/setup/typescript.mjs', import.meta.url).href;
  const file = configFile('locked', { steps: 100_000, every: { log: 1, sample: 1e6, checkpoint: 1 } });
  const first = spawn(
    process.execPath,
    ['--conditions=@mezzotint/source', '--import', typescript, main, '--engine', 'cpu', '--config', file, '--run', run],
    { cwd: fileURLToPath(new URL('..', import.meta.url)), stdio: 'ignore' },
  );
  const ended = new Promise((resolve) => first.once('exit', resolve));
  await vi.waitFor(() => expect(existsSync(join(run, 'checkpoints', 'checkpoint-2'))).toBe(true), 30_000);
  const second = await train('--resume', '--run', run, '--steps', '3');
  expect(second.code).toBe(2);
  expect(second.err).toMatch(new RegExp(`process ${first.pid} on .* writes there`));
  first.kill('SIGKILL');
  await ended;
  const step = Math.max(...(await new CheckpointFolder(join(run, 'checkpoints')).steps()));
  expect((await train('--resume', '--run', run, '--steps', String(step + 1))).code).toBe(0);
  const steps = logOf(run).map((line) => line.step);
  expect(steps).toEqual([...new Set(steps)]);
}, 60_000);
