import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { averagedModels, type CommandContext, prepareOutput, startProgress } from '@mezzotint/app';
import { EngineWorker } from '@mezzotint/backend/worker';
import { InvalidArgumentError, quoted } from '@mezzotint/core';
import { writePng } from '@mezzotint/data';
import { openGroup, processPlace, single } from '@mezzotint/distributed';
import type { Collected, Metric, Need } from '@mezzotint/metrics';
import {
  collect,
  computeEvaluation,
  type EvaluationPlan,
  openRun,
  plotEvaluation,
  readStatistics,
  type Side,
  type Source,
  writeStatistics,
} from '@mezzotint/metrics/node';
import { readJson } from '@mezzotint/weights/node';
import { z } from 'zod';
import type { EvaluateFlags } from './command.js';
import type { EvaluationJobs, ModelFacts, NetworkFacts } from './engine-jobs.js';
import { merge } from './merge.js';
import { mergeSettings, pairedMetrics, type Settings, shardFolder } from './settings.js';
import { dataCount, dataSource, type Engine, folderSource, modelSource, withTexts } from './sources.js';

/** Pictures of a model without prompts when nothing is said. */
const MODEL_COUNT = 1000;

/** Judges pictures, computes the metrics and prints them. */
export async function evaluate(flags: EvaluateFlags, context: CommandContext): Promise<void> {
  const settings = await withAverages(mergeSettings(flags));
  if (settings.parts !== undefined && settings.shard !== undefined) return evaluateTogether(settings, context);
  await evaluateAlone(settings, context);
}

/** A part for each process that mpirun started, each in its folder; when all are done the first joins them. */
async function evaluateTogether(settings: Settings, context: CommandContext): Promise<void> {
  const { launcher } = processPlace()!;
  const [rank, size] = settings.shard!;
  // srun and Kubernetes start processes that need not know each other: `evaluate merge` joins what they store.
  const group = launcher === 'Open MPI' || launcher === 'PMI' ? await openGroup() : single();
  try {
    const silent = { ...context, say: () => undefined };
    await evaluateAlone(settings, rank === 0 || group.size === 1 ? context : silent);
    await group.barrier();
    const folders = Array.from({ length: size }, (_, i) => shardFolder(settings.parts!, [i, size]));
    const { plot } = settings;
    if (group.size > 1 && rank === 0) await merge(folders, plot === undefined ? {} : { plot }, context);
  } catch (error) {
    if (group.size > 1) group.abort((error as Error).message);
    throw error;
  }
  await group.close();
}

async function evaluateAlone(settings: Settings, context: CommandContext): Promise<void> {
  for (const file of [settings.saveStatistics, settings.plot]) if (file !== undefined) prepareOutput(file, true);
  const jobs = new URL('./jobs.js', import.meta.url);
  const worker = await EngineWorker.start<EvaluationJobs>(jobs, { engine: settings.engine });
  try {
    await evaluateIn({ worker, signal: context.signal, say: context.say }, settings, context);
  } finally {
    await worker.close();
  }
}

/** The run folders of --model as models of the averages of --sigma-rel. */
async function withAverages(settings: Settings): Promise<Settings> {
  const { sigmaRel, model = [] } = settings;
  if (sigmaRel === undefined) return settings;
  const averages: string[] = [];
  for (const run of model) averages.push(...(await averagedModels(run, sigmaRel, { existing: 'take' })));
  return { ...settings, model: averages };
}

async function evaluateIn(engine: Engine, settings: Settings, context: CommandContext): Promise<void> {
  const { worker, signal } = engine;
  const { say, result } = context;
  const network = await worker.run('openFeatures', { name: settings.features, weights: settings.featuresWeights });
  const metrics = await fitting(engine, settings, network, say);
  const count = await madeCount(engine, settings);
  const plan = await planOf(settings, metrics, count);
  const folder = settings.run;
  if (folder !== undefined) await openRun(folder, plan, settings.resume ?? false);
  const collected = new Map<string, Collected>();
  const started = performance.now();

  const go = async (side: Side, source: Source, needs: readonly Need[]) => {
    const { dimension: dim, classes, recipe } = network;
    const { rows, shard, resume = false, batch } = settings;
    const progress = startProgress(`Judging ${side.name}`, source.count);
    const collector = await collect(
      source,
      { needs, dim, classes, total: source.count, recipe, ...(rows !== undefined && { rows }) },
      {
        ...{ batch, signal, onProgress: (done, total) => progress.update(done, total) },
        ...(shard && { shard }),
        ...(folder !== undefined && { checkpoint: { path: join(folder, `${side.key}.npz`), resume } }),
      },
    ).finally(() => progress.stop());
    collected.set(side.key, collector);
    return collector;
  };

  const needed = (of: (metric: Metric) => readonly Need[] | undefined) => [
    ...new Set(metrics.flatMap((m) => of(m) ?? [])),
  ];
  const realNeeds: Need[] = needed(({ needs }) => needs.real);
  if (settings.saveStatistics !== undefined)
    realNeeds.push(...(['gaussian', 'rows'] as const).filter((n) => !realNeeds.includes(n)));
  if (settings.reference !== undefined)
    collected.set('reference', (await readStatistics(settings.reference)).collected);
  for (const side of plan.real.filter(({ key }) => key !== 'reference')) {
    const paired = metrics.some(({ name }) => pairedMetrics.includes(name));
    const take = (paired ? undefined : count) ?? settings.count ?? (await dataCount(side.name));
    const texts = realNeeds.includes('textRows') ? settings.sourcePrompts : [];
    const collector = await go(side, await dataSource(engine, side.name, 0, take, texts), realNeeds);
    if (settings.saveStatistics !== undefined && side === plan.real[0]) {
      await writeStatistics(settings.saveStatistics, collector, { name: side.name });
      say(`Wrote the statistics of ${collector.count} pictures of ${side.name} to ${settings.saveStatistics}`);
    }
  }
  if (plan.floor !== undefined) {
    await go(plan.floor, await dataSource(engine, plan.real[0]!.name, count!, count!), ['gaussian']);
  }
  const needs = needed(({ needs }) => needs.generated);
  let opened: { path: string; facts: ModelFacts } | undefined;
  for (const side of plan.generated) {
    const isNew = side.model !== undefined && opened?.path !== side.model;
    if (isNew) {
      opened = { path: side.model!, facts: await worker.run('openModel', side.model!) };
    }
    const texts = needs.some((need) => need === 'similarity' || need === 'textRows') ? settings.prompts : [];
    const source =
      side.model === undefined
        ? folderSource(engine, settings.images!, 0, settings.count ?? Number.MAX_SAFE_INTEGER, texts)
        : makerOf(engine, settings, side, opened!.facts, count!, texts);
    await go(side, source, needs);
    // Of several guidance scales the first tells all.
    if (isNew) sayNotes(side.model!, await worker.run('notes', undefined), say);
  }
  if (settings.shard !== undefined) {
    const [i, n] = settings.shard;
    const all = settings.parts === undefined ? `<the run folders of all ${n} shards>` : `${dirname(settings.run!)}/*`;
    say(`Part ${i} of ${n} is in ${settings.run}. When all are done: evaluate merge ${all}`);
    return;
  }
  if (plan.generated.length === 0) return;
  const { name, version } = worker.engine;
  say(`Engine ${name} ${version}; ${((performance.now() - started) / 1000).toFixed(0)} s`);
  const out = computeEvaluation(plan, collected, say);
  if (settings.plot !== undefined) {
    await writePng(settings.plot, plotEvaluation(out, plan.metrics[0]!), { overwrite: true });
    say(`Wrote ${settings.plot}`);
  }
  result({ engine: name, seed: settings.seed ?? 0, data: settings.data ?? settings.reference ?? null, ...out });
}

/** Notes of a model that are shown whole: each of a thousand prompts may have one. */
const NOTES_SHOWN = 3;

/** Says what a model told while it made its pictures. */
function sayNotes(name: string, notes: readonly string[], say: CommandContext['say']): void {
  for (const note of notes.slice(0, NOTES_SHOWN)) say(`Note: ${name}: ${note}`);
  if (notes.length > NOTES_SHOWN) say(`Note: ${name}: ${notes.length - NOTES_SHOWN} more like these`);
}

/** The metrics that this network and all models can give. One that was asked for by name and does not fit is an error. */
async function fitting(
  { worker }: Engine,
  { metrics, asked, model = [] }: Settings,
  network: NetworkFacts,
  say: CommandContext['say'],
) {
  const wants = (need: Need) => metrics.filter(({ needs }) => needs.generated.includes(need));
  const [reader] = [...wants('similarity'), ...wants('textRows')];
  if (reader !== undefined && !network.readsTexts) {
    throw new InvalidArgumentError(reader.name, `needs a network that reads texts, got ${network.name}`);
  }
  const [labelled] = wants('labels');
  if (labelled === undefined) return metrics;
  const others: string[] = [];
  for (const path of new Set(model)) {
    const { classes } = await worker.run('openModel', path);
    if (classes.length > 0 && classes.join('\n') === network.classNames.join('\n')) continue;
    const shown = classes.slice(0, 10).join(', ') || 'none';
    others.push(`the classes of ${path} (${shown}) are not those of ${network.name}`);
  }
  if (others.length === 0) return metrics;
  if (asked) throw new InvalidArgumentError(labelled.name, others);
  say(`${labelled.name} is left out: ${others.join('; ')}`);
  return metrics.filter((metric) => metric !== labelled);
}

/**
 * How many pictures each model makes: one for each prompt where a model takes prompts, and as many real pictures are taken, since scores
 * of sets of different sizes do not compare. Undefined for pictures that are there already.
 */
async function madeCount(
  { worker, say }: Engine,
  { model = [], prompts, count }: Settings,
): Promise<number | undefined> {
  let reader: string | undefined;
  for (const path of new Set(model)) {
    const { takesPrompts } = await worker.run('openModel', path);
    if (takesPrompts) reader ??= path;
  }
  if (model.length === 0) return undefined;
  if (reader === undefined) return count ?? MODEL_COUNT;
  if (prompts.length === 0) {
    throw new InvalidArgumentError('--prompts', `${reader} makes pictures of prompts: expected a file of them`);
  }
  if (count !== undefined && count > prompts.length) {
    say?.(`--count ${count}: there are ${prompts.length} prompts, so ${prompts.length} pictures are made`);
  }
  return Math.min(count ?? prompts.length, prompts.length);
}

/** Which sides there are. The digits are compared with twice: with those that no model saw, and with those that ours are trained on. */
async function planOf(
  settings: Settings,
  metrics: readonly Metric[],
  count: number | undefined,
): Promise<EvaluationPlan> {
  const { model = [], data, reference, images, neighbours } = settings;
  const real: Side[] = [];
  if (reference !== undefined) real.push({ key: 'reference', name: reference });
  if (data === 'digits') {
    real.push({ key: 'real', name: 'digits:held-out', note: 'digits that train never shows to a model' });
    real.push({ key: 'real-train', name: 'digits:train', note: 'the digits that train shows to its models' });
  } else if (data !== undefined) {
    const notes = [...new Set(model.map((path) => trainedOn(path, data)))];
    real.push({ key: 'real', name: data, ...(notes.length > 0 && { note: notes.join('; ') }) });
  }
  const generated: Side[] = images === undefined ? [] : [{ key: 'images', name: images }];
  for (const [i, path] of model.entries()) {
    for (const guidance of settings.guidance ?? [undefined]) {
      const at = guidance === undefined ? '' : ` at guidance ${guidance}`;
      const key = `model-${i}${guidance === undefined ? '' : `-guidance-${guidance}`}`;
      generated.push({ key, name: `${path}${at}`, model: path, ...(guidance !== undefined && { guidance }) });
    }
  }
  const distances = metrics.some(
    ({ needs }) => needs.real?.includes('gaussian') && needs.generated.includes('gaussian'),
  );
  const floor = count !== undefined && data !== undefined && distances && (await dataCount(real[0]!.name)) >= 2 * count;
  return {
    ...{ metrics: metrics.map(({ name }) => name), features: settings.features, generated, real },
    options: neighbours === undefined ? {} : { k: neighbours },
    ...(floor && { floor: { key: 'real-other', name: `other pictures of ${real[0]!.name}` } }),
  };
}

/** What a run folder's configuration says of its data. */
const trainingData = z.looseObject({
  data: z.looseObject({ kind: z.string(), part: z.string().optional(), path: z.string().optional() }),
});

/** What is known of whether a model was trained on the pictures that it is scored against. */
export function trainedOn(model: string, data: string): string {
  const above = dirname(resolve(model));
  for (const folder of [model, above, dirname(above)]) {
    const file = join(folder, 'config.json');
    const parsed = existsSync(file) ? trainingData.safeParse(readJson(file)) : undefined;
    if (!parsed?.success) continue;
    const { kind, path = '', part = 'train' } = parsed.data.data;
    if (kind === 'latents') {
      return `${file} says that the model was trained on the latent images of ${quoted(path)}, not of which pictures; if these were among them, the scores flatter`;
    }
    if (kind !== 'folder' && kind !== 'digits') break;
    const same = kind === 'folder' ? overlap(resolve(data), resolve(path)) : sameDigits(data, part);
    return same
      ? `THE MODEL WAS TRAINED ON THESE PICTURES, as ${file} says`
      : `not those that ${file} says it was trained on`;
  }
  if (data === 'digits:train') return 'THE DIGITS THAT train SHOWS TO ITS MODELS';
  if (data === 'digits:held-out') return 'digits that train never shows to a model';
  return 'what the model was trained on is not known; if these pictures were among it, the scores flatter';
}

/** Whether two folders or archives are one, or one lies in the other. */
function overlap(a: string, b: string): boolean {
  return a === b || a.startsWith(b + sep) || b.startsWith(a + sep);
}

function sameDigits(data: string, part: string): boolean {
  return data === `digits:${part}` || (part === 'all' && data.startsWith('digits:'));
}

/** The pictures of a model: its classes in turn, or a picture for each prompt. */
function makerOf(
  engine: Engine,
  settings: Settings,
  { name, guidance }: Side,
  facts: ModelFacts,
  count: number,
  texts: readonly string[],
): Source {
  const { solver, steps, seed = 0, prompts } = settings;
  const asked = facts.takesPrompts ? prompts : [];
  const labels = Array.from({ length: facts.classes.length === 0 ? 0 : count }, (_, i) => i % facts.classes.length);
  if (!facts.takesPrompts && texts.length > 0) {
    throw new InvalidArgumentError('--prompts', `${name} makes pictures of classes, not of prompts`);
  }
  const maker = modelSource(engine, basename(name), count, {
    ...{ seed, labels, prompts: asked.slice(0, count) },
    ...(guidance !== undefined && { guidance }),
    ...(solver !== undefined && { solver }),
    ...(steps !== undefined && { steps }),
  });
  return texts.length === 0 ? maker : withTexts(engine, maker, texts.slice(0, count));
}
