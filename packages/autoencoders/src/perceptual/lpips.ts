import {
  asWeightSource,
  constant,
  type HostTensor,
  InvalidArgumentError,
  Module,
  Param,
  type StateDict,
  type WeightSource,
} from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { Vgg16Slices, vggSlices } from './vgg16.js';

/** Mean and deviation of ImageNet's colours, for images in [-1, 1]. */
const shift = [-0.03, -0.088, -0.188];
const scale = [0.458, 0.448, 0.45];

/**
 * Perceptual distance: LPIPS with VGG16, version 0.1. Zhang et al. 2018, eq. 1. Nothing in it is trained.
 * State: `net.slice1.0.weight` ... `net.slice5.28.bias` and `lin0.model.1.weight` ... `lin4.model.1.weight`
 * `[1, C, 1, 1]`, as in the lpips package; see `lpipsWeights` for the files that people have.
 */
export class Lpips extends Module {
  readonly net: Vgg16Slices;
  readonly lin0: Head;
  readonly lin1: Head;
  readonly lin2: Head;
  readonly lin3: Head;
  readonly lin4: Head;

  constructor() {
    super();
    this.net = new Vgg16Slices();
    [this.lin0, this.lin1, this.lin2, this.lin3, this.lin4] = [64, 128, 256, 512, 512].map(head) as [
      Head,
      Head,
      Head,
      Head,
      Head,
    ];
  }

  /**
   * d(x, y) = sum over layers of the mean over pixels of sum_c w_c (f_c(x) - f_c(y))^2, features f of unit length at
   * each pixel.
   * @param x images `[N, H, W, 3]` in [-1, 1], sides of at least 16
   * @param y as x
   * @returns `[N]`
   * @throws InvalidArgumentError when the shapes do not fit
   */
  forward(x: tf.Tensor4D, y: tf.Tensor4D): tf.Tensor1D {
    if (x.rank !== 4 || String(x.shape) !== String(y.shape) || x.shape[3] !== 3 || x.shape[1] < 16 || x.shape[2] < 16) {
      throw new InvalidArgumentError(
        'Lpips',
        `expected two [N, H, W, 3] of the same shape and at least 16 x 16, got [${x.shape}] and [${y.shape}]`,
      );
    }
    return tf.tidy(() => {
      const both = this.net.forward(tf.concat([standardised(x), standardised(y)], 0));
      const heads = [this.lin0, this.lin1, this.lin2, this.lin3, this.lin4];
      return tf.addN(both.map((features, i) => distance(features, heads[i]!.model[1].weight.value))) as tf.Tensor1D;
    });
  }
}

/** One non-negative weight a channel. */
type Head = { readonly model: { readonly 1: { readonly weight: Param } } };

function head(channels: number): Head {
  return {
    model: { 1: { weight: new Param([1, channels, 1, 1], { init: constant(1 / channels), trainable: false }) } },
  };
}

function standardised(x: tf.Tensor4D): tf.Tensor4D {
  return tf.div<tf.Tensor4D>(tf.sub(x, tf.tensor1d(shift)), tf.tensor1d(scale));
}

/** features `[2N, h, w, C]`, those of x before those of y -> `[N]`. */
function distance(features: tf.Tensor4D, weight: tf.Tensor): tf.Tensor {
  // The constant keeps the slope finite where a pixel has no feature at all.
  const length = tf.sqrt(tf.add(tf.sum(tf.square(features), 3, true), 1e-20));
  const [fx, fy] = tf.split(tf.div(features, length), 2, 0);
  const squares = tf.square(tf.sub(fx!, fy!));
  return tf.mean(tf.sum(tf.mul(squares, tf.reshape(weight, [-1])), 3), [1, 2]);
}

/** Names that a tensor of {@link Lpips} has in the files that people have. */
const spellings = new Map<string, readonly string[]>(
  vggSlices.flatMap((slice, i) => [
    ...Object.keys(slice).flatMap((place) =>
      ['weight', 'bias'].map((kind): [string, string[]] => {
        const name = `net.slice${i + 1}.${place}.${kind}`;
        return [name, [name, `features.${place}.${kind}`]];
      }),
    ),
    // Place 0 is dropout; models made without it have the convolution there.
    [`lin${i}.model.1.weight`, [`lin${i}.model.1.weight`, `lin${i}.model.0.weight`]],
  ]),
);

/**
 * The weights of {@link Lpips} from one file or several, in the layouts that people have: torchvision's VGG16
 * (`features.0.weight` ...) with the heads of lpips or taming-transformers (`vgg.pth`: `lin0.model.1.weight` ...); the state of a
 * whole lpips model (`net.slice1.0.weight` ..., `lin0...`); a VQGAN checkpoint that holds one (`loss.perceptual_loss.net...`).
 * Other tensors are left out.
 *
 * @throws InvalidArgumentError when the network or the heads are in none of them; of a part, loading says what is missing
 */
export function lpipsWeights(...files: readonly (StateDict | WeightSource)[]): WeightSource {
  const sources = files.map(asWeightSource);
  const places = new Map<string, { source: WeightSource; name: string }>();
  for (const [key, names] of spellings) {
    const found = sources.flatMap((source) => named(source, names)).at(0);
    if (found !== undefined) places.set(key, found);
  }
  const name = sources.map((source) => source.name).join(' with ');
  const parts = {
    'net.': "VGG16's convolutions (features.0.weight ... or net.slice1.0.weight ...)",
    lin: 'the heads (lin0.model.1.weight ...)',
  };
  const problems = Object.entries(parts)
    .filter(([start]) => ![...places.keys()].some((key) => key.startsWith(start)))
    .map(([, what]) => `found none of ${what} in ${name || 'no file'}`);
  if (problems.length > 0) throw new InvalidArgumentError('lpipsWeights', problems);
  return {
    name,
    tensors: new Map([...places].map(([key, { source, name }]) => [key, source.tensors.get(name)!])),
    read: (key): HostTensor | Promise<HostTensor> => {
      const { source, name } = places.get(key)!;
      return source.read(name);
    },
  };
}

/** Tensors of a source that are called one of `names`, or so within a larger model; those without a prefix first. */
function named(source: WeightSource, names: readonly string[]): { source: WeightSource; name: string }[] {
  return [...source.tensors.keys()]
    .filter((key) => names.some((name) => key === name || key.endsWith(`.${name}`)))
    .sort((a, b) => a.length - b.length)
    .map((name) => ({ source, name }));
}
