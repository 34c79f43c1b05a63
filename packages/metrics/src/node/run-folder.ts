import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import { readJson, writeFileAtomically } from '@mezzotint/weights/node';
import type { Collected, Collector } from '../collector.js';
import { readShardIdentity, type ShardIdentity } from './collect.js';
import type { EvaluationPlan } from './evaluation.js';
import { readCheckpoint, readStatistics } from './statistics-file.js';

/** The file in a run folder that says what is computed. */
const PLAN_FILE = 'evaluation.json';

/**
 * Makes the folder of an evaluation's checkpoints, or finds the one to go on with.
 *
 * @throws InvalidArgumentError when it holds an evaluation and `resume` is not said, or one with another plan
 */
export async function openRun(folder: string, plan: EvaluationPlan, resume: boolean): Promise<void> {
  const file = join(folder, PLAN_FILE);
  if (!existsSync(file)) {
    mkdirSync(folder, { recursive: true });
    const text = `${JSON.stringify(plan, null, 2)}\n`;
    await writeFileAtomically(file, (append) => append(Buffer.from(text)), { overwrite: true });
  } else if (!resume) {
    const problem = 'holds an evaluation already: pass --resume to go on with it, or choose another folder';
    throw new InvalidArgumentError(folder, problem);
  } else if (JSON.stringify(readJson(file)) !== JSON.stringify(plan)) {
    throw new InvalidArgumentError(folder, `was begun with other settings, see ${file}: resume with those`);
  }
}

/**
 * Joins the run folders of all shards of an evaluation: its plan, and what was collected of each side, by its key.
 *
 * @throws InvalidArgumentError when a folder holds no evaluation, or pictures are missing or twice there; InvalidFileError when
 *   the folders are of different evaluations
 */
export async function mergeRuns(
  folders: readonly string[],
): Promise<{ readonly plan: EvaluationPlan; readonly collected: ReadonlyMap<string, Collected> }> {
  const files = folders.map((folder) => join(folder, PLAN_FILE));
  const absent = files.filter((file) => !existsSync(file)).map((file) => `${file}: no such file`);
  if (absent.length > 0) throw new InvalidArgumentError('merge', absent);
  const plans = files.map((file) => checkPlan(file, readJson(file)));
  const [plan, ...others] = plans;
  const other = others.findIndex((one) => JSON.stringify(one) !== JSON.stringify(plan));
  if (other >= 0) throw new InvalidFileError(files[other + 1]!, `is of another evaluation than ${files[0]}`);
  if (plan === undefined) throw new InvalidArgumentError('merge', 'expected folders');
  const collected = new Map<string, Collected>();
  for (const { key, name } of [...plan.real, ...plan.generated, ...(plan.floor ? [plan.floor] : [])]) {
    if (key === 'reference') collected.set(key, (await readStatistics(name)).collected);
    else collected.set(key, await joined(folders.map((folder) => join(folder, `${key}.npz`))));
  }
  return { plan, collected };
}

/** A plan out of a file, each field of it checked. */
function checkPlan(file: string, value: unknown): EvaluationPlan {
  const isObject = (one: unknown): one is Record<string, unknown> =>
    typeof one === 'object' && one !== null && !Array.isArray(one);
  // Keys become names of files.
  const isSide = (one: unknown) =>
    isObject(one) && typeof one.key === 'string' && /^[\w-]+$/.test(one.key) && typeof one.name === 'string';
  const plan = isObject(value) ? value : {};
  const fields: Readonly<Record<keyof EvaluationPlan, boolean>> = {
    metrics: Array.isArray(plan.metrics) && plan.metrics.every((name) => typeof name === 'string'),
    options: isObject(plan.options),
    features: typeof plan.features === 'string',
    generated: Array.isArray(plan.generated) && plan.generated.every(isSide),
    real: Array.isArray(plan.real) && plan.real.every(isSide),
    floor: plan.floor === undefined || isSide(plan.floor),
  };
  const wrong = Object.entries(fields).flatMap(([name, right]) => (right ? [] : [name]));
  if (wrong.length > 0) throw new InvalidFileError(file, `is no evaluation; missing or malformed: ${wrong.join(', ')}`);
  return plan as unknown as EvaluationPlan;
}

/** The checkpoints of one side as one. Each says which pictures it is of. */
async function joined(paths: readonly string[]): Promise<Collector> {
  const parts: { readonly path: string; readonly collector: Collector; readonly part: ShardIdentity }[] = [];
  for (const path of paths) {
    const { collector, notes } = await readCheckpoint(path);
    parts.push({ path, collector, part: readShardIdentity(path, notes.identity) });
  }
  const { total } = parts[0]!.collector.plan;
  const { source: first } = parts[0]!.part;
  parts.sort((a, b) => a.part.from - b.part.from || a.part.to - b.part.to);
  const problems: string[] = [];
  let end = 0;
  for (const { path, collector, part } of parts) {
    const { source, from, to } = part;
    const range = `pictures ${from} to ${to} of ${total}`;
    if (source !== first) {
      problems.push(`${path} is not of the pictures of ${paths[0]}: others, or made with other settings`);
    } else if (collector.count !== to - from) {
      problems.push(`${path} has ${collector.count} of ${range}: finish that shard with --resume`);
    } else if (from < end) problems.push(`${path}: ${range} are there twice`);
    else if (from > end) problems.push(`no shard has the pictures ${end} to ${from} of ${total}`);
    end = Math.max(end, to);
  }
  if (end < total) problems.push(`no shard has the pictures ${end} to ${total} of ${total}`);
  if (problems.length > 0) throw new InvalidArgumentError('merge', problems);
  return parts.map(({ collector }) => collector).reduce((whole, collector) => whole.merge(collector));
}
