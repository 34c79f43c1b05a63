import { InvalidArgumentError, type WeightSource } from '@mezzotint/core';
import { clipKeyMap, clipTextPrefixKeyMap, clipTransformersKeyMap } from '../key-maps/clip.js';
import { type DitKeyMapOptions, ditKeyMap } from '../key-maps/dit.js';
import { fluxKeyMap } from '../key-maps/flux.js';
import { type KeyMap, type Side, same } from '../key-maps/key-map.js';
import { sd3KeyMap } from '../key-maps/sd3.js';
import { t5GgufKeyMap } from '../key-maps/t5-gguf.js';
import { type FitOptions, type Translation, translate } from '../key-maps/translate.js';
import { unetKeyMap } from '../key-maps/unet.js';
import { oldVaeKeyMap, vaeKeyMap } from '../key-maps/vae.js';
import { type LayoutKind, type ModelKind, type Recognised, recognise } from './recognise.js';

/** One model's weights in the layout of its home. */
export interface Component extends Recognised {
  /** The tensors, and where each came from. */
  readonly weights: Translation;
}

/** What a file does not say about a component. */
export interface ComponentOptions extends DitKeyMapOptions, FitOptions {
  /** CLIP text layers to keep (Stable Diffusion 2 uses 23 of 24). */
  readonly textLayers?: number;
}

/**
 * Recognises one model's state dict by its names and shows it in its home layout: UNets and VAEs of Stable Diffusion in
 * diffusers' names, CLIP and T5 in transformers', DiT, Stable Diffusion 3 and FLUX in the original ones.
 * Throws an InvalidArgumentError when it is nothing known or when a tensor has no place.
 */
export function openComponent(source: WeightSource, options: ComponentOptions = {}): Component {
  const found = recognise(source.tensors.keys());
  if (found === undefined) {
    const some = [...source.tensors.keys()].slice(0, 5).join(', ');
    throw new InvalidArgumentError(source.name, `holds no known model; its first tensors are ${some || 'none'}`);
  }
  const { map, from } = wayHome(found, source, options);
  return { ...found, weights: translate(source, map, from, options) };
}

interface Way {
  readonly map: KeyMap;
  readonly from: Side;
}

function wayHome({ model, layout }: Recognised, source: WeightSource, options: ComponentOptions): Way {
  const names = [...source.tensors.keys()];
  const key = `${model} ${layout}` as `${ModelKind} ${LayoutKind}`;
  switch (key) {
    case 'sd-unet original':
      return { map: unetKeyMap(names, 'left'), from: 'left' };
    case 'kl-vae original':
    case 'vq-vae original':
      return { map: vaeKeyMap(names, 'left'), from: 'left' };
    case 'kl-vae diffusers-2022':
      return { map: oldVaeKeyMap(), from: 'left' };
    case 'clip openclip':
      return { map: clipKeyMap(names, 'left', options), from: 'left' };
    case 'clip transformers-5':
      return { map: clipTextPrefixKeyMap(), from: 'right' };
    case 'clip transformers':
      return { map: clipTransformersKeyMap(), from: 'left' };
    case 'dit diffusers':
      return { map: ditKeyMap(names, 'right', options), from: 'right' };
    case 'sd3 diffusers':
      return { map: sd3KeyMap(names, 'right'), from: 'right' };
    case 'flux diffusers':
      return { map: fluxKeyMap(names, 'right'), from: 'right' };
    case 't5 gguf':
      return { map: t5GgufKeyMap(names), from: 'left' };
    default:
      return { map: identity(names), from: 'left' };
  }
}

/** The layout is home already. */
function identity(names: readonly string[]): KeyMap {
  return { name: 'the same layout', pairs: names.map((name) => same(name, name)), leftOut: [] };
}
