import { throwIf } from '../checks.js';
import { padIds, type Tokenizer } from '../tokenizers/tokenizer.js';
import { parseWeights } from './weights.js';

/** A stretch of a prompt that is encoded at once, framed and padded to the model's longest text. */
export interface PromptChunk {
  readonly ids: readonly number[];
  /** How strongly each token counts; 1 for start, end and padding. */
  readonly weights: readonly number[];
}

/** How the text of a prompt is read. */
export interface PromptSyntax {
  /** `weights` (when absent): brackets are weights (see {@link parseWeights}); `plain`: they are text, as in diffusers. */
  readonly syntax?: 'weights' | 'plain';
  /** What does not fit into so many chunks is cut; 1 is what diffusers does. No limit when absent. */
  readonly maxChunks?: number;
}

/** Begins a new chunk in a prompt with weights. */
const BREAK = /\s*\bBREAK\b\s*/u;

interface WeightedId {
  readonly id: number;
  readonly weight: number;
}

/**
 * Cuts a prompt of any length into chunks of as many tokens as the model takes, each with its own start and end
 * (75 tokens of text for CLIP). An empty prompt is one empty chunk. With `weights` the word BREAK begins a new chunk.
 *
 * @throws InvalidArgumentError for a limit of chunks below 1
 */
export function chunkPrompt(
  tokenizer: Tokenizer,
  prompt: string,
  { syntax = 'weights', maxChunks = Number.POSITIVE_INFINITY }: PromptSyntax = {},
): PromptChunk[] {
  throwIf('chunkPrompt', maxChunks >= 1 ? [] : [`maxChunks: expected at least 1, got ${maxChunks}`]);
  const room = roomFor(tokenizer);
  const chunks = sections(tokenizer, prompt, syntax).flatMap((tokens) =>
    Array.from({ length: Math.max(1, Math.ceil(tokens.length / room)) }, (_, i) =>
      framed(tokenizer, tokens.slice(i * room, (i + 1) * room)),
    ),
  );
  return chunks.slice(0, maxChunks);
}

/** The tokens between BREAKs. */
function sections(tokenizer: Tokenizer, prompt: string, syntax: 'weights' | 'plain'): WeightedId[][] {
  const encode = (text: string, weight: number) => tokenizer.encode(text).map((id) => ({ id, weight }));
  if (syntax === 'plain') return [encode(prompt, 1)];
  const found: WeightedId[][] = [[]];
  for (const { text, weight } of parseWeights(prompt)) {
    text.split(BREAK).forEach((part, i) => {
      if (i > 0) found.push([]);
      const section = found.at(-1)!;
      for (const token of encode(part, weight)) section.push(token);
    });
  }
  return found;
}

/** Adds empty chunks until all prompts have as many as the longest (and at least `count`), so that they can be one batch. */
export function alignChunks(
  tokenizer: Tokenizer,
  prompts: readonly (readonly PromptChunk[])[],
  count = 1,
): PromptChunk[][] {
  const most = Math.max(count, ...prompts.map((chunks) => chunks.length));
  return prompts.map((chunks) => [
    ...chunks,
    ...Array.from({ length: most - chunks.length }, () => framed(tokenizer, [])),
  ]);
}

/** Tokens of text in a chunk: what start and end leave. */
function roomFor({ start, maxLength }: Tokenizer): number {
  return maxLength - (start === null ? 1 : 2);
}

function framed(tokenizer: Tokenizer, tokens: readonly WeightedId[]): PromptChunk {
  const ids = tokens.map(({ id }) => id);
  const before = tokenizer.start === null ? [] : [1];
  const weights = [...before, ...tokens.map(({ weight }) => weight)];
  const rest = new Array<number>(tokenizer.maxLength - weights.length).fill(1);
  return { ids: padIds(tokenizer, ids, tokenizer.maxLength).ids, weights: [...weights, ...rest] };
}
