import { InvalidArgumentError, seedPlus } from '@mezzotint/core';
import { parseLabels } from './labels.js';
import type { Request, Settings } from './request.js';
import type { Batch, ImageJob } from './stage.js';

/** Texts beside the prompt, of which there may be one for all prompts. */
const PER_PROMPT = ['negative', 'secondPrompt', 'secondNegative', 'thirdPrompt', 'thirdNegative'] as const;

/**
 * The pictures of a request: every prompt or label, `count` times; picture i has the seed `seed + i`.
 *
 * @param classes names of the classes, for a model with labels
 * @throws InvalidArgumentError when lists do not fit together
 */
export function jobsOf(request: Request, classes: readonly string[] | undefined): ImageJob[] {
  const problems: string[] = [];
  const prompts = listOf(request.prompt);
  const labels = classes === undefined || classes.length === 0 ? null : labelsOf(request.labels, classes);
  const subjects = labels?.length ?? Math.max(prompts?.length ?? 1, 1);
  const total = subjects * (request.count ?? 1);
  const { seeds, seed = 0 } = request;
  if (seeds !== undefined && seeds.length !== total)
    problems.push(`seeds: expected one for each of the ${total} pictures, got ${seeds.length}`);
  const perPrompt = (key: (typeof PER_PROMPT)[number]) => {
    const given = listOf(request[key]);
    if (given === undefined) return () => null;
    if (given.length === 1) return () => given[0]!;
    if (given.length !== subjects)
      problems.push(`${key}: expected one, or one for each of the ${subjects} prompts, got ${given.length}`);
    return (i: number) => given[i] ?? null;
  };
  const texts = PER_PROMPT.map((key) => [key, perPrompt(key)] as const);
  if (problems.length > 0) throw new InvalidArgumentError('request', problems);
  return Array.from({ length: total }, (_, index) => {
    const subject = Math.floor(index / (request.count ?? 1));
    return {
      index,
      seed: seedPlus(seeds?.[index] ?? seed, seeds === undefined ? index : 0),
      prompt: prompts?.[subject] ?? '',
      ...(Object.fromEntries(texts.map(([key, of]) => [key, of(subject)])) as Pick<
        ImageJob,
        (typeof PER_PROMPT)[number]
      >),
      label: labels?.[subject] ?? null,
    };
  });
}

/** Pictures that are computed at once, in order. */
export function batchesOf(jobs: readonly ImageJob[], settings: Settings): Batch[] {
  const { batch } = settings;
  return Array.from({ length: Math.ceil(jobs.length / batch) }, (_, i) => ({
    settings,
    images: jobs.slice(i * batch, (i + 1) * batch),
  }));
}

function listOf(value: string | readonly string[] | undefined): readonly string[] | undefined {
  return typeof value === 'string' ? [value] : value;
}

/** Class indices of a setting; all classes where it is left out. */
export function labelsOf(
  labels: string | readonly number[] | undefined,
  classes: readonly string[],
): readonly number[] {
  if (labels === undefined) return classes.map((_, i) => i);
  if (typeof labels === 'string') return parseLabels(labels, classes);
  const wrong = labels.filter((label) => label >= classes.length);
  if (wrong.length > 0) {
    throw new InvalidArgumentError(
      'labels',
      `expected 0 to ${classes.length - 1}, got ${wrong.slice(0, 10).join(', ')}`,
    );
  }
  return labels;
}
