import {
  type HostTensor,
  InvalidArgumentError,
  type KeptType,
  type StoredTensor,
  type WeightSource,
} from '@mezzotint/core';
import { type Change, changed, changedBias, readChange } from './change.js';
import { type LoraSource, notedStrengths } from './notes.js';
import { type LoraLayer, type LoraModelName, parseLora } from './parse.js';
import { bestLayout, type LoraModels } from './targets.js';

/** How much of a LoRA file changes the models that were given. */
export interface LoraApplied {
  readonly layers: number;
  /** Tensors that are used, of all in the file. */
  readonly tensors: number;
  readonly total: number;
}

/** How a LoRA is merged. */
export interface MergeLoraOptions {
  /** Strength; 1 is the LoRA as trained. */
  readonly scale?: number;
  /** Alpha of layers whose file does not say; the rank when absent. */
  readonly alpha?: number;
  /** Told how much of the file was applied, before anything is read. */
  readonly onApplied?: (applied: LoraApplied) => void;
  /** Merge into these models only and leave the rest of the file out on purpose; all of it when absent. */
  readonly only?: readonly LoraModelName[];
}

/**
 * Merges a LoRA file into models as they are loaded: W' = W + scale (alpha / rank) up down (Hu et al. 2021); of DoRA
 * (Liu et al. 2024) then with the file's lengths of rows, of LoCon with a convolution between up and down; LoKr and LoHa (LyCORIS) with
 * their products. The file may
 * name layers as diffusers or as the original does, with dots or underscores; alpha is a layer's own, else what the notes
 * in the file's header say (peft's), else `alpha`. Returns the models that were given, changed when their tensors are read.
 *
 * Throws an InvalidArgumentError that lists every layer that finds no home, every model that the file changes and that
 * was not given, and every matrix that does not fit its layer; then nothing is merged.
 */
export async function mergeLora<M extends LoraModels>(
  models: M,
  lora: LoraSource,
  { scale = 1, alpha, only, onApplied }: MergeLoraOptions = {},
): Promise<{ [K in keyof M]: WeightSource }> {
  const layers = parseLora(lora).filter(({ target }) => only === undefined || only.includes(target));
  const noted = notedStrengths(lora);
  const problems: string[] = [];
  const merged: Partial<Record<LoraModelName, WeightSource>> = { ...models };
  for (const target of new Set(layers.map((layer) => layer.target))) {
    const source = models[target];
    const own = layers.filter((layer) => layer.target === target);
    if (source === undefined) {
      problems.push(`${own.length} layers are for ${target}, which was not given`);
      continue;
    }
    const { view, back, homes } = bestLayout(source, own);
    const changes = new Map<string, Change>();
    const biases = new Map<string, Change>();
    for (const layer of own) {
      const home = homes.get(layer);
      if (home === undefined) problems.push(`${target}: ${layer.layer} finds no home`);
      else {
        const change = await readChange(lora, layer, view.tensors.get(home)!.shape, noted(layer), alpha);
        if (typeof change === 'string') problems.push(`${target}: ${layer.layer} ${change} (${home})`);
        else if (changes.has(home)) problems.push(`${target}: two layers change ${home}`);
        else {
          changes.set(home, change);
          const problem = layer.bias === undefined ? undefined : biasMisfit(lora, layer.bias, view, home);
          if (problem !== undefined) problems.push(`${target}: ${layer.layer} ${problem}`);
          else if (layer.bias !== undefined) biases.set(biasOf(home), change);
        }
      }
    }
    merged[target] = back(withChanges(view, lora, { changes, biases }, scale));
  }
  if (problems.length > 0) {
    const shown = problems.slice(0, 40);
    if (problems.length > shown.length) shown.push(`… and ${problems.length - shown.length} more`);
    throw new InvalidArgumentError(`${lora.name} does not fit`, shown);
  }
  const used = layers.flatMap(tensorsOf);
  onApplied?.({ layers: layers.length, tensors: used.length, total: lora.tensors.size });
  return merged as { [K in keyof M]: WeightSource };
}

/** Every tensor of the file that a layer is made of. */
function tensorsOf({ change, alpha, magnitude, bias }: LoraLayer): string[] {
  const own = change.kind === 'low-rank' ? [change.down, change.up, change.mid] : [...change.w1, ...change.w2];
  return [...own, alpha, magnitude, bias].filter((name) => name !== undefined);
}

/** The bias of the layer whose weight this is. */
function biasOf(weight: string): string {
  return weight.replace(/weight$/, 'bias');
}

function biasMisfit(lora: WeightSource, bias: string, view: WeightSource, weight: string): string | undefined {
  const [given, own] = [lora.tensors.get(bias)!.shape, view.tensors.get(biasOf(weight))?.shape];
  if (own !== undefined && String(given) === String(own)) return undefined;
  return `has a bias [${given}], the layer ${own === undefined ? 'none' : `[${own}]`}`;
}

function withChanges(
  source: WeightSource,
  lora: WeightSource,
  { changes, biases }: { readonly changes: ReadonlyMap<string, Change>; readonly biases: ReadonlyMap<string, Change> },
  scale: number,
): WeightSource {
  const { take } = source;
  const isChanged = (name: string) => changes.has(name) || biases.has(name);
  const read = async (name: string): Promise<HostTensor> => {
    const weight = await source.read(name);
    const change = changes.get(name);
    if (change !== undefined) return changed(weight, lora, change, scale);
    const bias = biases.get(name);
    return bias === undefined ? weight : changedBias(weight, lora, bias, scale);
  };
  return {
    name: source.name,
    tensors: new Map(
      [...source.tensors].map(([name, tensor]) => [name, isChanged(name) ? { ...tensor, dtype: 'F32' } : tensor]),
    ),
    read,
    ...(take && {
      take: async (name: string, keep?: readonly KeptType[]): Promise<StoredTensor> =>
        isChanged(name) ? { ...(await read(name)), dtype: 'float32' } : take.call(source, name, keep),
    }),
  };
}
