import type { NetworkSignature, TimeInput } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { type LowResolution, lowResolutionInputs } from '../../low-resolution.js';
import type { DiffusionConfig } from '../../model-config.js';
import type { Settings } from '../../request.js';
import type { Conditions, Stage } from '../../stage.js';

/** What a stage needs to know of the small pictures beside what its conditions take. */
export interface Enlarging extends LowResolution {
  /** The network is told how noisy the small picture is. */
  readonly told: boolean;
}

/** How a model of ours sees small pictures; undefined where it sees none. */
export function lowResolutionOf(
  { superResolution, image }: Pick<DiffusionConfig, 'superResolution' | 'image'>,
  time: TimeInput,
  { sizeMultiple, conditions }: NetworkSignature,
): Enlarging | undefined {
  if (superResolution === undefined) return undefined;
  const { factor, augmentation } = superResolution;
  return {
    ...{ factor, augmentation, time, channels: image.channels, told: conditions.lowResTime !== undefined },
    unit: sizeMultiple === null ? image.size / factor : sizeMultiple / greatestDivisor(sizeMultiple, factor),
  };
}

/**
 * A stage that enlarges pictures, of the request or of the stage before, made of one without them.
 *
 * @param enlarged how much larger the stage before has made the pictures of the settings' size; 1 / factor where the settings have
 *   the size of the result
 */
export function superResolutionStage(
  stage: Stage,
  enlarging: Enlarging,
  { name = stage.name, enlarged = 1 / enlarging.factor }: { readonly name?: string; readonly enlarged?: number } = {},
): Stage {
  const scale = enlarged * enlarging.factor;
  return {
    ...stage,
    name,
    encodesTextOnly: false,
    shape: (settings) => {
      const [height, width, channels] = stage.shape(settings);
      return [height * scale, width * scale, channels];
    },
    async encode(batch, context) {
      const { positive, negative } = await stage.encode(batch, context);
      const { lowRes, lowResTime } = lowResolutionInputs(batch, context, enlarging);
      if (!enlarging.told) lowResTime.dispose();
      const more: Conditions = { lowRes, ...(enlarging.told && { lowResTime }) };
      const again = () => Object.fromEntries(Object.entries(more).map(([key, tensor]) => [key, tf.clone(tensor)]));
      return {
        positive: { ...positive, ...more },
        negative: negative && { ...negative, ...again() },
      };
    },
    ...(enlarging.augmentation === 'truncated' && {
      stopsPrevious: ({ noiseLevel = 0 }: Settings) =>
        noiseLevel === 0 ? null : Math.tan((Math.PI * noiseLevel) / 2000),
    }),
  };
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}
