import { join } from 'node:path';

/** Updates of a run. */
export const STEPS = 12;

/** Where data and models lie. */
export interface Places {
  /** Class folders of pictures of 8 x 8 with captions. */
  readonly pictures: string;
  /** The same pictures as latent images of 4 x 4 x 4, each mirrored, too. */
  readonly latents: string;
  /** The repository. */
  readonly root: string;
}

/** Where tiny models of diffusers' form lie. */
export function models({ root }: Pick<Places, 'root'>): string {
  return join(root, 'packages', 'pipelines', 'test', 'fixtures');
}

/** What all runs share: tiny, checkpoints often, samples twice, random crops and flips, averages with snapshots. */
const common = ({ pictures }: Places) => ({
  data: { kind: 'folder', path: pictures, size: 8, crop: 'random', flip: true, heldOut: 0.1, threads: 0 },
  ...{ steps: STEPS, batchSize: 4, every: { log: 1, sample: 6, checkpoint: 2 } },
  ema: { sigmaRel: [0.1], snapshotEvery: 4 },
});

const adm = {
  ...{
    modelChannels: 8,
    resBlocks: 1,
    heads: { channels: 8 },
    groups: 4,
    imageSize: 8,
    inChannels: 3,
    channelMult: [1, 2],
  },
  ...{ attentionResolutions: [2], attentionOrder: 'new', timeConditioning: 'scale-shift', resampling: 'residual' },
  ...{ dropout: 0.1, outChannels: 3, headsUp: { channels: 8 }, classes: 7, nullLabel: true },
};

const dit = {
  ...{ imageSize: 8, patchSize: 4, inChannels: 3, outChannels: 3, width: 16, depth: 2, heads: 2, mlpRatio: 2 },
  ...{ classes: 7, nullLabel: true, qkvBias: true, epsilon: 1e-6, mlpEpsilon: 1e-6, frequencyShift: 0 },
  ...{ embedders: 'shared', otherSizes: 'refused' },
};

const edm = {
  sigmaData: 0.5,
  unet: {
    ...{ type: 'song', imageSize: 8, inChannels: 3, outChannels: 3, classes: 7, augmentWidth: 9, modelChannels: 8 },
    ...{ channelMult: [1, 2], embeddingMult: 2, resBlocks: 1, attentionSizes: [4], dropout: 0.1 },
    ...{ noiseEmbedding: 'positional', noiseMult: 1, encoder: 'standard', decoder: 'standard', resampleFilter: [1, 1] },
  },
};

const edm2 = {
  ...{ sigmaData: 0.5, logvarChannels: 8 },
  unet: {
    ...{ imageSize: 8, inChannels: 3, classes: 7, modelChannels: 8, channelMult: [1, 2], noiseMult: null },
    ...{ embeddingMult: null, resBlocks: 1, attentionSizes: [4], channelsPerHead: 8, dropout: 0, labelBalance: 0.5 },
    ...{ concatBalance: 0.5, residualBalance: 0.3, attentionBalance: 0.3, clipActivations: 256 },
  },
};

const simple = {
  ...{
    inChannels: 3,
    levels: [
      { channels: 8, blocks: 1, dropout: 0 },
      { channels: 16, blocks: 1, dropout: 0 },
    ],
  },
  ...{ width: 16, depth: 2, headWidth: 8, mlpRatio: 2, dropout: 0.1, embeddingWidth: 16, groups: 4 },
  ...{ classes: 7, nullLabel: true, imageSize: 8, patchSize: 1 },
};

const rin = {
  ...{ inChannels: 3, latentMlpRatio: 2, latentPositions: 'learned', tokenPositions: 'learned', timeScale: 1000 },
  ...{ timeOn: 'latents', labelOn: 'latents', writableConditions: false, normalizedKeys: false },
  ...{
    selfConditioning: 'latents',
    selfConditioningRate: 0.9,
    dropout: 0.1,
    dropPath: 0,
    patchSize: 4,
    blocks: [1, 1],
  },
  ...{ latents: 6, latentWidth: 16, latentHeads: 2, tokenWidth: 16, tokenMlpRatio: 2, readWriteHeads: 2 },
  ...{ classes: 7, imageHeight: 8, imageWidth: 8 },
};

const uvit = {
  ...{ imageSize: 8, patchSize: 4, inChannels: 3, width: 16, depth: 2, heads: 2, mlpRatio: 2, qkvBias: false },
  ...{ timeMlp: false, longSkips: true, finalConv: true, classes: 7, nullLabel: true, context: null },
};

/** Steps of a solver that samples in a moment. */
const sampling = (solver: string) => ({ sampling: { solver, steps: 2, guidance: 1.5 } });

const diffusion = (architecture: string, network: object, recipe: string, solver: string, more: object = {}) => {
  return (places: Places) => ({
    ...{ task: 'diffusion', architecture, network, recipe, ...common(places), ...sampling(solver), ...more },
  });
};

const learned = { outChannels: 6 };

const fineTuning = (more: object) => (places: Places) => ({
  ...{ task: 'stable-diffusion', ...common(places), ema: {}, batchSize: 2 },
  model: join(places.root, 'apps', 'sample', 'test', 'fixtures', 'tiny-sd'),
  data: { kind: 'folder', path: places.pictures, size: 8, labels: 'none', threads: 0 },
  samples: { prompts: ['the red dog'], steps: 2, guidance: 2 },
  ...more,
});

const mmdit = {
  ...{ patchSize: 4, inChannels: 3, outChannels: 3, depth: 2, width: 16, heads: 2, mlpRatio: 2, contextWidth: 32 },
  ...{ pooledWidth: 12, qkNorm: 'rms', dualAttentionLayers: [], positionGrid: 2, positionBase: 2 },
};

/**
 * Captions as tags, which are shuffled and left out, by CLIP, which is trained along, and T5, which is not; each may miss its caption.
 */
const text = (places: Places) => {
  const encoder = (folder: string) => join(models(places), 'tiny-flux-dev', folder);
  return diffusion('MMDiT', mmdit, 'flow', 'euler', {
    conditions: {
      kind: 'captions',
      encoders: [
        { from: encoder('text_encoder'), length: 12, trained: true, dropout: 0.3 },
        { from: encoder('text_encoder_2'), length: 8, dropout: 0.3 },
      ],
      tags: { keep: 1, dropout: 0.2 },
      prompts: ['star, red, on white'],
    },
  })(places);
};

const tower = { width: 16, mlpWidth: 16, layers: 1, heads: 2, activation: 'quick', epsilon: 1e-5 };

const clip = (places: Places) => ({
  ...{ task: 'clip', ...common(places), tokenizer: { size: 520 } },
  network: {
    text: { ...tower, vocabSize: 520, positions: 16, pooledToken: 519, projection: 8 },
    vision: { ...tower, imageSize: 8, patchSize: 4, channels: 3, projection: 8 },
  },
});

const latents = (places: Places) => {
  const network = { ...dit, imageSize: 4, patchSize: 2, inChannels: 4, outChannels: 4 };
  return diffusion('DiT', network, 'flow', 'euler', { data: { kind: 'latents', path: places.latents } })(places);
};

const { outChannels: _, nullLabel: __, headsUp: ___, ...encoder } = adm;

const classifier = (places: Places) => ({
  ...{
    task: 'classifier',
    ...common(places),
    network: { ...encoder, pool: 'attention' },
  },
  ...{ process: { kind: 'discrete', betas: 'cosine', steps: 100, prediction: 'v' } },
  learningRate: { kind: 'constant', peak: 1e-3 },
});

const superResolution = (places: Places) => ({
  ...{ task: 'super-resolution', ...common(places), recipe: 'v-cosine', crop: 4, ...sampling('ddim') },
  network: {
    ...adm,
    imageSize: 4,
    attentionResolutions: [],
    heads: { count: 1 },
    headsUp: { count: 1 },
    lowResTime: true,
  },
  superResolution: { factor: 2, augmentation: 'truncated', most: 400, noiseLevel: 50 },
});

const coder = {
  ...{ inChannels: 3, outChannels: 3, blockChannels: [4, 8], layersPerBlock: 1, latentChannels: 2, groups: 2 },
  ...{ midAttention: true, scalingFactor: 1, shiftFactor: 0 },
};

/** An autoencoder against a discriminator that begins after four updates. */
const autoencoder =
  (architecture: string, network: object, more: object = {}) =>
  (places: Places) => ({
    ...{ task: 'autoencoder', ...common(places), architecture, network: { ...coder, ...network } },
    learningRate: { kind: 'constant', peak: 1e-3 },
    ...{ adversarial: { start: 4, channels: 4, layers: 1 }, ...more },
  });

/** A configuration of each kind of training: every recipe with an architecture that it belongs to, every other task, and what is no recipe. */
export const kinds: Readonly<Record<string, (places: Places) => object>> = {
  ddpm: diffusion('ADMUNet', adm, 'ddpm', 'ddim'),
  'v-cosine': diffusion('ADMUNet', adm, 'v-cosine', 'dpmpp-2m', { accumulation: 2 }),
  'min-snr': diffusion('UViT', uvit, 'min-snr', 'dpmpp-2m'),
  'improved-ddpm': diffusion('ADMUNet', { ...adm, ...learned }, 'improved-ddpm', 'ddim'),
  dit: diffusion('DiT', { ...dit, ...learned }, 'dit', 'ddim'),
  flow: diffusion('DiT', dit, 'flow', 'euler'),
  'rectified-flow': diffusion('DiT', dit, 'rectified-flow', 'euler'),
  edm: diffusion('EDM', edm, 'edm', 'heun', { augment: 0.12 }),
  edm2: diffusion('EDM2', edm2, 'edm2', 'heun'),
  'simple-diffusion': diffusion('SimpleDiffusionUViT', simple, 'simple-diffusion', 'ddim'),
  'vdm++': diffusion('SimpleDiffusionUViT', simple, 'vdm++', 'ddim'),
  rin: diffusion('RIN', rin, 'rin', 'ddim', { sampling: { solver: 'ddim', steps: 2, guidance: 1 } }),
  lora: fineTuning({ lora: { rank: 2, textEncoder: true }, promptDropout: 0.2 }),
  token: fineTuning({ token: { text: '<kat>', initializer: 'cat', vectors: 2 } }),
  text,
  clip,
  latents,
  'super-resolution': superResolution,
  classifier,
  'autoencoder-kl': autoencoder('AutoencoderKL', { quantConv: true, postQuantConv: true }),
  'autoencoder-vq': autoencoder(
    'VQModel',
    { codes: 8, codeWidth: 2 },
    { codebook: { kind: 'ema', decay: 0.9, reviveBelow: 0.1 } },
  ),
  dreambooth: fineTuning({ lora: { rank: 2 }, prior: { prompt: 'dog', count: 2 } }),
};
