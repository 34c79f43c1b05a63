import { isObject, transformersReader } from '../transformers-json.js';

/** What a tokenizer's files do not always say. */
export interface TokenizerOptions {
  /** The token that fills up. */
  readonly pad?: string;
  /** How many tokens the model takes. */
  readonly maxLength?: number;
  /** Tokens beside the vocabulary, whatever their case in a text, with their ids: several for one of textual inversion. */
  readonly added?: ReadonlyMap<string, readonly number[]>;
}

/** Above it, `model_max_length` means "no limit": transformers writes 10^30 then. */
const NO_LIMIT = 1e6;

/**
 * Reads tokenizer_config.json: the token that fills up (`pad_token`), the longest text (`model_max_length`) and the tokens that are
 * not in the vocabulary (`added_tokens_decoder`).
 *
 * @throws InvalidArgumentError when it is no object
 */
export function tokenizerOptionsFromTransformers(json: unknown): TokenizerOptions {
  const read = transformersReader('tokenizerOptionsFromTransformers', json, []);
  const token = read('pad_token', undefined);
  const pad = isObject(token) ? token.content : token;
  const maxLength = read('model_max_length', undefined);
  const decoder = read('added_tokens_decoder', undefined);
  const added = new Map(
    Object.entries(isObject(decoder) ? decoder : {}).flatMap(([id, token]) =>
      /^\d+$/.test(id) && isObject(token) && typeof token.content === 'string' && token.content !== ''
        ? [[token.content, [Number(id)]] as const]
        : [],
    ),
  );
  return {
    ...(added.size > 0 && { added }),
    ...(typeof pad === 'string' && { pad }),
    ...(typeof maxLength === 'number' && maxLength <= NO_LIMIT && { maxLength }),
  };
}
