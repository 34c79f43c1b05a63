import { asWeightSource, InvalidArgumentError, StateShapes, throwIf, type WeightSource } from '@mezzotint/core';
import {
  type ClipConfig,
  ClipModel,
  clipFromTransformers,
  clipPixels,
  clipTextFromShapes,
  clipTokenizer,
  clipVocabulary,
  type Tokenizer,
  tokenize,
} from '@mezzotint/text-encoders';
import * as tf from '@tensorflow/tfjs-core';
import type { FeatureNetwork, FeatureNetworkRecord } from './feature-network.js';
import { asColour, fillSquare, pillowBicubic } from './resize.js';
import { withWeightsInRecipe } from './weights-digest.js';

/**
 * A loaded CLIP as a feature network: pictures and texts in the space that both share, not yet of unit length. Pictures: the
 * shorter side to the tower's size by Pillow's bicubic filter in bytes, the middle, CLIP's mean and deviation.
 */
export function clipFeatures(name: string, network: ClipModel, tokenizer: Tokenizer): FeatureNetwork {
  const { imageSize, projection } = network.config.vision;
  return {
    name,
    dimension: projection!,
    classes: null,
    recipe:
      `CLIP (${name}), projected class token; shorter side to ${imageSize} by Pillow bicubic in bytes, middle cut out, ` +
      `CLIP's mean and deviation; texts cut to ${tokenizer.maxLength} tokens with the end kept`,
    forward: (images) =>
      tf.tidy(() => {
        const x = fillSquare(asColour(name, images), imageSize, pillowBicubic);
        const { pooled } = network.vision_model.forward(clipPixels(tf.sub(tf.div(x, 127.5), 1)));
        return { features: network.visual_projection.forward(pooled) };
      }),
    embedText: (texts) =>
      tf.tidy(() => {
        const { pooled } = network.text_model.forward(tokenize(tokenizer, texts).ids);
        return network.text_projection.forward(pooled);
      }),
    dispose: () => network.dispose(),
  };
}

/** The configuration of a whole CLIP from names and shapes in transformers' layout; `quick` for OpenAI's. */
function configFromShapes(source: WeightSource, activation: 'quick' | 'erf', headWidth: number): ClipConfig {
  const shapes = new StateShapes(source.tensors);
  const patch = 'vision_model.embeddings.patch_embedding.weight';
  const [width, patchSize] = [shapes.axis(patch, 0), shapes.axis(patch, 2)];
  const vision = {
    ...{ width, patchSize, activation, channels: 3, epsilon: 1e-5 },
    mlpWidth: shapes.axis('vision_model.encoder.layers.0.mlp.fc1.weight', 0),
    layers: shapes.count('vision_model.encoder.layers'),
    heads: Math.max(1, Math.floor(width / headWidth)),
    imageSize:
      Math.round(Math.sqrt(shapes.axis('vision_model.embeddings.position_embedding.weight', 0) - 1)) * patchSize,
    projection: shapes.axis('visual_projection.weight', 0),
  };
  shapes.check('CLIP');
  return { text: clipTextFromShapes(source.tensors, activation), vision };
}

function record(
  name: string,
  about: string,
  hub: string,
  expected: { readonly width: number; readonly patchSize: number; readonly imageSize: number },
  { activation = 'quick', headWidth = 64 }: { readonly activation?: 'quick' | 'erf'; readonly headWidth?: number } = {},
): FeatureNetworkRecord {
  return {
    name,
    about,
    weights: [{ file: 'model.safetensors (or pytorch_model.bin)', url: `https://huggingface.co/${hub}/tree/main` }],
    async open({ weights, config: json }) {
      throwIf(name, weights.length === 1 ? [] : [`expected one file of weights, got ${weights.length}`]);
      const source = asWeightSource(weights[0]!);
      if (!source.tensors.has('visual_projection.weight') && json === undefined) {
        throw new InvalidArgumentError(
          name,
          `${source.name}: expected transformers' CLIPModel with both towers (visual_projection.weight, text_model.…)`,
        );
      }
      const config = json === undefined ? configFromShapes(source, activation, headWidth) : clipFromTransformers(json);
      const { width, patchSize, imageSize } = config.vision;
      const same = width === expected.width && patchSize === expected.patchSize && imageSize === expected.imageSize;
      const sizes = (v: typeof expected) =>
        `an image tower ${v.width} wide with patches of ${v.patchSize} at ${v.imageSize}`;
      throwIf(name, same ? [] : [`expected ${sizes(expected)}, got ${sizes(config.vision)}`]);
      const network = await new ClipModel(config).load(source);
      // OpenCLIP fills texts up with 0; what stands behind the end changes nothing, as the text tower is causal.
      return clipFeatures(name, network, clipTokenizer(await clipVocabulary()));
    },
  };
}

/** A CLIP of one's own, of any size. */
const ownClip: FeatureNetworkRecord = {
  name: 'clip',
  about: 'a CLIP of any size with its own vocabulary, such as `train` makes: CLIP score, retrieval',
  weights: [],
  async open({ weights, config: json, vocabulary }) {
    if (weights.length !== 1 || json === undefined || vocabulary === undefined) {
      throw new InvalidArgumentError(
        'clip',
        "expected the folder of transformers' CLIPModel that train makes: model.safetensors with config.json, vocab.json and merges.txt",
      );
    }
    const config = clipFromTransformers(json);
    const tokenizer = clipTokenizer(vocabulary, { maxLength: config.text.positions });
    if (tokenizer.end >= config.text.vocabSize) {
      throw new InvalidArgumentError(
        'clip',
        `vocab.json has tokens up to ${tokenizer.end}, the network has ${config.text.vocabSize}`,
      );
    }
    const network = await new ClipModel(config).load(asWeightSource(weights[0]!));
    return withWeightsInRecipe(clipFeatures('clip', network, tokenizer), weights[0]!);
  },
};

/** CLIP's published sizes, and one's own. */
export const clipRecords: readonly FeatureNetworkRecord[] = [
  ownClip,
  record('clip-vit-b-32', 'CLIP ViT-B/32, pictures and texts (Radford et al. 2021)', 'openai/clip-vit-base-patch32', {
    ...{ width: 768, patchSize: 32, imageSize: 224 },
  }),
  record('clip-vit-b-16', 'CLIP ViT-B/16, pictures and texts (Radford et al. 2021)', 'openai/clip-vit-base-patch16', {
    ...{ width: 768, patchSize: 16, imageSize: 224 },
  }),
  record(
    'clip-vit-l-14',
    'CLIP ViT-L/14, pictures and texts: CLIP score (Hessel et al. 2021)',
    'openai/clip-vit-large-patch14',
    { width: 1024, patchSize: 14, imageSize: 224 },
  ),
  record(
    'clip-vit-l-14-336',
    'CLIP ViT-L/14 at 336 pixels: CMMD (Jayasumana et al. 2024)',
    'openai/clip-vit-large-patch14-336',
    { width: 1024, patchSize: 14, imageSize: 336 },
  ),
  record(
    'openclip-vit-h-14',
    'OpenCLIP ViT-H/14, LAION-2B (Cherti et al. 2022)',
    'laion/CLIP-ViT-H-14-laion2B-s32B-b79K',
    { width: 1280, patchSize: 14, imageSize: 224 },
    { activation: 'erf', headWidth: 80 },
  ),
  record(
    'openclip-vit-bigg-14',
    'OpenCLIP ViT-bigG/14, LAION-2B (Cherti et al. 2022)',
    'laion/CLIP-ViT-bigG-14-laion2B-39B-b160k',
    { width: 1664, patchSize: 14, imageSize: 224 },
    { activation: 'erf', headWidth: 104 },
  ),
];
