import { withoutGradient } from '@mezzotint/core';
import { type CaptionEncoder, type CaptionOptions, type EncodedTexts, encodeTexts } from '@mezzotint/text-encoders';
import * as tf from '@tensorflow/tfjs-core';

/** Bytes of encoded texts that an encoder keeps: 2,275 captions of CLIP-L (77 tokens of 768 numbers), 55,000 of 16 tokens of 150. */
const CACHE_BYTES = 2 ** 29;

/**
 * Texts that are encoded at one time. Always so many: one program serves all steps, and a text's numbers depend on nothing but the text. They are
 * those of any batch but a batch of one, whose pooled text ONNX Runtime multiplies by a kernel of its own.
 */
const AT_ONCE = 8;

/**
 * What a text encoder that is not trained says of captions: each is encoded once, not at every step. The first ones that fit are kept;
 * the others are encoded when they are needed.
 */
export class CaptionCache {
  /** Tokens, mask and pooled text of a caption, behind each other. */
  readonly #rows = new Map<string | null, Float32Array>();
  #left: number;
  #shapes: { readonly context: readonly number[]; readonly pooled: readonly number[] } | undefined;

  constructor(
    readonly encoder: CaptionEncoder,
    readonly options: CaptionOptions & { readonly bytes?: number } = {},
  ) {
    this.#left = options.bytes ?? CACHE_BYTES;
  }

  /** As `encodeTexts`; constants. */
  encode(texts: readonly (string | null)[]): EncodedTexts {
    const keys = this.options.none === 'zeros' ? texts : texts.map((text) => text ?? '');
    const fresh = this.#encodeMissing([...new Set(keys)].filter((key) => !this.#rows.has(key)));
    const rows = keys.map((key) => this.#rows.get(key) ?? fresh.get(key)!);
    const [n, size] = [rows.length, rows[0]!.length];
    const all = new Float32Array(n * size);
    rows.forEach((row, i) => void all.set(row, i * size));
    const { context, pooled } = this.#shapes!;
    const [tokens, numbers] = [context[1]!, context[1]! * context[2]!];
    return tf.tidy(() => {
      const whole = tf.tensor2d(all, [n, size]);
      const part = (first: number, count: number) => tf.slice(whole, [0, first], [n, count]);
      return {
        context: tf.reshape(part(0, numbers), [n, tokens, context[2]!]) as tf.Tensor3D,
        mask: tf.cast(part(numbers, tokens), 'int32'),
        pooled: part(numbers + tokens, pooled[1]!),
      };
    });
  }

  #encodeMissing(keys: readonly (string | null)[]): ReadonlyMap<string | null, Float32Array> {
    const fresh = new Map<string | null, Float32Array>();
    for (let first = 0; first < keys.length; first += AT_ONCE) {
      const group = keys.slice(first, first + AT_ONCE);
      const filled = [...group, ...Array<string>(AT_ONCE - group.length).fill('')];
      const numbers = tf.tidy(() =>
        withoutGradient(() => {
          const { context, mask, pooled } = encodeTexts(this.encoder, filled, this.options);
          this.#shapes ??= { context: context.shape, pooled: pooled.shape };
          const flat = [context, tf.cast(mask, 'float32'), pooled].filter(({ size }) => size > 0);
          return tf.concat(
            flat.map((one) => tf.reshape(one, [AT_ONCE, -1])),
            1,
          );
        }).dataSync(),
      ) as Float32Array;
      const size = numbers.length / AT_ONCE;
      group.forEach((key, i) => {
        const row = numbers.slice(i * size, (i + 1) * size);
        fresh.set(key, row);
        if (row.byteLength > this.#left) return;
        this.#left -= row.byteLength;
        this.#rows.set(key, row);
      });
    }
    return fresh;
  }
}
