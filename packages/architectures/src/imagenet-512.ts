import { describe } from '@mezzotint/core';
import { presetNamed } from './architectures.js';

/** A system of a published table. */
export interface PublishedSystem {
  readonly name: string;
  /** FID without and with guidance; null where none is published. */
  readonly fid: number | null;
  readonly guidedFid: number | null;
  /** Millions. */
  readonly parameters: number | null;
  /** Billions of operations of one evaluation of the network, as the source counts them. */
  readonly gflops: number | null;
  /** Evaluations of the network for a picture. */
  readonly nfe: number | null;
  readonly source: string;
  /** Presets of ours whose costs add up to the system's. */
  readonly presets?: readonly string[];
  /** What a reader has to know. */
  readonly note?: string;
}

const source = 'Karras et al. 2024 (EDM2), table 2';
const approximate = 'parameters and Gflops approximated by the source to within 10 %';
const gan = `a GAN, no diffusion model; guided by a classifier in training; ${approximate}`;
const rinNote = "the released code computes 171 G multiply-adds, 341 Gflop; the table prints the paper's number";

/** Name, FID, guided FID, millions of parameters, Gflops, evaluations, presets, note. */
type Row = readonly [string, number | null, number | null, number, number, number, (readonly string[])?, string?];

const rows: readonly Row[] = [
  ['ADM', 23.24, 7.72, 559, 1983, 250, ['adm-512']],
  ['DiT-XL/2', 12.03, 3.04, 675, 525, 250, ['dit-xl-2-512']],
  ['ADM-U', 9.96, 3.85, 730, 2813, 250, ['adm-128', 'adm-128-512-upsampler']],
  ['RIN', 3.95, null, 320, 415, 1000, ['rin-imagenet512'], rinNote],
  ['U-ViT, L', 3.54, 3.02, 2455, 555, 256, ['simple-diffusion-uvit-512'], approximate],
  ['VDM++', 2.99, 2.65, 2455, 555, 256, ['simple-diffusion-uvit-512'], approximate],
  ['StyleGAN-XL', null, 2.41, 168, 2067, 1, [], gan],
  ['EDM2-XS', 3.53, 2.91, 125, 46, 63, ['edm2-img512-xs']],
  ['EDM2-S', 2.56, 2.23, 280, 102, 63, ['edm2-img512-s']],
  ['EDM2-M', 2.25, 2.01, 498, 181, 63, ['edm2-img512-m']],
  ['EDM2-L', 2.06, 1.88, 777, 282, 63, ['edm2-img512-l']],
  ['EDM2-XL', 1.96, 1.85, 1119, 406, 63, ['edm2-img512-xl']],
  ['EDM2-XXL', 1.91, 1.81, 1523, 552, 63, ['edm2-img512-xxl']],
];

/**
 * The published table of ImageNet-512: EDM2's table 2 (Karras et al. 2024). The sampling of the EDM2 rows is deterministic, that of the
 * other diffusion models stochastic.
 */
export const imageNet512: readonly PublishedSystem[] = rows.map(
  ([name, fid, guidedFid, parameters, gflops, nfe, presets = [], note]) => ({
    ...{ name, fid, guidedFid, parameters, gflops, nfe, source },
    ...(presets.length > 0 && { presets }),
    ...(note !== undefined && { note }),
  }),
);

/** What our cost model counts for a system. */
export interface SystemCost {
  /** Millions. */
  readonly parameters: number;
  /** Billions of multiply-adds of one evaluation. */
  readonly gmacs: number;
  /** Billions of operations as EDM2 counts them: multiply-adds and element-wise operations. */
  readonly edm2Gflops: number;
}

/** The costs of a system's presets together; null where we have none. */
export function systemCost({ presets = [] }: Pick<PublishedSystem, 'presets'>): SystemCost | null {
  if (presets.length === 0) return null;
  const costs = presets.map((name) => {
    const { preset } = presetNamed(name);
    return describe(preset.build(), preset.inputs());
  });
  const sum = (of: (cost: (typeof costs)[number]) => number) => costs.reduce((total, cost) => total + of(cost), 0);
  return {
    parameters: sum(({ parameters }) => parameters) / 1e6,
    gmacs: sum(({ macs }) => macs) / 1e9,
    edm2Gflops: sum(({ edm2Flops }) => edm2Flops) / 1e9,
  };
}
