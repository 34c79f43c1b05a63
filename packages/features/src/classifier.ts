import { type ClassifierNetwork, InvalidArgumentError, readNetworkConfig } from '@mezzotint/core';
import { noisyClassifier } from '@mezzotint/unet';
import * as tf from '@tensorflow/tfjs-core';
import type { FeatureNetwork, FeatureNetworkRecord } from './feature-network.js';
import { asColour, pillowBicubic, resizeImages } from './resize.js';
import { withWeightsInRecipe } from './weights-digest.js';

/** What a small classifier looks at: squares of this size. */
export interface ClassifierInput {
  readonly size: number;
  readonly channels: 1 | 3;
}

/** A loaded small classifier as a feature network: what its last linear map sees, and its logits, at noise level 0. */
export function classifierFeatures(network: ClassifierNetwork, { size, channels }: ClassifierInput): FeatureNetwork {
  const [dimension, classes] = tf.tidy(() => {
    const features = network.features(tf.zeros([1, size, size, channels]), tf.zeros([1]));
    return [features.shape[1], network.logits(features).shape[1]] as const;
  });
  return {
    name: 'classifier',
    dimension,
    classes,
    recipe:
      `a small classifier of ours (${classes} classes, ${size} x ${size} x ${channels}), ${dimension} features: ` +
      'scores compare only among themselves, they are not FID',
    forward: (images) =>
      tf.tidy(() => {
        const [, height, width] = images.shape;
        const coloured = channels === 3 ? asColour('classifier', images) : asGrey(images);
        const x =
          height === size && width === size
            ? tf.cast(coloured, 'float32')
            : resizeImages(coloured, [size, size], pillowBicubic, { bytes: true });
        const features = network.features(tf.sub(tf.div(x, 127.5), 1), tf.zeros([images.shape[0]]));
        return { features, logits: network.logits(features) };
      }),
    dispose: () => network.dispose(),
  };
}

/** Luminance as Pillow's `convert('L')`. `[N, H, W, 1 or 3]` -> `[N, H, W, 1]`. */
function asGrey(images: tf.Tensor4D): tf.Tensor4D {
  if (images.shape[3] === 1) return images;
  if (images.shape[3] !== 3) {
    throw new InvalidArgumentError('classifier', `images: expected [N, H, W, 1 or 3], got [${images.shape}]`);
  }
  const luma = tf.tensor1d([19595 / 65536, 38470 / 65536, 7471 / 65536]);
  return tf.floor(tf.add<tf.Tensor4D>(tf.sum(tf.mul(tf.cast(images, 'float32'), luma), 3, true), 0.5));
}

/** The parts of a classifier's config.json that are needed here. */
interface ClassifierFile {
  readonly format: string;
  readonly architecture: string;
  readonly network: Readonly<Record<string, unknown>>;
  readonly image: ClassifierInput;
}

/** The classifiers that the train app makes, such as `models/digits-classifier`: a folder with config.json. */
export const classifierRecord: FeatureNetworkRecord = {
  name: 'classifier',
  about: 'a small classifier that `train` made (models/digits-classifier): scores without any downloaded weights',
  weights: [],
  async open({ weights, config }) {
    const { format, architecture, network, image } = (config ?? {}) as Partial<ClassifierFile>;
    const ours = format === 'mezzotint/classifier@1' && architecture === noisyClassifier.name;
    const fits = ours && network !== undefined && image !== undefined;
    if (weights.length !== 1 || !fits) {
      throw new InvalidArgumentError(
        'classifier',
        "expected the model.safetensors and the config.json of train's classifier folder, of format mezzotint/classifier@1",
      );
    }
    const classifier = noisyClassifier.build(readNetworkConfig(noisyClassifier, network));
    return withWeightsInRecipe(classifierFeatures(await classifier.load(weights[0]!), image), weights[0]!);
  },
};
