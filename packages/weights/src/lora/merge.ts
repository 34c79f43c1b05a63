import {
  type HalfType,
  type HostTensor,
  InvalidArgumentError,
  type StoredTensor,
  sizeOf,
  type WeightSource,
} from '@mezzotint/core';
import { recognise } from '../checkpoint/recognise.js';
import { fluxKeyMap } from '../key-maps/flux.js';
import type { KeyMap, Side } from '../key-maps/key-map.js';
import { sd3KeyMap } from '../key-maps/sd3.js';
import { type FitOptions, translate } from '../key-maps/translate.js';
import { unetKeyMap } from '../key-maps/unet.js';
import { type LoraLayer, type LoraTarget, parseLora } from './parse.js';

/** Models to merge into, by what LoRA files call them. */
export type LoraModels = Readonly<Partial<Record<LoraTarget, WeightSource>>>;

/** How a LoRA is merged. */
export interface MergeLoraOptions {
  /** Strength; 1 is the LoRA as trained. */
  readonly scale?: number;
  /** Alpha of layers whose file does not say (peft keeps it in `adapter_config.json`); the rank when absent. */
  readonly alpha?: number;
  /** Merge into these models only and leave the rest of the file out on purpose; all of it when absent. */
  readonly only?: readonly LoraTarget[];
}

/**
 * Merges a LoRA file into models as they are loaded: W' = W + scale (alpha / rank) up down (Hu et al. 2021). The file may
 * name layers as diffusers or as the original does, with dots or underscores. Returns the models that were given, changed
 * when their tensors are read.
 *
 * Throws an InvalidArgumentError that lists every layer that finds no home, every model that the file changes and that
 * was not given, and every matrix that does not fit its layer; then nothing is merged.
 */
export async function mergeLora<M extends LoraModels>(
  models: M,
  lora: WeightSource,
  { scale = 1, alpha, only }: MergeLoraOptions = {},
): Promise<{ [K in keyof M]: WeightSource }> {
  const layers = parseLora(lora).filter(({ target }) => only === undefined || only.includes(target));
  const problems: string[] = [];
  const merged: Partial<Record<LoraTarget, WeightSource>> = { ...models };
  for (const target of new Set(layers.map((layer) => layer.target))) {
    const source = models[target];
    const own = layers.filter((layer) => layer.target === target);
    if (source === undefined) {
      problems.push(`${own.length} layers are for ${target}, which was not given`);
      continue;
    }
    const { view, back, homes } = bestLayout(source, own);
    const deltas = new Map<string, Delta>();
    for (const layer of own) {
      const home = homes.get(layer);
      if (home === undefined) problems.push(`${target}: ${layer.layer} finds no home`);
      else {
        const delta = await readDelta(lora, layer, view.tensors.get(home)!.shape, alpha);
        if (typeof delta === 'string') problems.push(`${target}: ${layer.layer} ${delta} (${home})`);
        else if (deltas.has(home)) problems.push(`${target}: two layers change ${home}`);
        else deltas.set(home, delta);
      }
    }
    merged[target] = back(withDeltas(view, lora, deltas, scale));
  }
  if (problems.length > 0) {
    const shown = problems.slice(0, 40);
    if (problems.length > shown.length) shown.push(`… and ${problems.length - shown.length} more`);
    throw new InvalidArgumentError(`${lora.name} does not fit`, shown);
  }
  return merged as { [K in keyof M]: WeightSource };
}

interface Layout {
  /** The model in the layout that the file's names are in. */
  readonly view: WeightSource;
  /** From that layout to the model's own. */
  back(view: WeightSource): WeightSource;
  /** The weight that each layer changes. */
  readonly homes: ReadonlyMap<LoraLayer, string>;
  /** What the model itself calls a weight of the view. */
  ownName(name: string): string;
}

/** The model's own layout or the other one that it is published in, whichever more layers find their home in. */
function bestLayout(source: WeightSource, layers: readonly LoraLayer[]): Layout {
  const own: Layout = {
    view: source,
    back: (view) => view,
    homes: findHomes(source, layers),
    ownName: (name) => name,
  };
  if (own.homes.size === layers.length) return own;
  const other = otherLayout(source);
  if (other === undefined) return own;
  const { keyMap, side } = other;
  const view = translate(source, keyMap(source.tensors.keys(), side), side);
  const opposite = side === 'left' ? 'right' : 'left';
  const back = (changed: WeightSource) => translate(changed, keyMap(changed.tensors.keys(), opposite), opposite);
  const homes = findHomes(view, layers);
  const ownName = (name: string) => view.moves.find(({ to }) => to.includes(name))?.from.join(' + ') ?? name;
  return homes.size > own.homes.size ? { view, back, homes, ownName } : own;
}

interface OtherLayout {
  keyMap(names: Iterable<string>, from: Side): KeyMap;
  readonly side: Side;
}

function otherLayout(source: WeightSource): OtherLayout | undefined {
  const found = recognise(source.tensors.keys());
  const side = found?.layout === 'original' ? 'left' : 'right';
  switch (found?.model) {
    case 'sd-unet':
      return { keyMap: unetKeyMap, side };
    case 'sd3':
      return { keyMap: sd3KeyMap, side };
    case 'flux':
      return { keyMap: fluxKeyMap, side };
    default:
      return undefined;
  }
}

function findHomes(source: WeightSource, layers: readonly LoraLayer[]): Map<LoraLayer, string> {
  const byName = new Map<string, string | null>();
  for (const name of source.tensors.keys()) {
    if (!name.endsWith('.weight')) continue;
    const key = normal(name.slice(0, -'.weight'.length));
    byName.set(key, byName.has(key) ? null : name); // null: two layers have this name without dots.
  }
  const homes = new Map<LoraLayer, string>();
  for (const layer of layers) {
    for (const spelling of spellings(layer)) {
      const home = byName.get(normal(spelling));
      if (typeof home === 'string') {
        homes.set(layer, home);
        break;
      }
    }
  }
  return homes;
}

/** Names without dots, as kohya writes them. */
function normal(name: string): string {
  return name.replaceAll('.', '_');
}

const OLD_TEXT_ATTENTION: Readonly<Record<string, string>> = {
  to_q: 'q_proj',
  to_k: 'k_proj',
  to_v: 'v_proj',
  to_out: 'out_proj',
};

/** How a layer may be called: diffusers once wrote `attn1.processor.to_out_lora` for `attn1.to_out.0`. */
function spellings({ layer }: LoraLayer): string[] {
  const plain = layer.replace('.processor.', '.');
  const text = plain.replace(
    /(\.self_attn\.)(to_q|to_k|to_v|to_out)$/,
    (_, before: string, name: string) => before + OLD_TEXT_ATTENTION[name]!,
  );
  return [plain, `${plain}.0`, text, `text_model.${plain}`];
}

/** Where a layer of a LoRA file goes. */
export interface LoraHome extends LoraLayer {
  /** The weight that it changes, as the model itself calls it; undefined when it has no home. */
  readonly home: string | undefined;
  /** The rank of the change. */
  readonly rank: number;
  /** Why it cannot be merged; undefined when it can. */
  readonly problem: string | undefined;
}

/**
 * Finds the home of every layer of a LoRA file by names and shapes; nothing is merged, no tensor is read. Tensors of another
 * kind are told to `report`, or an InvalidFileError.
 */
export function findLoraHomes(models: LoraModels, lora: WeightSource, options: FitOptions = {}): LoraHome[] {
  const layers = parseLora(lora, options);
  return [...new Set(layers.map(({ target }) => target))].flatMap((target) => {
    const source = models[target];
    const own = layers.filter((layer) => layer.target === target);
    const layout = source && bestLayout(source, own);
    return own.map((layer) => {
      const home = layout?.homes.get(layer);
      const rank = lora.tensors.get(layer.down)!.shape[0] ?? 0;
      const problem =
        layout === undefined
          ? `is for ${target}, which the model has not`
          : home === undefined
            ? 'finds no home'
            : misfit(lora, layer, layout.view.tensors.get(home)!.shape);
      return { ...layer, home: home && layout!.ownName(home), rank, problem };
    });
  });
}

interface Delta {
  readonly layer: LoraLayer;
  readonly rank: number;
  /** alpha / rank. */
  readonly strength: number;
}

/** What is wrong with a layer's matrices for the weight `[out, …]`: up has out rank elements, down rank times the rest. */
function misfit(lora: WeightSource, layer: LoraLayer, weight: readonly number[]): string | undefined {
  const down = lora.tensors.get(layer.down)!.shape;
  const up = lora.tensors.get(layer.up)!.shape;
  const rank = down[0] ?? 0;
  const inputs = sizeOf(weight.slice(1));
  const upIsFlat = up[1] === rank && up.slice(2).every((d) => d === 1);
  if (rank === 0 || weight.length < 2 || !upIsFlat || up[0] !== weight[0] || sizeOf(down) !== rank * inputs) {
    return `has down [${down}] and up [${up}], which do not fit [${weight}]`;
  }
  return undefined;
}

/** A layer's change of a weight, or why it does not fit. */
async function readDelta(
  lora: WeightSource,
  layer: LoraLayer,
  weight: readonly number[],
  defaultAlpha: number | undefined,
): Promise<Delta | string> {
  const problem = misfit(lora, layer, weight);
  if (problem !== undefined) return problem;
  const rank = lora.tensors.get(layer.down)!.shape[0]!;
  const own = layer.alpha === undefined ? undefined : (await lora.read(layer.alpha)).data[0];
  const alpha = own ?? defaultAlpha ?? rank;
  if (!Number.isFinite(alpha)) return `has alpha ${alpha}`;
  return { layer, rank, strength: alpha / rank };
}

function withDeltas(
  source: WeightSource,
  lora: WeightSource,
  deltas: ReadonlyMap<string, Delta>,
  scale: number,
): WeightSource {
  const { take } = source;
  const read = async (name: string): Promise<HostTensor> => {
    const weight = await source.read(name);
    const delta = deltas.get(name);
    if (delta === undefined) return weight;
    const [down, up] = [await lora.read(delta.layer.down), await lora.read(delta.layer.up)];
    return addProduct(weight, up, down, delta.rank, scale * delta.strength);
  };
  return {
    name: source.name,
    tensors: new Map(
      [...source.tensors].map(([name, tensor]) => [name, deltas.has(name) ? { ...tensor, dtype: 'F32' } : tensor]),
    ),
    read,
    ...(take && {
      take: async (name: string, keep?: readonly HalfType[]): Promise<StoredTensor> =>
        deltas.has(name) ? { ...(await read(name)), dtype: 'float32' } : take.call(source, name, keep),
    }),
  };
}

/** W + factor up down, W as a matrix `[O, I]`, up `[O, R]`, down `[R, I]`; sums in float64. */
function addProduct(weight: HostTensor, up: HostTensor, down: HostTensor, rank: number, factor: number): HostTensor {
  const outputs = weight.shape[0]!;
  const inputs = weight.data.length / outputs;
  const data = Float32Array.from(weight.data);
  const from = down.data;
  const row = new Float64Array(inputs);
  for (let o = 0; o < outputs; o++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const u = up.data[o * rank + r]! * factor;
      const start = r * inputs;
      for (let i = 0; i < inputs; i++) row[i]! += u * from[start + i]!;
    }
    for (let i = 0; i < inputs; i++) data[o * inputs + i]! += row[i]!;
  }
  return { shape: weight.shape, data };
}
