import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { oneOf, runCommand, wholeNumber } from '@mezzotint/app';
import { vaeFlux, vaeSd3 } from '@mezzotint/autoencoders';
import { useBackend } from '@mezzotint/backend';
import { InvalidArgumentError, type Module } from '@mezzotint/core';
import { writePng } from '@mezzotint/data';
import { fluxSchnell, sd35Medium } from '@mezzotint/mmdit';
import { openPipeline, type Progress } from '@mezzotint/pipelines/node';
import { clipTextL14, openClipTextBigG14, t5Xxl } from '@mezzotint/text-encoders';
import { writeSafetensors } from '@mezzotint/weights/node';
import { Command } from 'commander';
import { withSections } from './checkpoint/report.js';
import { type FullSizeResult, fullSizeSection, type PeerPicture, type Phase } from './full-size-report.js';
import { circumstances, writePage } from './page.js';
import { type GgufBlocks, writeRandomGguf } from './random-gguf.js';

const models = ['flux.1-schnell', 'sd3.5-medium'] as const;

interface Flags {
  readonly folder: string;
  readonly model: (typeof models)[number];
  readonly blocks: GgufBlocks;
  readonly size: number;
  readonly steps: number;
  readonly textLength: number;
  readonly onlyWrite: boolean;
  readonly stableDiffusionCpp?: string;
  readonly write?: string;
}

const command = new Command('bench:full-size')
  .description(
    'Writes a model of full size with random weights as GGUF, its encoders and autoencoder, and makes a picture with it: seconds\n' +
      'of each phase and step, and the most memory that the process had resident. The picture is noise; sizes and times are real.',
  )
  .requiredOption('--folder <folder>', 'where the files go; they take up to 13 GB, and are left for the next run')
  .option('--model <name>', models.join(', '), oneOf('--model', models), 'flux.1-schnell')
  .option(
    '--blocks <type>',
    'how matrices are stored: Q4_0, Q8_0 (8 bits), F16',
    oneOf('--blocks', ['Q4_0', 'Q8_0', 'F16'] as const),
    'Q4_0',
  )
  .option('--size <pixels>', 'height and width', wholeNumber('--size'), 512)
  .option('--steps <n>', 'steps of the sampler', wholeNumber('--steps'), 4)
  .option('--text-length <n>', 'tokens that T5 reads', wholeNumber('--text-length'), 256)
  .option('--only-write', 'write the files and leave them', false)
  .option(
    '--stable-diffusion-cpp <python>',
    'a Python with stable-diffusion-cpp-python, which makes the same picture afterwards (FLUX only)',
  )
  .option('--write <file>', 'write the table as a section of a Markdown file, for example docs/checkpoints.md');

await runCommand<Flags>(command, async (flags, { say, result, signal }) => {
  if (flags.stableDiffusionCpp !== undefined && flags.model !== 'flux.1-schnell') {
    throw new InvalidArgumentError('--stable-diffusion-cpp', `makes a picture of flux.1-schnell, got ${flags.model}`);
  }
  await useBackend({ engine: 'cpu' }); // Draws the small parts.
  const file = await writeFiles(flags, say);
  if (flags.onlyWrite) return;
  const engine = await useBackend({ engine: 'onnxruntime' });
  const clock = stopwatch();
  resetPeak();
  const phases: Phase[] = [];
  const ended = (name: string) => {
    const phase = { name, seconds: clock(), peakGB: peak() };
    phases.push(phase);
    say(`${name}: ${phase.seconds.toFixed(1)} s, at most ${phase.peakGB.toFixed(2)} GB`);
    resetPeak();
  };
  const pipeline = await openPipeline(file, { parts: flags.folder, weights: 'stored', freeText: true });
  say(pipeline.description);
  ended('opening: headers of the files');
  const onProgress = ({ phase, done, total }: Progress) => {
    if (phase === 'sampling') ended(`step ${done}`);
    else if (done === total && phase === 'encoding') ended(`reading the prompt, ${flags.textLength} tokens of T5`);
    else if (done === total && phase === 'loading')
      ended(phases.length === 1 ? 'loading the text encoders' : 'loading the transformer and the autoencoder');
  };
  const guided = flags.model === 'sd3.5-medium' ? { guidance: 4.5 } : {};
  const { size, steps, textLength } = flags;
  const request = { prompt: 'a red cat on the dog', height: size, width: size, steps, textLength, seed: 7, ...guided };
  for await (const { images } of pipeline.steps(request, { onProgress, signal })) {
    if (images === null) continue;
    ended('decoding');
    await writePng(join(flags.folder, 'picture.png'), images[0]!, { overwrite: true });
  }
  const description = pipeline.description.replaceAll(flags.folder, 'scratch');
  pipeline.dispose();
  const peer =
    flags.stableDiffusionCpp === undefined ? undefined : byStableDiffusionCpp(flags.stableDiffusionCpp, file, flags);
  const measured: FullSizeResult = {
    ...{
      model: flags.model,
      blocks: flags.blocks,
      size,
      description,
      engine: `${engine.name} ${engine.version}`,
      phases,
    },
    ...circumstances(commandLine(flags)),
    ...(peer && { peer }),
  };
  if (flags.write !== undefined) {
    const before = existsSync(flags.write) ? readFileSync(flags.write, 'utf8') : undefined;
    writePage(flags.write, withSections(before, [fullSizeSection(measured)]), say);
  }
  result(measured);
});

function commandLine({ model, blocks, size, steps, textLength, stableDiffusionCpp }: Flags): string {
  const peer = stableDiffusionCpp === undefined ? '' : ' --stable-diffusion-cpp python';
  return `pnpm bench:full-size --folder scratch --model ${model} --blocks ${blocks} --size ${size} --steps ${steps} --text-length ${textLength}${peer} --write docs/checkpoints.md`;
}

/** The same picture by stable-diffusion.cpp, in a process of its own. */
function byStableDiffusionCpp(python: string, file: string, { folder, size, steps }: Flags): PeerPicture {
  const script = fileURLToPath(new URL('../peers/sd_cpp.py', import.meta.url));
  const args = [script, folder, basename(file), String(size), String(steps)];
  const done = spawnSync(python, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (done.status !== 0) throw new InvalidArgumentError('--stable-diffusion-cpp', `${python} failed: see above`);
  return JSON.parse(done.stdout) as PeerPicture;
}

/** Writes what is not there yet; gives the transformer's file. */
async function writeFiles({ folder, model, blocks }: Flags, say: (line: string) => void): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const at = (name: string) => join(folder, name);
  const gguf = (name: string, module: Module, type: GgufBlocks, metadata: Record<string, string>) => {
    if (existsSync(at(name))) return;
    writeRandomGguf(at(name), module.params(), type, metadata);
    say(`wrote ${name}`);
  };
  const isFlux = model === 'flux.1-schnell';
  const transformer = `${model}-${blocks}.gguf`;
  gguf(transformer, (isFlux ? fluxSchnell : sd35Medium).build(), blocks, {
    'general.architecture': isFlux ? 'flux' : 'sd3',
  });
  gguf('t5-v1_1-xxl-encoder-Q8_0.gguf', t5Xxl.build(), 'Q8_0', { 'general.architecture': 't5encoder' });
  const small: readonly (readonly [string, () => Module])[] = isFlux
    ? [
        ['ae.safetensors', () => vaeFlux.build()],
        ['clip_l.safetensors', () => clipTextL14.build()],
      ]
    : [
        ['sd3_vae.safetensors', () => vaeSd3.build()],
        ['clip_l.safetensors', () => clipTextL14.build()],
        ['clip_g.safetensors', () => openClipTextBigG14.build()],
      ];
  for (const [name, build] of small) {
    if (existsSync(at(name))) continue;
    const module = build().init(1);
    await writeSafetensors(at(name), await module.save(), { dtype: 'F16' });
    module.dispose();
    say(`wrote ${name}`);
  }
  const tokenizer = at(isFlux ? 'tokenizer_2' : 'tokenizer_3');
  // FLUX's second tokenizer is T5's, Stable Diffusion 3's is CLIP-G's, which is shipped.
  rmSync(at('tokenizer_2'), { recursive: true, force: true });
  mkdirSync(tokenizer, { recursive: true });
  writeFileSync(join(tokenizer, 'tokenizer.json'), JSON.stringify(letters()));
  return at(transformer);
}

/** A T5 vocabulary of single letters: as good as any for weights that know no words. */
function letters(): unknown {
  const special = ['<pad>', '</s>', '<unk>'];
  const pieces = [
    ...special.map((piece) => [piece, 0]),
    ['\u2581', -2],
    ...[...'abcdefghijklmnopqrstuvwxyz'].map((c) => [c, -3]),
  ];
  return {
    added_tokens: special.map((content, id) => ({ id, content, special: true })),
    normalizer: null,
    pre_tokenizer: { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always' },
    model: { type: 'Unigram', unk_id: 2, vocab: pieces },
  };
}

/** Seconds since the last call. */
function stopwatch(): () => number {
  let last = performance.now();
  return () => {
    const now = performance.now();
    const seconds = (now - last) / 1000;
    last = now;
    return seconds;
  };
}

/** The most that the process had resident since `resetPeak`, GB (Linux). */
function peak(): number {
  const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return Number(kilobytes) / 1e6;
}

function resetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // Not allowed here: what was written before counts too.
  }
}
