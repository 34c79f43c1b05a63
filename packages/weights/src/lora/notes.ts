import { InvalidFileError, parseJson, quoted, type WeightSource } from '@mezzotint/core';
import type { WeightFile } from '../weight-file.js';
import type { LoraLayer, LoraModelName } from './parse.js';

/** A LoRA as read; a file's own notes may say how strong it is. */
export type LoraSource = WeightSource & { readonly metadata?: ReadonlyMap<string, string> };

/** Where diffusers writes down peft's configurations, and we do for those in `adapter_config.json`. */
export const NOTES_KEY = 'lora_adapter_metadata';

/** A LoRA of peft with the text of its `adapter_config.json`, where the file itself has no notes. */
export function withAdapterNotes(file: WeightFile, config: string): WeightFile {
  return file.metadata.has(NOTES_KEY) ? file : { ...file, metadata: new Map([...file.metadata, [NOTES_KEY, config]]) };
}

/** How strong a layer is by the notes: its alpha, and what that is divided by. */
export interface NotedStrength {
  readonly alpha: number;
  /** alpha / sqrt(rank), not alpha / rank (Kalajdzievski 2023, rank-stabilised LoRA). */
  readonly rootOfRank: boolean;
}

const PREFIXES: Readonly<Record<LoraModelName, readonly string[]>> = {
  denoiser: ['unet.', 'transformer.', ''],
  text_encoder: ['text_encoder.'],
  text_encoder_2: ['text_encoder_2.'],
  text_encoder_3: ['text_encoder_3.'],
};

/** peft's alpha where a configuration has none. */
const DEFAULT_ALPHA = 8;

/**
 * What a file's notes say of its layers: peft's `lora_alpha`, `alpha_pattern` and `use_rslora`, as diffusers writes them
 * into the header of a safetensors file. Gives undefined for layers that they do not speak of.
 *
 * @throws InvalidFileError when they are not readable, or ask for what is not merged
 */
export function notedStrengths(lora: LoraSource): (layer: LoraLayer) => NotedStrength | undefined {
  const text = lora.metadata?.get(NOTES_KEY);
  if (text === undefined) return () => undefined;
  const notes = parse(lora.name, text);
  return ({ target, layer }) => {
    const prefix = PREFIXES[target].find((start) => notes.has(`${start}lora_alpha`) || notes.has(`${start}r`));
    if (prefix === undefined) return undefined;
    const read = (key: string) => notes.get(prefix + key);
    const alpha = patternOf(lora.name, read('alpha_pattern'), layer) ?? read('lora_alpha') ?? DEFAULT_ALPHA;
    if (typeof alpha !== 'number' || !Number.isFinite(alpha)) {
      throw new InvalidFileError(lora.name, `${NOTES_KEY}: expected a number as alpha, got ${quoted(alpha)}`);
    }
    return { alpha, rootOfRank: read('use_rslora') === true };
  };
}

function parse(name: string, text: string): ReadonlyMap<string, unknown> {
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (cause) {
    throw new InvalidFileError(name, `${NOTES_KEY}: not JSON`, { cause });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new InvalidFileError(name, `${NOTES_KEY}: expected an object, got ${quoted(text, 40)}`);
  }
  return new Map(Object.entries(json));
}

/** The first pattern that names the layer: all of it after `^`, else its end from a dot on. */
function patternOf(name: string, patterns: unknown, layer: string): unknown {
  if (typeof patterns !== 'object' || patterns === null) return undefined;
  for (const [pattern, alpha] of Object.entries(patterns)) {
    const plain = pattern.replace(/^\^/, '').replace(/\$$/, '').replaceAll('\\.', '.');
    if (!/^[\w.-]+$/.test(plain)) {
      throw new InvalidFileError(
        name,
        `${NOTES_KEY}: alpha_pattern: expected names of layers, got the expression ${quoted(pattern)}`,
      );
    }
    if (layer === plain || (!pattern.startsWith('^') && layer.endsWith(`.${plain}`))) return alpha;
  }
  return undefined;
}
