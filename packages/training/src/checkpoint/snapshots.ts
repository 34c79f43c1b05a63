import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import { readWeights, type WriteSafetensorsOptions, writeSafetensors } from '@mezzotint/weights/node';
import type { AverageState } from '../averages/average.js';
import { type AverageProfile, posthocEma, powerExponent, type Snapshot } from '../averages/power-function.js';

/** Which average a snapshot is of; `time` in images. */
export type SnapshotProfile = AverageProfile;

/**
 * The file name of a snapshot, that of EDM2's where its scheme can say the number of images (`network-snapshot-0939524-0.100`:
 * thousands of images, of a multiple of 1024, and the width), else with all images (`network-snapshot-1500img-0.100`).
 *
 * @throws InvalidArgumentError when the profile cannot be one, or its width has more than three decimals
 */
export function snapshotFileName({ sigmaRel, time: images }: SnapshotProfile, extension = 'safetensors'): string {
  powerExponent(sigmaRel);
  const problems: string[] = [];
  if (!Number.isSafeInteger(images) || images < 1) problems.push(`expected a whole number of images, got ${images}`);
  const width = sigmaRel.toFixed(3);
  if (Number(width) !== sigmaRel) problems.push(`sigmaRel: expected at most three decimals, got ${sigmaRel}`);
  if (problems.length > 0) throw new InvalidArgumentError('snapshotFileName', problems);
  const thousands = String(Math.floor(images / 1000)).padStart(7, '0');
  const time = imagesOf(Number(thousands)) === images ? thousands : `${images}img`;
  return `network-snapshot-${time}-${width}.${extension}`;
}

/** The profile that a snapshot's file name says, EDM2's published names (`edm2-img512-s-2147483-0.130.pkl`) included; else undefined. */
export function parseSnapshotFileName(name: string): SnapshotProfile | undefined {
  const match = /-(\d+)(img)?-(\d+\.\d+)\.(?:safetensors|pkl|pt|pth)$/.exec(name);
  if (match === null) return undefined;
  const [, digits, exact, width] = match;
  const [time, sigmaRel] = [exact ? Number(digits) : imagesOf(Number(digits)), Number(width)];
  return Number.isSafeInteger(time) && time > 0 && sigmaRel > 0 && sigmaRel < 1 / Math.sqrt(12)
    ? { sigmaRel, time }
    : undefined;
}

/** The multiple of 1024 images that has so many whole thousands. */
function imagesOf(thousands: number): number {
  return Math.floor((thousands * 1000 + 999) / 1024) * 1024;
}

/** Stores an average of a running training in a folder, for {@link reconstructAverages}; replaces one of the same profile. */
export async function writeSnapshot(folder: string, profile: SnapshotProfile, average: AverageState): Promise<string> {
  const path = join(folder, snapshotFileName(profile));
  mkdirSync(folder, { recursive: true });
  const { sigmaRel, time } = profile;
  const metadata = { sigma_rel: String(sigmaRel), images: String(time) };
  await writeSafetensors(path, average.tensors, { overwrite: true, metadata });
  return path;
}

/** The snapshots of a folder by their names, earliest first. */
export function listSnapshots(folder: string): (SnapshotProfile & { readonly path: string })[] {
  return readdirSync(folder)
    .flatMap((name) => {
      const profile = parseSnapshotFileName(name);
      return profile === undefined ? [] : [{ ...profile, path: join(folder, name) }];
    })
    .sort((a, b) => a.time - b.time || a.sigmaRel - b.sigmaRel);
}

/** An average to make and the file to write it to. */
export interface ReconstructionTarget {
  readonly sigmaRel: number;
  /** Images seen; those of the latest snapshot when absent. */
  readonly time?: number;
  readonly path: string;
}

/** What {@link reconstructAverages} may be told. */
export interface ReconstructOptions extends Pick<WriteSafetensorsOptions, 'overwrite' | 'metadata'> {
  /** Called after each tensor of the model. */
  readonly onTensor?: (done: number, all: number) => void;
}

/**
 * Makes averages of any width out of the snapshots of a folder (ours, or EDM2's `.pkl` files) and writes each as safetensors. A
 * snapshot is read once, tensor by tensor; the results are in memory. EDM2 (Karras et al. 2024), section 3.
 *
 * @throws InvalidFileError when the folder holds no snapshot; what `posthocEma` throws
 */
export async function reconstructAverages(
  folder: string,
  targets: readonly ReconstructionTarget[],
  { onTensor, ...options }: ReconstructOptions = {},
): Promise<void> {
  const files = listSnapshots(folder);
  if (files.length === 0) {
    throw new InvalidFileError(folder, 'holds no snapshots (network-snapshot-<kimg>-<width>.safetensors or .pkl)');
  }
  const last = files.at(-1)!.time;
  const profiles = targets.map(({ sigmaRel, time = last }) => ({ sigmaRel, time }));
  const open: (Snapshot & { close(): void })[] = [];
  try {
    for (const { path, ...profile } of files) {
      const weights = await readWeights(path);
      open.push({ ...profile, weights, close: () => weights.close() });
    }
    const states = targets.map(() => new Map<string, { shape: readonly number[]; data: Float32Array | Int32Array }>());
    let done = 0;
    for await (const { name, averages } of posthocEma(open, profiles)) {
      averages.forEach((average, i) => void states[i]!.set(name, average));
      onTensor?.(++done, open[0]!.weights.tensors.size);
    }
    for (const [i, { path }] of targets.entries()) {
      const { sigmaRel, time } = profiles[i]!;
      const metadata = { ...options.metadata, sigma_rel: String(sigmaRel), images: String(time) };
      await writeSafetensors(path, Object.fromEntries(states[i]!), { ...options, metadata });
    }
  } finally {
    for (const snapshot of open) snapshot.close();
  }
}
