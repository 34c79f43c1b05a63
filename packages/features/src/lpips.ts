import {
  asWeightSource,
  constant,
  type HostTensor,
  type Initializer,
  InvalidArgumentError,
  Module,
  type OtherArchitecture,
  Param,
  type StateDict,
  type WeightSource,
  zeros,
} from '@mezzotint/core';
import { conv2d } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';
import type { FeatureNetwork, FeatureNetworkRecord } from './feature-network.js';
import { asColour, pillowBicubic, resizeImages } from './resize.js';

/** Places and widths of the 13 convolutions of VGG16 (Simonyan and Zisserman 2015, table 1, D), up to each max pooling. */
export const vggSlices = [
  { 0: [3, 64], 2: [64, 64] },
  { 5: [64, 128], 7: [128, 128] },
  { 10: [128, 256], 12: [256, 256], 14: [256, 256] },
  { 17: [256, 512], 19: [512, 512], 21: [512, 512] },
  { 24: [512, 512], 26: [512, 512], 28: [512, 512] },
] as const satisfies readonly Readonly<Record<number, readonly [number, number]>>[];

/** A 3x3 convolution that is not trained. */
class FrozenConv extends Module {
  readonly weight: Param;
  readonly bias: Param;

  constructor(inputs: number, outputs: number) {
    super();
    this.weight = new Param([3, 3, inputs, outputs], {
      init: heNormal(9 * inputs),
      layout: 'conv2d',
      trainable: false,
    });
    this.bias = new Param([outputs], { init: zeros, trainable: false });
  }

  forward(x: tf.Tensor4D): tf.Tensor4D {
    return conv2d(x, this.weight.value, this.bias.value, { padding: 1 });
  }
}

/** The five slices of VGG16 that LPIPS looks at, frozen. State: `slice1.0.weight` ... `slice5.28.bias` as in lpips. */
export class Vgg16Slices extends Module {
  readonly slice1: Readonly<Record<number, FrozenConv>>;
  readonly slice2: Readonly<Record<number, FrozenConv>>;
  readonly slice3: Readonly<Record<number, FrozenConv>>;
  readonly slice4: Readonly<Record<number, FrozenConv>>;
  readonly slice5: Readonly<Record<number, FrozenConv>>;

  constructor() {
    super();
    [this.slice1, this.slice2, this.slice3, this.slice4, this.slice5] = vggSlices.map((slice) =>
      Object.fromEntries(
        Object.entries(slice).map(([place, [inputs, outputs]]) => [place, new FrozenConv(inputs, outputs)]),
      ),
    ) as [Slice, Slice, Slice, Slice, Slice];
  }

  /** x `[N, H, W, 3]` -> relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3: `[N, H/2^i, W/2^i, C_i]`. */
  forward(x: tf.Tensor4D): tf.Tensor4D[] {
    return tf.tidy(() => {
      const features: tf.Tensor4D[] = [];
      let h = x;
      for (const slice of [this.slice1, this.slice2, this.slice3, this.slice4, this.slice5]) {
        if (features.length > 0) h = tf.maxPool(h, 2, 2, 'valid');
        for (const conv of Object.values(slice)) h = tf.relu(conv.forward(h));
        features.push(h);
      }
      return features;
    });
  }
}

type Slice = Readonly<Record<number, FrozenConv>>;

/** N(0, 2 / fanIn): keeps the size of what goes through a ReLU, for a network without weights from a file. */
function heNormal(fanIn: number): Initializer {
  return (shape, rng) => rng.randn(shape.reduce((n, d) => n * d, 1)).map((x) => x * Math.sqrt(2 / fanIn));
}

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

  /**
   * The vectors whose squared distance is {@link forward}: sqrt(w_c / (h w)) f_c at each pixel of each layer, one behind the
   * other. x as in `forward`, `[N, H, W, 3]` -> `[N, E]`.
   */
  embed(x: tf.Tensor4D): tf.Tensor2D {
    return tf.tidy(() => {
      const heads = [this.lin0, this.lin1, this.lin2, this.lin3, this.lin4];
      const parts = this.net.forward(standardised(x)).map((features, i) => {
        const [n, h, w] = features.shape;
        const root = tf.sqrt(tf.div(tf.reshape(heads[i]!.model[1].weight.value, [-1]), h * w));
        return tf.reshape(tf.mul(unitLength(features), root), [n, -1]) as tf.Tensor2D;
      });
      return tf.concat(parts, 1);
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
  const [fx, fy] = tf.split(unitLength(features), 2, 0);
  const squares = tf.square(tf.sub(fx!, fy!));
  return tf.mean(tf.sum(tf.mul(squares, tf.reshape(weight, [-1])), 3), [1, 2]);
}

/** Each pixel's features divided by their length; the constant keeps the slope finite where a pixel has no feature at all. */
function unitLength(features: tf.Tensor4D): tf.Tensor4D {
  return tf.div(features, tf.sqrt(tf.add(tf.sum(tf.square(features), 3, true), 1e-20)));
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

/** Side to which pictures are resized before their diversity is measured. */
const SIDE = 64;

/** VGG16 with LPIPS heads as a feature network: the squared distance of two pictures' features is their LPIPS. */
export const lpipsRecord: FeatureNetworkRecord = {
  name: 'lpips',
  about: 'VGG16 with the heads of LPIPS 0.1: squared distances of features are LPIPS (Zhang et al. 2018)',
  weights: [
    {
      file: 'vgg16-397923af.pth',
      url: 'https://download.pytorch.org/models/vgg16-397923af.pth',
      sha256: '397923af',
    },
    {
      file: 'vgg.pth',
      url: 'https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/vgg.pth',
      sha256: 'a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868',
    },
  ],
  async open({ weights }): Promise<FeatureNetwork> {
    const network = await new Lpips().load(lpipsWeights(...weights));
    return {
      name: 'lpips',
      dimension: [64, 128, 256, 512, 512].reduce((sum, channels, i) => sum + channels * (SIDE >> i) ** 2, 0),
      classes: null,
      recipe: `LPIPS 0.1 with VGG16, Pillow bicubic with antialias to ${SIDE} x ${SIDE}, x / 127.5 - 1`,
      forward: (images) =>
        tf.tidy(() => {
          const x = resizeImages(asColour('lpips', images), [SIDE, SIDE], pillowBicubic, { bytes: true });
          return { features: network.embed(tf.sub(tf.div(x, 127.5), 1)) };
        }),
      dispose: () => network.dispose(),
    };
  },
};

/** LPIPS in the list of architectures. It has nothing to configure. */
export const lpipsArchitecture: OtherArchitecture<Lpips> = {
  name: 'Lpips',
  kind: 'feature-network',
  package: '@mezzotint/features',
  about: 'LPIPS: distance of two pictures by VGG16 (Zhang et al. 2018)',
  presets: [
    {
      name: 'lpips-vgg16',
      about: 'LPIPS 0.1 with VGG16, two pictures of 64x64 (Zhang et al. 2018)',
      config: {},
      build: () => new Lpips(),
      inputs: () => [{ shape: [1, SIDE, SIDE, 3] }, { shape: [1, SIDE, SIDE, 3] }],
    },
  ],
  build: () => new Lpips(),
};
