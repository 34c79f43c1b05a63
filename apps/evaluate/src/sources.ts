import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { openImages, parseImageSource } from '@mezzotint/app';
import type { EngineWorker } from '@mezzotint/backend/worker';
import { deriveSeed, InvalidArgumentError, listed, NumpyRandomState, seedPlus } from '@mezzotint/core';
import { type ImageSet, pictureFiles, readImage, splitImages } from '@mezzotint/data';
import type { PictureBytes } from '@mezzotint/features';
import type { Source } from '@mezzotint/metrics/node';
import type { EvaluationJobs, MakingPlan } from './engine-jobs.js';

/** The engine's thread, and the signal that stops its jobs. */
export interface Engine {
  readonly worker: EngineWorker<EvaluationJobs>;
  readonly signal: AbortSignal;
  /** A line for the user. */
  say?(line: string): void;
}

/** Seed of the order in which a part of a larger set is taken. */
const ORDER_SEED = 1;

/**
 * Pictures of a folder, `take` of them from `from` on in the fixed order, or all in the order of their names.
 *
 * @param texts one for each file in the order of their names, or none
 */
export function folderSource(
  engine: Engine,
  folder: string,
  from: number,
  take: number,
  texts: readonly string[] = [],
): Source {
  const files = pictureFiles(folder, (endings) => {
    const counts = Object.entries(endings).map(([ending, count]) => `${count} ${ending || 'without an ending'}`);
    engine.say?.(`${folder}: passed over ${listed(counts)}`);
  });
  if (texts.length > 0 && texts.length !== files.length) {
    const problem = `expected ${files.length} prompts, one for each picture in the order of their names, got ${texts.length}`;
    throw new InvalidArgumentError(folder, problem);
  }
  const whole = from === 0 && take >= files.length;
  const order = whole
    ? files.map((_, i) => i)
    : [...new NumpyRandomState(deriveSeed(ORDER_SEED, 'split')).permutation(files.length).slice(from, from + take)];
  const picked = order.map((i) => files[i]!);
  const source: Source = {
    name: folder,
    count: picked.length,
    identity: createHash('sha256').update(picked.join('\n')).digest('hex'),
    async judge(first, count) {
      const paths = picked.slice(first, first + count).map((file) => join(folder, file));
      const pictures = await Promise.all(paths.map((path) => readImage(path)));
      return engine.worker.run('judge', pictures, { signal: engine.signal });
    },
  };
  return texts.length === 0
    ? source
    : withTexts(
        engine,
        source,
        order.map((i) => texts[i]!),
      );
}

/** Pictures in memory: the digits. */
function setSource({ worker, signal }: Engine, name: string, { images, count, ...of }: ImageSet): Source {
  const size = images.length / count;
  return {
    name,
    count,
    identity: createHash('sha256').update(images).digest('hex'),
    judge(first, length) {
      const picture = (i: number): PictureBytes => {
        const data = images.slice((first + i) * size, (first + i + 1) * size);
        return { data, height: of.height, width: of.width, channels: of.channels };
      };
      return worker.run(
        'judge',
        Array.from({ length }, (_, i) => picture(i)),
        { signal },
      );
    },
  };
}

/** `digits`, `digits:train`, `digits:held-out` or a folder: `take` of its pictures from `from` on in the fixed order. */
export async function dataSource(
  engine: Engine,
  data: string,
  from: number,
  take: number,
  texts: readonly string[] = [],
): Promise<Source> {
  const source = parseImageSource(data, 1, 3);
  if (source.kind === 'folder') return folderSource(engine, data, from, take, texts);
  const digits = await openImages(source);
  const kept = Math.min(take, digits.count - from);
  const sizes = from > 0 ? [from, kept] : [kept];
  return setSource(engine, data, kept === digits.count ? digits : splitImages(digits, sizes, ORDER_SEED).at(-1)!);
}

/** How many pictures a source of data has. */
export async function dataCount(data: string): Promise<number> {
  const source = parseImageSource(data, 1, 3);
  return source.kind === 'folder' ? pictureFiles(data).length : (await openImages(source)).count;
}

/** Pictures that the opened model makes; picture i has the seed `seed + i`. */
export function modelSource(
  { worker, signal }: Engine,
  name: string,
  count: number,
  plan: Omit<MakingPlan, 'count'>,
): Source {
  const { labels, prompts, seed } = plan;
  return {
    name,
    count,
    identity: JSON.stringify([name, count, plan]),
    async judge(first, length, onPart) {
      const part = <T>(of: readonly T[]) => of.slice(first, first + length);
      const making = {
        ...plan,
        seed: seedPlus(seed, first),
        count: length,
        labels: part(labels),
        prompts: part(prompts),
      };
      const onReport = ([done, total]: readonly [number, number]) => onPart(done / total);
      const judged = await worker.run('makeAndJudge', making, { signal, onReport });
      return { ...judged, ...(labels.length > 0 && { labels: part(labels) }) };
    },
  };
}

/** A source whose pictures have texts, one each. */
export function withTexts({ worker, signal }: Engine, source: Source, texts: readonly string[]): Source {
  const ids = new Map([...new Set(texts)].map((text, i) => [text, i]));
  return {
    ...source,
    identity: JSON.stringify([source.identity, texts]),
    async judge(first, count, onPart) {
      const judged = await source.judge(first, count, onPart);
      const own = texts.slice(first, first + count);
      const textIds = own.map((text) => ids.get(text)!);
      return { ...judged, texts: await worker.run('embedTexts', own, { signal }), textIds };
    },
  };
}
