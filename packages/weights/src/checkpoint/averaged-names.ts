/** Words of the original UNet's names. Longer ones first, so that `norm1` is not read as `norm` and `1`. */
const WORDS = [
  'transformer_blocks',
  'skip_connection',
  'output_blocks',
  'input_blocks',
  'middle_block',
  'time_embed',
  'out_layers',
  'emb_layers',
  'in_layers',
  'label_emb',
  'proj_out',
  'proj_in',
  'to_out',
  'weight',
  'attn1',
  'attn2',
  'norm1',
  'norm2',
  'norm3',
  'conv',
  'norm',
  'proj',
  'bias',
  'to_q',
  'to_k',
  'to_v',
  'net',
  'out',
  'ff',
  'op',
];

/** Words that two numbers follow, the second of one digit: `input_blocks110` is `input_blocks.11.0`. */
const TWO_NUMBERS = new Set(['input_blocks', 'output_blocks', 'label_emb']);

const TOKEN = new RegExp(`${WORDS.join('|')}|\\d+`, 'y');

/**
 * The name of a UNet tensor from that of its average, which the original code saves without dots:
 * `input_blocks10in_layers0weight` -> `input_blocks.1.0.in_layers.0.weight`. Undefined for a name of other words.
 */
export function nameOfAverage(dotless: string): string | undefined {
  const parts: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < dotless.length) {
    const token = TOKEN.exec(dotless)?.[0];
    if (token === undefined) return undefined;
    const twoNumbers = /^\d\d/.test(token) && TWO_NUMBERS.has(parts.at(-1) ?? '');
    if (twoNumbers) parts.push(token.slice(0, -1), token.slice(-1));
    else parts.push(token);
  }
  return parts.join('.');
}
