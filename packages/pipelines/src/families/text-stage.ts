import type { DenoisingNetwork, NetworkSignature } from '@mezzotint/core';
import type { Sampler } from '@mezzotint/schedulers';
import { type CaptionEncoder, type EncodedCaptions, type EncodedTexts, encodeCaptions } from '@mezzotint/text-encoders';
import * as tf from '@tensorflow/tfjs-core';
import { noteCuts } from '../long-prompts.js';
import type { RequestKey } from '../request.js';
import type { Batch, Codec, Conditions, EncodeContext, EncodedBatch, Stage } from '../stage.js';

/** A network that reads texts through one or several encoders, and how it is sampled. */
export interface TextStageOptions {
  readonly network: DenoisingNetwork;
  readonly signature: NetworkSignature;
  readonly sampler: Sampler;
  readonly codec: Codec | null;
  readonly encoders: readonly CaptionEncoder[];
  /** Names of the parts. */
  readonly parts: Stage['parts'];
}

/** The stage of a network of one's own that is conditioned on texts. */
export function textStage({ network, signature, sampler, codec, encoders, parts }: TextStageOptions): Stage {
  return {
    ...{ name: 'model', sampler, codec, parts, start: 'noise' },
    shape: ({ height, width }) => {
      const f = codec?.downscale ?? 1;
      return [height / f, width / f, signature.inChannels];
    },
    encode: (batch, context) => encode(batch, context, encoders, signature),
    encodesTextOnly: true,
    network: () => (x, time, conditions) => network.forward(x, time, conditions),
  };
}

/** What the network takes of the prompts, and of the negative prompts: no caption where there is none. Tells what is cut. */
function encode(
  { images }: Batch,
  { note }: Pick<EncodeContext, 'note'>,
  encoders: readonly CaptionEncoder[],
  signature: NetworkSignature,
): EncodedBatch<Conditions> {
  const texts = [...images.map(({ prompt }) => prompt), ...images.map(({ negative }) => negative)];
  for (const [i, { tokenizer, length = tokenizer.maxLength }] of encoders.entries()) {
    const reader = encoders.length > 1 ? `, which text encoder ${i + 1} of ${encoders.length} reads` : '';
    noteCuts(tokenizer, texts, length, note, { reader });
  }
  return tf.tidy(() => {
    const read = conditionsOf(
      signature,
      encoders,
      encoders.map(() => texts),
    ) as Record<string, tf.Tensor>;
    const half = (first: number) =>
      Object.fromEntries(
        Object.entries(read).map(([name, tensor]) => [
          name,
          tf.slice(tensor, [first, ...tensor.shape.slice(1).map(() => 0)], [images.length, ...tensor.shape.slice(1)]),
        ]),
      );
    return { positive: half(0), negative: half(images.length) };
  });
}

/**
 * What a network takes of captions: those of tokens, mask and pooled text that its signature has. A caption that is null stands for none, as
 * the signature says: the empty text, or zeros.
 *
 * @param texts one list for each encoder
 * @param encode what an encoder (its index) says of its texts, where that is known already
 */
export function conditionsOf(
  { conditions }: NetworkSignature,
  encoders: readonly CaptionEncoder[],
  texts: readonly (readonly (string | null)[])[],
  encode?: (encoder: number, texts: readonly (string | null)[]) => EncodedTexts,
): Partial<EncodedCaptions> {
  return tf.tidy(() => {
    const encoded = encodeCaptions(encoders, texts, { none: absentCaption({ conditions }), ...(encode && { encode }) });
    return Object.fromEntries(Object.entries(encoded).filter(([name]) => name in conditions));
  });
}

/** How a network of this signature sees a text that has no caption. */
export function absentCaption({ conditions }: Pick<NetworkSignature, 'conditions'>): 'empty-prompt' | 'zeros' {
  return conditions.context?.none === 0 ? 'zeros' : 'empty-prompt';
}

/** The settings that such a model takes. */
export function textSettings({ sizeMultiple }: NetworkSignature): RequestKey[] {
  return [
    ...(['prompt', 'negative', 'guidance', 'guidanceRescale', 'guidanceInterval'] as const),
    ...(sizeMultiple === null ? [] : (['height', 'width'] as const)),
  ];
}
