import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  InvalidArgumentError,
  InvalidFileError,
  MezzotintError,
  parseJson,
  readingBudget,
  type StateDict,
  TorchGenerator,
  type TorchGeneratorState,
} from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';
import { readSafetensors, writeSafetensors } from '@mezzotint/weights/node';
import type { SavedCheckpoint, Trained, TrainingState } from './checkpoint.js';
import { replaceDurably, syncFolder, writeDurably } from './durable.js';
import { type FolderLock, lockFolder } from './folder-lock.js';
import { MANIFEST, makeManifest, verify } from './manifest.js';

const STATE = 'state.json';
const MODEL = 'model.safetensors';
const OPTIMIZER = 'optimizer.safetensors';
const average = (name: string) => `average-${name}.safetensors`;
const auxiliaryFile = (name: string) => `auxiliary-${name}.safetensors`;
const auxiliaryOptimizer = (name: string) => `optimizer-${name}.safetensors`;
const statefulFile = (name: string) => `tensors-${name}.safetensors`;

/** Names become parts of file names. */
const NAME = /^[\w.-]+$/;

/** The JSON part of a checkpoint. */
interface StateFile {
  readonly step: number;
  readonly optimizerStep: number;
  readonly averageUpdates: Readonly<Record<string, number>>;
  /** Updates of each auxiliary network; absent in files from before there were any. */
  readonly auxiliarySteps?: Readonly<Record<string, number>>;
  readonly statefulParts?: readonly string[];
  readonly streams: Readonly<Record<string, TorchGeneratorState>>;
  readonly data: unknown;
  readonly extra: unknown;
}

/** How checkpoints are kept. */
export interface CheckpointFolderOptions {
  /** How many of the newest stay; 3 when absent. */
  readonly keep?: number;
}

/**
 * Checkpoints with exact resume, in folders `checkpoint-<step>` of one folder, each with the weights, the averages, the
 * moments, the states of all streams and of the data, and a manifest of sizes and hashes. A checkpoint is written under
 * a hidden name, flushed, and then renamed: whenever the process dies, each `checkpoint-<step>` is whole, and what a failing
 * disk damages later is recognised and passed over. The file `latest` names the newest, for people and scripts.
 * The first `save` locks the folder until `close` or the end of the process: another process is refused ({@link lockFolder}).
 */
export class CheckpointFolder {
  readonly path: string;
  readonly #keep: number;
  #lock: FolderLock | undefined;

  /** @throws InvalidArgumentError when `keep` is not an integer of at least 1 */
  constructor(path: string, { keep = 3 }: CheckpointFolderOptions = {}) {
    if (!Number.isSafeInteger(keep) || keep < 1) {
      throw new InvalidArgumentError('CheckpointFolder', `keep must be an integer of at least 1, got ${keep}`);
    }
    this.path = path;
    this.#keep = keep;
  }

  /**
   * Saves the state after an update and removes checkpoints beyond the newest `keep`. A checkpoint of the same step is
   * replaced. Returns the checkpoint's folder.
   *
   * @throws MezzotintError `MEZZOTINT_CHECKPOINT_NOT_WRITTEN` when the disk is full or refuses; the checkpoints there stay;
   *   `MEZZOTINT_FOLDER_LOCKED` when another process saves there
   */
  async save(state: TrainingState): Promise<string> {
    checkState(state);
    this.#lock ??= await this.#locked(state.step);
    const folder = join(this.path, `checkpoint-${state.step}`);
    const temporary = join(this.path, `.checkpoint-${state.step}.partial`);
    try {
      await mkdir(this.path, { recursive: true });
      await this.#sweep();
      await mkdir(temporary);
      const files = await writeFiles(temporary, state);
      const manifest = await makeManifest(temporary, state.step, files);
      await writeDurably(join(temporary, MANIFEST), JSON.stringify(manifest, null, 2));
      await syncFolder(temporary);
      await this.#publish(temporary, folder);
      await replaceDurably(join(this.path, 'latest'), `checkpoint-${state.step}\n`);
    } catch (cause) {
      await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
      throw await this.#notWritten(state.step, cause);
    }
    await this.#prune(state.step);
    return folder;
  }

  /** Lets other processes save here. */
  close(): void {
    this.#lock?.release();
    this.#lock = undefined;
  }

  /** The steps of which there are checkpoints, the newest first; they may be damaged. */
  async steps(): Promise<number[]> {
    const names = await readdir(this.path).catch(ignoreMissing);
    return names
      .flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.[1] ?? [])
      .map(Number)
      .filter(Number.isSafeInteger)
      .sort((a, b) => b - a);
  }

  /**
   * The newest checkpoint that is whole; undefined when there is none at all. One that was written whole and whose process
   * died before it had its name counts too.
   *
   * @throws InvalidFileError when there are checkpoints and every one is damaged, with what is wrong with each
   */
  async latest(): Promise<SavedCheckpoint | undefined> {
    const damaged: { folder: string; problem: string }[] = [];
    const named = (await this.steps()).map((step) => ({ step, name: `checkpoint-${step}` }));
    const unnamed = (await this.#unnamed()).filter(({ step }) => !named.some((other) => other.step === step));
    // Stable: of one step, the newer copy (.partial) stands before the older (.replaced).
    for (const { step, name } of [...named, ...unnamed].sort((a, b) => b.step - a.step)) {
      const folder = join(this.path, name);
      try {
        return await open(folder, step, [...damaged]);
      } catch (error) {
        if (!InvalidFileError.isInstance(error)) throw error;
        if (!name.startsWith('.')) damaged.push({ folder, problem: error.problem }); // Half a checkpoint is nothing to speak of.
      }
    }
    if (damaged.length === 0) return undefined;
    const list = damaged.map(({ folder, problem }) => `${folder} (${problem})`).join('; ');
    throw new InvalidFileError(this.path, `no checkpoint is whole: ${list}. Restore one, or start in another folder`);
  }

  /** Folders of checkpoints without their name: being written, or moved aside for one of the same step. By name. */
  async #unnamed(): Promise<{ name: string; step: number }[]> {
    const names = (await readdir(this.path).catch(ignoreMissing)).sort();
    return names.flatMap((name) => {
      const step = /^\.checkpoint-(\d+)\.(?:partial|replaced)$/.exec(name)?.[1];
      return step === undefined || !Number.isSafeInteger(Number(step)) ? [] : [{ name, step: Number(step) }];
    });
  }

  /** Gives the finished folder its name; one of the same step is moved aside first. */
  async #publish(temporary: string, folder: string): Promise<void> {
    if (await exists(folder)) {
      const aside = join(this.path, `.${folder.slice(this.path.length + 1)}.replaced`);
      await rename(folder, aside);
      await rename(temporary, folder);
      await rm(aside, { recursive: true, force: true });
    } else {
      await rename(temporary, folder);
    }
    await syncFolder(this.path);
  }

  /**
   * Cleans up after a killed process: a checkpoint that lacks only its name is given it, as long as none of its step is
   * there; the rest is removed.
   */
  async #sweep(): Promise<void> {
    for (const { name, step } of await this.#unnamed()) {
      const folder = join(this.path, `checkpoint-${step}`);
      const whole = !(await exists(folder)) && (await isWhole(join(this.path, name), step));
      if (whole) await rename(join(this.path, name), folder);
      else await rm(join(this.path, name), { recursive: true, force: true });
    }
    for (const name of await readdir(this.path)) {
      if (!/^\.checkpoint-\d+\.removed$/.test(name)) continue;
      await rm(join(this.path, name), { recursive: true, force: true });
    }
  }

  /** Removes the oldest of the checkpoints up to `step`, each in one rename, so that none is seen half removed. */
  async #prune(step: number): Promise<void> {
    const old = (await this.steps()).filter((other) => other <= step).slice(this.#keep);
    for (const other of old) {
      const removed = join(this.path, `.checkpoint-${other}.removed`);
      await rename(join(this.path, `checkpoint-${other}`), removed);
      await rm(removed, { recursive: true, force: true });
    }
  }

  async #locked(step: number): Promise<FolderLock> {
    try {
      return lockFolder(this.path);
    } catch (cause) {
      if (MezzotintError.isInstance(cause)) throw cause;
      throw await this.#notWritten(step, cause);
    }
  }

  async #notWritten(step: number, cause: unknown): Promise<MezzotintError> {
    const others = (await this.steps().catch(() => [])).map((other) => `checkpoint-${other}`);
    const rest = others.length === 0 ? 'No checkpoint is there yet' : `Untouched: ${others.join(', ')}`;
    return new MezzotintError(
      'MEZZOTINT_CHECKPOINT_NOT_WRITTEN',
      `The checkpoint of step ${step} was not written to ${this.path}: ${explain(cause)}. ${rest}.`,
      { step, folder: this.path },
      { cause },
    );
  }
}

/** Writes all but the manifest; returns the names. */
async function writeFiles(folder: string, state: TrainingState): Promise<string[]> {
  const { model, optimizer, averages = {}, auxiliary = {}, statefulParts = {}, streams = {} } = state;
  const names: string[] = [];
  const write = async (name: string, tensors: StateDict) => {
    await writeSafetensors(join(folder, name), tensors);
    names.push(name);
  };
  await write(MODEL, await model.save());
  const { step: optimizerStep, tensors } = await optimizer.save();
  await write(OPTIMIZER, tensors);
  const averageUpdates: Record<string, number> = {};
  for (const [name, running] of Object.entries(averages)) {
    const saved = await running.save();
    averageUpdates[name] = saved.updates;
    await write(average(name), saved.tensors);
  }
  const auxiliarySteps: Record<string, number> = {};
  for (const [name, other] of Object.entries(auxiliary)) {
    await write(auxiliaryFile(name), await other.model.save());
    const saved = await other.optimizer.save();
    auxiliarySteps[name] = saved.step;
    await write(auxiliaryOptimizer(name), saved.tensors);
  }
  for (const [name, other] of Object.entries(statefulParts)) await write(statefulFile(name), await other.save());
  const file: StateFile = {
    step: state.step,
    optimizerStep,
    averageUpdates,
    auxiliarySteps,
    statefulParts: Object.keys(statefulParts),
    streams: Object.fromEntries(Object.entries(streams).map(([name, stream]) => [name, stream.state()])),
    data: state.data ?? null,
    extra: state.extra ?? null,
  };
  await writeDurably(join(folder, STATE), JSON.stringify(file));
  return [...names, STATE];
}

async function open(folder: string, step: number, damaged: SavedCheckpoint['damaged']): Promise<SavedCheckpoint> {
  const manifest = await verify(folder, step);
  for (const name of [MODEL, OPTIMIZER, STATE]) {
    if (!(name in manifest.files)) throw new InvalidFileError(folder, `the manifest does not list ${name}`);
  }
  let state: StateFile;
  let streams: Record<string, TorchGenerator>;
  try {
    state = checkStateFile(parseJson(readPlainText(join(folder, STATE), readingBudget.textBytes)));
    streams = Object.fromEntries(
      Object.entries(state.streams).map(([name, stream]) => [name, TorchGenerator.fromState(stream)]),
    );
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : String(cause);
    throw new InvalidFileError(folder, `${STATE} is not the state of a training: ${problem}`, { cause });
  }
  for (const name of filesOf(state)) {
    if (!(name in manifest.files)) throw new InvalidFileError(folder, `the manifest does not list ${name}`);
  }
  return {
    folder,
    step,
    streams,
    data: state.data,
    extra: state.extra,
    damaged,
    load: (into) => load(folder, state, into),
  };
}

/** The value of a state.json, each field of it checked. */
function checkStateFile(value: unknown): StateFile {
  const isCount = (count: unknown) => Number.isSafeInteger(count) && (count as number) >= 0;
  const isObject = (object: unknown) => typeof object === 'object' && object !== null && !Array.isArray(object);
  const isName = (name: unknown) => typeof name === 'string' && NAME.test(name);
  const isCounts = (counts: unknown) =>
    isObject(counts) && Object.entries(counts as object).every(([name, count]) => isName(name) && isCount(count));
  if (!isObject(value)) throw new TypeError('expected an object');
  const { step, optimizerStep, averageUpdates, auxiliarySteps = {}, statefulParts = [], streams } = value as StateFile;
  const fields: Readonly<Record<string, boolean>> = {
    step: isCount(step),
    optimizerStep: isCount(optimizerStep),
    averageUpdates: isCounts(averageUpdates),
    auxiliarySteps: isCounts(auxiliarySteps),
    statefulParts: Array.isArray(statefulParts) && statefulParts.every(isName),
    streams: isObject(streams) && Object.values(streams).every(isObject),
  };
  const wrong = Object.keys(fields).filter((name) => !fields[name]);
  if (wrong.length > 0) throw new TypeError(`missing or malformed: ${wrong.join(', ')}`);
  return value as StateFile;
}

/** The files of weights that a state speaks of. */
function filesOf({ averageUpdates, auxiliarySteps = {}, statefulParts = [] }: StateFile): string[] {
  return [
    ...Object.keys(averageUpdates).map(average),
    ...Object.keys(auxiliarySteps).flatMap((name) => [auxiliaryFile(name), auxiliaryOptimizer(name)]),
    ...statefulParts.map(statefulFile),
  ];
}

async function isWhole(folder: string, step: number): Promise<boolean> {
  return open(folder, step, []).then(
    () => true,
    (error) => {
      if (InvalidFileError.isInstance(error)) return false;
      throw error;
    },
  );
}

async function load(folder: string, state: StateFile, into: Trained): Promise<void> {
  const { model, optimizer, averages = {}, auxiliary = {}, statefulParts = {} } = into;
  checkNames(folder, 'averages', Object.keys(state.averageUpdates), averages);
  checkNames(folder, 'auxiliary networks', Object.keys(state.auxiliarySteps ?? {}), auxiliary);
  checkNames(folder, 'stateful parts', state.statefulParts ?? [], statefulParts);
  const tensors = (name: string) => withTensors(join(folder, name), readAll);
  await withTensors(join(folder, MODEL), (file) => model.load(file));
  optimizer.load({ step: state.optimizerStep, tensors: await tensors(OPTIMIZER) });
  for (const [name, running] of Object.entries(averages)) {
    running.load({ updates: state.averageUpdates[name]!, tensors: await tensors(average(name)) });
  }
  for (const [name, other] of Object.entries(auxiliary)) {
    await withTensors(join(folder, auxiliaryFile(name)), (file) => other.model.load(file));
    const step = state.auxiliarySteps![name]!;
    other.optimizer.load({ step, tensors: await tensors(auxiliaryOptimizer(name)) });
  }
  for (const [name, other] of Object.entries(statefulParts)) await other.load(await tensors(statefulFile(name)));
}

/** Throws unless what is trained is what was saved. */
function checkNames(folder: string, what: string, saved: readonly string[], trained: object): void {
  const [before, now] = [saved, Object.keys(trained)].map((names) => [...names].sort().join(', '));
  if (before === now) return;
  throw new InvalidArgumentError(
    'CheckpointFolder',
    `${folder} holds the ${what} [${before}], but [${now}] are trained; train with the same ${what}`,
  );
}

type File = ReturnType<typeof readSafetensors>;

async function withTensors<T>(path: string, use: (file: File) => T | Promise<T>): Promise<T> {
  const file = readSafetensors(path);
  try {
    return await use(file);
  } finally {
    file.close();
  }
}

async function readAll(file: File): Promise<StateDict> {
  const tensors: Record<string, StateDict[string]> = {};
  for (const name of file.tensors.keys()) tensors[name] = await file.read(name);
  return tensors;
}

function checkState({ step, averages = {}, auxiliary = {}, statefulParts = {} }: TrainingState): void {
  const problems: string[] = [];
  if (!Number.isSafeInteger(step) || step < 0) problems.push(`step must be an integer of at least 0, got ${step}`);
  for (const name of [averages, auxiliary, statefulParts].flatMap(Object.keys)) {
    if (!NAME.test(name)) problems.push(`the name "${name}" must be letters, digits, _, . and -`);
  }
  if (problems.length > 0) throw new InvalidArgumentError('CheckpointFolder', problems);
}

function explain(cause: unknown): string {
  const code = systemCode(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT') return `the disk is full (${code}); free some space and save again`;
  return cause instanceof Error ? cause.message : String(cause);
}

/** The operating system's name for what went wrong, also of an error that was wrapped. */
function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  return code !== undefined && /^E[A-Z]+$/.test(code) ? code : systemCode(error.cause);
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

function ignoreMissing(error: NodeJS.ErrnoException): string[] {
  if (error.code === 'ENOENT') return [];
  throw error;
}
