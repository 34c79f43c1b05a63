import { InvalidArgumentError, Module, uniform } from '@mezzotint/core';
import { Embedding } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';

/**
 * A codebook: K vectors of width D, and the nearest of them for each latent pixel. van den Oord et al. 2017, eq. 1
 * and 2. State: `embedding.weight` `[K, D]`, drawn from U(-1/K, 1/K).
 */
export class VectorQuantizer extends Module {
  readonly embedding: Embedding;
  readonly codes: number;
  readonly width: number;

  constructor(codes: number, width: number) {
    super();
    this.codes = codes;
    this.width = width;
    this.embedding = new Embedding(codes, width, { init: uniform(1 / codes) });
  }

  /**
   * k = argmin_k ||z - e_k||^2 for each pixel: z `[N, h, w, D]` -> int32 `[N, h, w]`.
   * @throws InvalidArgumentError when the width differs
   */
  nearest(z: tf.Tensor4D): tf.Tensor3D {
    if (z.rank !== 4 || z.shape[3] !== this.width) {
      throw new InvalidArgumentError(this.constructor.name, `z: expected [N, h, w, ${this.width}], got [${z.shape}]`);
    }
    return tf.tidy(() => {
      const [n, height, width, d] = z.shape;
      const table = this.embedding.weight.value as tf.Tensor2D; //                    [K, D]
      const flat = tf.reshape(z, [n * height * width, d]); //                         [M, D]
      // ||z||^2 is the same for every k, so it does not move the smallest.
      const distance = tf.sub(tf.sum(tf.square(table), 1), tf.mul(tf.matMul(flat, table, false, true), 2)); // [M, K]
      return tf.reshape(tf.argMin(distance, 1), [n, height, width]) as tf.Tensor3D;
    });
  }

  /** The vectors of int32 `[N, h, w]` in [0, K): `[N, h, w, D]`. The gradient goes to the codebook. */
  lookup(indices: tf.Tensor3D): tf.Tensor4D {
    return this.embedding.forward(indices as tf.Tensor) as tf.Tensor4D;
  }

  /**
   * The nearest vectors, `[N, h, w, D]`, as one passes them on to the decoder: the gradient goes straight to z. The
   * codebook gets none here: see `vqLoss` and `EmaCodebook`.
   */
  forward(z: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => straightThrough(z, this.lookup(this.nearest(z))));
  }
}

/** The values of `codes`, the gradient to z as if it were they: z + sg(codes - z). van den Oord et al. 2017, section 3.2. */
export function straightThrough(z: tf.Tensor4D, codes: tf.Tensor4D): tf.Tensor4D {
  return tf.customGrad((_, codes) => ({
    value: tf.clone(codes as tf.Tensor4D),
    gradFunc: (dy: tf.Tensor) => [tf.clone(dy), tf.zerosLike(dy)],
  }))(z, codes) as tf.Tensor4D;
}
