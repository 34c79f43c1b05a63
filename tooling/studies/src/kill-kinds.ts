import { join } from 'node:path';

/** Updates of a run. */
export const STEPS = 12;

/** Where data and models lie. */
export interface Places {
  /** Class folders of pictures of 8 x 8 with captions. */
  readonly pictures: string;
  /** The repository. */
  readonly root: string;
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

/** A configuration of each kind of training: every recipe with an architecture that it belongs to, and what is no recipe. */
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
  dreambooth: fineTuning({ lora: { rank: 2 }, prior: { prompt: 'dog', count: 2 } }),
};
