import type { Module } from '@mezzotint/core';
import type { Adapter } from '../adapter.js';
import { admClassifier, admUNet, admUpsampler } from './adm.js';
import { autoencoderKL, autoencoderTiny, vqModel } from './autoencoders.js';
import { dit, ditDiffusers } from './dit.js';
import { edm, edm2Adapter } from './edm.js';
import { efficientUNet } from './efficient-unet.js';
import { flux, fluxDiffusers, mmdit, mmditDiffusers } from './mmdit.js';
import { rin } from './rin.js';
import { selectiveScanReference, ssdReference } from './state-space.js';
import { clip, clipText, clipTextProjection, clipVision, clipVisionProjection, t5Encoder } from './text-encoders.js';
import { unet2d } from './unet-2d.js';
import { unet2dCondition } from './unet-2d-condition.js';
import { uvit, uvitTextToImage } from './uvit.js';
import { zigma } from './zigma.js';

/** Every family that we have models for. */
const adapters: readonly Adapter<Module>[] = [
  admUNet,
  admUpsampler,
  admClassifier,
  unet2d,
  unet2dCondition,
  dit,
  ditDiffusers,
  edm,
  edm2Adapter,
  mmdit,
  mmditDiffusers,
  flux,
  fluxDiffusers,
  efficientUNet,
  uvit,
  uvitTextToImage,
  rin,
  zigma,
  selectiveScanReference,
  ssdReference,
  autoencoderKL,
  vqModel,
  autoencoderTiny,
  clipText,
  clipTextProjection,
  clipVision,
  clipVisionProjection,
  clip,
  t5Encoder,
];

/** The adapter that knows a class of origin.json; undefined when there is no such model yet. */
export function adapterOf(className: string, config: unknown = {}): Adapter<Module> | undefined {
  return adapters.find(({ classes, accepts }) => classes.includes(className) && (accepts?.(config) ?? true));
}
