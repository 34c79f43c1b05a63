import { resolve } from 'node:path';
import { type CommandContext, openImages, readConfig, saveModel, startProgress } from '@mezzotint/app';
import { type ChosenEngine, useBackend } from '@mezzotint/backend';
import { deriveSeed, InvalidArgumentError, listed, MezzotintError, quoted, TorchGenerator } from '@mezzotint/core';
import { type BatchesState, batches, type FolderImages, fingerprint, type ImageSet } from '@mezzotint/data';
import { adamW, ema, noDecayOnBiasAndNorm, ratioWarmUp, type TrainStep, train } from '@mezzotint/training';
import { CheckpointFolder, type Companion } from '@mezzotint/training/node';
import { autoencoderTask } from './autoencoder-task.js';
import { classifierTask } from './classifier-task.js';
import type { TrainFlags } from './command.js';
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
  let recent = [...state.recent];
  const { averages, optimizer, rng, order, companions } = state;
  /** What an update depends on beside the networks, as it was after the last whole update. */
  const place = () => ({ step: last, rng: TorchGenerator.fromState(rng.state()), order: order.state() });
  let good = place();
  /** The update whose weights the model has; beyond `good` when an auxiliary network then failed. */
  let moved = from;
  const noteMoved = ({ step }: { readonly step: number }) => {
    moved = step;
  };
  let saved = from;
  const save = async () => {
    if (good.step !== saved) await state.save(good, recent);
    saved = good.step;
  };
  try {
    const learningRate = learningRateOf(config.learningRate, config.steps);
    const { maxGradientNorm } = config.optimizer;
    const updates = train({
      ...{ optimizer, rng, learningRate, averages: { ema: averages }, maxGradientNorm, data: order, loss: task.loss },
      ...{ accumulation: config.accumulation, from, until: config.steps, signal },
      hooks: [{ afterUpdate: noteMoved }, ...(task.hooks ?? [])],
      auxiliary: Object.fromEntries(
        Object.entries(task.auxiliary ?? {}).map(([name, { learningRate: rate, optimizer: clip, ...other }]) => [
          name,
          {
            ...{ loss: other.loss, start: other.start, optimizer: companions[name]!.optimizer },
            ...{ learningRate: learningRateOf(rate, config.steps), maxGradientNorm: clip.maxGradientNorm },
          },
        ]),
      ),
    });
    for await (const update of updates) {
      last = update.step;
      recent.push(update);
      good = place();
      const final = last === config.steps;
      const loss = mean(recent, (u) => u.loss);
      const shown = Object.entries({ loss, ...lossesOf(update) }).map(
        ([name, value]) => `${name} ${value.toPrecision(4)}`,
      );
      progress.update(last, config.steps, shown.join(', '));
      const due = (every: number) => last % every === 0 || final;
      const scores = due(config.every.sample)
        ? await averages.withAveragedWeights(() => task.report(last, run.samples, signal)).catch(unlessAborted(signal))
        : {};
      if (due(config.every.log) || Object.keys(scores).length > 0) {
        const { learningRate: rate, gradientNorm } = update;
        run.log({
          step: last,
          loss,
          learningRate: rate,
          gradientNorm,
          seconds: mean(recent, (u) => u.seconds),
          ...observedIn(recent),
          ...scores,
        });
        recent = [];
      }
      if (due(config.every.sample)) await run.plot();
      if (due(config.every.checkpoint)) await save();
    }
  } catch (error) {
    const notFinite = MezzotintError.isInstance(error) && error.code === 'MEZZOTINT_NOT_FINITE';
    if (notFinite && moved === good.step && good.step > 0) {
      await save();
      say(`The state after update ${good.step}, the last good one, is in ${run.checkpoints}`);
    }
    throw error;
  } finally {
    progress.stop();
  }
  await run.plot();
  await save();
  await state.averages.withAveragedWeights(() =>
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
  /** The updates since the last line of the log, of which the next one gives the means. */
  readonly recent?: readonly TrainStep[];
}

/** All that an update depends on, at its beginning or as the last checkpoint left it. */
async function startState(run: RunFolder, { config, flags, task, images, engine, say }: Start) {
  const checkpoints = new CheckpointFolder(run.checkpoints, { keep: config.keep });
  const saved = await checkpoints.latest();
  const extra = (saved?.extra ?? {}) as Partial<Extra>;
  const data = { classes: images.classes, fingerprint: fingerprint(images) };
  const optimizer = adamW(task.model, { ...config.optimizer, decays: noDecayOnBiasAndNorm });
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
  return {
    ...{ from, optimizer, averages, companions, order, rng, recent: extra.recent ?? [] },
    /** A checkpoint of everything. */
    async save(at: { step: number; rng: TorchGenerator; order: BatchesState }, recent: TrainStep[]): Promise<void> {
      await checkpoints.save({
        ...{ step: at.step, model: task.model, optimizer, averages: { ema: averages }, companions, keepers },
        ...{ streams: { training: at.rng }, data: at.order },
        extra: { engine: engine.name, data, recent } satisfies Extra,
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
function companionsOf({ auxiliary = {} }: Task): Record<string, Companion> {
  return Object.fromEntries(
    Object.entries(auxiliary).map(([name, { model, optimizer }]) => [
      name,
      { model, optimizer: adamW(model, { ...optimizer, decays: noDecayOnBiasAndNorm }) },
    ]),
  );
}

/** The losses of the networks beside the model, by their names in the log. */
function lossesOf({ auxiliary }: TrainStep): Record<string, number> {
  return Object.fromEntries(Object.entries(auxiliary).map(([name, { loss }]) => [`${name}Loss`, loss]));
}

/** The means of all that the losses of some updates observed, and of the losses beside the model's. */
function observedIn(updates: readonly TrainStep[]): Record<string, number> {
  const seen = new Map<string, number[]>();
  for (const update of updates) {
    const others = Object.values(update.auxiliary).map(({ observed }) => observed);
    for (const [name, value] of [lossesOf(update), update.observed, ...others].flatMap(Object.entries)) {
      seen.set(name, [...(seen.get(name) ?? []), value]);
    }
  }
  return Object.fromEntries([...seen].map(([name, values]) => [name, mean(values, (value) => value)]));
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
