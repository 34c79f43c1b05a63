import type { DenoisingNetwork, HostTensor, NetworkSignature, NoiseLevel, SamplingRun } from '@mezzotint/core';
import { InvalidArgumentError, readingBudget } from '@mezzotint/core';
import { classifierGuidance, classifierMeanGuidance } from '@mezzotint/guidance';
import type { AfterLimit, Network, Sampler } from '@mezzotint/schedulers';
import * as tf from '@tensorflow/tfjs-core';
import type { Request, RequestKey } from '../../request.js';
import type { Batch, Codec, Conditions, EncodeContext, EncodedBatch, GuideContext, Stage } from '../../stage.js';
import type { GuidingClassifier } from './classifier.js';

/** A network with classes or without, and how it is sampled. */
export interface ClassStageOptions {
  readonly name: string;
  readonly network: DenoisingNetwork;
  /** The network for one run, where something goes on from step to step; `network` itself when absent. */
  readonly startRun?:
    | ((options: { readonly images: number; readonly from?: readonly HostTensor[] | undefined }) => SamplingRun)
    | undefined;
  readonly signature: NetworkSignature;
  readonly sampler: Sampler;
  readonly codec: Codec | null;
  /** Names of the parts that sampling needs. */
  readonly parts: readonly string[];
  /** Channels that classifier-free guidance moves, the first ones; all when absent. DiT's code guides 3 of 4. */
  readonly guidedChannels?: number;
  /** A classifier that guides by its gradient, and its part. */
  readonly classifier?: GuidingClassifier | undefined;
  /** Only so many of the output's channels are the prediction; the rest is left out. All when absent. */
  readonly predictionChannels?: number;
  /** The network's label of a class of the request; itself when absent. */
  readonly nullLabel?: number;
}

/** Labels of a batch as tensors, or nothing for a model without classes. */
type ClassConditions = Conditions & { readonly labels?: tf.Tensor1D };

/** The stage of a network that is conditioned on classes or on nothing. */
export function classStage(options: ClassStageOptions): Stage<ClassConditions> {
  const { name, network, signature, sampler, codec, parts, classifier, predictionChannels } = options;
  const conditional = signature.classes !== null;
  return {
    name,
    sampler,
    codec,
    parts: { encode: [], sample: [...parts, ...(classifier ? [classifier.part] : [])] },
    start: 'noise',
    shape: ({ height, width }) => {
      const f = codec?.downscale ?? 1;
      return [height / f, width / f, codec?.channels ?? signature.inChannels];
    },
    encode: ({ images }) => encodeLabels(images, signature, options.nullLabel),
    network({ batch, from }) {
      const going = options.startRun?.({ images: batch.images.length, from });
      const predict: Network<ClassConditions> = (x, time, conditions) =>
        tf.tidy(() => {
          const { labels, ...others } = conditions;
          const given = { ...(conditional && labels && { labels }), ...others };
          const out = (going ?? network).forward(x, time, given);
          return predictionChannels === undefined ? out : tf.slice(out, [0, 0, 0, 0], [-1, -1, -1, predictionChannels]);
        });
      return going ? Object.assign(predict, { save: () => going.save(), dispose: () => going.dispose() }) : predict;
    },
    module: network,
    negatives: conditional && signature.nullLabel,
    guidedChannels: options.guidedChannels,
    batchesGuidance: true,
    after: (context) => classifierOf(options, context),
  };
}

function encodeLabels(
  images: Batch['images'],
  { classes, nullLabel }: NetworkSignature,
  label: number | undefined,
): EncodedBatch<ClassConditions> {
  if (classes === null) {
    // A classifier needs labels though the network has no place for them.
    const labels = images.map((image) => image.label);
    return { positive: labels.includes(null) ? {} : { labels: ints(labels as number[]) }, negative: null };
  }
  return {
    positive: { labels: ints(images.map((image) => image.label ?? 0)) },
    negative: nullLabel ? { labels: ints(images.map(() => label ?? classes)) } : null,
  };
}

function ints(values: readonly number[]): tf.Tensor1D {
  return tf.tensor1d(Int32Array.from(values), 'int32');
}

/**
 * A classifier's gradient on estimates that were clipped, as in guided-diffusion: the mean of ancestral steps with a learned variance
 * moves by their own variance, the estimate of others by sigma^2 / alpha. Dhariwal and Nichol 2021, algorithms 1 and 2.
 */
function classifierOf(
  { classifier, sampler }: ClassStageOptions,
  { settings: { classifierScale = 1 }, schedule }: Pick<GuideContext<ClassConditions>, 'settings' | 'schedule'>,
): AfterLimit<ClassConditions> | undefined {
  if (classifier === undefined || classifierScale === 0) return undefined;
  const options = {
    scale: classifierScale,
    logProbability: (x: tf.Tensor4D, at: NoiseLevel, { labels }: ClassConditions) => {
      const told = classifier.timeOf?.(at) ?? at.time ?? sampler.timeOf(at);
      const seen = tf.div<tf.Tensor4D>(x, Math.hypot(at.alpha, at.sigma));
      const logits = classifier.network.forward(seen, tf.fill([x.shape[0]], told)); // [N, classes]
      return tf.sum(tf.mul(tf.logSoftmax(logits), tf.oneHot(labels!, logits.shape[1])), 1) as tf.Tensor1D;
    },
  };
  return {
    estimate: (limited) => classifierGuidance(limited, options),
    variance: (limited) => classifierMeanGuidance(limited, { ...options, schedule }),
  };
}

/** The settings that a class-conditional or unconditional model takes. */
export function classSettings(
  { classes, nullLabel, sizeMultiple }: NetworkSignature,
  more: { readonly classifier?: unknown } = {},
): RequestKey[] {
  return [
    ...(classes !== null || more.classifier ? (['labels'] as const) : []),
    ...(nullLabel ? (['guidance', 'guidanceRescale'] as const) : []),
    ...(more.classifier ? (['classifierScale'] as const) : []),
    ...(sizeMultiple === null ? [] : (['height', 'width'] as const)),
  ];
}

/** Classes of ImageNet that papers show: a macaw, a golden retriever, a volcano, … */
const SHOWN_OF_IMAGENET = '207,360,387,974,88,979,417,279';

/** All classes of a small model, a few of a large one: what is made when no labels are asked for. */
export function shownLabels(classes: number | null): Pick<Request, 'labels'> {
  if (classes === null || classes <= 20) return {};
  return { labels: classes === 1000 ? SHOWN_OF_IMAGENET : '0-7' };
}

/**
 * Names for classes that have none.
 *
 * @throws InvalidArgumentError for more classes than a configuration may ask for
 */
export function numbered(classes: number | null): readonly string[] {
  if (classes !== null && classes > readingBudget.classes) {
    throw new InvalidArgumentError('model', `classes: expected at most ${readingBudget.classes}, got ${classes}`);
  }
  return Array.from({ length: classes ?? 0 }, (_, i) => String(i));
}

/**
 * Pictures of the stage before as an upsampler of guided-diffusion sees them: in 8 bits, rounded down, as its sampling scripts
 * write them into a file and read them again.
 */
export function lowResolution({ previous }: Pick<EncodeContext, 'previous'>): tf.Tensor4D {
  return tf.tidy(() => {
    const bytes = tf.floor(tf.clipByValue(tf.mul(tf.add(previous!, 1), 127.5), 0, 255));
    return tf.sub(tf.div(bytes, 127.5), 1);
  });
}
