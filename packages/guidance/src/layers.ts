import { type Denoiser, InvalidArgumentError, type Module, type NetworkHooks, withHooks } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';

/** Layers of a network by their path, as `layersAt` or `model.modules()` give them. */
export type Layers = ReadonlyMap<string, object>;

/**
 * The modules of a network at these paths: `layersAt(unet, ['middle_block.1'])`, `layersAt(dit, [/^blocks\.[789]$/])`.
 *
 * @throws InvalidArgumentError naming every path that is not there and every expression that finds nothing
 */
export function layersAt(model: Pick<Module, 'modules'>, paths: readonly (string | RegExp)[]): Layers {
  const all = model.modules();
  const found = new Map<string, object>();
  const problems: string[] = [];
  for (const wanted of paths) {
    const hits = [...all].filter(([path]) => (typeof wanted === 'string' ? path === wanted : wanted.test(path)));
    if (hits.length === 0) problems.push(`no module at ${wanted}; model.modules() lists all paths`);
    for (const [path, module] of hits) found.set(path, module);
  }
  if (problems.length > 0) throw new InvalidArgumentError('layersAt', problems);
  return found;
}

/** Self-attention in the middle of networks, by the paths that their checkpoints have. */
const MIDDLE = [
  /^mid_block\.attentions\.\d+\.transformer_blocks\.\d+\.attn1$/, // Stable Diffusion's UNets
  /^mid_block\.attentions\.\d+$/, // UNet2DModel of diffusers
  /^middle_block\.1$/, // ADM
];

/** The attention of a transformer's block: DiT, U-ViT and others. */
const OF_BLOCK = /^(?:\w+\.)*\w*blocks\.(\d+)\.attn1?$/;

/**
 * The self-attention in the middle of a network: that of a UNet's middle block, or of a transformer's block depth / 2. The layers
 * that PAG, SEG and SAG disturb where nothing is said.
 *
 * @throws InvalidArgumentError when the network has none that is known
 */
export function middleSelfAttention(model: Pick<Module, 'modules'>): Layers {
  const all = [...model.modules()];
  for (const pattern of MIDDLE) {
    const found = all.filter(([path]) => pattern.test(path));
    if (found.length > 0) return new Map(found);
  }
  const blocks = all.filter(([path]) => OF_BLOCK.test(path));
  const chosen = blocks[Math.floor(blocks.length / 2)];
  if (chosen !== undefined) return new Map([chosen]);
  throw new InvalidArgumentError(
    'layers',
    'the middle of this network is not known: name self-attention layers by path',
  );
}

/**
 * The same denoiser with hooks on some of its layers.
 *
 * @param hooks made for each call, on x; `has` tells whether a layer was chosen, and notes that it asked
 * @throws InvalidArgumentError (when called) when a chosen layer never asked: it has no attention of its own, or its
 *   architecture does not say `by: this`
 */
export function hooked<C>(
  who: string,
  denoiser: Denoiser<C>,
  layers: Layers,
  hooks: (has: (layer: object | undefined) => boolean, x: tf.Tensor4D) => NetworkHooks,
): Denoiser<C> {
  const chosen = new Set(layers.values());
  if (chosen.size === 0) throw new InvalidArgumentError(who, 'expected at least one layer, got none');
  return (x, at, cond) => {
    const asked = new Set<object>();
    const has = (layer: object | undefined) => {
      if (layer === undefined || !chosen.has(layer)) return false;
      asked.add(layer);
      return true;
    };
    const answer = withHooks(hooks(has, x), () => denoiser(x, at, cond));
    const silent = [...layers].filter(([, layer]) => !asked.has(layer)).map(([path]) => path);
    if (silent.length > 0) {
      answer.dispose();
      throw new InvalidArgumentError(
        who,
        `these layers did nothing that can be changed in this pass: ${silent.join(', ')}; choose layers that run and that ask the hooks (docs/guidance-hooks.md)`,
      );
    }
    return answer;
  };
}
