import { type Initializer, Module, Param, zeros } from '@mezzotint/core';
import { conv2d } from '@mezzotint/layers';
import * as tf from '@tensorflow/tfjs-core';

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
