import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type CommandContext, startProgress } from '@mezzotint/app';
import { type ChosenEngine, useBackend } from '@mezzotint/backend';
import { deriveSeed, InvalidArgumentError, MezzotintError, quoted, TorchGenerator } from '@mezzotint/core';
import { checkSame } from '@mezzotint/distributed';
import {
  type Average,
  checkpointGradients,
  ema,
  type Optimizer,
  powerFunctionDecay,
  ratioWarmUp,
  type TrainStep,
  train,
  trainableParams,
} from '@mezzotint/training';
import { type AuxiliaryState, CheckpointFolder } from '@mezzotint/training/node';
import { autoencoderTask } from './autoencoder-task.js';
import { classifierTask } from './classifier-task.js';
import { clipTask } from './clip-task.js';
import { isOtherCodec } from './codec-files.js';
import type { TrainFlags } from './command.js';
import type { TrainConfig, WholeConfig } from './config.js';
import { takesFittingBatch, wholeConfig, withFittingBatch } from './defaults.js';
import { saveDiffusers } from './diffusers-folder.js';
import { diffusionTask } from './diffusion-task.js';
import { lookAfter, lookBefore } from './doctor.js';
import { checkFrozen, type Frozen, weightsHash } from './frozen.js';
import { givenConfig, overridesOf } from './given-config.js';
import { checkWhole, describeInit, findInit, initWeights } from './init-weights.js';
import {
  beginTogether,
  checkFlags,
  exchangeOf,
  firstStream,
  fromLeader,
  inJob,
  type Job,
  leaderFirst,
  optimizerOfJob,
  shareOf,
  silentProgress,
  silentRun,
  withMicroBatches,
} from './job.js';
import { learningRateOf } from './learning-rate.js';
import { optimizerOf } from './optimizer.js';
import { RunFolder } from './run-folder.js';
import { stableDiffusionTask } from './stable-diffusion/task.js';
import { superResolutionTask } from './super-resolution-task.js';
import type { Task } from './task.js';
import { openTrainingData, type TrainingBatches, type TrainingData } from './training-data.js';
import { validationLoss } from './validation.js';

/** Trains as the flags say; stops at Ctrl-C with a checkpoint from which `--resume` goes on exactly. */
export function trainRun(flags: TrainFlags, context: CommandContext): Promise<void> {
  return inJob(context, (job, its) => trainInJob(flags, job, its));
}

async function trainInJob(flags: TrainFlags, job: Job, { signal, say, result }: CommandContext): Promise<void> {
  await checkFlags(job, flags);
  const given = await givenConfig(flags);
  const { open, config: wanted, begun } = await openRun(flags, given, job);
  const data = await openTrainingData(wanted.data);
  for (const line of data.report) say(line);
  const asked = withFittingBatch(wanted, flags, data.count);
  if (asked.batchSize !== wanted.batchSize && takesFittingBatch(flags)) {
    const why = `${wanted.batchSize} in ${flags.config} are more than the ${data.count} pictures that are trained on`;
    say(`Note: the batch size is ${asked.batchSize}, as the ${why}.`);
  }
  const config = withMicroBatches(wholeConfig(asked, data.height), job);
  if (asked.microBatches !== undefined && config.microBatches !== asked.microBatches) {
    const why = `${job.group.size} ranks cannot share ${asked.microBatches} micro-batches`;
    say(`Note: ${why}; the run goes on with ${config.microBatches ?? config.accumulation}, but not bit for bit.`);
  }
  const engine = await useBackend({ engine: flags.engine });
  if (!engine.trains) throw new InvalidArgumentError('--engine', `${engine.name} cannot train; choose another engine`);
  let task = await taskOf(config, data);
  for (const line of task.notes ?? []) say(`Note: ${line}`);
  const init = initOf(config);
  if (init !== undefined && begun && task.adapter === undefined) {
    say(`The weights are those of the checkpoint; ${init.from} is not read again.`);
  } else if (init !== undefined) {
    const report = await initWeights(task.network ?? task.model, init, data.classes);
    for (const line of describeInit(init.from, report)) say(line);
    if (data.latents && (await isOtherCodec(init.from, data.latents.codec))) {
      say(
        `Note: the latent images are those of another autoencoder than ${init.from} was trained with, so that little of what it learned helps. ` +
          `Encode the pictures with its own: pnpm train encode --codec ${init.from}`,
      );
    }
    if (task.adapter !== undefined) {
      checkWhole(task.network ?? task.model, report);
      // An adapter's checkpoints do not hold the model that it changes.
      task = { ...task, frozen: { ...task.frozen, [`model ${init.from}`]: await weightsHash(task.model) } };
    }
  } else if (task.adapter !== undefined && config.task === 'diffusion') {
    throw new InvalidArgumentError('lora', 'an adapter changes a model that was trained: say which by init.from');
  }
  task.adapter?.init(deriveSeed(config.seed, 'lora'));
  const trained = task.adapter === undefined ? trainableParams(task.model, { freeze: config.freeze }).values() : [];
  checkpointGradients(task.model, config.checkpointGradients, { trained: new Set(trained) });
  await checkSame(job.group, 'train', { config, data: data.fingerprint, engine: [engine.name, engine.version] });
  if (job.group.size > 1 && task.statefulParts !== undefined) {
    const kept = Object.keys(task.statefulParts).join(', ');
    throw new InvalidArgumentError(
      'mpirun',
      `${kept}: running means of batches are kept by one process; train on one rank`,
    );
  }
  const { data: share } = shareOf(config, job);
  const stream = data.open({ ...config, ...(share && { share }) }); // Refuses what cannot be trained before there is a folder.
  for (const line of lookBefore(config, data, await data.first?.(256))) {
    say(`Note: ${line}`);
  }
  const run = await open(config); // From here on there is one.
  let batches = stream;
  try {
    batches = (await leaderFirst(job, async () => task.batches?.(stream, run.path, signal, share))) ?? stream;
    await trainInto(run, { config, flags, job, task, data, stream: batches, engine, signal, say, result });
  } finally {
    run.close();
    await batches.close();
  }
}

interface Start extends Pick<CommandContext, 'signal' | 'say' | 'result'> {
  readonly config: WholeConfig;
  readonly flags: TrainFlags;
  readonly job: Job;
  readonly task: Task;
  readonly data: TrainingData;
  readonly stream: TrainingBatches;
  readonly engine: ChosenEngine;
}

async function trainInto(run: RunFolder, start: Start): Promise<void> {
  const { config, flags, job, task, data, engine, signal, say, result } = start;
  const { leads } = job;
  const state = await startState(run, start);
  const { from } = state;
  const until = Math.min(flags.until ?? config.steps, config.steps);
  if (until < from) {
    const what = config.steps < from ? 'steps' : '--until';
    throw new InvalidArgumentError(what, `the run stands at update ${from} already, got ${until}`);
  }
  for (const line of describeTask(config, task)) say(line);
  say(`Training ${run.path} on ${engine.name} ${engine.version}, from update ${from} to ${config.steps}`);
  const progress = leads ? startProgress('Training', config.steps, from) : silentProgress;
  const started = performance.now();
  let last = from;
  let recent = [...state.recent];
  const { averages, optimizer, rng, order, auxiliary } = state;
  const averaged = averages.ema!; // of rank 0
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
      ...{ optimizer, rng, learningRate, averages, data: order, loss: task.loss },
      ...(maxGradientNorm !== null && { maxGradientNorm }),
      ...{ from, until, ...shareOf(config, job).train, ...exchangeOf(config, job, state.owner) },
      ...(config.ema.snapshotEvery !== undefined && { snapshotEvery: config.ema.snapshotEvery }),
      hooks: [{ afterUpdate: noteMoved }, ...(task.hooks ?? [])],
      auxiliary: Object.fromEntries(
        Object.entries(task.auxiliary ?? {}).map(([name, { learningRate: rate, optimizer: clip, ...other }]) => [
          name,
          {
            ...{ loss: other.loss, start: other.start, optimizer: auxiliary[name]!.optimizer },
            ...{ learningRate: learningRateOf(rate, config.steps) },
            ...(clip.maxGradientNorm !== null && { maxGradientNorm: clip.maxGradientNorm }),
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
      const waited = mean(recent, (u) => u.waited / Math.max(u.seconds, 1e-9));
      const shown = Object.entries({ loss, ...lossesOf(update) }).map(
        ([name, value]) => `${name} ${value.toPrecision(4)}`,
      );
      const status = [...shown, ...(waited > 0.02 ? [`waiting ${Math.round(100 * waited)} %`] : [])];
      progress.update(last, config.steps, status.join(', '));
      const images = last * config.batchSize * config.accumulation;
      if (update.snapshot) await run.snapshot(images, averages, config.ema.sigmaRel);
      const due = (every: number) => last % every === 0 || final;
      if (leads && due(config.every.sample)) {
        progress.update(last, config.steps, [...status, 'samples and scores are made'].join(', '));
      }
      const scores =
        leads && due(config.every.sample)
          ? await withBestWeights(task, averaged, async () => ({
              ...(await task.report(last, run.samples, signal)),
              ...(task.validate && data.heldOut && (await validationLoss(task.validate, data.heldOut, config, signal))),
            })).catch(unlessAborted(signal))
          : {};
      if (due(config.every.log) || Object.keys(scores).length > 0) {
        const { learningRate: rate, gradientNorm } = update;
        run.log({
          step: last,
          loss,
          learningRate: rate,
          gradientNorm,
          seconds: mean(recent, (u) => u.seconds),
          waited,
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
    // Of several processes only what is not finite meets all at once; the others would wait for one that failed alone.
    if ((notFinite || job.group.size === 1) && moved === good.step && good.step > saved) {
      // A full disk fails here once more; what came first is what has to be told.
      await save().then(
        () => say(`The state after update ${good.step}, the last good one, is in ${run.checkpoints}`),
        () => undefined,
      );
    }
    throw error;
  } finally {
    progress.stop();
  }
  await run.plot();
  await save();
  if (!leads) return;
  await withBestWeights(task, averaged, () => task.save?.(run.model, config));
  const init = initOf(config);
  const foreign = init && existsSync(init.from) ? findInit(init.from).foreign : undefined;
  if (init && !existsSync(init.from)) {
    say(`Note: ${init.from} is not there any more; if it was a folder of diffusers, diffusers/ is not written anew.`);
  }
  if (foreign !== undefined) {
    const folder = join(run.path, 'diffusers');
    say(
      `For diffusers: ${await withBestWeights(task, averaged, () => saveDiffusers(folder, foreign.config, task.network ?? task.model, config))}`,
    );
  }
  for (const line of (await averaged.withAveragedWeights(() => task.saveAdapter?.(run.path))) ?? []) say(line);
  for (const line of lookAfter(config, run.lines)) say(`Note: ${line}`);

  const minutes = (performance.now() - started) / 60_000;
  if (last < config.steps)
    say(`Stopped at update ${last} of ${config.steps}; go on with: pnpm train --resume --run ${run.path}`);
  say(
    `${task.save === undefined ? 'Run' : 'Model'}: ${resolve(task.save === undefined ? run.path : run.model)} (${minutes.toFixed(1)} minutes)`,
  );
  if (last === config.steps && config.task === 'diffusion') {
    const prompt = config.conditions === undefined ? '' : ' --prompt "..."';
    say(`To see what it makes: pnpm sample --model ${run.path}${prompt} --out picture.png`);
  }
  result({ run: resolve(run.path), step: last, done: last === config.steps, minutes, engine: engine.name });
}

/** Runs `body` with the averaged weights, the adapter's merged into the model. */
function withBestWeights<T>({ adapter }: Task, averaged: Average, body: () => T | Promise<T>): Promise<T> {
  return averaged.withAveragedWeights<T>(() => (adapter === undefined ? body() : adapter.withMergedWeights(body)));
}

/** The weights that a task begins with, where it may begin with random ones. */
function initOf(config: WholeConfig) {
  return 'init' in config ? config.init : undefined;
}

function taskOf(config: WholeConfig, data: TrainingData): Task | Promise<Task> {
  switch (config.task) {
    case 'diffusion':
      return diffusionTask(config, data);
    case 'super-resolution':
      return superResolutionTask(config, data);
    case 'classifier':
      return classifierTask(config, data);
    case 'autoencoder':
      return autoencoderTask(config, data);
    case 'clip':
      return clipTask(config, data);
    case 'stable-diffusion':
      return stableDiffusionTask(config, data);
  }
}

/** What is trained, in numbers: parameters and the memory of weights, gradients, moments and averages. */
function describeTask(config: WholeConfig, { model, network, adapter }: Task): string[] {
  const count = (of: { params(): ReadonlyMap<string, { size: number; trainable: boolean }> }, trained: boolean) =>
    [...of.params().values()].reduce((sum, { size, trainable }) => sum + (trained && !trainable ? 0 : size), 0);
  const all = count(model, false);
  const trained = adapter === undefined ? trainableCount(model, config.freeze) : count(adapter, true);
  const averages = 1 + config.ema.sigmaRel.length;
  const bytes = 4 * (all + trained * 3 + (adapter === undefined ? all : trained) * averages);
  const counted = (n: number) =>
    n < 1e4 ? String(n) : n < 1e6 ? `${(n / 1e3).toFixed(1)} thousand` : `${(n / 1e6).toFixed(1)} million`;
  const trainedPart =
    adapter !== undefined
      ? ` and an adapter of ${counted(trained)}, which are trained`
      : trained === all
        ? ''
        : `, ${counted(trained)} of them trained`;
  return [
    `Model: ${network === undefined ? model.constructor.name : `${network.constructor.name} and what is trained along`}, ${counted(all)} parameters${trainedPart}; weights, gradients, moments and averages take ${Math.ceil(bytes / 2 ** 20)} MiB`,
  ];
}

function trainableCount(model: Task['model'], freeze: readonly string[]): number {
  return [...trainableParams(model, { freeze }).values()].reduce((sum, { size }) => sum + size, 0);
}

/**
 * The configuration of a new run or of one that goes on, what opens its folder, and whether a checkpoint is there already; rank 0 alone
 * looks at it.
 */
async function openRun(
  flags: TrainFlags,
  given: TrainConfig | undefined,
  job: Job,
): Promise<{ config: TrainConfig; open: (whole: WholeConfig) => Promise<RunFolder>; begun: boolean }> {
  const silent = async () => silentRun(flags.run);
  if (flags.resume) {
    const { config, begun } = await fromLeader(job, async () => ({
      config: await RunFolder.resumed(flags.run, given, overridesOf(flags), takesFittingBatch(flags)),
      begun: (await new CheckpointFolder(join(flags.run, 'checkpoints')).steps()).length > 0,
    }));
    return { open: job.leads ? (whole) => RunFolder.resume(flags.run, whole) : silent, config, begun };
  }
  if (!job.leads) return { open: silent, config: given!, begun: false };
  RunFolder.checkEmpty(flags.run);
  return { open: (whole) => RunFolder.create(flags.run, whole), config: given!, begun: false };
}

/** What a run keeps in its checkpoints beside the state of the training. */
interface Extra {
  readonly engine: string;
  /** The data: names of the classes, a fingerprint of everything, and of latent images a hash of the autoencoder. */
  readonly data?: { readonly classes: readonly string[]; readonly fingerprint: string; readonly codec?: string };
  /** A hash of the vocabulary that was learned of the captions. */
  readonly vocabulary?: string;
  /** What is read anew at each start; absent in checkpoints of older versions. */
  readonly frozen?: Frozen;
  /** The updates since the last line of the log, of which the next one gives the means. */
  readonly recent?: readonly TrainStep[];
}

/** All that an update depends on, at its beginning or as the last checkpoint left it. */
async function startState(
  run: RunFolder,
  { config, flags, job, task, data: source, stream: order, engine, say }: Start,
) {
  const checkpoints = new CheckpointFolder(run.checkpoints, { keep: config.keep });
  const saved = job.leads ? await checkpoints.latest() : undefined;
  const extra = (saved?.extra ?? {}) as Partial<Extra>;
  const data = {
    ...{ classes: source.classes, fingerprint: source.fingerprint },
    ...(task.codec !== undefined && { codec: task.codec }),
  };
  const trained = task.adapter ?? task.model;
  const params = trainableParams(trained, { freeze: config.freeze });
  const { optimizer, sharded, owner } = optimizerOfJob(params, config, job);
  let moments = await optimizerOf(new Map(), config.optimizer).save();
  const auxiliary = auxiliaryOf(task);
  const averages: Record<string, Average> = job.leads ? { ema: ema(trained, ratioWarmUp(config.ema.decay!)) } : {};
  for (const width of job.leads ? config.ema.sigmaRel : [])
    averages[`power-${width}`] = ema(trained, powerFunctionDecay(width));
  const statefulParts = task.statefulParts ?? {};
  let rng = firstStream(config);
  if (saved !== undefined) {
    for (const { folder, problem } of saved.damaged) say(`Passed over ${folder}: ${problem}`);
    if (extra.engine !== undefined && extra.engine !== engine.name) {
      say(`Note: the run was trained on ${extra.engine}; on ${engine.name} it goes on as well, but not bit for bit.`);
    }
    const other = otherData(extra.data, data);
    if (other !== undefined && flags.otherData !== true) {
      throw new InvalidArgumentError(run.path, `${other}. Bring the data back, or go on with it by --other-data`);
    }
    if (other !== undefined && task.vocabulary !== undefined && task.vocabulary.hash !== extra.vocabulary) {
      throw new InvalidArgumentError(
        '--other-data',
        'the vocabulary was learned of the captions, and these captions give another one, whose tokens stand for other texts. Bring the ' +
          `data back, or begin a new run with what this one learned: ${task.vocabulary.beginWith(run.path)}`,
      );
    }
    checkFrozen(run.path, extra.frozen, task.frozen);
    const take = (state: typeof moments) => {
      moments = state;
    };
    const later = Object.assign(Object.create(optimizer) as Optimizer, { load: take });
    await saved.load({ model: trained, optimizer: later, averages, auxiliary, statefulParts });
    const before = saved.data as ReturnType<TrainingBatches['state']>;
    // Of other data, the epoch that was under way means nothing: the next one begins.
    order.resume(other === undefined ? before : { ...order.state(), epoch: before.epoch + 1, batch: 0 });
    rng = saved.streams.training ?? rng;
  }
  const parts = { model: trained, optimizer, order, auxiliary, statefulParts };
  const begun = await beginTogether(job, { step: saved?.step ?? 0, rng, moments }, parts);
  await run.rewind(begun.from);
  return {
    ...{ ...begun, optimizer, owner, averages, auxiliary, order, recent: extra.recent ?? [] },
    /** A checkpoint of everything. */
    async save(at: { step: number; rng: TorchGenerator; order: unknown }, recent: TrainStep[]): Promise<void> {
      if (!job.leads) {
        if (sharded) await optimizer.save(); // its part goes to rank 0
        return;
      }
      await checkpoints.save({
        ...{ step: at.step, model: trained, optimizer, averages, auxiliary, statefulParts },
        ...{ streams: { training: at.rng }, data: at.order },
        extra: {
          ...{ engine: engine.name, data, recent },
          ...(task.vocabulary && { vocabulary: task.vocabulary.hash }),
          ...(task.frozen && { frozen: task.frozen }),
        } satisfies Extra,
      });
    },
  };
}

/** How data differs from what a run was trained on; undefined when it does not, or when the run does not say. */
function otherData(before: Extra['data'], now: NonNullable<Extra['data']>): string | undefined {
  if (before === undefined) return undefined;
  if (before.codec !== undefined && before.codec !== now.codec) {
    return 'was trained on latent images of another autoencoder than the one that lies beside them now';
  }
  if (before.fingerprint === now.fingerprint) return undefined;
  const [old, fresh] = [before.classes, now.classes].map((classes) => classes.map((name) => quoted(name)).join(', '));
  return old === fresh
    ? 'was trained on other images of the same classes'
    : `was trained on the classes ${old}, the data has now ${fresh}`;
}

/** The network that is trained against the model, if any, with its optimizer, as checkpoints take it. */
function auxiliaryOf({ auxiliary = {} }: Task): Record<string, AuxiliaryState> {
  return Object.fromEntries(
    Object.entries(auxiliary).map(([name, { model, optimizer }]) => [
      name,
      { model, optimizer: optimizerOf(model, optimizer) },
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
