import { asWeightSource, type StateDict, type WeightSource } from '@mezzotint/core';
import type { FeatureNetwork } from './feature-network.js';

const DIGITS = 16;

/**
 * The network with the digest of its weights in its recipe, so that the features of two networks of one shape are told apart: SHA-256
 * of each tensor's name, shape and values in the order of names; the first 16 digits. For networks whose name does not say which
 * weights they have: those of users' own trainings.
 *
 * @param network opened with `weights`
 * @param weights read once more, one tensor at a time
 * @throws what reading throws
 */
export async function withWeightsInRecipe(
  network: FeatureNetwork,
  weights: StateDict | WeightSource,
): Promise<FeatureNetwork> {
  const source = asWeightSource(weights);
  const digests: string[] = [];
  for (const name of [...source.tensors.keys()].sort()) {
    const { shape, data } = await source.read(name);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength) as Uint8Array<ArrayBuffer>;
    digests.push(`${JSON.stringify([name, shape])} ${await sha256(bytes)}`);
  }
  const digest = await sha256(new TextEncoder().encode(digests.join('\n')));
  return { ...network, recipe: `${network.recipe}; weights ${digest.slice(0, DIGITS)}` };
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
