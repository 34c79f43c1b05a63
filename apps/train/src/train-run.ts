import { resolve } from 'node:path';
import { type CommandContext, openImages, readConfig, saveModel, startProgress } from '@mezzotint/app';
import { type ChosenEngine, useBackend } from '@mezzotint/backend';
import { deriveSeed, InvalidArgumentError, listed, MezzotintError, quoted, TorchGenerator } from '@mezzotint/core';
import { type BatchesState, batches, type FolderImages, fingerprint, type ImageSet } from '@mezzotint/data';
import { adamW, ema, matricesOnly, ratioWarmUp, type TrainStep, train } from '@mezzotint/training';
import { CheckpointFolder, type Companion } from '@mezzotint/training/node';
import { autoencoderTask } from './autoencoder-task.js';
import { classifierTask } from './classifier-task.js';
import type { TrainFlags } from './command.js';
import { companionUpdates } from './companion-updates.js';
import { type ConfigFlags, type TrainConfig, trainConfigSchema } from './config.js';
import { diffusionTask } from './diffusion-task.js';
import { learningRateOf } from './learning-rate.js';
import { RunFolder } from './run-folder.js';
import type { Task, TaskData } from './task.js';

/** Trains as the flags say; stops at Ctrl-C with a checkpoint from which `--resume` goes on exactly. */
export async function trainRun(flags: TrainFlags, { signal, say, result }: CommandContext): Promise<void> {
  const given = givenConfig(flags);
  const { open, config } = openRun(flags, given);
  const images = await openImages(config.data);
  for (const line of describeImages(images)) say(line);
  const engine = await useBackend({ engine: flags.engine });
  if (!engine.trains) throw new InvalidArgumentError('--engine', `${engine.name} cannot train; choose another engine`);
  const data = { images, source: config.data };
  const task = await taskOf(config, data);
  batches(images, config); // Refuses what cannot be trained before there is a folder.
  const run = await open(); // From here on there is one.
  try {
    await trainInto(run, { config, flags, task, images, engine, signal, say, result });
  } finally {
    run.close();
  }
}

interface Start extends Pick<CommandContext, 'signal' | 'say' | 'result'> {
  readonly config: TrainConfig;
  readonly flags: TrainFlags;
  readonly task: Task;
  readonly images: ImageSet;
  readonly engine: ChosenEngine;
}

async function trainInto(run: RunFolder, start: Start): Promise<void> {
  const { config, task, engine, signal, say, result } = start;
  const state = await startState(run, start);
  const { from } = state;
  say(`Training ${run.path} on ${engine.name} ${engine.version}, from update ${from} to ${config.steps}`);
  const progress = startProgress('Training', config.steps, from);
  const started = performance.now();
  let last = from;
  let recent: Pick<TrainStep, 'loss' | 'seconds'>[] = [...state.recent];
  const { model } = task;
  const { averages, optimizer, rng, order } = state;
  const companion = companionUpdates(config, task, state);
  /** All that an update depends on beside weights, as it was after the last whole update. */
  const place = () => ({ step: last, rng: TorchGenerator.fromState(rng.state()), order: order.state() });
  let good = place();
  let saved = from;
  const save = async (at: typeof good) => {
    if (at.step === saved) return;
    const log = { recent, parts: (await task.parts?.state()) ?? {}, companion: companion.state() };
    await state.save(at.step, { stream: at.rng, order: at.order, log });
    saved = at.step;
  };
  let begun = from;
  try {
    const learningRate = learningRateOf(config.learningRate, config.steps);
    const { maxGradientNorm } = config.optimizer;
    const updates = train({
      ...{ model, optimizer, rng, learningRate, averages: [averages], maxGradientNorm },
      ...{ accumulation: config.accumulation, from, until: config.steps, signal },
      data: companion.watching(order),
      loss: (batch, rng) => task.loss(batch, rng, last + 1),
      afterUpdate: () => task.afterUpdate?.(rng),
    });
    for await (const update of updates) {
      begun = update.step;
      const turn = await companion.after(update.step);
      last = update.step;
      recent.push({ loss: update.loss, seconds: update.seconds + turn.seconds });
      good = place();
      const final = last === config.steps;
      const loss = mean(recent, (u) => u.loss);
      const shown = Object.entries({ loss, ...turn.losses }).map(([name, value]) => `${name} ${value.toPrecision(4)}`);
      progress.update(last, config.steps, shown.join(', '));
      const due = (every: number) => last % every === 0 || final;
      const scores = due(config.every.sample)
        ? await averages.during(() => task.report(last, run.samples, signal)).catch(unlessAborted(signal))
        : {};
      if (due(config.every.log) || Object.keys(scores).length > 0) {
        const { learningRate: rate, gradientNorm } = update;
        run.log({
          step: last,
          loss,
          learningRate: rate,
          gradientNorm,
          seconds: mean(recent, (u) => u.seconds),
          ...(await task.parts?.read()),
          ...companion.read(),
          ...scores,
        });
        recent = [];
      }
      if (due(config.every.sample)) await run.plot();
      if (due(config.every.checkpoint)) await save(good);
    }
  } catch (error) {
    const notFinite = MezzotintError.isInstance(error) && error.code === 'MEZZOTINT_NOT_FINITE';
    if (!notFinite || begun !== good.step || good.step === 0) throw error;
    await save(good);
    say(`The state after update ${good.step}, the last good one, is in ${run.checkpoints}`);
    throw error;
  } finally {
    progress.stop();
  }
  await run.plot();
  await save(good);
  await state.averages.during(() =>
    saveModel(run.model, task.modelConfig, task.model, { half: config.half, overwrite: true }),
  );

  const minutes = (performance.now() - started) / 60_000;
  if (last < config.steps)
    say(`Stopped at update ${last} of ${config.steps}; go on with: pnpm train --resume --run ${run.path}`);
  say(`Model: ${resolve(run.model)} (${minutes.toFixed(1)} minutes)`);
  result({ run: resolve(run.path), step: last, done: last === config.steps, minutes, engine: engine.name });
}

function taskOf(config: TrainConfig, data: TaskData): Task | Promise<Task> {
  switch (config.task) {
    case 'diffusion':
      return diffusionTask(config, data);
    case 'classifier':
      return classifierTask(config, data);
    case 'autoencoder':
      return autoencoderTask(config, data);
  }
}

/** The configuration file with the flags over it; undefined when there is no file. */
function givenConfig(flags: TrainFlags): TrainConfig | undefined {
  if (flags.config === undefined) return undefined;
  return { ...readConfig(flags.config, trainConfigSchema), ...overridesOf(flags) };
}

/** What flags say of the configuration. */
function overridesOf({ steps, batchSize, seed }: TrainFlags): ConfigFlags {
  return {
    ...(steps !== undefined && { steps }),
    ...(batchSize !== undefined && { batchSize }),
    ...(seed !== undefined && { seed }),
  };
}

/** What is trained on, for the one who named the data: how many pictures of which classes, and what was passed over. */
function describeImages(images: ImageSet & Partial<FolderImages>): string[] {
  const { count, height, width, classes, labels, passedOver = {} } = images;
  const counts = new Int32Array(classes.length);
  for (const label of labels) counts[label]!++;
  const named = listed(
    classes.map((name, label) => `${name} ${counts[label]}`),
    10,
  );
  const others = Object.entries(passedOver).map(([ending, number]) => `${number} ${ending || 'without an ending'}`);
  return [
    `Data: ${count} images of ${height} x ${width} in ${classes.length} ${classes.length === 1 ? 'class' : 'classes'}: ${named}`,
    ...(others.length > 0 ? [`Passed over, being no PNG, JPEG or WebP by name: ${listed(others)}`] : []),
  ];
}

/** The configuration of a new run or of one that goes on, and what opens its folder. */
function openRun(
  flags: TrainFlags,
  given: TrainConfig | undefined,
): { config: TrainConfig; open: () => RunFolder | Promise<RunFolder> } {
  if (flags.resume) {
    const config = RunFolder.resumed(flags.run, given, overridesOf(flags));
    return { open: () => RunFolder.resume(flags.run, config), config };
  }
  if (given === undefined) {
    throw new InvalidArgumentError(
      '--config',
      'expected a configuration file, for example apps/train/configs/digits.json',
    );
  }
  RunFolder.checkEmpty(flags.run);
  return { open: () => RunFolder.create(flags.run, given), config: given };
}

/** What a run keeps in its checkpoints beside the state of the training. */
interface Extra {
  readonly engine: string;
  /** The data: names of the classes, and a fingerprint of everything. */
  readonly data?: { readonly classes: readonly string[]; readonly fingerprint: string };
  /** Since the last line of the log: updates, parts of the losses, and the companion's losses. */
  readonly log?: LogState;
}

interface LogState {
  readonly recent: readonly Pick<TrainStep, 'loss' | 'seconds'>[];
  readonly parts: Readonly<Record<string, readonly number[]>>;
  readonly companion: readonly number[];
}

/** All that an update depends on, at its beginning or as the last checkpoint left it. */
async function startState(run: RunFolder, { config, flags, task, images, engine, say }: Start) {
  const checkpoints = new CheckpointFolder(run.checkpoints, { keep: config.keep });
  const saved = await checkpoints.latest();
  const extra = (saved?.extra ?? {}) as Partial<Extra>;
  const data = { classes: images.classes, fingerprint: fingerprint(images) };
  const optimizer = adamW(task.model, { ...config.optimizer, decays: matricesOnly });
  const companions = companionsOf(task);
  const averages = ema(task.model, ratioWarmUp(config.ema.decay));
  const order = batches(images, { batchSize: config.batchSize, seed: config.seed, flip: config.flip });
  const keepers = task.keepers ?? {};
  let rng = new TorchGenerator(deriveSeed(config.seed, 'training'));
  if (saved !== undefined) {
    for (const { folder, problem } of saved.damaged) say(`Passed over ${folder}: ${problem}`);
    if (extra.engine !== undefined && extra.engine !== engine.name) {
      say(`Note: the run was trained on ${extra.engine}; on ${engine.name} it goes on as well, but not bit for bit.`);
    }
    const other = otherData(extra.data, data);
    if (other !== undefined && flags.otherData !== true) {
      throw new InvalidArgumentError(run.path, `${other}. Bring the data back, or go on with it by --other-data`);
    }
    await saved.load({ model: task.model, optimizer, averages: { ema: averages }, companions, keepers });
    const before = saved.data as BatchesState;
    // Of other data, the epoch that was under way means nothing: the next one begins.
    order.resume(other === undefined ? before : { ...order.state(), epoch: before.epoch + 1, batch: 0 });
    rng = saved.streams.training ?? rng;
  }
  const from = saved?.step ?? 0;
  await run.rewind(from);
  const { recent = [], parts = {}, companion: companionLosses = [] } = extra.log ?? {};
  task.parts?.resume(parts);
  return {
    ...{ from, optimizer, averages, companions, order, rng, recent, companionLosses },
    /** A checkpoint of everything. */
    async save(step: number, at: { stream: TorchGenerator; order: BatchesState; log: LogState }): Promise<void> {
      await checkpoints.save({
        ...{ step, model: task.model, optimizer, averages: { ema: averages }, companions, keepers },
        ...{ streams: { training: at.stream }, data: at.order },
        extra: { engine: engine.name, data, log: at.log } satisfies Extra,
      });
    },
  };
}

/** How data differs from what a run was trained on; undefined when it does not, or when the run does not say. */
function otherData(before: Extra['data'], now: NonNullable<Extra['data']>): string | undefined {
  if (before === undefined || before.fingerprint === now.fingerprint) return undefined;
  const [old, fresh] = [before.classes, now.classes].map((classes) => classes.map((name) => quoted(name)).join(', '));
  return old === fresh
    ? 'was trained on other images of the same classes'
    : `was trained on the classes ${old}, the data has now ${fresh}`;
}

/** The network that is trained against the model, if any, with its optimizer, as checkpoints take it. */
function companionsOf({ companion }: Task): Record<string, Companion> {
  if (companion === undefined) return {};
  const { name, model, optimizer } = companion;
  return { [name]: { model, optimizer: adamW(model, { ...optimizer, decays: matricesOnly }) } };
}

/** Ctrl-C in the middle of a report leaves the report out; any other error stays one. */
function unlessAborted(signal: AbortSignal): (error: unknown) => Readonly<Record<string, number>> {
  return (error) => {
    if (signal.aborted) return {};
    throw error;
  };
}

function mean<T>(items: readonly T[], pick: (item: T) => number): number {
  return items.reduce((sum, item) => sum + pick(item), 0) / items.length;
}
