import type { Module, WeightDifferences, WeightSource } from '@mezzotint/core';
import {
  type Dropped,
  findLoraTargets,
  type LoraModels,
  type LoraTarget,
  type Move,
  type Translation,
} from '@mezzotint/weights';
import { readLora } from '@mezzotint/weights/node';

/** Where the tensors of one part of a model went, and how they differ from what the part loads. */
export interface PartExplanation extends WeightDifferences {
  readonly part: string;
  readonly moves: readonly Move[];
  readonly unused: readonly Dropped[];
}

/** Where the layers of a LoRA file go. */
export interface LoraExplanation {
  readonly file: string;
  readonly layers: readonly LoraTarget[];
  /** Tensors that are no layer of a plain LoRA. */
  readonly problems: readonly string[];
}

/** Where everything in the files of a model goes. */
export interface Explanation {
  readonly model: string;
  /** What a model in one file was taken for, and why. */
  readonly taken: string | null;
  readonly parts: readonly PartExplanation[];
  /** Tensors that belong to no part and are not needed. */
  readonly unused: readonly Dropped[];
  /** Tensors that have no place. */
  readonly problems: readonly string[];
  readonly loras: readonly LoraExplanation[];
  /** How many things do not fit. */
  readonly misfits: number;
}

/** A part by its module and its weights, which may be translated from another layout; no tensor is read. */
export function explainPart(
  part: string,
  module: Module,
  weights: WeightSource & Partial<Pick<Translation, 'moves' | 'dropped'>>,
): PartExplanation {
  const same = () => [...weights.tensors.keys()].map((name) => ({ from: [name], to: [name], op: 'same' as const }));
  return { part, moves: weights.moves ?? same(), unused: weights.dropped ?? [], ...module.compare(weights) };
}

/** A LoRA file beside the models that it may change; without models, its layers' own names are all there is to say. */
export async function explainLora(path: string, models: LoraModels | undefined): Promise<LoraExplanation> {
  const file = await readLora(path);
  try {
    const problems: string[] = [];
    const layers = findLoraTargets(models ?? {}, file, { report: (problem) => problems.push(problem) });
    return {
      file: path,
      layers: models ? layers : layers.map((layer) => ({ ...layer, problem: undefined })),
      problems,
    };
  } finally {
    file.close();
  }
}

/** The whole, with its misfits counted. */
export function explanationOf(found: Omit<Explanation, 'misfits'>): Explanation {
  const ofPart = ({ missing, unexpected, mismatched }: PartExplanation) =>
    missing.length + unexpected.length + mismatched.length;
  const ofLora = ({ layers, problems }: LoraExplanation) =>
    layers.filter(({ problem }) => problem !== undefined).length + problems.length;
  const sum = <T>(list: readonly T[], count: (item: T) => number) => list.reduce((n, item) => n + count(item), 0);
  return { ...found, misfits: sum(found.parts, ofPart) + found.problems.length + sum(found.loras, ofLora) };
}
