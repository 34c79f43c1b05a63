import type { InputArgument, Preset } from '@mezzotint/core';
import { EDM } from '../edm.js';
import { edmFromOriginal } from '../edm-config.js';
import { EDM2, type EDM2Config, edm2, edm2FromOriginal } from '../edm2.js';
import { type AblationName, AblationUNet, ablation } from '../edm2-ablation.js';

/** One noisy image, its noise level and its label. */
function denoiserInputs({
  imageSize,
  inChannels,
  classes,
}: Pick<EDM2Config['unet'], 'imageSize' | 'inChannels' | 'classes'>): InputArgument[] {
  const labels = classes === null ? undefined : ({ shape: [1], dtype: 'int32' } as const);
  return [{ shape: [1, imageSize, imageSize, inChannels] }, { shape: [1] }, { ...(labels && { labels }) }];
}

const ddpmpp = { model_type: 'SongUNet', augment_dim: 9 };
const ncsnpp = {
  ...ddpmpp,
  embedding_type: 'fourier',
  channel_mult_noise: 2,
  encoder_type: 'residual',
  resample_filter: [1, 3, 3, 1],
};
const cifar10 = { img_resolution: 32, img_channels: 3, channel_mult: [2, 2, 2], dropout: 0.13 };
const faces = { img_resolution: 64, img_channels: 3, dropout: 0.05 };
const animals = { ...faces, dropout: 0.25 };

function edm(name: string, about: string, original: object): Preset<EDM> {
  const config = edmFromOriginal(original);
  return {
    name,
    about: `EDM's ${about} (Karras et al. 2022)`,
    config,
    build: () => new EDM(config),
    inputs: () => denoiserInputs(config.unet),
  };
}

/** The published snapshots of EDM; `vp` is DDPM++, `ve` is NCSN++. EDM, table 2 and appendix F. */
export const edmCifar10UncondVp = edm('edm-cifar10-32x32-uncond-vp', 'DDPM++, CIFAR-10, unconditional', {
  ...cifar10,
  ...ddpmpp,
});
export const edmCifar10CondVp = edm('edm-cifar10-32x32-cond-vp', 'DDPM++, CIFAR-10, class-conditional', {
  ...cifar10,
  ...ddpmpp,
  label_dim: 10,
});
export const edmCifar10UncondVe = edm('edm-cifar10-32x32-uncond-ve', 'NCSN++, CIFAR-10, unconditional', {
  ...cifar10,
  ...ncsnpp,
});
export const edmCifar10CondVe = edm('edm-cifar10-32x32-cond-ve', 'NCSN++, CIFAR-10, class-conditional', {
  ...cifar10,
  ...ncsnpp,
  label_dim: 10,
});
export const edmFfhqVp = edm('edm-ffhq-64x64-uncond-vp', 'DDPM++, FFHQ 64x64', { ...faces, ...ddpmpp });
export const edmFfhqVe = edm('edm-ffhq-64x64-uncond-ve', 'NCSN++, FFHQ 64x64', { ...faces, ...ncsnpp });
export const edmAfhqv2Vp = edm('edm-afhqv2-64x64-uncond-vp', 'DDPM++, AFHQv2 64x64', { ...animals, ...ddpmpp });
export const edmAfhqv2Ve = edm('edm-afhqv2-64x64-uncond-ve', 'NCSN++, AFHQv2 64x64', { ...animals, ...ncsnpp });
export const edmImagenet64 = edm('edm-imagenet-64x64-cond-adm', 'ADM, ImageNet 64x64, class-conditional', {
  img_resolution: 64,
  img_channels: 3,
  label_dim: 1000,
});

/** Base width and dropout of each size. EDM2, table 6. */
const sizes = {
  xxs: { model_channels: 64, dropout: 0 },
  xs: { model_channels: 128, dropout: 0 },
  s: { model_channels: 192, dropout: 0 },
  m: { model_channels: 256, dropout: 0.1 },
  l: { model_channels: 320, dropout: 0.1 },
  xl: { model_channels: 384, dropout: 0.1 },
  xxl: { model_channels: 448, dropout: 0.1 },
} as const;

type Size = keyof typeof sizes;

/** ImageNet 512x512 as latent images of 64x64, and ImageNet 64x64. */
const data = {
  512: { img_channels: 4, about: 'ImageNet 512x512 (latent 64x64)' },
  64: { img_channels: 3, about: 'ImageNet 64x64' },
};

function published(size: Size, pixels: 512 | 64, { classes = 1000 } = {}): Preset<EDM2> {
  const { img_channels, about } = data[pixels];
  const config = edm2FromOriginal({ ...sizes[size], img_resolution: 64, img_channels, label_dim: classes });
  return {
    name: `edm2-img${pixels}-${size}${classes === 0 ? '-uncond' : ''}`,
    about: `EDM2-${size.toUpperCase()}, ${about}, ${classes === 0 ? 'unconditional' : 'class-conditional'} (Karras et al. 2024)`,
    config,
    build: () => edm2(config),
    inputs: () => denoiserInputs(config.unet),
  };
}

/** The published networks of EDM2 for ImageNet 512x512; XXS and the unconditional ones guide the larger ones. */
export const edm2Img512Xxs = published('xxs', 512);
export const edm2Img512Xs = published('xs', 512);
export const edm2Img512S = published('s', 512);
export const edm2Img512M = published('m', 512);
export const edm2Img512L = published('l', 512);
export const edm2Img512Xl = published('xl', 512);
export const edm2Img512Xxl = published('xxl', 512);
export const edm2Img512XsUncond = published('xs', 512, { classes: 0 });
/** The published networks of EDM2 for ImageNet 64x64. */
export const edm2Img64Xs = published('xs', 64);
export const edm2Img64S = published('s', 64);
export const edm2Img64M = published('m', 64);
export const edm2Img64L = published('l', 64);
export const edm2Img64Xl = published('xl', 64);

/** A configuration of EDM2's ablation with its preconditioning; the uncertainty head stands from B on. */
function ablated(name: AblationName): Preset<EDM2<AblationUNet>> {
  const { unet, recipe } = ablation[name];
  const head = { sigmaData: 0.5, logvarChannels: recipe.uncertainty ? 128 : null };
  return {
    name: `edm2-ablation-${name.toLowerCase()}`,
    about: `Configuration ${name} of EDM2's ablation, ImageNet 512x512 (latent 64x64) (Karras et al. 2024, table 1)`,
    config: { ...head, unet },
    build: () => new EDM2(head, new AblationUNet(unet)),
    inputs: () => denoiserInputs(unet),
  };
}

export const edm2AblationA = ablated('A');
export const edm2AblationB = ablated('B');
export const edm2AblationC = ablated('C');
export const edm2AblationD = ablated('D');
export const edm2AblationE = ablated('E');
export const edm2AblationF = ablated('F');
export const edm2AblationG = ablated('G');
