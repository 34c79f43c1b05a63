import { InvalidFileError, quoted, readingBudget } from '@mezzotint/core';
import { isObject } from '../transformers-json.js';
import { type AddedToken, readAddedTokens } from './added-tokens.js';

/** The parts of a tokenizer.json that say something about a model; how a text is cut is the model family's. */
export interface TokenizerJson {
  readonly model: Readonly<Record<string, unknown>>;
  readonly normalizers: readonly Readonly<Record<string, unknown>>[];
  readonly added: readonly AddedToken[];
}

/** The steps of a family of tokenizers, as tokenizer.json spells them. */
export interface Family {
  readonly name: string;
  readonly model: string;
  /** The accepted lists of normalizers and of pre-tokenizers, as types with a space between. */
  readonly normalizers: readonly string[];
  readonly preTokenizers: readonly string[];
}

/**
 * Reads a parsed tokenizer.json whose steps are those of a family. Regular expressions of the file are not run.
 *
 * @throws InvalidFileError when it is not one
 */
export function readTokenizerJson(file: string, json: unknown, family: Family): TokenizerJson {
  if (!isObject(json) || !isObject(json.model)) {
    throw new InvalidFileError(file, 'expected a tokenizer.json with a model');
  }
  const { model } = json;
  const normalizers = steps(json.normalizer, 'normalizers');
  const found = [
    ['model', model.type ?? kindOf(model), [family.model]],
    ['normalizer', types(normalizers), family.normalizers],
    ['pre_tokenizer', types(steps(json.pre_tokenizer, 'pretokenizers')), family.preTokenizers],
  ] as const;
  for (const [key, got, expected] of found) {
    if (!expected.includes(got as string)) {
      const wanted = expected.map((name) => name || 'none').join(' or ');
      throw new InvalidFileError(file, `${key}: expected ${wanted}, as in ${family.name}, got ${quoted(got)}`);
    }
  }
  return { model, normalizers, added: readAddedTokens(file, json.added_tokens ?? []) };
}

/** Whether a value can be the id of a token. */
export function isId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < readingBudget.tokenIds;
}

/** What a model is whose file was written before files said so. */
function kindOf({ merges, vocab }: Readonly<Record<string, unknown>>): string | undefined {
  if (Array.isArray(merges)) return 'BPE';
  return Array.isArray(vocab) ? 'Unigram' : undefined;
}

/** A step, or the steps of a sequence. */
function steps(json: unknown, key: string): Readonly<Record<string, unknown>>[] {
  if (!isObject(json)) return [];
  const list: readonly unknown[] = json.type === 'Sequence' && Array.isArray(json[key]) ? json[key] : [json];
  return list.filter(isObject);
}

function types(list: readonly Readonly<Record<string, unknown>>[]): string {
  return list.map(({ type }) => (typeof type === 'string' ? type : quoted(type))).join(' ');
}
