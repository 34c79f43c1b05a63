import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { JobContext } from '@mezzotint/backend/worker';
import { parseJson, readingBudget, seedPlus, type WeightSource } from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';
import {
  type FeatureNetwork,
  type FeatureRows,
  featureNetworkNamed,
  type PictureBytes,
  readPictures,
} from '@mezzotint/features';
import type { Features } from '@mezzotint/metrics';
import type { Pipeline } from '@mezzotint/pipelines';
import type { SolverName } from '@mezzotint/schedulers';
import { clipKeyMap, translate } from '@mezzotint/weights';
import { readJson, readWeights } from '@mezzotint/weights/node';

/** What the main thread knows of an opened feature network. */
export type NetworkFacts = Pick<FeatureNetwork, 'name' | 'dimension' | 'classes' | 'recipe'> & {
  readonly readsTexts: boolean;
  /** Names of a classifier's classes. */
  readonly classNames: readonly string[];
};

/** What the main thread knows of an opened model. */
export interface ModelFacts {
  readonly classes: readonly string[];
  readonly takesPrompts: boolean;
}

/** Pictures to make: those with the seeds `seed`, `seed + 1`, ... */
export interface MakingPlan {
  readonly seed: number | string;
  readonly count: number;
  readonly labels: readonly number[];
  readonly prompts: readonly string[];
  readonly guidance?: number;
  readonly solver?: SolverName;
  readonly steps?: number;
}

/** Jobs of the engine's thread: a network that judges pictures, and a model that makes them; for `serveJobs`. */
export function evaluationJobs() {
  let network: FeatureNetwork | undefined;
  let pipeline: Pipeline | undefined;
  /** What the model told, each line once. */
  let notes = new Set<string>();

  const judge = (pictures: readonly PictureBytes[]): Promise<FeatureRows> => readPictures(network!, pictures);

  return {
    /** Opens a feature network from its files. */
    async openFeatures({ name, weights }: { name: string; weights: readonly string[] }): Promise<NetworkFacts> {
      network?.dispose();
      network = undefined;
      const record = featureNetworkNamed(name);
      const files = await Promise.all(weights.map((path) => readWeights(path)));
      const config = configBeside(weights[0]!);
      try {
        const vocabulary = vocabularyBeside(weights[0]!);
        network = await record.open({
          weights: files.map(inOurLayout),
          ...(config !== undefined && { config }),
          ...(vocabulary && { vocabulary }),
        });
      } finally {
        for (const file of files) file.close();
      }
      const { dimension, classes, recipe } = network;
      const classNames = (config as { classes?: string[] } | undefined)?.classes ?? [];
      return { name, dimension, classes, recipe, readsTexts: network.embedText !== undefined, classNames };
    },

    /** Rows of pictures of any sizes. */
    judge,

    /** Rows of texts, in the space of the pictures'. */
    async embedTexts(texts: readonly string[]): Promise<Features> {
      const embeds = network!.embedText!(texts);
      try {
        return { data: (await embeds.data()) as Float32Array, count: texts.length, dim: embeds.shape[1] };
      } finally {
        embeds.dispose();
      }
    },

    /** Opens a model in the place of the one before. */
    async openModel(path: string): Promise<ModelFacts> {
      pipeline?.dispose();
      pipeline = undefined;
      const { openPipeline } = await import('@mezzotint/pipelines/node'); // large, and folders of pictures need none of it
      pipeline = await openPipeline(path);
      notes = new Set(pipeline.notes);
      return { classes: pipeline.classes, takesPrompts: pipeline.takes.includes('prompt') };
    },

    /** What a user should know of the opened model and of the pictures that it made, such as ends of prompts that were cut. */
    async notes(): Promise<readonly string[]> {
      return [...notes];
    },

    /** Makes pictures and judges them; reports steps done and in all. */
    async makeAndJudge(
      plan: MakingPlan,
      { signal, report }: JobContext<readonly [number, number]>,
    ): Promise<FeatureRows> {
      const { seed, count, labels, prompts, ...settings } = plan;
      const onProgress = ({ done, total }: { done: number; total: number }) => report([done, total]);
      const seeds = Array.from({ length: count }, (_, i) => seedPlus(seed, i));
      const asked =
        prompts.length > 0 ? { prompt: [...prompts] } : labels.length > 0 ? { labels: [...labels] } : { count };
      const { images } = await pipeline!.generate(
        { ...asked, ...settings, seeds, batch: count },
        { signal, onProgress, onNote: (line) => notes.add(line) },
      );
      return judge(images);
    },
  };
}

export type EvaluationJobs = ReturnType<typeof evaluationJobs>;

/** The parsed config.json beside a file of weights or inside a folder. */
function configBeside(path: string): unknown {
  const file = join(folderOf(path), 'config.json');
  return existsSync(file) ? readJson(file) : undefined;
}

/** vocab.json and merges.txt beside a file of weights or inside a folder. */
function vocabularyBeside(path: string): { readonly vocab: unknown; readonly merges: string } | undefined {
  const [vocab, merges] = ['vocab.json', 'merges.txt'].map((name) => join(folderOf(path), name)) as [string, string];
  if (!existsSync(vocab) || !existsSync(merges)) return undefined;
  const text = (file: string) => readPlainText(file, readingBudget.textBytes);
  return { vocab: parseJson(text(vocab)), merges: text(merges) };
}

/** The folder of a file of weights, or the folder itself. */
function folderOf(path: string): string {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ? path : dirname(path);
}

/** OpenCLIP's layout in transformers'; all else as it is. */
function inOurLayout(source: WeightSource): WeightSource {
  const names = [...source.tensors.keys()];
  return names.includes('visual.proj') ? translate(source, clipKeyMap(names, 'left'), 'right') : source;
}
