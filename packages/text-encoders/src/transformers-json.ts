import { InvalidArgumentError } from '@mezzotint/core';

/** A value of a configuration of transformers; null and absent mean the class's default. */
export type TransformersReader = (key: string, fallback: unknown) => unknown;

/**
 * Looks up keys of a config.json of transformers. Keys that are not asked for are left alone: every library version
 * writes its own dozens of them, for text generation and training.
 *
 * @throws InvalidArgumentError when it is no object, or of another model
 */
export function transformersReader(who: string, json: unknown, modelTypes: readonly string[]): TransformersReader {
  if (!isObject(json)) {
    throw new InvalidArgumentError(who, `expected the config.json of transformers as an object, got ${text(json)}`);
  }
  const type = json.model_type;
  if (type !== undefined && !modelTypes.includes(type as string)) {
    throw new InvalidArgumentError(who, `model_type: expected ${modelTypes.join(' or ')}, got ${text(type)}`);
  }
  return (key, fallback) => (Object.hasOwn(json, key) ? (json[key] ?? fallback) : fallback);
}

/** True for what JSON writes in braces. */
export function isObject(json: unknown): json is Readonly<Record<string, unknown>> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function text(json: unknown): string {
  return String(JSON.stringify(json)).slice(0, 80);
}
