import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { flagOf, readConfig, readPrompts } from '@mezzotint/app';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import { shardOf } from '@mezzotint/distributed';
import { featureNetworkNamed, whereToGet } from '@mezzotint/features';
import { type Metric, metricNamed } from '@mezzotint/metrics';
import { z } from 'zod';
import { type EvaluateFlags, evaluateCommand } from './command.js';

/** A configuration file: settings by the names of the flags in camelCase, a list where a flag takes several. */
const fileSchema = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean(), z.array(z.union([z.string(), z.number()])).min(1)]),
);

/** The settings of a configuration file, through the parsers of the flags. */
function readSettings(path: string): EvaluateFlags {
  const command = evaluateCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  const argv = Object.entries(readConfig(path, fileSchema)).flatMap(([name, value]) => {
    const flag = flagOf(name);
    if (typeof value === 'boolean') return value ? [flag] : [];
    const several = ['model', 'featuresWeights'].includes(name) && Array.isArray(value);
    return several ? value.flatMap((one) => [flag, String(one)]) : [flag, String(value)];
  });
  try {
    return command.parse(argv, { from: 'user' }).opts<EvaluateFlags>();
  } catch (error) {
    throw new InvalidFileError(path, (error as Error).message, { cause: error });
  }
}

/** What an evaluation does, with everything filled in. */
export type Settings = Omit<
  EvaluateFlags,
  'metrics' | 'features' | 'featuresWeights' | 'classifier' | 'prompts' | 'sourcePrompts'
> & {
  readonly features: string;
  readonly featuresWeights: readonly string[];
  readonly metrics: readonly Metric[];
  /** They were asked for by name. */
  readonly asked: boolean;
  /** Prompts of the pictures that are scored; empty without. */
  readonly prompts: readonly string[];
  /** Prompts of the pictures in --data; empty without. */
  readonly sourcePrompts: readonly string[];
  readonly batch: number;
  /** The folder of all shards, where the environment says which this process has. */
  readonly parts?: string;
};

/** Where a process of several stores its part. */
export function shardFolder(parts: string, [i, n]: readonly [number, number]): string {
  return join(parts, `shard-${i}-of-${n}`);
}

/** Metrics of picture i beside picture i of --data, in the order of their names, which need all of the data. */
export const pairedMetrics: readonly string[] = ['clip-image', 'clip-directional'];

/** The classifier that comes with the project, seen from its root: it needs no downloaded weights. */
const SHIPPED = 'models/digits-classifier';

/** Flags over the configuration file's settings over the defaults; all that does not fit together in one error. */
export function mergeSettings(flags: EvaluateFlags): Settings {
  const merged: EvaluateFlags = { ...(flags.config !== undefined && readSettings(flags.config)), ...flags };
  const { model = [], images, data, reference, classifier } = merged;
  const problems: string[] = [];
  if (model.length === 0 && images === undefined && !(data !== undefined && merged.saveStatistics !== undefined)) {
    problems.push(
      '--model or --images: expected pictures to score, for example --model models/digits (or --data with --save-statistics)',
    );
  }
  if (merged.sigmaRel !== undefined && model.length === 0) problems.push('--sigma-rel: expected --model, a run folder');
  if (model.length > 0 && images !== undefined) problems.push('--model, --images: expected one of them, got both');
  if (data !== undefined && reference !== undefined)
    problems.push('--data, --reference: expected one of them, got both');
  if (merged.saveStatistics !== undefined && data === undefined) {
    problems.push('--save-statistics: writes those of --data, which is missing');
  }
  const place = merged.shard === undefined ? shardOf(undefined) : undefined;
  if (merged.shard !== undefined && merged.run === undefined) {
    problems.push('--shard: expected --run, the folder for its part');
  }
  if (place !== undefined && merged.run === undefined) {
    problems.push(`--run: expected the folder for all parts, as this is process ${place.join(' of ')}`);
  }
  if (merged.saveStatistics !== undefined && (merged.shard ?? place) !== undefined) {
    problems.push('--save-statistics: a part has only its own pictures; write the statistics in one process');
  }
  if (merged.resume && merged.run === undefined) problems.push('--resume: expected --run, the folder of checkpoints');
  const shipped = existsSync(SHIPPED) ? SHIPPED : undefined;
  const features = merged.features ?? (classifier !== undefined || shipped ? 'classifier' : undefined);
  if (features === undefined) {
    problems.push(
      `--features or --classifier: expected a network that judges, for example --classifier ${SHIPPED}, which needs no downloaded weights`,
    );
  }
  const weights = merged.featuresWeights ?? (features === 'classifier' ? [classifier ?? shipped!] : []);
  if (features !== undefined) {
    const record = featureNetworkNamed(features);
    if (weights.length === 0) problems.push(`--features-weights: none given. ${whereToGet(record)}`);
  }
  const wanted = (merged.metrics ?? (problems.length === 0 ? defaultMetrics(features!, merged) : [])).map(metricNamed);
  // A model makes a picture of each prompt; elsewhere line i belongs to picture i.
  const paired = images !== undefined || wanted.some(({ name }) => pairedMetrics.includes(name));
  const prompts = merged.prompts === undefined ? [] : readPrompts('--prompts', merged.prompts, { paired });
  const sourcePrompts =
    merged.sourcePrompts === undefined ? [] : readPrompts('--source-prompts', merged.sourcePrompts, { paired: true });
  for (const { name, needs } of wanted) {
    const texts = needs.generated.some((need) => need === 'similarity' || need === 'textRows');
    if (needs.real !== undefined && data === undefined && reference === undefined) {
      problems.push(`${name}: needs --data or --reference to compare with`);
    }
    if (texts && prompts.length === 0) problems.push(`${name}: needs --prompts`);
    if (needs.real?.includes('textRows') && merged.sourcePrompts === undefined) {
      problems.push(`${name}: needs --source-prompts, those of the pictures in --data`);
    }
    if (pairedMetrics.includes(name) && merged.count !== undefined) {
      problems.push(`${name}: compares pairs in the order of their names; leave --count out`);
    }
    if (needs.generated.includes('labels') && model.length === 0)
      problems.push(`${name}: needs --model, which is asked for labels`);
  }
  if (problems.length === 0 && wanted.length === 0 && (model.length > 0 || images !== undefined)) {
    problems.push(
      '--data or --reference: expected pictures or statistics to compare with, or --metrics that need none',
    );
  }
  if (problems.length > 0) throw new InvalidArgumentError('evaluate', problems);
  return {
    ...merged,
    ...(place && merged.run !== undefined && { shard: place, run: shardFolder(merged.run, place), parts: merged.run }),
    ...{ features: features!, featuresWeights: weights, metrics: wanted },
    ...{ prompts, sourcePrompts, asked: merged.metrics !== undefined },
    batch: merged.batch ?? (features === 'classifier' ? 100 : 32),
  };
}

/** What the field computes with a network. */
function defaultMetrics(features: string, { model, images, data, reference, prompts }: EvaluateFlags): string[] {
  const scored = (model?.length ?? 0) > 0 || images !== undefined;
  const rows = data !== undefined;
  const compared = rows || reference !== undefined;
  if (!scored) return [];
  if (features === 'lpips') return ['lpips-diversity'];
  if (prompts !== undefined && /clip/.test(features)) return ['clip-score', ...(rows ? ['cmmd'] : [])];
  if (/clip/.test(features)) return rows ? ['cmmd'] : ['fid'];
  if (/dinov2/.test(features)) return ['fd-dinov2', ...(rows ? ['prdc'] : [])];
  const distances = [...(compared ? ['fid'] : []), ...(rows ? ['kid-all', 'prdc'] : [])];
  if (features === 'classifier') return [...(compared ? distances : []), ...(model ? ['label-accuracy'] : [])];
  return [...(compared ? ['fid'] : []), ...(rows ? ['kid', 'prdc'] : []), 'is'];
}
