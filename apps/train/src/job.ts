import { availableParallelism, cpus } from 'node:os';
import type { CommandContext, Progress } from '@mezzotint/app';
import { deriveSeed, InvalidArgumentError, MezzotintError, type Module, TorchGenerator } from '@mezzotint/core';
import type { BatchShare } from '@mezzotint/data';
import {
  broadcastJson,
  broadcastParams,
  broadcastStateDict,
  checkSame,
  type Group,
  gradientExchange,
  openGroup,
  processPlace,
  shardedOptimizer,
} from '@mezzotint/distributed';
import type { Optimizer, OptimizerState, TrainOptions } from '@mezzotint/training';
import type { AuxiliaryState, StatefulPart } from '@mezzotint/training/node';
import type { TrainFlags } from './command.js';
import type { WholeConfig } from './config.js';
import { optimizerOf } from './optimizer.js';
import type { RunFolder } from './run-folder.js';
import type { TrainingBatches } from './training-data.js';

/** The processes that train one model together; one process without mpirun. Rank 0 says, writes, samples and averages. */
export interface Job {
  readonly group: Group;
  readonly leads: boolean;
  /** Aborted by Ctrl-C, and by SIGUSR2, which `mpirun` and `srun` pass on to every rank. */
  readonly signal: AbortSignal;
}

/** Errors that every rank meets at the same place: the job ends in order, and rank 0 says why. */
const ON_EVERY_RANK = ['MEZZOTINT_NOT_FINITE', 'MEZZOTINT_RANKS_DIFFER'];

/** Runs `body` as a rank of the job that this process belongs to. A rank that fails ends the whole job with its reason. */
export async function inJob(
  context: CommandContext,
  body: (job: Job, context: CommandContext) => Promise<void>,
): Promise<void> {
  shareCores();
  const group = await openGroup();
  if (group.size === 1) return body({ group, leads: true, signal: context.signal }, context);
  const leads = group.rank === 0;
  const stop = new AbortController();
  const onStop = () => stop.abort();
  process.on('SIGUSR2', onStop);
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const silent = { ...context, signal, say: () => undefined, result: () => undefined };
  context.say(`Rank ${group.rank} of ${group.size} (${group.name})`);
  try {
    await body({ group, leads, signal }, leads ? { ...context, signal } : silent);
    await group.close();
  } catch (error) {
    const shared = MezzotintError.isInstance(error) && ON_EVERY_RANK.includes(error.code);
    if (!shared) group.abort((error as Error).message);
    await group.close();
    if (leads) throw error;
    process.exitCode = 2;
  } finally {
    process.off('SIGUSR2', onStop);
  }
}

/** Gives each rank of a machine its share of the cores, where neither the user nor the launcher has. */
function shareCores(): void {
  const { local, size = 1 } = processPlace() ?? {};
  const bound = availableParallelism() < cpus().length;
  if (size === 1 || local === undefined || bound) return;
  process.env.OMP_NUM_THREADS ??= String(Math.max(1, Math.floor(availableParallelism() / local.size)));
}

/**
 * What the ranks have to agree on before they exchange anything; the rest is compared as the configuration that it makes.
 *
 * @throws MezzotintError `MEZZOTINT_RANKS_DIFFER` when they do not
 */
export async function checkFlags(
  { group }: Job,
  { run, resume = false, otherData = false }: TrainFlags,
): Promise<void> {
  await checkSame(group, 'train', { flags: { run, resume, otherData } });
}

/** What rank 0 makes, on every rank. */
export async function fromLeader<T>({ group, leads }: Job, make: () => T | Promise<T>): Promise<T> {
  return broadcastJson<T>(group, leads ? await make() : undefined);
}

/** What rank 0 makes in the run's folder, then every other rank, which finds it there. */
export async function leaderFirst<T>({ group, leads }: Job, make: () => Promise<T>): Promise<T> {
  const made = leads ? await make() : undefined;
  await group.barrier();
  return leads ? made! : make();
}

/**
 * The configuration with the number of micro-batches of an update: the one it has, or the least one above that the ranks can
 * share alike. An update is the same, to the bit, on every number of ranks that divides it by a power of two.
 *
 * @throws InvalidArgumentError when batches cannot be cut so
 */
export function withMicroBatches(config: WholeConfig, { group: { size } }: Job): WholeConfig {
  const { accumulation, batchSize, microBatches = accumulation } = config;
  if (microBatches % accumulation !== 0) {
    throw new InvalidArgumentError(
      'microBatches',
      `expected a multiple of accumulation (${accumulation}), got ${microBatches}`,
    );
  }
  const all = leastCommonMultiple(microBatches, size);
  if (batchSize % (all / accumulation) !== 0) {
    const parts = all / accumulation;
    const who = size === 1 ? 'microBatches' : `${size} ranks`;
    throw new InvalidArgumentError(
      who,
      `a batch of ${batchSize} cannot be cut into ${parts} equal parts: choose a batchSize that ${parts} divides, or an accumulation that ${size} divides`,
    );
  }
  return all === accumulation ? config : { ...config, microBatches: all };
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y > 0) [x, y] = [y, x % y];
  return (a / x) * b;
}

/** The micro-batches of each update that this rank computes: of the data, and as `train` counts them. */
export function shareOf({ accumulation, microBatches = accumulation }: WholeConfig, { group: { rank, size } }: Job) {
  const count = microBatches / size;
  const first = rank * count;
  const parts = microBatches / accumulation;
  const data: BatchShare | undefined =
    microBatches === accumulation && size === 1 ? undefined : { batches: accumulation, parts, first, count };
  return { data, train: { accumulation: count, share: { first, of: microBatches } } };
}

/** An optimizer of the model, whole or sharded; `owner` as `gradientExchange` takes it. */
export function optimizerOfJob(params: Optimizer['params'], config: WholeConfig, { group }: Job) {
  const make = (part: Optimizer['params']) => optimizerOf(part, config.optimizer);
  if (group.size === 1 || !config.distributed.shardOptimizer) return { optimizer: make(params), sharded: false };
  const optimizer = shardedOptimizer(group, params, make);
  return { optimizer, sharded: true, owner: optimizer.owner };
}

/** What `train` needs to train with the others. */
export function exchangeOf(
  { distributed: { wire, bucketMiB } }: WholeConfig,
  { group, signal }: Job,
  owner?: (path: string) => number,
): Pick<TrainOptions<unknown>, 'exchange' | 'signal'> {
  if (group.size === 1) return { signal };
  return gradientExchange(group, { wire, bucketBytes: bucketMiB * 2 ** 20, signal, ...(owner && { owner }) });
}

/** What every rank begins with. */
export interface Beginning {
  readonly step: number;
  readonly rng: TorchGenerator;
  /** As the checkpoint has it. */
  readonly moments: OptimizerState;
}

/** Gives every rank what rank 0 has loaded or initialised. Gives the same on rank 0. */
export async function beginTogether(
  { group, leads }: Job,
  { step, rng, moments }: Beginning,
  parts: {
    readonly model: Pick<Module, 'params'>;
    readonly optimizer: Optimizer;
    readonly order: TrainingBatches;
    readonly auxiliary: Readonly<Record<string, AuxiliaryState>>;
    readonly statefulParts: Readonly<Record<string, StatefulPart>>;
  },
): Promise<{ from: number; rng: TorchGenerator }> {
  const { model, optimizer, order, auxiliary, statefulParts } = parts;
  const place = { step, rng: rng.state(), order: order.state(), updates: moments.step };
  const begun = group.size === 1 ? place : await broadcastJson(group, leads ? place : undefined);
  await broadcastParams(group, model.params());
  optimizer.load({ step: begun.updates, tensors: await broadcastStateDict(group, moments.tensors) });
  for (const { model: network, optimizer: its } of Object.values(auxiliary)) {
    await broadcastParams(group, network.params());
    const own = await its.save();
    const updates = await broadcastJson(group, own.step);
    const tensors = await broadcastStateDict(group, own.tensors);
    if (!leads) its.load({ step: updates, tensors });
  }
  for (const part of Object.values(statefulParts)) {
    const state = await broadcastStateDict(group, await part.save());
    if (!leads) await part.load(state);
  }
  if (!leads) order.resume(begun.order);
  return { from: begun.step, rng: leads ? rng : TorchGenerator.fromState(begun.rng) };
}

/** The stream of a new run. */
export function firstStream({ seed }: WholeConfig): TorchGenerator {
  return new TorchGenerator(deriveSeed(seed, 'training'));
}

/** What a rank that does not lead has in the place of the run's folder and of the bar. */
export function silentRun(path: string): RunFolder {
  const nothing = async () => undefined;
  const silent = { path, samples: path, checkpoints: path, model: path, lines: [] };
  const calls = { close: () => undefined, log: () => undefined, rewind: nothing, snapshot: nothing, plot: nothing };
  return { ...silent, ...calls } as unknown as RunFolder;
}

export const silentProgress: Progress = { update: () => undefined, stop: () => undefined };
