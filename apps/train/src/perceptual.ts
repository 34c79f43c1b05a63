import { Lpips, lpipsWeights } from '@mezzotint/features';
import { readWeights } from '@mezzotint/weights/node';
import * as tf from '@tensorflow/tfjs-core';

/** Images [N, H, W, 1 or 3] of which LPIPS, which knows colours only, sees grey ones as colours. */
type Distance = (y: tf.Tensor4D, x: tf.Tensor4D) => tf.Scalar;

/** The mean LPIPS of images, with the weights of files. Throws what reading and loading throw. */
export async function openPerceptual(weights: string | readonly string[]): Promise<Distance> {
  const files = await openAll([weights].flat());
  try {
    const lpips = await new Lpips().load(lpipsWeights(...files));
    return (y, x) => tf.tidy(() => tf.mean<tf.Scalar>(lpips.forward(coloured(y), coloured(x))));
  } finally {
    for (const file of files) file.close();
  }
}

async function openAll(paths: readonly string[]): Promise<Awaited<ReturnType<typeof readWeights>>[]> {
  const files: Awaited<ReturnType<typeof readWeights>>[] = [];
  try {
    for (const path of paths) files.push(await readWeights(path));
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
  return files;
}

function coloured(x: tf.Tensor4D): tf.Tensor4D {
  return x.shape[3] === 1 ? tf.concat([x, x, x], 3) : x;
}
