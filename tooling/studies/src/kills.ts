import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type CommandContext, runCommand, wholeNumber } from '@mezzotint/app';
import { InvalidArgumentError } from '@mezzotint/core';
import { drawShapes, writePng } from '@mezzotint/data';
import { TorchGenerator } from '@mezzotint/random';
import { Command } from 'commander';
import { build, type Plugin } from 'esbuild';
import { kinds, models, type Places, STEPS } from './kill-kinds.js';

interface KillFlags {
  readonly out: string;
  readonly kinds: readonly string[];
  readonly count: number;
  readonly seed: number;
  readonly engine: string;
}

const root = fileURLToPath(new URL('../../../', import.meta.url));

const command = new Command('kills')
  .description(
    'Kills trainings by SIGKILL at random moments, resumes them, and compares what comes out with a run that nothing stopped, byte for byte.',
  )
  .option('--out <folder>', 'where runs go; results.json', '.kills')
  .option(
    '--kinds <list>',
    `of ${Object.keys(kinds).join(', ')} (default: all)`,
    (text) => text.split(','),
    Object.keys(kinds),
  )
  .option('--count <n>', 'kills of each kind', wholeNumber('--count', 1), 50)
  .option('--seed <n>', 'seed of the moments', wholeNumber('--seed'), 0)
  .option('--engine <name>', 'TensorFlow.js engine: cpu or onnxruntime', 'onnxruntime');

/** What became of one kind. */
interface Outcome {
  readonly kind: string;
  readonly kills: number;
  /** Runs that were killed and ended. */
  readonly runs: number;
  /** Updates that were done when it was killed, each time. */
  readonly killedAt: readonly number[];
  /** Files that differ from those of the whole run, by run. */
  readonly different: readonly string[];
}

async function runKills(flags: KillFlags, { say, result, signal }: CommandContext): Promise<void> {
  const unknown = flags.kinds.filter((kind) => !(kind in kinds));
  if (unknown.length > 0) {
    throw new InvalidArgumentError('--kinds', `expected ${Object.keys(kinds).join(', ')}, got ${unknown.join(', ')}`);
  }
  const out = resolve(flags.out);
  mkdirSync(out, { recursive: true });
  const app = await bundled(out);
  const places = await writeData(out, flags, signal);
  const outcomes: Outcome[] = [];
  for (const kind of flags.kinds) {
    const outcome = await killKind(kind, app, places, flags, signal);
    outcomes.push(outcome);
    const { kills, runs, different } = outcome;
    say(
      `${kind}: ${kills} kills in ${runs} runs, ${different.length === 0 ? 'all end with the same bytes' : `different: ${different.join(', ')}`}`,
    );
    writeFileSync(join(out, 'results.json'), `${JSON.stringify(outcomes, null, 2)}\n`);
  }
  result({ outcomes: outcomes.map(({ killedAt: _, ...rest }) => rest) });
  const failed = outcomes.filter(({ different }) => different.length > 0);
  if (failed.length > 0)
    throw new InvalidArgumentError(
      'kills',
      failed.map(({ kind }) => `${kind} does not resume exactly`),
    );
}

/** The app in one file, so that a start costs a third of a second; what it does not hold is found from where the sources are. */
async function bundled(out: string): Promise<string> {
  const file = join(out, 'train.mjs');
  const atHome: Plugin = {
    name: 'at-home',
    setup(bundle) {
      bundle.onResolve({ filter: NATIVE }, ({ path, importer }) => ({
        path: createRequire(importer).resolve(path),
        external: true,
      }));
      bundle.onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => ({
        contents: readFileSync(path, 'utf8')
          .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(path).href))
          .replace('import(/* @vite-ignore */ name)', `import(${JSON.stringify(ONNXRUNTIME)})`),
        loader: 'ts',
      }));
    },
  };
  await build({
    entryPoints: [join(root, 'apps', 'train', 'src', 'main.ts')],
    outfile: file,
    ...{ bundle: true, platform: 'node', format: 'esm', target: 'node20', logLevel: 'error' },
    conditions: ['@mezzotint/source'],
    plugins: [atHome],
    banner: {
      js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
    },
  });
  return file;
}

/** The one engine that is imported by a name that only shows when it runs. */
const ONNXRUNTIME = join(root, 'packages', 'backend-onnxruntime', 'src', 'index.ts');

/** Packages with native parts. */
const NATIVE = /^(?:onnxruntime-node|sharp|@resvg\/resvg-js|@tensorflow\/tfjs-node-gpu)$/;

/** Pictures, and the latent images of them. */
async function writeData(out: string, { kinds: asked, engine }: KillFlags, signal: AbortSignal): Promise<Places> {
  const places = { pictures: join(out, 'pictures'), latents: join(out, 'latent-images'), root };
  await writePictures(places.pictures);
  if (asked.includes('latents') && !existsSync(places.latents)) {
    const flags = ['--data', places.pictures, '--codec', join(models(places), 'tiny-vae'), '--out', places.latents];
    const typescript = pathToFileURL(join(root, 'tooling', 'setup', 'typescript.mjs')).href;
    // From the sources, as the bundle has no file for the thread that decodes.
    const app = [
      '--conditions=@mezzotint/source',
      '--import',
      typescript,
      join(root, 'apps', 'train', 'src', 'main.ts'),
    ];
    await endOf(start([...app, 'encode', ...flags, '--size', '8', '--flip', '--engine', engine]), signal);
  }
  return places;
}

/** 21 pictures of 8 x 8 in seven classes with captions. */
async function writePictures(folder: string): Promise<void> {
  if (existsSync(folder)) return;
  const { images, labels, classes, captions, count } = drawShapes(21, { size: 8 });
  for (const name of classes) mkdirSync(join(folder, name), { recursive: true });
  for (let i = 0; i < count; i++) {
    const path = join(folder, classes[labels[i]!]!, `${i}`);
    const data = images.subarray(i * 192, (i + 1) * 192);
    await writePng(`${path}.png`, { data, height: 8, width: 8, channels: 3 });
    // What the tiny Stable Diffusion has words for, and tags.
    const [, colour, shape, ground] = /^an? (\w+) (\w+) on (\w+)$/.exec(captions[i]!)!;
    writeFileSync(`${path}.txt`, `the red dog\n${shape}, ${colour}, on ${ground}\n`);
  }
}

/** Kills runs of a kind until there were `count` kills, and lets the last run end. */
async function killKind(
  kind: string,
  app: string,
  places: Places,
  { count, seed, engine, out }: KillFlags,
  signal: AbortSignal,
): Promise<Outcome> {
  const folder = resolve(out, kind);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  const config = join(folder, 'config.json');
  writeFileSync(config, JSON.stringify(kinds[kind]!(places)));
  const train = (...args: string[]) => start([app, ...args, '--engine', engine]);
  const whole = join(folder, 'whole');
  const began = performance.now();
  await endOf(train('--config', config, '--run', whole), signal);
  const seconds = (performance.now() - began) / 1000;
  const moments = new TorchGenerator(seed);
  const killedAt: number[] = [];
  const different: string[] = [];
  let runs = 0;
  while (killedAt.length < count) {
    const run = join(folder, `run-${runs}`);
    let ended = false;
    while (!ended) {
      const child = train(
        ...(existsSync(join(run, 'config.json')) ? ['--resume'] : ['--config', config]),
        '--run',
        run,
      );
      // Somewhere in the time that a whole run takes; the last run is let go on.
      const after = killedAt.length < count ? moments.rand(1)[0]! * seconds * 1000 : Number.POSITIVE_INFINITY;
      ended = await endOrKill(child, after, signal);
      if (!ended) killedAt.push(lastCheckpoint(run));
    }
    different.push(...differences(whole, run).map((file) => `run-${runs}/${file}`));
    runs++;
    rmSync(run, { recursive: true, force: true });
  }
  return { kind, kills: killedAt.length, runs, killedAt, different };
}

function start(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Waits for a child that must end well. */
function endOf(child: ChildProcess, signal: AbortSignal): Promise<void> {
  return endOrKill(child, Number.POSITIVE_INFINITY, signal).then(() => undefined);
}

/** True when the child ended by itself, false when it was killed after that many milliseconds. */
function endOrKill(child: ChildProcess, after: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((done, failed) => {
    let said = '';
    child.stdout!.on('data', (text: Buffer) => {
      said += text;
    });
    child.stderr!.on('data', (text: Buffer) => {
      said += text;
    });
    let killed = false;
    const kill = () => {
      killed = true;
      child.kill('SIGKILL');
    };
    const timer = Number.isFinite(after) ? setTimeout(kill, after) : undefined;
    const stop = () => child.kill('SIGKILL');
    signal.addEventListener('abort', stop, { once: true });
    child.on('error', failed);
    child.on('close', (code) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      if (signal.aborted) failed(signal.reason);
      else if (code === 0) done(true);
      else if (killed) done(false);
      else failed(new Error(`train ended with ${code}:\n${said.slice(-2000)}`));
    });
  });
}

/** The update of the newest whole checkpoint of a run; 0 without one. */
function lastCheckpoint(run: string): number {
  const folder = join(run, 'checkpoints');
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return Math.max(0, ...names.map((name) => Number(/^checkpoint-(\d+)$/.exec(name)?.[1] ?? 0)));
}

/** Files that must be the same: the last checkpoint, the model, the log but for its times, the last samples. */
function differences(whole: string, run: string): string[] {
  const last = join('checkpoints', `checkpoint-${STEPS}`);
  const files = [last, 'model', 'samples', 'lora', 'embeddings', 'snapshots'].flatMap((folder) =>
    existsSync(join(whole, folder))
      ? readdirSync(join(whole, folder), { recursive: true, encoding: 'utf8' })
          .filter((name) => /\.(?:safetensors|png)$/.test(name))
          .map((name) => join(folder, name))
      : [],
  );
  const same = (file: string) =>
    existsSync(join(run, file)) && readFileSync(join(whole, file)).equals(readFileSync(join(run, file)));
  const log = (of: string) =>
    readFileSync(join(of, 'log.jsonl'), 'utf8').replaceAll(/"(?:seconds|waited)":[^,}]*,?/g, '');
  return [...files.filter((file) => !same(file)), ...(log(whole) === log(run) ? [] : ['log.jsonl'])];
}

await runCommand<KillFlags>(command, runKills);
