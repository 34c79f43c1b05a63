import { InvalidFileError, type WeightSource } from '@mezzotint/core';
import type { FitOptions } from '../key-maps/translate.js';

/** Models that LoRA files change. */
export type LoraModelName = 'denoiser' | 'text_encoder' | 'text_encoder_2' | 'text_encoder_3';

/** Names of the tensors of a matrix: the whole, or two whose product it is. */
export type Factor = readonly [whole: string] | readonly [a: string, b: string];

/**
 * How a layer changes its weight, by the names of tensors in the file.
 * `low-rank`: up down (Hu et al. 2021, eq. 3), with a convolution of the rank between where there is `mid` (LoCon).
 * `kronecker`: the Kronecker product of two matrices (LoKr; Yeh et al. 2024, LyCORIS, section 3).
 * `hadamard`: the elementwise product of two low-rank matrices (LoHa; Hyeon-Woo et al. 2022).
 */
export type LoraChange =
  | { readonly kind: 'low-rank'; readonly down: string; readonly up: string; readonly mid?: string }
  | { readonly kind: 'kronecker'; readonly w1: Factor; readonly w2: Factor }
  | { readonly kind: 'hadamard'; readonly w1: readonly [string, string]; readonly w2: readonly [string, string] };

/** One change of a weight: W' = W + scale (alpha / rank) change, with given lengths of rows where there is `magnitude` (DoRA). */
export interface LoraLayer {
  readonly target: LoraModelName;
  /** The layer's name as the file has it; kohya's have `_` where names have dots. */
  readonly layer: string;
  readonly change: LoraChange;
  /** Absent where the file leaves alpha to its configuration or to the rank. */
  readonly alpha?: string;
  readonly magnitude?: string;
  /** Added to the layer's bias, with the same strength as the change. */
  readonly bias?: string;
  /** `first`: the change is of the first rows only, as many as it has (XLabs' q, k and v in a matrix that goes on). */
  readonly rows?: 'first';
}

type Part =
  | ('down' | 'up' | 'alpha' | 'mid' | 'magnitude' | 'bias')
  | ('k1' | 'k1a' | 'k1b' | 'k2' | 'k2a' | 'k2b' | 'h1a' | 'h1b' | 'h2a' | 'h2b');

/** Endings of names by the tools that write them: kohya and OneTrainer, peft, diffusers before and since 2023, LyCORIS. */
const ENDINGS: readonly (readonly [RegExp, Part])[] = [
  [/\.lora_down\.weight$/, 'down'],
  [/\.lora_up\.weight$/, 'up'],
  [/\.lora_mid\.weight$/, 'mid'],
  [/\.dora_scale$/, 'magnitude'],
  // peft may put the adapter's name in: `lora_A.default_0.weight`.
  [/\.lora_A(?<adapter>\.[\w-]+)?\.weight$/, 'down'],
  [/\.lora_B(?<adapter>\.[\w-]+)?\.weight$/, 'up'],
  [/\.lora_B(?<adapter>\.[\w-]+)?\.bias$/, 'bias'],
  [/\.lora_magnitude_vector(?<adapter>\.(?!weight$)[\w-]+)?(?:\.weight)?$/, 'magnitude'],
  [/\.lora\.down\.weight$/, 'down'],
  [/\.lora\.up\.weight$/, 'up'],
  // XLabs' `qkv_lora1` is of the image, `qkv_lora2` of the text.
  [/(?<=_lora[12]?)\.down\.weight$/, 'down'],
  [/(?<=_lora[12]?)\.up\.weight$/, 'up'],
  [/\.lora_linear_layer\.down\.weight$/, 'down'],
  [/\.lora_linear_layer\.up\.weight$/, 'up'],
  [/\.lokr_w1$/, 'k1'],
  [/\.lokr_w1_a$/, 'k1a'],
  [/\.lokr_w1_b$/, 'k1b'],
  [/\.lokr_w2$/, 'k2'],
  [/\.lokr_w2_a$/, 'k2a'],
  [/\.lokr_w2_b$/, 'k2b'],
  [/\.hada_w1_a$/, 'h1a'],
  [/\.hada_w1_b$/, 'h1b'],
  [/\.hada_w2_a$/, 'h2a'],
  [/\.hada_w2_b$/, 'h2b'],
  [/\.alpha$/, 'alpha'],
];

/** Beginnings of names, longest first where one begins another. */
const BEGINNINGS: readonly (readonly [string, LoraModelName])[] = [
  ['lora_unet_', 'denoiser'],
  ['lora_transformer_', 'denoiser'],
  ['lycoris_', 'denoiser'],
  ['lora_te1_', 'text_encoder'],
  ['lora_te2_', 'text_encoder_2'],
  ['lora_te3_', 'text_encoder_3'],
  ['lora_te_', 'text_encoder'],
  ['model.diffusion_model.', 'denoiser'],
  ['diffusion_model.', 'denoiser'],
  ['base_model.model.', 'denoiser'],
  ['unet.', 'denoiser'],
  ['transformer.', 'denoiser'],
  ['text_encoder.', 'text_encoder'],
  ['text_encoder_2.', 'text_encoder_2'],
  ['text_encoder_3.', 'text_encoder_3'],
];

/**
 * Reads the names of a LoRA file (kohya, diffusers, peft, ComfyUI, XLabs, Black Forest Labs, LyCORIS). Throws an
 * InvalidFileError that lists every tensor of another kind (norms, full differences) and every half of a pair, or tells
 * `report`: nothing is skipped.
 */
export function parseLora(lora: WeightSource, { report }: FitOptions = {}): LoraLayer[] {
  const found = new Map<string, { layer: string; parts: Partial<Record<Part, string>> }>();
  const strange: string[] = [];
  for (const name of lora.tensors.keys()) {
    const ending = ENDINGS.find(([pattern]) => pattern.test(name));
    if (ending === undefined) {
      strange.push(`${name}: not a tensor of a LoRA`);
      continue;
    }
    const adapter = ending[0].exec(name)?.groups?.adapter ?? '';
    const layer = xlabsName(name.replace(ending[0], '')).replace(/_lora$/, '');
    // Two adapters in one file are two changes of the same layer, never halves of one.
    const key = adapter === '' ? layer : `${layer} (adapter ${adapter.slice(1)})`;
    const parts: Partial<Record<Part, string>> = found.get(key)?.parts ?? {};
    if (parts[ending[1]] !== undefined) strange.push(`${name}: there is another ${ending[1]} of this layer`);
    parts[ending[1]] = name;
    found.set(key, { layer, parts });
  }
  const layers: LoraLayer[] = [];
  for (const [key, { layer: full, parts }] of found) {
    const change = changeOf(parts);
    if (typeof change === 'string') {
      strange.push(`${key}: ${change}`);
      continue;
    }
    const beginning = BEGINNINGS.find(([prefix]) => full.startsWith(prefix));
    const layer = full.slice(beginning?.[0].length ?? 0);
    const { alpha, magnitude, bias } = parts;
    layers.push({
      target: beginning?.[1] ?? 'denoiser',
      // The first rows of the map that makes q, k, v and the MLP's input.
      layer: layer.replace(/^(single_blocks\.\d+)\.linear1_qkv$/, '$1.linear1'),
      change,
      ...(alpha && { alpha }),
      ...(magnitude && { magnitude }),
      ...(bias && { bias }),
      ...(layer.endsWith('.linear1_qkv') && { rows: 'first' }),
    });
  }
  if (report !== undefined) for (const problem of strange) report(problem);
  else if (strange.length > 0) {
    const shown = strange.slice(0, 20).join('; ');
    throw new InvalidFileError(
      lora.name,
      `cannot be merged: ${shown}${strange.length > 20 ? `; … and ${strange.length - 20} more` : ''}`,
    );
  }
  if (layers.length === 0 && strange.length === 0) throw new InvalidFileError(lora.name, 'holds no LoRA layers');
  return layers;
}

/** XLabs' names of FLUX's layers, as the original has them; `linear1_qkv` is the part of `linear1` that makes q, k and v. */
function xlabsName(name: string): string {
  return name
    .replace(/(double_blocks\.\d+)\.processor\.(qkv|proj)_lora([12])$/, (_, block, map, stream) => {
      return `${block}.${stream === '1' ? 'img' : 'txt'}_attn.${map}`;
    })
    .replace(/(single_blocks\.\d+)\.processor\.qkv_lora$/, '$1.linear1_qkv')
    .replace(/(single_blocks\.\d+)\.processor\.proj_lora$/, '$1.linear2');
}

/** What a layer's tensors make, or what is missing. */
function changeOf(parts: Partial<Record<Part, string>>): LoraChange | string {
  const { down, up, mid, k1, k1a, k1b, k2, k2a, k2b, h1a, h1b, h2a, h2b } = parts;
  if (k1 ?? k1a ?? k1b ?? k2 ?? k2a ?? k2b) {
    const w1 = factorOf(k1, k1a, k1b);
    const w2 = factorOf(k2, k2a, k2b);
    return w1 && w2 ? { kind: 'kronecker', w1, w2 } : `has no whole ${w1 ? 'second' : 'first'} factor (LoKr)`;
  }
  if (h1a ?? h1b ?? h2a ?? h2b) {
    return h1a && h1b && h2a && h2b
      ? { kind: 'hadamard', w1: [h1a, h1b], w2: [h2a, h2b] }
      : 'lacks one of its four matrices (LoHa)';
  }
  if (down === undefined || up === undefined) return `has no ${down === undefined ? 'down' : 'up'} matrix`;
  return { kind: 'low-rank', down, up, ...(mid && { mid }) };
}

function factorOf(whole?: string, a?: string, b?: string): Factor | undefined {
  if (whole !== undefined) return [whole];
  return a !== undefined && b !== undefined ? [a, b] : undefined;
}
