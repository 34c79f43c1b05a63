import type { Module } from '@mezzotint/core';
import type { Adapter } from '../adapter.js';
import { admClassifier } from './adm.js';
import { autoencoderKL, autoencoderTiny, vqModel } from './autoencoders.js';
import { dis, lucidrainsUViT } from './cross-checks.js';
import { ditDiffusers } from './dit.js';
import { edm, edm2Adapter } from './edm.js';
import { efficientUNet } from './efficient-unet.js';
import { flux, fluxDiffusers, mmdit, mmditDiffusers } from './mmdit.js';
import { registeredAdapter } from './registered.js';
import { rin } from './rin.js';
import { selectiveScanReference, ssdReference } from './state-space.js';
import { clip, clipText, clipTextProjection, clipVision, clipVisionProjection, t5Encoder } from './text-encoders.js';
import { uvit, uvitTextToImage } from './uvit.js';
import { zigma } from './zigma.js';

/** Families whose goldens need more than their record says: other names of weights, several outputs, passes of their own. */
const adapters: readonly Adapter<Module>[] = [
  admClassifier,
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
  dis,
  lucidrainsUViT,
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
  return (
    adapters.find(({ classes, accepts }) => classes.includes(className) && (accepts?.(config) ?? true)) ??
    registeredAdapter(className)
  );
}
