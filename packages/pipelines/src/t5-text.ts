import { type T5EncoderModel, type TextEncoder, tokenize } from '@mezzotint/text-encoders';
import * as tf from '@tensorflow/tfjs-core';

/**
 * States of T5 that do not see the padding, `[N, length, D]`, and which tokens are none, int32 `[N, length]`: how Imagen and IF read
 * prompts. Longer prompts are cut. The caller disposes both.
 */
export function encodeT5(
  { encoder, tokenizer }: TextEncoder<T5EncoderModel>,
  prompts: readonly string[],
  length: number,
): { context: tf.Tensor3D; contextMask: tf.Tensor2D } {
  return tf.tidy(() => {
    const { ids, mask } = tokenize({ ...tokenizer, maxLength: Math.max(length, tokenizer.maxLength) }, prompts, {
      length,
    });
    return { context: encoder.forward(ids, { mask }), contextMask: mask };
  });
}
