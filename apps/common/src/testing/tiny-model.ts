import { ADMUNet, type ADMUNetConfig } from '@mezzotint/unet';
import { type DiffusionConfig, saveModel } from '../index.js';

/** The smallest network of the family: 8x8 grey, two classes and the null label. */
export const tinyNetwork: ADMUNetConfig = {
  imageSize: 8,
  inChannels: 1,
  outChannels: 1,
  modelChannels: 8,
  channelMult: [1, 2],
  resBlocks: 1,
  attentionResolutions: [2],
  heads: { count: 1 },
  headsUp: { count: 1 },
  attentionOrder: 'new',
  timeConditioning: 'scale-shift',
  resampling: 'pool',
  groups: 4,
  dropout: 0,
  classes: 2,
  nullLabel: true,
};

export const tinyConfig: DiffusionConfig = {
  format: 'mezzotint/diffusion@1',
  architecture: 'ADMUNet',
  network: tinyNetwork as unknown as Record<string, unknown>,
  image: { size: 8, channels: 1 },
  classes: ['a', 'b'],
  process: { kind: 'discrete', betas: 'cosine', steps: 100, prediction: 'v', learnedVariance: false },
  sampling: { solver: 'ddim', steps: 4, guidance: 2 },
};

/** Writes a model folder with seeded weights, none of them zero, so that every input matters. */
export async function writeTinyModel(folder: string): Promise<void> {
  const model = new ADMUNet(tinyNetwork).init(0);
  let seed = 1;
  for (const param of model.params().values()) {
    const data = Float32Array.from({ length: param.size }, () => {
      seed = (seed * 16807) % 2147483647;
      return (seed / 2147483647 - 0.5) * 0.4;
    });
    param.fromHost({ shape: param.fileShape, data });
  }
  await saveModel(folder, tinyConfig, model);
  model.dispose();
}
