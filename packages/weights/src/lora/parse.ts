import { InvalidFileError, type WeightSource } from '@mezzotint/core';
import type { FitOptions } from '../key-maps/translate.js';

/** Models that LoRA files change. */
export type LoraModelName = 'denoiser' | 'text_encoder' | 'text_encoder_2' | 'text_encoder_3';

/**
 * One low-rank change: W' = W + scale (alpha / rank) up down (Hu et al. 2021, eq. 3), with a convolution of the rank
 * between up and down where there is `mid` (LoCon), and with given lengths of rows where there is `magnitude` (DoRA).
 */
export interface LoraLayer {
  readonly target: LoraModelName;
  /** The layer's name as the file has it; kohya's have `_` where names have dots. */
  readonly layer: string;
  /** Names of the tensors in the file. */
  readonly down: string;
  readonly up: string;
  /** Absent where the file leaves alpha to its configuration or to the rank. */
  readonly alpha?: string;
  readonly mid?: string;
  readonly magnitude?: string;
}

type Part = 'down' | 'up' | 'alpha' | 'mid' | 'magnitude';

/** Endings of names by the tools that write them: kohya and OneTrainer, peft, diffusers before and since 2023. */
const ENDINGS: readonly (readonly [RegExp, Part])[] = [
  [/\.lora_down\.weight$/, 'down'],
  [/\.lora_up\.weight$/, 'up'],
  [/\.lora_mid\.weight$/, 'mid'],
  [/\.dora_scale$/, 'magnitude'],
  // peft may put the adapter's name in: `lora_A.default_0.weight`.
  [/\.lora_A(?<adapter>\.[\w-]+)?\.weight$/, 'down'],
  [/\.lora_B(?<adapter>\.[\w-]+)?\.weight$/, 'up'],
  [/\.lora_magnitude_vector(?<adapter>\.(?!weight$)[\w-]+)?(?:\.weight)?$/, 'magnitude'],
  [/\.lora\.down\.weight$/, 'down'],
  [/\.lora\.up\.weight$/, 'up'],
  [/_lora\.down\.weight$/, 'down'],
  [/_lora\.up\.weight$/, 'up'],
  [/\.lora_linear_layer\.down\.weight$/, 'down'],
  [/\.lora_linear_layer\.up\.weight$/, 'up'],
  [/\.alpha$/, 'alpha'],
];

/** Beginnings of names, longest first where one begins another. */
const BEGINNINGS: readonly (readonly [string, LoraModelName])[] = [
  ['lora_unet_', 'denoiser'],
  ['lora_transformer_', 'denoiser'],
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
 * Reads the names of a LoRA file (kohya, diffusers, peft, ComfyUI). Throws an InvalidFileError that lists every tensor
 * of another kind (LoHa, LoKr, biases, full differences) and every half of a pair, or tells `report`: nothing is skipped.
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
    const layer = name.replace(ending[0], '').replace(/_lora$/, '');
    // Two adapters in one file are two changes of the same layer, never halves of one.
    const key = adapter === '' ? layer : `${layer} (adapter ${adapter.slice(1)})`;
    const parts: Partial<Record<Part, string>> = found.get(key)?.parts ?? {};
    if (parts[ending[1]] !== undefined) strange.push(`${name}: there is another ${ending[1]} of this layer`);
    parts[ending[1]] = name;
    found.set(key, { layer, parts });
  }
  const layers: LoraLayer[] = [];
  for (const [key, { layer: full, parts }] of found) {
    const { down, up, ...rest } = parts;
    if (down === undefined || up === undefined) {
      strange.push(`${key}: has no ${down === undefined ? 'down' : 'up'} matrix`);
      continue;
    }
    const beginning = BEGINNINGS.find(([prefix]) => full.startsWith(prefix));
    const layer = full.slice(beginning?.[0].length ?? 0);
    layers.push({ target: beginning?.[1] ?? 'denoiser', layer, down, up, ...rest });
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
