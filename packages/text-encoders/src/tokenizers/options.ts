import { isObject, transformersReader } from '../transformers-json.js';
import { type AddedToken, readAddedTokens } from './added-tokens.js';

/** What a tokenizer's files do not always say. */
export interface TokenizerOptions {
  /** The token that fills up. */
  readonly pad?: string;
  /** How many tokens the model takes. */
  readonly maxLength?: number;
  /** Tokens beside the vocabulary (`added_tokens_decoder`), over those of the tokenizer's own files. */
  readonly added?: readonly AddedToken[];
}

/** Above it, `model_max_length` means "no limit": transformers writes 10^30 then. */
const NO_LIMIT = 1e6;

/**
 * Reads tokenizer_config.json: the token that fills up (`pad_token`), the longest text (`model_max_length`) and the tokens
 * beside the vocabulary (`added_tokens_decoder`).
 *
 * @throws InvalidArgumentError when it is no object; InvalidFileError when its added tokens are none
 */
export function tokenizerOptionsFromTransformers(json: unknown): TokenizerOptions {
  const read = transformersReader('tokenizerOptionsFromTransformers', json, []);
  const token = read('pad_token', undefined);
  const pad = isObject(token) ? token.content : token;
  const maxLength = read('model_max_length', undefined);
  const added = readAddedTokens('tokenizer_config.json', read('added_tokens_decoder', undefined));
  return {
    ...(typeof pad === 'string' && { pad }),
    ...(typeof maxLength === 'number' && maxLength <= NO_LIMIT && { maxLength }),
    ...(added.length > 0 && { added }),
  };
}
