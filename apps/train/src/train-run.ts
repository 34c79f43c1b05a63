import { resolve } from 'node:path';
import { type CommandContext, openImages, readConfig, saveModel, startProgress } from '@mezzotint/app';
import { type ChosenEngine, useBackend } from '@mezzotint/backend';
import { deriveSeed, InvalidArgumentError, TorchGenerator } from '@mezzotint/core';
import { batches } from '@mezzotint/data';
import {
  type Average,
  adamW,
  ema,
  noDecayOnBiasAndNorm,
  ratioWarmUp,
  type TrainStep,
  train,
} from '@mezzotint/training';
import { CheckpointFolder, type Companion } from '@mezzotint/training/node';
import { autoencoderTask } from './autoencoder-task.js';
import { classifierTask } from './classifier-task.js';
import type { TrainFlags } from './command.js';
import { type TrainConfig, trainConfigSchema } from './config.js';
import { diffusionTask } from './diffusion-task.js';
import { learningRateOf } from './learning-rate.js';
import { RunFolder } from './run-folder.js';
import type { Task, TaskData } from './task.js';

/** Trains as the flags say; stops at Ctrl-C with a checkpoint from which `--resume` goes on exactly. */
export async function trainRun(flags: TrainFlags, { signal, say, result }: CommandContext): Promise<void> {
  const given = givenConfig(flags);
  const { open, config } = openRun(flags, given);
  const images = await openImages(config.data);
  const engine = await useBackend({ engine: flags.engine });
  if (!engine.trains) throw new InvalidArgumentError('--engine', `${engine.name} cannot train; choose another engine`);
  const data = { images, source: config.data };
  const task = await taskOf(config, data);
  const run = await open(); // From here on there is a folder.

  const state = await startState(config, task, images, run, engine, say);
  const { from } = state;
  say(`Training ${run.path} on ${engine.name} ${engine.version}, from update ${from} to ${config.steps}`);
  const progress = startProgress('Training', config.steps, from);
  const started = performance.now();
  let last = from;
  let recent: TrainStep[] = [];
  try {
    const { averages, optimizer, rng, order, companions } = state;
    const learningRate = learningRateOf(config.learningRate, config.steps);
    const { maxGradientNorm } = config.optimizer;
    const updates = train({
      ...{ optimizer, rng, learningRate, averages: { ema: averages }, maxGradientNorm, data: order, loss: task.loss },
      ...{ accumulation: config.accumulation, from, until: config.steps, signal, hooks: task.hooks ?? [] },
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
      if (due(config.every.checkpoint)) await save(state, last, task);
    }
  } finally {
    progress.stop();
  }
  await run.plot();
  if (last > from) await save(state, last, task);
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
function givenConfig({ config: file, steps, batchSize, seed }: TrainFlags): TrainConfig | undefined {
  if (file === undefined) return undefined;
  const config = readConfig(file, trainConfigSchema);
  return {
    ...config,
    ...(steps !== undefined && { steps }),
    ...(batchSize !== undefined && { batchSize }),
    ...(seed !== undefined && { seed }),
  };
}

/** The configuration of a new run or of one that goes on, and what opens its folder. */
function openRun(
  flags: TrainFlags,
  given: TrainConfig | undefined,
): { config: TrainConfig; open: () => RunFolder | Promise<RunFolder> } {
  if (flags.resume) {
    const { run, config } = RunFolder.resume(flags.run, given);
    return { open: () => run, config: flags.steps === undefined ? config : { ...config, steps: flags.steps } };
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

/** All that an update depends on, at its beginning or as the last checkpoint left it. */
async function startState(
  config: TrainConfig,
  task: Task,
  images: Parameters<typeof batches>[0],
  run: RunFolder,
  engine: ChosenEngine,
  say: (line: string) => void,
) {
  const saved = await new CheckpointFolder(run.checkpoints, { keep: config.keep }).latest();
  const optimizer = adamW(task.model, { ...config.optimizer, decays: noDecayOnBiasAndNorm });
  const companions = companionsOf(task);
  const averages = ema(task.model, ratioWarmUp(config.ema.decay));
  const order = batches(images, { batchSize: config.batchSize, seed: config.seed, flip: config.flip });
  let rng = new TorchGenerator(deriveSeed(config.seed, 'training'));
  if (saved !== undefined) {
    for (const { folder, problem } of saved.damaged) say(`Passed over ${folder}: ${problem}`);
    const before = (saved.extra as { engine?: string } | null)?.engine;
    if (before !== undefined && before !== engine.name) {
      say(`Note: the run was trained on ${before}; on ${engine.name} it goes on as well, but not bit for bit.`);
    }
    const keepers = task.keepers ?? {};
    await saved.load({ model: task.model, optimizer, averages: { ema: averages }, companions, keepers });
    order.resume(saved.data as Parameters<typeof order.resume>[0]);
    rng = saved.streams.training ?? rng;
  }
  const from = saved?.step ?? 0;
  await run.rewind(from);
  const checkpoints = new CheckpointFolder(run.checkpoints, { keep: config.keep });
  return { from, optimizer, averages, companions, order, rng, checkpoints, engine: engine.name };
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

/** A checkpoint of everything. */
async function save(
  state: Awaited<ReturnType<typeof startState>> & { readonly averages: Average },
  step: number,
  task: Task,
): Promise<void> {
  const { optimizer, averages, companions, rng, order, checkpoints, engine } = state;
  await checkpoints.save({
    ...{ step, model: task.model, optimizer, averages: { ema: averages }, companions, keepers: task.keepers ?? {} },
    ...{ streams: { training: rng }, data: order.state(), extra: { engine } },
  });
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
