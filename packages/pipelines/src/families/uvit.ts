import { InvalidArgumentError, type NoiseLevel } from '@mezzotint/core';
import { type Clipping, discreteTime, processOf, type Sampler, samplerFromProcess } from '@mezzotint/schedulers';
import { UViT, type UViTConfig, uvit, uvitFromShapes } from '@mezzotint/uvit';
import type { Family } from '../family.js';
import { openSingleNetwork } from './single-network.js';

/**
 * The published files of U-ViT (`cifar10_uvit_small.pth`, `imagenet256_uvit_large.pth`, `mscoco_uvit_small.pth`). Those of latent
 * images need Stable Diffusion's autoencoder: the option `parts`. Bao et al. 2022 (arXiv 2209.12152).
 */
export const uvitFamily: Family = {
  name: 'U-ViT',
  recognise: ({ source }) =>
    ['in_blocks.0.attn.qkv.weight', 'mid_block.norm1.weight', 'decoder_pred.weight'].every((name) =>
      source?.tensors.has(name),
    ),
  open(candidate, context) {
    const module = new UViT(uvitFromShapes(candidate.source!.tensors));
    const { imageSize, inChannels, context: text } = module.config;
    const latent = inChannels === 4;
    const betas = latent ? (context.options.betas ?? betasOf(module.config)) : 'linear';
    if (betas === 'cosine') {
      throw new InvalidArgumentError('betas', 'expected linear or scaled-linear for a U-ViT, got cosine');
    }
    return openSingleNetwork(candidate, context, {
      family: 'U-ViT',
      module,
      signature: uvit.signature(module.config),
      sampler: betas === 'linear' ? continuousSampler(latent ? null : { kind: 'clip', range: 1 }) : chainSampler(),
      // The COCO models were trained on latent images of another scale.
      latentScale: latent ? (text ? 0.2301 : 0.18215) : null,
      steps: 50,
      // The original's scales 0.4 (256 pixels), 0.7 (512) and 1 (text) count from zero.
      guidance: text ? 2 : imageSize === 64 ? 1.7 : 1.4,
    });
  },
};

/**
 * What a published file of latent images was trained on, which the file does not say: ImageNet's U-ViT-L at 256 and 512 pixels on
 * the continuous process of the pixels (`train_ldm.py`), the others on Stable Diffusion's chain (`train_ldm_discrete.py`).
 */
function betasOf({ classes, width, depth }: UViTConfig): 'linear' | 'scaled-linear' {
  return classes !== null && width === 1024 && depth === 20 ? 'linear' : 'scaled-linear';
}

/** Stable Diffusion's chain of 1000 steps, which these networks count from 1. */
function chainSampler(): Sampler {
  const process = {
    kind: 'discrete',
    betas: 'scaled-linear',
    steps: 1000,
    prediction: 'eps',
    learnedVariance: false,
  } as const;
  const index = discreteTime(processOf(process));
  return samplerFromProcess(process, { solver: 'dpmpp-2m', limit: null, timeOf: (at) => index(at) + 1 });
}

/** The continuous variance-preserving process with beta from 0.1 to 20, whose networks are told 999 t. Song et al. 2021. */
function continuousSampler(limit: Clipping | null): Sampler {
  const process = {
    kind: 'discrete',
    betas: 'linear',
    steps: 1000,
    prediction: 'eps',
    learnedVariance: false,
  } as const;
  return samplerFromProcess(process, { solver: 'dpmpp-2m', limit, timeOf: (at) => 999 * vpTime(at) });
}

/** t of 0.1 t + (20 - 0.1) t^2 / 2 = ln(1 + sigma^2 / alpha^2). */
function vpTime({ alpha, sigma }: NoiseLevel): number {
  const integral = Math.log1p((sigma / alpha) ** 2);
  return (Math.sqrt(0.1 ** 2 + 2 * (20 - 0.1) * integral) - 0.1) / (20 - 0.1);
}
