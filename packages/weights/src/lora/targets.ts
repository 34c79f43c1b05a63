import type { WeightSource } from '@mezzotint/core';
import { recognise } from '../checkpoint/recognise.js';
import { fluxKeyMap } from '../key-maps/flux.js';
import type { KeyMap, Side } from '../key-maps/key-map.js';
import { sd3KeyMap } from '../key-maps/sd3.js';
import { type FitOptions, translate } from '../key-maps/translate.js';
import { unetKeyMap } from '../key-maps/unet.js';
import { misfit, rankOf } from './change.js';
import { type LoraLayer, type LoraModelName, parseLora } from './parse.js';

/** Models to merge into, by what LoRA files call them. */
export type LoraModels = Readonly<Partial<Record<LoraModelName, WeightSource>>>;

/** A model in the layout that a LoRA file names it in. */
export interface Layout {
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
export function bestLayout(source: WeightSource, layers: readonly LoraLayer[]): Layout {
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
export interface LoraTarget extends LoraLayer {
  /** The weight that it changes, as the model itself calls it; undefined when it has no home. */
  readonly home: string | undefined;
  /** The rank of the change; undefined for Kronecker factors that are whole. */
  readonly rank: number | undefined;
  /** Why it cannot be merged; undefined when it can. */
  readonly problem: string | undefined;
}

/**
 * Finds the home of every layer of a LoRA file by names and shapes; nothing is merged, no tensor is read. Tensors of another
 * kind are told to `report`, or an InvalidFileError.
 */
export function findLoraTargets(models: LoraModels, lora: WeightSource, options: FitOptions = {}): LoraTarget[] {
  const layers = parseLora(lora, options);
  return [...new Set(layers.map(({ target }) => target))].flatMap((target) => {
    const source = models[target];
    const own = layers.filter((layer) => layer.target === target);
    const layout = source && bestLayout(source, own);
    return own.map((layer) => {
      const home = layout?.homes.get(layer);
      const rank = rankOf(lora, layer);
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
